-- What is deployed: one record for each namespace, name and tag, and the steps that change it.
--
-- A version is called by its tag; without a tag by the first 8 digits of its source's hash. An update replaces what its
-- record runs:
--
--   source loaded -> definition read in a bare VM -> new generation started, on hold -> record written -> published
--   -> registered, routes of both doors installed -> the old generation drains
--
-- Until "published" a failure undoes everything and the old generation serves on. From there on nothing can fail but the
-- platform itself. A call therefore always finds a generation that serves. All of this runs in jobs (jobs.lua), and only one
-- change of a name at a time: the second is ABORTED.
--
-- Of several versions the one without a tag answers calls that name none; without such a one, the tag created last.

local mica = require "mica"
local bundles = require "bundles"
local jobs = require "jobs"
local records = require "records"
local errors, time = mica.errors, mica.time

local deployments = {}

local deploy = mica.native "deploy"

local DRAIN = 60 -- seconds that a replaced generation may still work on what it has begun
local GRACE = 2 -- seconds that it still takes calls that were on their way to it
local DRAINING = 8 -- generations of a record that may drain at a time
local UNTAGGED = 2 ^ 52 -- above every creation time in milliseconds

local all = {} -- key (records.key) -> record
local busy = {} -- "namespace/name" -> true while a change is under way

-- Generations that a former instance of this service has started, by "namespace/name/version": { generation, service }.
local survivors = {}

local clients -- of registry, api and proxy

local function platform()
  clients = clients
    or { registry = mica.client "registry", api = mica.client "api", proxy = mica.client "proxy" }
  return clients
end

local function wait_for_routes(revision)
  local p = platform()
  mica.all {
    api = function() p.api.Sync { revision = revision } end,
    proxy = function() p.proxy.Sync { revision = revision } end,
  }
end
deployments.wait_for_routes = wait_for_routes

-- ---- finding

function deployments.each() return mica.sorted(all) end

function deployments.get(namespace, name, tag) return all[records.key { namespace = namespace, name = name, tag = tag }] end

-- All records of a name.
function deployments.named(namespace, name)
  local found = {}
  for _, d in mica.sorted(all) do
    if d.namespace == namespace and d.name == name then table.insert(found, d) end
  end
  return found
end

