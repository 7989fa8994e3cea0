-- SPDX-License-Identifier: Apache-2.0
-- Messages of the contract, outside of handlers: mica.proto.
local core = ...

---@class mica.proto
---@field unknown any the key under which a message keeps fields that its contract lacks
local proto = { unknown = core.proto.unknown }

local JSON_OPTIONS = { names = true, defaults = true, int64 = true, pretty = true }

local function check_type(what, name)
  if type(name) ~= "string" then
    error(('proto.%s wants the name of a type first, such as "posts.Post", got %s'):format(what, type(name)), 3)
  end
end

local function check_text(what, text)
  if type(text) ~= "string" then error(("proto.%s wants a string, got %s"):format(what, type(text)), 3) end
end

-- What came from outside and cannot be read is the sender's fault: INVALID_ARGUMENT.
local function read(ok, value)
  if ok then return value end
  error(core.use("mica.errors").invalid_argument("%s", tostring(value)), 0)
end

--- The wire form.
---@param name string
---@param t table
---@return string
function proto.encode(name, t)
  check_type("encode", name)
  return core.encode(name, t)
end

---@param name string
---@param bytes string
---@return table
function proto.decode(name, bytes)
  check_type("decode", name)
  check_text("decode", bytes)
  return read(pcall(core.decode, name, bytes))
end

--- The JSON form.
---@param name string
---@param t table
---@param opts? { names?: "camel", defaults?: boolean, int64?: "number", pretty?: boolean }
---@return string
function proto.json(name, t, opts)
  check_type("json", name)
  if opts ~= nil then core.use("mica.suggest").check_keys("proto.json", opts, JSON_OPTIONS) end
  return core.json(name, t, opts)
end

---@param name string
---@param text string
---@return table
function proto.from_json(name, text)
  check_type("from_json", name)
  check_text("from_json", text)
  return read(pcall(core.from_json, name, text))
end

--- A message, as a handler gets it: checked, and strict when it is read.
---@param name string
---@param t? table
---@return table
function proto.new(name, t)
  check_type("new", name)
  return core.new(name, t)
end

--- Fills in every field that is not set, so that `pairs` visits all.
---@param message table
---@return table
function proto.complete(message) return core.complete(message) end

--- The name of a message's type; nil for what is no message.
---@param message any
---@return string?
function proto.type(message)
  if message == nil then return nil end
  return core.type(message)
end

--- The names of an enum's values, as declared; nil for an unknown enum.
---@param enum string
---@return string[]?
function proto.values(enum)
  check_type("values", enum)
  return core.enum_values(enum)
end

--- A google.protobuf.Any of a message; `name` is needed for a plain table.
---@param message table
---@param name? string
---@return { type_url: string, value: string }
function proto.pack(message, name)
  name = name or core.type(message)
  if not name then error('proto.pack wants a message, or a table and its type: proto.pack(t, "posts.Post")', 2) end
  return { type_url = "type.googleapis.com/" .. name, value = core.encode(name, message) }
end

--- The message in a google.protobuf.Any.
---@param any { type_url: string, value: string }
---@return table
function proto.unpack(any)
  local url = type(any) == "table" and any.type_url
  local name = type(url) == "string" and url:match("[^/]+$")
  if not name then error("proto.unpack wants an Any: { type_url, value }", 2) end
  return read(pcall(core.decode, name, any.value or ""))
end

return proto
