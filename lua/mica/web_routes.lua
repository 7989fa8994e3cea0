-- SPDX-License-Identifier: Apache-2.0
-- `http` of a definition: its keys, checked and in order, and what the core runs for them. Loaded while a definition is read
-- and not kept.
--
--   "GET /posts/{id}"      {id}: one segment         "GET /files/*path"     *path: the rest, be it nothing
--
-- A path is what stands below "/<service>". The doors' routes are made of the same keys by the service `api`.
local core = ...
local suggest = core.use("mica.suggest")
local sorted = core.use("mica.sorted")

local M = {}

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true }
local VARIABLES_MOST = 16
local LENGTH_MOST = 500

local function check_name(name, seen)
  if not name:find("^[%a_][%w_]*$") then return ('"%s" is no name: letters, digits and _'):format(name) end
  if seen.names[name] then return ('"%s" stands there twice'):format(name) end
  seen.names[name] = true
  seen.count = seen.count + 1
  if seen.count > VARIABLES_MOST then return ("at most %d variables"):format(VARIABLES_MOST) end
end

local function check_segment(segment, last, seen)
  local name = segment:match("^{(.*)}$")
  if name then return check_name(name, seen) end
  local rest = segment:match("^%*(.*)$")
  if rest and not last then return ('"%s" takes the rest, so it must come last'):format(segment) end
  if rest then return check_name(rest, seen) end
  if not segment:find("^[%w%-%._~!$&'()+,;=:@]+$") then
    return ('"%s" is no segment: write text, {name}, or *name at the end'):format(segment)
  end
  if segment == "." or segment == ".." then return "a path is written without . and .." end
end

local function check_path(path)
  if path == "/" then return end
  if #path > LENGTH_MOST then return ("a path has at most %d characters"):format(LENGTH_MOST) end
  if path:find("/$") then return "a path is written without / at its end" end
  local seen = { names = {}, count = 0 }
  for segment, at in path:gmatch("/([^/]*)()") do
    local fault = check_segment(segment, at > #path, seen)
    if fault then return fault end
  end
end

local function check_key(key)
  if type(key) ~= "string" then return 'a key is a text such as "GET /{id}"' end
  local method, path = key:match("^(%S+) (/%S*)$")
  if not method then return 'a key is a method and a path: "GET /{id}"' end
  if not METHODS[method] then
    return ('there is no method "%s"%s'):format(method, suggest.hint(method, METHODS))
  end
  return check_path(path)
end

-- "GET /a/{x}/*y" -> "GET /a/{}/*": two keys that differ in names only would be one route.
local function shape(key) return (key:gsub("{[^}]*}", "{}"):gsub("/%*.*$", "/*")) end

--- The handlers of a definition, by key: a list of { key, handler, public }. `fail` raises for the word that is at fault.
---@param http any
---@param fail fun(word: string, fmt: string, ...)
function M.check(http, fail)
  if type(http) ~= "table" then fail("http", "http must be a table, got %s", type(http)) end
  local list, shapes = {}, {}
  for key, handler in sorted(http) do
    local fault = check_key(key)
    if fault then fail(tostring(key), "http[%q]: %s", tostring(key), fault) end
    if type(handler) ~= "function" then fail(key, "http[%q] must be a function, got %s", key, type(handler)) end
    local same = shapes[shape(key)]
    if same then fail(key, "http: %q and %q are the same route", same, key) end
    shapes[shape(key)] = key
    list[#list + 1] = { key = key, handler = handler, public = false }
  end
  return list
end

--- Marks what `public` names: all, or one by its key.
function M.publish(list, public, fail)
  for _, h in ipairs(list) do
    if public == true or h.key == public then
      h.public = true
      if public ~= true then return end
    end
  end
  if public == true then return end
  local keys = {}
  for i, h in ipairs(list) do keys[i] = h.key end
  fail(public, 'public: http has no key "%s"%s', public, suggest.hint(public, keys))
end

--- What the core calls, by key: function(ctx, body, stream).
---@param list table[] as of `check`
---@param around fun(handler: function): function puts the definition's wrappers around a handler
---@param limit number? `limits.body`
function M.build(list, around, limit)
  local http = {}
  for _, h in ipairs(list) do
    local handler = around(h.handler)
    http[h.key] = function(ctx, body, stream)
      return core.use("mica.web_serve")(ctx, handler, body, stream, limit)
    end
  end
  return http
end

return M
