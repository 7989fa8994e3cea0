-- SPDX-License-Identifier: Apache-2.0
-- Time as a number: seconds since 1970, UTC, with a fraction.
local core = ...
local floor = math.floor

---@class mica.time
local time = {}

--- Seconds since 1970, with a fraction.
---@return number
time.now = core.now

--- Whole seconds since 1970.
---@return integer
function time.unix() return floor(core.now()) end

-- Days since 1970-01-01 of a date of the Gregorian calendar, and back (years counted from March, eras of 400 years).
local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = floor(year / 400)
  local of_era = year - era * 400
  local of_year = floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + floor(of_era / 4) - floor(of_era / 100) + of_year - 719468
end

local LENGTH = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_leap(year) return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end

local function date_ok(year, month, day)
  if month < 1 or month > 12 or day < 1 then return false end
  return day <= (month == 2 and is_leap(year) and 29 or LENGTH[month])
end

-- Seconds east of Greenwich; nil for what is no fixed offset.
local function offset_of(zone)
  if zone == "Z" or zone == "z" or zone == "UTC" then return 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  local seconds = tonumber(hours) * 3600 + tonumber(minutes) * 60
  return sign == "-" and -seconds or seconds
end

local function parse(text)
  local y, mo, d, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not y then return nil end
  y, mo, d = tonumber(y), tonumber(mo), tonumber(d)
  if not date_ok(y, mo, d) then return nil end
  if rest == "" then return days_of(y, mo, d) * 86400 end
  local h, mi, s, fraction, zone = rest:match("^[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)([Zz+-].*)$")
  local offset = zone and offset_of(zone)
  if not offset or fraction == "." then return nil end
  if fraction ~= "" and fraction:sub(1, 1) ~= "." then return nil end
  h, mi, s = tonumber(h), tonumber(mi), tonumber(s)
  if h > 23 or mi > 59 or s > 60 then return nil end -- 60: a leap second
  return days_of(y, mo, d) * 86400 + h * 3600 + mi * 60 + s + (tonumber("0" .. fraction) or 0) - offset
end

--- Reads RFC 3339 ("2026-11-22T10:00:00Z", "2026-11-22"); raises INVALID_ARGUMENT for anything else.
---@param text string
---@return number
function time.parse(text)
  if type(text) ~= "string" then error("time.parse wants a text, got " .. type(text), 2) end
  return parse(text) or error(core.use("mica.errors").invalid_argument("%q is no time as in RFC 3339", text), 0)
end

--- Seconds of a Timestamp or Duration ({ seconds, nanos }), of a number, of RFC 3339 text, or of a duration such as "2s".
---@param x any
---@return number
function time.seconds(x)
  if type(x) == "number" then return x end
  if type(x) == "table" then
    local seconds = x.seconds or 0
    if type(seconds) ~= "number" then seconds = tonumber(tostring(seconds)) end
    return seconds + (x.nanos or 0) / 1e9
  end
  if type(x) == "string" then
    local seconds = parse(x) or core.use("mica.units").duration(x)
    if seconds then return seconds end
  end
  error(("time.seconds wants { seconds, nanos }, a number or a text, got %s"):format(
    type(x) == "string" and '"' .. x .. '"' or type(x)), 2)
end

local function zone_text(offset, colon)
  local minutes = math.abs(offset) / 60
  return ("%s%02d%s%02d"):format(offset < 0 and "-" or "+", floor(minutes / 60), colon, minutes % 60)
end

-- Up to microseconds, which is what a number holds of the present.
local function rfc3339(t, offset)
  local micros = floor((t - floor(t)) * 1e6 + 0.5)
  local whole = floor(t)
  if micros == 1000000 then whole, micros = whole + 1, 0 end
  local fraction = ""
  if micros > 0 then
    fraction = micros % 1000 == 0 and (".%03d"):format(micros / 1000) or (".%06d"):format(micros)
  end
  return core.format_time(whole + offset, "%Y-%m-%dT%H:%M:%S") .. fraction
    .. (offset == 0 and "Z" or zone_text(offset, ":"))
end

--- Writes a time: "rfc3339", or a format of strftime.
---@param t number
---@param layout? string default "rfc3339"
---@param zone? string "UTC", or a fixed offset such as "+02:00"
---@return string
function time.format(t, layout, zone)
  if type(t) ~= "number" then error("time.format wants seconds, got " .. type(t) .. ": write time.seconds(x)", 2) end
  if t ~= t or math.abs(t) > 1e12 then error("time.format: " .. tostring(t) .. " is no time", 2) end
  local offset = offset_of(zone or "UTC")
  if not offset then
    error(('time.format: no zone %q: only "UTC" and fixed offsets such as "+02:00" are known'):format(tostring(zone)), 2)
  end
  if layout == nil or layout == "rfc3339" then return rfc3339(t, offset) end
  if type(layout) ~= "string" then error('time.format wants "rfc3339" or a format such as "%Y-%m-%d"', 2) end
  if offset ~= 0 then
    layout = layout:gsub("%%(.)", function(c)
      if c == "z" then return zone_text(offset, "") end
      if c == "Z" then return zone_text(offset, ":") end
    end)
  end
  return core.format_time(floor(t) + offset, layout)
end

return time
