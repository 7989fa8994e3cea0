-- SPDX-License-Identifier: Apache-2.0
-- lua/mica/task.lua: tasks, groups, time, channels; on the fake's virtual clock.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

local function within(fn, fields)
  local world = fake.new {}
  local request = world.request(fields or {}, function(ctx) return fn(world.mica, world, ctx) end)
  return request, world
end

-- The same, which must not fail.
local function fine(fn)
  local request, world = within(fn)
  if request.raised then error(tostring(request.raised[1]), 0) end
  if request.failure then error("failed: " .. tostring(request.failure[1]), 0) end
  return request.result, world
end

test("join gives the results", function()
  local _, world = fine(function(mica)
    local task = mica.spawn(function(...) mica.sleep "2s" return ... end, 1, nil, 3)
    local a, b, c = task:join()
    eq({ 1, 3 }, { a, c })
    eq(nil, b)
    eq({ 1 }, { (task:join()) })
  end)
  eq(1002, world.clock)
end)

test("join raises the error, and the request lives", function()
  fine(function(mica)
    local task = mica.spawn(function() mica.sleep(1) error(mica.errors.aborted("no")) end)
    local value, err = mica.try(task.join, task)
    eq(nil, value)
    eq("ABORTED", err.code)
  end)
end)

test("a failure that nobody joins ends the request", function()
  local request = within(function(mica)
    mica.spawn(function() mica.sleep(1) error(mica.errors.aborted("no")) end)
    mica.sleep(100)
  end)
  eq("ABORTED", request.failure[1].code)
  eq("CANCELLED", request.raised[1].code)
  eq(1001, request.world.clock)
end)

test("cancel ends a task at its next wait, and does not fail the request", function()
  fine(function(mica)
    local reached, woken = false, nil
    local task = mica.spawn(function()
      reached = true
      local fine_sleep, err = pcall(mica.sleep, 100)
      woken = { fine_sleep, err.code }
      mica.sleep(1) -- again and again
    end)
    mica.sleep(1)
    ok(reached)
    task:cancel()
    local _, err = mica.try(task.join, task)
    eq("CANCELLED", err.code)
    eq({ false, "CANCELLED" }, woken)
    task:cancel() -- twice is nothing
  end)
end)

test("a task that was cancelled before it began never runs", function()
  fine(function(mica)
    local ran = false
    local task = mica.spawn(function() ran = true end)
    task:cancel()
    local _, err = mica.try(task.join, task)
    eq("CANCELLED", err.code)
    mica.sleep(1)
    eq(false, ran)
  end)
end)

test("a join that ran out of time does not disturb later waits", function()
  fine(function(mica)
    local slow = mica.spawn(function() mica.sleep(3) end)
    local _, err = mica.try(mica.timeout, 1, slow.join, slow)
    eq("DEADLINE_EXCEEDED", err.code)
    local channel = mica.channel()
    mica.after(5, function() channel:send "late" end)
    eq("late", channel:recv())
  end)
end)

test("all gives the first result of each", function()
  local result, world = fine(function(mica)
    return mica.all {
      a = function() mica.sleep(2) return "a", "second" end,
      b = function() mica.sleep(1) return "b" end,
      c = function() end,
    }
  end)
  eq({ a = "a", b = "b" }, result)
  eq(1002, world.clock)
end)

test("all raises the first error and cancels the others", function()
  local request = within(function(mica)
    local stopped
    local _, err = mica.try(mica.all, {
      function() mica.sleep(1) error(mica.errors.not_found("x")) end,
      function()
        local _, reason = pcall(mica.sleep, 100)
        stopped = reason.code
      end,
    })
    mica.sleep(1)
    return { err.code, stopped }
  end)
  eq({ "NOT_FOUND", "CANCELLED" }, request.result)
  eq(1002, request.world.clock)
end)

test("all of nothing is nothing; what is no function is told", function()
  fine(function(mica)
    eq({}, mica.all {})
    raises("mica.all: a is a number, not a function", mica.all, { a = 1 })
    raises("mica.all wants functions", mica.all, print)
  end)
end)

test("a caller that is cut off cancels the members of all", function()
  fine(function(mica)
    local ended
    local _, err = mica.try(mica.timeout, 1, mica.all, {
      function() ended = select(2, pcall(mica.sleep, 100)).code end,
    })
    mica.sleep(1)
    eq({ "DEADLINE_EXCEEDED", "CANCELLED" }, { err.code, ended })
  end)
end)

test("race gives the first that returns", function()
  local result, world = fine(function(mica)
    local value, key = mica.race {
      slow = function() mica.sleep(9) return 1 end,
      fast = function() mica.sleep(2) return 2 end,
      broken = function() mica.sleep(1) error(mica.errors.unavailable("x")) end,
    }
    return { value, key }
  end)
  eq({ 2, "fast" }, result)
  eq(1002, world.clock)
end)

