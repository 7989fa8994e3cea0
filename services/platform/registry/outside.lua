-- Services that run elsewhere: registered with their addresses, callable as if they ran here.
--
-- A version has nodes, each registered by itself and taken out when it has not registered again for its time to live; the
-- version goes with its last node. Its contract is what was registered with it, else what one of its nodes reflects; without one
-- it is listed, and asked again from time to time. With one it stands in the core's directory (mica.native "outside"): the
-- doors route to it, and calls under way survive every change here. A service whose addresses are http://... or https://...
-- stands there without a contract, and gets the gateway's requests as they come.
--
-- record.outside = {
--   nodes      id -> { node =, expires =, is_local = }
--   uploaded   the contract came with a registration; given: the names of .proto files that came with it
--   descriptors, protos, endpoints, description     the contract, once there is one
--   source     the core's number of it
--   http       how it is spoken to, where it speaks HTTP (mica.core.v1.HttpBackend): then it has no contract
--   generation of what is in the directory; put: what that is, as a text
--   fault      why there is no contract;  again, pause: when it is asked for again
-- }
--
-- What runs here comes first: an outside service cannot take its name, and goes when one of its name is started.
-- Changes of one version exclude each other, since they wait for the core and for backends.

local mica = require "mica"
local records = require "records"
local reflection = require "reflection"
local errors, time = mica.errors, mica.time

local TTL, TTL_MAX = 90, 24 * 3600
local CONTRACT_MAX = 1024 * 1024
local NODES_MAX = 16 -- of one version; what the core dials at once
local PAUSE_MAX = 60 -- seconds between attempts to reflect

local outside = {}

local busy = {} -- key -> a list of channels, those who wait

local function locked(key, fn, ...)
  if busy[key] then
    local turn = mica.channel()
    table.insert(busy[key], turn)
    turn:recv()
  else
    busy[key] = {}
  end
  local result, err = mica.try(fn, ...)
  local waiting = table.remove(busy[key], 1)
  if waiting then waiting:close() else busy[key] = nil end
  if err then error(err, 0) end
  return result
end

local function key_of(service) return table.concat({ service.namespace, service.name, service.version }, "\0") end

-- ---- what may be registered

local LOCAL = { "^localhost:", "%.localhost:", "^127%.", "^0[.:]", "^0%.0%.0%.0:", "^169%.254%.", "^%[::1?%]:", "^%[::ffff:",
  "^%[[Ff][Ee][89AaBb]" }

local function names_this_machine(address)
  for _, pattern in ipairs(LOCAL) do
    if address:lower():find(pattern) then return true end
  end
  return false
end

local SCHEME_PORTS = { http = "80", https = "443" }

-- "http://10.0.0.7" -> "http", "10.0.0.7:80"; nil and the address for one without a scheme.
local function split_scheme(address)
  local scheme, rest = address:match "^(%l+)://([^/]*)/?$"
  if not SCHEME_PORTS[scheme] then return nil, address end
  if not rest:find ":%d+$" then rest = rest .. ":" .. SCHEME_PORTS[scheme] end
  return scheme, rest
end

local function check_address(address, is_local)
  local host, port = address:match "^(.+):(%d+)$"
  if not host or #address > 255 or not (host:match "^[%w._-]+$" or host:match "^%[[%x:.]+%]$") or tonumber(port) > 65535
    or port == "0" then
    local what = ("%q is not HOST:PORT, http://HOST:PORT or https://HOST:PORT"):format(address)
    error(errors.invalid_fields { ["service.nodes.address"] = what })
  end
  if not is_local and names_this_machine(address) then
    error(errors.permission_denied("%s is an address of the server's own machine: only who calls from there may register it",
      address))
  end
end

-- Did the request come from the server's own machine?
local function came_from_here(ctx)
  local peer = ctx.peer or ""
  return peer:find "^127%." ~= nil or peer:find("[::1]:", 1, true) == 1 or peer:find("[::ffff:127.", 1, true) == 1
end

