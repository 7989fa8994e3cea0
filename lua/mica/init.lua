-- SPDX-License-Identifier: Apache-2.0
-- `require "mica"`: a table whose members are loaded by their first use.
local core = ...

---@class mica
---@field errors mica.errors
---@field client mica.client
---@field log mica.log
---@field json mica.json
---@field time mica.time
---@field id mica.id
---@field proto mica.proto
---@field crypto mica.crypto
---@field metrics mica.metrics
---@field web mica.web
---@field version string of Mica itself
---@field null userdata the value of JSON null
---@field secret table in `config`: a value that is set by whoever runs the service, and kept secret
---@field service fun(def: mica.Definition): mica.Service
---@field context fun(): mica.Context?
---@field try fun(fn: function, ...): any ...
---@field spawn fun(fn: function, ...): mica.Task
---@field all fun(fns: table<any, function>): table
---@field race fun(fns: table<any, function>): any, any
---@field timeout fun(d: mica.Duration, fn: function, ...): any ...
---@field sleep fun(d: mica.Duration)
---@field after fun(d: mica.Duration, fn: function, ...): mica.Task
---@field every fun(d: mica.Duration, fn: function, ...): mica.Task
---@field background fun(fn: function, ...): mica.Task
---@field channel fun(capacity?: integer): mica.Channel
---@field sorted fun(t: table): fun(): any, any
---@field native fun(capability: string): table
---@field required fun(kind: string): table

---@alias mica.Duration number|string seconds, or "250ms", "2s", "1h30m", "7d"

---@class mica.Definition what main.lua declares
---@field name? string
---@field handlers? table<string, table<string, function>>
---@field http? table<string, mica.web.Handler> by "GET /{id}"
---@field public? true|string[]
---@field endpoints? table<string, table>
---@field uses? table
---@field json? { names?: "camel", defaults?: boolean, int64?: "number" }
---@field limits? table
---@field wrap? (fun(ctx: mica.Context, req: table?, next: function): any)[]
---@field on_start? fun(ctx: mica.Context)
---@field on_stop? fun(ctx: mica.Context)

---@class mica.Service

local mica = {}
local MODULES = { "client", "crypto", "errors", "id", "json", "log", "metrics", "proto", "time", "web" }
local TASKS = { "spawn", "all", "race", "timeout", "sleep", "after", "every", "background", "channel" }
local members = {}

for _, name in ipairs(MODULES) do
  members[name] = function() return core.use("mica." .. name) end
end
for _, name in ipairs(TASKS) do
  members[name] = function() return core.use("mica.task")[name] end
end

function members.try() return core.use("mica.errors").try end
function members.native() return core.use("mica.client").native end
function members.sorted() return core.use("mica.sorted") end
function members.null() return core.proto.null end
function members.version() return core.release end
function members.context() return core.context end

function members.int64()
  return setmetatable({ compare = core.proto.compare }, { __call = function(_, x) return core.proto.int64(x) end })
end

function members.secret() return setmetatable({}, { __tostring = function() return "mica.secret" end }) end

function members.required()
  return function(kind)
    if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      error('mica.required wants the kind of the value: "string", "number" or "boolean"', 2)
    end
    return setmetatable({ required = kind }, { __tostring = function() return "mica.required " .. kind end })
  end
end

--- Marks a table as the definition of the service; main.lua returns it. It is checked when main.lua has run.
core.service_mt = { __tostring = function() return "mica.service" end }
function members.service()
  return function(def)
    if type(def) ~= "table" then error("mica.service wants a table: mica.service { handlers = { ... } }", 2) end
    return setmetatable(def, core.service_mt)
  end
end

return setmetatable(mica, {
  __index = function(t, name)
    local member = members[name]
    if not member then
      error(('mica has no member "%s"%s'):format(tostring(name), core.use("mica.suggest").hint(name, members)), 2)
    end
    local value = member()
    rawset(t, name, value)
    return value
  end,
  __newindex = function(_, name)
    error(('mica is not a place to keep things: write local %s'):format(tostring(name)), 2)
  end,
})
