-- SPDX-License-Identifier: Apache-2.0
-- Calls to other services: stubs (mica.client "posts"), calls by names known at run time, other servers, the core's own
-- services (mica.native).
--
-- A method is a function made when its name is first read from the stub. It asks for its target at every call: core.resolve
-- answers from a table, and only so does a call follow a service that has been replaced.
local core = ...
local errors = core.use("mica.errors")
local suggest = core.use("mica.suggest")
local streams = core.use("mica.stream")
local attempts = core.use("mica.attempts")
local received, pause = errors.received, attempts.pause

local error, type, rawset, setmetatable = error, type, rawset, setmetatable
local call, current = core.call, core.current

---@class mica.client
---@overload fun(service: string, group?: string): table<string, function>
local M = {}

---@class mica.CallOptions
---@field timeout? mica.Duration
---@field retries? integer 2: again when the service is UNAVAILABLE and the call did not begin, or may be repeated
---@field metadata? table<string, string|string[]>
---@field version? string
---@field as? "service" leave the user's account behind
---@field compress? boolean what is sent, where it leaves this server
---@field wait? true|mica.Duration for an instance when none runs, for a server that cannot be reached
---@field info? table of a unary call: gets `header` and `trailer`, the response metadata, also when the call fails

local OPTIONS = { timeout = true, retries = true, metadata = true, version = true, as = true, wait = true, info = true,
  compress = true }

-- ---- options ------------------------------------------------------------------------------------------------------------

local function duration(value, what)
  local seconds, fault = core.use("mica.units").duration(value)
  if not seconds then error(what .. ": " .. fault, 4) end
  return seconds
end

-- What C wants of the options, and what the attempts below want. Errors are told where the method is called.
local function read_options(opts)
  if type(opts) ~= "table" then error("the options of a call are a table, such as { timeout = \"2s\" }", 3) end
  suggest.check_keys("a call", opts, OPTIONS, 4)
  if opts.as ~= nil and opts.as ~= "service" then error('the option "as" of a call can only be "service"', 3) end
  if opts.compress ~= nil and type(opts.compress) ~= "boolean" then
    error('the option "compress" of a call is true or false', 3)
  end
  local info, retries = opts.info, opts.retries
  if info ~= nil and type(info) ~= "table" then error('the option "info" of a call is a table to fill in', 3) end
  if retries ~= nil and (type(retries) ~= "number" or retries < 0) then
    error('the option "retries" of a call is a number, 0 or more', 3)
  end
  local o = { version = opts.version, retries = retries or attempts.RETRIES, info = info }
  if opts.wait then
    o.wait, o.started = opts.wait == true and math.huge or duration(opts.wait, "wait"), core.monotonic()
  end
  o.core = {
    timeout = opts.timeout and duration(opts.timeout, "timeout"),
    metadata = opts.metadata,
    as_service = opts.as == "service" or nil,
    info = info ~= nil or nil,
    compress = opts.compress,
  }
  if o.core.timeout then o.ends = core.monotonic() + o.core.timeout end
  return o
end

local DEFAULTS = { retries = attempts.RETRIES }

-- What a dialled stub adds to all calls.
local function with_defaults(method, o)
  local defaults = method.defaults
  if not defaults and not (method.dialled and o.version) then return o end
  if o == DEFAULTS then o = { retries = o.retries, core = {} } end
  if defaults then
    o.core.namespace = defaults.namespace
    o.core.metadata = core.use("mica.dial").merge(defaults.metadata, o.core.metadata)
  end
  if o.version then o.core.metadata = core.use("mica.dial").merge(o.core.metadata, { ["mica-version"] = o.version }) end
  return o
end

-- ---- calls --------------------------------------------------------------------------------------------------------------

-- Whose errors these are.
local function raise(method, code, message, id, details)
  error(received(method.from or method.service, code, message, id or method.id, details), 0)
end

-- Where the method's calls go, its shape, and the number of the attempt. A service that does not run (yet) is asked for again.
local function find_target(method, o, attempt)
  while true do
    local target, shape, third = method.resolve(method.service, method.name, o.version)
    if target then
      method.idempotent = third == true
      return target, shape, attempt
    end
    if shape ~= "UNAVAILABLE" and method.misuse then error(third, 0) end
    if not pause(o, attempt, false, shape, "unbegun") then raise(method, shape, third) end
    attempt = attempt + 1
  end
