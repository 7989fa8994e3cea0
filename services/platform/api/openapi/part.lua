-- A part: what one version of a service contributes to documents, encoded, so that the document of a namespace with many
-- services is made by joining texts (document.lua). It holds what one audience may see: "all", or "public".

local mica = require "mica"
local contracts = require "mica.contract"
local descriptors = require "openapi.descriptors"
local operations = require "openapi.operations"
local ordered = require "openapi.ordered"
local schema = require "openapi.schema"
local object = ordered.object

local part = {}

local SLICE = 20 -- operations or components made in a row before others have their turn

-- Called after every piece of work: lets others run now and then.
local function pauses()
  local done = 0
  return function()
    done = done + 1
    if done % SLICE == 0 then mica.sleep(0) end
  end
end

-- How JSON of the service looks: all its endpoints have the same style.
local function style_of(service)
  local first = service.endpoints[1]
  local json = first and first.json or {}
  return { camel = json.camel == true, int64_number = json.int64_number == true }
end

local function is_shown(endpoint, audience)
  return not endpoint.hidden and (audience == "all" or endpoint.public)
end

--- Whether a service has anything for an audience.
---@param service table mica.registry.v1.Service
---@param audience "all"|"public"
---@return boolean
function part.has_any(service, audience)
  for _, endpoint in ipairs(service.endpoints) do
    if is_shown(endpoint, audience) then return true end
  end
  for _, handler in ipairs(service.http) do
    if audience == "all" or handler.public then return true end
  end
  return false
end

local function tags_of(service, contract)
  local list = {}
  for _, group in ipairs(contract.services) do
    table.insert(list, { name = operations.tag_of(service.name, group.name .. ".X"), text = group.comment })
  end
  return list
end

local function tag_texts(service, contract, used)
  local texts, seen = {}, {}
  for _, tag in ipairs(tags_of(service, contract)) do
    if used[tag.name] and not seen[tag.name] then
      seen[tag.name] = true
      table.insert(texts, ordered.encode(object("name", tag.name, "description", tag.text ~= "" and tag.text or nil)))
    end
  end
  return texts
end

---@class openapi.Part
---@field service string its name
---@field operations { path: string, verb: string, names: string[], text: string }[] by path; the names of its variables
---@field schemas { name: string, text: string }[] by name
---@field tags string[]
---@field size integer bytes of all texts

local function before(a, b)
  if a.path ~= b.path then return a.path < b.path end
  return a.number < b.number
end

local function names_of(variables)
  local names = {}
  for i, variable in ipairs(variables) do names[i] = variable.name end
  return names
end

--- Makes the part of a service; takes several turns for a large one.
---@param service table mica.registry.v1.Service
---@param answer table mica.registry.v1.GetContractResponse
---@param audience "all"|"public"
---@return openapi.Part
function part.make(service, answer, audience)
  local pause = pauses()
  local contract = contracts.read(descriptors.decode(answer.descriptors, pause), answer.protos, pause)
  local schemas = schema.new(contract, style_of(service))
  local build = { schemas = schemas, service = service, list = {} }
  local used = {}
  for _, endpoint in ipairs(service.endpoints) do
    local method = is_shown(endpoint, audience) and contract.by_path[endpoint.path]
    if method then
      operations.add(build, endpoint, method)
      used[operations.tag_of(service.name, endpoint.name)] = true
    end
    pause()
  end
  for _, handler in ipairs(service.http) do
    if audience == "all" or handler.public then operations.add_handler(build, handler) end
  end
  local made = { service = service.name, operations = {}, schemas = {}, tags = tag_texts(service, contract, used), size = 0 }
  local function add(list, entry)
    table.insert(list, entry)
    made.size = made.size + #entry.text + 200
    pause()
  end
  for i, operation in ipairs(build.list) do operation.number = i end
  table.sort(build.list, before)
  for _, operation in ipairs(build.list) do
    add(made.operations, { path = operation.path, verb = operation.verb, names = names_of(operation.variables),
      text = ordered.encode(operation) })
  end
  for name, component in mica.sorted(schemas:finish(pause)) do
    add(made.schemas, { name = name, text = ordered.encode(component) })
  end
  return made
end

return part
