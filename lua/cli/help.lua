-- mica help [COMMAND [COMMAND]]

local commands = require "lib.commands"
local help = require "lib.help"
local suggestions = require "lib.suggestions"

local function names_of(group)
  local names = {}
  for name in pairs(group.commands) do table.insert(names, name) end
  return names
end

return {
  examples = { "mica help", "mica help run", "mica help env add" },
  parser = function(parser)
    parser:argument("command", "The command."):args "?"
    parser:argument("part", "Of a group of commands: which one."):args "?"
  end,
  run = function(cli, args)
    local name = args.command
    if not name then return cli:print(help.overview()) end
    if not commands.find(name) then
      cli:usage_hint("mica help", "unknown command %q%s", name, suggestions.hint(name, commands.names))
    end
    local command = require(name)
    if not command.commands then return cli:print(help.command(name, command)) end
    if not args.part then return cli:print(help.group(name, command)) end
    local part = command.commands[args.part]
    if not part then
      cli:usage_hint("mica help " .. name, "unknown command %q%s", name .. " " .. args.part,
        suggestions.hint(args.part, names_of(command), name .. " "))
    end
    cli:print(help.command(name .. " " .. args.part, part))
  end,
}