-- The record that a request means: a version, or the one without a tag, or the only one.
function deployments.find(namespace, name, version)
  local found = deployments.named(namespace, name)
  if #found == 0 then error(errors.not_found("no service %q is deployed in namespace %q", name, namespace)) end
  local versions = {}
  for i, d in ipairs(found) do
    if version ~= "" and (d.tag == version or d.version == version) then return d end
    if version == "" and (d.tag == "" or #found == 1) then return d end
    versions[i] = d.version
  end
  if version == "" then
    error(errors.failed_precondition("%s is deployed in versions %s: say which", name, table.concat(versions, ", ")))
  end
  error(errors.not_found("%s has no version %q (it has %s)", name, version, table.concat(versions, ", ")))
end

-- One change of a name at a time: the second is told so instead of waiting for an unknown time.
function deployments.exclusively(namespace, name, fn)
  local key = namespace .. "/" .. name
  if busy[key] then
    error(errors.aborted("another change of %s is under way: try again when it is done", name))
  end
  busy[key] = true
  local ok, result = pcall(fn)
  busy[key] = nil
  if not ok then error(result, 0) end
  return result
end

-- ---- sources

function deployments.release(source)
  if source then mica.try(deploy.Release, { source = source }) end
end

-- Loads a bundle, or reads a folder, and its definition: { number, name, hash, definition }.
---@param origin { blob?: string, folder?: string }
---@param name string what the deployer calls it; empty: not said
function deployments.load(origin, name)
  local read
  if origin.blob then
    read = deploy.Load({ blob = origin.blob }, { timeout = 60 })
  else
    read = deploy.Read({ folder = origin.folder }, { timeout = 60 })
  end
  local definition, err = mica.try(deploy.Describe, { source = read.source, name = name })
  if not definition then
    deployments.release(read.source)
    error(err, 0)
  end
  return { number = read.source, name = read.name, hash = read.hash, definition = definition }
end

-- What the older source's callers would miss in the newer one.
local function compare(old, new)
  if not old.source or old.hash == new.hash then return {} end
  return deploy.Compare({ before = old.source, after = new.number }).changes
end

-- ---- generations

local function register(d, definition)
  return platform().registry.Register({
    service = {
      name = d.name,
      version = d.version,
      namespace = d.namespace,
      description = definition.description,
      endpoints = definition.endpoints,
      http = definition.http,
      nodes = { { id = d.name .. "@" .. d.version } },
      metadata = definition.metadata,
      order = d.order,
      cors = { origins = d.origins },
    },
  }).revision
end

local function deregister(d, version)
  return platform().registry.Deregister({ name = d.name, version = version, namespace = d.namespace }).revision
end

local function stop(d, generation, version, drain)
  return deploy.Stop({
    namespace = d.namespace, service = d.name, version = version, generation = generation, drain = drain,
  }, { timeout = drain + 30 }).finished
end

-- The generation that was replaced ends, later; when too many of one record are ending, the oldest must hurry.
local function retire(d, old)
  table.insert(d.draining, old)
  if #d.draining > DRAINING then
    local oldest = table.remove(d.draining, 1)
    mica.try(stop, d, oldest.generation, oldest.version, 0)
  end
  jobs.later("stopping a replaced version of " .. d.name, function()
    mica.sleep(GRACE)
    mica.try(stop, d, old.generation, old.version, DRAIN)
    deployments.release(old.source)
    for i, other in ipairs(d.draining) do
      if other == old then table.remove(d.draining, i) end
    end
  end)
end

local function check_version_is_free(d, version)
  for _, other in ipairs(deployments.named(d.namespace, d.name)) do
    if other ~= d and other.version == version then
      error(errors.already_exists("%s@%s is deployed already", d.name, version))
    end
  end
end

local function start(d, target)
  local key = ("%s/%s/%s"):format(d.namespace, d.name, target.version)
  local survivor = survivors[key]
  if survivor then
    survivors[key] = nil
    return survivor.generation
  end
  return deploy.Start({
    source = target.source.number,
    namespace = d.namespace,
    service = d.name,
    version = target.version,
    instances = target.instances,
    limits = target.source.definition.limits,
    order = d.order,
    hold = true,
  }, { timeout = 60 }).generation
end

-- Writes the record as it will be.
local function store(d, target)
  if not target.blob then return end
  local future = setmetatable({
    blob = target.blob, hash = target.source.hash, instances = target.instances, updated = target.updated, origin = target.origin,
    owner = target.owner, origins = target.origins,
  }, { __index = d })
  records.write(future)
end

-- Makes the record run `target` = { source =, instances =, origins =, blob =, folder =, origin =, owner =, stored = }. Returns
-- what callers would miss, and the revision of the registry to wait for.
---@return { changes: string[], revision: integer }
local function switch(d, target)
  local definition = target.source.definition
  target.version = d.tag ~= "" and d.tag or target.source.hash:sub(1, 8)
  check_version_is_free(d, target.version)
  local changes = compare(d, target.source)
  local old = d.generation and { generation = d.generation, version = d.version, source = d.source }
  target.updated = target.updated or time.now()
  local generation = start(d, target)
  local ok, err = pcall(function()
    if not target.stored then store(d, target) end
    deploy.Publish { generation = generation }
  end)
  if not ok then
    mica.try(stop, d, generation, target.version, 0)
    error(err, 0)
  end
  d.version, d.hash, d.generation, d.source = target.version, target.source.hash, generation, target.source.number
  d.blob, d.folder, d.origin, d.owner = target.blob, target.folder, target.origin, target.owner
  d.instances, d.updated, d.warnings = target.instances, target.updated, definition.warnings
  d.origins = target.origins
  d.status, d.error = "RUNNING", ""
  local revision = register(d, definition)
  if old and old.version ~= d.version then revision = deregister(d, old.version) end
  if old then retire(d, old) end
  return { changes = changes, revision = revision }
end

-- ---- changes; each in a job, exclusively

---@param d { namespace: string, name: string, tag: string }
local function new_record(d)
  d.status, d.error, d.version, d.draining, d.warnings = "STARTING", "", d.tag, {}, {}
  d.instances, d.origin, d.owner, d.hash, d.origins = 1, "", "", "", {}
  d.created = d.created or time.now()
  d.updated = d.updated or d.created
  d.order = d.order or math.floor(d.created * 1000) + (d.tag == "" and UNTAGGED or 0)
  return d
end

-- Deploys what is not deployed yet.
function deployments.create(d, target)
  new_record(d)
  local key = records.key(d)
  if all[key] then
    error(errors.already_exists("%s is deployed already: update it", d.tag == "" and d.name or d.name .. "@" .. d.tag))
  end
  all[key] = d
  local ok, result = pcall(switch, d, target)
  if not ok then
    all[key] = nil
    error(result, 0)
  end
  return result
end

function deployments.update(d, target)
  local blobs = records.blobs_of(d)
  local result = switch(d, target)
  for _, blob in ipairs(blobs) do bundles.discard(blob) end -- those that fell out of the history
  return result
end

-- Takes a record out: its routes first, so that nobody calls it any more, then its instances. Returns the calls that ended
-- while it drained.
function deployments.delete(d, drain)
  d.status = "STOPPING"
  local blobs = records.blobs_of(d)
  records.delete(d)
  if d.generation then
    wait_for_routes(deregister(d, d.version))
  end
  local finished = 0
  if d.generation then finished = stop(d, d.generation, d.version, drain) end
  deployments.release(d.source)
  all[records.key(d)] = nil
  for _, old in ipairs(d.draining) do mica.try(stop, d, old.generation, old.version, drain) end
  for _, blob in ipairs(blobs) do bundles.discard(blob) end
  return finished
end

-- ---- the start of the server

-- Puts a stored record into the table, to be restored.
function deployments.add_stored(record)
  local d = new_record {
    namespace = record.namespace, name = record.name, tag = record.tag, created = record.created, order = record.order,
    updated = record.updated,
  }
  d.status = "PENDING"
  d.blob, d.hash, d.instances = record.blob, record.hash, record.instances
  d.origin, d.owner, d.origins = record.origin, record.owner, record.origins or {}
  d.version = d.tag ~= "" and d.tag or record.hash:sub(1, 8)
  local key = records.key(d)
  if all[key] then return nil end -- --run has said it otherwise, for this run
  all[key] = d
  return d
end

-- Starts a stored record. One that does not start is kept, with the reason, for its owner to see.
---@return integer? revision of the registry
function deployments.restore(d)
  d.status = "STARTING"
  local source
  local ok, result = pcall(function()
    source = deployments.load({ blob = d.blob }, d.name)
    return switch(d, {
      source = source, instances = d.instances, blob = d.blob, origin = d.origin, owner = d.owner, updated = d.updated,
      origins = d.origins, stored = true,
    })
  end)
  if ok then return result.revision end
  deployments.release(source and source.number)
  d.status, d.error = "ERROR", errors.is(result) and result.message or tostring(result)
  mica.log.error("a deployed service does not start", { service = d.name, version = d.version, error = d.error })
  return nil
end

-- When this instance follows one that was lost, services are running already: they are taken over as they are.
function deployments.find_survivors()
  for _, service in ipairs(deploy.Status({}).services) do
    if service.namespace ~= "" then
      local key = ("%s/%s/%s"):format(service.namespace, service.service, service.version)
      local other = survivors[key]
      if not other or other.generation < service.generation then survivors[key] = service end
    end
  end
end

-- Ends what nobody has claimed.
function deployments.end_survivors()
  for _, service in pairs(survivors) do
    jobs.later("stopping " .. service.service, function()
      stop({ namespace = service.namespace, name = service.service }, service.generation, service.version, DRAIN)
    end)
  end
  survivors = {}
end

-- Whether a blob is the source of a deployment, or of one of its former versions.
function deployments.uses(blob)
  for _, d in pairs(all) do
    if d.blob == blob then return true end
  end
  return records.blobs_of_history()[blob] ~= nil
end

return deployments
