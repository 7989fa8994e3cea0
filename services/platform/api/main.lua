-- The API gateway's policy: which HTTP path leads to which endpoint. The requests themselves never come here: what this
-- service installs is looked up by the I/O loops.

local mica = require "mica"
local paths = require "paths"
local routes = require "mica.routes"

local sync

local function route(service, endpoint, more)
  more.namespace = service.namespace
  more.service = service.name
  more.version = service.version
  more.endpoint = endpoint.name
  more.public = endpoint.public
  more.json = endpoint.json
  more.empty = endpoint.empty
  more.event_id = endpoint.event_id
  more.resume = endpoint.resume
  return more
end

-- A raw HTTP handler. "GET /files/*path" of the service "blog.posts" is "/blog/posts/files/{path=**}"; the platform's own
-- services stand at the root.
local function handler_route(service, handler)
  local method, path = handler.key:match "^(%S+) (.*)$"
  local base = service.namespace == "" and "" or "/" .. service.name:gsub("%.", "/")
  if path == "/" then path = base == "" and "/" or "" end
  return {
    kind = "HANDLER",
    namespace = service.namespace,
    template = base .. path:gsub("/%*([%w_]+)$", "/{%1=**}"),
    method = method,
    prefix = base,
    service = service.name,
    version = service.version,
    endpoint = handler.key,
    public = handler.public,
  }
end

local function compile(service)
  local list = {}
  for _, endpoint in ipairs(service.endpoints) do
    local found, prefix = paths.of(service.name, endpoint.name)
    for _, path in ipairs(found) do table.insert(list, route(service, endpoint, { path = path, prefix = prefix })) end
    for _, rule in ipairs(endpoint.http) do
      table.insert(list, route(service, endpoint, {
        template = rule.template, method = rule.method, body = rule.body, response_body = rule.response_body,
      }))
    end
  end
  for _, handler in ipairs(service.http) do table.insert(list, handler_route(service, handler)) end
  return list
end

---@type mica.api.v1.Api.Server
local Api = {}

function Api.Sync(_, req)
  sync(req.revision)
  return {}
end

return mica.service {
  handlers = { Api = Api },
  on_start = function() sync = routes.follow { door = "api", compile = compile, place = paths.place, owner = paths.owner } end,
}
