-- The one parser: global flags, flags of commands, fields of dynamic commands.
--
-- scan() splits words by the rules of flags; it knows neither commands nor types:
--   --flag value, --flag=value (which may contain "="), --flag (boolean), --flag=false; short flags are one letter;
--   flags and words in any order; "--" ends flags; "-" and negative numbers are words.
-- Commands declare their flags and arguments with lua-argparse, which checks counts and choices, converts, and writes
-- the usage. It would read a value such as "-5" or an option after "--" in its own way, so it is handed what scan() has
-- split, in a form that leaves no doubt: --flag=value ... -- words.

local argparse = require "argparse"
local mica = require "mica"
local suggestions = require "lib.suggestions"
local units = require "mica.units"

local flags = {}

-- ---- splitting -----------------------------------------------------------------------------------------------------

---@class mica.cli.Flag what is known of a flag
---@field takes boolean it takes a value; else it is a boolean
---@field help? boolean it ends the scan

---@class mica.cli.Scanned
---@field flags { name: string, flag: mica.cli.Flag, value: string|boolean }[] in the order given
---@field words string[]
---@field help? boolean
---@field rest? string[] what follows the first word, if that was to end the scan

-- The name and the value of a word that is a flag; nil for other words.
local function split(word)
  if word == "-" or word == "--" or word:find "^%-%.?%d" then return nil end
  local dashes, name, value = word:match "^(%-%-?)([^-=][^=]*)=(.*)$"
  if not dashes then dashes, name = word:match "^(%-%-?)([^-=][^=]*)$" end
  if not dashes then
    if word:sub(1, 1) == "-" then return word, word end
    return nil
  end
  return dashes .. name, name, value
end
flags.split = split

local function boolean(cli, shown, value)
  if value == nil or value == "true" then return true end
  if value == "false" then return false end
  cli:usage("flag %s is true or false, not %q", shown, value)
end

local function next_value(cli, find, shown, following)
  local _, name = split(following or "-")
  if following == nil then cli:usage("flag %s needs a value", shown) end
  if name and find(name) then
    cli:usage("flag %s needs a value; write %s=%s if that is the value", shown, shown, following)
  end
  return following
end

---@param cli mica.cli.Console
---@param words string[]
---@param find fun(name: string): mica.cli.Flag? the name is without dashes, underscores as they were given
---@param options { names: (fun(): string[]), first_word_ends?: boolean, unknown_ends?: boolean }
---@return mica.cli.Scanned
function flags.scan(cli, words, find, options)
  local out = { flags = {}, words = {} }
  local i, only_words = 1, false
  while i <= #words do
    local shown, name, value = split(words[i])
    if only_words or not shown then
      if options.first_word_ends then break end
      if words[i] == "--" and not only_words then only_words = true else table.insert(out.words, words[i]) end
    else
      local flag = find(name)
      if not flag and options.unknown_ends then break end
      if not flag then
        cli:usage_hint(options.hint, "unknown flag %q%s", shown, suggestions.hint(name, options.names(), "--"))
      end
      if flag.help then
        out.help = true
        break
      end
      if not flag.takes then
        value = boolean(cli, shown, value)
      elseif value == nil then
        i = i + 1
        value = next_value(cli, find, shown, words[i])
      end
      table.insert(out.flags, { name = name, flag = flag, value = value })
    end
    i = i + 1
  end
  out.rest = { unpack(words, i) }
  return out
end

-- ---- global flags --------------------------------------------------------------------------------------------------

local GLOBAL = {
  env = { takes = true, key = "env" }, address = { takes = true, key = "address" },
  ca = { takes = true, key = "ca" },
  namespace = { takes = true, key = "namespace" }, token = { takes = true, key = "token" },
  output = { takes = true, key = "output" }, timeout = { takes = true, key = "timeout" },
  ["no-color"] = { takes = false, key = "no_color" }, quiet = { takes = false, key = "quiet" },
  verbose = { takes = false, key = "verbose" }, help = { takes = false, help = true },
}
local SHORT = { e = "env", o = "output", q = "quiet", v = "verbose", h = "help" }

flags.global_help = [[
Global flags:
   -e, --env NAME        the environment (MICA_ENV)
   --address HOST:PORT   the server's proxy (MICA_ADDRESS, 127.0.0.1:8081); with TLS, https://HOST[:PORT]
   --ca FILE             who vouches for a server with TLS (MICA_CA, whom the system trusts)
   --namespace NAME      (MICA_NAMESPACE, mica)
   --token TOKEN|@FILE|- who calls (MICA_TOKEN, the stored login)
   -o, --output FORMAT   table, json or name (MICA_OUTPUT, table)
   --timeout DURATION    of calls (MICA_TIMEOUT, 30s; streams: none)
   --no-color            (NO_COLOR)
   -q, --quiet           say nothing but results and errors
   -v, --verbose         show requests, their trace id and time
   -h, --help            show how to use a command]]

