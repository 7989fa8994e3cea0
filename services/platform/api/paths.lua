-- Which paths of the gateway lead to an endpoint: Micro's rules.
--
--   /foo                  foo          Foo.Call
--   /foo/bar              foo          Foo.Bar
--   /foo/bar/baz          foo          Bar.Baz
--   /foo/bar/baz/cat      foo.bar      Baz.Cat      (all but the last two parts, joined with dots)
--   /v1/foo               v1           V1.Foo       (two parts are never a version and a service)
--   /v1/foo/bar           v1.foo       Foo.Bar      (exactly three parts, the first "v" and digits)
--   /v1/foo/bar/baz       v1.foo       Bar.Baz
--   /foo/bar-baz          foo          Foo.BarBaz
--   /foo-bar/call         foo-bar      FooBar.Call
--
-- The core looks paths up in normal form (mica.core.v1.Route.path): "/foo-bar/call" is "/fooBar/call".

local paths = {}

-- "bar-baz" -> "BarBaz"
function paths.camel(part)
  return (part:gsub("^%l", string.upper):gsub("%-(.?)", string.upper))
end

-- "bar-baz", "BarBaz" -> "barBaz"
local function normal(part)
  return (part:gsub("%-(.?)", string.upper):gsub("^%u", string.lower))
end

local function is_version(part) return part:match "^v%d+$" ~= nil end

---@param service string "v1.foo"
---@param endpoint string "Foo.Bar"
---@return string[] paths in normal form
---@return string prefix that a path must begin with as written
function paths.of(service, endpoint)
  local group, method = endpoint:match "^(.+)%.([^.]+)$"
  local parts, base = {}, ""
  for part in service:gmatch "[^.]+" do
    table.insert(parts, part)
    base = base .. "/" .. normal(part)
  end
  local own = group == paths.camel(parts[#parts]) -- the group that has the service's own name
  local found = {}
  if not (#parts == 1 and is_version(parts[1])) then
    table.insert(found, base .. "/" .. normal(group) .. "/" .. normal(method))
  end
  if #parts == 1 and own then
    table.insert(found, base .. "/" .. normal(method))
    if method == "Call" then table.insert(found, base) end
  elseif #parts == 2 and is_version(parts[1]) and own then
    table.insert(found, base .. "/" .. normal(method))
  end
  return found, "/" .. table.concat(parts, "/")
end

--- What two templates have in common that answer the same requests: variables have no name, and of "{name=shelves/*}" the
--- segments count.
---@param route table a mica.core.v1.Route with a template
---@return string
function paths.place(route)
  local shape = route.template:gsub("{[%w_.]+}", "*"):gsub("{[%w_.]+=(.-)}", "%1")
  return table.concat({ route.method, route.host or "", shape }, " ")
end

--- The path in normal form that a template without variables would take from whoever has it by Micro's rule.
---@param route table
---@return string? path
function paths.owner(route)
  if route.template:find("[{*]") then return nil end
  return (route.template:gsub("[^/]+", normal))
end

--- The path that is shown to people: the shortest, but never without the endpoint's name ("/foo-bar/call", "/foo/bar/baz").
---@param service string
---@param endpoint string
---@return string? nil: Micro's rules have none for it
function paths.canonical(service, endpoint)
  local found, prefix = paths.of(service, endpoint)
  local path = found[2] or found[1]
  local parts = select(2, service:gsub("[^.]+", ""))
  return path and prefix .. path:match("^" .. ("/[^/]+"):rep(parts) .. "(.*)$")
end

return paths
