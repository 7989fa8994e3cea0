-- What a command sees of its process: arguments, environment, streams, exit, and the server that it talks to.

local argparse = require "argparse"
local mica = require "mica"

local OUT, ERR = 1, 2

---@class mica.cli.Console
---@field arguments string[]
---@field environment table<string, string>
---@field folder string the present one
---@field flags table<string, string> global flags as given
---@field commands string[]
local Console = {}
Console.__index = Console

local console = {}

---@param name string
---@return table command
function console.load(name) return require(name) end

---@param commands string[]
---@return mica.cli.Console
function console.open(commands)
  local native = mica.native "cli"
  local process = native.Arguments {}
  return setmetatable({
    native = native,
    arguments = process.arguments,
    environment = process.environment,
    folder = process.folder,
    flags = {},
    commands = commands,
  }, Console)
end

function Console:exit(code) self.native.Exit { code = code } end

function Console:print(text) self.native.Write { stream = OUT, data = text .. "\n" } end

function Console:complain(text) self.native.Write { stream = ERR, data = "mica: " .. text .. "\n" } end

-- Wrong usage: nothing was sent. Returns the exit code.
function Console:usage_error(text, hint)
  self:complain(text)
  if hint then self.native.Write { stream = ERR, data = hint .. "\n" } end
  return 2
end

-- An error of the server or of the way to it. Returns the exit code.
function Console:failure(err)
  if err.code == "UNAVAILABLE" and err.id == "cli" then -- raised on this side: there was no connection
    self:complain("UNAVAILABLE " .. err.message)
    self.native.Write { stream = ERR, data = "try: mica server, or another --address\n" }
    return 3
  end
  self:complain(tostring(err))
  return err.code == "DEADLINE_EXCEEDED" and 3 or 1
end

-- A fault of the command line itself.
function Console:bug(traceback)
  self:complain("internal error: " .. tostring(traceback))
  return 1
end

-- A flag, its variable, or the default: in this order.
function Console:setting(flag, variable, default)
  if flag ~= nil then return flag end
  local value = self.environment[variable]
  if value ~= nil and value ~= "" then return value end
  return default
end

function Console:address() return self:setting(self.flags.address, "MICA_ADDRESS", "127.0.0.1:8081") end

function Console:namespace() return self:setting(self.flags.namespace, "MICA_NAMESPACE", "mica") end

function Console:timeout() return self:setting(self.flags.timeout, "MICA_TIMEOUT", "30s") end

-- An absolute path.
function Console:path(path)
  if path:sub(1, 1) == "/" then return path end
  return self.folder .. "/" .. path
end

local function parser_of(name, command)
  local parser = argparse("mica " .. name, command.summary):add_help(false)
  parser:flag("-h --help", "Show this help.")
  command.parser(parser)
  return parser
end

function Console:help(name)
  local command = console.load(name)
  local text = parser_of(name, command):get_help()
  return text .. "\n\nExamples:\n   " .. table.concat(command.examples, "\n   ")
end

function Console:run_command(name, arguments)
  local command = console.load(name)
  for _, word in ipairs(arguments) do
    if word == "--" then break end
    if word == "-h" or word == "--help" then
      self:print(self:help(name))
      return 0
    end
  end
  local ok, args = parser_of(name, command):pparse(arguments)
  if not ok then return self:usage_error(args, "try: mica help " .. name) end
  local err
  ok, err = mica.try(function() return { command.run(self, args) } end)
  if ok then return ok[1] end
  return self:failure(err)
end

return console
