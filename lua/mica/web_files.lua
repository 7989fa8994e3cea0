-- SPDX-License-Identifier: Apache-2.0
-- Static files: those of the service's folder public/, which are a part of its version. Their bytes never come here: the core
-- sends them out of the source (core/vm/web.c), whole or in pieces.
--
-- A path is looked up among the version's files as it stands; no file system is asked, so there is nothing that ".." or a
-- link could lead out of. A file's tag is a hash of its content, so it is the same for the same content in every version and
-- on every server. There is no Last-Modified: what a version was packed from has dates, the version does not.
local core = ...
local http = core.web()
local errors = core.use("mica.errors")
local conditions = core.use("mica.web_conditions")
local text_of = core.use("mica.web_text")

local M = {}

local BINARY = "application/octet-stream"
local TYPES = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8", css = "text/css; charset=utf-8",
  js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8", json = "application/json",
  map = "application/json", webmanifest = "application/manifest+json", wasm = "application/wasm",
  xml = "application/xml", txt = "text/plain; charset=utf-8", md = "text/markdown; charset=utf-8",
  csv = "text/csv; charset=utf-8", pdf = "application/pdf", zip = "application/zip", gz = "application/gzip",
  svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp",
  avif = "image/avif", ico = "image/x-icon", bmp = "image/bmp", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf",
  otf = "font/otf", mp3 = "audio/mpeg", ogg = "audio/ogg", wav = "audio/wav", m4a = "audio/mp4", mp4 = "video/mp4",
  webm = "video/webm", ics = "text/calendar; charset=utf-8", proto = "text/plain; charset=utf-8",
}

--- By its name; what is not known is bytes, which no browser shows or runs.
function M.type_of(path)
  local extension = path:match("%.([%w]+)$")
  return extension and TYPES[extension:lower()] or BINARY
end

-- ---- what authors call -----------------------------------------------------------------------------------------------------

-- A body that is a file: { path, size, etag, kind (its type), own (headers that it brings: name, value, name, value) }.
local Body = {}
Body.__index = Body
local bodies = {} -- by path; there are no more than files

local function body_of(path)
  local body = bodies[path]
  if body then return body end
  local size, tag = http.file(path)
  if not size then return nil end
  local etag = '"' .. tag .. '"'
  body = setmetatable({ path = path, size = size, etag = etag, kind = M.type_of(path),
    own = { "accept-ranges", "bytes", "cache-control", "no-cache", "etag", etag, "x-content-type-options", "nosniff" } }, Body)
  bodies[path] = body
  return body
end

-- What the file says of itself is added when it is sent, where `headers` do not say otherwise.
local function file_answer(body, headers)
  local all = {}
  for name, value in next, headers or {} do all[name] = value end
  return { status = 200, headers = all, body = body }
end

function M.file(path, headers)
  if type(path) ~= "string" or not path:find "^public/." then
    error('web.file wants a file of the folder public/: web.file "public/logo.png"', 3)
  end
  local body = body_of(path) or error(errors.not_found("no file %q", path), 0)
  return file_answer(body, headers)
end

local OPTIONS = { index = true, max_age = true, missing = true }

local function check_options(folder, opts)
  if type(folder) ~= "string" or not (folder .. "/"):find "^public/" then
    error('web.files wants a folder in public/: web.files "public"', 4)
  end
  if type(opts) ~= "table" then error("web.files: the options are a table", 4) end
  core.use("mica.suggest").check_keys("web.files", opts, OPTIONS, 5)
  if opts.missing ~= nil and type(opts.missing) ~= "function" then error("web.files: missing is a handler", 4) end
end

local function cache_of(max_age)
  if max_age == nil then return nil end
  return { ["cache-control"] = ("public, max-age=%d"):format(core.use("mica.units").seconds(max_age, "web.files: max_age")) }
end

-- Where a folder is asked for without "/" at its end, its page's relative links would lead beside it.
local function to_folder(req)
  local query = req.url:match("%?.*$") or ""
  local path = req.path == "/" and "" or req.path
  return { status = 301, headers = { location = text_of.encode_path(req.base .. path) .. "/" .. query } }
