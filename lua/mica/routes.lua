-- What the front doors' services (api, proxy) share: following the registry and installing what they compile from it.
--
-- Changes are applied as they come; a second task compiles and installs. While an installation is under way
-- further changes gather, so a burst of a thousand costs a few installations, not a thousand.

local mica = require "mica"

local routes = {}

---@class mica.routes.Options
---@field door "api" | "proxy"
---@field compile fun(service: table): table[]   the routes (mica.core.v1.Route) of one service

-- Until identity is built: who calls from this machine is the administrator of the namespace that it names.
local LOOPBACK = { id = "admin", name = "admin", type = "user", scopes = { "admin" } }

-- Begins to follow; call it in on_start. Returns a function that waits until a revision of the registry is installed.
---@param options mica.routes.Options
---@return fun(revision: integer) sync
function routes.follow(options)
  local native = mica.native "routes"
  local services = {} -- "namespace\0name" -> { newest version's service, versions = { version -> service }, order }
  local seen, installed = 0, 0
  local bell, idle = mica.channel(), false
  local waiting = {} -- a list of { revision =, channel = }

  local function apply(event)
    seen = event.revision
    local service = event.service
    if not service then return end
    local key = service.namespace .. "\0" .. service.name
    local entry = services[key] or { versions = {}, order = {} }
    for i, version in ipairs(entry.order) do
      if version == service.version then
        table.remove(entry.order, i)
        break
      end
    end
    if event.type == "DELETED" then
      entry.versions[service.version] = nil
    else
      entry.versions[service.version] = service
      table.insert(entry.order, service.version)
    end
    services[key] = entry.order[1] and entry or nil
  end

  local function compile_all()
    local all, taken = {}, {}
    for _, entry in mica.sorted(services) do
      for _, route in ipairs(options.compile(entry.versions[entry.order[#entry.order]])) do
        local key = route.namespace .. "\0" .. route.path
        if taken[key] then
          mica.log.warn("two services answer the same path; the first keeps it",
            { path = route.path, first = taken[key], second = route.service })
        else
          taken[key] = route.service
          table.insert(all, route)
        end
      end
    end
    return all
  end

  local function install()
    local revision = seen
    native.Install { door = options.door, routes = compile_all(), loopback = LOOPBACK }
    installed = revision
    local still = {}
    for _, waiter in ipairs(waiting) do
      if waiter.revision <= installed then
        waiter.channel:close()
      else
        table.insert(still, waiter)
      end
    end
    waiting = still
  end

  local synced = false
  mica.spawn(function()
    for event in mica.client("registry").Watch({ all_namespaces = true }):messages() do
      apply(event)
      synced = synced or event.type == "SYNCED"
      if synced and idle then
        idle = false
        bell:send(true)
      end
    end
    error "the registry ended the watch"
  end)
  mica.spawn(function()
    while true do
      if synced and installed < seen then
        install()
      else
        idle = true
        bell:recv()
      end
    end
  end)

  return function(revision)
    if installed >= revision then return end
    local channel = mica.channel()
    table.insert(waiting, { revision = revision, channel = channel })
    channel:recv()
  end
end

return routes
