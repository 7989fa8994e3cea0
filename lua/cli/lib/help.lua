-- The texts of `mica help` and --help.

local commands = require "lib.commands"
local flags = require "lib.flags"

local help = {}

local function examples(command, lines)
  if not command.examples then return end
  table.insert(lines, "")
  table.insert(lines, #command.examples == 1 and "Example:" or "Examples:")
  for _, example in ipairs(command.examples) do table.insert(lines, "   " .. example) end
end

--- All commands.
---@return string
function help.overview()
  local lines = {
    "mica [global flags] <command> [arguments] [flags]",
    "mica [global flags] <service> [group] [endpoint] [--field value]...",
  }
  for _, group in ipairs(commands.groups) do
    table.insert(lines, "")
    table.insert(lines, group.title .. ":")
    for _, command in ipairs(group) do table.insert(lines, ("   %-12s %s"):format(command[1], command[2])) end
  end
  table.insert(lines, "")
  table.insert(lines, flags.global_help)
  table.insert(lines, "")
  table.insert(lines, "`mica help COMMAND` shows a command's arguments, flags and examples.")
  return table.concat(lines, "\n")
end

--- One command. `path` is "env add".
---@param path string
---@param command table
---@return string
function help.command(path, command)
  local lines = { command.summary or commands.summaries[path], "" }
  if command.text then
    table.insert(lines, command.text)
    table.insert(lines, "")
  end
  table.insert(lines, (flags.parser(path, command):get_help():gsub("\n\nOptions:", "\n\nFlags:")))
  examples(command, lines)
  table.insert(lines, "")
  table.insert(lines, "The global flags may stand here too: see `mica help`.")
  return table.concat(lines, "\n")
end

--- A group of commands, each with its usage.
---@param path string
---@param group table
---@return string
function help.group(path, group)
  local lines = { commands.summaries[path], "" }
  if group.text then
    table.insert(lines, group.text)
    table.insert(lines, "")
  end
  local names = {}
  for name in pairs(group.commands) do table.insert(names, name) end
  table.sort(names)
  for _, name in ipairs(names) do
    table.insert(lines, ("mica %s %-12s %s"):format(path, name, group.commands[name].summary))
  end
  if group.default then
    table.insert(lines, "")
    table.insert(lines, ("`mica %s` alone is `mica %s %s`."):format(path, path, group.default))
  end
  local all = {}
  for _, name in ipairs(names) do
    for _, example in ipairs(group.commands[name].examples or {}) do table.insert(all, example) end
  end
  examples({ examples = all }, lines)
  return table.concat(lines, "\n")
end

return help
