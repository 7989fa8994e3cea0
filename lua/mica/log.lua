-- SPDX-License-Identifier: Apache-2.0
-- The service's log: mica.log.info("saved", { id = post.id }). The request id is added to every line.
local core = ...

---@class mica.log
---@field trace fun(text: string, fields?: table)
---@field debug fun(text: string, fields?: table)
---@field info fun(text: string, fields?: table)
---@field warn fun(text: string, fields?: table)
---@field error fun(text: string, fields?: table)
local log = {}

local write, wants, type, tostring, next, raise = core.log, core.log_wants, type, tostring, next, error

-- Fields are plain values; a table among them is written as JSON.
local function plain(fields)
  local copy
  for key, value in next, fields do
    if type(value) == "table" and not (getmetatable(value) or {}).__tostring then
      if not copy then
        copy = {}
        for k, v in next, fields do copy[k] = v end
      end
      local ok, text = pcall(core.proto.json_encode, value)
      copy[key] = ok and text or tostring(value)
    end
  end
  return copy or fields
end

local function check_fields(fields, what)
  if type(fields) ~= "table" then
    raise(("%s wants fields as a table, got %s: write (\"...\"):format(...) for the text, or { key = value }"):format(
      what, type(fields)), 3)
  end
end

for _, level in ipairs { "trace", "debug", "info", "warn", "error" } do
  log[level] = function(text, fields)
    if fields ~= nil then check_fields(fields, "mica.log." .. level) end
    if not wants(level) then return end
    if fields ~= nil then fields = plain(fields) end
    write(level, type(text) == "string" and text or tostring(text), fields)
  end
end

local function merged(fields, more)
  if more == nil then return fields end
  local all = {}
  for k, v in next, fields do all[k] = v end
  for k, v in next, more do all[k] = v end
  return all
end

--- A logger that adds these fields to every line.
---@param fields table
---@return mica.log
function log.with(fields)
  check_fields(fields, "mica.log.with")
  local bound = {}
  for _, level in ipairs { "trace", "debug", "info", "warn", "error" } do
    bound[level] = function(text, more)
      if more ~= nil then check_fields(more, "log." .. level) end
      log[level](text, merged(fields, more))
    end
  end
  function bound.with(more)
    check_fields(more, "log.with")
    return log.with(merged(fields, more))
  end
  return bound
end

return log
