-- What the front doors' services (api, proxy) share: following the registry and installing what they compile from it.
--
-- Changes are applied as they come; a second task compiles and installs. While an installation is under way
-- further changes gather, so a burst of a thousand costs a few installations, not a thousand.

local mica = require "mica"

local routes = {}

---@class mica.routes.Options
---@field door "api" | "proxy"
---@field compile fun(service: table, newest: boolean): table[]   the routes (mica.core.v1.Route) of one version of a service;
--- newest: it answers calls that name no version
---@field place? fun(route: table): string   of routes with a template: equal for two that answer the same requests
---@field owner? fun(route: table): string?   of such a route: the path of another service that it must not take
---@field installed? fun(services: table[])   called when routes are in use: the versions that answer calls which name none,
--- the platform's own first, then by namespace and name

-- Until identity is built: who calls from this machine is the administrator of the namespace that it names.
local LOOPBACK = { id = "admin", name = "admin", type = "user", scopes = { "admin" } }

-- What runs on this server; its paths come before those of services that run elsewhere.
local function is_here(service)
  for _, node in ipairs(service.nodes) do
    if node.address == "" then return true end
  end
  return false
end

-- Begins to follow; call it in on_start. Returns a function that waits until a revision of the registry is installed.
---@param options mica.routes.Options
---@return fun(revision: integer) sync
function routes.follow(options)
  local native = mica.native "routes"
  local services = {} -- "namespace\0name" -> version -> service
  local seen, installed = 0, 0
  local bell, idle = mica.channel(), false
  local waiting = {} -- a list of { revision =, channel = }

  local function apply(event)
    seen = event.revision
    local service = event.service
    if not service then return end
    local key = service.namespace .. "\0" .. service.name
    local versions = services[key] or {}
    versions[service.version] = event.type ~= "DELETED" and service or nil
    services[key] = next(versions) and versions or nil
  end

  local function claim(all, taken, key, route)
    local first = taken[key]
    if first then
      mica.log.warn("two services answer the same path; the first keeps it",
        { path = route.path or route.template, first = first, second = route.service })
    else
      taken[key] = route.service
      table.insert(all, route)
    end
  end

  local function add(all, taken, found)
    for _, route in ipairs(found) do
      if route.path then
        claim(all, taken, route.namespace .. "\0" .. route.path, route)
      else
        table.insert(taken.templates, route)
      end
    end
  end

  -- Templates come when all paths are known: one without variables would go before another service's path.
  local function add_templates(all, taken)
    for _, route in ipairs(taken.templates) do
      local path = options.owner(route)
      local owner = path and taken[route.namespace .. "\0" .. path]
      if owner and owner ~= route.service then
        mica.log.warn("the path belongs to another service", { path = path, first = owner, second = route.service })
      else
        claim(all, taken, route.namespace .. "\0 " .. options.place(route), route)
      end
    end
  end

  -- Which origins may read its answers is said once for all routes of a service; what its namespace allows can join here.
  local function compile(service, newest)
    local list = options.compile(service, newest)
    for _, route in ipairs(list) do route.cors = service.cors end
    return list
  end

  -- A call that names no version goes to the one with the highest order; the others' routes are for calls that name them.
  local function compile_service(all, taken, versions)
    local first
    for _, service in mica.sorted(versions) do
      if not first or service.order > first.order then first = service end
    end
    add(all, taken, compile(first, true))
    for _, service in mica.sorted(versions) do
      if service ~= first then
        for _, route in ipairs(compile(service, false)) do
          route.by_version = true
          table.insert(all, route)
        end
      end
    end
    return first
  end

  local function compile_all()
    local all, taken, newest = {}, { templates = {} }, {}
    for _, here in ipairs { true, false } do
      for _, versions in mica.sorted(services) do
        if is_here(select(2, next(versions))) == here then
          table.insert(newest, compile_service(all, taken, versions))
        end
      end
    end
    add_templates(all, taken)
    return all, newest
  end

  local function install()
    local revision = seen
    local all, newest = compile_all()
    native.Install { door = options.door, routes = all, loopback = LOOPBACK }
    if options.installed then options.installed(newest) end
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
