-- mica version

local mica = require "mica"

return {
  summary = "Show the version of this program.",
  examples = { "mica version" },
  parser = function() end,
  run = function(cli) cli:print("mica " .. mica.version) end,
}
