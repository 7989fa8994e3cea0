-- JSON Schemas of messages and enums, in the form in which the gateway writes and reads them (core/pb/json_sink.c).
--
-- A message or enum of the contract is a component under its full proto name; well-known types stand where they are used, as
-- what they look like in JSON. What the gateway accepts beyond what it writes (both spellings of names, numbers in strings,
-- numbers of enums) is not in the schemas: who keeps to them is understood. Two things are written that they leave out, since
-- every generated client would have to carry them at every field: NaN and the infinities are strings, and a value that an enum
-- lacks is its number.

local ordered = require "openapi.ordered"
local object = ordered.object

local PREFIX = "#/components/schemas/"
local MOST_EXCLUSIONS = 16 -- members of a oneof beyond which "at most one" is said in words only

local schema = {}

local Schemas = {}
Schemas.__index = Schemas

---@class openapi.Style how JSON of a service looks: mica.core.v1.JsonStyle
---@field camel boolean lowerCamelCase names
---@field int64_number boolean 64-bit integers as numbers

---@param contract table of mica.contract
---@param style openapi.Style
function schema.new(contract, style)
  return setmetatable({ contract = contract, style = style, components = {}, queue = {} }, Schemas)
end

--- The name of a field in JSON.
function Schemas:name_of(field) return self.style.camel and field.json_name or field.name end

-- ---- scalars

local function integer(format, minimum, maximum)
  return function() return object("type", "integer", "format", format, "minimum", minimum, "maximum", maximum) end
end

local function text(format, more, value)
  return function() return object("type", "string", "format", format, more, value) end
end

-- 64 bits in a string, or in a number where the service says so.
local function wide(format, pattern, minimum)
  return function(style)
    if style.int64_number then return object("type", "integer", "format", format, "minimum", minimum) end
    return object("type", "string", "format", format, "pattern", pattern)
  end
end

local SIGNED, UNSIGNED = "^-?[0-9]+$", "^[0-9]+$"
local INT32, UINT32 = integer("int32", -2 ^ 31, 2 ^ 31 - 1), integer("uint32", 0, 2 ^ 32 - 1)
local INT64, UINT64 = wide("int64", SIGNED), wide("uint64", UNSIGNED, 0)

local SCALARS = {
  double = function() return object("type", "number", "format", "double") end,
  float = function() return object("type", "number", "format", "float") end,
  bool = function() return object("type", "boolean") end,
  string = text(),
  bytes = text(nil, "contentEncoding", "base64"),
  int32 = INT32, sint32 = INT32, sfixed32 = INT32, uint32 = UINT32, fixed32 = UINT32,
  int64 = INT64, sint64 = INT64, sfixed64 = INT64, uint64 = UINT64, fixed64 = UINT64,
}

-- ---- well-known types

local function described(made, words) return made:set("description", words) end

local WELL_KNOWN = {
  Timestamp = text "date-time",
  Duration = text(nil, "pattern", "^-?[0-9]+(\\.[0-9]{1,9})?s$"),
  FieldMask = function() return described(object("type", "string"), "Paths of fields, separated by commas.") end,
  Empty = function() return object("type", "object") end,
  Struct = function() return object("type", "object", "additionalProperties", true) end,
  Value = function() return described(object(), "Any JSON value.") end,
  ListValue = function() return object("type", "array", "items", object()) end,
  Any = function()
    local properties = object("@type", described(object("type", "string"), "A URL that ends with the full name of the type."))
    return object("type", "object", "properties", properties, "required", { "@type" }, "additionalProperties", true)
  end,
}

local WRAPPED = { DoubleValue = "double", FloatValue = "float", Int64Value = "int64", UInt64Value = "uint64",
  Int32Value = "int32", UInt32Value = "uint32", BoolValue = "bool", StringValue = "string", BytesValue = "bytes" }

--- The scalar in a wrapper; nil for what is none.
function schema.wrapped(name)
  local short = name:match "^google%.protobuf%.(%w+)$"
  return short and WRAPPED[short]
end

function schema.is_well_known(name)
  local short = name:match "^google%.protobuf%.(%w+)$"
  return short ~= nil and (WELL_KNOWN[short] ~= nil or WRAPPED[short] ~= nil)
end

-- A schema of its own, or nil for a message of the contract.
local function well_known(self, name)
  local short = name:match "^google%.protobuf%.(%w+)$"
  if short and WELL_KNOWN[short] then return WELL_KNOWN[short]() end
  return short and WRAPPED[short] and SCALARS[WRAPPED[short]](self.style) or nil
end

-- ---- references

local function need(self, name)
  if not self.components[name] then
    self.components[name] = true
    table.insert(self.queue, name)
  end
  return object("$ref", PREFIX .. name)
end

--- The schema of a message where it is used.
function Schemas:message(name) return well_known(self, name) or need(self, name) end

