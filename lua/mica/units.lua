-- SPDX-License-Identifier: Apache-2.0
-- Durations ("250ms", "1h30m", or seconds) and sizes ("64KB", or bytes), as they stand in definitions and options.
local M = {}

local SECONDS = { us = 1e-6, ms = 1e-3, s = 1, m = 60, h = 3600, d = 86400 }
local BYTES = { B = 1, KB = 1024, MB = 1024 ^ 2, GB = 1024 ^ 3, TB = 1024 ^ 4 }

local function number_ok(x) return x >= 0 and x < math.huge end

--- Seconds, or nil and what is wrong.
---@param value any
---@return number? seconds, string? fault
function M.duration(value)
  if type(value) == "number" then
    if number_ok(value) then return value end
  elseif type(value) == "string" then
    local total, rest = 0, value
    repeat
      local n, unit, after = rest:match("^(%d+%.?%d*)(%l+)(.*)$")
      if not n or not SECONDS[unit] then
        total = nil
        break
      end
      total, rest = total + tonumber(n) * SECONDS[unit], after
    until rest == ""
    if total then return total end
  end
  local shown = type(value) == "string" and '"' .. value .. '"' or tostring(value)
  return nil, ('%s is no duration: write seconds, or "250ms", "2s", "1h30m", "7d"'):format(shown)
end

--- Bytes, or nil and what is wrong.
---@param value any
---@return number? bytes, string? fault
function M.size(value)
  if type(value) == "number" then
    if number_ok(value) and value == math.floor(value) then return value end
  elseif type(value) == "string" then
    local n, unit = value:match("^(%d+%.?%d*)%s?(%u+)$")
    if n and BYTES[unit] then return math.floor(tonumber(n) * BYTES[unit]) end
  end
  local shown = type(value) == "string" and '"' .. value .. '"' or tostring(value)
  return nil, ('%s is no size: write bytes, or "64KB", "32MB"'):format(shown)
end

--- Seconds of a duration argument of a library function; raises in the name of its caller.
---@param value any
---@param what string
---@return number
function M.seconds(value, what)
  local seconds, fault = M.duration(value)
  if not seconds then error(what .. ": " .. fault, 3) end
  return seconds
end

return M