test("race raises when all fail, and at once for a bug", function()
  fine(function(mica)
    local _, err = mica.try(mica.race, {
      function() mica.sleep(2) error(mica.errors.aborted("second")) end,
      function() mica.sleep(1) error(mica.errors.unavailable("first")) end,
    })
    eq("first", err.message)
    raises("a bug", mica.race, { function() mica.sleep(5) return 1 end, function() error("a bug") end })
    raises("at least one", mica.race, {})
  end)
end)

test("timeout passes results and other errors on", function()
  fine(function(mica)
    eq({ 1, 2 }, { mica.timeout("1s", function(...) return ... end, 1, 2) })
    raises("a bug", mica.timeout, 1, function() error("a bug") end)
    raises('mica.timeout: "1 second" is no duration', mica.timeout, "1 second", print)
    raises("mica.timeout wants a function", mica.timeout, 1, "x")
  end)
end)

test("every repeats without overlap, until it is cancelled", function()
  fine(function(mica, world)
    local times = {}
    local task = mica.every(10, function()
      times[#times + 1] = world.clock - 1000
      if #times == 2 then mica.sleep(25) end
    end)
    mica.sleep(66)
    task:cancel()
    mica.sleep(100)
    eq({ 10, 20, 45, 55, 65 }, times)
  end)
end)

test("after runs once, later", function()
  fine(function(mica, world)
    local at
    mica.after("3s", function(x) at = x + world.clock end, 1)
    mica.sleep(10)
    eq(1004, at)
  end)
end)

test("a background failure is left to the core", function()
  local request, world = within(function(mica)
    mica.background(function() error(mica.errors.aborted("no")) end)
    mica.sleep(1)
    return "fine"
  end)
  eq("fine", request.result)
  ok(world)
end)

test("a channel hands over in order, and ends with nil", function()
  fine(function(mica)
    local channel = mica.channel()
    local got = {}
    local reader = mica.spawn(function()
      for value in channel:messages() do got[#got + 1] = value end
      return "end"
    end)
    for i = 1, 3 do channel:send(i) end
    channel:close()
    eq("end", reader:join())
    eq({ 1, 2, 3 }, got)
    eq(nil, channel:recv())
    eq("CANCELLED", raises(nil, channel.send, channel, 1).code)
  end)
end)

test("capacity lets send go on; a full channel waits", function()
  fine(function(mica, world)
    local channel = mica.channel(2)
    channel:send(1)
    channel:send(false)
    mica.after(5, function() eq(1, channel:recv()) end)
    channel:send(3)
    eq(1005, world.clock)
    channel:close()
    eq(false, channel:recv())
    eq(3, channel:recv())
    eq(nil, channel:recv())
  end)
end)

test("close with an error", function()
  fine(function(mica)
    local channel = mica.channel(1)
    channel:send "left"
    channel:close(mica.errors.unavailable("gone"))
    eq("left", channel:recv())
    eq("UNAVAILABLE", raises(nil, channel.recv, channel).code)
    eq("UNAVAILABLE", raises(nil, channel.send, channel, 1).code)
  end)
end)

test("close wakes those who wait", function()
  fine(function(mica)
    local channel = mica.channel()
    local reader = mica.spawn(function() return channel:recv() == nil end)
    local full = mica.channel()
    local writer = mica.spawn(function() return pcall(full.send, full, 1) end)
    mica.sleep(1)
    channel:close()
    full:close()
    eq(true, reader:join())
    eq(false, (writer:join()))
  end)
end)

test("a value is not handed to a receiver that was cancelled", function()
  fine(function(mica)
    local channel = mica.channel()
    local first = mica.spawn(function() channel:recv() end)
    local second = mica.spawn(function() return channel:recv() end)
    mica.sleep(1)
    first:cancel()
    channel:send "kept"
    eq("kept", second:join())
  end)
end)

test("misuse says what to write", function()
  fine(function(mica)
    raises("mica.spawn wants a function, got nil: mica.spawn(work, argument)", mica.spawn)
    raises("nil cannot be sent", function() mica.channel(1):send(nil) end)
    raises("0 or more", mica.channel, -1)
    raises("mica.every: the interval", mica.every, 0, print)
  end)
end)

test("nothing is started while main.lua loads", function()
  local world = fake.new {}
  local core = world.core
  for _, text in ipairs { "mica.sleep(1)", "mica.spawn(print)", "mica.background(print)", "mica.timeout(1, print)",
    "mica.all { print }", "mica.race { print }", "mica.every(1, print)", "mica.after(1, print)",
    'mica.client("tags").Read({})' } do
    raises("main.lua:1: main.lua declares, handlers act", core.compile('local mica = require "mica" ' .. text, "@main.lua"))
  end
end)