end

local function rest_of(ctx, req)
  local name = ctx.endpoint:match("%*([%w_]+)$")
  if not name then error('web.files wants a key that ends in a variable for the rest: ["GET /static/*path"]', 0) end
  return (req.params[name]:gsub("/$", ""))
end

function M.files(folder, opts)
  folder, opts = folder or "public", opts or {}
  check_options(folder, opts)
  folder = folder:gsub("/*$", "")
  local headers, index = cache_of(opts.max_age), opts.index
  if index == nil then index = "index.html" end
  return function(ctx, req)
    local rest = rest_of(ctx, req)
    local path = rest == "" and folder or folder .. "/" .. rest
    local body = body_of(path)
    if not body and index then
      body = body_of(path .. "/" .. index)
      if body and not req.url:find "^[^?]*/%f[?%z]" then return to_folder(req) end
    end
    if body then return file_answer(body, headers) end
    if opts.missing then return opts.missing(ctx, req) end
    error(errors.not_found("no file %q", rest), 0)
  end
end

-- ---- answering (web_serve.lua) -----------------------------------------------------------------------------------------------

local function put(flat, name, value)
  flat[#flat + 1] = name
  flat[#flat + 1] = tostring(value)
end

local function content_range(range, size) return ("bytes %d-%d/%d"):format(range.from, range.from + range.n - 1, size) end

-- RFC 9110 section 14.6: several ranges as parts of a multipart/byteranges body.
local function several(flat, ranges, body, kind)
  local boundary = core.hex(core.random(12))
  local pieces = {}
  for i, range in ipairs(ranges) do
    local text = ("%s--%s\r\ncontent-type: %s\r\ncontent-range: %s\r\n\r\n"):format(i > 1 and "\r\n" or "", boundary, kind,
      content_range(range, body.size))
    for _, value in ipairs { text, range.from, range.n } do pieces[#pieces + 1] = value end
  end
  for _, value in ipairs { "\r\n--" .. boundary .. "--\r\n", 0, 0 } do pieces[#pieces + 1] = value end
  put(flat, "content-type", "multipart/byteranges; boundary=" .. boundary)
  return pieces
end

local function partial(ctx, flat, ranges, body, kind)
  local pieces
  if ranges[2] then
    pieces = several(flat, ranges, body, kind)
  else
    put(flat, "content-type", kind)
    put(flat, "content-range", content_range(ranges[1], body.size))
    pieces = { "", ranges[1].from, ranges[1].n }
  end
  http.answer_file(ctx, 206, flat, body.path, pieces)
end

local function without_range(ctx, body, flat)
  put(flat, "content-range", ("bytes */%d"):format(body.size))
  http.answer(ctx, 416, flat)
end

-- The headers to send, without content-type; and type, etag and last-modified as they are said in the end.
local function head_of(headers, body, flatten)
  local flat, by_name = flatten(headers, "content-type")
  for i = 1, #body.own, 2 do
    if by_name[body.own[i]] == nil then
      flat[#flat + 1] = body.own[i]
      flat[#flat + 1] = body.own[i + 1]
    end
  end
  return flat, by_name["content-type"] or body.kind, by_name.etag or body.etag, by_name["last-modified"]
end

--- Answers with a file; `flatten` is web_serve's, `asked` reads a header of the request.
function M.answer(ctx, req, status, headers, body, flatten, asked)
  if getmetatable(body) ~= Body then error("the body of an answer is a text, a function, or what web.file gives", 0) end
  local flat, kind, etag, modified = head_of(headers, body, flatten)
  local instead = status == 200 and conditions.status(req.method, asked, etag, modified)
  if instead then return http.answer(ctx, instead, flat) end
  -- RFC 9110 section 14.2: only GET has ranges; HEAD is told what GET without them would give.
  local ranges
  if status == 200 and req.method == "GET" then ranges = conditions.ranges(asked, body.size, etag, modified) end
  if ranges == false then return without_range(ctx, body, flat) end
  if ranges then return partial(ctx, flat, ranges, body, kind) end
  put(flat, "content-type", kind)
  http.answer_file(ctx, status, flat, body.path)
end

return M
