-- Finds and runs what words say: a command, a service's endpoint, or a program mica-<word>.

local flags = require "lib.flags"
local suggestions = require "lib.suggestions"

local runner = {}

local function not_a_command(cli, words)
  local commands = require "lib.commands"
  local word = words[1]
  if not word:find "^%l[%l%d.-]*$" and not word:find "^%l[%l%d.-]*@[%w._-]+$" then
    cli:usage_hint("mica help", "unknown command %q", word)
  end
  local known, code = require("lib.dynamic").run(cli, words)
  if known then return code end
  local found, program_code = cli.files.try_run("mica-" .. word, { unpack(words, 2) })
  if found then return program_code end
  local near = suggestions.nearest(word, commands.names) or suggestions.nearest(word, code or {})
  cli:usage_hint(near and "mica " .. near or "mica help", "unknown command or service %q", word)
end

--- Global flags first.
---@param cli mica.cli.Console
---@param words string[]
---@return integer? code
function runner.run(cli, words)
  words = flags.take_global(cli, words)
  if not words[1] then words = { "help" } end
  if not require("lib.commands").find(words[1]) then return not_a_command(cli, words) end
  return flags.run_command(cli, words)
end

return runner
