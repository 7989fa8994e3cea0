-- Objects that keep the order in which their members were set, and JSON of them: a document reads in the order of the .proto,
-- and equal documents are equal texts. Tables that are no such objects are lists, or objects in the order of their keys.

local json = require "mica.json"

local ordered = {}

local Object = {}
Object.__index = Object

--- Sets a member; nil leaves it out.
---@return table self
function Object:set(key, value)
  if value == nil then return self end
  if self.members[key] == nil then table.insert(self.keys, key) end
  self.members[key] = value
  return self
end

function Object:get(key) return self.members[key] end

function Object:is_empty() return #self.keys == 0 end

--- A new object with the given members: ordered.object("type", "string", "format", "int64").
function ordered.object(...)
  local made = setmetatable({ keys = {}, members = {} }, Object)
  for i = 1, select("#", ...), 2 do
    local key, value = select(i, ...)
    made:set(key, value)
  end
  return made
end

--- A list, which may be empty: {} alone is an object.
function ordered.list(items) return setmetatable(items or {}, ordered.list_mt) end
ordered.list_mt = {}

local write

local function write_members(out, keys, members)
  table.insert(out, "{")
  for i, key in ipairs(keys) do
    table.insert(out, (i > 1 and "," or "") .. json.encode(key) .. ":")
    write(out, members[key])
  end
  table.insert(out, "}")
end

local function write_list(out, list)
  table.insert(out, "[")
  for i, item in ipairs(list) do
    if i > 1 then table.insert(out, ",") end
    write(out, item)
  end
  table.insert(out, "]")
end

local function sorted_keys(members)
  local keys = {}
  for key in pairs(members) do table.insert(keys, key) end
  table.sort(keys)
  return keys
end

function write(out, value)
  local mt = type(value) == "table" and getmetatable(value) or nil
  if type(value) ~= "table" then
    table.insert(out, json.encode(value))
  elseif mt == Object then
    write_members(out, value.keys, value.members)
  elseif mt == ordered.list_mt or value[1] ~= nil then
    write_list(out, value)
  else
    write_members(out, sorted_keys(value), value)
  end
end

---@return string json
function ordered.encode(value)
  local out = {}
  write(out, value)
  return table.concat(out)
end

return ordered