end

local try_unary

-- `first` is the response, or the code of the failure.
local function answer(method, request, o, attempt, ok, first, message, id, details, again, pushback, header, trailer)
  if o.info then o.info.header, o.info.trailer = header or {}, trailer or {} end
  if ok then return first end
  if not pause(o, attempt, method.idempotent, first, again, pushback) then raise(method, first, message, id, details) end
  return try_unary(method, request, o, attempt + 1)
end

function try_unary(method, request, o, attempt)
  local target, shape, now = find_target(method, o, attempt)
  if shape ~= "unary" then
    error(("%s.%s is a stream: use mica.client.stream"):format(method.service, method.name), 0)
  end
  local options = o.core
  if now > 0 then options = attempts.options(o) end
  return answer(method, request, o, now, call(target, request, options))
end

-- Begins a stream again that has come to nothing so far; false: it stays as it is.
local function again(stream, opened, code, hint, pushback)
  local method, o = opened.method, opened.o
  while pause(o, opened.attempt, method.idempotent and hint == "unseen", code, hint, pushback) do
    local target, _, attempt = find_target(method, o, opened.attempt + 1)
    opened.attempt = attempt
    local ok, message, id, details
    ok, code, message, id, details, hint, pushback = core.reopen(stream, target, opened.request, attempts.options(o))
    if ok then return true end
    if ok == nil then return false end
    if not hint then raise(method, code, message, id, details) end
  end
  return false
end

local function open(method, request, o)
  if o.info then error("a stream has header() and trailer(): the option \"info\" is for unary calls", 3) end
  local target, shape, attempt = find_target(method, o, 0)
  local opened = { from = method.from or method.service, id = method.id, method = method, o = o, attempt = attempt,
    again = again }
  if shape == "server" then opened.request = request or {} end
  return streams.open(opened, target, opened.request, o.core)
end

-- ---- stubs --------------------------------------------------------------------------------------------------------------

local function check_request(method, request, stub)
  if not current() then -- the core refuses this too; here the message can name the author's line
    error(("main.lua declares, handlers act: %s.%s cannot be called while it is loaded"):format(
      method.service, method.name), 3)
  end
  if stub ~= nil and request == stub then
    error(("write %s(request) with a dot: the stub is no argument"):format(method.name:match("[^.]+$")), 3)
  end
  if request ~= nil and type(request) ~= "table" then
    error(("%s.%s wants a request table, got %s"):format(method.service, method.name, type(request)), 3)
  end
end

local function new_function(method, stub)
  return function(request, opts)
    check_request(method, request, stub)
    local target, shape, idempotent = method.resolve(method.service, method.name)
    if not target then
      shape = select(2, find_target(method, with_defaults(method, opts == nil and DEFAULTS or read_options(opts)), 0))
    end
    if shape == "unary" then
      if opts ~= nil or not target or method.defaults then
        return try_unary(method, request or {}, with_defaults(method, opts == nil and DEFAULTS or read_options(opts)), 0)
      end
      method.idempotent = idempotent == true
      return answer(method, request or {}, DEFAULTS, 0, call(target, request or {}))
    end
    if shape ~= "server" then
      if opts ~= nil then error(("%s.%s sends a stream: its only argument is options"):format(method.service, method.name), 2) end
      request, opts = nil, request
    end
    return open(method, request, with_defaults(method, opts == nil and DEFAULTS or read_options(opts)))
  end
end

local stub_mt = {}
local about_stubs = setmetatable({}, { __mode = "k" }) -- beside the stubs, whose keys are methods

