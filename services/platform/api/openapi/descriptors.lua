-- The descriptors of a contract, decoded a piece at a time: a large contract as a whole would keep the service from everything
-- else for as long as that takes. Of the places in the source only those with a comment are decoded.

local mica = require "mica"

local descriptors = {}

local COMMENT = "[\26\34]" -- the tags of a location's leading and trailing comments; other bytes may be equal, which does no harm

local TYPES = {
  message_type = "google.protobuf.DescriptorProto",
  enum_type = "google.protobuf.EnumDescriptorProto",
  service = "google.protobuf.ServiceDescriptorProto",
  extension = "google.protobuf.FieldDescriptorProto",
}

local function decode_all(pieces, type, pause)
  local list = {}
  for i, piece in ipairs(pieces) do
    list[i] = mica.proto.decode(type, piece)
    pause()
  end
  return list
end

local function commented(pieces)
  local found = {}
  for _, piece in ipairs(pieces) do
    if piece:find(COMMENT) then table.insert(found, piece) end
  end
  return found
end

local function decode_file(raw, pause)
  local places = commented(raw.source_code_info and raw.source_code_info.location or {})
  local file = { name = raw.name, package = raw.package, syntax = raw.syntax,
    source_code_info = { location = decode_all(places, "google.protobuf.SourceCodeInfo.Location", pause) } }
  for part, type in pairs(TYPES) do file[part] = decode_all(raw[part], type, pause) end
  return file
end

--- What mica.contract needs of a google.protobuf.FileDescriptorSet.
---@param bytes string
---@param pause fun() called after each piece
---@return table
function descriptors.decode(bytes, pause)
  local set = { file = {} }
  for i, raw in ipairs(mica.proto.decode("mica.api.v1.Files", bytes).file) do set.file[i] = decode_file(raw, pause) end
  return set
end

return descriptors
