-- SPDX-License-Identifier: Apache-2.0
-- core.definition: checks what main.lua returned against the contract, and gives what the core runs.
--
-- Everything wrong is an error that stops the deployment and names file and line. The stack cannot tell the line (main.lua
-- has returned), so `place` looks for the words in its text; a fault that stands in another file is told at mica.service.
-- This chunk is loaded for one call and not kept.
local core = ...
local suggest = core.use("mica.suggest")
local units = core.use("mica.units")
local sorted = core.use("mica.sorted")

-- ---- faults --------------------------------------------------------------------------------------------------------------

local function first_line(pattern, after)
  local text = core.file("main.lua") or ""
  local number = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if number >= after and line:find(pattern) then return number end
  end
end

local function escaped(word) return (word:gsub("%W", "%%%0")) end

-- "main.lua:12: ", where a word is a key, a text or the end of a function's name.
local function place(word)
  local start = first_line("mica%.service%f[^%w_]", 1) or 1
  local line
  if word then
    local w = escaped(word)
    line = first_line("%f[%w_]" .. w .. "%s*=", start) or first_line('["\']' .. w .. '["\']', start)
      or first_line("function%s+[%w_.:]*[.:]" .. w .. "%s*%(", 1) or first_line("[.]" .. w .. "%s*=", 1)
  end
  return ("main.lua:%d: "):format(line or start)
end

local function fail(word, fmt, ...)
  error(place(word) .. fmt:format(...), 0)
end

local function check_keys(what, t, known)
  for key in sorted(t) do
    if not known[key] then
      fail(tostring(key), '%s has no key "%s"%s', what, tostring(key), suggest.hint(key, known))
    end
  end
end

local function want(value, kind, word, what)
  if value ~= nil and type(value) ~= kind then fail(word, "%s must be a %s, got %s", what, kind, type(value)) end
  return value
end

local function want_list(value, word, what)
  want(value, "table", word, what)
  for key, item in sorted(value or {}) do
    if type(key) ~= "number" or type(item) ~= "string" then fail(word, "%s must be a list of strings", what) end
  end
  return value
end

local function duration(value, word, what)
  if value == nil then return nil end
  local seconds, fault = units.duration(value)
  if not seconds then fail(word, "%s: %s", what, fault) end
  return seconds
end

local function size(value, word, what)
  if value == nil then return nil end
  local bytes, fault = units.size(value)
  if not bytes then fail(word, "%s: %s", what, fault) end
  return bytes
end

local function count(value, word, what)
  if value ~= nil and (type(value) ~= "number" or value < 0 or value ~= math.floor(value)) then
    fail(word, "%s must be a whole number, 0 or more", what)
  end
  return value
end

local function share(value, word, what)
  if value ~= nil and (type(value) ~= "number" or value <= 0) then fail(word, "%s must be a number above 0", what) end
  return value
end

-- ---- keys ----------------------------------------------------------------------------------------------------------------

local KEYS = { name = true, handlers = true, public = true, endpoints = true, http = true, events = true, schedule = true,
  topics = true, config = true, uses = true, json = true, limits = true, wrap = true, on_start = true, on_stop = true,
  on_health = true, on_export = true, on_import = true }

-- To accept and ignore these would be to promise what does not happen.
local UNSUPPORTED = { "events", "schedule", "topics", "config", "on_health", "on_export", "on_import" }

local LIMITS = { memory = size, cpu = duration, share = share, deadline = duration, concurrency = count, queue = count,
  streams = count, timers = count, message = size, body = size, log = size }

local USES = { call = true, http = true, consume = true, publish = true, config = true, dial = true, native = true }

local function check_name(name)
  if name == nil then return end
  want(name, "string", "name", "name")
  if not name:find("^%l[%l%d.-]*$") or name:find("..", 1, true) or name:find("%.$") then
    fail("name", "%q is no name for a service: letters a-z, digits, - and dots, beginning with a letter", name)
  end
end

local function check_limits(limits)
  want(limits, "table", "limits", "limits")
  check_keys("limits", limits or {}, LIMITS)
  local parsed = {}
  for key, value in sorted(limits or {}) do parsed[key] = LIMITS[key](value, key, "limits." .. key) end
  return parsed
end

local function check_uses(uses)
  want(uses, "table", "uses", "uses")
  check_keys("uses", uses or {}, USES)
  for key, list in sorted(uses or {}) do want_list(list, key, "uses." .. key) end
