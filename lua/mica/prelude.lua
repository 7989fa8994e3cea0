-- SPDX-License-Identifier: Apache-2.0
-- The first chunk of every VM, run with `core` (core/vm/bindings.h): what the language itself is here.
--
-- It replaces `require`, `print`, `coroutine.resume` and `coroutine.wrap`, guards the globals, and gives C what it calls
-- back: core.error_mt, core.ctx_mt, core.stream_mt, core.on_error, core.definition. Everything else of the library is loaded
-- by its first use, so that an idle VM holds little more than this file.
--
-- Library modules get `core` as their argument and reach each other by core.use("mica.errors").
local core = ...

local error, type, pairs, select, tostring, rawget, rawset = error, type, pairs, select, tostring, rawget, rawset
local setmetatable, concat, gsub, find = setmetatable, table.concat, string.gsub, string.find
local globals = _G

-- ---- modules ------------------------------------------------------------------------------------------------------------

local library = {} -- modules of the library, by name
local modules = {} -- modules of the service
local loading = {} -- names of the service's modules that are being loaded, in order

-- What authors may require of the library; the other files are its own affair.
local PUBLIC = {
  ["mica.client"] = true, ["mica.context"] = true, ["mica.contract"] = true, ["mica.crypto"] = true,
  ["mica.errors"] = true, ["mica.id"] = true, ["mica.json"] = true, ["mica.log"] = true, ["mica.metrics"] = true,
  ["mica.origin"] = true, ["mica.proto"] = true, ["mica.reserved"] = true, ["mica.routes"] = true,
  ["mica.suggest"] = true, ["mica.time"] = true, ["mica.units"] = true, ["mica.web"] = true,
}

function core.use(name)
  local module = library[name]
  if module == nil then
    local chunk = core.library(name) or error("the library has no module " .. name, 0)
    module = chunk(core)
    library[name] = module
  end
  return module
end
local use = core.use

for _, name in pairs { "string", "table", "math", "coroutine", "bit", "os" } do modules[name] = globals[name] end

-- Where a module may be. lua_modules/ is what LuaRocks makes with --tree lua_modules.
local PLACES = { "?.lua", "?/init.lua", "lib/?.lua", "lib/?/init.lua", "lua_modules/?.lua", "lua_modules/?/init.lua",
  "lua_modules/share/lua/5.1/?.lua", "lua_modules/share/lua/5.1/?/init.lua" }

local function find_file(name)
  local stem = gsub(name, "%.", "/")
  local tried = {}
  for i = 1, #PLACES do
    local path = gsub(PLACES[i], "%?", stem)
    local text = core.file(path)
    if text then return text, path end
    tried[i] = "\n  no file " .. path
  end
  return nil, concat(tried)
end

local LEFT_OUT = { ffi = true, io = true, jit = true, debug = true, package = true }

-- Libraries of others that the build embeds.
local EMBEDDED = { argparse = true }

local function not_found(name, tried)
  if LEFT_OUT[name] then return ('module "%s" is not available in a service'):format(name) end
  return ('module "%s" not found:%s\n  no module of the library (mica, mica.*)'):format(name, tried)
end

-- Runs a module's chunk below a C function, so that nothing in it can wait: a half-loaded module must not be seen.
local function run(chunk, name)
  local value
  gsub("x", "x", function() value = chunk(name) end)
  return value
end

