-- SPDX-License-Identifier: Apache-2.0
-- ctx: what a handler reads about its request. The object is C's; this fills in its metatable.
--
-- What has to be made once (account, metadata, values) is kept beside the object. Its key is weak, but an author's value may
-- refer to ctx and so keep itself: `sweep` takes out what belongs to requests that have ended.
local core = ...
local mt = core.ctx_mt
local read = core.ctx
local errors = core.use("mica.errors")

---@class mica.Context
---@field service string
---@field endpoint string "Posts.Save"
---@field kind "rpc"|"http"|"event"|"schedule"|"start"|"stop"|"background"
---@field version string
---@field instance integer
---@field id string the request id: in every error and log line
---@field trace string W3C trace id
---@field peer string? address at the front door
---@field namespace string
---@field caller string? the service that called; nil at the front door
---@field account { id: string, name: string, type: string, issuer: string, scopes: string[], metadata: table }?
---@field tenant string? "issuer/owner" of the account
---@field deadline number? unix seconds
---@field compressed boolean the request's message came compressed
---@field metadata table<string, string> request metadata by lower-case key
---@field values table yours, for this request
local Context = {}

local kept = setmetatable({}, { __mode = "k" })
local made, sweep_at = 0, 1000

local function sweep()
  local live = 0
  for ctx in next, kept do
    if pcall(read, ctx, "kind") then live = live + 1 else kept[ctx] = nil end
  end
  made, sweep_at = live, math.max(1000, 2 * live)
end

local function state(ctx)
  local s = kept[ctx]
  if not s then
    made = made + 1
    if made > sweep_at then sweep() end
    s = {}
    kept[ctx] = s
  end
  return s
end

local metadata_mt = {
  __index = function(t, key)
    local lower = type(key) == "string" and key:lower()
    if lower and lower ~= key then return rawget(t, lower) end
  end,
  __newindex = function() error("request metadata is for reading: use ctx:set_header(key, value) for the answer", 2) end,
}

local computed = {}

function computed.account(ctx)
  local s = state(ctx)
  if s.account == nil then s.account = read(ctx, "account") or false end
  return s.account or nil
end

function computed.values(ctx)
  local s = state(ctx)
  s.values = s.values or {}
  return s.values
end

function computed.metadata(ctx)
  local s = state(ctx)
  if not s.metadata then
    local all = {}
    for _, key in ipairs(core.metadata_keys(ctx)) do all[key] = core.metadata(ctx, key) end
    s.metadata = setmetatable(all, metadata_mt)
  end
  return s.metadata
end

-- An account made for an API key acts for the project that owns the key.
function computed.tenant(ctx)
  local account = computed.account(ctx)
  if not account then return nil end
  local owner = account.metadata and account.metadata.apikey_owner
  return account.issuer .. "/" .. (owner and owner ~= "" and owner or account.id)
end

local FIELDS = { service = true, endpoint = true, kind = true, version = true, instance = true, id = true, trace = true,
  peer = true, namespace = true, caller = true, deadline = true, compressed = true }

--- Seconds until the deadline; nil when there is none.
---@return number?
function Context.remaining(ctx) return read(ctx, "remaining") end

--- Is the caller gone, or the deadline past?
---@return boolean
function Context.cancelled(ctx) return read(ctx, "cancelled") end

--- All values of a repeated metadata key.
---@param key string
---@return string[]
function Context.metadata_all(ctx, key)
  if type(key) ~= "string" then error("ctx:metadata_all wants a key", 2) end
  return core.metadata_all(ctx, key:lower())
end

local function has_scope(account, scope)
  for _, granted in ipairs(account.scopes or {}) do
    if granted == scope or granted == "*" then return true end
  end
  return false
end

--- The account, when there is one (and it has the scope); raises UNAUTHENTICATED or PERMISSION_DENIED otherwise.
---@param scope? string
function Context.authorize(ctx, scope)
  if scope ~= nil and type(scope) ~= "string" then error('ctx:authorize wants the name of a scope: ctx:authorize "admin"', 2) end
  local account = computed.account(ctx)
  if not account then error(errors.unauthenticated("this needs an account"), 0) end
  if scope and not has_scope(account, scope) then error(errors.permission_denied('this needs the scope "%s"', scope), 0) end
  return account
end

local function check_pair(what, key, value)
  if type(key) ~= "string" or type(value) ~= "string" then
    error(("ctx:%s wants two strings, got %s and %s"):format(what, type(key), type(value)), 3)
  end
end

--- Response metadata, before the first message.
---@param key string
---@param value string
function Context.set_header(ctx, key, value)
  check_pair("set_header", key, value)
  core.set_header(ctx, key:lower(), value)
end

--- Response metadata at the end.
---@param key string
---@param value string
function Context.set_trailer(ctx, key, value)
  check_pair("set_trailer", key, value)
  core.set_trailer(ctx, key:lower(), value)
end

--- Are the messages of the answer compressed from now on? Only where the caller accepts it. The first time before the first
--- message; later it goes on and off.
---@param on boolean
function Context.compress(ctx, on)
  if type(on) ~= "boolean" then error("ctx:compress wants true or false, got " .. type(on), 2) end
  core.compress(ctx, on)
end

--- Runs fn when the request ends, however it does; the last one first, with 5 seconds of its own.
---@param fn function
function Context.defer(ctx, fn, ...)
  if type(fn) ~= "function" then error("ctx:defer wants a function and its arguments: ctx:defer(announce, \"LEFT\")", 2) end
  if select("#", ...) == 0 then return core.defer(ctx, fn) end
  local n, arguments = select("#", ...), { ... }
  core.defer(ctx, function() return fn(unpack(arguments, 1, n)) end)
end

local function unknown(key)
  local names = {}
  for name in pairs(FIELDS) do names[name] = true end
  for name in pairs(computed) do names[name] = true end
  for name in pairs(Context) do names[name] = true end
  error(('ctx has no "%s"%s'):format(tostring(key), core.use("mica.suggest").hint(key, names)), 3)
end

function mt.__index(ctx, key)
  if FIELDS[key] then return read(ctx, key) end
  local method = Context[key]
  if method then return method end
  local compute = computed[key]
  if compute then return compute(ctx) end
  unknown(key)
end

function mt.__newindex(_, key)
  error(("ctx is for reading: keep things of your own in ctx.values.%s"):format(tostring(key)), 2)
end

function mt.__tostring(ctx)
  return ("ctx %s.%s %s"):format(read(ctx, "service"), read(ctx, "endpoint") or read(ctx, "kind"), read(ctx, "id"))
end

return Context
