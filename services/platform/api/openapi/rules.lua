-- What `validate` asks of a request (mica.core.v1.FieldRule), as keywords of JSON Schema.
--
-- Rules belong to an endpoint, a message may serve several: they are therefore not in the message's component but in a schema
-- that is laid over it. What JSON Schema cannot say (bounds of numbers that travel in strings, lengths of bytes, Lua patterns
-- without an equal, functions) is said in words.

local mica = require "mica"
local ordered = require "openapi.ordered"
local pattern = require "openapi.pattern"

local rules = {}

local NUMBERS = { double = true, float = true, int32 = true, uint32 = true, sint32 = true, fixed32 = true, sfixed32 = true }
local WIDE = { int64 = true, uint64 = true, sint64 = true, fixed64 = true, sfixed64 = true }

-- What the rules measure and compare: as lua/mica/validate.lua, but for how the value travels.
local function kind_of(field, style)
  if field.map then return "map" end
  if field.repeated then return "list" end
  if NUMBERS[field.type] or WIDE[field.type] and style.int64_number then return "number" end
  if WIDE[field.type] then return "text of a number" end
  return field.type
end

local LOWEST = { string = "minLength", list = "minItems", map = "minProperties", number = "minimum" }
local HIGHEST = { string = "maxLength", list = "maxItems", map = "maxProperties", number = "maximum" }

local function bound(limit, key, word, kind, made, words)
  local number = tonumber(limit)
  if not number or math.abs(number) == math.huge then return end
  if key then
    made:set(key, number)
  else
    table.insert(words, ("%s %s%s"):format(word, limit, kind == "bytes" and " bytes" or ""))
  end
end

-- A value of a rule as it travels.
local function as_sent(value, kind) return kind == "text of a number" and tostring(value) or value end

local function values(rule, kind, made)
  if rule.default ~= "" and kind ~= "bytes" then made:set("default", as_sent(mica.json.decode(rule.default), kind)) end
  if #rule.one_of == 0 or kind == "bytes" then return end
  local list = {}
  for i, value in ipairs(rule.one_of) do list[i] = as_sent(mica.json.decode(value), kind) end
  made:set("enum", list)
end

local function match(rule, kind, made, words)
  if rule.match == "" then return end
  local regex = kind == "string" and pattern.to_regex(rule.match)
  if regex then made:set("pattern", regex) else table.insert(words, ("like the Lua pattern %s"):format(rule.match)) end
end

-- What a field that is there must hold so as not to be the zero that `required` refuses.
local NOT_ZERO = { string = "minLength", bytes = "minLength", list = "minItems", map = "minProperties" }

local function require_value(rule, field, kind, made)
  if not rule.required or field.presence or rule.default ~= "" then return end
  local key = NOT_ZERO[kind]
  if key and not (made:get(key) and made:get(key) > 0) then made:set(key, 1) end
  if kind == "number" then made:set("not", ordered.object("const", 0)) end
end

-- Whether leaving the field out is refused. A field without presence is then checked as zero.
local function refuses_absence(rule, field, kind, zero_of_enum)
  if rule.default ~= "" then return false end
  if rule.required or field.presence then return rule.required end
  local number = kind == "number" or kind == "text of a number"
  if (tonumber(rule.min) or 0) > 0 or number and (tonumber(rule.max) or 0) < 0 then return true end
  if rule.match ~= "" and not (""):find(rule.match) then return true end
  if #rule.one_of == 0 then return false end
  local zero = field.enum and zero_of_enum or number and 0 or kind == "bool" and false or ""
  for _, value in ipairs(rule.one_of) do
    if mica.json.decode(value) == zero then return false end
  end
  return true
end

--- The keywords of one field, and whether it must be there.
---@param schemas table of openapi.schema
---@param field table of mica.contract
---@param rule table a mica.core.v1.FieldRule
---@return table keywords, boolean required
function rules.of_field(schemas, field, rule)
  local made, words = ordered.object(), {}
  local kind = kind_of(field, schemas.style)
  bound(rule.min, LOWEST[kind], "at least", kind, made, words)
  bound(rule.max, HIGHEST[kind], "at most", kind, made, words)
  values(rule, kind, made)
  match(rule, kind, made, words)
  require_value(rule, field, kind, made)
  if rule.checked then table.insert(words, "checked by the service") end
  if words[1] then made:set("description", "Must be: " .. table.concat(words, "; ") .. ".") end
  local enum = field.enum and schemas.contract.enums[field.enum]
  return made, refuses_absence(rule, field, kind, enum and enum.values[1] and enum.values[1].name)
end

-- ---- the schema that is laid over a message

local function inner(node, key)
  local made = node.properties:get(key) or ordered.object()
  node.properties:set(key, made)
  return made
end

-- The node of a message that lies in a property, or in its elements.
local function step(node, key, field)
  local made = inner(node, key)
  if field.repeated then
    local items = made:get "items" or ordered.object()
    made:set("items", items)
    made = items
  end
  node.nodes[key] = node.nodes[key] or { schema = made, properties = ordered.object(), required = {}, nodes = {} }
  return node.nodes[key]
end

local function seal(node)
  for _, below in pairs(node.nodes) do seal(below) end
  if not node.properties:is_empty() then node.schema:set("properties", node.properties) end
  if node.required[1] then node.schema:set("required", node.required) end
end

local function lay(schemas, root, message, rule)
  local node, field = root, nil
  for name in rule.path:gmatch "[^.]+" do
    if field then node = step(node, schemas:name_of(field), field) end
    field = schemas.contract.messages[message].by_name[name]
    message = field.message
  end
  local key = schemas:name_of(field)
  local keywords, required = rules.of_field(schemas, field, rule)
  local into = inner(node, key)
  for _, word in ipairs(keywords.keys) do into:set(word, keywords:get(word)) end
  if required then table.insert(node.required, key) end
end

--- A schema that holds the rules of a request; nil when there are none. `elsewhere`: paths of fields that are not in the body.
---@param schemas table of openapi.schema
---@param message string
---@param list table[] mica.core.v1.FieldRule
---@param elsewhere table<string, true>
---@return table?
function rules.overlay(schemas, message, list, elsewhere)
  local root = { schema = ordered.object(), properties = ordered.object(), required = {}, nodes = {} }
  for _, rule in ipairs(list) do
    if not elsewhere[rule.path] then lay(schemas, root, message, rule) end
  end
  seal(root)
  return not root.schema:is_empty() and root.schema or nil
end

return rules
