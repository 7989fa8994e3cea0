-- The registry: which services run, in which versions, where, and what they answer.
--
-- State is one table in this module (the registry is one instance): namespace -> name -> version -> record.
-- Every change gets the next revision and is told to every watcher in that order. The platform's own services
-- stand under the namespace "", which every namespace sees.
--
-- A version that runs elsewhere (a node has an address) registers again and again; when it has not done so for its
-- time to live it is taken out. Contracts of what runs here are the core's to tell; those from elsewhere are registered.

local mica = require "mica"
local suggest = require "mica.suggest"
local errors, time = mica.errors, mica.time

-- A watcher that has this many changes waiting reads too slowly: it is broken off and watches again from the start.
local MAX_PENDING = 10000

local PLATFORM = ""

local TTL, TTL_MAX = 90, 24 * 3600
local CONTRACT_MAX = 1024 * 1024

---@type mica.registry.v1.Registry.Server
local Registry = {}

local namespaces = {} -- namespace -> name -> version -> { service =, expires =, descriptors =, protos = }
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

-- The versions of a service as a list, the one that answers calls without a version first.
local function newest_first(versions)
  local list = {}
  for _, record in pairs(versions or {}) do table.insert(list, record.service) end
  table.sort(list, function(a, b) return a.order > b.order end)
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

-- Fills in what a node leaves out; true when one of them is not this server.
local function check_nodes(ctx, service)
  local outside = false
  for _, node in ipairs(service.nodes) do
    if node.address ~= "" then
      outside = true
      if not node.address:match "^[%w%[%]:._-]+:%d+$" then
        error(errors.invalid_fields { ["service.nodes.address"] = ("%q is not HOST:PORT"):format(node.address) })
      end
    end
    if node.health == "UNKNOWN" then node.health = "SERVING" end
    node.seen = time.now()
  end
  if not outside and not ctx.caller then
    error(errors.invalid_fields { ["service.nodes"] = "a service from outside has a node with an address" })
  end
  return outside
end

local function check_service(service, req)
  if service.namespace ~= PLATFORM and versions_of(PLATFORM, service.name) then
    error(errors.invalid_fields { ["service.name"] = "is the name of one of the platform's own services" })
  end
  if not service.name:match "^[a-z][a-z0-9.-]*$" then
    error(errors.invalid_fields { ["service.name"] = "letters a-z, digits, '-' and '.', beginning with a letter" })
  end
  if not (req.ttl >= 0 and req.ttl <= TTL_MAX) then
    error(errors.invalid_fields { ttl = ("0 to %d seconds"):format(TTL_MAX) })
  end
  if #req.descriptors > CONTRACT_MAX then error(errors.invalid_fields { descriptors = "at most 1 MB" }) end
end

-- The place among versions: as given, else as it was, else above all others.
local function order_of(service, versions)
  if service.order ~= 0 then return service.order end
  if versions[service.version] then return versions[service.version].service.order end
  local highest = 0
  for _, record in pairs(versions) do highest = math.max(highest, record.service.order) end
  return highest + 1
end

-- One who registers again without a change only says that it is there: nobody has to hear of it.
local function same(old, service)
  if not old then return false end
  local function plain(s)
    local copy = {}
    for key, value in pairs(s) do copy[key] = value end
    copy.nodes = {}
    for i, node in ipairs(s.nodes) do
      copy.nodes[i] = { id = node.id, address = node.address, metadata = node.metadata, health = node.health }
    end
    return mica.proto.encode("mica.registry.v1.Service", copy)
  end
  return plain(old.service) == plain(service)
end

function Registry.Register(ctx, req)
  authorize_change(ctx)
  local service = req.service or error(errors.invalid_fields { service = "is required" })
  service.namespace = namespace_of(ctx, service.namespace)
  check_service(service, req)
  local outside = check_nodes(ctx, service)
  local names = namespaces[service.namespace] or {}
  namespaces[service.namespace] = names
  local versions = names[service.name] or {}
  names[service.name] = versions
  local old = versions[service.version]
  if outside and old and not old.expires then
    error(errors.already_exists("%s@%s runs on this server", service.name, service.version))
  end
  service.order = order_of(service, versions)
  versions[service.version] = {
    service = service,
    expires = outside and time.now() + (req.ttl > 0 and req.ttl or TTL) or nil,
    descriptors = req.descriptors ~= "" and req.descriptors or nil,
    protos = req.protos,
  }
  if outside and same(old, service) then return { revision = revision } end
  return { revision = announce(old and "UPDATED" or "CREATED", service) }
end

local function remove(namespace, name, version)
  local versions = namespaces[namespace][name]
  local record = versions[version]
  versions[version] = nil
  if not next(versions) then namespaces[namespace][name] = nil end
  if not next(namespaces[namespace]) then namespaces[namespace] = nil end
  return announce("DELETED", record.service)
end

function Registry.Deregister(ctx, req)
  authorize_change(ctx)
  local namespace = namespace_of(ctx, req.namespace)
  local versions = versions_of(namespace, req.name)
  local record = versions and versions[req.version]
  if not record then error(errors.not_found("no service %s@%s", req.name, req.version)) end
  if not ctx.caller and not record.expires then
    error(errors.failed_precondition("%s@%s runs on this server: delete it with the runtime", req.name, req.version))
  end
  return { revision = remove(namespace, req.name, req.version) }
end

-- Takes out those that have not been heard of for too long.
local function prune()
  local now, expired = time.now(), {}
  for _, names in pairs(namespaces) do
    for _, versions in pairs(names) do
      for _, record in pairs(versions) do
        if record.expires and record.expires <= now then table.insert(expired, record.service) end
      end
    end
  end
  table.sort(expired, function(a, b) return a.order < b.order end)
  for _, service in ipairs(expired) do remove(service.namespace, service.name, service.version) end
end

-- `shown`: what was asked for, with the version if one was given.
local function no_service(ctx, name, shown)
  local names = {}
  for _, namespace in ipairs { PLATFORM, ctx.namespace } do
    for known in pairs(namespaces[namespace] or {}) do names[known] = true end
  end
  local hint = names[name] and "" or suggest.hint(name, names)
  return errors.not_found("no service %q in namespace %q%s", shown, ctx.namespace, hint)
end

function Registry.GetService(ctx, req)
  local versions = versions_of(ctx.namespace, req.name) or versions_of(PLATFORM, req.name)
  if not versions then error(no_service(ctx, req.name, req.name)) end
  return { services = newest_first(versions) }
end

function Registry.ListServices(ctx, req)
  return {
    services = everything(function(service)
      return service.namespace == ctx.namespace or req.platform and service.namespace == PLATFORM
    end),
  }
end

function Registry.GetContract(ctx, req)
  local versions = versions_of(ctx.namespace, req.name) or versions_of(PLATFORM, req.name)
  local newest = newest_first(versions)[1]
  local version = req.version ~= "" and req.version or newest and newest.version
  local record = versions and versions[version]
  if not record then
    local full = req.version == "" and req.name or req.name .. "@" .. req.version
    error(no_service(ctx, req.name, full))
  end
  if record.descriptors then return { descriptors = record.descriptors, protos = record.protos } end
  if record.expires then
    error(errors.failed_precondition("%s was registered without its contract", req.name))
  end
  local contract = mica.native("contracts").Get {
    namespace = record.service.namespace, service = req.name, version = version,
  }
  return { descriptors = contract.descriptors, protos = contract.protos }
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

return mica.service {
  handlers = { Registry = Registry },
  on_start = function() mica.every(1, prune) end,
}
