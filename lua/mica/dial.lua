-- SPDX-License-Identifier: Apache-2.0
-- mica.client.dial: gRPC servers elsewhere. With a contract (`proto`) they are stubs like any other; without one (`json`) the
-- messages are JSON texts, which is how the command line calls what it learns about at run time.
--
-- A service may dial what its definition names (`uses.dial`). While main.lua loads that is not known yet: what is dialled there
-- is noted in core.dialled, and definition.lua looks it up. The platform's own VMs, which have no namespace, may dial anything.
local core = ...
local attempts = core.use("mica.attempts")
local errors = core.use("mica.errors")
local suggest = core.use("mica.suggest")
local streams = core.use("mica.stream")
local received = errors.received

local M = {}

local OPTIONS = { proto = true, json = true, metadata = true, namespace = true, tls = true }
local TLS_OPTIONS = { ca = true, cert = true, key = true, name = true }

-- ---- addresses ----------------------------------------------------------------------------------------------------------

local function check_address(address, level)
  if type(address) ~= "string" or not address:find(":%d+$") or address:find("[,%s]") then
    error(('mica.client.dial wants an address, such as "localhost:8081", or a list of them; got %s'):format(
      type(address) == "string" and ("%q"):format(address) or type(address)), level + 1)
  end
end

local function check_granted(address, level)
  if not core.current() then
    core.dialled = core.dialled or {}
    core.dialled[#core.dialled + 1] = address
  elseif core.namespace ~= "" and not (core.dials and core.dials(address)) then
    error(('this service may not dial "%s": name it in its definition, uses = { dial = { "%s" } }'):format(
      address, address), level + 1)
  end
end

-- "a:1,b:2", as the core wants them.
local function join(addresses, level)
  local list = type(addresses) == "table" and addresses or { addresses }
  if #list == 0 then error("mica.client.dial wants at least one address", level + 1) end
  for _, address in ipairs(list) do
    check_address(address, level + 1)
    check_granted(address, level + 1)
  end
  return table.concat(list, ",")
end

-- ---- TLS ----------------------------------------------------------------------------------------------------------------

-- What core.dial takes for the option `tls`.
local function tls_of(tls, level)
  if tls == nil or tls == false then return nil end
  if tls == true then tls = {} end
  if type(tls) ~= "table" then error("mica.client.dial: tls is true or a table, got " .. type(tls), level + 1) end
  suggest.check_keys("mica.client.dial's tls", tls, TLS_OPTIONS, level + 2)
  for key, value in pairs(tls) do
    if type(value) ~= "string" then
      error(("mica.client.dial: tls.%s is a text, got %s"):format(key, type(value)), level + 1)
    end
  end
  if (tls.cert == nil) ~= (tls.key == nil) then
    error("mica.client.dial: tls.cert and tls.key belong together", level + 1)
  end
  return core.tls(tls)
end

-- ---- with a contract ----------------------------------------------------------------------------------------------------

local function is_named(service, name)
  if service.full_name == name or service.name == name then return true end
  return name:find("%.proto$") and ("/" .. service.file):sub(-#name - 1) == "/" .. name
end

-- The proto service of a full or short name, or of a file that holds one.
local function find_service(name, level)
  local found, all = {}, {}
  for _, service in ipairs(core.services()) do
    if service.full_name == name then return service end
    if is_named(service, name) then found[#found + 1] = service.full_name; found[service.full_name] = service end
    all[#all + 1] = service.full_name
  end
  if #found == 1 then return found[found[1]] end
  if #found > 1 then
    error(('mica.client.dial: proto = "%s" may be %s: write the full name'):format(name, table.concat(found, " or ")),
      level + 1)
  end
  error(('mica.client.dial: the .proto files of this service have no service "%s"%s: put the server\'s contract into proto/')
    :format(name, suggest.hint(name, all)), level + 1)
end

local function methods_of(service)
  local methods = {}
  for _, method in ipairs(service.methods) do methods[method.name] = method.path end
  return methods
end

-- What new_stub (client.lua) wants to know.
local function about(addresses, opts, tls, level)
  local service = find_service(opts.proto, level + 1)
  local methods = methods_of(service)
  local with_defaults = opts.metadata ~= nil or opts.namespace ~= nil
  return {
    resolve = function(_, name) return core.dial(addresses, methods[name], tls, true) end,
    service = service.full_name,
    from = addresses,
    prefix = "",
    methods = methods,
    defaults = with_defaults and { metadata = opts.metadata, namespace = opts.namespace } or nil,
    dialled = true,
  }
end

-- ---- JSON texts ---------------------------------------------------------------------------------------------------------

---@class mica.Dialled a gRPC server at an address; requests and answers are JSON texts
local Dialled = {}
Dialled.__index = Dialled

local function target_of(dialled, path, json)
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

-- Nothing is tried again unless that is asked for: who sees a failure (the command line) decides.
local function options_of(dialled, opts)
  local kind
  if opts ~= nil then opts, kind = split_kind(opts) end
  local o = opts == nil and { core = {} } or dialled.read_options(opts)
  o.retries = opts and opts.retries or 0
  o.core.namespace, o.core.kind = dialled.namespace, kind
  o.core.metadata = M.merge(dialled.metadata, o.core.metadata)
  return o
end

local function call(dialled, target, json, o, attempt)
  local ok, text, message, id, details, again, pushback, header, trailer =
    core.call(target, json, attempt == 0 and o.core or attempts.options(o))
  if o.info then o.info.header, o.info.trailer = header or {}, trailer or {} end
  if ok then return text end
  if attempts.pause(o, attempt, false, text, again, pushback) then return call(dialled, target, json, o, attempt + 1) end
  error(received(dialled.address, text, message, id, details), 0)
end

--- A unary call.
---@param path string "/posts.Posts/Read"
---@param json string
---@param opts? mica.CallOptions
---@return string
function Dialled:call(path, json, opts)
  local target = target_of(self, path, json)
  return call(self, target, json, options_of(self, opts), 0)
end

--- Opens a stream; the messages are JSON texts. `json` is nil where the method takes a stream. With `kind` ("unary",
--- "server", "client", "bidi") it may be a call of any kind, also one that answers once or never.
---@param path string
---@param json? string
---@param opts? mica.CallOptions
---@return mica.Stream
function Dialled:stream(path, json, opts)
  local target = target_of(self, path, json or "")
  return streams.open({ from = self.address }, target, json, options_of(self, opts).core)
end

-- ---- both ---------------------------------------------------------------------------------------------------------------

-- The metadata of all calls, and that of one, which wins.
function M.merge(common, own)
  if not common then return own end
  local all = {}
  for key, value in pairs(common) do all[key] = value end
  for key, value in pairs(own or {}) do all[key] = value end
  return all
end

-- mica.client.dial, called by client.lua for its author's line at level 3.
function M.dial(client, addresses, opts)
  if type(opts) ~= "table" or (opts.json ~= true and type(opts.proto) ~= "string") then
    error('mica.client.dial wants the proto service of the server: { proto = "weather.Weather" }', 3)
  end
  suggest.check_keys("mica.client.dial", opts, OPTIONS, 4)
  if opts.json and opts.proto then error("mica.client.dial: proto and json exclude each other", 3) end
  if opts.metadata ~= nil and type(opts.metadata) ~= "table" then error("metadata is a table", 3) end
  local joined, tls = join(addresses, 3), tls_of(opts.tls, 3)
  if opts.proto then return client.new_stub(about(joined, opts, tls, 3)) end
  return setmetatable({ address = joined, metadata = opts.metadata, namespace = opts.namespace, tls = tls,
    read_options = client.read_options }, Dialled)
end

return M
