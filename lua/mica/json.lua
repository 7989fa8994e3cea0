-- SPDX-License-Identifier: Apache-2.0
-- JSON of plain values. Messages of the contract have a form of their own: mica.proto.json.
local core = ...
local proto = core.proto

---@class mica.json
local json = {}

local OPTIONS = { pretty = true }

--- Keys are sorted, so that equal values are equal texts.
---@param value any
---@param opts? { pretty?: boolean }
---@return string
function json.encode(value, opts)
  if opts ~= nil then
    if type(opts) ~= "table" then error("json.encode: the options are a table: { pretty = true }", 2) end
    core.use("mica.suggest").check_keys("json.encode", opts, OPTIONS)
  end
  return proto.json_encode(value, opts ~= nil and opts.pretty == true)
end

--- null becomes mica.null; lists are marked, so that an empty one stays a list. A text that is no JSON is INVALID_ARGUMENT.
---@param text string
---@return any
function json.decode(text)
  if type(text) ~= "string" then error("json.decode wants a text, got " .. type(text), 2) end
  local ok, value = pcall(proto.json_decode, text)
  if ok then return value end
  error(core.use("mica.errors").invalid_argument("%s", tostring(value)), 0)
end

--- Marks a table as a list, so that an empty one is written as [].
---@param t? table
---@return table
function json.array(t)
  return proto.array(t or {})
end

return json
