-- The runtime: deploys services from uploaded bundles, replaces, scales and stops them, restores them when the server starts,
-- and tells the registry.
--
-- The steps are in deployments.lua; bundles.lua has the uploads, records.lua what is kept in system.db, jobs.lua what goes on
-- when a client has gone.
--
-- `mica server --run DIR` deploys from the folder, without a tag. Such a service is not stored, and for this run of the server it
-- stands in the place of a stored one of the same name. When somebody updates it, it becomes a stored one.

local mica = require "mica"
local bundles = require "bundles"
local deployments = require "deployments"
local jobs = require "jobs"
local records = require "records"
local page_origin = require "mica.origin"
local report = require "report"
local reserved = require "mica.reserved"
local errors, log, time = mica.errors, mica.log, mica.time

local DRAIN = 60
local MAX_INSTANCES = 1000
local RESTORED_AT_A_TIME = 8

local OPERATOR = "mica" -- the namespace whose administrators may end the server

local platform_names = {} -- a set
local gateway = "" -- its URL

-- ---- checks

local function check_name(name)
  if #name > 63 or not name:match "^[a-z][a-z0-9-]*$" and not name:match "^[a-z][a-z0-9-]*%.[a-z0-9.-]*[a-z0-9]$" then
    error(errors.invalid_argument(
      "%q is no name for a service: letters a-z, digits, '-' and '.', beginning with a letter", name))
  end
  if platform_names[name] then
    error(errors.invalid_argument("%q is the name of one of the platform's own services: choose another", name))
  end
  if reserved[name] then
    error(errors.invalid_argument("%q is no name for a service: the gateway itself answers /%s", name, name))
  end
end

local function check_tag(tag)
  if #tag > 63 or tag ~= "" and not tag:match "^[%w][%w._-]*$" then
    error(errors.invalid_fields { version = "letters, digits, '.', '_' and '-', at most 63" })
  end
end

local function check_instances(instances)
  if instances > MAX_INSTANCES then
    error(errors.invalid_fields { instances = ("at most %d"):format(MAX_INSTANCES) })
  end
end

-- The origins that a request names; nil: it names none.
local function check_origins(cors)
  if not cors then return nil end
  local fault = #cors.origins > page_origin.MAX and ("at most %d"):format(page_origin.MAX) or nil
  for _, text in ipairs(cors.origins) do fault = fault or page_origin.fault(text) end
  if fault then error(errors.invalid_fields { ["cors.origins"] = fault }) end
  return cors.origins
end

local function same_list(a, b)
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

local function warn(d)
  for _, warning in ipairs(d.warnings) do log.warn(warning, { service = d.name }) end
end

-- Loads a source for fn, and gives it back when fn fails.
local function with_source(origin, name, fn)
  local source = deployments.load(origin, name)
  local ok, result = pcall(fn, source)
  if ok then return result end
  deployments.release(source.number)
  error(result, 0)
end

-- Runs fn, which deploys an uploaded bundle; one that is not deployed is not kept.
local function with_bundle(blob, fn)
  local ok, result = pcall(bundles.hold, blob, fn)
  bundles.settled(blob)
  bundles.discard(blob) -- unless it is deployed now
  if ok then return result end
  error(result, 0)
end

-- ---- changes

local function url_of(d) return ("%s/%s"):format(gateway, (d.name:gsub("%.", "/"))) end

-- What a job did, as the answer to its client.
local function answer(d, began, result)
  warn(d)
  deployments.wait_for_routes(result.revision)
  return {
    service = report.one(d),
    changed = true,
    contract_changes = result.changes,
    seconds = time.now() - began,
    url = url_of(d),
  }
end

local function create(request, source)
  local definition = source.definition
  local name = request.name ~= "" and request.name or definition.name ~= "" and definition.name or source.name
  check_name(name)
  return deployments.exclusively(request.namespace, name, function()
    local d = { namespace = request.namespace, name = name, tag = request.tag }
    local result = deployments.create(d, {
      source = source, instances = request.instances, blob = request.blob, folder = request.folder,
      origin = request.origin, owner = request.owner, origins = request.origins,
    })
    return answer(d, request.began, result)
  end)
end

local function unchanged(d, began)
  return { service = report.one(d), changed = false, seconds = time.now() - began, url = url_of(d) }
end

local function update(d, request, source)
  local same = d.status == "RUNNING" and source.hash == d.hash
  if same and request.instances == d.instances and same_list(request.origins, d.origins) then
    deployments.release(source.number)
    return unchanged(d, request.began)
  end
  local result = deployments.update(d, {
    source = source, instances = request.instances, blob = request.blob, folder = request.folder,
    origin = request.origin, owner = request.owner, origins = request.origins,
  })
  return answer(d, request.began, result)
end

---@type mica.runtime.v1.Runtime.Server
local Runtime = {}

function Runtime.Create(ctx, req)
  local account = ctx:authorize "admin"
  bundles.check_source("source", req.source)
  check_tag(req.version)
  check_instances(req.instances)
  if req.name ~= "" then check_name(req.name) end
  local request = {
    namespace = ctx.namespace, name = req.name, tag = req.version, blob = req.source, origin = req.origin,
    instances = req.instances == 0 and 1 or req.instances, owner = account.name, began = time.now(),
    origins = check_origins(req.cors) or {},
  }
  return jobs.run(function()
    return with_bundle(req.source, function()
      return with_source({ blob = req.source }, req.name, function(source) return create(request, source) end)
    end)
  end)
