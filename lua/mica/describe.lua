-- SPDX-License-Identifier: Apache-2.0
-- A definition as an encoded mica.core.v1.Definition: what the registry shows and the doors route by. Loaded for one call.
local core = ...

local DEPTH = 6 -- of described messages
local MAX_VALUES = 2000 -- of one message
local MAX_TOTAL = 10000 -- of a definition: messages beyond are named only

local describe_fields

local function type_of(field)
  local name = field.message or field.enum or field.type
  if field.map then
    local key, value = "string", "message"
    for _, part in ipairs(core.fields(field.message) or {}) do
      if part.name == "key" then key = part.type end
      if part.name == "value" then value = part.message or part.enum or part.type end
    end
    return ("map[%s]%s"):format(key, value)
  end
  return (field.repeated and "[]" or "") .. name
end

-- A type that contains itself is described once.
local function describe_field(field, depth, open, budget)
  local value = { name = field.name, type = type_of(field) }
  if field.message and not field.map and depth < DEPTH and not open[field.message] then
    value.values = describe_fields(field.message, depth + 1, open, budget)
  end
  return value
end

function describe_fields(message, depth, open, budget)
  if message:find("^google%.protobuf%.") then return nil end -- well-known: its name says it
  local values = {}
  open[message] = true
  for _, field in ipairs(core.fields(message) or {}) do
    if budget.left == 0 then break end
    budget.left = budget.left - 1
    values[#values + 1] = describe_field(field, depth, open, budget)
  end
  open[message] = nil
  return values
end

local function describe_message(message, total)
  local budget = { left = math.min(MAX_VALUES, total.left) }
  local before = budget.left
  local values = describe_fields(message, 1, {}, budget)
  total.left = total.left - (before - budget.left)
  return { name = message:match("[^.]+$"), type = message, values = values }
end

local function show(value) return type(value) == "string" and ("%q"):format(value) or tostring(value) end

-- A rule of `validate` for people: "required; from 1 to 200".
local function describe_rule(rule)
  if rule == "required" then return "required" end
  local parts = {}
  if rule.required then parts[#parts + 1] = "required" end
  if rule.min ~= nil and rule.max ~= nil then
    parts[#parts + 1] = ("from %s to %s"):format(show(rule.min), show(rule.max))
  elseif rule.min ~= nil then
    parts[#parts + 1] = "at least " .. show(rule.min)
  elseif rule.max ~= nil then
    parts[#parts + 1] = "at most " .. show(rule.max)
  end
  if rule.match then parts[#parts + 1] = "like " .. rule.match end
  if rule.one_of then
    local values = {}
    for i, value in ipairs(rule.one_of) do values[i] = show(value) end
    parts[#parts + 1] = "one of " .. table.concat(values, ", ")
  end
  if rule.default ~= nil then parts[#parts + 1] = "default " .. show(rule.default) end
  if rule.check and #parts == 0 then parts[1] = "checked" end
  return table.concat(parts, "; ")
end

local function describe_rules(rules)
  local texts = {}
  for path, rule in next, rules or {} do texts[path] = describe_rule(rule) end
  return texts
end

-- A value of a rule as JSON; an integer beyond 2^53 keeps its digits.
local function as_json(value)
  if type(value) == "string" or type(value) == "boolean" then return core.use("mica.json").encode(value) end
  return tostring(value)
end

-- The same for programs, by path: a list of mica.core.v1.FieldRule.
local function list_constraints(rules)
  local list = {}
  for path, rule in core.use("mica.sorted")(rules or {}) do
    if rule == "required" then rule = { required = true } end
    local one_of = {}
    for i, value in ipairs(rule.one_of or {}) do one_of[i] = as_json(value) end
    list[#list + 1] = { path = path, required = rule.required, min = rule.min and as_json(rule.min),
      max = rule.max and as_json(rule.max), match = rule.match, one_of = one_of,
      default = rule.default ~= nil and as_json(rule.default) or nil, checked = rule.check ~= nil }
  end
  return list
end

-- nil: Micro's form.
local function describe_json(json)
  if not (json and next(json)) then return nil end
  return { camel = json.names == "camel", no_defaults = json.defaults == false, int64_number = json.int64 == "number" }
end

local function describe_method(method, total, json)
  return {
    name = method.endpoint,
    path = method.path,
    client_streaming = method.client_streaming,
    server_streaming = method.server_streaming,
    public = method.public or false,
    hidden = method.hidden or false,
    deadline = method.deadline or 0,
    description = method.comment or "",
    request = describe_message(method.input, total),
    response = describe_message(method.output, total),
    event_id = method.event_id or "",
    resume = method.resume or "",
    rules = describe_rules(method.rules),
    http = method.http,
    json = json,
    empty = method.empty or 0,
    constraints = list_constraints(method.rules),
  }
end

return function(d)
  local endpoints, total, json = {}, { left = MAX_TOTAL }, describe_json(d.json)
  for _, service in ipairs(d.services) do
    for _, method in ipairs(service.methods) do endpoints[#endpoints + 1] = describe_method(method, total, json) end
  end
  local limits, http = d.limits, {}
  for i, h in ipairs(d.http or {}) do http[i] = { key = h.key, public = h.public } end
  return core.encode("mica.core.v1.Definition", {
    name = d.name,
    description = d.services[1] and d.services[1].comment or "",
    endpoints = endpoints,
    limits = { memory = limits.memory, deadline = limits.deadline, concurrency = limits.concurrency, queue = limits.queue,
      message = limits.message },
    warnings = d.warnings,
    http = http,
  })
end
