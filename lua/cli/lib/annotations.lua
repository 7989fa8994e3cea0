-- LuaCATS of a contract, for editors: messages as classes, enums as aliases, for each proto service its handlers
-- (posts.Posts.Server) and its stub (posts.Posts.Client), and what mica.client "posts" gives.
--
-- A class says what a handler reads: a field may be nil where it is optional in the contract (`Field.optional`); what
-- is written may leave out any field, which editors are told by .luarc.json.

local annotations = {}

-- ---- types of fields -----------------------------------------------------------------------------------------------

local WIDE = "integer|mica.int64"
local SCALARS = {
  double = "number", float = "number", bool = "boolean", string = "string", bytes = "string",
  int32 = "integer", uint32 = "integer", sint32 = "integer", fixed32 = "integer", sfixed32 = "integer",
  int64 = WIDE, uint64 = WIDE, sint64 = WIDE, fixed64 = WIDE, sfixed64 = WIDE,
}

-- Messages that are something else in Lua. All of them are nil when they are absent.
local WELL_KNOWN = {
  ["google.protobuf.DoubleValue"] = "number", ["google.protobuf.FloatValue"] = "number",
  ["google.protobuf.Int64Value"] = WIDE, ["google.protobuf.UInt64Value"] = WIDE,
  ["google.protobuf.Int32Value"] = "integer", ["google.protobuf.UInt32Value"] = "integer",
  ["google.protobuf.BoolValue"] = "boolean", ["google.protobuf.StringValue"] = "string",
  ["google.protobuf.BytesValue"] = "string", ["google.protobuf.Struct"] = "table<string, any>",
  ["google.protobuf.Value"] = "any", ["google.protobuf.ListValue"] = "any[]",
}

local function wide(field)
  local js = field.descriptor.options and field.descriptor.options.jstype
  if js == "JS_STRING" then return "string" end
  return js == "JS_NUMBER" and "integer" or WIDE
end

local function single(field)
  if field.type == "message" then return WELL_KNOWN[field.of] or field.of end
  if field.type == "enum" then return field.of end
  return SCALARS[field.type] == WIDE and wide(field) or SCALARS[field.type]
end

local function key_type(field)
  -- 64-bit keys beyond 2^53 are decimal strings.
  return SCALARS[field.type] == WIDE and "integer|string" or SCALARS[field.type]
end

local function type_of(field)
  if field.map then return ("table<%s, %s>"):format(key_type(field.map.key), single(field.map.value)) end
  local text = single(field)
  if not field.repeated then return text end
  return text:find("|", 1, true) and "(" .. text .. ")[]" or text .. "[]"
end

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
    while]]):gmatch "%l+" do
  KEYWORDS[word] = true
end

local function field_name(name)
  if name:sub(1, 1) == "[" then return '["' .. name .. '"]' end
  return KEYWORDS[name] and '["' .. name .. '"]' or name
end

-- ---- messages and enums --------------------------------------------------------------------------------------------

local function oneof_lines(message, out)
  for i, oneof in ipairs(message.descriptor.oneof_decl) do
    local names = {}
    for _, field in ipairs(message.fields) do
      if field.oneof == i then table.insert(names, ('"%s"'):format(field.name)) end
    end
    if #names > 0 then table.insert(out, ("---@field %s? %s which one is set"):format(field_name(oneof.name),
      table.concat(names, "|"))) end
  end
end

local function message_lines(index, message, out)
  table.insert(out, "---@class " .. message.full)
  for _, list in ipairs { message.fields, index.extensions[message.full] or {} } do
    for _, field in ipairs(list) do
      local mark = field.optional and "?" or ""
      table.insert(out, ("---@field %s%s %s"):format(field_name(field.name), mark, type_of(field)))
    end
  end
  oneof_lines(message, out)
  table.insert(out, "")
end

local function enum_lines(enum, out)
  table.insert(out, "---@alias " .. enum.full)
  local seen = {}
  for _, value in ipairs(enum.descriptor.value) do
    if not seen[value.name] then table.insert(out, ("---| '\"%s\"' # %d"):format(value.name, value.number)) end
    seen[value.name] = true
  end
  table.insert(out, "---| integer")
  table.insert(out, "")
end

-- ---- services ------------------------------------------------------------------------------------------------------

local function result_type(index, name)
  local message = index.messages[name]
  if WELL_KNOWN[name] then return WELL_KNOWN[name] end
  return #message.fields == 0 and name .. "?" or name -- nothing need be returned
end

local function value_type(name) return WELL_KNOWN[name] or name end

