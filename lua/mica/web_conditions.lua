-- SPDX-License-Identifier: Apache-2.0
-- Conditional requests (RFC 9110 section 13) and ranges (section 14): does the client have it already, and which bytes does it
-- want? Pure functions over the request's headers (lower case) and what is known of the answer.
--
-- The order is that of section 13.2.2: If-Match or If-Unmodified-Since, If-None-Match or If-Modified-Since, then Range with
-- If-Range.
local M = {}

local RANGES_MOST = 16

-- ---- dates ---------------------------------------------------------------------------------------------------------------

local MONTHS = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12 }

local function days_of(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

-- The two obsolete forms are to be read as well (section 5.6.7); two digits of a year mean one that is not far off.
local function date_parts(text)
  local day, month, year, time = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$")
  if day then return day, month, tonumber(year), time end
  day, month, year, time = text:match("^%a+day, (%d%d)%-(%a%a%a)%-(%d%d) (%d%d:%d%d:%d%d) GMT$")
  if day then return day, month, tonumber(year) + (tonumber(year) >= 70 and 1900 or 2000), time end
  month, day, time, year = text:match("^%a%a%a (%a%a%a) ([%d ]%d) (%d%d:%d%d:%d%d) (%d%d%d%d)$")
  return day, month, tonumber(year or ""), time
end

--- An HTTP date as unix seconds; nil when it is none.
---@param text string?
---@return number?
function M.date(text)
  local day, month, year, time = date_parts(text or "")
  if not day or not MONTHS[month] then return nil end
  local hours, minutes, seconds = time:match("(%d+):(%d+):(%d+)")
  return days_of(year, MONTHS[month], tonumber(day)) * 86400 + hours * 3600 + minutes * 60 + seconds
end

-- ---- entity tags -----------------------------------------------------------------------------------------------------------

local function opaque(etag) return (etag:gsub("^W/", "")) end

-- Does a list ('"a", W/"b"' or "*") have the tag? Weak tags are as good as strong ones unless `strong`.
local function has_tag(list, etag, strong)
  if list:find "^%s*%*%s*$" then return true end
  if strong and etag:sub(1, 2) == "W/" then return false end
  for weak, tag in list:gmatch('(W?/?)("[^"]*")') do
    if tag == opaque(etag) and not (strong and weak ~= "") then return true end
  end
  return false
end

--- 304 or 412 where the client is not to get the answer, else nil.
---@param method string
---@param headers table<string, string>
---@param etag string?
---@param last_modified string?
---@return integer?
function M.status(method, headers, etag, last_modified)
  local modified = M.date(last_modified)
  local match, since = headers["if-match"], M.date(headers["if-unmodified-since"])
  if match then
    if not (etag and has_tag(match, etag, true)) then return 412 end
  elseif since and modified and modified > since then
    return 412
  end
  local reads = method == "GET" or method == "HEAD"
  local none, after = headers["if-none-match"], M.date(headers["if-modified-since"])
  if none then
    if etag and has_tag(none, etag, false) then return reads and 304 or 412 end
  elseif reads and after and modified and modified <= after then
    return 304
  end
end

-- ---- ranges --------------------------------------------------------------------------------------------------------------

-- "0-99", "500-", "-200" of `size` bytes: first and count, or nothing; `false` for what is no range at all.
local function read_range(text, size)
  local from, to = text:match("^%s*(%d*)%-(%d*)%s*$")
  if not from or (from == "" and to == "") or #from > 15 or #to > 15 then return false end
  if from == "" then
    local n = math.min(tonumber(to), size)
    if n == 0 then return nil end
    return size - n, n
  end
  from, to = tonumber(from), tonumber(to == "" and size - 1 or to)
  if to < from and to ~= size - 1 then return false end
  if from >= size then return nil end
  return from, math.min(to, size - 1) - from + 1
end

-- Is what the client has of it still the same? Only a strong tag, or the exact date, says so.
local function range_holds(condition, etag, last_modified)
  if not condition then return true end
  if condition:sub(1, 1) == '"' then return condition == etag end
  return last_modified ~= nil and condition == last_modified
end

--- Which bytes are wanted: a list of { from =, n = } in the order asked for, nil for all of it, false when there are none such
--- (416). A header that is malformed, or asks for more bytes than there are (which only an attack does), means all.
---@param headers table<string, string>
---@param size integer
---@param etag string?
---@param last_modified string?
---@return { from: integer, n: integer }[]|false|nil
function M.ranges(headers, size, etag, last_modified)
  local list = headers.range and headers.range:match("^[Bb][Yy][Tt][Ee][Ss]=(.*)$")
  if not list or not range_holds(headers["if-range"], etag, last_modified) then return nil end
  local ranges, total, count = {}, 0, 0
  for text in (list .. ","):gmatch("([^,]*),") do
    if text:find "%S" then
      local from, n = read_range(text, size)
      if from == false then return nil end
      count = count + 1
      if count > RANGES_MOST then return nil end
      if from then
        ranges[#ranges + 1] = { from = from, n = n }
        total = total + n
      end
    end
  end
  if count == 0 or total > size then return nil end
  return #ranges > 0 and ranges or false
end

return M
