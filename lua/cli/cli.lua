-- mica cli: a prompt, each line a command without the word `mica`. Works with lines from a pipe too.

local mica = require "mica"
local console = require "lib.console"
local errors = require "lib.errors"
local words = require "lib.words"

local HISTORY_MOST = 1000

-- A console for one line: it has the global flags that `mica cli` was given, and its own.
local function fresh(cli)
  local line = console.open(cli.native)
  for name, value in pairs(cli.flags) do line.flags[name] = value end
  return line
end

-- "!!", "!3" and "!run" stand for a line of the history; nil: there is none.
local function recall(history, line)
  local what = line:match "^!(.+)$"
  if not what then return line end
  if what == "!" then return history[#history] end
  if tonumber(what) then return history[tonumber(what)] end
  for i = #history, 1, -1 do
    if history[i]:sub(1, #what) == what then return history[i] end
  end
end

local function remember(history, line)
  if history[#history] ~= line then table.insert(history, line) end
  if #history > HISTORY_MOST then table.remove(history, 1) end
end

-- The exit code of a line; nil when the prompt is to end.
local function run_line(cli, history, text)
  local line = recall(history, text)
  local prompt = fresh(cli)
  if not line then return errors.guard(prompt, function() prompt:usage("the history has no line %s", text) end) end
  local parts, fault = words.split(line)
  if not parts then return errors.guard(prompt, function() prompt:usage("%s", fault) end) end
  if line ~= text then cli:print(line) end
  if #parts == 0 then return 0 end
  remember(history, line)
  if parts[1] == "exit" or parts[1] == "quit" then return nil end
  if parts[1] == "history" then
    for i, old in ipairs(history) do cli:print(("%4d  %s"):format(i, old)) end
    return 0
  end
  if parts[1] == "mica" then table.remove(parts, 1) end
  return errors.guard(prompt, require("lib.runner").run, parts)
end

return {
  examples = { "mica cli", "printf 'services\\nstatus\\n' | mica cli", "mica -e staging cli" },
  text = "Each line is a command without the word `mica`; words are quoted as in a shell. `history` lists the lines\n"
    .. "so far, `!!`, `!3` and `!run` repeat one, `exit` or Ctrl-D ends. The exit code is that of the last command.",
  run = function(cli)
    local history, code = {}, 0
    local prompting = cli.input_is_terminal and cli.error_is_terminal
    local next_line = prompting and function() return cli:ask "mica> " end or cli:lines()
    for line in next_line do
      local last = run_line(cli, history, (line:match "^%s*(.-)%s*$"))
      if last == nil then return code end
      code = last
    end
    if prompting then mica.try(cli.complain, cli, "") end
    return code
  end,
}
