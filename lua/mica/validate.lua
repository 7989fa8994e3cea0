-- SPDX-License-Identifier: Apache-2.0
-- endpoints[...].validate: rules for the fields of a request. They are read once, when the service loads, against the
-- contract; a request is then checked by a list of small steps, and all its faults are reported together.
--
-- A field that can be absent (optional, message) and is absent is checked for `required` only. One that cannot is checked as
-- it reads: zero is a value.
local core = ...
local errors = core.use("mica.errors")
local suggest = core.use("mica.suggest")
local int64, compare = core.proto.int64, core.proto.compare

local M = {}

local RULES = { required = true, default = true, min = true, max = true, match = true, one_of = true, check = true }
local INTEGERS = { int32 = true, uint32 = true, sint32 = true, fixed32 = true, sfixed32 = true, int64 = true, uint64 = true,
  sint64 = true, fixed64 = true, sfixed64 = true }

local function kind_of(field)
  if field.repeated or field.map then return "list" end
  if field.type == "string" or field.type == "bytes" or field.type == "bool" or field.type == "enum" then return field.type end
  if field.type == "message" or field.type == "group" then return "message" end
  return "number"
end

-- ---- the value of a rule against a value ---------------------------------------------------------------------------------

local function characters(text)
  return #text - select(2, text:gsub("[\128-\191]", ""))
end

-- What min and max measure, and its unit.
local function measure(kind, value)
  if kind == "string" then return characters(value), " characters" end
  if kind == "bytes" then return #value, " bytes" end
  if kind == "list" then
    local n = #value
    if n == 0 then for _ in pairs(value) do n = n + 1 end end
    return n, " elements"
  end
  if type(value) == "string" then value = int64(value) end -- [jstype = JS_STRING]
  return value, ""
end

local function less(a, b)
  if type(a) == "number" and type(b) == "number" then return a < b end
  return compare(a, b) < 0
end

local function is_zero(kind, value)
  if value == nil then return true end
  if kind == "string" or kind == "bytes" then return value == "" end
  if kind == "list" then return next(value) == nil end
  if kind == "number" then return value == 0 or value == "0" end
  return false
end

local function show(value)
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

-- What is wrong with a value that is there; nil when nothing is.
local function fault_of(rule, value)
  local amount, unit = nil, nil
  if rule.min or rule.max then amount, unit = measure(rule.kind, value) end
  if rule.min and less(amount, rule.min) then
    return (unit == "" and "must be at least %s" or "must have at least %s" .. unit):format(tostring(rule.min))
  end
  if rule.max and less(rule.max, amount) then
    return (unit == "" and "must be at most %s" or "must have at most %s" .. unit):format(tostring(rule.max))
  end
  if rule.match and not value:find(rule.match) then return "does not match " .. rule.match end
  if rule.allowed and not rule.allowed[value] then return "must be one of " .. rule.listed end
  if rule.check then
    local text = rule.check(value)
    if text ~= nil and type(text) ~= "string" then
      error(("the check of %s must return a text or nil, got %s"):format(rule.path, type(text)), 0)
    end
    return text
  end
end

local function check_value(rule, holder, name, path, faults)
  local value = holder[name]
  if rule.default ~= nil and is_zero(rule.kind, value) then
    value = rule.default
    holder[name] = value
  end
  if value == nil or (rule.required and not rule.presence and is_zero(rule.kind, value)) then
    if rule.required then faults[path] = "is required" end
    return
  end
  faults[path] = fault_of(rule, value)
end

-- Walks to the field through messages that are there, and through all elements of lists.
local function check_path(rule, holder, depth, prefix, faults)
  local step = rule.steps[depth]
  local path = prefix .. step.name
  if depth == #rule.steps then return check_value(rule, holder, step.name, path, faults) end
  local inner = holder[step.name]
  if inner == nil then return end
  if not step.repeated then return check_path(rule, inner, depth + 1, path .. ".", faults) end
  for i, element in ipairs(inner) do
    check_path(rule, element, depth + 1, ("%s[%d]."):format(path, i - 1), faults)
  end
end

-- ---- reading the rules ---------------------------------------------------------------------------------------------------

local function complain(field, fmt, ...)
  error({ field = field, text = fmt:format(...) }, 0)
end

local function find_field(message, name, path)
  local names = {}
  for _, field in ipairs(core.fields(message) or {}) do
    if field.name == name then return field end
    names[field.name] = true
  end
  complain(path, '%s has no field "%s"%s', message, name, suggest.hint(name, names))
end

