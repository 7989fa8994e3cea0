-- SPDX-License-Identifier: Apache-2.0
-- A raw HTTP request from its beginning to its answer: the object `req` that a handler gets, and what becomes of what it
-- returns. The core calls this (web_routes.lua); the request's data lies in its context (core/vm/web.c) and is read when it is
-- asked for.
local core = ...
local http = core.web()
local errors = core.use("mica.errors")
local text_of = core.use("mica.web_text")
local check = errors.check

local BODY = {} -- the key of what is private in a request: { ctx, whole, stream, limit, used, text, entries }

local Request = {} -- methods; web.lua describes them

-- ---- fields, worked out when they are first read ---------------------------------------------------------------------------

local computed = {}

function computed.params(req)
  local params = {}
  for _, pair in ipairs(core.metadata_all(req[BODY].ctx, ":param")) do
    local name, value = pair:match("^(.-)=(.*)$")
    params[name] = value
  end
  return params
end

local function query_of(req) return req.url:match("%?(.*)$") or "" end

function computed.query(req)
  return text_of.first(text_of.pairs(query_of(req)))
end

-- Of several headers with one name: RFC 9110 section 5.3; cookies have a separator of their own.
local function header(ctx, name)
  if not core.metadata(ctx, name) then return nil end
  return table.concat(core.metadata_all(ctx, name), name == "cookie" and "; " or ", ")
end

function computed.headers(req)
  local ctx, headers = req[BODY].ctx, {}
  for _, name in ipairs(core.metadata_keys(ctx)) do headers[name] = header(ctx, name) end
  return setmetatable(headers, text_of.any_case)
end

function computed.cookies(req) return text_of.cookies(header(req[BODY].ctx, "cookie") or "") end

for _, name in ipairs { "method", "path", "url", "base", "host", "scheme" } do
  computed[name] = function(req) return core.metadata(req[BODY].ctx, ":" .. name) or "" end
end

local mt = {}

function mt.__index(req, key)
  local method = Request[key]
  if method then return method end
  local compute = computed[key]
  if compute then
    local value = compute(req)
    rawset(req, key, value)
    return value
  end
  local names = {}
  for name in pairs(computed) do names[name] = true end
  for name in pairs(Request) do names[name] = true end
  error(('req has no "%s"%s'):format(tostring(key), core.use("mica.suggest").hint(key, names)), 2)
end

function mt.__newindex(_, key)
  error(("req is for reading: keep things of your own in ctx.values.%s"):format(tostring(key)), 2)
end

function mt.__tostring(req) return ("%s %s"):format(req.method, req.url) end

-- ---- the body ------------------------------------------------------------------------------------------------------------

local function too_long(limit, what)
  local err = errors.resource_exhausted("the body is longer than the limit of %d bytes%s", limit, what)
  err.http = 413
  return err
end

-- Raises when the length that the client says is over the limit already.
local function check_length(req, limit, what)
  local length = tonumber(core.metadata(req[BODY].ctx, "content-length") or "")
  if length and length > limit then error(too_long(limit, what), 0) end
end

-- The next piece, nil at the end.
local function receive(b) return check(core.recv(b.stream)) end

