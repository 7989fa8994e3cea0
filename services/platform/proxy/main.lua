-- The identity proxy's policy: which gRPC path leads to which endpoint. As with the gateway, calls never come here, but for
-- those to the standard services of gRPC: reflection and health.

local mica = require "mica"
local health = require "health"
local reflection = require "reflection"
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

local Reflection = { ServerReflectionInfo = reflection.handle }

return mica.service {
  handlers = {
    Proxy = Proxy,
    Health = health.handlers,
    ["grpc.reflection.v1.ServerReflection"] = Reflection,
    ["grpc.reflection.v1alpha.ServerReflection"] = Reflection,
  },
  -- Anybody may ask; what a stranger sees is reflection.lua's to say.
  public = {
    "Health.Check", "Health.Watch",
    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo",
  },
  on_start = function()
    sync = routes.follow {
      door = "proxy",
      compile = compile,
      installed = function(services)
        reflection.update(services)
        health.update(services)
      end,
    }
    mica.spawn(health.look)
    mica.spawn(function()
      mica.native("health").Stopping {}
      health.stop()
      reflection.stop()
    end)
  end,
}
