-- The identity proxy's policy: which gRPC path leads to which endpoint. As with the gateway, calls never come here.

local mica = require "mica"
local routes = require "mica.routes"

local sync

local function compile(service)
  local list = {}
  for _, endpoint in ipairs(service.endpoints) do
    table.insert(list, {
      namespace = service.namespace,
      path = endpoint.path,
      service = service.name,
      version = service.version,
      endpoint = endpoint.name,
      public = endpoint.public,
    })
  end
  return list
end

---@type mica.proxy.v1.Proxy.Server
local Proxy = {}

function Proxy.Sync(_, req)
  sync(req.revision)
  return {}
end

return mica.service {
  handlers = { Proxy = Proxy },
  on_start = function() sync = routes.follow { door = "proxy", compile = compile } end,
}
