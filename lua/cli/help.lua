-- mica help [COMMAND]

local console = require "lib.console"
local suggest = require "mica.suggest"

local function overview(cli)
  local lines = { "mica [global flags] <command> [arguments] [flags]", "" }
  for _, name in ipairs(cli.commands) do
    table.insert(lines, ("  %-10s %s"):format(name, console.load(name).summary))
  end
  local flags = {
    "",
    "Global flags, before the command:",
    "  --address HOST:PORT   the server's proxy (MICA_ADDRESS, 127.0.0.1:8081)",
    "  --namespace NAME      (MICA_NAMESPACE, mica)",
    "  --timeout DURATION    (MICA_TIMEOUT, 30s)",
    "",
    "`mica help COMMAND` shows a command's flags and examples.",
  }
  for _, line in ipairs(flags) do table.insert(lines, line) end
  return table.concat(lines, "\n")
end

return {
  summary = "Show the commands, or how to use one.",
  examples = { "mica help", "mica help server" },
  parser = function(parser) parser:argument("command", "The command."):args "?" end,
  run = function(cli, args)
    if not args.command then return cli:print(overview(cli)) end
    for _, name in ipairs(cli.commands) do
      if name == args.command then return cli:print(cli:help(name)) end
    end
    local near = suggest.nearest(args.command, cli.commands)
    return cli:usage_error(("unknown command %q"):format(args.command), near and "try: mica help " .. near)
  end,
}
