-- What a command sees of its process, and says: `cli` in `run(cli, args)`. How a command module looks stands in
-- main.lua.
--
-- Standard output (lib/output.lua). Nothing goes there when a command fails.
--   cli:table(columns, rows, opts?)   a list. columns: { "NAME", ... } or { { "UPDATED", key = "updated",
--                                     kind = "time" } }; the key of a column is its header in lower case when it is not
--                                     given; rows are objects with the RPC's field names. kind: "time",
--                                     "bytes", "seconds". Sorted by the first column; opts = { sorted = false } keeps
--                                     the order. -o json: the rows as an array; -o name: the first column only.
--   cli:value(value, name?)           a single thing: a text is printed as it is, a table as JSON. -o name prints
--                                     `name`.
--   cli:json(text, name?)             a single thing that is a JSON text already; its field order and numbers are kept.
--   cli:item(value, text?)            one of a stream: a JSON object a line (value: a table, or a JSON text); with
--                                     `text`, that is printed unless -o json was asked for.
--   cli:changed(cells, object?)       run, update, kill, rollback: a line of cells with two spaces between. Silent with
--                                     -q; `object` is what -o json prints, cells[1] is what -o name prints.
--   cli:print(text)  cli:write(bytes) a line, or bytes, as they are.
--   cli:time(t) cli:bytes(n) cli:seconds(s)   texts for humans on a terminal, for programs in a pipe.
--   cli:paint("red", text)            colour on a terminal. bold dim red green yellow blue
-- Standard error
--   cli:note(text)                    progress; silent with -q.   cli:detail(text): only with -v.
--   cli:usage(fmt, ...)               raises: wrong usage, exit code 2. Before anything was sent.
--   cli:usage_hint(hint, fmt, ...)    the same with a second line `try: HINT` ("mica help run").
--   cli:fail(code, fmt, ...)          raises an error of our own, exit code 1: cli:fail("NOT_FOUND", "no ...").
--   cli:fail_hint(hint, code, fmt, ...)  the same with `try: HINT`.
--   What the server answers is an error value that is raised; let it pass, main.lua reports it with the right exit
--   code.
--   cli:suggest(word, names)          ' (did you mean "x"?)' or ''.
-- Standard input and arguments
--   cli:content(word)                 "@file", "-" or the word itself.
--   cli:input()  cli:lines()          all of standard input; an iterator over its lines.
--   cli:ask(prompt)                   a line from the terminal; nil at its end.
--   cli:confirm(question, yes)        a destructive command: `yes` is the flag --yes. Returns, or raises: asked on a
--                                     terminal, refused elsewhere.
--   cli:secret(word, what)            a secret: "-" (a terminal asks for it and does not show it) or "@file", nil as
--                                     "-"; refused as a plain argument on a terminal.
--   cli:name(word)                    name, version of `name[@version]`; "." and paths name the folder's service.
--   cli:path(path)                    an absolute path without "." and ".." parts.
-- Settings: flag, then variable, then environment file, then default.
--   cli:address() cli:ca() cli:namespace() cli:token() cli:timeout() (seconds, and whether they were asked for)
--   cli.output ("table", "json", "name")  cli.quiet  cli.verbose  cli.terminal (standard output is one)
--   cli:setting(flag, variable, default)  for a command's own flags.
-- The server (lib/connection.lua): cli:server(), which connects nothing by itself.
--   server:call(path, request, opts?) -> table     request: a table, or a JSON text; path: "/posts.Posts/Read"
--   server:call_text(path, request, opts?) -> JSON text
--   server:open(path, request?, opts?) -> a mica.Stream of JSON texts (send, recv, messages, close_send)
--   server:each(path, request, opts?) -> an iterator over tables, for server streams
--   opts: { timeout =, metadata =, retries =, wait = }; calls get --timeout by themselves, streams only when it is
--   given.
-- Files of the machine: cli.files (lib/files.lua). Folders of services: lib/source.lua.
-- Programs: cli.files.run(program, arguments, opts?).

