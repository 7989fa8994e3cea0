-- SPDX-License-Identifier: Apache-2.0
-- Errors with a code (mica.errors), and what becomes of any error that leaves a handler.
--
-- An error value is a table: code, message, id (whose error: "posts.Posts.Read"), and
--   details       list of google.rpc messages; for one that was received they are decoded when first read
--   packed        an encoded google.rpc.Status, as received; dropped when `details` has been read (it may have been changed)
--   from          the service that answered it, for one that was received
-- `http`, `reason` and `retry_after` are worked out when they are read; they may also be set.
local core = ...

---@class mica.errors
local errors = {}

---@class mica.Error
---@field code string "NOT_FOUND"
---@field message string
---@field id string? whose error it is: "posts.Posts.Read"
---@field http integer the HTTP status at the gateway
---@field details table[] google.rpc messages
---@field reason string? of the google.rpc.ErrorInfo among the details
---@field retry_after number? seconds, of the google.rpc.RetryInfo among the details

local error, type, rawget, setmetatable, pcall, tostring = error, type, rawget, setmetatable, pcall, tostring
local mt = core.error_mt

local NUMBER = {
  CANCELLED = 1, UNKNOWN = 2, INVALID_ARGUMENT = 3, DEADLINE_EXCEEDED = 4, NOT_FOUND = 5, ALREADY_EXISTS = 6,
  PERMISSION_DENIED = 7, RESOURCE_EXHAUSTED = 8, FAILED_PRECONDITION = 9, ABORTED = 10, OUT_OF_RANGE = 11,
  UNIMPLEMENTED = 12, INTERNAL = 13, UNAVAILABLE = 14, DATA_LOSS = 15, UNAUTHENTICATED = 16,
}
local HTTP = {
  CANCELLED = 499, UNKNOWN = 500, INVALID_ARGUMENT = 400, DEADLINE_EXCEEDED = 504, NOT_FOUND = 404,
  ALREADY_EXISTS = 409, PERMISSION_DENIED = 403, RESOURCE_EXHAUSTED = 429, FAILED_PRECONDITION = 400, ABORTED = 409,
  OUT_OF_RANGE = 400, UNIMPLEMENTED = 501, INTERNAL = 500, UNAVAILABLE = 503, DATA_LOSS = 500, UNAUTHENTICATED = 401,
}
-- What would be a lie when it came from us: our caller is known, is allowed, and the method is there.
local NOT_OURS = { UNAUTHENTICATED = true, PERMISSION_DENIED = true, UNIMPLEMENTED = true }

-- ---- details ------------------------------------------------------------------------------------------------------------

local function encode_detail(detail)
  if type(detail) == "table" then
    local name = core.type(detail)
    if name == "google.protobuf.Any" then return detail end
    if not name and rawget(detail, "type_url") then return detail end
    if not name then
      name = rawget(detail, "@type")
      if type(name) ~= "string" then name = nil end
    end
    if name then
      name = name:match("[^/]+$") or name
      local plain = detail
      if rawget(detail, "@type") then
        plain = {}
        for k, v in next, detail do if k ~= "@type" then plain[k] = v end end
      end
      return { type_url = "type.googleapis.com/" .. name, value = core.encode(name, plain) }
    end
  end
  error('a detail is a message: mica.proto.new("google.rpc.ErrorInfo", { reason = "..." }), or has its type under "@type"', 0)
end

-- What was packed as JSON's Any stays as it is: { type_url, value }.
local function decode_detail(any)
  local name = (any.type_url or ""):match("[^/]+$")
  if not name then return any end
  local ok, message = pcall(core.decode, name, any.value or "")
  return ok and message or any
end

local function decode_details(e)
  local details = {}
  local packed = rawget(e, "packed")
  if packed then
    local ok, status = pcall(core.decode, "google.rpc.Status", packed)
    if ok then
      for i, any in ipairs(status.details) do details[i] = decode_detail(any) end
    end
    e.packed = nil
  end
  e.details = details
  return details
end

local function type_of_detail(detail)
  return core.type(detail) or rawget(detail, "@type")
end

local function find_detail(e, name)
  if not rawget(e, "details") and not rawget(e, "packed") then return nil end
  for _, detail in ipairs(e.details) do
    if type_of_detail(detail) == name then return detail end
  end
end

