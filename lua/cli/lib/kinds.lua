-- What each type of field is called on the command line and how its text becomes a value of protobuf's JSON.
--
-- A kind is { label, read, bare }: read(text, ask) gives the value, or nil and what is wrong; `bare` is the value of a flag
-- that stands alone.
-- `ask.read_file(path)` reads a file or, for "-", standard input: bytes, or nil and what is wrong.

local mica = require "mica"
local suggest = require "mica.suggest"

local kinds = {}

-- ---- numbers

-- Is the decimal text of digits `a` greater than `b`? Neither has leading zeros.
local function greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end

local function integer(label, lowest, highest)
  local function read(text)
    local sign, digits = text:match "^(%-?)0*(%d+)$"
    if not sign then return nil, ("expected %s, got %q"):format(label, text) end
    local limit = sign == "-" and lowest or highest
    if greater(digits, limit) then
      return nil, ("%s is out of range: %s is from %s to %s"):format(text, label,
        lowest == "0" and "0" or "-" .. lowest, highest)
    end
    return (digits == "0" and "" or sign) .. digits -- a text: a number of Lua does not hold 64 bits
  end
  return { label = label, read = read }
end

local NOT_FINITE = {
  nan = "NaN", inf = "Infinity", infinity = "Infinity", ["-inf"] = "-Infinity", ["-infinity"] = "-Infinity",
}

local function floating(label, highest)
  local function read(text)
    local name = NOT_FINITE[text:lower()]
    if name then return name end
    local number = text:find "^%-?[%d.]" and not text:find "[xX]" and tonumber(text)
    if not number then return nil, ("expected %s, got %q"):format(label, text) end
if math.abs(number) == math.huge or math.abs(number) > highest then
      return nil, ("%s is out of range: it is larger than a %s can be"):format(text, label)
    end
    return number
  end
  return { label = label, read = read }
end

-- ---- texts

local function is_utf8(text)
  local at, n = 1, #text
  while at <= n do
    local b = text:byte(at)
    local more = b < 0x80 and 0 or b < 0xC2 and -1 or b < 0xE0 and 1 or b < 0xF0 and 2 or b < 0xF5 and 3 or -1
    if more < 0 or not text:find("^" .. ("[\128-\191]"):rep(more), at + 1) then return false end
    at = at + 1 + more
  end
  return true
end

local function read_string(text)
  if is_utf8(text) then return text end
  return nil, "expected text in UTF-8: what is not text goes into a field of type bytes"
end

--- Base64 of bytes, as protobuf's JSON writes them.
---@param bytes string
---@return string
function kinds.base64(bytes)
  return mica.json.decode(mica.proto.json("mica.core.v1.FileReadResponse", { data = bytes })).data
end

--- The bytes of such a text.
---@param text string
---@return string
function kinds.bytes(text)
  return mica.proto.from_json("mica.core.v1.FileReadResponse", mica.json.encode { data = text }).data
end

