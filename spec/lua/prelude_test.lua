-- SPDX-License-Identifier: Apache-2.0
-- lua/mica/prelude.lua: modules, globals, print, coroutines.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

local function run(world, text, name)
  return assert(world.core.compile(text, "@" .. (name or "main.lua")))()
end

test("require finds a module of the folder, once", function()
  local world = fake.new { files = { ["handler/posts.lua"] = "return { name = (...) }" } }
  local first = run(world, 'return require "handler.posts"')
  eq("handler.posts", first.name)
  ok(rawequal(first, run(world, 'return require "handler.posts"')))
end)

test("require looks for init.lua, lib and lua_modules", function()
  local world = fake.new { files = { ["a/init.lua"] = "return 1", ["lib/b.lua"] = "return 2", ["lua_modules/c.lua"] = "return 3",
    ["lua_modules/share/lua/5.1/d/e.lua"] = "return 4", ["lib/x.lua"] = "return 5" } }
  eq({ 1, 2, 3, 4, 5 }, run(world, 'return { require "a", require "b", require "c", require "d.e", require "lib.x" }'))
end)

test("require tells where it has looked", function()
  local world = fake.new {}
  local err = raises('module "handler.x" not found', run, world, 'local x = require "handler.x" return x')
  ok(err:find("\n  no file handler/x.lua\n  no file handler/x/init.lua\n", 1, true), err)
  ok(err:find("main.lua:1:", 1, true), err)
end)

test("require tells of a loop", function()
  local world = fake.new { files = { ["a.lua"] = 'return require "b"', ["b.lua"] = 'return require "a"' } }
  raises("modules require each other in a loop: a -> b -> a", run, world, 'require "a"')
  raises("in a loop", run, world, 'require "a"') -- again: nothing is left behind
end)

test("require refuses what leads out of the folder", function()
  local world = fake.new {}
  for _, name in ipairs { "../x", "a..b", ".a", "a.", "/etc/passwd", "a/b", "" } do
    raises("require wants a name", world.env.require, name)
  end
  raises("not available in a service", world.env.require, "ffi")
  raises("not available in a service", world.env.require, "io")
end)

test("a fault in a module names its file", function()
  local world = fake.new { files = { ["bad.lua"] = "x =", ["raises.lua"] = "\nerror 'oh'" } }
  raises("bad.lua:1:", world.env.require, "bad")
  raises("raises.lua:2: oh", world.env.require, "raises")
end)

test("a module that gives nothing is true; standard modules are there", function()
  local world = fake.new { files = { ["nothing.lua"] = "local x = 1" } }
  eq(true, world.env.require "nothing")
  ok(rawequal(world.env.string, world.env.require "string"))
end)

test("the inner modules of the library are not for services", function()
  local world = fake.new {}
  raises('the library has no module "mica.prelude"', world.env.require, "mica.prelude")
  raises('(did you mean "mica.json"?)', world.env.require, "mica.jsno")
  ok(rawequal(world.mica.json, world.env.require "mica.json"))
end)

test("assigning a global is an error", function()
  local world = fake.new {}
  raises('main.lua:1: assigning the global "count": write local count', run, world, "count = 1")
  raises('write local f', run, world, "function f() end")
end)

test("reading an undefined global names it", function()
  local world = fake.new {}
  raises('main.lua:1: undefined global "pirnt" (did you mean "print"?)', run, world, "pirnt 'x'")
  raises('undefined global "nothing_like_it"', run, world, "return nothing_like_it")
  raises('write local mica = require "mica"', run, world, "return mica.log")
  raises("io is not available in a service", run, world, "return io.open")
  eq(nil, run(world, "return jit or utf8"))
end)

test("a builtin that was replaced is found when the service is defined", function()
  local world = fake.new {}
  run(world, "error = nil")
  raises('assigns the global "error"', world.core.definition, nil)
  ok(rawequal(error, world.env.error))
end)

test("print goes to the log", function()
  local world = fake.new {}
  run(world, 'print("a", 1, nil, true)')
  eq({ { level = "info", text = "a\t1\tnil\ttrue" } }, world.log)
end)

test("an author's coroutine passes platform waits on", function()
  local world = fake.new {}
  local got
  local request = world.request({}, function()
    got = run(world, [[
      local mica = require "mica"
      local values = {}
      local co = coroutine.wrap(function(a)
        local b = coroutine.yield(a + 1)
        mica.sleep(2)
        local inner = coroutine.create(function() mica.sleep(3) return "deep" end)
        values[3] = select(2, coroutine.resume(inner))
        return b * 10
      end)
      values[1] = co(1)
      values[2] = co(5)
      return values
    ]])
  end)
  eq(nil, request.raised)
  eq({ 2, 50, "deep" }, got)
  eq(1005, world.clock)
end)

test("errors leave wrapped coroutines as they are", function()
  local world = fake.new {}
  local err = { "a value" }
  local wrapped = world.env.coroutine.wrap(function() error(err) end)
  local _, caught = pcall(wrapped)
  ok(rawequal(err, caught))
  raises("cannot resume dead coroutine", wrapped)
end)

test("another task cannot resume a coroutine that waits", function()
  local world = fake.new {}
  local co, first
  local request = world.request({}, function()
    co = coroutine.create(function() world.mica.sleep(5) return "slept" end)
    local resume = world.env.coroutine.resume
    world.mica.spawn(function() first = { resume(co) } end)
    world.mica.sleep(1)
    eq("normal", world.env.coroutine.status(co))
    local done, text = resume(co)
    eq(false, done)
    ok(text:find("waits for the platform", 1, true))
    world.mica.sleep(10)
  end)
  eq(nil, request.raised)
  eq({ true, "slept" }, first)
end)

test("mica tells which members it has", function()
  local world = fake.new {}
  raises('mica has no member "lgo" (did you mean "log"?)', function() return world.mica.lgo end)
  raises('mica has no member "store"', function() return world.mica.store end)
  raises("not a place to keep things", function() world.mica.mine = 1 end)
  local keys = {}
  for key, value in world.mica.sorted { b = 1, a = 2, [10] = 3, [2] = 4, [true] = 5, [false] = 6 } do
    keys[#keys + 1] = tostring(key) .. value
  end
  eq("24 103 a2 b1 false6 true5", table.concat(keys, " "))
  eq(3, world.mica.int64(3))
  eq("mica.secret", tostring(world.mica.secret))
end)
