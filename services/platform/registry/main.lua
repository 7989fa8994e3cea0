-- The registry: which services run, in which versions, where, and what they answer.
--
-- State is one table in this module (the registry is one instance): namespace -> name -> version -> record.
-- Every change gets the next revision and is told to every watcher in that order. The platform's own services
-- stand under the namespace "", which every namespace sees.

local mica = require "mica"
local errors = mica.errors

-- A watcher that has this many changes waiting reads too slowly: it is broken off and watches again from the start.
local MAX_PENDING = 10000

local PLATFORM = ""

---@type mica.registry.v1.Registry.Server
local Registry = {}

local namespaces = {} -- namespace -> name -> version -> { service =, order = }
local watchers = {} -- a set
local revision = 0

-- Who may change the registry: the platform's services, and administrators from outside.
local function authorize_change(ctx)
  if not ctx.caller then ctx:authorize "admin" end
end

-- Which namespace a change is for: the platform's services say it, everybody else's is their own.
local function namespace_of(ctx, given)
  if ctx.caller then return given end
  if given ~= "" and given ~= ctx.namespace then
    error(errors.permission_denied("services of namespace %q cannot be changed from %q", given, ctx.namespace))
  end
  return ctx.namespace
end

local function sees(watcher, service)
  if watcher.name ~= "" and watcher.name ~= service.name then return false end
  return watcher.all or service.namespace == watcher.namespace or service.namespace == PLATFORM
end

local function tell(watcher, event)
  table.insert(watcher.pending, event)
  if watcher.waiting then
    watcher.waiting = false
    watcher.bell:send(true)
  end
end

local function announce(kind, service)
  revision = revision + 1
  for watcher in pairs(watchers) do
    if sees(watcher, service) then tell(watcher, { type = kind, service = service, revision = revision }) end
  end
  return revision
end

local function versions_of(namespace, name)
  local names = namespaces[namespace]
  return names and names[name]
end

-- The versions of a service as a list, the one registered last first: it answers calls without a version.
local function newest_first(versions)
  local records = {}
  for _, record in pairs(versions or {}) do table.insert(records, record) end
  table.sort(records, function(a, b) return a.order > b.order end)
  local list = {}
  for i, record in ipairs(records) do list[i] = record.service end
  return list
end

-- Everything that `visible` admits, by namespace and name, the oldest version first, so that who applies them in
-- order ends with the newest.
local function everything(visible)
  local list = {}
  for _, names in mica.sorted(namespaces) do
    for _, versions in mica.sorted(names) do
      local found = newest_first(versions)
      for i = #found, 1, -1 do
        if visible(found[i]) then table.insert(list, found[i]) end
      end
    end
  end
  return list
end

function Registry.Register(ctx, req)
  authorize_change(ctx)
  local service = req.service or error(errors.invalid_fields { service = "is required" })
  if not service.name:match "^[a-z][a-z0-9.-]*$" then
    error(errors.invalid_fields { ["service.name"] = "letters a-z, digits, '-' and '.', beginning with a letter" })
  end
  service.namespace = namespace_of(ctx, service.namespace)
  local names = namespaces[service.namespace] or {}
  namespaces[service.namespace] = names
  local versions = names[service.name] or {}
  names[service.name] = versions
  local kind = versions[service.version] and "UPDATED" or "CREATED"
  local now = announce(kind, service)
  versions[service.version] = { service = service, order = now }
  return { revision = now }
end

function Registry.Deregister(ctx, req)
  authorize_change(ctx)
  local namespace = namespace_of(ctx, req.namespace)
  local versions = versions_of(namespace, req.name)
  local record = versions and versions[req.version]
  if not record then error(errors.not_found("no service %s@%s", req.name, req.version)) end
  versions[req.version] = nil
  if not next(versions) then namespaces[namespace][req.name] = nil end
  if not next(namespaces[namespace]) then namespaces[namespace] = nil end
  return { revision = announce("DELETED", record.service) }
end

function Registry.GetService(ctx, req)
  local versions = versions_of(ctx.namespace, req.name) or versions_of(PLATFORM, req.name)
  if not versions then error(errors.not_found("no service %q in namespace %q", req.name, ctx.namespace)) end
  return { services = newest_first(versions) }
end

function Registry.ListServices(ctx, req)
  return {
    services = everything(function(service)
      return service.namespace == ctx.namespace or req.platform and service.namespace == PLATFORM
    end),
  }
end

function Registry.Watch(ctx, req, stream)
  if req.all_namespaces and not ctx.caller then
    error(errors.permission_denied "only the platform's services watch all namespaces")
  end
  local watcher = {
    name = req.name,
    all = req.all_namespaces,
    namespace = ctx.namespace,
    pending = {},
    bell = mica.channel(),
    waiting = false,
  }
  for _, service in ipairs(everything(function(service) return sees(watcher, service) end)) do
    table.insert(watcher.pending, { type = "CURRENT", service = service, revision = revision })
  end
  table.insert(watcher.pending, { type = "SYNCED", revision = revision })
  watchers[watcher] = true
  ctx:defer(function() watchers[watcher] = nil end)

  while true do
    local batch = watcher.pending
    watcher.pending = {}
    for _, event in ipairs(batch) do stream:send(event) end
    if #watcher.pending > MAX_PENDING then
      error(errors.resource_exhausted "this watch reads too slowly: watch again")
    end
    if #watcher.pending == 0 then
      watcher.waiting = true
      watcher.bell:recv()
    end
  end
end

return mica.service { handlers = { Registry = Registry } }
