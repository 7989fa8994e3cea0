-- The runtime: reads services from folders, starts them, replaces and stops them, and tells the registry.
--
-- A version of a service is the hash of its folder's content. The life of a deployment: read (files and contract)
-- -> describe (main.lua in a bare VM) -> start (instances, on_start) -> register -> routes of both doors installed.
-- Only then is it done, so a call right after it arrives. What it replaces is taken out of the registry first and
-- drained after.

local mica = require "mica"
local errors, log = mica.errors, mica.log

local DRAIN = 60 -- seconds that a replaced version may still work on what it has begun
local MAX_INSTANCES = 1000

local running = {} -- "namespace\0name" -> { version =, source = }
local busy = {} -- the same key -> true while a change is under way

local function platform()
  return {
    deploy = mica.native "deploy",
    server = mica.native "server",
    registry = mica.client "registry",
    api = mica.client "api",
    proxy = mica.client "proxy",
  }
end

local function wait_for_routes(p, revision)
  mica.all {
    api = function() p.api.Sync { revision = revision } end,
    proxy = function() p.proxy.Sync { revision = revision } end,
  }
end

local function register(p, namespace, name, version, definition)
  return p.registry.Register({
    service = {
      name = name,
      version = version,
      namespace = namespace,
      description = definition.description,
      endpoints = definition.endpoints,
      nodes = { { id = name .. "@" .. version } },
      metadata = definition.metadata,
    },
  }).revision
end

local function check_name(name)
  if not name:match "^[a-z][a-z0-9-]*$" and not name:match "^[a-z][a-z0-9-]*%.[a-z0-9.-]*[a-z0-9]$" then
    error(errors.invalid_argument(
      "%q is no name for a service: letters a-z, digits, '-' and '.', beginning with a letter", name))
  end
end

-- One change of a service at a time: the second is told so instead of waiting for an unknown time.
local function exclusively(key, fn)
  if busy[key] then error(errors.aborted "another change of this service is under way: try again") end
  busy[key] = true
  local ok, result = pcall(fn)
  busy[key] = nil
  if not ok then error(result, 0) end
  return result
end

local function stop_replaced(p, namespace, name, old)
  mica.background(function()
    p.deploy.Stop({ namespace = namespace, service = name, version = old.version, drain = DRAIN },
      { timeout = DRAIN + 15 })
    p.deploy.Release { source = old.source }
  end)
end

local function start(p, namespace, name, req, read, definition)
  local key = namespace .. "\0" .. name
  return exclusively(key, function()
    local old = running[key]
    local version = read.hash:sub(1, 8)
    if old and old.version == version then
      p.deploy.Release { source = read.source }
      return version
    end
    p.deploy.Start {
      source = read.source,
      namespace = namespace,
      service = name,
      version = version,
      instances = req.instances == 0 and 1 or req.instances,
      limits = definition.limits,
    }
    local revision = register(p, namespace, name, version, definition)
    if old then
      revision = p.registry.Deregister({ name = name, version = old.version, namespace = namespace }).revision
    end
    running[key] = { version = version, source = read.source }
    wait_for_routes(p, revision)
    if old then stop_replaced(p, namespace, name, old) end
    return version
  end)
end

local function deploy(p, namespace, req)
  if req.instances > MAX_INSTANCES then
    error(errors.invalid_fields { instances = ("at most %d"):format(MAX_INSTANCES) })
  end
  local read = p.deploy.Read { folder = req.folder }
  local ok, result = pcall(function()
    local definition = p.deploy.Describe { source = read.source, name = req.name }
    local name = req.name ~= "" and req.name or definition.name ~= "" and definition.name or read.name
    check_name(name)
    local version = start(p, namespace, name, req, read, definition)
    for _, warning in ipairs(definition.warnings) do log.warn(warning, { service = name }) end
    return { name = name, version = version, warnings = definition.warnings }
  end)
  if ok then return result end
  mica.try(p.deploy.Release, { source = read.source })
  error(result, 0)
end

---@type mica.runtime.v1.Runtime.Server
local Runtime = {}

function Runtime.Create(ctx, req)
  ctx:authorize "admin"
  return deploy(platform(), ctx.namespace, req)
end

function Runtime.Delete(ctx, req)
  ctx:authorize "admin"
  local p, key = platform(), ctx.namespace .. "\0" .. req.name
  local found = running[key]
  if not found or req.version ~= "" and req.version ~= found.version then
    error(errors.not_found("no service %q runs in namespace %q", req.name, ctx.namespace))
  end
  exclusively(key, function()
    local revision =
      p.registry.Deregister({ name = req.name, version = found.version, namespace = ctx.namespace }).revision
    running[key] = nil
    wait_for_routes(p, revision)
    p.deploy.Stop { namespace = ctx.namespace, service = req.name, version = found.version, drain = 10 }
    p.deploy.Release { source = found.source }
  end)
end

-- The platform's own services are running already (the core started them): they only have to be known.
local function register_platform(p, names)
  local revision = 0
  for _, name in ipairs(names) do
    local read = p.deploy.Read { folder = "platform:" .. name }
    local definition = p.deploy.Describe { source = read.source, name = name }
    revision = register(p, "", name, read.hash:sub(1, 8), definition)
    p.deploy.Release { source = read.source }
  end
  wait_for_routes(p, revision)
end

-- A folder that cannot be run is reported and left out: the others, and the server, go on.
local function run_folders(p, namespace, folders)
  for _, folder in ipairs(folders) do
    local request = { folder = folder, name = "", instances = 0 }
    local result, err = mica.try(deploy, p, namespace, request)
    if result then
      log.info("service is running", { service = result.name, version = result.version, folder = folder })
    else
      log.error(("cannot run %s: %s"):format(folder, err.message))
    end
  end
end

local function boot()
  local p = platform()
  local options = p.server.Options {}
  register_platform(p, options.platform)
  run_folders(p, "mica", options.run)
  p.server.Ready {}
end

return mica.service {
  handlers = { Runtime = Runtime },
  on_start = function()
    mica.spawn(function()
      local ok, err = pcall(boot)
      if not ok then
        platform().server.Ready { fault = tostring(err) }
        error(err, 0)
      end
    end)
  end,
}