local errors = require "lib.errors"
local suggestions = require "lib.suggestions"

local OUT, ERR = 1, 2

---@class mica.cli.Console
---@field native table the capability "cli"
---@field arguments string[]
---@field environment table<string, string>
---@field folder string the present one
---@field flags table<string, any> global flags as given, by name
---@field output "table"|"json"|"name"
---@field quiet boolean
---@field verbose boolean
---@field terminal boolean standard output is one
---@field input_is_terminal boolean
---@field colour boolean
---@field files mica.cli.files
local Console = {}

-- What few commands need is loaded when it is first used: the start has 15 ms.
local LAZY = {
  table = "lib.output", value = "lib.output", json = "lib.output", item = "lib.output", changed = "lib.output",
  time = "lib.output", bytes = "lib.output", seconds = "lib.output",
}

function Console.__index(cli, key)
  if LAZY[key] then return require(LAZY[key])[key] end
  if key == "files" then
    cli.files = require "lib.files"
    return cli.files
  end
  return Console[key]
end

local console = {}

---@param native table
---@return mica.cli.Console
function console.open(native)
  local process = native.Arguments {}
  local environment = process.environment
  return setmetatable({
    native = native,
    arguments = process.arguments,
    environment = environment,
    folder = process.folder,
    terminal = process.output_is_terminal,
    input_is_terminal = process.input_is_terminal,
    error_is_terminal = process.error_is_terminal,
    colour = process.output_is_terminal and (environment.NO_COLOR or "") == "",
    flags = {},
    output = "table",
    quiet = false,
    verbose = false,
  }, Console)
end

-- ---- standard output and error -------------------------------------------------------------------------------------

function Console:write(bytes) self.native.Write { stream = OUT, data = bytes } end

function Console:print(text) self:write(text .. "\n") end

function Console:complain(text) self.native.Write { stream = ERR, data = text .. "\n" } end

function Console:note(text)
  if not self.quiet then self:complain(text) end
end

function Console:detail(text)
  if self.verbose then self:complain(text) end
end

local COLOURS = { bold = 1, dim = 2, red = 31, green = 32, yellow = 33, blue = 34 }

function Console:paint(colour, text)
  if not self.colour then return text end
  return ("\27[%dm%s\27[0m"):format(COLOURS[colour], text)
end

-- ---- faults --------------------------------------------------------------------------------------------------------

function Console:usage(fmt, ...) errors.usage(nil, fmt, ...) end

function Console:usage_hint(hint, fmt, ...) errors.usage(hint, fmt, ...) end

function Console:fail(code, fmt, ...) errors.fail(nil, code, fmt, ...) end

function Console:fail_hint(hint, code, fmt, ...) errors.fail(hint, code, fmt, ...) end

function Console:suggest(word, names) return suggestions.hint(word, names) end

-- ---- standard input and arguments ----------------------------------------------------------------------------------

--- All of standard input.
function Console:input() return self.native.ReadInput({}).data end

--- An iterator over the lines of standard input, without their ends.
function Console:lines()
  return function()
    local answer = self.native.ReadInput { line = true }
    if answer.data == "" then return nil end
    return (answer.data:gsub("\r?\n$", ""))
  end
end

--- "@file", "-" (standard input) or the word itself.
function Console:content(word)
  if word == "-" then return self:input() end
  local file = word:match "^@(.+)$"
  if not file then return word end
  local bytes = self.files.read(self:path(file))
  if not bytes then self:usage("no file %q", file) end
  return bytes
end

--- A line from the terminal; nil at its end. The prompt goes to standard error, so that it is seen in a pipe too.
---@param prompt string
---@param hidden? boolean what is typed is not shown
function Console:ask(prompt, hidden)
  local answer = self.native.ReadInput { line = true, hidden = hidden, prompt = prompt }
  if hidden then self.native.Write { stream = ERR, data = "\n" } end
  if answer.data == "" then return nil end
  return (answer.data:gsub("\r?\n$", ""))
