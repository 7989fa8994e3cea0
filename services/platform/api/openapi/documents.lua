-- Who gets which document: of a service, or of all services of a namespace.
--
-- An account sees what its namespace has, a stranger only what needs no account; hidden endpoints are in no document. Parts
-- (part.lua) are made when they are first asked for, by one asker while the others wait, and kept until the service changes
-- or room is needed. An entity tag is known before anything is made: it stands for what the document is made of.

local mica = require "mica"
local document = require "openapi.document"
local parts = require "openapi.part"
local errors = mica.errors

local documents = {}

local PLATFORM = "" -- the namespace of the platform's own services
local CACHE_SIZE = 32 * 1024 * 1024 -- bytes of parts that are kept
local MORE = 64 * 1024 -- bytes of a document that are sent at a time
local SLICE = 50 -- services in a row
local AT_A_TIME = 100 -- documents under way: who reads slowly must not keep this service from compiling routes

local started = mica.id.uuid() -- so that no tag of an earlier process is taken for one of this

-- ---- what there is

local list = {} -- the versions that answer calls which name none, the platform's first, then by namespace and name
local index -- namespace -> { by_name, list }, made of `list` when it is asked for
local numbers = setmetatable({}, { __mode = "k" }) -- service -> number: a changed service is another table
local last_number = 0

--- Tells what services there are now.
function documents.update(services) list, index = services, nil end

local function make_index()
  local made = {}
  for _, service in ipairs(list) do
    local space = made[service.namespace] or { by_name = {}, list = {} }
    made[service.namespace] = space
    space.by_name[service.name] = service
    table.insert(space.list, service)
  end
  return made
end

local function space_of(namespace)
  index = index or make_index()
  return index[namespace] or { by_name = {}, list = {} }
end

local function number_of(service)
  if not numbers[service] then
    last_number = last_number + 1
    numbers[service] = last_number
  end
  return numbers[service]
end

-- ---- parts

local cache = {} -- key -> { service, part, used }
local cached, clock = 0, 0
local flights = {} -- key -> { service, landed = channel }

local function make_room()
  local entries = {}
  for key, entry in pairs(cache) do table.insert(entries, { key = key, entry = entry }) end
  table.sort(entries, function(a, b) return a.entry.used < b.entry.used end)
  for _, found in ipairs(entries) do
    if cached <= CACHE_SIZE * 3 / 4 then return end
    cached = cached - found.entry.part.size
    cache[found.key] = nil
  end
end

local function keep(key, service, part)
  if cache[key] then cached = cached - cache[key].part.size end
  clock = clock + 1
  cache[key] = { service = service, part = part, used = clock }
  cached = cached + part.size
  if cached > CACHE_SIZE then make_room() end
end

local function make_part(service, audience)
  local answer = { descriptors = "", protos = {} }
  if service.endpoints[1] then
    answer = mica.client("registry").GetContract { name = service.name, version = service.version }
  end
  return parts.make(service, answer, audience)
end

local function fly(key, service, audience)
  local landed = mica.channel()
  flights[key] = { service = service, landed = landed }
  local ok, part = pcall(make_part, service, audience)
  flights[key] = nil
  landed:close()
  if not ok then error(part, 0) end
  keep(key, service, part)
  return part
end

local function part_of(service, audience)
  local key = table.concat({ service.namespace, service.name, service.version, audience }, "\0")
  while true do
    local entry, flight = cache[key], flights[key]
    if entry and entry.service == service then
      clock = clock + 1
      entry.used = clock
      return entry.part
    end
    if not (flight and flight.service == service) then return fly(key, service, audience) end
    flight.landed:recv() -- it may have failed, or its asker may have gone: then this one makes it
  end
end

-- ---- documents

local function audience_of(ctx) return ctx.account and "all" or "public" end

local function tag_of(ctx, services)
  local words = { started, audience_of(ctx), ctx.namespace }
  for _, service in ipairs(services) do table.insert(words, number_of(service)) end
  return mica.crypto.hex(mica.crypto.sha256(table.concat(words, " ")):sub(1, 12))
end

-- Gathers small pieces; `flush` sends what is left.
local function gathering(send)
  local pieces, size = {}, 0
  local function flush()
    if size > 0 then send(table.concat(pieces)) end
    pieces, size = {}, 0
  end
  return function(text)
    table.insert(pieces, text)
    size = size + #text
    if size >= MORE then flush() end
  end, flush
end

---@class openapi.Document
---@field tag string changes when the document does
---@field write fun(send: fun(text: string)) makes it and sends it in pieces; may wait

-- The parts of services one after the other. What has gone meanwhile, or has not got its contract yet, is left out.
local function parts_of(services, audience)
  local at = 0
  return function()
    while true do
      at = at + 1
      local service = services[at]
      if not service then return nil end
      if at % SLICE == 0 then mica.sleep(0) end -- others have their turn
      local ok, part = pcall(part_of, service, audience)
      if ok then return part end
      mica.log.warn("a service is left out of the document", { service = service.name, reason = tostring(part) })
    end
  end
end

local under_way = 0

-- Counts a request until it ends.
local function admit(ctx)
  if under_way >= AT_A_TIME then
    error(errors.resource_exhausted("%d documents are being read already: try again soon", AT_A_TIME))
  end
  under_way = under_way + 1
  ctx:defer(function() under_way = under_way - 1 end)
end

local function new_document(ctx, options, services)
  local audience = audience_of(ctx)
  admit(ctx)
  options.namespace = ctx.namespace
  local made = { tag = tag_of(ctx, services) }
  options.version = options.version or made.tag
  function made.write(send)
    local add, flush = gathering(send)
    document.write(options, parts_of(services, audience), add)
    flush()
  end
  return made
end

--- The document of all services of the caller's namespace; RESOURCE_EXHAUSTED when too many are being read.
---@param ctx mica.Context
---@return openapi.Document
function documents.of_namespace(ctx)
  local shown = {}
  for _, service in ipairs(space_of(ctx.namespace).list) do
    if parts.has_any(service, audience_of(ctx)) then table.insert(shown, service) end
  end
  local description = ("The services of namespace %s."):format(ctx.namespace)
  return new_document(ctx, { title = ctx.namespace, description = description }, shown)
end

local function find(ctx, name, version)
  local service = space_of(ctx.namespace).by_name[name] or space_of(PLATFORM).by_name[name]
  if not service then error(errors.not_found("no service %q in namespace %q", name, ctx.namespace)) end
  if version == "" or version == service.version then return service end
  for _, other in ipairs(mica.client("registry").GetService({ name = name }).services) do
    if other.version == version then return other end
  end
  error(errors.not_found("no service %s@%s in namespace %q", name, version, ctx.namespace))
end

--- The document of one service.
---@param ctx mica.Context
---@param name string
---@param version string empty: the one that answers calls without a version
---@return openapi.Document
function documents.of_service(ctx, name, version)
  local service = find(ctx, name, version)
  local audience = audience_of(ctx)
  if audience == "public" and not parts.has_any(service, audience) then
    error(errors.unauthenticated "an account is required")
  end
  part_of(service, audience) -- what is wrong with it is said now
  return new_document(ctx, { title = name, version = service.version, description = service.description }, { service })
end

return documents