-- All nodes of a version are of one kind.
local function check_kind(req, schemes)
  local service = req.service
  local scheme = next(schemes)
  if next(schemes, scheme) then
    error(errors.invalid_fields { ["service.nodes.address"] = "all of one kind: HOST:PORT, http:// or https://" })
  end
  if scheme == "grpc" then
    if service.backend then error(errors.invalid_fields { ["service.backend"] = "is for addresses with http:// or https://" }) end
  else
    if #req.descriptors > 0 then error(errors.invalid_fields { descriptors = "an HTTP service has no contract" }) end
    service.backend = service.backend or {}
    service.backend.tls, service.backend.public = scheme == "https", req.public
    local wait, idle = service.backend.first_byte or 0, service.backend.idle or 0
    if not (wait >= 0 and wait <= 86400 and idle >= 0 and idle <= 86400) then
      error(errors.invalid_fields { ["service.backend"] = "times are 0 to 86400 seconds" })
    end
  end
  local old = records.get(service.namespace, service.name, service.version)
  if old and old.outside and (old.outside.http == nil) ~= (service.backend == nil) then
    error(errors.already_exists("%s@%s is registered as %s service: deregister it first, or take another version", service.name,
      service.version, service.backend and "a gRPC" or "an HTTP"))
  end
end

--- What the nodes of a request are; raises when something is wrong with them.
---@return table nodes id -> { node =, expires =, is_local = }
function outside.check(ctx, req)
  local service = req.service
  if not (req.ttl >= 0 and req.ttl <= TTL_MAX) then
    error(errors.invalid_fields { ttl = ("0 to %d seconds"):format(TTL_MAX) })
  end
  if #req.descriptors > CONTRACT_MAX then error(errors.invalid_fields { descriptors = "at most 1 MB" }) end
  if service.version == "" or #service.version > 100 then
    error(errors.invalid_fields { ["service.version"] = "is needed, at most 100 characters" })
  end
  if #service.nodes > NODES_MAX then error(errors.invalid_fields { ["service.nodes"] = "at most " .. NODES_MAX }) end
  local is_local, nodes, schemes = came_from_here(ctx), {}, {}
  for _, node in ipairs(service.nodes) do
    if node.address == "" then
      error(errors.invalid_fields { ["service.nodes.address"] = "a service runs here or elsewhere, not both" })
    end
    local scheme, address = split_scheme(node.address)
    check_address(address, is_local)
    schemes[scheme or "grpc"] = true
    if node.id == "" then node.id = node.address end
    nodes[node.id] = { node = node, expires = time.now() + (req.ttl > 0 and req.ttl or TTL), is_local = is_local }
  end
  for _, record in pairs(records.versions_of(service.namespace, service.name) or {}) do
    if not record.outside then error(errors.already_exists("%s runs on this server", service.name)) end
  end
  check_kind(req, schemes)
  return nodes
end

-- ---- contracts

local native

local function core()
  native = native or mica.native "outside"
  return native
end

-- Reads and describes a contract. Whoever calls this releases the source that is not used in the end.
local function take_contract(service, state, contract, public)
  local loaded = core().Load {
    service = service.name, descriptors = contract.descriptors, protos = contract.protos, public = public,
  }
  local definition, err = mica.try(function() return core().Describe { source = loaded.source, name = service.name } end)
  if not definition then
    core().Release { source = loaded.source }
    error(errors.invalid_argument("the contract cannot be described: %s", err.message))
  end
  state.source, state.protos, state.descriptors = loaded.source, loaded.protos, contract.descriptors
  state.endpoints, state.description, state.public = definition.endpoints, definition.description, public
  state.fault, state.again = nil, nil
end

-- Asks the nodes, one after the other, until one answers.
local function reflect(service, state, public)
  local fault
  for _, entry in mica.sorted(state.nodes) do
    local contract, err = reflection.ask(entry.node.address, entry.is_local)
    if contract then
      contract, err = mica.try(function()
        take_contract(service, state, contract, public)
        return true
      end)
      if contract then return end
    end
    fault = err
  end
  state.fault = fault and fault.message or "it has no node"
  state.pause = math.min((state.pause or 1) * 2, PAUSE_MAX)
  state.again = time.now() + state.pause
  mica.log.warn("an outside service has no contract yet",
    { service = service.name, version = service.version, namespace = service.namespace, fault = state.fault })
