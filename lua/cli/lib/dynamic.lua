-- Calling services as if they were commands: mica posts save --id 1 --title "Post one".

local mica = require "mica"
local calling = require "lib.calling"
local contracts = require "lib.contract"
local fields = require "lib.fields"
local kinds = require "lib.kinds"
local reference = require "lib.reference"
local suggestions = require "lib.suggestions"

local dynamic = {}

local LIST_SERVICES = "/mica.registry.v1.Registry/ListServices"

-- ---- whether there is such a service

local function names_of_services(cli)
  local answer = mica.try(function() return cli:server():call(LIST_SERVICES, { platform = true }) end)
  local names = {}
  for _, service in ipairs(answer and answer.services or {}) do table.insert(names, service.name) end
  return names
end

-- Nobody answers: what looks like a misspelled command is said to be one, and a program of that name needs no server.
local function without_server(cli, words, err)
  if suggestions.nearest(words[1], require("lib.commands").names) then return false, {} end
  local found, code = cli.files.try_run("mica-" .. words[1], { unpack(words, 2) })
  if found then return true, code end
  err.message = ("%q is no command, and no server can be asked for a service: %s"):format(words[1], err.message)
  error(err, 0)
end

-- ---- which endpoint

local function leading_words(words)
  local found = {}
  for i = 2, #words do
    if words[i]:sub(1, 1) == "-" then break end
    table.insert(found, words[i])
  end
  return found
end

local function fold(word) return (word:gsub("[-_.]", ""):lower()) end

-- The endpoints of a group: "FieldsAdmin", or "admin" of the service "fields".
local function group_members(service, word)
  local found = {}
  for _, endpoint in ipairs(service.endpoints) do
    local group = fold(endpoint.name:match "^(.*)%.")
    if group == fold(word) or group == fold(service.name) .. fold(word) then table.insert(found, endpoint) end
  end
  return found
end

local function in_group(members, word)
  for _, endpoint in ipairs(members) do
    if fold(endpoint.name:match "[^.]+$") == fold(word) then return endpoint end
  end
end

local function unknown(cli, service, word)
  cli:usage_hint("mica " .. service.name, "service %s has no endpoint %q%s", service.name, word,
    calling.hint(cli, service, word))
end

-- The endpoint, and how many words named it; nil where only a list can be meant.
local function choose(cli, service, words)
  local given = leading_words(words)
  if #given == 0 then return calling.matches(service, calling.group(service.name) .. ".Call")[1], 0 end
  local direct = calling.matches(service, given[1])
  local members = group_members(service, given[1])
  if given[2] and #members > 0 then
    local endpoint = in_group(members, given[2])
    if endpoint then return endpoint, 2 end
    if #direct == 0 then unknown(cli, service, given[1] .. " " .. given[2]) end
  end
  if #direct == 0 and #members > 0 then return nil, 1, members end
  if #direct == 0 then unknown(cli, service, given[1]) end
  return calling.endpoint(cli, service, given[1]), 1
end

local function is_help(word) return word == nil or word == "-h" or word == "--help" end

-- ---- the call

local function ask_of(cli)
  return {
    read_file = function(path)
      if path == "-" then return cli:input() end
      local bytes = cli.files.read(cli:path(path))
      if not bytes then return nil, ("no file %q"):format(path) end
      return bytes
    end,
  }
end

-- The request as a JSON text.
local function body_of(cli, contract, message, read)
  local text = read.json and cli:content(read.json)
  local body = text and calling.check_body(cli, contract, message, text)
  if #read.sets == 0 then return text or "{}" end
  local json, fault = fields.build(read, body, ask_of(cli))
  if not json then cli:usage("%s", fault) end
  return json
end

local function call(cli, contract, service, endpoint, arguments, version)
  local method = contract.methods[endpoint.name]
  local message = contract.messages[method.input]
  if kinds.is_known(message.full_name) then
    message = { full_name = message.full_name, fields = {}, by_name = {} } -- it is JSON as a whole: --json
  end
  local read, fault = fields.read(contract, message, arguments)
  local command = reference.command(service, endpoint)
  if not read then cli:usage_hint(command .. " --help", "%s", fault) end
  if read.help then
    cli:print(reference.endpoint(contract, service, endpoint))
    return
  end
  local request = {
    path = endpoint.path,
    kind = calling.kind(endpoint),
    metadata = version and { ["mica-version"] = version } or nil,
  }
  local body = body_of(cli, contract, message, read)
  if not endpoint.client_streaming then
    request.body = body
  elseif read.json or #read.sets > 0 then
    request.lines = calling.one_line(body)
  else
    request.lines = calling.checked_lines(cli, contract, message)
  end
  calling.run(cli, request)
end

local function run_service(cli, service, words, version)
  local endpoint, used, members = choose(cli, service, words)
  local after = words[2 + used]
  if not endpoint or used == 0 and is_help(after) then
    if not is_help(after) then
      cli:usage_hint("mica " .. service.name, "%s has no endpoint Call: say which endpoint", service.name)
    end
    cli:print(reference.list(service, members))
    return 0
  end
  if after and after:sub(1, 1) ~= "-" then
    cli:usage_hint(reference.command(service, endpoint) .. " --help",
      "unexpected %q: fields are given as --name value, values with spaces in quotes", after)
  end
  local contract = contracts.fetch(cli:server(), service.name, service.version)
  call(cli, contract, service, endpoint, { unpack(words, 2 + used) }, version)
  return 0
end

--- Runs words[1], name or name@version, as a service: true and the exit code; false and the names of services when there
--- is none.
---@param cli mica.cli.Console
---@param words string[]
---@return boolean known, any code_or_names
function dynamic.run(cli, words)
  local name, version = cli:name(words[1])
  local service, err = mica.try(calling.service, cli, name, version)
  if not service then
    if err.code == "NOT_FOUND" then return false, names_of_services(cli) end
    if err.code == "UNAVAILABLE" and err.id == "cli" then return without_server(cli, words, err) end
    error(err, 0)
  end
  return true, run_service(cli, service, words, version)
end

return dynamic
