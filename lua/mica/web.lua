-- SPDX-License-Identifier: Apache-2.0
-- mica.web: answers of raw HTTP handlers (`http` in the definition).
--
-- A handler gets (ctx, req) and returns { status, headers, body }, a text (HTML) or nothing (204). What is here makes such
-- tables. What a request is and what becomes of an answer: web_serve.lua; files: web_files.lua.
local core = ...

---@class mica.web.Request
---@field method string "GET"
---@field path string cleaned and decoded, below `base`; it begins with "/"
---@field url string path and query as the client wrote them
---@field base string where the service is mounted: "/site"; links begin with it
---@field params table<string, string> the variables of the key: {id} is params.id
---@field query table<string, string> the first value of each name
---@field headers table<string, string> by lower-case name; several of a name are joined by ", "
---@field cookies table<string, string>
---@field host string
---@field scheme "http"|"https"
---@field text fun(req: mica.web.Request): string the body as it came
---@field json fun(req: mica.web.Request): any the body as JSON
--- the fields of a form, and its files: the first of each name
---@field form fun(req: mica.web.Request): table<string, string>, table<string, mica.web.File>
---@field form_all fun(req: mica.web.Request, name: string): (string|mica.web.File)[] all of a name, in order
---@field query_all fun(req: mica.web.Request, name: string): string[] all values of a name, in order
---@field chunks fun(req: mica.web.Request): fun(): string? the body in pieces, as they come
---@field parts fun(req: mica.web.Request): fun(): mica.web.Part? the parts of a multipart body, as they come

---@class mica.web.File
---@field name string the file's name as the client says it: never a path to write to
---@field type string
---@field content string

---@class mica.web.Part
---@field field string the name of the form's field
---@field name string? of a file
---@field type string
---@field text fun(part: mica.web.Part): string
---@field chunks fun(part: mica.web.Part): fun(): string?

---@class mica.web.Answer
---@field status? integer default 200
---@field headers? table<string, string|number|string[]>
---@field body? string|(fun(): string?)|mica.web.Body a text, or an iterator whose pieces are sent as they come

---@class mica.web.CookieOptions
---@field path? string default: where the service is mounted
---@field domain? string
---@field max_age? mica.Duration without it, until the browser is closed
---@field secure? boolean only over TLS; default: as the request came
---@field http_only? boolean scripts cannot read it; default true
---@field same_site? "Lax"|"Strict"|"None" default "Lax"

---@class mica.web.Body a file
---@alias mica.web.Handler fun(ctx: mica.Context, req: mica.web.Request): mica.web.Answer|string|nil

---@class mica.web
local web = {}

local function check_text(what, value)
  if type(value) ~= "string" then error(("web.%s wants a text, got %s"):format(what, type(value)), 3) end
  return value
end

local function answer(kind, body, status, headers)
  local all = { ["content-type"] = kind }
  for name, value in next, headers or {} do all[type(name) == "string" and name:lower() or name] = value end
  return { status = status or 200, headers = all, body = body }
end

--- A page. Text from elsewhere belongs through web.escape.
---@param text string
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.html(text, status, headers)
  return answer("text/html; charset=utf-8", check_text("html", text), status, headers)
end

---@param text string
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.text(text, status, headers)
  return answer("text/plain; charset=utf-8", check_text("text", text), status, headers)
end

---@param value any
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.json(value, status, headers)
  return answer("application/json", core.use("mica.json").encode(value), status, headers)
end

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- Sends the client elsewhere: a path of this server (begin it with req.base), or a URL.
---@param to string
---@param status? integer 301, 302 (the default), 303, 307 or 308
---@param headers? table
---@return mica.web.Answer
function web.redirect(to, status, headers)
  check_text("redirect", to)
  if to == "" or to:find "[%z\1-\32\127-\255]" then
    error("web.redirect: a target is not empty and holds no blanks, line breaks or letters beyond ASCII: encode them", 2)
  end
  status = status or 302
  if not REDIRECTS[status] then error("web.redirect: the status is 301, 302, 303, 307 or 308", 2) end
  local all = { location = to }
  for name, value in next, headers or {} do all[name] = value end
  return { status = status, headers = all }
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text for HTML, between tags and in quoted attributes.
---@param text any
---@return string
function web.escape(text)
  return (tostring(text):gsub("[&<>\"']", ENTITIES))