function Schemas:scalar(type) return SCALARS[type](self.style) end

-- 64 bits for callers whose numbers are doubles: as many digits as those hold exactly.
local function exact(made)
  if made:get "type" == "string" then made:set("pattern", (made:get "pattern":gsub("%+%$$", "{1,16}$"))) end
  return made:set("description", "At most 2^53, the sign aside.")
end

--- One value of a field: of a list's element, of a map's.
function Schemas:single(field)
  if field.message then return self:message(field.message) end
  if field.enum == "google.protobuf.NullValue" then return object("type", "null") end
  if field.enum then return need(self, field.enum) end
  local made = self:scalar(field.type)
  return field.jstype == "JS_NUMBER" and exact(made) or made
end

local KEY_PATTERNS = { bool = "^(true|false)$", uint32 = UNSIGNED, fixed32 = UNSIGNED, uint64 = UNSIGNED, fixed64 = UNSIGNED }

local function map_schema(self, field)
  local made = object("type", "object", "additionalProperties", self:single(field.value))
  if field.key.type ~= "string" then
    made:set("propertyNames", object("pattern", KEY_PATTERNS[field.key.type] or SIGNED))
  end
  return made
end

local NUMBERS = { double = true, float = true, int32 = true, uint32 = true, sint32 = true, fixed32 = true, sfixed32 = true }

-- What stands for an absent field of proto2, as JSON; nil where it cannot be said so.
local function default_of(field)
  local given = field.default
  if given == nil or given == "" then return nil end
  if field.type == "bool" then return given == "true" end
  if NUMBERS[field.type] then return tonumber(given) end
  if field.type == "string" or field.enum then return given end
end

--- The value of a field, without what is said about the field. A wrapper that is not there may be null.
function Schemas:value(field)
  if field.map then return map_schema(self, field) end
  local made = self:single(field)
  if field.repeated then return object("type", "array", "items", made) end
  if field.message and schema.wrapped(field.message) then made:set("type", { made:get "type", "null" }) end
  return made
end

--- The schema of a field, its comment included.
function Schemas:field(field)
  local made = self:value(field)
  local words = made:get "description"
  if field.comment ~= "" then made:set("description", words and field.comment .. "\n\n" .. words or field.comment) end
  if field.deprecated then made:set("deprecated", true) end
  return made:set("default", default_of(field))
end

-- ---- components

-- "At most one": where a member is set, the others must not be.
local function exclude(self, oneof, dependent)
  for _, member in ipairs(oneof.members) do
    local others = object()
    for _, other in ipairs(oneof.members) do
      if other ~= member then others:set(self:name_of(other), false) end
    end
    dependent:set(self:name_of(member), object("properties", others))
  end
end

local function describe_oneof(self, oneof)
  local names = {}
  for i, member in ipairs(oneof.members) do names[i] = "`" .. self:name_of(member) .. "`" end
  local comment = oneof.comment ~= "" and ": " .. oneof.comment or ""
  return ("%s, at most one of %s%s"):format(oneof.name, table.concat(names, ", "), comment)
end

local function component_of_message(self, message)
  local properties, required, dependent = object(), {}, object()
  local texts = { message.comment ~= "" and message.comment or nil }
  local function add(field)
    properties:set(self:name_of(field), self:field(field))
    if field.required then table.insert(required, self:name_of(field)) end
  end
  for _, field in ipairs(message.fields) do add(field) end
  for _, field in ipairs(message.extensions or {}) do add(field) end
  for _, oneof in ipairs(message.oneofs) do
    table.insert(texts, describe_oneof(self, oneof))
    if #oneof.members > 1 and #oneof.members <= MOST_EXCLUSIONS then exclude(self, oneof, dependent) end
  end
  return object("type", "object", "description", texts[1] and table.concat(texts, "\n\n"),
    "properties", not properties:is_empty() and properties or nil, "required", required[1] and required,
    "dependentSchemas", not dependent:is_empty() and dependent or nil, "deprecated", message.deprecated or nil)
end

local function component_of_enum(enum)
  local names, texts = {}, { enum.comment ~= "" and enum.comment or nil }
  for i, value in ipairs(enum.values) do
    names[i] = value.name
    if value.comment ~= "" then table.insert(texts, ("`%s`: %s"):format(value.name, value.comment)) end
  end
  return object("type", "string", "enum", names, "description", texts[1] and table.concat(texts, "\n\n"),
    "deprecated", enum.deprecated or nil)
end

--- Makes the components that have been referred to, and those that they refer to.
---@param pause fun() called after each
---@return table<string, table> by full name
function Schemas:finish(pause)
  local made = {}
  while self.queue[1] do
    local name = table.remove(self.queue)
    local message, enum = self.contract.messages[name], self.contract.enums[name]
    made[name] = message and component_of_message(self, message) or component_of_enum(enum)
    pause()
  end
  return made
end

return schema
