-- A small web site: pages, a form, an upload, a download, a webhook and static files. README.md has the curl lines.

local mica = require "mica"
local crypto, errors, web = mica.crypto, mica.errors, mica.web

local SECRET = "whsec_example" -- what the sender of the webhook signs with
local MOST = 100 -- entries that are kept; a restart forgets them

local entries = {} -- the newest first

local function add(name, text)
  table.insert(entries, 1, { name = name, text = text })
  entries[MOST + 1] = nil
end

---@type site.Site.Server
local Site = {}

function Site.Entries() return { entries = entries } end

local PAGE = [[
<!doctype html>
<meta charset="utf-8">
<title>Guest book</title>
<link rel="stylesheet" href="%(base)s/static/site.css">
<h1>Guest book</h1>
<form method="post" action="%(base)s/entries">
  <input name="name" placeholder="Your name" value="%(name)s" required>
  <textarea name="text" placeholder="What you would like to say" required></textarea>
  <button>Sign</button>
</form>
<form method="post" action="%(base)s/upload" enctype="multipart/form-data">
  <input type="file" name="file" multiple>
  <button>Upload</button>
</form>
%(entries)s
]]

local function fill(template, values)
  return (template:gsub("%%%((%w+)%)s", values))
end

local function index(_, req)
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = ("<blockquote>%s<br>%s</blockquote>"):format(web.escape(entry.text), web.escape(entry.name))
  end
  return web.html(fill(PAGE, {
    base = req.base, name = web.escape(req.cookies.name or ""), entries = table.concat(list, "\n"),
  }))
end

-- What was posted is answered by a redirect, so that reloading the page does not post it again.
local function sign(_, req)
  local form = req:form()
  if not form.name or not form.text or form.text == "" then
    error(errors.invalid_fields { form = "needs a name and a text" })
  end
  add(form.name, form.text)
  return web.redirect(req.base .. "/", 303, { ["set-cookie"] = web.cookie("name", form.name, { max_age = "30d" }) })
end

-- Files of any size: they are read as they come, and never held as a whole.
local function upload(_, req)
  local files = {}
  for part in req:parts() do
    local bytes = 0
    for chunk in part:chunks() do bytes = bytes + #chunk end
    if part.name then table.insert(files, { name = part.name, type = part.type, bytes = bytes }) end
  end
  return web.json(files, 201)
end

-- The same of a body that is nothing but a file: curl -T.
local function put(_, req)
  local bytes = 0
  for chunk in req:chunks() do bytes = bytes + #chunk end
  return web.json { name = req.params.name, bytes = bytes }
end

-- An answer of any length is made while it is read.
local function numbers(_, req)
  local last = tonumber(req.params.count) or error(errors.invalid_argument "count is a number")
  local n = 0
  local function next_lines()
    if n >= last then return nil end
    local lines = {}
    for i = 1, math.min(1000, last - n) do lines[i] = n + i end
    n = n + #lines
    return table.concat(lines, "\n") .. "\n"
  end
  return { headers = { ["content-type"] = "text/plain" }, body = next_lines }
end

-- The signature is over the bytes as they were sent.
local function hook(_, req)
  local signature = crypto.unhex(req.headers["x-signature"] or "") or ""
  if not crypto.equal(signature, crypto.hmac(SECRET, req:text())) then
    error(errors.permission_denied "the signature does not fit")
  end
  local event = req:json()
  add("webhook", tostring(event.text))
end

return mica.service {
  handlers = { Site = Site },
  public = true,
  http = {
    ["GET /"] = index,
    ["POST /entries"] = sign,
    ["POST /upload"] = upload,
    ["PUT /files/{name}"] = put,
    ["GET /numbers/{count}"] = numbers,
    ["POST /hook"] = hook,
    ["GET /static/*path"] = web.files("public", { max_age = "1h" }),
  },
}