local function read_steps(message, path)
  local steps = {}
  for name in path:gmatch("[^.]+") do
    if not message then complain(path, '"%s" is no message: "%s" has no fields', steps[#steps].name, path) end
    local field = find_field(message, name, path)
    steps[#steps + 1] = field
    message = not field.map and field.message or nil
  end
  if #steps == 0 then complain(path, "an empty path") end
  return steps
end

local function is_number(kind, field, value)
  if kind ~= "number" then return type(value) == "number" and value >= 0 and value == math.floor(value) end
  if type(value) == "number" then return not INTEGERS[field.type] or value == math.floor(value) end
  return type(value) == "userdata" or type(value) == "cdata" -- int64
end

local function check_bounds(rule, field, path)
  for _, key in ipairs { "min", "max" } do
    if rule[key] ~= nil then
      if rule.kind == "bool" or rule.kind == "enum" or rule.kind == "message" then
        complain(path, "%s: %s is for numbers, strings and lists", path, key)
      end
      if not is_number(rule.kind, field, rule[key]) then complain(path, "%s: %s must be a number", path, key) end
    end
  end
end

local function check_default(rule, field, path)
  local value = rule.default
  if value == nil then return end
  local wanted = ({ string = "string", bytes = "string", bool = "boolean", enum = "string", number = "number" })[rule.kind]
  if not wanted then complain(path, "%s: a list or message cannot have a default", path) end
  if type(value) ~= wanted then complain(path, "%s: the default must be a %s, got %s", path, wanted, type(value)) end
  if INTEGERS[field.type] and value ~= math.floor(value) then complain(path, "%s: the default must be whole", path) end
end

local function check_match(rule, path)
  if rule.match == nil then return end
  if rule.kind ~= "string" and rule.kind ~= "bytes" then complain(path, "%s: match is for strings", path) end
  if type(rule.match) ~= "string" or not pcall(string.find, "", rule.match) then
    complain(path, "%s: match must be a Lua pattern, such as \"^%%w+$\"", path)
  end
end

local function check_one_of(rule, field, path)
  if rule.one_of == nil then return end
  if type(rule.one_of) ~= "table" or rule.one_of[1] == nil then complain(path, "%s: one_of must be a list of values", path) end
  if rule.kind == "list" or rule.kind == "message" then complain(path, "%s: one_of is for single values", path) end
  local names = field.enum and core.enum_values(field.enum)
  local known = {}
  for _, name in ipairs(names or {}) do known[name] = true end
  rule.allowed = {}
  local shown = {}
  for i, value in ipairs(rule.one_of) do
    if names and not known[value] then
      complain(path, "%s: %s has no value %s%s", path, field.enum, show(value), suggest.hint(value, known))
    end
    rule.allowed[value] = true
    shown[i] = show(value)
  end
  rule.listed = table.concat(shown, ", ")
end

local function read_rule(message, path, given)
  if type(path) ~= "string" then complain(nil, "the rules are keyed by the paths of fields") end
  local rule = {}
  if given == "required" then
    rule.required = true
  elseif type(given) == "table" then
    for key, value in pairs(given) do
      if not RULES[key] then complain(path, '%s: there is no rule "%s"%s', path, tostring(key), suggest.hint(key, RULES)) end
      rule[key] = value
    end
  else
    complain(path, '%s: write "required", or { required =, default =, min =, max =, match =, one_of =, check = }', path)
  end
  rule.path, rule.steps = path, read_steps(message, path)
  local field = rule.steps[#rule.steps]
  rule.kind, rule.presence = kind_of(field), field.presence
  if rule.required ~= nil and type(rule.required) ~= "boolean" then complain(path, "%s: required must be true", path) end
  if rule.required and not rule.presence and (rule.kind == "bool" or rule.kind == "enum") then
    complain(path, "%s: an absent %s reads as its zero value: write `optional` before it in the .proto", path, rule.kind)
  end
  check_bounds(rule, field, path)
  check_default(rule, field, path)
  check_match(rule, path)
  check_one_of(rule, field, path)
  if rule.check ~= nil and type(rule.check) ~= "function" then complain(path, "%s: check must be a function", path) end
  return rule
end

local function read_rules(message, rules)
  local list = {}
  for path, given in core.use("mica.sorted")(rules) do list[#list + 1] = read_rule(message, path, given) end
  return list
end

--- A function that checks a request, and raises INVALID_ARGUMENT with all faults; or nil and { field, text } of a faulty
--- rule.
---@param message string full name of the request's type
---@param rules table<string, "required"|table>
function M.compile(message, rules)
  local ok, list = pcall(read_rules, message, rules)
  if not ok then
    if type(list) ~= "table" then error(list, 0) end
    return nil, list
  end
  return function(request)
    local faults = {}
    for i = 1, #list do check_path(list[i], request, 1, "", faults) end
    if next(faults) then error(errors.invalid_fields(faults), 0) end
  end
end

return M