function stub_mt.__index(stub, name)
  local about = about_stubs[stub]
  if type(name) ~= "string" then error("a stub is indexed with the names of methods", 2) end
  local full = about.prefix .. name
  local method = { resolve = about.resolve, service = about.service, name = full, misuse = about.misuse,
    from = about.from, defaults = about.defaults, dialled = about.dialled }
  if about.methods then
    method.id = about.service .. "." .. name -- of errors that do not say whose they are
    if not about.methods[name] then
      error(('the proto service "%s" has no method "%s"%s'):format(about.service, name, suggest.hint(name, about.methods)), 2)
    end
  elseif current() then -- not while main.lua loads: services come and go after it
    local target, code, message = about.resolve(about.service, full)
    if not target and code ~= "UNAVAILABLE" then
      error(about.misuse and message or received(about.service, code, message), 2)
    end
  end
  local fn = new_function(method, stub)
  rawset(stub, name, fn)
  return fn
end

function stub_mt.__newindex(_, name)
  error(("a stub is not a place to keep things: write local %s"):format(tostring(name)), 2)
end

local function new_stub(about)
  local stub = {}
  about_stubs[stub] = about
  return setmetatable(stub, stub_mt)
end

-- "blog-posts" -> "BlogPosts", "v1.foo" -> "Foo"
local function camel(service)
  return (service:match("[^.]+$"):gsub("^%l", string.upper):gsub("%-(.?)", string.upper))
end

local function check_service(service, level)
  if type(service) ~= "string" or not service:find("^%l[%l%d.-]*$") or not service:find("[^.]$") then
    error('mica.client wants the name of a service, such as "posts"', level + 1)
  end
end

-- `group` may be a proto service's short or full name.
local function new_client(_, service, group)
  check_service(service, 2)
  if group ~= nil and type(group) ~= "string" then error("the group of a client is the name of a proto service", 2) end
  return new_stub { resolve = core.resolve, service = service, prefix = (group or camel(service)) .. "." }
end

--- A stub for one of the core's own services; the service needs the capability.
---@param capability string
---@return table<string, function>
function M.native(capability)
  if type(capability) ~= "string" then error('mica.native wants the name of a capability, such as "routes"', 2) end
  return new_stub { resolve = core.native, service = capability, prefix = "", misuse = true }
end

local function method_of(what, service, name)
  check_service(service, 3)
  if type(name) ~= "string" or not name:find("^[%w_.]+%.[%w_]+$") then
    error(('mica.client.%s wants an endpoint, such as "Posts.Read"'):format(what), 3)
  end
  return { resolve = core.resolve, service = service, name = name }
end

--- A call of a unary method by names known at run time.
---@param service string
---@param name string "Posts.Read"
---@param request? table
---@param opts? mica.CallOptions
---@return table
function M.call(service, name, request, opts)
  local method = method_of("call", service, name)
  check_request(method, request)
  return try_unary(method, request or {}, opts == nil and DEFAULTS or read_options(opts), 0)
end

--- Opens a stream by names known at run time. `request` is left out where the method takes a stream.
---@param service string
---@param name string
---@param request? table
---@param opts? mica.CallOptions
---@return mica.Stream
function M.stream(service, name, request, opts)
  local method = method_of("stream", service, name)
  check_request(method, request)
  local o = opts == nil and DEFAULTS or read_options(opts)
  local _, shape = find_target(method, o, 0)
  if shape == "unary" then error(("%s.%s is no stream: use mica.client.call"):format(service, name), 2) end
  return open(method, request, o)
end

-- ---- other servers ------------------------------------------------------------------------------------------------------

---@class mica.DialOptions
---@field proto? string the server's proto service ("weather.Weather"), or the file in proto/ that holds it
---@field json? true instead of a contract: messages are JSON texts
---@field metadata? table<string, string|string[]> of all calls
---@field namespace? string of another Mica
---@field tls? true|mica.DialTls

---@class mica.DialTls how the server is known, and who calls; PEM texts
---@field ca? string who vouches for the server; default: those whom the system trusts
---@field cert? string the caller's certificate, with its chain
---@field key? string its private key
---@field name? string whom the server's certificate must be for; default: the address's host

--- gRPC servers elsewhere; the addresses stand in uses.dial. With `proto` it gives a stub, as mica.client does.
---@param addresses string|string[] "weather:50051"; calls are spread over several
---@param opts mica.DialOptions
---@return table<string, function>|mica.Dialled
function M.dial(addresses, opts)
  return core.use("mica.dial").dial({ new_stub = new_stub, read_options = read_options }, addresses, opts)
end

return setmetatable(M, { __call = new_client })
