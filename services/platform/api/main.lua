-- The API gateway's policy: which HTTP path leads to which endpoint, and what the gateway says of its services (OpenAPI). The
-- requests themselves never come here: what this service installs is looked up by the I/O loops.

local mica = require "mica"
local documents = require "openapi.documents"
local paths = require "paths"
local routes = require "mica.routes"

local DOCUMENT_OF_NAMESPACE, DOCUMENT_OF_SERVICE = "GET /openapi.json", "GET /{service}/openapi.json"

local sync

-- Everything under the name of a service that speaks HTTP elsewhere.
local function forward(service)
  local prefix = "/" .. service.name:gsub("%.", "/")
  return {
    namespace = service.namespace, kind = "FORWARD", template = prefix .. "/**", method = "*", prefix = prefix,
    service = service.name, version = service.version, endpoint = "*", public = service.backend.public,
  }
end

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

-- The description of a service stands at a path of its own, so that no template of the service takes it for one of its values.
local function document_route(service)
  local _, prefix = paths.of(service.name, "Any.Any")
  return {
    kind = "HANDLER",
    namespace = service.namespace,
    template = prefix .. "/openapi.json",
    method = "GET",
    service = "api",
    endpoint = DOCUMENT_OF_SERVICE,
    public = true,
  }
end

local function compile(service, newest)
  if service.backend then return { forward(service) } end
  local list = { newest and service.namespace ~= "" and document_route(service) or nil }
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

function Api.OpenApi(ctx, req, stream)
  local document = req.service == "" and documents.of_namespace(ctx) or documents.of_service(ctx, req.service, req.version)
  document.write(function(text) stream:send { text = text } end)
end

-- ---- documents over HTTP

local function answer(document)
  local headers = {
    ["content-type"] = "application/json",
    ["etag"] = '"' .. document.tag .. '"',
    ["cache-control"] = "no-cache",
    ["vary"] = "authorization, mica-namespace, micro-namespace",
  }
  return { headers = headers, body = coroutine.wrap(function() document.write(coroutine.yield) end) }
end

local function serve_namespace(ctx) return answer(documents.of_namespace(ctx)) end

-- "/foo/bar/openapi.json" and "/foo.bar/openapi.json" are both of the service "foo.bar".
local function serve_service(ctx, req)
  local name = req.path:match("^/(.*)/openapi%.json/?$"):gsub("/", ".")
  return answer(documents.of_service(ctx, name, req.query.version or ""))
end

return mica.service {
  handlers = { Api = Api },
  http = { [DOCUMENT_OF_NAMESPACE] = serve_namespace, [DOCUMENT_OF_SERVICE] = serve_service },
  public = { DOCUMENT_OF_NAMESPACE, DOCUMENT_OF_SERVICE },
  on_start = function()
    sync = routes.follow {
      door = "api", compile = compile, place = paths.place, owner = paths.owner, installed = documents.update,
    }
  end,
}
