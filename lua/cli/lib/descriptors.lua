-- A contract by the names of what is in it, with the places in the .proto files: what `types` writes and `check`
-- compares.
--
--   index.messages["posts.Post"] = { full, descriptor, place, own, entry, fields = list of field }
--   index.enums["posts.State"]   = { full, descriptor, place, own }
--   index.services               = list of { full, name, descriptor, place, methods }; only the service's own
--   index.others                 = the same of files that are imported, or the contract of another server
--   a method is { name, full, descriptor, place, input, output }
--   index.extensions["posts.Post"] = list of field, whose name is "[package.name]"
--   a field is { name, number, descriptor, place, repeated, map = { key, value }, optional, oneof, type = "int64",
--                of = the full name of its message or enum }
--   a place is "proto/posts.proto:12"
-- `optional`: it may be absent, which reads as nil.

local mica = require "mica"

local descriptors = {}

local MESSAGES, ENUMS, SERVICES, EXTENSIONS = 4, 5, 6, 7 -- field numbers of FileDescriptorProto, which make up paths
local FIELDS, NESTED, NESTED_ENUMS, NESTED_EXTENSIONS, METHODS = 2, 3, 4, 6, 2

local function lines_of(file)
  local lines = {}
  for _, location in ipairs(file.source_code_info and file.source_code_info.location or {}) do
    lines[table.concat(location.path, ".")] = location.span[1] + 1
  end
  return lines
end

local function place(at, path)
  local line = at.lines[path]
  return "proto/" .. at.file.name .. (line and ":" .. line or "")
end

local function bare(type_name) return (type_name:gsub("^%.", "")) end

local function new_field(at, raw, path, proto3)
  local is_group = raw.type == "TYPE_GROUP"
  local composite = is_group or raw.type == "TYPE_MESSAGE"
  local repeated = raw.label == "LABEL_REPEATED"
  local in_oneof = raw.oneof_index ~= nil and not raw.proto3_optional
  return {
    name = is_group and raw.name:lower() or raw.name,
    number = raw.number,
    descriptor = raw,
    place = place(at, path),
    repeated = repeated,
    optional = not repeated and (composite or in_oneof or raw.proto3_optional == true
      or (not proto3 and raw.label == "LABEL_OPTIONAL")),
    oneof = in_oneof and raw.oneof_index + 1 or nil,
    type = composite and "message" or raw.type:gsub("^TYPE_", ""):lower(),
    of = raw.type_name ~= nil and raw.type_name ~= "" and bare(raw.type_name) or nil,
  }
end

local function add_enum(index, at, scope, raw, path)
  index.enums[scope .. raw.name] = { full = scope .. raw.name, descriptor = raw, place = place(at, path), own = at.own }
end

local function add_extensions(index, at, scope, list, path)
  for i, raw in ipairs(list) do
    local field = new_field(at, raw, path .. "." .. i - 1, at.proto3)
    field.name = "[" .. scope .. raw.name .. "]"
    local extended = bare(raw.extendee)
    index.extensions[extended] = index.extensions[extended] or {}
    table.insert(index.extensions[extended], field)
  end
end

local function add_message(index, at, scope, raw, path)
  local full = scope .. raw.name
  local message = { full = full, descriptor = raw, place = place(at, path), own = at.own, fields = {} }
  message.entry = raw.options ~= nil and raw.options.map_entry == true
  index.messages[full] = message
  for i, field in ipairs(raw.field) do
    message.fields[i] = new_field(at, field, ("%s.%d.%d"):format(path, FIELDS, i - 1), at.proto3)
  end
  for i, nested in ipairs(raw.nested_type) do
    add_message(index, at, full .. ".", nested, ("%s.%d.%d"):format(path, NESTED, i - 1))
  end
  for i, enum in ipairs(raw.enum_type) do
    add_enum(index, at, full .. ".", enum, ("%s.%d.%d"):format(path, NESTED_ENUMS, i - 1))
  end
  add_extensions(index, at, full .. ".", raw.extension, ("%s.%d"):format(path, NESTED_EXTENSIONS))
end

local function add_service(at, list, scope, raw, path)
  local service = { full = scope .. raw.name, name = raw.name, descriptor = raw, place = place(at, path), methods = {} }
  for i, method in ipairs(raw.method) do
    service.methods[i] = {
      name = method.name,
      full = service.full .. "." .. method.name,
      descriptor = method,
      place = place(at, ("%s.%d.%d"):format(path, METHODS, i - 1)),
      input = bare(method.input_type),
      output = bare(method.output_type),
    }
  end
  table.insert(list, service)
end

local function add_file(index, file, own)
  local at = { file = file, own = own, lines = lines_of(file), proto3 = file.syntax == "proto3" }
  local scope = (file.package or "") ~= "" and file.package .. "." or ""
  for i, message in ipairs(file.message_type) do
    add_message(index, at, scope, message, MESSAGES .. "." .. i - 1)
  end
  for i, enum in ipairs(file.enum_type) do add_enum(index, at, scope, enum, ENUMS .. "." .. i - 1) end
  add_extensions(index, at, scope, file.extension, tostring(EXTENSIONS))
  local list = own and index.services or index.others
  for i, service in ipairs(file.service) do add_service(at, list, scope, service, SERVICES .. "." .. i - 1) end
end

local function mark_map(index, field)
  local entry = field.of and index.messages[field.of]
  if not (field.repeated and entry and entry.entry) then return end
  field.map = {}
  for _, part in ipairs(entry.fields) do field.map[part.name] = part end
end

---@param bytes string an encoded google.protobuf.FileDescriptorSet
---@param protos string[] the service's own files
---@return table index
function descriptors.index(bytes, protos)
  local set = mica.proto.decode("google.protobuf.FileDescriptorSet", bytes)
  local index = { messages = {}, enums = {}, services = {}, others = {}, extensions = {} }
  local own = {}
  for _, name in ipairs(protos) do own[name] = true end
  for _, file in ipairs(set.file) do add_file(index, file, own[file.name] == true) end
  for _, message in pairs(index.messages) do
    for _, field in ipairs(message.fields) do mark_map(index, field) end
  end
  return index
end

return descriptors
