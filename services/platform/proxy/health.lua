-- Health: whether the server, and each service that the doors lead to, answers calls. Anybody may ask.
--
-- A service serves when at least one instance of it does; one from outside, when a node of it said so. While the server
-- stops nothing serves any more. Services that come and go are told at once, by the routes; an instance that fails is found by
-- looking, every LOOK_EVERY seconds while somebody watches.

local mica = require "mica"
local errors = mica.errors

local LOOK_EVERY = 0.25
local MAX_WATCHES = 500 -- at a time

local health = {}

local by_name = {} -- namespace -> name of a deployment or of a proto service -> service
local watchers = {} -- a set
local count = 0
local stopping = false
local bell, idle = mica.channel(), false -- wakes who looks, when nobody watched before

local function index(list)
  local names = {}
  for _, service in ipairs(list) do
    local own = names[service.namespace] or {}
    names[service.namespace] = own
    own[service.name] = service
  end
  -- A proto service belongs to the first that has it, as its routes do; deployments' own names are stronger.
  for _, service in ipairs(list) do
    local own = names[service.namespace]
    for _, endpoint in ipairs(service.endpoints) do
      local name = endpoint.path:match "^/(.+)/"
      if name and not own[name] then own[name] = service end
    end
  end
  return names
end

local function find(namespace, name)
  return by_name[""] and by_name[""][name] or by_name[namespace] and by_name[namespace][name]
end

-- Which of its nodes says so: true, false, or nil when the core must be asked.
local function says(service)
  local outside = false
  for _, node in ipairs(service.nodes) do
    if node.address == "" then return nil end
    outside = outside or node.health == "SERVING"
  end
  return outside
end

-- The status of each of { namespace =, name = }; false where there is no such service.
local function statuses(list)
  local found, here, place = {}, {}, {}
  for i, asked in ipairs(list) do
    local service = asked.name ~= "" and find(asked.namespace, asked.name)
    if asked.name == "" then
      found[i] = "SERVING"
    elseif not service then
      found[i] = false
    else
      local serving = says(service)
      found[i] = serving and "SERVING" or "NOT_SERVING"
      if serving == nil then
        table.insert(here, { namespace = service.namespace, service = service.name, version = service.version })
        place[#here] = i
      end
    end
  end
  if #here > 0 and not stopping then
    local serving = mica.native("health").Serving({ services = here }).serving
    for k, i in ipairs(place) do found[i] = serving[k] and "SERVING" or "NOT_SERVING" end
  end
  for i, status in ipairs(found) do
    if stopping and status then found[i] = "NOT_SERVING" end
  end
  return found
end

-- ---- watching

local refreshing, again = false, false

-- Tells every watcher whose answer has changed. One at a time: an older look must not overwrite a newer one.
local function refresh()
  again = true
  if refreshing then return end
  refreshing = true
  while again do
    again = false
    local list = {}
    for watcher in pairs(watchers) do table.insert(list, watcher) end
    for i, status in ipairs(statuses(list)) do
      local watcher = list[i]
      watcher.status = status or "SERVICE_UNKNOWN"
      if watcher.waiting and (watcher.status ~= watcher.told or stopping) then
        watcher.waiting = false
        watcher.bell:send(true)
      end
    end
  end
  refreshing = false
end

function health.update(list)
  by_name = index(list)
  refresh()
end

function health.stop()
  stopping = true
  refresh()
end

-- Looks for instances that have failed; a task of its own.
function health.look()
  while true do
    if count > 0 and not stopping then
      mica.sleep(LOOK_EVERY)
      refresh()
    else
      idle = true
      bell:recv()
    end
  end
end

-- ---- endpoints

---@type grpc.health.v1.Health.Server
health.handlers = {}

function health.handlers.Check(ctx, req)
  local status = statuses({ { namespace = ctx.namespace, name = req.service } })[1]
  if not status then error(errors.not_found("no service %q", req.service)) end
  return { status = status }
end

function health.handlers.Watch(ctx, req, stream)
  if count >= MAX_WATCHES then
    error(errors.resource_exhausted("%d clients watch already: try again later", count))
  end
  local watcher = { namespace = ctx.namespace, name = req.service, bell = mica.channel(), waiting = false }
  watchers[watcher] = true
  count = count + 1
  ctx:defer(function()
    watchers[watcher] = nil
    count = count - 1
  end)
  if idle then
    idle = false
    bell:send(true)
  end
  watcher.status = statuses({ watcher })[1] or "SERVICE_UNKNOWN"
  while true do
    if watcher.status ~= watcher.told then
      watcher.told = watcher.status
      stream:send { status = watcher.told }
    elseif stopping then
      error(errors.unavailable "the server is stopping")
    else
      watcher.waiting = true
      watcher.bell:recv()
    end
  end
end

return health
