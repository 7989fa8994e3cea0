-- The operations of a service: for every endpoint its path by Micro's rules and one for each template, for every raw HTTP
-- handler the path that it is known by.

local bodies = require "openapi.bodies"
local ordered = require "openapi.ordered"
local parameters = require "openapi.parameters"
local paths = require "paths"
local template = require "openapi.template"
local object = ordered.object

local operations = {}

local METHODS = { GET = "get", PUT = "put", POST = "post", DELETE = "delete", OPTIONS = "options", HEAD = "head", PATCH = "patch",
  TRACE = "trace", ["*"] = "post", [""] = "post" }
local HAS_NO_BODY = { get = true, head = true }

local ERROR = object("$ref", "#/components/responses/error")

-- "reads a post. Or two." -> "reads a post."
local function summary_of(text) return text:match "^[^\n]-%.%f[%s%z]" or text:match "^[^\n]*" end

local function group_of(endpoint) return endpoint:match "^(.+)%.[^.]+$" end

--- The tag of an endpoint: the service, and the group where that has another name.
function operations.tag_of(service, endpoint)
  local group = group_of(endpoint)
  local own = paths.camel(service:match "[^.]+$")
  return group == own and service or service .. "." .. group
end

-- ---- answers

local function answer_schema(build, method, rule)
  local schemas = build.schemas
  if rule.response_body == "" then return schemas:message(method.output) end
  return schemas:value(schemas.contract.messages[method.output].by_name[rule.response_body])
end

local function stream_answer(item)
  local event = object("type", "string", "description", "Server-sent events; the data of each is one message as JSON.")
  local content = object("application/x-ndjson", object("schema", item), "text/event-stream", object("schema", event))
  local text = "A stream of messages, one JSON object a line; an error after the first one is a last line "
    .. '`{"error": ...}`. Asked for by `accept`, it comes as server-sent events.'
  return object("description", text, "content", content)
end

local function whole_answer(build, method, made)
  local message = build.schemas.contract.messages[method.output]
  local comment = message and message.comment or ""
  return object("description", comment ~= "" and comment or "The answer.", "content",
    object("application/json", object("schema", made)))
end

local function is_empty(build, method, rule)
  if rule.response_body ~= "" then return false end
  local message = build.schemas.contract.messages[method.output]
  return message and #message.fields == 0 and not message.extensions
end

local function answers(build, endpoint, method, rule)
  local answer = answer_schema(build, method, rule)
  if method.server_streaming then return object("200", stream_answer(answer), "default", ERROR) end
  local made = object()
  if endpoint.empty == 0 or not is_empty(build, method, rule) then made:set("200", whole_answer(build, method, answer)) end
  if endpoint.empty ~= 0 then made:set(tostring(endpoint.empty), object("description", "The answer holds nothing.")) end
  return made:set("default", ERROR)
end

-- ---- operations

local SOCKET = "As a WebSocket at this path, each message is a text, both ways; an empty text says that the caller has finished."

-- The first sentence, and all there is to say where that is more.
local function texts_of(endpoint, method)
  local text = endpoint.description ~= "" and endpoint.description or method.comment
  local summary = text ~= "" and summary_of(text) or nil
  local parts = { text ~= "" and text or nil }
  if endpoint.deadline > 0 then table.insert(parts, ("It answers within %g s, or with 504."):format(endpoint.deadline)) end
  if method.client_streaming then table.insert(parts, SOCKET) end
  text = table.concat(parts, "\n\n")
  return summary, text ~= (summary or "") and text or nil
end

-- What is said of an endpoint whatever its path is. `nth`: of its paths, since an id stands for one operation.
local function new_operation(build, endpoint, method, nth)
  local summary, text = texts_of(endpoint, method)
  local id = build.service.name .. "." .. endpoint.name .. (nth > 1 and "." .. nth or "")
  return object("operationId", id, "tags", { operations.tag_of(build.service.name, endpoint.name) },
    "summary", summary, "description", text, "deprecated", method.deprecated or nil)
