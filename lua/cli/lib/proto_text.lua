-- The .proto files of a contract, written from their descriptors. Comments stand before what they are about.

local proto_text = {}

local LABELS = { LABEL_REPEATED = "repeated ", LABEL_REQUIRED = "required " }
local IDEMPOTENCY = { NO_SIDE_EFFECTS = true, IDEMPOTENT = true }

local Writer = {}
Writer.__index = Writer

function Writer:line(depth, fmt, ...)
  local text = select("#", ...) == 0 and fmt or fmt:format(...)
  table.insert(self.lines, ((("  "):rep(depth) .. text):gsub("%s+$", "")))
end

function Writer:comment(depth, path)
  local text = self.comments[path]
  if not text then return end
  for row in (text .. "\n"):gmatch "(.-)\n" do self:line(depth, "//" .. row) end
end

local function comments_of(file)
  local found = {}
  for _, location in ipairs(file.source_code_info and file.source_code_info.location or {}) do
    local text = location.leading_comments or ""
    if text == "" then text = location.trailing_comments or "" end
    if text ~= "" then found[table.concat(location.path, ".")] = text:gsub("\n$", "") end
  end
  return found
end

local function type_text(field)
  if (field.type_name or "") ~= "" then return (field.type_name:gsub("^%.", "")) end
  return (field.type:gsub("^TYPE_", ""):lower())
end

local function find_entry(message, field)
  if field.type ~= "TYPE_MESSAGE" then return nil end
  for _, nested in ipairs(message.nested_type) do
    local is_entry = nested.options and nested.options.map_entry
    if is_entry and field.type_name:sub(-#nested.name - 1) == "." .. nested.name then return nested end
  end
end

local function options_text(field)
  local parts = {}
  if (field.default_value or "") ~= "" then
    local quoted = field.type == "TYPE_STRING" or field.type == "TYPE_BYTES"
    table.insert(parts, "default = " .. (quoted and ("%q"):format(field.default_value) or field.default_value))
  end
  local options = field.options
  if options then
    if options.packed ~= nil then table.insert(parts, "packed = " .. tostring(options.packed)) end
    if options.deprecated then table.insert(parts, "deprecated = true") end
    if options.jstype and options.jstype ~= "JS_NORMAL" then table.insert(parts, "jstype = " .. options.jstype) end
  end
  return #parts > 0 and " [" .. table.concat(parts, ", ") .. "]" or ""
end

function Writer:field(depth, message, field, path)
  self:comment(depth, path)
  local entry = find_entry(message, field)
  if entry then
    local key, value = type_text(entry.field[1]), type_text(entry.field[2])
    self:line(depth, "map<%s, %s> %s = %d;", key, value, field.name, field.number)
    return
  end
  local label = LABELS[field.label] or ""
  local optional = self.proto2 and field.label == "LABEL_OPTIONAL" and not field.oneof_index
  if field.proto3_optional or optional then label = "optional " end
  self:line(depth, "%s%s %s = %d%s;", label, type_text(field), field.name, field.number, options_text(field))
end

function Writer:oneof(depth, message, index, path)
  self:line(depth, "oneof %s {", message.oneof_decl[index + 1].name)
  for i, field in ipairs(message.field) do
    if field.oneof_index == index then self:field(depth + 1, message, field, path .. ".2." .. i - 1) end
  end
  self:line(depth, "}")
end

function Writer:enum(depth, enum, path)
  self:comment(depth, path)
  self:line(depth, "enum %s {", enum.name)
  if enum.options and enum.options.allow_alias then self:line(depth + 1, "option allow_alias = true;") end
  for i, value in ipairs(enum.value) do
    self:comment(depth + 1, path .. ".2." .. i - 1)
    self:line(depth + 1, "%s = %d;", value.name, value.number)
  end
  self:line(depth, "}")
end

function Writer:reserved(depth, message)
  for _, range in ipairs(message.reserved_range) do
    local last = range["end"] - 1
    self:line(depth, last == range.start and "reserved %d;" or "reserved %d to %d;", range.start, last)
  end
  for _, name in ipairs(message.reserved_name) do self:line(depth, 'reserved "%s";', name) end
end

function Writer:message(depth, message, path)
  self:comment(depth, path)
  self:line(depth, "message %s {", message.name)
  for i, enum in ipairs(message.enum_type) do self:enum(depth + 1, enum, path .. ".4." .. i - 1) end
  for i, nested in ipairs(message.nested_type) do
    local is_entry = nested.options and nested.options.map_entry
    if not is_entry then self:message(depth + 1, nested, path .. ".3." .. i - 1) end
  end
  self:reserved(depth + 1, message)
  local written = {}
  for i, field in ipairs(message.field) do
    local index = not field.proto3_optional and field.oneof_index or nil
    if not index then
      self:field(depth + 1, message, field, path .. ".2." .. i - 1)
    elseif not written[index] then
      written[index] = true
      self:oneof(depth + 1, message, index, path)
    end
  end
  self:line(depth, "}")
end

function Writer:service(service, path)
  self:comment(0, path)
  self:line(0, "service %s {", service.name)
  for i, method in ipairs(service.method) do
    self:comment(1, path .. ".2." .. i - 1)
    local level = method.options and method.options.idempotency_level
    self:line(1, "rpc %s(%s%s) returns (%s%s)%s", method.name,
      method.client_streaming and "stream " or "", (method.input_type:gsub("^%.", "")),
      method.server_streaming and "stream " or "", (method.output_type:gsub("^%.", "")),
      IDEMPOTENCY[level] and (" { option idempotency_level = %s; }"):format(level) or ";")
  end
  self:line(0, "}")
end

function Writer:file(file)
  self.proto2 = (file.syntax or "proto2") == "proto2" or file.syntax == ""
  self.comments = comments_of(file)
  self:line(0, "// " .. file.name)
  self:line(0, 'syntax = "%s";', self.proto2 and "proto2" or file.syntax)
  if (file.package or "") ~= "" then self:line(0, "package %s;", file.package) end
  for _, import in ipairs(file.dependency) do self:line(0, 'import "%s";', import) end
  for i, service in ipairs(file.service) do
    self:line(0, "")
    self:service(service, "6." .. i - 1)
  end
  for i, enum in ipairs(file.enum_type) do
    self:line(0, "")
    self:enum(0, enum, "5." .. i - 1)
  end
  for i, message in ipairs(file.message_type) do
    self:line(0, "")
    self:message(0, message, "4." .. i - 1)
  end
end

--- The service's own files, one after the other.
---@param contract table of lib/contract.lua
---@return string
function proto_text.print(contract)
  local writer = setmetatable({ lines = {} }, Writer)
  for i, file in ipairs(contract.files) do
    if i > 1 then writer:line(0, "") end
    writer:file(file)
  end
  return table.concat(writer.lines, "\n") .. "\n"
end

return proto_text
