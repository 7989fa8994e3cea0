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
local received, check = errors.received, errors.check

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
---@field wait? true|mica.Duration for an instance, when none runs

local OPTIONS = { timeout = true, retries = true, metadata = true, version = true, as = true, wait = true }
local RETRIES = 2

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
  local o = { version = opts.version, retries = opts.retries or RETRIES }
  if opts.wait then o.wait = opts.wait == true and math.huge or duration(opts.wait, "wait") end
  o.core = {
    timeout = opts.timeout and duration(opts.timeout, "timeout"),
    metadata = opts.metadata,
    as_service = opts.as == "service" or nil,
  }
  return o
end

local DEFAULTS = { retries = RETRIES }

-- ---- attempts -----------------------------------------------------------------------------------------------------------

-- Waits 50 ms, then 100 and so on, a bit more or less so that callers do not come back all at once.
local function back_off(attempt)
  local random = core.random(1):byte() / 255
  check(core.sleep(math.min(0.05 * 2 ^ attempt, 2) * (0.5 + random)))
end

-- Where the method's calls go. A service that does not run (yet) is asked for again: nothing has begun.
local function find_target(method, o)
  local attempt, started = 0, nil
  while true do
    local target, shape, third = method.resolve(method.service, method.name, o.version)
    if target then
      method.idempotent = third == true
      return target, shape
    end
    local code, message = shape, third
    if code ~= "UNAVAILABLE" then error(method.misuse and message or received(method.service, code, message), 0) end
    started = started or core.monotonic()
    if attempt >= o.retries and not (o.wait and core.monotonic() - started < o.wait) then
      error(received(method.service, code, message), 0)
    end
    back_off(math.min(attempt, 5))
    attempt = attempt + 1
  end
end

local try_unary

-- `first` is the response, or the code of the failure.
local function answer(method, request, o, attempt, ok, first, ...)
  if ok then return first end
  if first == "UNAVAILABLE" and method.idempotent and attempt < o.retries then
    back_off(attempt)
    return try_unary(method, request, o, attempt + 1)
  end
  error(received(method.service, first, ...), 0)
end

function try_unary(method, request, o, attempt)
  local target, shape = find_target(method, o)
  if shape ~= "unary" then
    error(("%s.%s is a stream: use mica.client.stream"):format(method.service, method.name), 0)
  end
  return answer(method, request, o, attempt, call(target, request, o.core))
end

local function open(method, request, opts, takes_request)
  local o = opts == nil and DEFAULTS or read_options(opts)
  local target = find_target(method, o)
  return streams.open(method.service, target, takes_request and (request or {}) or nil, o.core)
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
    if not target then shape = select(2, find_target(method, opts == nil and DEFAULTS or read_options(opts))) end
    if shape == "unary" then
      if opts ~= nil or not target then
        return try_unary(method, request or {}, opts == nil and DEFAULTS or read_options(opts), 0)
      end
      method.idempotent = idempotent == true
      return answer(method, request or {}, DEFAULTS, 0, call(target, request or {}))
    end
    if shape == "server" then return open(method, request, opts, true) end
    if opts ~= nil then error(("%s.%s sends a stream: its only argument is options"):format(method.service, method.name), 2) end
    return open(method, nil, request, false)
  end
end

local stub_mt = {}
local about_stubs = setmetatable({}, { __mode = "k" }) -- beside the stubs, whose keys are methods

function stub_mt.__index(stub, name)
  local about = about_stubs[stub]
  if type(name) ~= "string" then error("a stub is indexed with the names of methods", 2) end
  local full = about.prefix .. name
  local method = { resolve = about.resolve, service = about.service, name = full, misuse = about.misuse }
  if current() then -- not while main.lua loads: services come and go after it
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
  local target, shape = find_target(method, o)
  if shape == "unary" then error(("%s.%s is no stream: use mica.client.call"):format(service, name), 2) end
  return streams.open(service, target, shape == "server" and (request or {}) or nil, o.core)
end

-- ---- other servers ------------------------------------------------------------------------------------------------------