--- A global flag; for dynamic commands, which know these before the service's name only, and for completion.
function flags.find_global(name) return GLOBAL[SHORT[name] or name:gsub("_", "-")] end

local function names_of(known)
  local names = {}
  for name in pairs(known) do
    if #name > 1 then table.insert(names, name) end
  end
  table.sort(names)
  return names
end

function flags.global_names() return names_of(GLOBAL) end

local OUTPUT = { table = true, json = true, name = true }

-- What the global flags mean, with their variables; faults in them are found here, before anything is sent.
local function settle(cli)
  local output = cli:setting(cli.flags.output, "MICA_OUTPUT", "table")
  if not OUTPUT[output] then cli:usage("--output: %q is none of table, json, name", output) end
  cli.output = output
  cli.quiet = cli.flags.quiet == true
  cli.verbose = cli.flags.verbose == true
  if cli.flags.no_color then cli.colour = false end
  cli:timeout()
end

local function keep_global(cli, given)
  -- The last one holds: an alias of the shell may give one already.
  cli.flags[given.flag.key] = given.value
end

--- Takes the global flags off that stand before the first word, and returns the others.
---@param cli mica.cli.Console
---@param words string[]
---@param lenient? boolean an unknown flag is left to the caller
---@return string[]
function flags.take_global(cli, words, lenient)
  if words[1] == "--version" then return { "version" } end
  local scanned = flags.scan(cli, words, flags.find_global,
    { names = flags.global_names, first_word_ends = true, unknown_ends = lenient, hint = "mica help" })
  for _, given in ipairs(scanned.flags) do keep_global(cli, given) end
  settle(cli)
  if not scanned.help then return scanned.rest end
  if lenient then return { "--help" } end
  return { "help", scanned.rest[2] }
end

-- ---- flags of commands ---------------------------------------------------------------------------------------------

local function new_parser(path, command)
  local parser = argparse("mica " .. path):add_help(false)
  if command.parser then command.parser(parser) end
  return parser
end

-- The flags that a parser declares, by name without dashes.
local function declared(parser)
  local known = {}
  for _, option in ipairs(parser._options) do
    local long
    for _, alias in ipairs(option._aliases) do
      if alias:sub(1, 2) == "--" then long = long or alias end
    end
    local flag = { takes = option._maxargs > 0, once = option._maxcount == 1, long = assert(long), option = option }
    for _, alias in ipairs(option._aliases) do known[alias:gsub("^%-+", "")] = flag end
  end
  return known
end
flags.declared = declared

-- Hands the flags to argparse; boolean ones that were switched off are returned.
local function hand_over(cli, scanned, parser)
  local words, off, seen = {}, {}, {}
  for _, given in ipairs(scanned.flags) do
    local flag = given.flag
    if flag.key then
      keep_global(cli, given)
    elseif seen[flag] and flag.once then
      cli:usage("flag %s is given more than once", flag.long)
    elseif flag.takes then
      table.insert(words, flag.long .. "=" .. given.value)
    elseif given.value then
      table.insert(words, flag.long)
    else
      off[flag.option._target or flag.option:_get_default_target()] = false
    end
    seen[flag] = true
  end
  if #parser._options > 0 then table.insert(words, "--") end -- without options it would be a word too
  for _, word in ipairs(scanned.words) do table.insert(words, word) end
  return words, off
end

--- The arguments of a command; nil when its help was asked for.
local function parse(cli, path, command, words)
  local parser = new_parser(path, command)
  local known = declared(parser)
  local function find(name)
    return known[name] or known[(name:gsub("_", "-"))] or flags.find_global(name)
  end
  local function names()
    local all = flags.global_names()
    for _, name in ipairs(names_of(known)) do table.insert(all, name) end
    return all
  end
  local hint = "mica help " .. path
  local scanned = flags.scan(cli, words, find, { names = names, hint = hint })
  if scanned.help then return nil end
  local handed, off = hand_over(cli, scanned, parser)
  settle(cli)
  local ok, args = parser:pparse(handed)
  if not ok then cli:usage_hint(hint, args) end
  for name, value in pairs(off) do args[name] = value end
  return args
end

local function run_one(cli, path, command, words)
  local args = parse(cli, path, command, words)
  if not args then
    cli:print(require("lib.help").command(path, command))
    return 0
  end
  if command.check then command.check(cli, args) end
  return command.run(cli, args)
