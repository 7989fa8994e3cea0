-- What the registry knows, and who wants to hear of its changes.
--
-- namespace -> name -> version -> record; a record is { service =, outside = (outside.lua) or nil }. The platform's own
-- services stand under the namespace "", which every namespace sees. Every change gets the next revision and is told to every
-- watcher in that order.

local mica = require "mica"

local records = { PLATFORM = "" }

-- A watcher that has this many changes waiting reads too slowly: it is broken off and watches again from the start.
records.MAX_PENDING = 10000

local namespaces = {}
local watchers = {} -- a set
local revision = 0

function records.revision() return revision end

-- ---- watching

local function sees(watcher, service)
  if watcher.name ~= "" and watcher.name ~= service.name then return false end
  return watcher.all or service.namespace == watcher.namespace or service.namespace == records.PLATFORM
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

--- Begins to watch: what is there waits in `pending` at once.
---@param watcher { name: string, all: boolean, namespace: string }
function records.watch(watcher)
  watcher.pending, watcher.bell, watcher.waiting = {}, mica.channel(), false
  for _, service in ipairs(records.everything(function(service) return sees(watcher, service) end)) do
    table.insert(watcher.pending, { type = "CURRENT", service = service, revision = revision })
  end
  table.insert(watcher.pending, { type = "SYNCED", revision = revision })
  watchers[watcher] = true
end

function records.unwatch(watcher) watchers[watcher] = nil end

-- ---- finding

---@return table<string, table>? versions by version
function records.versions_of(namespace, name)
  local names = namespaces[namespace]
  return names and names[name]
end

function records.get(namespace, name, version)
  local versions = records.versions_of(namespace, name)
  return versions and versions[version]
end

function records.names(namespace) return namespaces[namespace] or {} end

--- The versions of a service as a list, the one that answers calls without a version first.
function records.newest_first(versions)
  local list = {}
  for _, record in pairs(versions or {}) do table.insert(list, record.service) end
  table.sort(list, function(a, b) return a.order > b.order end)
  return list
end

--- Everything that `visible` admits, by namespace and name, the oldest version first, so that who applies them in order
--- ends with the newest.
function records.everything(visible)
  local list = {}
  for _, names in mica.sorted(namespaces) do
    for _, versions in mica.sorted(names) do
      local found = records.newest_first(versions)
      for i = #found, 1, -1 do
        if visible(found[i]) then table.insert(list, found[i]) end
      end
    end
  end
  return list
end

--- All records of services that run elsewhere, by their order.
function records.outside()
  local list = {}
  for _, names in pairs(namespaces) do
    for _, versions in pairs(names) do
      for _, record in pairs(versions) do
        if record.outside then table.insert(list, record) end
      end
    end
  end
  table.sort(list, function(a, b) return a.service.order < b.service.order end)
  return list
end

-- ---- changing

--- The place among versions: as given, else as it was, else above all others.
function records.order_of(service)
  local versions = records.versions_of(service.namespace, service.name) or {}
  if service.order ~= 0 then return service.order end
  if versions[service.version] then return versions[service.version].service.order end
  local highest = 0
  for _, record in pairs(versions) do highest = math.max(highest, record.service.order) end
  return highest + 1
end

---@return integer revision
function records.put(record)
  local service = record.service
  local names = namespaces[service.namespace] or {}
  namespaces[service.namespace] = names
  local versions = names[service.name] or {}
  names[service.name] = versions
  local known = versions[service.version] ~= nil
  versions[service.version] = record
  return announce(known and "UPDATED" or "CREATED", service)
end

---@return integer revision
function records.remove(service)
  local namespace, name = service.namespace, service.name
  local versions = namespaces[namespace][name]
  local record = versions[service.version]
  versions[service.version] = nil
  if not next(versions) then namespaces[namespace][name] = nil end
  if not next(namespaces[namespace]) then namespaces[namespace] = nil end
  return announce("DELETED", record.service)
end

return records
