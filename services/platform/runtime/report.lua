-- What is told of deployments: their status, and the logs of services.

local mica = require "mica"
local deployments = require "deployments"
local errors = mica.errors

local report = {}

local deploy = mica.native "deploy"

local WAIT = 20 -- seconds that one look for new log records takes at most

local platform = {} -- list of { name =, version =, hash = }

function report.add_platform(name, version, hash)
  table.insert(platform, { name = name, version = version, hash = hash })
end

-- The core's counts by generation; those of the platform's services, which have no record, by name.
local function counts()
  local found = { platform = {} }
  for _, status in ipairs(deploy.Status({}).services) do
    if status.namespace == "" then
      found.platform[status.service] = status
    else
      found[status.generation] = status
    end
  end
  return found
end

local function add_counts(service, status)
  if not status then return service end
  service.instances, service.serving, service.restarts = status.instances, status.serving, status.restarts
  service.memory, service.requests, service.errors = status.memory, status.requests, status.errors
  service.limits, service.generation = status.limits, status.generation
  if service.error == "" then service.error = status.last_error end
  if service.status == "RUNNING" and status.serving == 0 and status.last_error ~= "" then service.status = "ERROR" end
  return service
end

local function describe(d, found)
  return add_counts({
    name = d.name,
    version = d.version,
    namespace = d.namespace,
    status = d.status,
    error = d.error,
    instances = d.instances,
    created = d.created,
    updated = d.updated,
    source = d.origin,
    owner = d.owner,
    hash = d.hash,
    warnings = d.warnings,
    cors = #d.origins > 0 and { origins = d.origins } or nil,
  }, d.generation and found[d.generation])
end

function report.one(d) return describe(d, counts()) end

---@param req { name: string, version: string, platform: boolean }
function report.list(namespace, req)
  local found, list = counts(), {}
  local function wanted(name, ...)
    if req.name ~= "" and req.name ~= name then return false end
    if req.version == "" then return true end
    for _, version in ipairs { ... } do
      if version == req.version then return true end
    end
    return false
  end
  for _, d in deployments.each() do
    if d.namespace == namespace and wanted(d.name, d.version, d.tag) then table.insert(list, describe(d, found)) end
  end
  for _, p in ipairs(platform) do
    local asked = req.platform or req.name == p.name
    if asked and wanted(p.name, p.version) then
      local status = found.platform[p.name]
      local started = status and status.started or 0
      table.insert(list, add_counts({
        name = p.name, version = p.version, namespace = "", status = status and "RUNNING" or "STOPPED", error = "",
        created = started, updated = started, hash = p.hash, source = "platform",
      }, status))
    end
  end
  return list
end

-- Where the log of a name is: the namespace, and whether anything of that name is known.
local function find_log(namespace, name)
  if #deployments.named(namespace, name) > 0 then return namespace, true end
  for _, p in ipairs(platform) do
    if p.name == name then return "", true end
  end
  return namespace, false
end

-- The version of the log records that a request means: those of a record without a tag have changing ones.
local function log_version(namespace, req)
  local d = req.version ~= "" and deployments.get(namespace, req.name, req.version)
  return d and d.version or req.version
end

local stopping = mica.channel() -- closed when the server stops

-- Ends the streams that follow a log, which would end by nothing else.
function report.stop_following() stopping:close() end

local function next_page(logs, query)
  if not query.wait or query.wait == 0 then return logs.Read(query, { timeout = 10 }) end
  local page = mica.race {
    page = function() return logs.Read(query, { timeout = WAIT + 10 }) end,
    stop = function() return stopping:recv() end,
  }
  return page or error(errors.unavailable "the server is stopping")
end

function report.logs(namespace, req, stream)
  local logs = mica.native "logs"
  local place, known = find_log(namespace, req.name)
  local query = {
    namespace = place, service = req.name, version = log_version(namespace, req), last = req.count, since = req.since,
    level = req.level, grep = req.grep, trace = req.trace,
  }
  while true do
    local page = next_page(logs, query)
    if not known and #page.records == 0 then
      error(errors.not_found("no service %q is deployed in namespace %q", req.name, namespace))
    end
    known = true
    for _, record in ipairs(page.records) do stream:send(record) end
    if #page.records == 0 and not req.follow then return end
    query.cursor = page.cursor
    query.wait = req.follow and WAIT or 0
  end
end

return report
