-- The registry: which services run, in which versions, where, and what they answer.
--
-- records.lua is the state (the registry is one instance) and tells watchers of changes; outside.lua has what is special about
-- services that run elsewhere. Contracts of what runs here are the core's to tell.

local mica = require "mica"
local origin = require "mica.origin"
local outside = require "outside"
local records = require "records"
local reserved = require "mica.reserved"
local suggest = require "mica.suggest"
local errors, time = mica.errors, mica.time
local PLATFORM = records.PLATFORM

---@type mica.registry.v1.Registry.Server
local Registry = {}

-- The platform's services that change the registry; no service of a user can have such a name.
local TRUSTED = { runtime = true, api = true, proxy = true }

local function is_trusted(ctx) return ctx.caller ~= nil and TRUSTED[ctx.caller] == true end

-- Who may change the registry: the platform's services, and administrators of the namespace.
local function authorize_change(ctx)
  if not is_trusted(ctx) then ctx:authorize "admin" end
end

-- Which namespace a change is for: the platform's services say it, everybody else's is their own.
local function namespace_of(ctx, given)
  if is_trusted(ctx) then return given end
  if given ~= "" and given ~= ctx.namespace then
    error(errors.permission_denied("services of namespace %q cannot be changed from %q", given, ctx.namespace))
  end
  return ctx.namespace
end

local function runs_elsewhere(service)
  for _, node in ipairs(service.nodes) do
    if node.address ~= "" then return true end
  end
  return false
end

local function check_service(ctx, service)
  if service.namespace ~= PLATFORM and records.versions_of(PLATFORM, service.name) then
    error(errors.invalid_fields { ["service.name"] = "is the name of one of the platform's own services" })
  end
  if reserved[service.name] then
    error(errors.invalid_fields { ["service.name"] = "is reserved: the gateway itself answers /" .. service.name })
  end
  if not service.name:match "^[a-z][a-z0-9.-]*$" or #service.name > 100 then
    error(errors.invalid_fields { ["service.name"] = "letters a-z, digits, '-' and '.', beginning with a letter" })
  end
  for _, text in ipairs(service.cors and service.cors.origins or {}) do
    local fault = origin.fault(text)
    if fault then error(errors.invalid_fields { ["service.cors.origins"] = fault }) end
  end
  for _, node in ipairs(service.nodes) do
    if node.health == "UNKNOWN" then node.health = "SERVING" end
    node.seen = time.now()
  end
  if not is_trusted(ctx) and not runs_elsewhere(service) then
    error(errors.invalid_fields { ["service.nodes"] = "a service from outside has a node with an address" })
  end
end

-- Until calls from the front doors find what has changed.
local function wait_for_doors(revision)
  mica.all {
    api = function() mica.client("api").Sync { revision = revision } end,
    proxy = function() mica.client("proxy").Sync { revision = revision } end,
  }
end

local function register_outside(req, nodes)
  local result = outside.register(req, nodes)
  if result.revision then wait_for_doors(result.revision) end
  return { revision = result.revision or records.revision(), fault = result.fault or "" }
end

function Registry.Register(ctx, req)
  authorize_change(ctx)
  local service = req.service or error(errors.invalid_fields { service = "is required" })
  service.namespace = namespace_of(ctx, service.namespace)
  check_service(ctx, service)
  if runs_elsewhere(service) then return register_outside(req, outside.check(ctx, req)) end
  outside.give_way(service.namespace, service.name)
  service.order = records.order_of(service)
  return { revision = records.put { service = service } }
end

local stopping = false

