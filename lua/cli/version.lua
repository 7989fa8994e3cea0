-- mica version

local mica = require "mica"

return {
  examples = { "mica version", "mica -o json version" },
  run = function(cli)
    if cli.output == "json" then return cli:value { version = mica.version } end
    cli:print(cli.output == "name" and mica.version or "mica " .. mica.version)
  end,
}