local function load_module(name)
  local text, path = find_file(name)
  if not text and EMBEDDED[name] then return use(name) end
  if not text then error(not_found(name, path), 3) end
  local chunk, fault = core.compile(text, "@" .. path)
  if not chunk then error(fault, 0) end
  loading[#loading + 1] = name
  local depth = #loading
  local ok, value = pcall(run, chunk, name)
  for i = #loading, depth, -1 do loading[i] = nil end
  if not ok then error(value, 0) end
  if value == nil then value = true end
  return value
end

local function check_loop(name)
  for i = 1, #loading do
    if loading[i] == name then
      error(("modules require each other in a loop: %s -> %s"):format(concat(loading, " -> ", i), name), 3)
    end
  end
end

local function well_formed(name)
  return find(name, "^[%w_%.%-]+$") and not (find(name, "^%.") or find(name, "..", 1, true) or find(name, "%.$"))
end

--- Loads a module of the service ("handler.posts"), of lib/ or lua_modules/, or of the library ("mica"); once.
---@param name string
---@return any
function globals.require(name)
  if type(name) ~= "string" or not well_formed(name) then
    error(('require wants a name such as "handler.posts", got %s'):format(
      type(name) == "string" and '"' .. name .. '"' or type(name)), 2)
  end
  local module = modules[name]
  if module ~= nil then return module end
  if name == "mica" or PUBLIC[name] then return use(name) end
  if find(name, "^mica%.") then
    local near = use("mica.suggest").nearest(name, PUBLIC)
    error(('the library has no module "%s"%s'):format(name, near and (' (did you mean "%s"?)'):format(near) or ""), 2)
  end
  check_loop(name)
  module = load_module(name)
  modules[name] = module
  return module
end

-- ---- coroutines ---------------------------------------------------------------------------------------------------------

-- A platform call that has to wait yields core.TAG first. An author's own coroutine passes such a yield on to the task that
-- runs it, and the answer back in, so that the author sees only yields of his own.
local resume, create, yield, status = coroutine.resume, coroutine.create, coroutine.yield, coroutine.status
local TAG = core.TAG
local waiting = setmetatable({}, { __mode = "k" }) -- coroutines inside a platform call

local function go_on(co, ...)
  waiting[co] = nil
  return resume(co, ...)
end

local function pass(co, ok, first, ...)
  if first ~= TAG then return ok, first, ... end
  waiting[co] = true
  return pass(co, go_on(co, yield(first, ...)))
end

local WAITS = "this coroutine waits for the platform; another task cannot resume it"

local function resume_passing(co, ...)
  if waiting[co] then return false, WAITS end
  return pass(co, resume(co, ...))
end

local function unwrap(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

globals.coroutine.resume = resume_passing

function globals.coroutine.wrap(fn)
  local co = create(fn)
  return function(...) return unwrap(resume_passing(co, ...)) end
end

function globals.coroutine.status(co)
  return waiting[co] and "normal" or status(co)
end

-- ---- print and the globals ----------------------------------------------------------------------------------------------

--- Writes its arguments to the service's log, level info.
function globals.print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  core.log("info", concat(parts, "\t"))
end

-- Portable modules probe for these; they are simply not there.
local PROBED = { _ENV = true, jit = true, utf8 = true, setfenv = true, getfenv = true, loadstring = true, module = true,
  package = true }
local ABSENT = { io = true, ffi = true, debug = true, newproxy = true, dofile = true, loadfile = true }
local guard = {}

function guard.__index(_, name)
  if PROBED[name] then return nil end
  if ABSENT[name] then error(name .. " is not available in a service", 2) end
  if name == "mica" then error('undefined global "mica": write local mica = require "mica" at the top of the file', 2) end
  local near = use("mica.suggest").nearest(name, globals)
  error(('undefined global "%s"%s'):format(tostring(name), near and (' (did you mean "%s"?)'):format(near) or ""), 2)
end

function guard.__newindex(_, name)
  error(('assigning the global "%s": write local %s'):format(tostring(name), tostring(name)), 2)
end

guard.__metatable = "the globals of a service are fixed"

-- ---- what C calls back --------------------------------------------------------------------------------------------------

-- The metatables are made here, since C keeps them; the modules fill them in when one is first used.
local function lazy(module, events)
  local mt = {}
  for _, event in pairs(events) do
    mt[event] = function(...)
      use(module) -- replaces this function
      return mt[event](...)
    end
  end
  return mt
end

core.error_mt = lazy("mica.errors", { "__index", "__tostring" })
core.ctx_mt = lazy("mica.context", { "__index", "__newindex", "__tostring" })
core.stream_mt = lazy("mica.stream", { "__index", "__tostring" })

function core.on_error(err, traceback)
  return use("mica.errors").outcome(err, traceback)
end

-- The builtins as they were: what reading a definition compares them with.
local builtins = {}

-- What only the reading of a definition needs is not kept: a serving VM need not hold the code.
local function forget(names)
  for name in pairs(names) do library[name] = nil end
end

function core.definition(value)
  for name, original in pairs(builtins) do
    if rawget(globals, name) ~= original then
      rawset(globals, name, original)
      error(('a module assigns the global "%s": write local %s'):format(name, name), 0)
    end
  end
  local passing = { ["mica.suggest"] = true, ["mica.units"] = true, ["mica.sorted"] = true }
  for name in pairs(library) do passing[name] = nil end
  local definition = core.library("mica.definition")(core).read(value)
  forget(passing)
  return definition
end

for name, value in pairs(globals) do builtins[name] = value end
setmetatable(globals, guard)
