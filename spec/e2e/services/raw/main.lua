-- For spec/e2e/web_test.py: raw HTTP handlers of every kind.

local mica = require "mica"
local errors, web = mica.errors, mica.web

local made = 0 -- bytes of generated answers
local ended = {} -- keys of requests whose deferred function ran

local Raw = {}
function Raw.Ping() return { from = "endpoint" } end
function Raw.Teapot()
  local err = errors.failed_precondition "short and stout"
  err.http = 418
  error(err)
end
function Raw.Seen() return { made = made, ended = ended } end

local PIECE = ("0123456789abcdef"):rep(4096)

-- An iterator of n bytes.
local function bytes(n)
  return function()
    if n <= 0 then return nil end
    local piece = n >= #PIECE and PIECE or PIECE:sub(1, n)
    n = n - #piece
    made = made + #piece
    return piece
  end
end

local function generated(_, req) return { body = bytes(tonumber(req.params.n)) } end

local function sized(_, req)
  return { headers = { ["content-length"] = req.params.n, ["content-type"] = "text/x" }, body = bytes(tonumber(req.params.n)) }
end

local function broken()
  local left = 3
  return { body = function()
    left = left - 1
    if left == 0 then error(errors.unavailable "no more") end
    return PIECE
  end }
end

local function count(ctx, req)
  ctx:defer(function() table.insert(ended, ctx.endpoint) end)
  local n = 0
  for chunk in req:chunks() do n = n + #chunk end
  return web.text(tostring(n))
end

local function endless(ctx)
  ctx:defer(function() table.insert(ended, ctx.endpoint) end)
  return { body = bytes(math.huge) }
end

local function all(ctx, req)
  return web.json {
    method = req.method, path = req.path, url = req.url, base = req.base, host = req.host, scheme = req.scheme,
    params = req.params, query = req.query, headers = req.headers, cookies = req.cookies,
    tags = mica.json.array(req:query_all "tag"),
    kind = ctx.kind, endpoint = ctx.endpoint, account = ctx.account and ctx.account.id or "nobody",
    around = ctx.values.around or "nothing",
  }
end

local function form(_, req)
  local fields, files = req:form()
  local described = {}
  for name, file in pairs(files) do
    described[name] = { name = file.name, type = file.type, sha256 = mica.crypto.hex(mica.crypto.sha256(file.content)) }
  end
  return web.json { fields = fields, files = described, all = mica.json.array(req:form_all "a") }
end

local function parts(_, req)
  local list = {}
  for part in req:parts() do
    local n = 0
    for chunk in part:chunks() do n = n + #chunk end
    table.insert(list, { field = part.field, name = part.name, type = part.type, bytes = n })
  end
  return web.json(list)
end

local function around(ctx, _, next)
  ctx.values.around = ctx.kind
  return next()
end

local PUBLIC = { "Raw.Ping", "Raw.Teapot", "Raw.Seen" }
local http = {
  ["GET /"] = function() return "<p>page" end,
  ["GET /all"] = all, ["POST /all"] = all, ["GET /all/{id}"] = all, ["GET /rest/*path"] = all,
  ["GET /{name}"] = function(_, req) return web.text("template " .. req.params.name) end,
  ["POST /echo"] = function(_, req) return web.text(req:text()) end,
  ["POST /json"] = function(_, req) return web.json(req:json(), 201) end,
  ["POST /form"] = form, ["POST /parts"] = parts, ["POST /count"] = count, ["PUT /count"] = count,
  ["POST /ignore"] = function() return web.text "ignored" end,
  ["GET /none"] = function() end,
  ["GET /redirect"] = function(_, req) return web.redirect(req.base .. "/cookie?from=redirect", 303,
    { ["set-cookie"] = { web.cookie("one", "a b;c"), web.cookie("two", "2", { http_only = false }) } }) end,
  ["GET /cookie"] = function(_, req) return web.json(req.cookies) end,
  ["GET /generated/{n}"] = generated, ["GET /sized/{n}"] = sized, ["GET /endless"] = endless, ["GET /broken"] = broken,
  ["GET /headers"] = function(ctx)
    ctx:set_header("x-ctx", "1")
    ctx:set_trailer("x-trailer", "2")
    return { status = 418, headers = { ["X-Many"] = { "1", "2" }, connection = "close", ["transfer-encoding"] = "gzip",
      ["content-length"] = "5", ["set-cookie"] = { "mica-token=stolen", "own=1" } }, body = "I'm a teapot" }
  end,
  ["GET /inject"] = function(_, req) return { headers = { ["x-a"] = req.query.value }, body = "x" } end,
  ["GET /goto"] = function(_, req) return web.redirect(req.query.to) end,
  ["GET /bug"] = function() return nil + 1 end,
  ["GET /wrong"] = function() return { titel = "x" } end,
  ["GET /fails"] = function() error(errors.not_found("no page %q", "x")) end,
  ["GET /kettle"] = function() Raw.Teapot() end,
  ["GET /private"] = function(ctx) return web.text(ctx.account.id) end,
  ["GET /tagged"] = function() return { headers = { etag = '"v1"' }, body = "tagged" } end,
  ["GET /one"] = function() return web.file "public/digits.txt" end,
  ["GET /static/*path"] = web.files("public", { max_age = "1h" }),
  ["GET /found/*path"] = web.files("public/docs", { missing = function(_, req) return web.html("no " .. req.path, 404) end }),
}
for key in pairs(http) do
  if key ~= "GET /private" then table.insert(PUBLIC, key) end
end

return mica.service {
  handlers = { Raw = Raw },
  public = PUBLIC,
  wrap = { around },
  http = http,
}
