-- SPDX-License-Identifier: Apache-2.0
-- A contract as tables, read from its descriptors: for tools that show it (the command line, the gateway's OpenAPI).
--
--   contract.messages[full name] = { full_name, comment, fields (by number), by_name, oneofs, entry (of a map), deprecated }
--   contract.enums[full name]    = { full_name, comment, values = list of { name, number, comment }, deprecated }
--   contract.services            = list of { name, full_name, comment, methods, deprecated } of the service's own files
--   contract.methods["Posts.Save"] = { name, endpoint, path, input, output, client_streaming, server_streaming,
--                                  comment, deprecated, service }
--   contract.by_path["/posts.Posts/Save"] = the same
--   contract.files               = list of the service's own files, as google.protobuf.FileDescriptorProto
--
-- A field is { name, json_name, number, type = "string", repeated, map, message, enum, oneof, required, presence, jstype,
-- default, comment, deprecated }; a map has its entry's fields as `key` and `value`. `presence`: it may be absent. Extensions
-- stand in `message.extensions`, under their name in JSON: "[package.name]".

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

local function is_deprecated(descriptor) return descriptor.options ~= nil and descriptor.options.deprecated == true end

local TYPES = { TYPE_GROUP = "message" }

local function type_of(field) return TYPES[field.type] or field.type:gsub("^TYPE_", ""):lower() end

local function add_enum(into, scope, enum, comments, path)
  local values = {}
  for i, value in ipairs(enum.value) do
    values[i] = { name = value.name, number = value.number, comment = comments[path .. ".2." .. i - 1] or "" }
  end
  local full = scope .. enum.name
  into.enums[full] = { full_name = full, comment = comments[path] or "", values = values, deprecated = is_deprecated(enum) }
end

local function new_field(field, message, comment, proto3)
  local type = type_of(field)
  local in_oneof = field.oneof_index and not field.proto3_optional
  local repeated = field.label == "LABEL_REPEATED"
  return {
    name = type == "message" and field.type == "TYPE_GROUP" and field.name:lower() or field.name,
    json_name = field.json_name or field.name,
    number = field.number,
    type = type,
    repeated = repeated,
    required = field.label == "LABEL_REQUIRED",
    presence = not repeated and (type == "message" or field.oneof_index ~= nil or not proto3),
    message = type == "message" and without_dot(field.type_name) or nil,
    enum = type == "enum" and without_dot(field.type_name) or nil,
    oneof = in_oneof and message.oneof_decl[field.oneof_index + 1].name or nil,
    jstype = field.options and field.options.jstype or nil,
    default = field.default_value,
    comment = comment or "",
    deprecated = is_deprecated(field),
  }
end

local function add_oneofs(found, message, comments, path)
  for i, oneof in ipairs(message.oneof_decl) do
    local members = {}
    for _, field in ipairs(found.fields) do
      if field.oneof == oneof.name then table.insert(members, field) end
    end
    if members[1] then
      table.insert(found.oneofs, { name = oneof.name, comment = comments[path .. ".8." .. i - 1] or "", members = members })
    end
  end
end

local function add_extensions(into, at, scope, list, path)
  for i, raw in ipairs(list) do
    local field = new_field(raw, raw, at.comments[path .. "." .. i - 1], at.proto3)
    field.name = "[" .. scope .. raw.name .. "]"
    field.json_name = field.name
    table.insert(into.extensions, { extended = without_dot(raw.extendee), field = field })
  end
end

local function add_message(into, at, scope, message, path)
  local full, comments = scope .. message.name, at.comments
  local found = {
    full_name = full,
    comment = comments[path] or "",
    fields = {},
    by_name = {},
    oneofs = {},
    entry = message.options ~= nil and message.options.map_entry or false,
    deprecated = is_deprecated(message),
  }
  into.messages[full] = found
  for i, field in ipairs(message.field) do
    found.fields[i] = new_field(field, message, comments[path .. ".2." .. i - 1], at.proto3)
    found.by_name[found.fields[i].name] = found.fields[i]
  end
  table.sort(found.fields, function(a, b) return a.number < b.number end)
  add_oneofs(found, message, comments, path)
  for i, nested in ipairs(message.nested_type) do add_message(into, at, full .. ".", nested, path .. ".3." .. i - 1) end
  for i, enum in ipairs(message.enum_type) do add_enum(into, full .. ".", enum, comments, path .. ".4." .. i - 1) end
  add_extensions(into, at, full .. ".", message.extension, path .. ".6")
end

local function new_method(service, method, comment)
  return {
    name = method.name,
    endpoint = service.name .. "." .. method.name,
    path = ("/%s/%s"):format(service.full_name, method.name),
    input = without_dot(method.input_type),
    output = without_dot(method.output_type),
    client_streaming = method.client_streaming or false,
    server_streaming = method.server_streaming or false,
    comment = comment or "",
    deprecated = service.deprecated or is_deprecated(method),
    service = service,
  }
end

local function add_service(into, scope, service, comments, path)
  local found = { name = service.name, full_name = scope .. service.name, comment = comments[path] or "", methods = {},
    deprecated = is_deprecated(service) }
  for i, method in ipairs(service.method) do
    local made = new_method(found, method, comments[path .. ".2." .. i - 1])
    found.methods[i] = made
    into.methods[made.endpoint] = made
    into.by_path[made.path] = made
  end
  table.insert(into.services, found)
end

local function add_file(into, file, own, pause)
  local at = { comments = comments_of(file), proto3 = file.syntax == "proto3", pause = pause }
  local scope = (file.package or "") ~= "" and file.package .. "." or ""
  for i, message in ipairs(file.message_type) do
    add_message(into, at, scope, message, "4." .. i - 1)
    at.pause()
  end
  for i, enum in ipairs(file.enum_type) do add_enum(into, scope, enum, at.comments, "5." .. i - 1) end
  add_extensions(into, at, scope, file.extension, "7")
  if not own then return end
  for i, service in ipairs(file.service) do add_service(into, scope, service, at.comments, "6." .. i - 1) end
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

local function place_extensions(into)
  for _, extension in ipairs(into.extensions) do
    local message = into.messages[extension.extended]
    if message then
      message.extensions = message.extensions or {}
      table.insert(message.extensions, extension.field)
    end
  end
  into.extensions = nil
end

--- Reads a decoded google.protobuf.FileDescriptorSet.
---@param set table
---@param protos string[] the service's own .proto files, as named there
---@param pause? fun() called now and then
---@return table contract
function contract.read(set, protos, pause)
  local found = { messages = {}, enums = {}, services = {}, methods = {}, by_path = {}, files = {}, extensions = {} }
  local own = {}
  for _, name in ipairs(protos) do own[name] = true end
  for _, file in ipairs(set and set.file or {}) do
    if own[file.name] then table.insert(found.files, file) end
    add_file(found, file, own[file.name], pause or function() end)
  end
  mark_maps(found)
  place_extensions(found)
  return found
end

return contract
