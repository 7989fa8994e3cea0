-- SPDX-License-Identifier: Apache-2.0
-- mica.web and what serves raw HTTP: texts, forms, conditions and ranges, requests, answers, definitions.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

local function use(name) return fake.new().core.use("mica." .. name) end

-- ---- texts ---------------------------------------------------------------------------------------------------------------

test("pairs of queries and forms", function()
  local text = use "web_text"
  local function read(s)
    local out = {}
    for i, pair in ipairs(text.pairs(s)) do out[i] = pair.name .. ">" .. pair.value end
    return table.concat(out, " ")
  end
  eq("a>1 b>x y a>2", read "a=1&b=x+y&a=2")
  eq("a>", read "a")
  eq("a>=b", read "a==b")
  eq(">x", read "=x")
  eq("", read "&&")
  eq("a b>é&", read "a%20b=%C3%A9%26")
  eq("a>%zz%", read "a=%zz%")
  eq({ a = "1", b = "" }, text.first(text.pairs "a=1&b=&a=2"))
  raises("more than 10000 fields", text.pairs, ("a&"):rep(10001))
end)

test("cookies: the first of a name, quotes and percent signs undone", function()
  local cookies = use("web_text").cookies
  eq({ a = "1", b = "x y" }, cookies "a=1; b=x%20y; a=2")
  eq({ a = "q", c = "" }, cookies 'a="q"; c=; =x; broken')
  eq({}, cookies "")
end)