-- The body in pieces, once; raises when it is longer than `limit` (nil: none).
local function pieces(req, limit, what)
  local b = req[BODY]
  if b.used and not b.text then error("the body has been read already", 3) end
  b.used = true
  local whole, got = b.text or b.whole, 0
  if limit then check_length(req, limit, what) end
  return function()
    local chunk
    if whole == nil and b.stream and not b.text then chunk = receive(b) else chunk, whole = whole, nil end
    got = got + (chunk and #chunk or 0)
    if limit and got > limit then error(too_long(limit, what), 0) end
    return chunk ~= "" and chunk or nil
  end
end

-- The same of a body that is kept.
local function kept_pieces(req)
  local own = req[BODY].limit
  local limit = math.min(own or math.huge, http.body_most)
  return pieces(req, limit, limit == own and "" or ": read it with req:chunks()")
end

--- The body in pieces, as they come: for chunk in req:chunks() do ... end
---@return fun(): string?
function Request.chunks(req) return pieces(req, req[BODY].limit, "") end

--- The body, byte for byte as it came.
---@return string
function Request.text(req)
  local b = req[BODY]
  if not b.text then
    local list = {}
    for chunk in kept_pieces(req) do list[#list + 1] = chunk end
    b.text = table.concat(list)
  end
  return b.text
end

--- The body as JSON; INVALID_ARGUMENT when it is none.
---@return any
function Request.json(req)
  local text = Request.text(req)
  if text == "" then error(errors.invalid_argument "the body is empty, and JSON is wanted", 0) end
  return core.use("mica.json").decode(text)
end

local function form_entries(req)
  local b = req[BODY]
  if not b.entries then b.entries = core.use("mica.web_form").read(req, kept_pieces) end
  return b.entries
end

--- The fields of a form, and its files: the first of each name.
---@return table<string, string> fields, table<string, mica.web.File> files
function Request.form(req)
  local fields, files = {}, {}
  for _, entry in ipairs(form_entries(req)) do
    local to = type(entry.value) == "string" and fields or files
    if to[entry.name] == nil then to[entry.name] = entry.value end
  end
  return fields, files
end

local function all_of(entries, name)
  local list = {}
  for _, entry in ipairs(entries) do
    if entry.name == name then list[#list + 1] = entry.value end
  end
  return list
end

--- All values and files of a name, in order.
---@param name string
function Request.form_all(req, name) return all_of(form_entries(req), name) end

--- All values of a name in the query, in order.
---@param name string
---@return string[]
function Request.query_all(req, name) return all_of(text_of.pairs(query_of(req)), name) end

--- The parts of a multipart body, as they come; what of a part is not read is left out.
---@return fun(): mica.web.Part?
function Request.parts(req) return core.use("mica.web_form").parts(req) end

-- ---- the answer ----------------------------------------------------------------------------------------------------------

local KEYS = { status = true, headers = true, body = true }
local HTML = "text/html; charset=utf-8"

local function put(flat, name, value)
  local kind = type(value)
  if kind == "number" then value = ("%.14g"):format(value) end
  if kind ~= "number" and kind ~= "string" then
    error(('the header "%s" of an answer is a text, got %s'):format(tostring(name), kind), 0)
  end
  flat[#flat + 1] = name
  flat[#flat + 1] = value
end

-- { name, value, name, value } in the order of names, which are made lower case, without `but`; and the values by name.
local function flatten(headers, but)
  local flat, by_name = {}, {}
  for name, value in core.use("mica.sorted")(headers) do
    if type(name) ~= "string" then error("headers of an answer are texts by name", 0) end
    name = name:lower()
    by_name[name] = value
    if name == but then
      put({}, name, value)
    elseif type(value) == "table" then
      for _, one in ipairs(value) do put(flat, name, one) end
    else
      put(flat, name, value)
    end
  end
  return flat, by_name
end

local function check_answer(value)
  if type(value) ~= "table" then
    error(("a handler returns { status, headers, body }, a text or nothing, not a %s"):format(type(value)), 0)
  end
  for key in next, value do
    if not KEYS[key] then
      error(('an answer has no "%s"%s: for JSON write mica.web.json(t)'):format(tostring(key),
        core.use("mica.suggest").hint(key, KEYS)), 0)
    end
  end
  local status, headers = value.status or 200, value.headers or {}
  if type(status) ~= "number" or status % 1 ~= 0 then error("the status of an answer is a whole number", 0) end
  if type(headers) ~= "table" then error("the headers of an answer are a table", 0) end
  return status, headers
end

-- An iterator: the head goes out, then each piece, while there is room on the way.
local function stream_answer(ctx, status, flat, body)
  local stream = http.answer_stream(ctx, status, flat)
  while true do
    local chunk = body()
    if chunk == nil then return end
    if type(chunk) ~= "string" then error("the body of an answer gave a " .. type(chunk) .. " instead of a text", 0) end
    if chunk ~= "" then check(core.send(stream, chunk)) end
  end
end

local function answer_bytes(ctx, req, status, flat, by_name, body)
  local kind = type(body)
  if kind ~= "nil" and by_name["content-type"] == nil then
    put(flat, "content-type", kind == "string" and HTML or "application/octet-stream")
  end
  if kind ~= "function" then return http.answer(ctx, status, flat, body) end
  if status == 204 or status == 304 then return http.answer(ctx, status, flat) end
  stream_answer(ctx, status, flat, req.method == "HEAD" and function() end or body) -- whose length nobody knows
end

-- The headers of a request, for who looks at a few of them only.
local asked_mt = { __index = function(asked, name) return header(asked[BODY], name) end }
local function asked_of(ctx) return setmetatable({ [BODY] = ctx }, asked_mt) end

-- A validator in the answer is compared with those of the request, whoever made it.
local function fresh(req, status, by_name)
  if status ~= 200 or not (by_name.etag or by_name["last-modified"]) then return nil end
  return core.use("mica.web_conditions").status(req.method, asked_of(req[BODY].ctx), by_name.etag,
    by_name["last-modified"])
end

local function answer(ctx, req, value)
  if value == nil then return http.answer(ctx, 204, {}) end
  if type(value) == "string" then value = { body = value } end
  local status, headers = check_answer(value)
  local body = value.body
  if type(body) == "table" then
    return core.use("mica.web_files").answer(ctx, req, status, headers, body, flatten, asked_of(ctx))
  end
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" then
    error(("the body of an answer is a text or a function, got %s"):format(type(body)), 0)
  end
  local flat, by_name = flatten(headers)
  local instead = fresh(req, status, by_name)
  if instead then return http.answer(ctx, instead, flat) end
  answer_bytes(ctx, req, status, flat, by_name, body)
end

-- ---- what the core calls ---------------------------------------------------------------------------------------------------

---@param ctx mica.Context
---@param handler function with its wrappers
---@param body string? all of it, when it is here
---@param stream userdata? what it comes by, else
---@param limit number? of the definition
return function(ctx, handler, body, stream, limit)
  local req = { [BODY] = { ctx = ctx, whole = not stream and (body or "") or nil, stream = stream, limit = limit } }
  setmetatable(req, mt)
  if limit and stream then check_length(req, limit, "") end
  answer(ctx, req, (handler(ctx, req)))
end
