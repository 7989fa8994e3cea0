-- SPDX-License-Identifier: Apache-2.0
-- The small texts of HTTP: pairs of queries and forms, cookies, header values with parameters. Pure functions; what a client
-- has written badly is read as far as it means something.
local core = ...

local M = {}

local PAIRS_MOST = 10000

-- A table of headers, read by names of any case.
M.any_case = {
  __index = function(t, key)
    local lower = type(key) == "string" and key:lower()
    if lower and lower ~= key then return rawget(t, lower) end
  end,
}

local function byte_of(hex) return string.char(tonumber(hex, 16)) end

--- "%41" -> "A"; a "%" without two digits stays.
function M.decode(text)
  if not text:find("%", 1, true) then return text end
  return (text:gsub("%%(%x%x)", byte_of))
end

local function form_decode(text)
  if text:find("+", 1, true) then text = text:gsub("+", " ") end
  return M.decode(text)
end

--- "a=1&b=2" (WHATWG URL, application/x-www-form-urlencoded) as a list of { name =, value = }.
---@param text string
---@return { name: string, value: string }[]
function M.pairs(text)
  local list = {}
  for part in text:gmatch("[^&]+") do
    local name, value = part:match("^([^=]*)=?(.*)$")
    list[#list + 1] = { name = form_decode(name), value = form_decode(value) }
    if #list > PAIRS_MOST then
      error(core.use("mica.errors").invalid_argument("more than %d fields", PAIRS_MOST), 0)
    end
  end
  return list
end

--- The first value of each name.
function M.first(list)
  local values = {}
  for _, pair in ipairs(list) do
    if values[pair.name] == nil then values[pair.name] = pair.value end
  end
  return values
end

--- The header "cookie" (RFC 6265 section 5.4): the first of each name, values percent-decoded as web.cookie encodes them.
function M.cookies(text)
  local cookies = {}
  for part in text:gmatch("[^;]+") do
    local name, value = part:match("^%s*([^=%s]+)%s*=%s*(.-)%s*$")
    if name and cookies[name] == nil then
      cookies[name] = M.decode(value:match('^"(.*)"$') or value)
    end
  end
  return cookies
end

-- One parameter at `at`: name, value and where it ends; nil when there is none (any more).
local function parameter(text, at)
  local name, from = text:match("^%s*;%s*([^=;%s]+)%s*=%s*()", at)
  if not name then return nil end
  if text:sub(from, from) ~= '"' then
    local value, past = text:match("^([^;]*)()", from)
    return name, (value:gsub("%s+$", "")), past
  end
  local parts, pos = {}, from + 1
  while pos <= #text do
    local c = text:sub(pos, pos)
    if c == '"' then return name, table.concat(parts), pos + 1 end
    -- Browsers write names of files as they are on Windows, and quote nothing but quotes.
    if c == "\\" and text:sub(pos + 1, pos + 1):find '["\\]' then
      pos = pos + 1
      c = text:sub(pos, pos)
    end
    parts[#parts + 1] = c
    pos = pos + 1
  end
  return name, table.concat(parts), pos
end

--- 'form-data; name="a"; filename="b"' -> "form-data", { name = "a", filename = "b" }; names in lower case, the first counts.
---@param text string
---@return string value, table<string, string> parameters
function M.header(text)
  local value, at = text:match("^%s*([^;]-)%s*()%f[;%z]")
  local parameters = {}
  while at do
    local name, found, past = parameter(text, at)
    if not name then break end
    name = name:lower()
    if parameters[name] == nil then parameters[name] = found end
    at = past
  end
  return (value or ""):lower(), parameters
end

--- A path for a URL: what is no plain character is percent-encoded, "/" stays.
function M.encode_path(path)
  return (path:gsub("[^%w%-._~!$&'()*+,;=:@/]", function(c) return ("%%%02X"):format(c:byte()) end))
end

return M
