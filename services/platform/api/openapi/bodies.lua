-- The bodies that an operation takes: JSON, forms with files, single fields, and what a caller streams.

local ordered = require "openapi.ordered"
local rules = require "openapi.rules"
local schema = require "openapi.schema"
local object = ordered.object

local bodies = {}

local LINES, FORM, BYTES, TEXT = "application/x-ndjson", "multipart/form-data", "application/octet-stream", "text/plain"

local function file() return object("type", "string", "format", "binary", "contentMediaType", BYTES) end

-- Bytes, or a message that is made for files: one with bytes called `data` (core/pb/form.h).
local function is_file(schemas, field)
  if field.map then return false end
  local message = field.message and not schema.is_well_known(field.message) and schemas.contract.messages[field.message]
  local data = message and message.by_name.data
  return field.type == "bytes" or data ~= nil and data ~= false and data.type == "bytes" and not data.repeated
end

-- The request as a form; nil where there are no files to be sent.
local function form_of(schemas, message, overlay)
  local properties, found = object(), false
  for _, field in ipairs(message.fields) do
    local made = schemas:field(field)
    if is_file(schemas, field) then
      found = true
      local text = field.comment ~= "" and field.comment or nil
      made = (field.repeated and object("type", "array", "items", file()) or file()):set("description", text)
    end
    properties:set(schemas:name_of(field), made)
  end
  if not found then return nil end
  local made = object("type", "object", "properties", properties)
  return object("schema", overlay and object("allOf", { made, overlay }) or made)
end

local function message_of(schemas, method)
  return not schema.is_well_known(method.input) and schemas.contract.messages[method.input] or nil
end

-- What a caller streams: lines, or a form whose files come in pieces.
local function stream_of(build, method)
  local schemas = build.schemas
  local message = message_of(schemas, method)
  local content = object(LINES, object("schema", schemas:message(method.input)))
  content:set(FORM, message and form_of(schemas, message))
  return object("description", "One JSON object a line, read as they come.", "content", content)
end

-- The whole request, but for what is elsewhere.
local function request_of(build, method, elsewhere)
  local schemas = build.schemas
  local message = message_of(schemas, method)
  local reference = schemas:message(method.input)
  local overlay = rules.overlay(schemas, method.input, build.constraints, elsewhere)
  local content = object("application/json", object("schema", overlay and object("allOf", { reference, overlay }) or reference))
  return object("content", content:set(FORM, message and form_of(schemas, message, overlay)))
end

-- One field of the request; bytes and texts also as they are.
local function field_of(build, method, name)
  local field = build.schemas.contract.messages[method.input].by_name[name]
  local content = object("application/json", object("schema", build.schemas:value(field)))
  if field.type == "bytes" and not field.repeated then content:set(BYTES, object("schema", file())) end
  if field.type == "string" and not field.repeated then content:set(TEXT, object("schema", object("type", "string"))) end
  return object("content", content)
end

--- The request body of an operation.
---@param build table { schemas, constraints }
---@param method table of mica.contract
---@param body string as in mica.core.v1.HttpRule, not empty
---@param elsewhere table<string, true> paths of fields that are not in the body
---@return table
function bodies.of(build, method, body, elsewhere)
  if method.client_streaming then return stream_of(build, method) end
  if body == "*" then return request_of(build, method, elsewhere) end
  return field_of(build, method, body)
end

return bodies