end

function Runtime.Update(ctx, req)
  local account = ctx:authorize "admin"
  if req.source ~= "" then bundles.check_source("source", req.source) end
  check_instances(req.instances)
  local namespace, began = ctx.namespace, time.now()
  local given = req.source ~= ""
  local origins = check_origins(req.cors)
  local function replace()
    return deployments.exclusively(namespace, req.name, function()
      local d = deployments.find(namespace, req.name, req.version)
      local request = {
        instances = req.instances == 0 and d.instances or req.instances,
        blob = d.blob, folder = d.folder,
        origin = req.origin ~= "" and req.origin or d.origin,
        owner = account.name,
        origins = origins or d.origins,
        began = began,
      }
      if given then request.blob, request.folder = req.source, nil end
      return with_source({ blob = request.blob, folder = request.folder }, d.name, function(source)
        return update(d, request, source)
      end)
    end)
  end
  return jobs.run(function()
    if given then return with_bundle(req.source, replace) end
    return replace()
  end)
end

function Runtime.Delete(ctx, req)
  ctx:authorize "admin"
  local namespace = ctx.namespace
  local drain = req.now and 0 or req.drain > 0 and math.min(req.drain, 3600) or DRAIN
  return jobs.run(function()
    return deployments.exclusively(namespace, req.name, function()
      local d = deployments.find(namespace, req.name, req.version)
      return { finished = deployments.delete(d, drain) }
    end)
  end)
end

function Runtime.Read(ctx, req)
  return { services = report.list(ctx.namespace, req) }
end

function Runtime.Logs(ctx, req, stream)
  report.logs(ctx.namespace, req, stream)
end

function Runtime.Shutdown(ctx)
  local account = ctx:authorize "admin"
  if ctx.namespace ~= OPERATOR then
    error(errors.permission_denied("only administrators of namespace %q may end the server", OPERATOR))
  end
  log.info("the server is asked to stop", { by = account.name })
  mica.native("server").Stop {}
end

---@type mica.runtime.v1.Source.Server
local Source = {}

function Source.Upload(ctx, stream)
  ctx:authorize "admin"
  return { source = bundles.receive(ctx, stream) }
end

-- ---- the start of the server

-- The platform's own services are running already (the core started them): they only have to be known.
local function register_platform(names)
  local deploy, registry = mica.native "deploy", mica.client "registry"
  local revision = 0
  for _, name in ipairs(names) do
    platform_names[name] = true
    local read = deploy.Read { folder = "platform:" .. name }
    local definition = deploy.Describe { source = read.source, name = name }
    local version = read.hash:sub(1, 8)
    revision = registry.Register({
      service = {
        name = name, version = version, namespace = "",
        description = definition.description,
        endpoints = definition.endpoints,
        http = definition.http,
        nodes = { { id = name .. "@" .. version } },
        metadata = definition.metadata,
      },
    }).revision
    report.add_platform(name, version, read.hash)
    deploy.Release { source = read.source }
  end
  return revision
end

local function run_folder(namespace, folder)
  local request = {
    namespace = namespace, name = "", tag = "", folder = folder, origin = folder, instances = 1, owner = "",
    origins = {}, began = time.now(),
  }
  return with_source({ folder = folder }, "", function(source) return create(request, source) end).service
end

-- A folder that cannot be run is reported and left out: the others, and the server, go on.
local function run_folders(namespace, folders)
  for _, folder in ipairs(folders) do
    local service, err = mica.try(run_folder, namespace, folder)
    if service then
      log.info("service is running", { service = service.name, version = service.version, folder = folder })
    else
      log.error(("cannot run %s: %s"):format(folder, err.message))
    end
  end
end

-- Starts what is stored, a few at a time. Returns the registry's revision after the last one.
local function restore(stored)
  local waiting, last = {}, 0
  for _, record in ipairs(stored) do
    local d = deployments.add_stored(record)
    if d then table.insert(waiting, d) end
  end
  local at = 0
  local function work()
    while at < #waiting do
      at = at + 1
      last = math.max(last, deployments.restore(waiting[at]) or 0)
    end
  end
  local workers = {}
  for i = 1, math.min(#waiting, RESTORED_AT_A_TIME) do workers[i] = work end
  mica.all(workers)
  return last
end

local function boot()
  local server = mica.native "server"
  local options = server.Options {}
  gateway = options.api
  local revision = register_platform(options.platform)
  deployments.find_survivors()
  local stored = records.load()
  run_folders(OPERATOR, options.run)
  revision = math.max(revision, restore(stored))
  deployments.wait_for_routes(revision)
  deployments.end_survivors()
  bundles.start(deployments.uses)
  server.Ready {}
end

return mica.service {
  handlers = { Runtime = Runtime, Source = Source },
  on_start = function()
    jobs.start()
    mica.spawn(function()
      mica.native("server").Stopping {}
      report.stop_following()
    end)
    mica.spawn(function()
      local ok, err = pcall(boot)
      if not ok then
        mica.native("server").Ready { fault = tostring(err) }
        error(err, 0)
      end
    end)
  end,
}