end

-- ---- cookies -------------------------------------------------------------------------------------------------------------

local COOKIE_OPTIONS = { path = true, domain = true, max_age = true, secure = true, http_only = true, same_site = true }
local SAME_SITE = { Lax = true, Strict = true, None = true }

local function encoded(value)
  return (value:gsub("[^%w!#$&'()*+./:<=>?@%[%]^_`{|}~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

local function check_attribute(what, value)
  if type(value) ~= "string" or value:find "[%z\1-\31\127;]" then
    error(("web.cookie: %s is a text without ';' and line breaks"):format(what), 3)
  end
  return value
end

local function check_cookie(name, opts)
  if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
    error("web.cookie: a name is letters, digits, '-' and '_'", 3)
  end
  local bare = name:lower():gsub("^__%l+%-", "")
  if bare:find "^mica%-" or bare:find "^micro%-" then
    error(('web.cookie: "%s" is a name of the platform\'s own cookies: they begin with mica- or micro-'):format(name), 3)
  end
  core.use("mica.suggest").check_keys("web.cookie", opts, COOKIE_OPTIONS, 4)
  if opts.same_site ~= nil and not SAME_SITE[opts.same_site] then
    error('web.cookie: same_site is "Lax", "Strict" or "None"', 3)
  end
end

-- What the running request says: where the service is mounted, and whether the client speaks TLS.
local function of_request(key)
  local ctx = core.context()
  return ctx and core.metadata(ctx, key)
end

--- The value of a set-cookie header. By default scripts cannot read the cookie, other sites' forms do not send it, it is for
--- this service only, and where the request came over TLS it never goes out without. A value of nil removes the cookie.
---@param name string
---@param value string?
---@param opts? mica.web.CookieOptions
---@return string
function web.cookie(name, value, opts)
  opts = opts or {}
  check_cookie(name, opts)
  if value ~= nil and type(value) ~= "string" then error("web.cookie: a value is a text, got " .. type(value), 2) end
  local base = of_request ":base"
  local path = opts.path or (base and base ~= "" and base) or "/"
  local text = { name .. "=" .. encoded(value or ""), "Path=" .. check_attribute("path", path) }
  if opts.domain then text[#text + 1] = "Domain=" .. check_attribute("domain", opts.domain) end
  if value == nil then
    text[#text + 1] = "Max-Age=0"
  elseif opts.max_age then
    text[#text + 1] = ("Max-Age=%d"):format(core.use("mica.units").seconds(opts.max_age, "web.cookie: max_age"))
  end
  local same_site = opts.same_site or "Lax"
  local secure = opts.secure
  if secure == nil then secure = same_site == "None" or of_request ":scheme" == "https" end
  if secure then text[#text + 1] = "Secure" end
  if opts.http_only ~= false then text[#text + 1] = "HttpOnly" end
  text[#text + 1] = "SameSite=" .. same_site
  return table.concat(text, "; ")
end

-- ---- files ---------------------------------------------------------------------------------------------------------------

--- A file of the service's folder public/: web.file "public/logo.png". NOT_FOUND when there is none.
---@param path string
---@param headers? table
---@return mica.web.Answer
function web.file(path, headers)
  return core.use("mica.web_files").file(path, headers)
end

--- A handler for the files below public/, or below a folder in it; its key ends in a variable for the rest:
--- ["GET /static/*path"] = web.files "public".
---@param folder? string default "public"
---@param opts? { index?: string|false, max_age?: mica.Duration, missing?: mica.web.Handler }
---@return mica.web.Handler
function web.files(folder, opts)
  return core.use("mica.web_files").files(folder, opts)
end

return web