-- The details as an encoded google.rpc.Status; nil when there are none.
local function encode_details(e)
  local packed = rawget(e, "packed")
  local details, reason, retry = rawget(e, "details"), rawget(e, "reason"), rawget(e, "retry_after")
  if packed and not reason and not retry then return packed end
  local list = {}
  if packed then details = decode_details(e) end
  for i, detail in ipairs(details or {}) do list[i] = encode_detail(detail) end
  if reason then
    list[#list + 1] = encode_detail { ["@type"] = "google.rpc.ErrorInfo", reason = reason, domain = core.service }
  end
  if retry then
    local whole = math.floor(retry)
    list[#list + 1] = encode_detail { ["@type"] = "google.rpc.RetryInfo",
      retry_delay = { seconds = whole, nanos = math.floor((retry - whole) * 1e9) } }
  end
  if #list == 0 then return nil end
  return core.encode("google.rpc.Status", { code = NUMBER[e.code], message = e.message, details = list })
end

-- ---- making errors ------------------------------------------------------------------------------------------------------

-- Whose error it is, when it is ours: "posts.Posts.Read".
local function own_id()
  local ctx = core.context()
  if not ctx then return nil end
  local endpoint = core.ctx(ctx, "endpoint")
  if endpoint and endpoint ~= "" then return core.service .. "." .. endpoint end
  return core.service
end

local function make(code, message, details)
  return setmetatable({ code = code, message = message, details = details, id = own_id() }, mt)
end

for code in next, NUMBER do
  errors[code:lower()] = function(fmt, ...)
    if type(fmt) ~= "string" then
      error(("errors.%s wants a text, got %s"):format(code:lower(), type(fmt)), 2)
    end
    if select("#", ...) > 0 then
      local ok, text = pcall(string.format, fmt, ...)
      if not ok then error(("errors.%s: %s"):format(code:lower(), text), 2) end
      fmt = text
    end
    return make(code, fmt)
  end
end

--- An error with a code that is known at run time, and details.
---@param code string "NOT_FOUND"
---@param message string
---@param details? table[] messages made by mica.proto.new, or tables with their type under "@type"
---@return mica.Error
function errors.new(code, message, details)
  if not NUMBER[code] then
    error(('errors.new: no code "%s"%s'):format(tostring(code), core.use("mica.suggest").hint(code, NUMBER)), 2)
  end
  if type(message) ~= "string" then error("errors.new wants a message, got " .. type(message), 2) end
  if details ~= nil then
    if type(details) ~= "table" then error("errors.new: details is a list of messages", 2) end
    for _, detail in ipairs(details) do
      local ok, fault = pcall(encode_detail, detail)
      if not ok then error("errors.new: " .. tostring(fault), 2) end
    end
  end
  return make(code, message, details)
end

--- INVALID_ARGUMENT that names the faulty fields: errors.invalid_fields { title = "is required" }.
---@param fields table<string, string>
---@return mica.Error
function errors.invalid_fields(fields)
  if type(fields) ~= "table" or next(fields) == nil then
    error('errors.invalid_fields wants the faults by field: errors.invalid_fields { title = "is required" }', 2)
  end
  local violations, texts = {}, {}
  for field, text in core.use("mica.sorted")(fields) do
    if type(field) ~= "string" or type(text) ~= "string" then
      error('errors.invalid_fields wants texts by field: errors.invalid_fields { title = "is required" }', 2)
    end
    violations[#violations + 1] = { field = field, description = text }
    texts[#texts + 1] = field .. " " .. text
  end
  return make("INVALID_ARGUMENT", table.concat(texts, "; "),
    { core.new("google.rpc.BadRequest", { field_violations = violations }) })
end

--- Is it an error with a code, or with this one?
---@param e any
---@param code? string
---@return boolean
function errors.is(e, code)
  if code ~= nil and not NUMBER[code] then
    error(('errors.is: no code "%s"%s'):format(tostring(code), core.use("mica.suggest").hint(code, NUMBER)), 2)
  end
  return getmetatable(e) == mt and (code == nil or e.code == code)
end

local computed = {}
function computed.http(e) return HTTP[e.code] or 500 end
function computed.details(e) return decode_details(e) end

function computed.reason(e)
  local info = find_detail(e, "google.rpc.ErrorInfo")
  return info and info.reason
end

function computed.retry_after(e)
  local info = find_detail(e, "google.rpc.RetryInfo")
  return info and info.retry_delay and core.use("mica.time").seconds(info.retry_delay)
end

function mt.__index(e, key)
  local compute = computed[key]
  return compute and compute(e)
end

function mt.__tostring(e)
  local id = rawget(e, "id") or own_id()
  return e.code .. " " .. (id and id ~= "" and id .. ": " or "") .. e.message
end

-- ---- what (w) functions return -------------------------------------------------------------------------------------------

-- An error that came from elsewhere. `from`: the service that was called; nil: the platform itself.
local function received(from, code, message, id, details)
  if id == "" then id = nil end
  return setmetatable({ code = code, message = message, id = id or own_id(), packed = details, from = from }, mt)
end
errors.received = received

-- The values of a (w) function, or its failure raised.
local function check(ok, ...)
  if ok then return ... end
  error(received(nil, ...), 0)
end
errors.check = check

-- ---- bugs that are raised again -------------------------------------------------------------------------------------------

-- `try` and `join` raise again what they have caught. The place of the first raise is what helps, so the last one is kept.
local last_bug, last_traceback

local function note(err)
  if getmetatable(err) ~= mt then
    last_bug, last_traceback = err, (debug.traceback("", 2):gsub("^\n", ""))
  end
  return err
end
errors.note = note -- a message handler for xpcall

-- Is it the end of the running request (or of this task), which nothing may hold up?
local function is_own_end(err)
  local code = getmetatable(err) == mt and err.code
  if code ~= "CANCELLED" and code ~= "DEADLINE_EXCEEDED" then return false end
  local ctx = core.context()
  if not ctx then return false end
  if core.ctx(ctx, "cancelled") then return true end
  local remaining = core.ctx(ctx, "remaining")
  return remaining ~= nil and remaining <= 0
end
errors.is_own_end = is_own_end

local function tried(ok, ...)
  if ok then return ... end
  local err = ...
  if getmetatable(err) == mt and not is_own_end(err) then return nil, err end
  error(err, 0)
end

--- Calls fn: its results, or `nil, err` for an error with a code. Bugs and the end of the own request pass through.
---@param fn function
---@return any ...
function errors.try(fn, ...)
  if type(fn) ~= "function" then
    error("mica.try wants a function and its arguments: mica.try(posts.Read, { id = id })", 2)
  end
  return tried(xpcall(fn, note, ...))
end

-- ---- the way out ---------------------------------------------------------------------------------------------------------

local function text_of(err)
  local ok, text = pcall(tostring, err)
  if not ok or type(text) ~= "string" then return "(a " .. type(err) .. " without a text)" end
  if type(err) ~= "string" and type(err) ~= "number" and not (getmetatable(err) or {}).__tostring then
    return ("error with a %s instead of a text or errors.<code>(...)"):format(type(err))
  end
  return text
end

-- What the core finds wrong with an argument of ours carries our line; the author wants his.
local function with_place(text, traceback)
  local rest = text:match("^[%w_/]-mica/[%w_]+%.lua:%d+: (.*)$")
  if not rest then return text end
  for place in (traceback or ""):gmatch("\n%s+([^%s%[:]+:%d+):") do
    if not place:find("mica/[%w_]+%.lua:") then return place .. ": " .. rest end
  end
  return text
end

local function bug(err, traceback)
  if last_bug ~= nil and rawequal(last_bug, err) and last_traceback then traceback = last_traceback end
  last_bug, last_traceback = nil, nil
  local text = text_of(err)
  if traceback and traceback:sub(1, #text) == text then traceback = traceback:sub(#text + 1):gsub("^\n", "") end
  text = with_place(text, traceback)
  core.log("error", text, { traceback = traceback })
  local ctx = core.context()
  local starting = ctx and core.ctx(ctx, "kind") == "start" -- who hears of it is the one who deploys the service
  return "INTERNAL", starting and text or "internal error", own_id(), nil
end

--- core.on_error: what the caller hears of an error that left a handler.
---@return string code, string message, string? id, string? details, integer? http where it is not the code's own
function errors.outcome(err, traceback)
  if getmetatable(err) ~= mt then return bug(err, traceback) end
  local code, message = rawget(err, "code"), rawget(err, "message")
  if not NUMBER[code] or type(message) ~= "string" then
    return bug(("an error value with code %s and message %s"):format(tostring(code), tostring(message)), traceback)
  end
  local ok, details = pcall(encode_details, err)
  if not ok then return bug(details, traceback) end
  local from = rawget(err, "from")
  if from and from ~= core.service and NOT_OURS[code] then
    core.log("error", ("uncaught answer of %s: %s"):format(from, tostring(err)))
    return "INTERNAL", message, rawget(err, "id"), nil
  end
  return code, message, rawget(err, "id") or own_id(), details, rawget(err, "http")
end

return errors
