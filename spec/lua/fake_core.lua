-- SPDX-License-Identifier: Apache-2.0
-- The table `core` (core/vm/bindings.h) as far as the library needs it, in plain Lua: tasks on a virtual clock, a contract
-- given as tables, and "bytes" that name a kept table. Each fake has globals of its own, as each VM has.
local M = {}

local function copy(t)
  local c = {}
  for k, v in pairs(t) do c[k] = v end
  return c
end

local function deep_copy(t)
  if type(t) ~= "table" then return t end
  local c = {}
  for k, v in pairs(t) do c[k] = deep_copy(v) end
  return c
end

local function new_globals()
  local env = copy(_G)
  for _, name in ipairs { "string", "table", "math", "coroutine", "bit" } do env[name] = copy(_G[name]) end
  env.os = { time = os.time, date = os.date, clock = os.clock }
  env.debug = { traceback = debug.traceback }
  for _, name in ipairs { "io", "jit", "package", "require", "newproxy", "dofile", "loadfile", "module", "arg" } do
    env[name] = nil
  end
  env._G = env
  return env
end

-- ---- tasks ----------------------------------------------------------------------------------------------------------------

local function add_tasks(core, world)
  local tasks, ready, count = {}, {}, 0
  local running
  world.clock = 1000

  local function queue(task, ...)
    task.state = "ready"
    ready[#ready + 1] = { task = task, n = select("#", ...), ... }
  end

  local function add(request, fn, ...)
    count = count + 1
    local task = { number = count, co = coroutine.create(fn), request = request, deadlines = {} }
    tasks[count] = task
    queue(task, ...)
    return count
  end

  local function nearest_deadline(task)
    local at = task.request.deadline
    for _, d in ipairs(task.deadlines) do if not at or d < at then at = d end end
    return at
  end

  local function refused(task)
    if task.cancelled or task.request.cancelled then return "CANCELLED", "the caller has gone" end
    local at = nearest_deadline(task)
    if at and world.clock >= at then return "DEADLINE_EXCEEDED", "too late" end
  end

  local function wait(state, wake_at)
    local task = assert(running, "waiting outside of a task")
    local code, text = refused(task)
    if code then return false, code, text end
    task.state, task.wake_at = state, wake_at
    return coroutine.yield(core.TAG)
  end

  function core.spawn(fn, ...) return add(running.request, fn, ...) end
  function core.background(fn, ...) return add({ kind = "background", ctx = {} }, fn, ...) end
  function core.current() return running and running.number end
  function core.park() return wait "parked" end
  function core.sleep(seconds) return wait("sleeping", world.clock + seconds) end

  function core.wake(number, ...)
    local task = tasks[number]
    if not task or task.state ~= "parked" then return false end
    queue(task, true, ...)
    return true
  end

  function core.cancel(number)
    local task = tasks[number]
    if not task or task.state == "done" then return end
    task.cancelled = true
    if task.state == "parked" or task.state == "sleeping" then queue(task, false, "CANCELLED", "the task was cancelled") end
  end

  function core.fail(err)
    running.request.failure = running.request.failure or { err }
    world.cancel(running.request)
  end

  function core.deadline(seconds, fn, ...)
    local task = running
    table.insert(task.deadlines, world.clock + seconds)
    local results = { pcall(fn, ...) }
    local at = table.remove(task.deadlines)
    if not results[1] then
      if world.clock >= at and type(results[2]) == "table" and results[2].code == "DEADLINE_EXCEEDED" then
        return false, "DEADLINE_EXCEEDED", "too late"
      end
      error(results[2], 0)
    end
    return unpack(results)
  end

  function core.context() return running and running.request.ctx end

  function world.cancel(request)
    request.cancelled = true
    for _, task in pairs(tasks) do
      if task.request == request then core.cancel(task.number) end
    end
  end

  local function step(entry)
    running = entry.task
    running.state = "running"
    local ok, tag = coroutine.resume(running.co, unpack(entry, 1, entry.n))
    if coroutine.status(running.co) == "dead" then
      running.state = "done"
      tasks[running.number] = nil
      if not ok then
        running.request.raised = running.request.raised or { tag }
        if running.main then world.cancel(running.request) end
      elseif running.main then
        running.request.result = tag
      end
    else
      assert(tag == core.TAG, "a task yielded something of its own")
    end
    running = nil
  end

  -- The task that is due next, by the clock; nil when nothing will ever happen.
  local function next_due()
    local due, at
    for _, task in pairs(tasks) do
      if task.state == "sleeping" or task.state == "parked" then
        local limit = nearest_deadline(task)
        local t = task.wake_at
        if task.state == "parked" then t = nil end
        if limit and (not t or limit < t) then t = limit end
        if t and (not at or t < at or (t == at and task.number < due.number)) then due, at = task, t end
      end
    end
    return due, at
  end

  function world.settle()
    while true do
      while ready[1] do step(table.remove(ready, 1)) end
      local task, at = next_due()
      if not task then return end
      world.clock = math.max(world.clock, at)
      local code, text = refused(task)
      if code then queue(task, false, code, text) else queue(task, true) end
    end
  end

  -- Runs fn(ctx) as a request to its end: the request, with `result`, `raised` or `failure`.
  function world.request(fields, fn)
    local ctx = setmetatable({}, nil)
    world.fields[ctx] = fields
    local request = { ctx = setmetatable(ctx, world.env_ctx_mt), deadline = fields.deadline }
    tasks[add(request, fn, ctx)].main = true
    request.world = world
    world.settle()
    return request
  end

  function core.ctx(ctx, key)
    local fields = world.fields[ctx] or error("the request of this ctx has ended", 0)
    if key == "cancelled" then return running ~= nil and refused(running) ~= nil and running.request.ctx == ctx end
    if key == "remaining" then return fields.deadline and fields.deadline - world.clock end
    return fields[key]
  end
  function core.defer(ctx, fn) table.insert(world.defers, fn) end
end

-- ---- the contract and its "bytes" -----------------------------------------------------------------------------------------

local function add_proto(core, world)
  local kept = {}
  local message_mt = {}

  local function known(name)
    return world.types[name] ~= nil or name:find("^google%.") ~= nil or name:find("^mica%.") ~= nil
  end

  function core.encode(name, t)
    if not known(name) then error('no message type "' .. name .. '"', 0) end
    if type(t) ~= "table" then error("expected a table", 0) end
    kept[#kept + 1] = { name = name, value = t }
    return "bytes:" .. #kept
  end
  function core.decode(name, bytes)
    local entry = kept[tonumber(bytes:match("^bytes:(%d+)$"))]
    if not entry or entry.name ~= name then error("not a " .. name, 0) end
    return setmetatable(copy(entry.value), { message = name, mark = message_mt })
  end
  function core.new(name, t)
    if not known(name) then error('no message type "' .. name .. '"', 0) end
    return setmetatable(copy(t or {}), { message = name, mark = message_mt })
  end
  function core.type(t)
    local mt = getmetatable(t)
    return type(mt) == "table" and mt.mark == message_mt and mt.message or nil
  end
  function core.fields(name) return world.types[name] end
  function core.enum_values(name) return world.enums[name] end
  function core.contract() return deep_copy(world.contract) end
  function core.check_http(_, rule) return rule.template:find("bad", 1, true) and "it is bad" or nil end

  core.proto = {
    null = setmetatable({}, { __tostring = function() return "null" end }),
    unknown = {},
    int64 = function(x) return tonumber(x) end,
    compare = function(a, b) return a < b and -1 or a > b and 1 or 0 end,
    array = function(t) return t end,
    json_encode = function(v) return "json:" .. type(v) end,
    json_decode = function(s) if s == "bad" then error("at 1: not JSON", 0) end return { text = s } end,
  }
end

--- A fake core with the library's prelude run in it.
---@param options { files?: table<string, string>, types?: table, enums?: table, contract?: table, service?: string }
-- unpack for a list with holes.
local function values(list)
  local n = 0
  for i in pairs(list) do n = math.max(n, i) end
  return unpack(list, 1, n)
end

function M.new(options)
  options = options or {}
  local world = { env = new_globals(), fields = {}, log = {}, metrics = {}, defers = {}, headers = {},
    types = options.types or {}, enums = options.enums or {}, contract = options.contract or {}, services = {}, calls = {} }
  local core = { service = options.service or "posts", version = "v1", namespace = "mica", instance = 0, bare = false,
    TAG = newproxy and newproxy() or {} }
  world.core = core

  function core.file(path) return (options.files or {})[path] end
  function core.compile(text, name)
    local chunk, fault = loadstring(text, name)
    if not chunk then return nil, fault end
    return setfenv(chunk, world.env)
  end
  function core.library(name)
    local stem = "lua/" .. name:gsub("%.", "/")
    local chunk = loadfile(stem .. ".lua") or loadfile(stem .. "/init.lua")
    return chunk and setfenv(chunk, world.env)
  end

  function core.now() return world.clock + 0.25 end
  function core.monotonic() return world.clock end
  function core.format_time(seconds, format) return os.date("!" .. format, seconds) end
  function core.random(n) return ("\7"):rep(n) end
  function core.log_wants() return true end
  function core.log(level, text, fields) table.insert(world.log, { level = level, text = text, fields = fields }) end
  function core.metric(kind, name, value, tags) table.insert(world.metrics, { kind, name, value, tags }) end
  function core.hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
  function core.unhex(s) if s:find("[^%x]") then return nil end return (s:gsub("%x%x", function(x)
    return string.char(tonumber(x, 16)) end)) end

  -- options.metadata: key -> list
  local metadata = options.metadata or { ["mica-version"] = { "v2" }, ["x-y"] = { "1" } }
  function core.metadata_keys()
    local keys = {}
    for key in pairs(metadata) do if not key:find "^:" then keys[#keys + 1] = key end end
    table.sort(keys)
    return keys
  end
  function core.metadata(_, key) return (metadata[key] or {})[1] end
  function core.metadata_all(_, key) return metadata[key] or {} end

  -- What raw HTTP is answered with goes to world.answer; options.public: path -> { size, tag }.
  local function answer(kind)
    return function(_, status, headers, body, parts)
      world.answer = { kind = kind, status = status, headers = table.concat(headers, "|"), body = body, parts = parts }
    end
  end
  function core.web()
    return { answer = answer "bytes", answer_file = answer "file", answer_stream = answer "stream",
      body_most = options.body_most or 1000,
      file = function(path) return unpack((options.public or {})[path] or {}) end }
  end
  function core.set_header(_, key, value) table.insert(world.headers, key .. "=" .. value) end

  -- world.services["tags.Tags.Read"] = { shape =, idempotent =, answers = { {true, {...}}, {false, code, ...} } }
  function core.resolve(service, endpoint, version)
    local found = world.services[service .. "." .. endpoint]
    if type(found) == "function" then return found(version) end
    if not found then return nil, "UNIMPLEMENTED", ("service %s has no endpoint %s"):format(service, endpoint) end
    return found, found.shape, found.idempotent
  end
  core.native = core.resolve
  function core.dial(address, path, tls)
    return { shape = "dial", answers = { { true, address .. path .. (tls or "") } } }
  end
  function core.tls(tls)
    local given = {}
    for key, value in pairs(tls) do given[#given + 1] = key .. "=" .. value end
    table.sort(given)
    return " tls " .. table.concat(given, " ")
  end
  function core.call(target, request, opts)
    table.insert(world.calls, { target = target, request = request, opts = opts })
    local answers = target.answers
    return values(#answers > 1 and table.remove(answers, 1) or answers[1])
  end
  function core.open(target, request, opts)
    local stream = setmetatable({ items = copy(target.items or {}), fault = target.fault }, core.stream_mt)
    table.insert(world.calls, { target = target, request = request, opts = opts, stream = stream })
    return true, stream
  end
  function core.recv(stream)
    local items = rawget(stream, "items")
    if items[1] ~= nil then return true, table.remove(items, 1) end
    local fault = rawget(stream, "fault")
    if fault then return false, values(fault) end
    return true, nil
  end

  add_tasks(core, world)
  add_proto(core, world)
  setfenv(assert(loadfile("lua/mica/prelude.lua")), world.env)(core)
  world.env_ctx_mt = core.ctx_mt
  world.mica = world.env.require "mica"
  return world
end

return M