end

-- ---- the directory

-- Nodes that say that they do not serve are left out, unless all say so.
local function addresses_of(state)
  local serving, all, is_local = {}, {}, true
  for _, entry in mica.sorted(state.nodes) do
    local _, address = split_scheme(entry.node.address)
    table.insert(all, address)
    if entry.node.health ~= "NOT_SERVING" then table.insert(serving, address) end
    is_local = is_local and entry.is_local
  end
  return #serving > 0 and serving or all, is_local
end

local function put(service, state)
  if not state.source and not state.http then return end
  local addresses, is_local = addresses_of(state)
  local how = state.http and mica.proto.encode("mica.core.v1.HttpBackend", state.http) or tostring(state.source)
  local parts = { how, tostring(service.order), tostring(is_local), table.concat(addresses, ",") }
  local what = table.concat(parts, " ")
  if what == state.put then return end
  state.generation = core().Put({
    namespace = service.namespace, service = service.name, version = service.version, source = state.source,
    order = service.order, addresses = addresses, ["local"] = is_local, http = state.http,
  }).generation
  state.put = what
end

local function forget(service, state)
  if state.generation then
    core().Remove {
      namespace = service.namespace, service = service.name, version = service.version, generation = state.generation,
    }
  end
  if state.source then core().Release { source = state.source } end
end

-- ---- changes

-- The service as it is shown: its nodes, and the endpoints of its contract.
local function show(service, state)
  local shown = {}
  for _, key in ipairs { "name", "version", "namespace", "description", "metadata", "order" } do shown[key] = service[key] end
  shown.nodes, shown.endpoints, shown.backend = {}, state.endpoints or {}, state.http
  for _, entry in mica.sorted(state.nodes) do table.insert(shown.nodes, entry.node) end
  if shown.description == "" then shown.description = state.description or "" end
  return shown
end

-- Without what changes by itself: whoever registers again only says that it is there, and nobody has to hear of it.
local function plain(service)
  local copy = {}
  for key, value in pairs(service) do copy[key] = value end
  copy.nodes = {}
  for i, node in ipairs(service.nodes) do
    copy.nodes[i] = { id = node.id, address = node.address, metadata = node.metadata, health = node.health }
  end
  return mica.proto.encode("mica.registry.v1.Service", copy)
end

local function put_or_release(old, service, state)
  local before = old and old.outside.source
  local ok, err = mica.try(function()
    put(service, state)
    return true
  end)
  local unused = before
  if not ok then unused = state.source end
  if unused and before ~= state.source then core().Release { source = unused } end
  if not ok then error(err, 0) end
end

local function publish(old, service, state)
  local record = { service = show(service, state), outside = state }
  put_or_release(old, record.service, state)
  if old and plain(old.service) == plain(record.service) then
    old.service, old.outside = record.service, state
    return nil
  end
  return records.put(record)
end

local function copy(state)
  local other = {}
  for key, value in pairs(state) do other[key] = value end
  return other
end

local function merge(old, nodes)
  local merged, changed = {}, false
  for id, entry in pairs(old or {}) do merged[id] = entry end
  for id, entry in pairs(nodes) do
    changed = changed or not merged[id] or merged[id].node.address ~= entry.node.address
    merged[id] = entry
  end
  local count = 0
  for _ in pairs(merged) do count = count + 1 end
  if count > NODES_MAX then error(errors.resource_exhausted("at most %d nodes of one version", NODES_MAX)) end
  return merged, changed
end

local function same_contract(state, req)
  return state.uploaded and state.descriptors == req.descriptors and state.public == req.public
    and table.concat(state.given, "\0") == table.concat(req.protos, "\0")
end

