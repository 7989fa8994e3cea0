-- The command line: finds the command, runs it, and turns what it raises into a message and an exit code.
--
--   0 done   1 the answer was an error   2 wrong usage, nothing was sent   3 nobody answered
--
-- A command is a module of this folder: { summary =, usage =, examples = {...}, parser = function(parser),
-- run = function(cli, args) -> exit code or nil }. `cli` (lib/console.lua) is its view of the process.

local mica = require "mica"
local console = require "lib.console"
local suggest = require "mica.suggest"

local COMMANDS = { "call", "help", "server", "version" }

local function unknown_command(cli, word)
  local near = suggest.nearest(word, COMMANDS)
  return cli:usage_error(
    ("unknown command %q"):format(word), near and "try: mica " .. near or "try: mica help")
end

-- Global flags stand before the command; they are taken off and kept in cli.flags.
local GLOBAL = { ["--address"] = "address", ["--namespace"] = "namespace", ["--timeout"] = "timeout" }

local function take_global_flags(cli, arguments)
  local i = 1
  while arguments[i] and arguments[i]:sub(1, 1) == "-" do
    local name, value = arguments[i]:match "^(%-%-[%w-]+)=(.*)$"
    name = name or arguments[i]
    if name == "-h" or name == "--help" then return i, "help" end
    if name == "--version" then return i, "version" end
    if not GLOBAL[name] then return nil, ("unknown flag %q before the command"):format(name) end
    if not value then
      i = i + 1
      value = arguments[i]
    end
    if not value then return nil, ("flag %s needs a value"):format(name) end
    cli.flags[GLOBAL[name]] = value
    i = i + 1
  end
  return i, arguments[i]
end

local function is_command(word)
  for _, name in ipairs(COMMANDS) do
    if name == word then return true end
  end
  return false
end

local function run(cli)
  local first, word = take_global_flags(cli, cli.arguments)
  if not first then return cli:usage_error(word, "try: mica help") end
  word = word or "help"
  if not is_command(word) then return unknown_command(cli, word) end
  local rest = {}
  for i = first + 1, #cli.arguments do table.insert(rest, cli.arguments[i]) end
  return cli:run_command(word, rest)
end

return mica.service {
  handlers = {},
  on_start = function()
    mica.spawn(function()
      local cli = console.open(COMMANDS)
      local ok, code = xpcall(run, debug.traceback, cli, cli.arguments)
      if not ok then code = cli:bug(code) end
      cli:exit(code or 0)
    end)
  end,
}
