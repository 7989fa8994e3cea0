-- SPDX-License-Identifier: Apache-2.0
-- A definition as an encoded mica.core.v1.Definition: what the registry shows and the doors route by. Loaded for one call.
local core = ...

local DEPTH = 6 -- of described messages
local MAX_VALUES = 2000 -- of one endpoint

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

local function describe_message(message)
  return { name = message:match("[^.]+$"), type = message, values = describe_fields(message, 1, {}, { left = MAX_VALUES }) }
end

local function describe_method(method)
  return {
    name = method.endpoint,
    path = method.path,
    client_streaming = method.client_streaming,
    server_streaming = method.server_streaming,
    public = method.public or false,
    hidden = method.hidden or false,
    deadline = method.deadline or 0,
    description = method.comment or "",
    request = describe_message(method.input),
    response = describe_message(method.output),
    http = method.http or "",
  }
end

return function(d)
  local endpoints = {}
  for _, service in ipairs(d.services) do
    for _, method in ipairs(service.methods) do endpoints[#endpoints + 1] = describe_method(method) end
  end
  local limits = d.limits
  return core.encode("mica.core.v1.Definition", {
    name = d.name,
    description = d.services[1] and d.services[1].comment or "",
    endpoints = endpoints,
    limits = { memory = limits.memory, deadline = limits.deadline, concurrency = limits.concurrency, queue = limits.queue,
      message = limits.message },
    warnings = d.warnings,
  })
end
