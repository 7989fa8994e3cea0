-- Server reflection: the contracts of what runs, for clients that have no .proto files. Both versions of the protocol have the
-- same messages, so one handler serves both.
--
-- Who sees what. Someone with an account of a namespace sees the platform's services and all of that namespace; a stranger
-- sees the proto services that have a public endpoint, and the files that they stand in. Endpoints that are `hidden` are
-- not listed. Of several versions of a service it is the one that answers calls which name none.
--
-- Contracts come from different authors, so two may declare the same name. What answers calls decides: see Contracts.Find
-- (mica/core/v1/core.proto), which gets the contracts in the order in which the doors prefer them.

local mica = require "mica"
local errors = mica.errors

-- So many streams at a time; a client needs one for as long as it asks.
local MAX_STREAMS = 100

local NOT_FOUND, INVALID_ARGUMENT = 5, 3

local reflection = {}

local services = {} -- those that answer calls, in order
local contracts -- the core, from the first question on
local open = 0
local ending = mica.channel() -- closed when the server stops

function reflection.update(list) services = list end
function reflection.stop() ending:close() end

-- The proto services of a deployed one that may be seen: a sorted list of full names.
local function visible_services(service, stranger)
  local found, list = {}, {}
  for _, endpoint in ipairs(service.endpoints) do
    local name = endpoint.path:match "^/(.+)/"
    if name and not found[name] and not endpoint.hidden and (endpoint.public or not stranger) then
      found[name] = true
      table.insert(list, name)
    end
  end
  table.sort(list)
  return list
end

local function seen_by(ctx, visit)
  local stranger = ctx.account == nil
  for _, service in ipairs(services) do
    if service.namespace == "" or service.namespace == ctx.namespace then
      visit(service, stranger)
    end
  end
end

-- What Contracts.Find may look at. Without roots it would look at all of a contract, so one with nothing to see is left out.
local function contracts_for(ctx)
  local list = {}
  seen_by(ctx, function(service, stranger)
    local roots = stranger and visible_services(service, true) or {}
    if stranger and #roots == 0 then return end
    table.insert(list, {
      namespace = service.namespace, service = service.name, version = service.version, roots = roots,
    })
  end)
  return list
end

local function list_services(ctx)
  local found, list = {}, {}
  seen_by(ctx, function(service, stranger)
    for _, name in ipairs(visible_services(service, stranger)) do
      if not found[name] then table.insert(list, { name = name }) end
      found[name] = true
    end
  end)
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function fault(code, fmt, ...)
  return { error_response = { error_code = code, error_message = fmt:format(...) } }
end

-- The answer of the core, or nil and an error response that says what was not found.
local function find(ctx, query, what)
  query.contracts = contracts_for(ctx)
  contracts = contracts or mica.native "contracts"
  local found, err = mica.try(contracts.Find, query)
  if found then return found end
  if err.code ~= "NOT_FOUND" then error(err, 0) end
  return nil, fault(NOT_FOUND, "not found: %s", what)
end

local function files(ctx, query, what)
  local found, missing = find(ctx, query, what)
  if not found then return missing end
  return { file_descriptor_response = { file_descriptor_proto = found.files } }
end

local function answer(ctx, req)
  local asked = req.message_request
  if asked == "list_services" then
    return { list_services_response = { service = list_services(ctx) } }
  elseif asked == "file_by_filename" and req.file_by_filename ~= "" then
    return files(ctx, { file = req.file_by_filename }, ("file %q"):format(req.file_by_filename))
  elseif asked == "file_containing_symbol" and req.file_containing_symbol ~= "" then
    local symbol = req.file_containing_symbol:gsub("^%.", "")
    return files(ctx, { symbol = symbol }, ("symbol %q"):format(symbol))
  elseif asked == "file_containing_extension" then
    local extension = req.file_containing_extension
    local what = ("extension %d of %q"):format(extension.extension_number, extension.containing_type)
    if extension.extension_number <= 0 or extension.containing_type == "" then return fault(NOT_FOUND, "not found: %s", what) end
    return files(ctx, { extended = extension.containing_type, number = extension.extension_number }, what)
  elseif asked == "all_extension_numbers_of_type" and req.all_extension_numbers_of_type ~= "" then
    local type_name = req.all_extension_numbers_of_type
    local found, missing = find(ctx, { extended = type_name }, ("message %q"):format(type_name))
    if not found then return missing end
    return { all_extension_numbers_response = { base_type_name = type_name, extension_number = found.numbers } }
  end
  return fault(INVALID_ARGUMENT, "the request asks for nothing: set one field of message_request")
end

local function serve(ctx, stream)
  for req in stream:messages() do
    local response = answer(ctx, req)
    response.valid_host = req.host
    response.original_request = req
    stream:send(response)
  end
end

---@type fun(ctx: mica.Context, stream: mica.Stream)
function reflection.handle(ctx, stream)
  if open >= MAX_STREAMS then
    error(errors.resource_exhausted("%d clients use reflection already: try again later", open))
  end
  open = open + 1
  ctx:defer(function() open = open - 1 end)
  local ended = mica.race {
    function()
      serve(ctx, stream)
      return "served"
    end,
    function()
      ending:recv()
      return "stopping"
    end,
  }
  if ended == "stopping" then error(errors.unavailable "the server is stopping") end
end

return reflection