---@class mica.Dialled a gRPC server at an address; requests and answers are JSON texts
local Dialled = {}
Dialled.__index = Dialled

local DIAL_OPTIONS = { json = true, metadata = true, namespace = true, tls = true }

---@class mica.DialTls how the server is known, and who calls; PEM texts
---@field ca? string who vouches for the server; default: those whom the system trusts
---@field cert? string the caller's certificate, with its chain
---@field key? string its private key
---@field name? string whom the server's certificate must be for; default: the address's host

local TLS_OPTIONS = { ca = true, cert = true, key = true, name = true }

-- What core.dial takes for the option `tls`.
local function dial_tls(tls)
  if tls == nil or tls == false then return nil end
  if tls == true then tls = {} end
  if type(tls) ~= "table" then error("mica.client.dial: tls is true or a table, got " .. type(tls), 3) end
  suggest.check_keys("mica.client.dial's tls", tls, TLS_OPTIONS, 4)
  for key, value in pairs(tls) do
    if type(value) ~= "string" then
      error(("mica.client.dial: tls.%s is a text, got %s"):format(key, type(value)), 3)
    end
  end
  if (tls.cert == nil) ~= (tls.key == nil) then error("mica.client.dial: tls.cert and tls.key belong together", 3) end
  return core.tls(tls)
end

--- A gRPC server that speaks JSON texts.
---@param address string "localhost:8081"
---@param opts { json: true, metadata?: table<string, string>, namespace?: string, tls?: true|mica.DialTls }
---@return mica.Dialled
function M.dial(address, opts)
  if type(address) ~= "string" then error('mica.client.dial wants an address, such as "localhost:8081"', 2) end
  if type(opts) ~= "table" or opts.json ~= true then
    error("mica.client.dial wants { json = true }: calls with a contract are not supported by this version", 2)
  end
  suggest.check_keys("mica.client.dial", opts, DIAL_OPTIONS, 3)
  return setmetatable({
    address = address, metadata = opts.metadata, namespace = opts.namespace, tls = dial_tls(opts.tls),
  }, Dialled)
end

local function dial_target(dialled, path, json)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then error('a path is needed, such as "/posts.Posts/Read"', 3) end
  if type(json) ~= "string" then error("the request is a JSON text, got " .. type(json), 3) end
  local target, code, message = core.dial(dialled.address, path, dialled.tls)
  if not target then error(received(dialled.address, code, message), 0) end
  return target
end

-- Besides the options of every call: kind, of a method whose contract is not known here.
local function split_kind(opts)
  local rest = {}
  for key, value in pairs(opts) do
    if key ~= "kind" then rest[key] = value end
  end
  return rest, opts.kind
end

local function dial_options(dialled, opts)
  local kind
  if opts ~= nil then opts, kind = split_kind(opts) end
  local o = opts == nil and {} or read_options(opts).core
  o.namespace, o.kind = dialled.namespace, kind
  if dialled.metadata then
    local all = {}
    for key, value in pairs(dialled.metadata) do all[key] = value end
    for key, value in pairs(o.metadata or {}) do all[key] = value end
    o.metadata = all
  end
  return o
end

--- A unary call.
---@param path string "/posts.Posts/Read"
---@param json string
---@param opts? mica.CallOptions
---@return string
function Dialled:call(path, json, opts)
  local target = dial_target(self, path, json)
  local ok, text, message, id, details = call(target, json, dial_options(self, opts))
  if not ok then error(received(self.address, text, message, id, details), 0) end
  return text
end

--- Opens a stream; the messages are JSON texts. `json` is nil where the method takes a stream. With `kind` ("unary",
--- "server", "client", "bidi") it may be a call of any kind, also one that answers once or never.
---@param path string
---@param json? string
---@param opts? mica.CallOptions
---@return mica.Stream
function Dialled:stream(path, json, opts)
  local target = dial_target(self, path, json or "")
  return streams.open(self.address, target, json, dial_options(self, opts))
end

return setmetatable(M, { __call = new_client })