end

-- `path`: of template.lua.
local function finish_operation(build, operation, public, path, verb)
  if public then operation:set("security", ordered.list()) end
  operation.path, operation.verb, operation.variables = path.path, verb, path.variables
  table.insert(build.list, operation)
end

-- The paths of fields that a request does not have in its body.
local function fields_elsewhere(variables, body)
  local elsewhere = {}
  for _, variable in ipairs(variables) do
    if variable.field then elsewhere[variable.field] = true end
  end
  if body ~= "" and body ~= "*" then elsewhere[body] = true end
  return elsewhere
end

-- Where a client that comes back to a stream of events says how far it got.
local LAST_EVENT = object("name", "Last-Event-ID", "in", "header", "description",
  "The id of the last event that came: the stream goes on behind it.", "schema", object("type", "string"))

local function parameters_of(build, endpoint, method, body, variables, elsewhere)
  local list = parameters.of_path(build.schemas, method.input, variables, build.by_path)
  if endpoint.resume ~= "" then table.insert(list, LAST_EVENT) end
  if body ~= "*" then
    for _, parameter in ipairs(parameters.of_query(build.schemas, method.input, elsewhere, build.by_path)) do
      table.insert(list, parameter)
    end
  end
  return list[1] and list or nil
end

local function add_operation(build, endpoint, method, rule, nth)
  local verb = METHODS[rule.method]
  if not verb then return end -- OpenAPI has no methods of one's own
  local body = HAS_NO_BODY[verb] and "" or rule.body
  local path = template.read(rule.template)
  local elsewhere = fields_elsewhere(path.variables, body)
  local operation = new_operation(build, endpoint, method, nth)
  operation:set("parameters", parameters_of(build, endpoint, method, body, path.variables, elsewhere))
  if body ~= "" then operation:set("requestBody", bodies.of(build, method, body, elsewhere)) end
  operation:set("responses", answers(build, endpoint, method, rule))
  finish_operation(build, operation, endpoint.public, path, verb)
end

--- Adds the operations of an endpoint to build.list, each with `path`, `verb` and `variables`.
---@param build table { schemas, service, list }
---@param endpoint table mica.core.v1.Endpoint
---@param method table of mica.contract
function operations.add(build, endpoint, method)
  build.constraints, build.by_path = endpoint.constraints, {}
  for _, rule in ipairs(endpoint.constraints) do build.by_path[rule.path] = rule end
  local canonical = paths.canonical(build.service.name, endpoint.name)
  local nth = 0
  if canonical then
    nth = 1
    add_operation(build, endpoint, method, { method = "POST", template = canonical, body = "*", response_body = "" }, nth)
  end
  for _, rule in ipairs(endpoint.http) do
    nth = nth + 1
    add_operation(build, endpoint, method, rule, nth)
  end
end

--- Adds a raw HTTP handler, of which nothing is known but its path.
---@param build table
---@param handler table mica.core.v1.HttpHandler
function operations.add_handler(build, handler)
  local verb, below = handler.key:match "^(%S+) (.*)$"
  local service = build.service
  local base = service.namespace == "" and "" or "/" .. service.name:gsub("%.", "/")
  local path = template.read((base .. (below == "/" and base ~= "" and "" or below)):gsub("/%*([%w_]+)$", "/{%1=**}"))
  local list = {}
  for i, variable in ipairs(path.variables) do
    local text = variable.rest and parameters.REST or nil
    list[i] = object("name", variable.name, "in", "path", "description", text, "required", true,
      "schema", object("type", "string"))
  end
  local operation = object("tags", { service.name }, "parameters", list[1] and list, "responses",
    object("default", object("description", "What the service's handler answers.")))
  finish_operation(build, operation, handler.public, path, METHODS[verb])
end

return operations