end

-- Which addresses may be dialled: function(address) -> boolean. "*" stands for all, within an address for anything but ":".
local function dial_grants(list)
  local exact, patterns = {}, {}
  for _, granted in ipairs(list) do
    exact[granted] = true
    if granted:find("*", 1, true) then
      patterns[#patterns + 1] = granted == "*" and "" or "^" .. escaped(granted):gsub("%%%*", "[^:]*") .. "$"
    end
  end
  return function(address)
    if exact[address] then return true end
    for _, pattern in ipairs(patterns) do
      if address:find(pattern) then return true end
    end
    return false
  end
end

-- nil: none. What main.lua has dialled while it was loaded must be among them.
local function check_dials(uses)
  local granted = uses and uses.dial and dial_grants(uses.dial)
  for _, address in ipairs(core.dialled or {}) do
    if not (granted and granted(address)) then
      fail(nil, '"%s" is dialled, but the definition does not say so: uses = { dial = { "%s" } }', address, address)
    end
  end
  return granted
end

local function check_json(json)
  want(json, "table", "json", "json")
  check_keys("json", json or {}, { names = true, defaults = true, int64 = true })
  if not json then return end
  if json.names ~= nil and json.names ~= "camel" then fail("names", 'json.names can only be "camel"') end
  if json.int64 ~= nil and json.int64 ~= "number" then fail("int64", 'json.int64 can only be "number"') end
  want(json.defaults, "boolean", "defaults", "json.defaults")
end

local function check_wrap(wrap)
  want(wrap, "table", "wrap", "wrap")
  for key, fn in sorted(wrap or {}) do
    if type(key) ~= "number" or type(fn) ~= "function" then
      fail("wrap", "wrap must be a list of functions: { function(ctx, req, next) return next() end }")
    end
  end
  return wrap or {}
end

-- ---- the contract --------------------------------------------------------------------------------------------------------

local function add_methods(c, service)
  for _, method in ipairs(service.methods) do
    service.by_name[method.name] = method
    method.service, method.endpoint = service, service.shown .. "." .. method.name
    c.methods[method.endpoint], c.methods[service.full_name .. "." .. method.name] = method, method
    c.names[#c.names + 1] = method.endpoint
  end
end

-- The contract by what authors call things: services and methods by short name (where only one has it) and by full name.
local function read_contract()
  local c = { services = {}, ambiguous = {}, methods = {}, list = {}, names = {} }
  for _, service in ipairs(core.contract()) do
    c.list[#c.list + 1] = service
    if c.services[service.name] then c.ambiguous[service.name] = true end
    c.services[service.name] = service
  end
  for _, service in ipairs(c.list) do
    c.services[service.full_name] = service
    service.by_name = {}
    service.shown = c.ambiguous[service.name] and service.full_name or service.name
    add_methods(c, service)
  end
  return c
end

local function find_service(c, name)
  if c.ambiguous[name] then
    fail(name, 'handlers: several proto services are called "%s": write the full name, such as ["package.%s"]', name, name)
  end
  local service = c.services[name]
  if not service then
    fail(name, 'handlers: the contract has no service "%s"%s', tostring(name), suggest.hint(name, c.services))
  end
  return service
end

local function find_method(c, name, what)
  local method = c.methods[name]
  if not method then
    fail(tostring(name), '%s: the contract has no endpoint "%s"%s', what, tostring(name), suggest.hint(name, c.names))
  end
  return method
end

local function check_handlers(c, handlers)
  if handlers == nil and c.http then return end -- a service may speak nothing but HTTP
  if handlers == nil then fail(nil, "mica.service wants handlers: { %s = { ... } }", c.list[1] and c.list[1].name or "Name") end
  want(handlers, "table", "handlers", "handlers")
  for name, functions in sorted(handlers) do
    local service = find_service(c, name)
    want(functions, "table", service.name, "handlers." .. tostring(name))
    if service.handlers then fail(name, 'handlers: the service "%s" stands there twice', service.full_name) end
    service.handlers = functions
    for method, fn in sorted(functions) do
      if not service.by_name[method] then
        fail(tostring(method), 'the service "%s" has no method "%s"%s', service.full_name, tostring(method),
          suggest.hint(method, service.by_name))
      end
      want(fn, "function", method, "handlers." .. name .. "." .. method)
    end
  end
end

-- In a service that dials, a .proto file none of whose services has a handler is the contract of another server: its
-- methods are none of ours. (Where nothing at all has a handler, that was most likely forgotten.)
local function disown_others(c, uses)
  local own, list = {}, {}
  if not (uses and uses.dial and uses.dial[1]) then return end
  for _, service in ipairs(c.list) do
    if service.handlers then own[service.file] = true end
  end
  if not next(own) then return end
  for _, service in ipairs(c.list) do
    if own[service.file] then list[#list + 1] = service else core.disown(service.file) end
  end
  c.list, c.methods, c.names = list, {}, {}
  for _, service in ipairs(list) do add_methods(c, service) end
end

local function warnings(c)
  local list = {}
  for _, service in ipairs(c.list) do
    for _, method in ipairs(service.methods) do
      if not (service.handlers and service.handlers[method.name]) then
        list[#list + 1] = ("%s has no handler: it answers UNIMPLEMENTED"):format(method.endpoint)
      end
    end
  end
  return list
end

-- c.http: a list of { key, handler, public }; nil: there is none. c.routes: the module that knows of them.
local function check_http(c, http)
  if http == nil then return end
  c.routes = core.library("mica.web_routes")(core)
  c.http = c.routes.check(http, fail)
end

local function check_public(c, public)
  if public == nil then return end
  if public == true then
    for _, method in pairs(c.methods) do method.public = true end
    if c.http then c.routes.publish(c.http, true, fail) end
    return
  end
  if type(public) ~= "table" then fail("public", 'public must be true, or a list of endpoints: { "Posts.Query" }') end
  for _, name in ipairs(want_list(public, "public", "public")) do
    if name:find(" /", 1, true) then
      if not c.http then fail(name, 'public: "%s" is a route over HTTP, but there is no http = { ... }', name) end
      c.routes.publish(c.http, name, fail)
    else
      find_method(c, name, "public").public = true
    end
  end
end

local ENDPOINT_KEYS = { validate = true, deadline = true, cache = true, hidden = true, path = true, affinity = true,
  empty = true, event_id = true, resume = true }

-- What can be the id of an event, as text in a header.
local ID_TYPES = { string = true, int32 = true, int64 = true, uint32 = true, uint64 = true, sint32 = true, sint64 = true,
  fixed32 = true, fixed64 = true, sfixed32 = true, sfixed64 = true }

-- endpoints["Chat.History"].event_id and .resume: a field of its response, and one of its request.
local function check_event(method, options, key, message, what)
  local name = want(options[key], "string", key, what .. "." .. key)
  if not name then return nil end
  if not method.server_streaming or method.client_streaming then
    fail(key, "%s.%s: only an endpoint that answers one message with a stream has events", what, key)
  end
  local names = {}
  for _, field in ipairs(core.fields(message) or {}) do
    names[field.name] = true
    if field.name == name then
      if field.repeated or not ID_TYPES[field.type] then
        fail(key, '%s.%s: the field "%s" of %s is no single text or whole number', what, key, name, message)
      end
      return name
    end
  end
  fail(key, '%s.%s: %s has no field "%s"%s', what, key, message, name, suggest.hint(name, names))
end

local function check_endpoints(c, endpoints)
  want(endpoints, "table", "endpoints", "endpoints")
  for name, options in sorted(endpoints or {}) do
    local method = find_method(c, name, "endpoints")
    local what = ('endpoints["%s"]'):format(name)
    want(options, "table", name, what)
    check_keys(what, options, ENDPOINT_KEYS)
    method.deadline = duration(options.deadline, "deadline", what .. ".deadline")
    duration(options.cache, "cache", what .. ".cache")
    method.hidden = want(options.hidden, "boolean", "hidden", what .. ".hidden")
    method.path_option, method.empty = options.path, options.empty
    if method.empty ~= nil and method.empty ~= 204 then fail("empty", "%s.empty can only be 204", what) end
    want(options.affinity, "string", "affinity", what .. ".affinity")
    method.event_id = check_event(method, options, "event_id", method.output, what)
    method.resume = check_event(method, options, "resume", method.input, what)
    if method.resume and not method.event_id then
      fail("resume", "%s.resume needs event_id: the field of each message whose value comes back", what)
    end
    method.rules = want(options.validate, "table", "validate", what .. ".validate")
    if method.rules and method.client_streaming then
      fail(name, "%s.validate: a method that takes a stream cannot be validated before it runs", what)
    end
  end
end

-- An answer "is empty" when it would be {} or null: where a response has fields these are printed, and it never is.
local function check_empty(c, json)
  for _, method in pairs(c.methods) do
    local always = #(core.fields(method.output) or {}) > 0 and not (json and json.defaults == false)
    for _, rule in ipairs(method.http) do always = always and rule.response_body == "" end
    if method.empty and (always or method.server_streaming) then
      fail("empty", 'endpoints["%s"].empty: an answer of %s is never empty, since it %s', method.endpoint, method.output,
        method.server_streaming and "is a stream" or "prints its fields")
    end
  end
end

-- ---- what runs -----------------------------------------------------------------------------------------------------------

local function validated(method, handler)
  local check, fault = core.use("mica.validate").compile(method.input, method.rules)
  if not check then fail(fault.field, 'endpoints["%s"].validate: %s', method.endpoint, fault.text) end
  return function(ctx, req, stream)
    check(req)
    return handler(ctx, req, stream)
  end
end

local function wrapped(wrapper, handler)
  return function(ctx, req, stream)
    return wrapper(ctx, req, function() return handler(ctx, req, stream) end)
  end
end

local function wrapped_stream(wrapper, handler)
  return function(ctx, stream)
    return wrapper(ctx, nil, function() return handler(ctx, stream) end)
  end
end

local function wrapped_by(wrap, handler, around)
  for i = #wrap, 1, -1 do handler = around(wrap[i], handler) end
  return handler
end

-- Without rules and wrappers this is the author's own function.
local function compose(method, handler, wrap)
  if method.rules and next(method.rules) then handler = validated(method, handler) end
  return wrapped_by(wrap, handler, method.client_streaming and wrapped_stream or wrapped)
end

local function build_http(c, wrap, limits)
  if not c.http then return nil end
  return c.routes.build(c.http, function(handler) return wrapped_by(wrap, handler, wrapped) end, limits.body)
end

local function build(c, wrap)
  local handlers, deadlines = {}, {}
  for _, service in ipairs(c.list) do
    for _, method in ipairs(service.methods) do
      local handler = service.handlers and service.handlers[method.name]
      if handler then handlers[method.index] = compose(method, handler, wrap) end
      deadlines[method.index] = method.deadline
    end
  end
  return handlers, deadlines
end

local function check(def)
  if core.service_mt == nil or getmetatable(def) ~= core.service_mt then
    error(("main.lua:%d: main.lua must return mica.service { ... }, it returned %s"):format(
      first_line("mica%.service%f[^%w_]", 1) or 1, def == nil and "nothing" or "a " .. type(def)), 0)
  end
  check_keys("mica.service", def, KEYS)
  for _, key in ipairs(UNSUPPORTED) do
    if def[key] ~= nil then fail(key, 'mica.service: "%s" is not supported by this version', key) end
  end
  check_name(def.name)
  check_uses(def.uses)
  check_json(def.json)
  want(def.on_start, "function", "on_start", "on_start")
  want(def.on_stop, "function", "on_stop", "on_stop")
  local c = read_contract()
  check_http(c, def.http)
  check_handlers(c, def.handlers)
  disown_others(c, def.uses)
  check_public(c, def.public)
  check_endpoints(c, def.endpoints)
  local methods = {}
  for _, service in ipairs(c.list) do
    for _, method in ipairs(service.methods) do table.insert(methods, method) end
  end
  core.library("mica.http_rules")(core)(methods, fail)
  check_empty(c, def.json)
  return c, check_limits(def.limits), check_wrap(def.wrap), check_dials(def.uses)
end

local M = {}

local function describe(def)
  local c, limits = check(def)
  return core.library("mica.describe")(core) {
    name = def.name or core.service, services = c.list, http = c.http, limits = limits, warnings = warnings(c),
    json = def.json,
  }
end
M.describe = describe

-- `describe` reads the definition once more, so that a VM that is never asked holds nothing for it.
function M.read(def)
  local c, limits, wrap, dials = check(def)
  core.dials = dials
  local handlers, deadlines = build(c, wrap)
  return {
    handlers = handlers,
    deadlines = deadlines,
    http = build_http(c, wrap, limits),
    limits = limits,
    on_start = def.on_start,
    on_stop = def.on_stop,
    describe = function() return core.library("mica.definition")(core).describe(def) end,
  }
end

return M