test("header values with parameters", function()
  local header = use("web_text").header
  local function read(s)
    local value, p = header(s)
    local out = { value }
    for name, found in require("fake_core").new().core.use("mica.sorted")(p) do out[#out + 1] = name .. "=" .. found end
    return table.concat(out, "|")
  end
  eq("form-data|filename=b.txt|name=a", read 'form-data; name="a"; filename="b.txt"')
  eq("form-data|name=a", read "Form-Data;name=a")
  eq('form-data|filename=C:\\x "q".txt|name=a', read 'form-data; name="a"; filename="C:\\x \\"q\\".txt"')
  eq("multipart/form-data|boundary=x y", read 'multipart/form-data; boundary="x y"; boundary=z')
  eq("text/plain", read "text/plain")
  eq("text/plain|charset=utf-8", read " text/plain ; charset = utf-8 ")
  eq("", read "")
  eq("a|b=", read 'a; b="')
end)

-- ---- conditions and ranges -------------------------------------------------------------------------------------------------

test("HTTP dates in their three forms", function()
  local date = use("web_conditions").date
  eq(784111777, date "Sun, 06 Nov 1994 08:49:37 GMT")
  eq(784111777, date "Sunday, 06-Nov-94 08:49:37 GMT")
  eq(784111777, date "Sun Nov  6 08:49:37 1994")
  eq(nil, date "Sun, 06 Foo 1994 08:49:37 GMT")
  eq(nil, date "yesterday")
  eq(nil, date(nil))
end)

local DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
local LATER = "Mon, 07 Nov 1994 08:49:37 GMT"

test("conditions in the order of RFC 9110 section 13.2.2", function()
  local status = use("web_conditions").status
  local function check(wanted, method, headers, etag, modified) eq(wanted, status(method, headers, etag, modified)) end
  check(nil, "GET", {}, '"a"')
  check(304, "GET", { ["if-none-match"] = '"a"' }, '"a"')
  check(304, "HEAD", { ["if-none-match"] = 'W/"a"' }, '"a"')
  check(304, "GET", { ["if-none-match"] = '"x", "a"' }, 'W/"a"')
  check(304, "GET", { ["if-none-match"] = "*" }, '"a"')
  check(nil, "GET", { ["if-none-match"] = '"b"' }, '"a"')
  check(412, "POST", { ["if-none-match"] = '"a"' }, '"a"')
  check(412, "GET", { ["if-match"] = '"b"' }, '"a"')
  check(412, "GET", { ["if-match"] = 'W/"a"' }, '"a"')
  check(nil, "GET", { ["if-match"] = '"b", "a"' }, '"a"')
  check(nil, "GET", { ["if-match"] = "*" }, '"a"')
  check(304, "GET", { ["if-modified-since"] = DATE }, nil, DATE)
  check(304, "GET", { ["if-modified-since"] = LATER }, nil, DATE)
  check(nil, "GET", { ["if-modified-since"] = DATE }, nil, LATER)
  check(nil, "POST", { ["if-modified-since"] = LATER }, nil, DATE)
  check(nil, "GET", { ["if-modified-since"] = "soon" }, nil, DATE)
  check(nil, "GET", { ["if-modified-since"] = LATER, ["if-none-match"] = '"b"' }, '"a"', DATE)
  check(412, "GET", { ["if-unmodified-since"] = DATE }, nil, LATER)
  check(nil, "GET", { ["if-unmodified-since"] = LATER }, nil, DATE)
end)

test("ranges of ten bytes", function()
  local ranges = use("web_conditions").ranges
  local function read(range, condition, etag, modified)
    local list = ranges({ range = range, ["if-range"] = condition }, 10, etag, modified)
    if not list then return list end
    local out = {}
    for i, r in ipairs(list) do out[i] = r.from .. "+" .. r.n end
    return table.concat(out, " ")
  end
  eq("0+4", read "bytes=0-3")
  eq("5+5", read "bytes=5-")
  eq("7+3", read "bytes=-3")
  eq("0+10", read "bytes=-99")
  eq("8+2", read "bytes=8-99")
  eq("9+1", read "bytes=9-9")
  eq("0+1 9+1", read "bytes=0-0,-1")
  eq("0+1 2+1", read "Bytes= 0-0 , 2-2")
  eq("0+1", read "bytes=0-0,20-30") -- those that can be had
  eq(false, read "bytes=10-")
  eq(false, read "bytes=-0")
  eq(nil, read(nil))
  for _, malformed in ipairs { "0-3", "lines=0-3", "bytes=", "bytes=a-b", "bytes=3-1", "bytes=--1", "bytes=1-2-3", "bytes=-",
    "bytes=0-99999999999999999" } do
    eq(nil, read(malformed))
  end
  eq(nil, read "bytes=0-,0-") -- more than there is
  eq(nil, read("bytes=" .. ("0-0,"):rep(17)))
  eq("0+1", read("bytes=0-0", '"a"', '"a"'))
  eq(nil, read("bytes=0-0", '"b"', '"a"'))
  eq(nil, read("bytes=0-0", 'W/"a"', '"a"'))
  eq("0+1", read("bytes=0-0", DATE, '"a"', DATE))
  eq(nil, read("bytes=0-0", LATER, '"a"', DATE))
  eq(false, ranges({ range = "bytes=0-" }, 0))
end)

-- ---- requests and answers ---------------------------------------------------------------------------------------------------

local LINE = { [":method"] = { "GET" }, [":url"] = { "/s/a?x=1&x=2" }, [":path"] = { "/a" }, [":base"] = { "/s" },
  [":host"] = { "h:1" }, [":scheme"] = { "http" }, [":param"] = { "id=a=b", "rest=" }, host = { "h:1" },
  cookie = { "a=1", "b=2" }, ["x-y"] = { "1", "2" }, ["content-type"] = { "text/plain" } }

local function metadata(more)
  local all = {}
  for k, v in pairs(LINE) do all[k] = v end
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end

-- Runs a handler, with options.body in pieces; gives the answer and the world.
local function serve(handler, options)
  options = options or {}
  options.metadata = metadata(options.headers)
  local world, received = fake.new(options), 0
  world.sent = {}
  function world.core.recv()
    received = received + 1
    return true, options.body[received]
  end
  function world.core.send(_, piece)
    table.insert(world.sent, piece)
    return true
  end
  local ctx = { endpoint = options.endpoint or "GET /a" }
  world.core.use "mica.web_serve"(ctx, function(c, req) return handler(req, world.mica.web, c) end,
    options.whole, options.body and {} or nil, options.limit)
  return world.answer, world
end

test("what a request tells", function()
  serve(function(req)
    eq({ "GET", "/a", "/s/a?x=1&x=2", "/s", "h:1", "http" }, { req.method, req.path, req.url, req.base, req.host, req.scheme })
    eq({ id = "a=b", rest = "" }, req.params)
    eq({ x = "1" }, req.query)
    eq({ "1", "2" }, req:query_all "x")
    eq({ a = "1", b = "2" }, req.cookies)
    eq("1, 2", req.headers["X-Y"])
    eq(nil, req.headers[":path"])
    eq(nil, req.headers.nothing)
    eq("GET /s/a?x=1&x=2", tostring(req))
    raises('req has no "param" (did you mean "params"?)', function() return req.param end)
    raises("req is for reading", function() req.thing = 1 end)
  end)
end)

test("bodies: whole, in pieces, as JSON", function()
  local all = { body = { "ab", "cd" } }
  serve(function(req) eq("abcd", req:text()) eq("abcd", req:text()) end, all)
  serve(function(req) eq("whole", req:text()) end, { whole = "whole" })
  serve(function(req) eq("", req:text()) end)
  serve(function(req)
    local got = {}
    for chunk in req:chunks() do got[#got + 1] = chunk end
    eq({ "ab", "cd" }, got)
    raises("has been read already", req.text, req)
  end, all)
  serve(function(req)
    req:text()
    eq("abcd", req:chunks()())
  end, all)
  serve(function(req) eq(nil, req:chunks()()) end)
  serve(function(req) raises("the body is empty", req.json, req) end)
end)

test("bodies are limited", function()
  local function fails(fn, options)
    local err
    serve(function(req) err = raises("longer than the limit", fn, req) end, options)
    eq({ "RESOURCE_EXHAUSTED", 413 }, { err.code, err.http })
    return tostring(err)
  end
  local function text(req) return req:text() end
  local function chunks(req) for _ in req:chunks() do end end
  ok(fails(text, { body = { "abcdef" }, body_most = 5 }):find("read it with req:chunks()", 1, true))
  fails(text, { body = { "abc", "def" }, limit = 5 })
  fails(text, { whole = "abcdef", limit = 5 })
  fails(text, { whole = "", body = {}, headers = { ["content-length"] = { "1001" } } })
  fails(chunks, { body = { "abc", "def" }, limit = 5 })
  serve(chunks, { body = { "abcdef" }, body_most = 5 })
  raises("longer than the limit", serve, chunks, { body = {}, limit = 5, headers = { ["content-length"] = { "6" } } })
end)

test("answers", function()
  local function answered(value, options)
    local a = serve(function() return value end, options)
    return ("%s %d %s %s"):format(a.kind, a.status, a.headers, tostring(a.body))
  end
  eq("bytes 204  nil", answered(nil))
  eq("bytes 200 content-type|text/html; charset=utf-8 hi", answered "hi")
  eq("bytes 201 a|1|a|2|content-type|x|n|5 hi",
    answered { status = 201, headers = { A = { "1", "2" }, n = 5, ["Content-Type"] = "x" }, body = "hi" })
  eq("bytes 200  nil", answered {})
  eq("bytes 304 etag|\"v\" nil", answered({ headers = { etag = '"v"' }, body = "x" },
    { headers = { ["if-none-match"] = { '"v"' } } }))
  raises('an answer has no "stats" (did you mean "status"?)', answered, { stats = 5 })
  raises("mica.web.json(t)", answered, { title = "x" })
  raises("not a number", answered, 5)
  raises("whole number", answered, { status = 200.5 })
  raises('the header "a" of an answer is a text, got boolean', answered, { headers = { a = true } })
  raises("a text or a function, got number", answered, { body = 5 })
  raises("what web.file gives", answered, { body = { 1 } })
end)

test("an iterator is a streamed answer, and is left alone for HEAD", function()
  local function pieces()
    local left = { "b", "", "a" }
    return function() return table.remove(left) end
  end
  local a, world = serve(function() return { body = pieces() } end)
  eq({ "stream", 200, "content-type|application/octet-stream" }, { a.kind, a.status, a.headers })
  eq({ "a", "b" }, world.sent)
  a, world = serve(function() return { body = pieces() } end, { headers = { [":method"] = { "HEAD" } } })
  eq({ "stream", 0 }, { a.kind, #world.sent }) -- nothing is said of its length
  raises("gave a number instead of a text", serve, function() return { body = function() return 1 end } end)
end)

test("makers of answers", function()
  local function made(fn)
    local a = serve(function(_, web) return fn(web) end)
    return ("%d %s %s"):format(a.status, a.headers, tostring(a.body))
  end
  eq("200 content-type|text/html; charset=utf-8 x", made(function(web) return web.html "x" end))
  eq("404 a|b|content-type|text/plain; charset=utf-8 x", made(function(web) return web.text("x", 404, { A = "b" }) end))
  eq("302 location|/s/x nil", made(function(web) return web.redirect "/s/x" end))
  eq("308 location|/s/x|x|y nil", made(function(web) return web.redirect("/s/x", 308, { x = "y" }) end))
  serve(function(_, web)
    for _, bad in ipairs { "/a\r\nset-cookie: x=1", "", "/a b", "/\0", "/é" } do
      raises("a target is not empty", web.redirect, bad)
    end
    raises("301, 302, 303, 307 or 308", web.redirect, "/x", 200)
    eq("&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;", web.escape [[<a href="'&'">]])
    eq("5", web.escape(5))
  end)
end)

test("cookies are made safe by default", function()
  local world = fake.new { metadata = metadata() }
  local web = world.mica.web
  world.core.context = function() return {} end
  eq("a=x%20y%3B; Path=/s; HttpOnly; SameSite=Lax", web.cookie("a", "x y;"))
  eq("a=; Path=/s; Max-Age=0; HttpOnly; SameSite=Lax", web.cookie("a", nil))
  eq("a=1; Path=/; Domain=d.e; Max-Age=3600; Secure; SameSite=None",
    web.cookie("a", "1", { path = "/", domain = "d.e", max_age = "1h", http_only = false, same_site = "None" }))
  raises("is a name of the platform's own", web.cookie, "__Host-mica-token", "x")
  raises("is a name of the platform's own", web.cookie, "Micro-token", "x")
  raises("a name is letters", web.cookie, "a;b", "x")
  raises("path is a text without ';'", web.cookie, "a", "x", { path = "/; Domain=evil" })
  raises('has no option "paht" (did you mean "path"?)', web.cookie, "a", "x", { paht = "/" })
  raises("same_site is", web.cookie, "a", "x", { same_site = "lax" })
  raises("a value is a text", web.cookie, "a", 5)
end)

-- ---- files ---------------------------------------------------------------------------------------------------------------

local PUBLIC = { ["public/a.txt"] = { 10, "tag" }, ["public/index.html"] = { 3, "i" }, ["public/d/index.html"] = { 3, "d" } }

local function get(path, headers, opts, folder)
  local all = { [":param"] = { "path=" .. path:gsub("/$", "") }, [":path"] = { "/" .. path }, [":url"] = { "/s/" .. path } }
  for name, value in pairs(headers or {}) do all[name] = { value } end
  local a = serve(function(req, web, ctx) return web.files(folder, opts)(ctx, req) end,
    { public = PUBLIC, headers = all, endpoint = "GET /*path" })
  local text = a.headers:gsub("accept%-ranges|bytes|cache%-control|no%-cache|", ""):gsub("x%-content[^|]*|nosniff|?", "")
  return a, a.status .. " " .. text
end

test("static files: types, folders, ranges", function()
  local a, text = get "a.txt"
  eq('200 etag|"tag"|content-type|text/plain; charset=utf-8', text)
  eq({ "file", "public/a.txt", nil }, { a.kind, a.body, a.parts })
  eq('200 etag|"i"|content-type|text/html; charset=utf-8', select(2, get ""))
  eq("301 location|/s/d/", select(2, get "d"))
  eq('200 etag|"d"|content-type|text/html; charset=utf-8', select(2, get "d/"))
  raises("NOT_FOUND", get, "b.txt")
  raises("NOT_FOUND", get, "d/", nil, { index = false })
  raises("NOT_FOUND", get, "../main.lua")
  eq("404", select(2, get("b.txt", nil, { missing = function() return { status = 404 } end })):match "^%d+")
  ok(get("a.txt", nil, { max_age = "1h" }).headers:find("cache-control|public, max-age=3600", 1, true))
  eq("304", select(2, get("a.txt", { ["if-none-match"] = '"tag"' })):match "^%d+")
  a, text = get("a.txt", { range = "bytes=2-4" })
  eq('206 etag|"tag"|content-type|text/plain; charset=utf-8|content-range|bytes 2-4/10', text)
  eq({ "", 2, 3 }, a.parts)
  eq('416 etag|"tag"|content-range|bytes */10', select(2, get("a.txt", { range = "bytes=10-" })))
  eq("200", select(2, get("a.txt", { range = "bytes=2-4", [":method"] = "HEAD" })):match "^%d+")
  a, text = get("a.txt", { range = "bytes=0-1,-1" })
  eq('206 etag|"tag"|content-type|multipart/byteranges; boundary=' .. ("07"):rep(12), text)
  eq("\r\n--" .. ("07"):rep(12) .. "--\r\n", a.parts[7])
  eq({ 0, 2 }, { a.parts[2], a.parts[3] })
  ok(a.parts[4]:find("content-range: bytes 9-9/10", 1, true))
end)

test("only what lies in public/ is served", function()
  local web = fake.new({ public = PUBLIC }).mica.web
  raises("a folder in public/", web.files, "..")
  raises("a folder in public/", web.files, "publicity")
  raises('web.files has no option "indx"', web.files, "public", { indx = 1 })
  raises("a file of the folder public/", web.file, "main.lua")
  raises("NOT_FOUND", web.file, "public/nothing")
  eq("image/png", web.file and use("web_files").type_of "a.PNG")
  eq("application/octet-stream", use("web_files").type_of "a.exe")
end)

-- ---- forms ---------------------------------------------------------------------------------------------------------------

local FORM = '--B\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--B \r\n'
  .. 'Content-Disposition: form-data; name="f"; filename="C:\\d\\x.txt"\r\nContent-Type: text/x\r\n\r\n'
  .. 'line\r\n--bogus\r\n\r\n--B\r\n'
  .. 'content-disposition: form-data; name="e"; filename=""\r\n\r\n\r\n--B--\r\nrest'

local function form(pieces, kind)
  return { body = pieces, body_most = 1e6, headers = { ["content-type"] = { kind or "multipart/form-data; boundary=B" } } }
end

-- The text in pieces of n bytes.
local function cut(text, n)
  local pieces = {}
  for at = 1, #text, n do pieces[#pieces + 1] = text:sub(at, at + n - 1) end
  return pieces
end

test("multipart forms, in pieces of every size", function()
  for n = 1, #FORM do
    serve(function(req)
      local fields, files = req:form()
      eq({ a = "1" }, fields)
      eq({ f = { name = "x.txt", type = "text/x", content = "line\r\n--bogus\r\n" },
        e = { name = "", type = "application/octet-stream", content = "" } }, files)
      eq({ "1" }, req:form_all "a")
    end, form(cut(FORM, n)))
  end
end)

test("parts of a form as they come; what is not read is passed over", function()
  serve(function(req)
    local seen = {}
    for part in req:parts() do
      seen[#seen + 1] = part.field .. (part.field == "f" and part:text() or "")
    end
    eq({ "a", "fline\r\n--bogus\r\n", "e" }, seen)
  end, form(cut(FORM, 7)))
  serve(function(req)
    local parts = req:parts()
    local first = parts()
    parts()
    raises("the part is over", first.text, first)
  end, form { FORM })
end)

test("urlencoded forms", function()
  serve(function(req)
    eq({ a = "1", b = "x y" }, (req:form()))
    eq({ "1", "2" }, req:form_all "a")
  end, form({ "a=1&b=x+y", "&a=2" }, "application/x-www-form-urlencoded; charset=utf-8"))
end)

test("forms that are none", function()
  local function fails(text, pieces, kind)
    serve(function(req) raises(text, req.form, req) end, form(pieces, kind))
  end
  fails("content-type text/csv is no form", {}, "text/csv")
  fails("it names no boundary", {}, "multipart/form-data")
  fails("it names no boundary", {}, "multipart/form-data; boundary=" .. ("x"):rep(71))
  fails("ends before its last boundary", {})
  fails("ends before its last boundary", { FORM:sub(1, 100) })
  fails("a boundary is followed by something else", { "--Bx\r\n" })
  fails("a boundary is followed by something else", { "--B" .. (" "):rep(200) })
  fails("a part has no name", { "--B\r\n\r\nx\r\n--B--" })
  fails("no header", { "--B\r\nx\r\n\r\n\r\n--B--" })
  fails("more than 1000 parts", { ('--B\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n'):rep(1001) .. "--B--" })
  local long = {}
  for i = 1, 20 do long[i] = ("x"):rep(1000) end
  long[1] = "--B\r\n" .. long[1]
  fails("longer than 16384 bytes", long)
  serve(function(req)
    local err = raises("is no form", req.parts, req)
    eq(415, err.http)
  end, form({}, "application/json"))
end)
