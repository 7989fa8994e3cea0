-- Documents: the parts of services, put together.

local mica = require "mica"
local ordered = require "openapi.ordered"
local template = require "openapi.template"
local object = ordered.object

local document = {}

local ERROR = object("type", "object", "properties", object(
  "id", object("type", "string", "description", "Whose error it is: `service.Group.Method`, or `api`."),
  "code", object("type", "integer", "format", "int32", "description", "The HTTP status."),
  "detail", object("type", "string", "description", "What is wrong."),
  "status", object("type", "string", "description", "The words for the status.")),
  "required", { "id", "code", "detail", "status" })

local ERROR_RESPONSE = object("description", "An error.", "content",
  object("application/json", object("schema", object("$ref", "#/components/schemas/mica-error"))))

local BEARER = object("type", "http", "scheme", "bearer", "description", "The token of an account of the namespace.")

local NAMESPACE = "Mica-Namespace"
local DEFAULT_NAMESPACE = "mica"

local NOTES = "64-bit integers are strings unless a schema says otherwise, bytes are base64, enums are names, and NaN and the "
  .. "infinities are strings. Requests may not have fields that their schema lacks."

-- The names of schemas that two services use for different things get the service's name in front, in the later one.
local function renamed(part, taken)
  local clash = false
  for _, entry in ipairs(part.schemas) do
    clash = clash or taken[entry.name] ~= nil and taken[entry.name] ~= entry.text
  end
  if not clash then return part end
  local function rename(text) return (text:gsub('"#/components/schemas/', "%0" .. part.service .. "--")) end
  local made = { operations = {}, schemas = {}, tags = part.tags }
  for i, entry in ipairs(part.operations) do
    made.operations[i] = { path = entry.path, verb = entry.verb, names = entry.names, text = rename(entry.text) }
  end
  for i, entry in ipairs(part.schemas) do
    made.schemas[i] = { name = part.service .. "--" .. entry.name, text = rename(entry.text) }
  end
  return made
end

-- The operation with other names for the variables of its path; in JSON, quotes in texts are escaped.
local function with_names(entry, names)
  local new = {}
  for i, name in ipairs(entry.names) do new[name] = names[i] end
  return (entry.text:gsub('"name":"([%w_]+)","in":"path"', function(name)
    return ('"name":"%s","in":"path"'):format(new[name])
  end))
end

-- Paths that differ only in the names of their variables are one path for OpenAPI: the first gives the names.
local function add_operations(paths, entries)
  for _, entry in ipairs(entries) do
    local shape = template.shape(entry.path)
    local item = paths[shape]
    if not item then
      item = { path = entry.path, names = entry.names, verbs = {}, texts = {} }
      paths[shape] = item
      table.insert(paths, item)
    end
    if not item.verbs[entry.verb] then
      item.verbs[entry.verb] = true
      table.insert(item.texts, ('"%s":'):format(entry.verb) .. with_names(entry, item.names))
    end
  end
end

local function add_schemas(schemas, taken, entries)
  for _, entry in ipairs(entries) do
    if not taken[entry.name] then
      taken[entry.name] = entry.text
      table.insert(schemas, (",\n%s:%s"):format(mica.json.encode(entry.name), entry.text))
    end
  end
end

-- What stands before the paths, up to its last brace.
local function head(options)
  local text = options.description ~= "" and options.description .. "\n\n" .. NOTES or NOTES
  local info = object("title", options.title, "version", options.version, "description", text)
  return ordered.encode(object("openapi", "3.1.0", "info", info, "servers", { object("url", "/") }, "security",
    { object("bearer", ordered.list()) })):sub(1, -2)
end

-- A namespace that is not the default is named in a header of every request.
local function namespace_parameter(namespace)
  if namespace == DEFAULT_NAMESPACE then return nil end
  local value = object("type", "string", "const", namespace, "default", namespace)
  return object("namespace", object("name", NAMESPACE, "in", "header", "description", "The namespace of the services.",
    "required", true, "schema", value))
end

-- What stands behind the paths.
local function tail(namespace, schemas, tags)
  local parameter = namespace_parameter(namespace)
  return table.concat {
    '"components":{"schemas":{"mica-error":', ordered.encode(ERROR), table.concat(schemas), '},\n"responses":',
    ordered.encode(object("error", ERROR_RESPONSE)), parameter and ',\n"parameters":' .. ordered.encode(parameter) or "",
    ',\n"securitySchemes":', ordered.encode(object("bearer", BEARER)), '},\n"tags":[', table.concat(tags, ","), "]}\n",
  }
end

--- Writes a document piece by piece.
---@param options { title: string, version: string, description: string, namespace: string }
---@param next_part fun(): openapi.Part? the parts in order; may wait
---@param send fun(text: string) may wait
function document.write(options, next_part, send)
  local paths, names, schemas, tags = {}, {}, {}, {}
  for part in next_part do
    part = renamed(part, names)
    add_operations(paths, part.operations)
    add_schemas(schemas, names, part.schemas)
    for _, text in ipairs(part.tags) do table.insert(tags, text) end
  end
  local shared = namespace_parameter(options.namespace) and '"parameters":[{"$ref":"#/components/parameters/namespace"}],' or ""
  send(head(options) .. ',\n"paths":{')
  for i, item in ipairs(paths) do
    send((i > 1 and ",\n" or "") .. mica.json.encode(item.path) .. ":{" .. shared .. table.concat(item.texts, ",") .. "}")
  end
  send("},\n" .. tail(options.namespace, schemas, tags))
end

return document