end

function Console:confirm(question, yes)
  if yes then return end
  if not (self.input_is_terminal and self.error_is_terminal) then
    self:usage("%s: say --yes where nobody can be asked", (question:gsub("%?$", "")))
  end
  local answer = self:ask(question .. " [y/N] ")
  if not answer or not (answer:lower() == "y" or answer:lower() == "yes") then
    self:fail("CANCELLED", "nothing was changed")
  end
end

function Console:secret(word, what)
  if self.input_is_terminal and (word == nil or word == "-") then
    return self:ask(what .. ": ", true) or self:usage("%s is needed", what)
  end
  if word == nil then self:usage("%s: give - (standard input) or @file", what) end
  if self.input_is_terminal and word:sub(1, 1) ~= "@" then
    self:usage("%s: a secret is not given as an argument, where others can see it: leave it out, or give - or @file",
      what)
  end
  return (self:content(word):gsub("\r?\n$", ""))
end

--- An absolute path without "." and ".." parts.
function Console:path(path)
  if path:sub(1, 1) ~= "/" then path = self.folder .. "/" .. path end
  local parts = {}
  for part in path:gmatch "[^/]+" do
    if part == ".." then
      table.remove(parts)
    elseif part ~= "." then
      table.insert(parts, part)
    end
  end
  return "/" .. table.concat(parts, "/")
end

--- Name and version of `name[@version]`; "." and paths name the service of the folder.
function Console:name(word)
  if word == "." or word == ".." or word:find("/", 1, true) then
    local folder, version = word:match "^(.*)@([^/@]*)$"
    return require("lib.source").name(self, folder or word), version
  end
  local name, version = word:match "^([^@]+)@([^@]+)$"
  if not name then name = word end
  if not name:find "^%l[%l%d.-]*$" then
    self:usage("%q is no name of a service: name[@version], or a path with a /", word)
  end
  return name, version
end

-- ---- settings ------------------------------------------------------------------------------------------------------

--- A flag, its variable, or the default: in this order.
function Console:setting(flag, variable, default)
  if flag ~= nil then return flag end
  local value = self.environment[variable]
  if value ~= nil and value ~= "" then return value end
  return default
end

-- The environment that holds, a table of lib/config.lua.
function Console:place()
  if not self.the_place then self.the_place = require("lib.config").place(self) end
  return self.the_place
end

--- HOST:PORT, or https://HOST:PORT.
function Console:address()
  local given = self:setting(self.flags.address, "MICA_ADDRESS")
  if given then return given end
  local place = self:place()
  return (place.tls and "https://" or "") .. (place.address or "127.0.0.1:8081")
end

--- The file with the authorities that may vouch for the server; nil: those that the system trusts.
---@return string?
function Console:ca()
  local given = self:setting(self.flags.ca, "MICA_CA")
  if given or self:setting(self.flags.address, "MICA_ADDRESS") then return given end
  return self:place().ca
end

function Console:namespace()
  return self:setting(self.flags.namespace, "MICA_NAMESPACE") or self:place().namespace or "mica"
end

--- The token to show to the server; nil without a login.
function Console:token()
  local token = self:setting(self.flags.token, "MICA_TOKEN")
  if token == nil then return require("lib.config").token(self, self:place()) end
  if token == "-" then return self:secret(token, "token") end
  return (self:content(token):gsub("%s+$", ""))
end

--- Seconds, and whether somebody asked for them.
---@return number seconds, boolean given
function Console:timeout()
  local text = self:setting(self.flags.timeout, "MICA_TIMEOUT")
  return require("lib.flags").duration(self, text or "30s", "--timeout"), text ~= nil
end

function Console:server()
  if not self.the_server then self.the_server = require("lib.connection").open(self) end
  return self.the_server
end

return console
