-- A service's contract as tables, read from the descriptors that Registry.GetContract or a build gives.
--
--   contract.messages[full name] = { full_name, comment, fields (by number), by_name, entry (of a map) }
--   contract.enums[full name]    = { full_name, comment, values = list of { name, number, comment } }
--   contract.services            = list of { name, full_name, comment, methods } of the service's own files
--   contract.methods["Posts.Save"] = { name, endpoint, path, input, output, client_streaming, server_streaming,
--                                  comment }
--   contract.files               = list of the service's own files, as google.protobuf.FileDescriptorProto
--
-- A field is { name, json_name, number, type = "string", repeated, map, message, enum, oneof, required, comment }; a map
-- has its entry's fields as `key` and `value`.

local mica = require "mica"

local contract = {}

local function trim(text) return (text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("\n ", "\n")) end

-- The comments of a file by the path of what they stand at: "4.0.2.1" is the second field of the first message.
local function comments_of(file)
  local found = {}
  for _, location in ipairs(file.source_code_info and file.source_code_info.location or {}) do
    local text = location.leading_comments or ""
    if text == "" then text = location.trailing_comments or "" end
    if text ~= "" then found[table.concat(location.path, ".")] = trim(text) end
  end
  return found
end

local function without_dot(name) return name ~= nil and name ~= "" and name:gsub("^%.", "") or nil end

local TYPES = { TYPE_GROUP = "message" }

local function type_of(field) return TYPES[field.type] or field.type:gsub("^TYPE_", ""):lower() end

local function add_enum(into, scope, enum, comments, path)
  local values = {}
  for i, value in ipairs(enum.value) do
    values[i] = { name = value.name, number = value.number, comment = comments[path .. ".2." .. i - 1] or "" }
  end
  local full = scope .. enum.name
  into.enums[full] = { full_name = full, comment = comments[path] or "", values = values }
end

local function new_field(field, message, comment)
  local type = type_of(field)
  local in_oneof = field.oneof_index and not field.proto3_optional
  local oneof = in_oneof and message.oneof_decl[field.oneof_index + 1].name or nil
  return {
    name = type == "message" and field.type == "TYPE_GROUP" and field.name:lower() or field.name,
    json_name = field.json_name or field.name,
    number = field.number,
    type = type,
    repeated = field.label == "LABEL_REPEATED",
    required = field.label == "LABEL_REQUIRED",
    message = type == "message" and without_dot(field.type_name) or nil,
    enum = type == "enum" and without_dot(field.type_name) or nil,
    oneof = oneof,
    comment = comment or "",
  }
end

local function add_message(into, scope, message, comments, path)
  local full = scope .. message.name
  local found = {
    full_name = full,
    comment = comments[path] or "",
    fields = {},
    by_name = {},
    entry = message.options ~= nil and message.options.map_entry or false,
  }
  into.messages[full] = found
  for i, field in ipairs(message.field) do
    found.fields[i] = new_field(field, message, comments[path .. ".2." .. i - 1])
    found.by_name[found.fields[i].name] = found.fields[i]
  end
  table.sort(found.fields, function(a, b) return a.number < b.number end)
  for i, nested in ipairs(message.nested_type) do
    add_message(into, full .. ".", nested, comments, path .. ".3." .. i - 1)
  end
  for i, enum in ipairs(message.enum_type) do add_enum(into, full .. ".", enum, comments, path .. ".4." .. i - 1) end
end

local function new_method(service, full, method, comment)
  return {
    name = method.name,
    endpoint = service.name .. "." .. method.name,
    path = ("/%s/%s"):format(full, method.name),
    input = without_dot(method.input_type),
    output = without_dot(method.output_type),
    client_streaming = method.client_streaming or false,
    server_streaming = method.server_streaming or false,
    comment = comment or "",
  }
end

local function add_service(into, scope, service, comments, path)
  local full = scope .. service.name
  local found = { name = service.name, full_name = full, comment = comments[path] or "", methods = {} }
  for i, method in ipairs(service.method) do
    local made = new_method(service, full, method, comments[path .. ".2." .. i - 1])
    found.methods[i] = made
    into.methods[made.endpoint] = made
  end
  table.insert(into.services, found)
end

local function add_file(into, file, own)
  local comments = comments_of(file)
  local scope = (file.package or "") ~= "" and file.package .. "." or ""
  for i, message in ipairs(file.message_type) do add_message(into, scope, message, comments, "4." .. i - 1) end
  for i, enum in ipairs(file.enum_type) do add_enum(into, scope, enum, comments, "5." .. i - 1) end
  if not own then return end
  for i, service in ipairs(file.service) do add_service(into, scope, service, comments, "6." .. i - 1) end
end

-- Fields whose message is a map's entry are maps.
local function mark_maps(into)
  for _, message in pairs(into.messages) do
    for _, field in ipairs(message.fields) do
      local entry = field.message and into.messages[field.message]
      if entry and entry.entry then
        field.map = true
        field.key, field.value = entry.by_name.key, entry.by_name.value
      end
    end
  end
end

--- Reads an encoded mica.cli.v1.Contract (which an encoded registry GetContractResponse is too).
---@param bytes string
---@return table contract
function contract.read(bytes)
  local read = mica.proto.decode("mica.cli.v1.Contract", bytes)
  local found = { messages = {}, enums = {}, services = {}, methods = {}, files = {} }
  local own = {}
  for _, name in ipairs(read.protos) do own[name] = true end
  for _, file in ipairs(read.descriptors and read.descriptors.file or {}) do
    if own[file.name] then table.insert(found.files, file) end
    add_file(found, file, own[file.name])
  end
  mark_maps(found)
  return found
end

--- The contract of a service that runs, over the server.
---@param server mica.cli.Server
---@param name string
---@param version? string
---@param opts? table of the call
---@return table contract
function contract.fetch(server, name, version, opts)
  local request = mica.json.encode { name = name, version = version }
  local text = server:call_text("/mica.registry.v1.Registry/GetContract", request, opts)
  local answer = mica.proto.from_json("mica.registry.v1.GetContractResponse", text)
  return contract.read(mica.proto.encode("mica.registry.v1.GetContractResponse", answer))
end

return contract