-- Ends when the registration does, which is looked at once a second.
function Registry.Hold(ctx, req, stream)
  authorize_change(ctx)
  local service = req.service or error(errors.invalid_fields { service = "is required" })
  service.namespace = namespace_of(ctx, service.namespace)
  check_service(ctx, service)
  local nodes = outside.check(ctx, req)
  for _, entry in pairs(nodes) do entry.expires = math.huge end
  ctx:defer(outside.release, service, nodes)
  local answer = register_outside(req, nodes)
  stream:send(answer)
  while not stopping do
    mica.sleep(1)
    local fault = outside.fault_of(service, nodes)
    if fault == nil then error(errors.aborted("the registration of %s@%s has been taken out", service.name, service.version)) end
    if fault ~= answer.fault then
      answer = { revision = records.revision(), fault = fault }
      wait_for_doors(answer.revision)
      stream:send(answer)
    end
  end
  error(errors.unavailable "the server is stopping")
end

function Registry.Deregister(ctx, req)
  authorize_change(ctx)
  local namespace = namespace_of(ctx, req.namespace)
  local record = records.get(namespace, req.name, req.version)
  if not record then error(errors.not_found("no service %s@%s", req.name, req.version)) end
  if not record.outside then
    if not is_trusted(ctx) then
      error(errors.failed_precondition("%s@%s runs on this server: delete it with the runtime", req.name, req.version))
    end
    return { revision = records.remove(record.service) }
  end
  local revision = req.node == "" and outside.remove(record.service) or outside.remove_node(record.service, req.node)
  wait_for_doors(revision)
  return { revision = revision }
end

-- `shown`: what was asked for, with the version if one was given.
local function no_service(ctx, name, shown)
  local names = {}
  for _, namespace in ipairs { PLATFORM, ctx.namespace } do
    for known in pairs(records.names(namespace)) do names[known] = true end
  end
  local hint = names[name] and "" or suggest.hint(name, names)
  return errors.not_found("no service %q in namespace %q%s", shown, ctx.namespace, hint)
end

local function visible_versions(ctx, name)
  return records.versions_of(ctx.namespace, name) or records.versions_of(PLATFORM, name)
end

function Registry.GetService(ctx, req)
  local versions = visible_versions(ctx, req.name)
  if not versions then error(no_service(ctx, req.name, req.name)) end
  return { services = records.newest_first(versions) }
end

function Registry.ListServices(ctx, req)
  return {
    services = records.everything(function(service)
      return service.namespace == ctx.namespace or req.platform and service.namespace == PLATFORM
    end),
  }
end

function Registry.GetContract(ctx, req)
  local versions = visible_versions(ctx, req.name)
  local newest = records.newest_first(versions)[1]
  local version = req.version ~= "" and req.version or newest and newest.version
  local record = versions and versions[version]
  if not record then
    local full = req.version == "" and req.name or req.name .. "@" .. req.version
    error(no_service(ctx, req.name, full))
  end
  local state = record.outside
  if state and state.http then
    error(errors.failed_precondition("%s speaks HTTP and has no contract: its paths are /%s/... at the gateway", req.name,
      (req.name:gsub("%.", "/"))))
  end
  if state then
    if not state.source then
      error(errors.failed_precondition("%s was registered without its contract: %s", req.name, state.fault or "it is asked for"))
    end
    return { descriptors = state.descriptors, protos = state.protos }
  end
  local contract = mica.native("contracts").Get {
    namespace = record.service.namespace, service = req.name, version = version,
  }
  return { descriptors = contract.descriptors, protos = contract.protos }
end

function Registry.Watch(ctx, req, stream)
  if req.all_namespaces and not is_trusted(ctx) then
    error(errors.permission_denied "only the platform's services watch all namespaces")
  end
  local watcher = { name = req.name, all = req.all_namespaces, namespace = ctx.namespace }
  records.watch(watcher)
  ctx:defer(function() records.unwatch(watcher) end)

  while true do
    local batch = watcher.pending
    watcher.pending = {}
    for _, event in ipairs(batch) do stream:send(event) end
    if #watcher.pending > records.MAX_PENDING then
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
  on_start = function()
    mica.every(1, outside.prune)
    mica.spawn(function()
      mica.native("server").Stopping {}
      stopping = true
    end)
  end,
}
