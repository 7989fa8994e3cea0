-- What a contract changes that breaks callers of the one before: over gRPC, which goes by numbers and types, and as
-- JSON, which goes by names.

local changes = {}

local function by(list, key)
  local out = {}
  for _, item in ipairs(list) do out[item[key]] = item end
  return out
end

local function type_text(field)
  if field.map then return ("map<%s, %s>"):format(type_text(field.map.key), type_text(field.map.value)) end
  return (field.repeated and "repeated " or "") .. (field.of or field.type)
end

local function compare_enum(state, old, new)
  local values = by(new.descriptor.value, "name")
  for _, value in ipairs(old.descriptor.value) do
    local now = values[value.name]
    if not now then
      state.report(new.place, "the value %s of the enum %s is gone", value.name, old.full)
    elseif now.number ~= value.number then
      state.report(new.place, "the value %s of the enum %s was %d and is %d",
        value.name, old.full, value.number, now.number)
    end
  end
end

local compare_message

local function compare_types(state, old, new)
  if old.type ~= new.type or not old.of then return end
  if old.type == "message" then compare_message(state, old.of, new.of) end
  if old.type == "enum" and not state.seen[old.of] then
    state.seen[old.of] = true
    compare_enum(state, state.old.enums[old.of], state.new.enums[new.of])
  end
end

-- A message or enum may have another name, as long as what is in it fits.
local function same_kind(old, new)
  if (old.map ~= nil) ~= (new.map ~= nil) then return false end
  if old.map then return same_kind(old.map.key, new.map.key) and same_kind(old.map.value, new.map.value) end
  return old.type == new.type and old.repeated == new.repeated
end

local function compare_field(state, message, old, new)
  local shown = ("the field %q of %s"):format(old.name, message.full)
  if old.name ~= new.name then
    state.report(new.place, "%s is called %q now", shown, new.name)
  elseif not same_kind(old, new) then
    state.report(new.place, "%s was %s and is %s", shown, type_text(old), type_text(new))
  elseif old.map then
    compare_types(state, old.map.value, new.map.value)
  else
    compare_types(state, old, new)
  end
end

function compare_message(state, old_name, new_name)
  if state.seen[old_name] then return end
  state.seen[old_name] = true
  local old, new = state.old.messages[old_name], state.new.messages[new_name]
  local fields, before = by(new.fields, "number"), by(old.fields, "number")
  for _, field in ipairs(old.fields) do
    local now = fields[field.number]
    if now then
      compare_field(state, new, field, now)
    else
      state.report(new.place, "the field %q (%d) of %s is gone", field.name, field.number, new.full)
    end
  end
  for _, field in ipairs(new.fields) do
    if field.descriptor.label == "LABEL_REQUIRED" and not before[field.number] then
      state.report(field.place, "the field %q of %s is new and required", field.name, new.full)
    end
  end
end

local KINDS = { "unary", "a stream from the server", "a stream from the client", "streams both ways" }

local function kind(method)
  local m = method.descriptor
  return KINDS[1 + (m.server_streaming and 1 or 0) + (m.client_streaming and 2 or 0)]
end

local function compare_method(state, old, new)
  if kind(old) ~= kind(new) then
    state.report(new.place, "%s was %s and is %s", old.full, kind(old), kind(new))
    return
  end
  compare_message(state, old.input, new.input)
  compare_message(state, old.output, new.output)
end

--- The changes that break callers, in the order of the old contract.
---@param old table an index (lib/descriptors.lua)
---@param new table
---@return { place: string, text: string }[]
function changes.breaking(old, new)
  local found = {}
  local state = { old = old, new = new, seen = {} }
  function state.report(place, fmt, ...) table.insert(found, { place = place, text = fmt:format(...) }) end
  local services = by(new.services, "full")
  for _, service in ipairs(old.services) do
    local now = services[service.full]
    local methods = now and by(now.methods, "name")
    if not now then state.report(service.place:gsub(":%d+$", ""), "the service %s is gone", service.full) end
    for _, method in ipairs(now and service.methods or {}) do
      if methods[method.name] then
        compare_method(state, method, methods[method.name])
      else
        state.report(now.place, "the method %s is gone", method.full)
      end
    end
  end
  return found
end

return changes