local function read_bytes(text, ask)
  if text == "-" or text:sub(1, 1) == "@" then
    local bytes, fault = ask.read_file(text == "-" and "-" or text:sub(2))
    if not bytes then return nil, fault end
    return kinds.base64(bytes)
  end
  local plain = text:gsub("%-", "+"):gsub("_", "/"):gsub("=+$", "")
  if plain:find "[^%w+/]" or #plain % 4 == 1 then
    return nil, ("expected base64 or @file, got %q"):format(text)
  end
  return plain .. ("="):rep(-#plain % 4)
end

local BOOLEANS = { ["true"] = true, ["false"] = false }

local function read_boolean(text)
  if BOOLEANS[text] == nil then return nil, ("expected true or false, got %q"):format(text) end
  return BOOLEANS[text]
end

-- ---- well-known types

local function read_timestamp(text)
  local seconds = mica.try(mica.time.parse, text)
  if not seconds then return nil, ("expected a time such as 2026-11-22T10:00:00Z, got %q"):format(text) end
  if not text:find "[Tt ]" then return text .. "T00:00:00Z" end
  return (text:upper():gsub(" ", "T"))
end

local function read_duration(text)
  local plain = text:match "^%-?%d+%.?%d*s$"
  if plain then return plain end
  local sign, rest = text:match "^(%-?)(.*)$"
  local ok, seconds = pcall(mica.time.seconds, rest:find "^%d[%d.%l]*%l$" and rest or nil)
  if not ok then return nil, ('expected a duration such as 2s, 250ms or 1h30m, got %q'):format(text) end
  return sign .. (("%.9f"):format(seconds):gsub("0+$", ""):gsub("%.$", "")) .. "s"
end

local function camel(path) return (path:gsub("_(%l)", string.upper)) end

local function read_mask(text)
  local paths = {}
  for path in text:gmatch "[^,]+" do
    if not path:find "^[%w_.]+$" then
      return nil, ("expected names of fields with commas between, got %q"):format(text)
    end
    table.insert(paths, camel(path))
  end
  return table.concat(paths, ",")
end

local function quote_long(number)
  return number:find "^%-?%d+$" and #number > 15 and '"' .. number .. '"' or nil
end

-- Integers that a number of Lua does not hold become texts, which protobuf's JSON reads as well.
local function quote_integers(text)
  local out, at = {}, 1
  while true do
    local open = text:find('"', at, true)
    table.insert(out, (text:sub(at, (open or 0) - 1):gsub("%-?%d[%d.eE+-]*", quote_long)))
    if not open then return table.concat(out) end
    local close = open + 1
    while close <= #text and text:sub(close, close) ~= '"' do
      close = close + (text:sub(close, close) == "\\" and 2 or 1)
    end
    table.insert(out, text:sub(open, close))
    at = close + 1
  end
end

local function read_json(text)
  local value, err = mica.try(mica.json.decode, quote_integers(text))
  if err then return nil, ("expected JSON, got %q (%s)"):format(text, err.message) end
  return value
end

-- JSON, or else a text: the fields of a Struct.
local function read_value(text)
  local value, err = mica.try(mica.json.decode, text) -- no field will read a text as a number here
  if not err then return value end
  return read_string(text)
end

local function read_shaped(mark, what)
  return function(text)
    if text:match "^%s*(.)" ~= mark then return nil, ("expected %s, got %q"):format(what, text) end
    return read_json(text)
  end
end

local function read_any(text)
  local value, fault = read_shaped("{", "a JSON object")(text)
  if value and type(value["@type"]) ~= "string" then
    return nil, 'expected the type of the message too: {"@type": "type.googleapis.com/posts.Post", ...}'
  end
  return value, fault
end

local function read_empty(text)
  if text:find "^%s*{%s*}%s*$" then return {} end
  return nil, "it holds nothing: write the flag alone"
end

local function read_null(text)
  if text == "null" or text == "NULL_VALUE" then return mica.null end
  return nil, ("expected null, got %q"):format(text)
end

local SCALARS = {
  double = floating("double", math.huge),
  float = floating("float", 3.4028235677973366e38),
  int32 = integer("int32", "2147483648", "2147483647"),
  int64 = integer("int64", "9223372036854775808", "9223372036854775807"),
  uint32 = integer("uint32", "0", "4294967295"),
  uint64 = integer("uint64", "0", "18446744073709551615"),
  bool = { label = "bool", read = read_boolean, bare = true },
  string = { label = "string", read = read_string },
  bytes = { label = "bytes", read = read_bytes },
}
local ALIASES = {
  sint32 = "int32", sfixed32 = "int32", sint64 = "int64", sfixed64 = "int64", fixed32 = "uint32", fixed64 = "uint64",
}
for alias, name in pairs(ALIASES) do
  SCALARS[alias] = SCALARS[name]
end

local KNOWN = {
  Timestamp = { label = "time", read = read_timestamp },
  Duration = { label = "duration", read = read_duration },
  FieldMask = { label = "fields", read = read_mask },
  Any = { label = "JSON", read = read_any },
  Empty = { label = "empty", read = read_empty, bare = {} },
  Struct = { label = "JSON", read = read_shaped("{", "a JSON object"), keys = { label = "JSON", read = read_value } },
  Value = { label = "JSON", read = read_value },
  ListValue = { label = "JSON", read = read_shaped("[", "a JSON list") },
  DoubleValue = SCALARS.double,
  FloatValue = SCALARS.float,
  Int64Value = SCALARS.int64,
  UInt64Value = SCALARS.uint64,
  Int32Value = SCALARS.int32,
  UInt32Value = SCALARS.uint32,
  BoolValue = SCALARS.bool,
  StringValue = SCALARS.string,
  BytesValue = SCALARS.bytes,
}

local NULL = { label = "null", read = read_null, bare = mica.null }

local function enum_kind(enum)
  local names = {}
  for i, value in ipairs(enum.values) do names[i] = value.name end
  local function read(text)
    for _, name in ipairs(names) do
      if name == text then return text end
    end
    if text:find "^%-?%d+$" and SCALARS.int32.read(text) then return tonumber(text) end
    local near = suggest.nearest(text, names)
    return nil, ("expected one of %s, got %q%s"):format(table.concat(names, ", "), text,
      near and (" (did you mean %q?)"):format(near) or "")
  end
  return { label = table.concat(names, "|"), read = read, values = enum.values }
end

--- Is the message one of the well-known types, which have a form of their own?
---@param full_name string?
---@return boolean
function kinds.is_known(full_name)
  local name = full_name and full_name:match "^google%.protobuf%.(%w+)$"
  return name ~= nil and KNOWN[name] ~= nil
end

--- The kind of one value of a field; nil for a message of the contract.
---@param contract table
---@param field table
---@return table?
function kinds.of(contract, field)
  if field.message then
    local name = field.message:match "^google%.protobuf%.(%w+)$"
    return name and KNOWN[name]
  end
  if field.enum == "google.protobuf.NullValue" then return NULL end
  if field.enum then return enum_kind(contract.enums[field.enum]) end
  return SCALARS[field.type]
end

kinds.json = read_json

return kinds
