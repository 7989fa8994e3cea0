-- Parameters of an operation: the variables of its path, and the fields of the request that a query can hold.
--
-- In a query, fields of messages are dotted ("page.limit"), maps and Structs have their keys in brackets, lists repeat. Lists
-- of messages, and messages inside themselves, have no place there: they are left out.

local ordered = require "openapi.ordered"
local rules = require "openapi.rules"
local schema = require "openapi.schema"
local object = ordered.object

local parameters = {}

--- What is said of a variable that takes the rest of a path.
parameters.REST = "May hold slashes, which are sent as they are."

local DEPTH = 5 -- of messages in a query
local MOST = 200 -- parameters of one operation

-- The field at a path, and the name of its path in JSON.
local function find(schemas, message, path)
  local field
  local names = {}
  for name in path:gmatch "[^.]+" do
    local holder = schemas.contract.messages[message]
    field = holder and holder.by_name[name]
    if not field then return nil, path end
    table.insert(names, schemas:name_of(field))
    message = field.message
  end
  return field, table.concat(names, ".")
end

-- A schema with the keywords of a rule, and its description apart, since that belongs to the parameter.
local function with_rule(schemas, field, made, rule)
  local text = field.comment ~= "" and field.comment or nil
  if field.oneof then text = (text and text .. "\n\n" or "") .. ("At most one of the oneof `%s`."):format(field.oneof) end
  local required = false
  if rule then
    local keywords, needed = rules.of_field(schemas, field, rule)
    for _, key in ipairs(keywords.keys) do
      if key == "description" then
        text = (text and text .. "\n\n" or "") .. keywords:get(key)
      else
        made:set(key, keywords:get(key))
      end
    end
    required = needed
  end
  return made, text, required
end

local function and_then(text, more) return text and more and text .. " " .. more or text or more end

--- The variables of a path.
---@param schemas table of openapi.schema
---@param message string the request's type
---@param variables openapi.Variable[]
---@param by_path table<string, table> the rules by path of the field
---@return table[]
function parameters.of_path(schemas, message, variables, by_path)
  local list = {}
  for _, variable in ipairs(variables) do
    local field = variable.field and find(schemas, message, variable.field)
    local made, text
    if field and variable.whole then
      made, text = with_rule(schemas, field, schemas:single(field), by_path[variable.field])
      if variable.name ~= variable.field then text = and_then(("The field `%s`."):format(variable.field), text) end
    else
      made, text = object("type", "string"), field and ("A part of `%s`."):format(variable.field)
    end
    if variable.rest then
      text = and_then(text, parameters.REST)
    elseif made:get "type" == "string" and not made:get "minLength" then
      made:set("minLength", 1) -- a segment is never empty
    end
    table.insert(list, object("name", variable.name, "in", "path", "description", text, "required", true, "schema", made))
  end
  return list
end

-- How a field stands in a query: "value", "list", "keys", "message", or nil.
local function form_of(field)
  local name = field.message
  if field.map then return field.value.message == nil and "keys" or nil end
  local one = name == nil or schema.wrapped(name) ~= nil or name == "google.protobuf.Timestamp"
    or name == "google.protobuf.Duration" or name == "google.protobuf.FieldMask" or name == "google.protobuf.Value"
  if one then return field.repeated and "list" or "value" end
  if field.repeated then return nil end
  if name == "google.protobuf.Struct" then return "keys" end
  return not schema.is_well_known(name) and "message" or nil
end

local function value_schema(schemas, field)
  local wrapped = field.message and schema.wrapped(field.message)
  if wrapped and not field.repeated then return schemas:scalar(wrapped) end
  return schemas:value(field)
end

local function add(walk, field, path, shown, form)
  local schemas = walk.schemas
  local made, text, required = with_rule(schemas, field, value_schema(schemas, field), walk.by_path[path])
  if walk.inside then required = false end -- of a message, which may be absent
  local parameter = object("name", shown, "in", "query", "description", text,
    "required", (required or field.required and not walk.inside) or nil, "deprecated", field.deprecated or nil)
  if form == "keys" then parameter:set("style", "deepObject"):set("explode", true) end
  table.insert(walk.list, parameter:set("schema", made))
end

local visit

local function visit_message(walk, field, path, shown)
  if walk.open[field.message] or walk.depth == DEPTH then return end
  walk.depth, walk.open[field.message] = walk.depth + 1, true
  local inside = walk.inside
  walk.inside = true
  visit(walk, field.message, path .. ".", shown .. ".")
  walk.inside = inside
  walk.depth, walk.open[field.message] = walk.depth - 1, nil
end

function visit(walk, message, prefix, shown_prefix)
  for _, field in ipairs(walk.schemas.contract.messages[message].fields) do
    local path, shown = prefix .. field.name, shown_prefix .. walk.schemas:name_of(field)
    local form = not walk.elsewhere[path] and form_of(field)
    if form and #walk.list < MOST then
      if form == "message" then visit_message(walk, field, path, shown) else add(walk, field, path, shown, form) end
    end
  end
end

--- The fields that a query can hold, but for those that are `elsewhere`: in the path, in the body.
---@return table[]
function parameters.of_query(schemas, message, elsewhere, by_path)
  local walk = { schemas = schemas, elsewhere = elsewhere, by_path = by_path, list = {}, open = { [message] = true }, depth = 0,
    inside = false }
  if not schema.is_well_known(message) then visit(walk, message, "", "") end
  return walk.list
end

return parameters