end

local function run_group(cli, path, group, words)
  words = flags.take_global(cli, words, true)
  local word = words[1]
  if word == "del" then word = "delete" end
  if group.commands[word] then
    return run_one(cli, path .. " " .. word, group.commands[word], { unpack(words, 2) })
  end
  if word == "--help" or word == "-h" then
    cli:print(require("lib.help").group(path, group))
    return 0
  end
  local hint = "mica help " .. path
  if word and word:sub(1, 1) ~= "-" then
    cli:usage_hint(hint, "unknown command %q%s", path .. " " .. word,
      suggestions.hint(word, names_of(group.commands), path .. " "))
  end
  if not group.default then
    cli:usage_hint(hint, "mica %s what? %s", path, table.concat(names_of(group.commands), ", "))
  end
  return run_one(cli, path .. " " .. group.default, group.commands[group.default], words)
end

--- Runs the command words[1].
---@param cli mica.cli.Console
---@param words string[]
---@return integer? code
function flags.run_command(cli, words)
  local name = words[1]
  local command = require(name)
  local rest = { unpack(words, 2) }
  if command.commands then return run_group(cli, name, command, rest) end
  return run_one(cli, name, command, rest)
end

--- The parser of a command, for its help and its completion.
flags.parser = new_parser

-- ---- values that several commands take -----------------------------------------------------------------------------

--- Seconds of a duration ("250ms", "1h30m", or seconds).
---@param cli mica.cli.Console
---@param text string
---@param what string "--timeout"
---@return number
function flags.duration(cli, text, what)
  local seconds = tonumber(text)
  if not seconds and text:find "^%d[%d.%l]*$" then
    local ok, value = pcall(mica.time.seconds, text)
    seconds = ok and value or nil
  end
  if not seconds or seconds < 0 or seconds == math.huge then
    cli:usage('%s: %q is no duration: write seconds, or "250ms", "2s", "1h30m", "7d"', what, text)
  end
  return seconds
end

--- Seconds of a duration from `least` seconds up; with `zero` also 0, which means never.
---@param cli mica.cli.Console
---@param text string
---@param what string "--idle-timeout"
---@param least number
---@param zero? boolean
---@return number
function flags.span(cli, text, what, least, zero)
  local seconds = flags.duration(cli, text, what)
  if seconds < least and not (zero and seconds == 0) or seconds > 1e8 then
    cli:usage("%s: expected at least %gs%s, got %q", what, least, zero and ", or 0 for never" or "", text)
  end
  return seconds
end

--- Bytes of a size ("64KB", or bytes) from `least` to `most`, which are shown as `range`.
---@param cli mica.cli.Console
---@param text string
---@param what string "--max-message"
---@param least integer
---@param most integer
---@param range string "1KB to 1GB"
---@return integer
function flags.size(cli, text, what, least, most, range)
  local bytes, fault = units.size(tonumber(text) or text)
  if not bytes then cli:usage("%s: %s", what, fault) end
  if bytes < least or bytes > most then cli:usage("%s: expected %s, got %q", what, range, text) end
  return bytes
end

--- Unix seconds of a time (RFC 3339), or of a duration that ends now.
---@param cli mica.cli.Console
---@param text string
---@param what string "--since"
---@return number
function flags.moment(cli, text, what)
  if text:find "^%d%d%d%d%-" then
    local time = mica.try(mica.time.parse, text)
    return time or cli:usage("%s: %q is no time: write 2026-11-22T10:00:00Z, or a duration such as 1h", what, text)
  end
  return mica.time.now() - flags.duration(cli, text, what)
end

--- A whole number from `least` to `most`.
---@param cli mica.cli.Console
---@param text string
---@param what string "--io"
---@param least integer
---@param most integer
---@return integer
function flags.count(cli, text, what, least, most)
  local n = tonumber(text)
  if not n or n < least or n > most or n ~= math.floor(n) then
    cli:usage("%s: expected a number from %d to %d, got %q", what, least, most, text)
  end
  return n
end

--- A table of a list of KEY=VALUE.
---@param cli mica.cli.Console
---@param list string[]
---@param what string "--metadata"
---@return table<string, string>
function flags.pairs(cli, list, what)
  local out = {}
  for _, text in ipairs(list) do
    local key, value = text:match "^([^=]+)=(.*)$"
    if not key then cli:usage("%s: expected KEY=VALUE, got %q", what, text) end
    out[key] = value
  end
  return out
end

--- Is a variable that stands for a flag without a value set?
---@param text string
---@return boolean
function flags.truth(text) return text == "1" or text == "true" or text == "yes" end

return flags