local function stream_lines(name, sent, received, out)
  table.insert(out, ("---@class %s: mica.Stream"):format(name))
  if sent then table.insert(out, ("---@field send fun(self, message: %s)"):format(sent)) end
  if received then
    table.insert(out, ("---@field recv fun(self): %s?"):format(received))
    table.insert(out, ("---@field messages fun(self): fun(): %s?"):format(received))
  end
  table.insert(out, "")
end

local function server_field(index, method)
  local m = method.descriptor
  local stream = method.full .. ".Stream"
  if m.client_streaming then
    local result = m.server_streaming and "" or ": " .. result_type(index, method.output)
    return ("---@field %s fun(ctx: mica.Context, stream: %s)%s"):format(method.name, stream, result)
  end
  local request = value_type(method.input)
  if m.server_streaming then
    return ("---@field %s fun(ctx: mica.Context, req: %s, stream: %s)"):format(method.name, request, stream)
  end
  local result = result_type(index, method.output)
  return ("---@field %s fun(ctx: mica.Context, req: %s): %s"):format(method.name, request, result)
end

local function client_field(method)
  local m = method.descriptor
  local answer = (m.client_streaming or m.server_streaming) and method.full .. ".Call" or value_type(method.output)
  if m.client_streaming then
    return ("---@field %s fun(opts?: mica.CallOptions): %s"):format(method.name, answer)
  end
  local request = value_type(method.input)
  return ("---@field %s fun(req?: %s, opts?: mica.CallOptions): %s"):format(method.name, request, answer)
end

local function method_lines(service, out)
  for _, method in ipairs(service.methods) do
    local m = method.descriptor
    local input, answer = value_type(method.input), value_type(method.output)
    if m.client_streaming or m.server_streaming then
      stream_lines(method.full .. ".Stream", m.server_streaming and answer, m.client_streaming and input, out)
      stream_lines(method.full .. ".Call", m.client_streaming and input, answer, out)
    end
  end
end

local function server_lines(index, service, out)
  table.insert(out, ("---@class %s.Server"):format(service.full))
  for _, method in ipairs(service.methods) do table.insert(out, server_field(index, method)) end
  table.insert(out, "")
end

local function stub_lines(service, out)
  table.insert(out, ("---@class %s.Client"):format(service.full))
  for _, method in ipairs(service.methods) do table.insert(out, client_field(method)) end
  table.insert(out, "")
end

-- "blog-posts" -> "BlogPosts": the group that mica.client takes when it is told none.
local function camel(name) return (name:match("[^.]+$"):gsub("^%l", string.upper):gsub("%-(.?)", string.upper)) end
annotations.camel = camel

local function client_lines(name, services, out)
  table.insert(out, "---@class mica.client")
  for _, service in ipairs(services) do
    if service.name == camel(name) then
      table.insert(out, ('---@overload fun(service: "%s"): %s.Client'):format(name, service.full))
    end
    table.insert(out,
      ('---@overload fun(service: "%s", group: "%s"): %s.Client'):format(name, service.name, service.full))
  end
  table.insert(out, "")
end

local function sorted(things, wanted)
  local list = {}
  for _, thing in pairs(things) do
    if wanted(thing) then table.insert(list, thing) end
  end
  table.sort(list, function(a, b) return a.full < b.full end)
  return list
end

-- ---- the file ------------------------------------------------------------------------------------------------------

--- The types of a service as the text of a Lua file.
---@param name string the service's
---@param index table its contract (lib/descriptors.lua)
---@param known? table<string, boolean> messages and enums that other files have already; those of this one are added
---@return string
function annotations.of(name, index, known)
  known = known or {}
  local function is_new(thing)
    local new = not known[thing.full] and not thing.entry and not WELL_KNOWN[thing.full]
    known[thing.full] = true
    return new and not thing.full:find "^google%.protobuf%.%w*Options" and not thing.full:find "DescriptorProto"
  end
  local out = { "---@meta", "-- Made by `mica types` of the contract of " .. name .. ": changes are lost.", "" }
  for _, enum in ipairs(sorted(index.enums, is_new)) do enum_lines(enum, out) end
  for _, message in ipairs(sorted(index.messages, is_new)) do message_lines(index, message, out) end
  for _, service in ipairs(index.services) do
    method_lines(service, out)
    server_lines(index, service, out)
    stub_lines(service, out)
  end
  for _, service in ipairs(index.others) do -- that it may dial: ---@type weather.Weather.Client
    if not known[service.full] then
      method_lines(service, out)
      stub_lines(service, out)
    end
    known[service.full] = true
  end
  client_lines(name, index.services, out)
  return (table.concat(out, "\n"):gsub("\n+$", "\n"))
end

return annotations