local function register(req, nodes)
  local service = req.service
  local old = records.get(service.namespace, service.name, service.version)
  local changed
  local state = copy(old and old.outside or {})
  state.nodes, changed = merge(state.nodes, nodes)
  service.order = records.order_of(service)
  if service.backend then
    state.http = service.backend
  elseif #req.descriptors > 0 then
    if not same_contract(state, req) then
      take_contract(service, state, { descriptors = req.descriptors, protos = req.protos }, req.public)
      state.uploaded, state.given = true, req.protos
    end
  elseif not state.uploaded and (changed or state.public ~= req.public and state.source) then
    state.public = req.public
    reflect(service, state, req.public)
  end
  local revision = publish(old, service, state)
  return { revision = revision, fault = state.fault }
end

--- A registration that has been checked: the revision, nil when nothing has changed, and what is missing of the contract.
---@return { revision: integer?, fault: string? }
function outside.register(req, nodes) return locked(key_of(req.service), register, req, nodes) end

local function remove(service)
  local record = records.get(service.namespace, service.name, service.version)
  if not (record and record.outside) then return records.revision() end
  forget(record.service, record.outside)
  return records.remove(record.service)
end

--- Takes a version out; calls under way go on.
function outside.remove(service) return locked(key_of(service), remove, service) end

local function remove_node(service, id)
  local record = records.get(service.namespace, service.name, service.version)
  local state = record and record.outside
  if not state or not state.nodes[id] then
    error(errors.not_found("no node %q of %s@%s", id, service.name, service.version))
  end
  state.nodes[id] = nil
  if not next(state.nodes) then return remove(service) end
  return publish(record, record.service, state) or records.revision()
end

function outside.remove_node(service, id) return locked(key_of(service), remove_node, service, id) end

local function release(service, nodes)
  local record = records.get(service.namespace, service.name, service.version)
  local state = record and record.outside
  local gone = false
  for id, entry in pairs(state and state.nodes or {}) do
    if nodes[id] == entry then
      state.nodes[id] = nil
      gone = true
    end
  end
  if gone and not next(state.nodes) then return remove(service) end
  if gone then publish(record, record.service, state) end
end

--- Takes out those of the nodes that nobody has registered again.
function outside.release(service, nodes) locked(key_of(service), release, service, nodes) end

--- Why a service has no contract yet: "" when it has one, nil when none of these nodes is registered any more.
---@return string?
function outside.fault_of(service, nodes)
  local record = records.get(service.namespace, service.name, service.version)
  local state = record and record.outside
  for id, entry in pairs(state and state.nodes or {}) do
    if nodes[id] == entry then return state.fault or "" end
  end
end

--- A service of this name is started here: it comes first.
function outside.give_way(namespace, name)
  for _, record in mica.sorted(records.versions_of(namespace, name) or {}) do
    if record.outside then
      mica.log.warn("an outside service gives way to one that runs here",
        { service = name, version = record.service.version, namespace = namespace })
      outside.remove(record.service)
    end
  end
end

-- ---- time

local function look(service)
  local record = records.get(service.namespace, service.name, service.version)
  local state = record and record.outside
  if not state then return end
  local now, gone = time.now(), false
  for id, entry in pairs(state.nodes) do
    if entry.expires <= now then
      state.nodes[id] = nil
      gone = true
    end
  end
  if not next(state.nodes) then return remove(service) end
  local asked = state.again and state.again <= now
  if not (gone or asked) then return end
  local changed = copy(state)
  if asked then reflect(record.service, changed, state.public or false) end
  publish(record, record.service, changed)
end

local function due(state, now)
  if state.again and state.again <= now then return true end
  for _, entry in pairs(state.nodes) do
    if entry.expires <= now then return true end
  end
  return false
end

--- Takes out nodes that have not been heard of for too long, and asks again for contracts; called again and again.
function outside.prune()
  local now = time.now()
  for _, record in ipairs(records.outside()) do
    local key = key_of(record.service)
    if not busy[key] and due(record.outside, now) then
      mica.spawn(function() locked(key, look, record.service) end)
    end
  end
end

return outside
