-- SPDX-License-Identifier: Apache-2.0
-- lua/mica/client.lua and stream.lua: stubs, options, retries, streams, other servers.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

-- Runs fn(mica, world) as a request of a service that may call what `services` holds.
local function within(services, fn)
  local world = fake.new {}
  world.services = services
  local request = world.request({}, function() return fn(world.mica, world) end)
  if request.raised then error(request.raised[1], 0) end
  return request.result, world
end

local function unary(...) return { shape = "unary", answers = { ... } } end

test("a stub calls the group that has the service's name", function()
  local result, world = within({
    ["blog-posts.BlogPosts.Read"] = unary { true, { id = "1" } },
    ["v1.foo.Foo.Read"] = unary { true, { id = "2" } },
    ["auth.Accounts.Read"] = unary { true, { id = "3" } },
  }, function(mica)
    return { mica.client("blog-posts").Read({ a = 1 }).id, mica.client("v1.foo").Read().id,
      mica.client("auth", "Accounts").Read({}).id }
  end)
  eq({ "1", "2", "3" }, result)
  eq({ a = 1 }, world.calls[1].request)
  eq({}, world.calls[2].request)
  eq(nil, world.calls[1].opts)
end)

test("unknown methods raise when they are named", function()
  within({}, function(mica)
    local err = raises("has no endpoint Posts.Raed", function() return mica.client("posts").Raed end)
    eq("UNIMPLEMENTED", err.code)
  end)
end)

test("while main.lua loads nothing is asked", function()
  local world = fake.new {}
  ok(type(world.mica.client("posts").Read) == "function")
end)

test("options are read and checked", function()
  local _, world = within({ ["tags.Tags.Read"] = unary { true, {} } }, function(mica)
    local tags = mica.client "tags"
    tags.Read({}, { timeout = "1500ms", as = "service", metadata = { a = "1" } })
    raises('a call has no option "timout" (did you mean "timeout"?)', tags.Read, {}, { timout = 1 })
    raises('timeout: "soon" is no duration', tags.Read, {}, { timeout = "soon" })
    raises('"as" of a call can only be "service"', tags.Read, {}, { as = "me" })
    raises("the options of a call are a table", tags.Read, {}, 5)
    raises("tags.Tags.Read wants a request table, got number", tags.Read, 5)
    raises("write Read(request) with a dot", tags.Read, tags)
    raises("not a place to keep things", function() tags.x = 1 end)
  end)
  eq({ timeout = 1.5, as_service = true, metadata = { a = "1" } }, world.calls[1].opts)
end)

test("an answer that is an error is raised, with its id", function()
  local err = raises("no tag", within, { ["tags.Tags.Read"] = unary { false, "NOT_FOUND", "no tag", "tags.Tags.Read" } },
    function(mica) mica.client("tags").Read {} end)
  eq({ "NOT_FOUND", "tags.Tags.Read", "tags" }, { err.code, err.id, err.from })
end)

test("UNAVAILABLE is tried again only where that is safe", function()
  local down = { false, "UNAVAILABLE", "gone" }
  local safe = unary(down, down, { true, { id = "third" } })
  safe.idempotent = true
  eq("third", within({ ["tags.Tags.Read"] = safe }, function(mica) return mica.client("tags").Read({}).id end))

  local unsafe = unary(down, { true, {} })
  raises("gone", within, { ["tags.Tags.Write"] = unsafe }, function(mica) mica.client("tags").Write {} end)

  local never = unary(down)
  never.idempotent = true
  local world = fake.new {}
  world.services = { ["tags.Tags.Read"] = never }
  local request = world.request({}, function() world.mica.client("tags").Read({}, { retries = 4 }) end)
  eq("UNAVAILABLE", request.raised[1].code)
  eq(5, #world.calls)
  ok(world.clock > 1000)
end)

test("a service that does not run yet is asked for again", function()
  local asked = 0
  local function resolve()
    asked = asked + 1
    if asked <= 3 then return nil, "UNAVAILABLE", "no tags" end
    return unary { true, { id = "x" } }, "unary"
  end
  eq("x", within({ ["tags.Tags.Read"] = resolve }, function(mica) return mica.client("tags").Read({}, { retries = 2 }).id end))
  asked = -100
  raises("no tags", within, { ["tags.Tags.Read"] = resolve }, function(mica) mica.client("tags").Read {} end)
  asked = -7
  eq("x", within({ ["tags.Tags.Read"] = resolve }, function(mica) return mica.client("tags").Read({}, { wait = "1m" }).id end))
end)

test("a version is asked for", function()
  local wanted = {}
  within({ ["tags.Tags.Read"] = function(version)
    wanted[#wanted + 1] = version or "none"
    return unary { true, {} }, "unary"
  end }, function(mica) mica.client("tags").Read({}, { version = "v2" }) end)
  eq("v2", wanted[#wanted])
end)

test("streams iterate, end with nil and raise what went wrong", function()
  local result = within({
    ["tags.Tags.Watch"] = { shape = "server", items = { "a", "b" } },
    ["tags.Tags.Talk"] = { shape = "bidi", items = { "c" }, fault = { "ABORTED", "enough", "tags.Tags.Talk" } },
  }, function(mica, world)
    local got = {}
    for item in mica.client("tags").Watch({ q = 1 }):messages() do got[#got + 1] = item end
    eq({ q = 1 }, world.calls[1].request)
    local talk = mica.client("tags").Talk { timeout = 2 }
    eq(nil, world.calls[2].request)
    eq(2, world.calls[2].opts.timeout)
    got[#got + 1] = talk:recv()
    local _, err = mica.try(talk.recv, talk)
    got[#got + 1] = err.code .. " of " .. err.from
    raises('a stream has no "close": write stream:close_send()', function() talk:close() end)
    raises('a stream has no "rcv" (did you mean "recv"?)', function() talk:rcv() end)
    raises("its only argument is options", mica.client("tags").Talk, {}, {})
    return got
  end)
  eq({ "a", "b", "c", "ABORTED of tags" }, result)
end)

test("calls by names known at run time", function()
  within({ ["tags.Tags.Read"] = unary { true, { id = "1" } }, ["tags.Tags.Watch"] = { shape = "server", items = { 1 } } },
    function(mica)
      eq("1", mica.client.call("tags", "Tags.Read", {}).id)
      eq(1, mica.client.stream("tags", "Tags.Watch", {}):recv())
      raises("is no stream: use mica.client.call", mica.client.stream, "tags", "Tags.Read")
      raises("is a stream: use mica.client.stream", mica.client.call, "tags", "Tags.Watch")
      raises("wants an endpoint", mica.client.call, "tags", "Read")
      raises("wants the name of a service", mica.client, "No Name")
    end)
end)

test("a call that has not begun is made again, whatever it does", function()
  local function unbegun(pushback) return { false, "UNAVAILABLE", "nobody", nil, nil, "unbegun", pushback } end
  eq("x", within({ ["tags.Tags.Write"] = unary(unbegun(), unbegun(), { true, { id = "x" } }) },
    function(mica) return mica.client("tags").Write({}).id end))
  local function attempts(answer, opts, idempotent)
    local service, world = unary(answer), fake.new {}
    service.idempotent = idempotent
    world.services = { ["tags.Tags.Write"] = service }
    local request = world.request({}, function() world.mica.client("tags").Write({}, opts) end)
    return #world.calls, world.clock - 1000, request.raised[1].code
  end
  eq(3, (attempts(unbegun())))
  eq(1, (attempts(unbegun(), { retries = 0 })))
  eq(1, (attempts(unbegun(false)))) -- the callee does not want it
  eq(1, (attempts({ false, "ABORTED", "no", nil, nil, "unbegun" })))
  eq(1, (attempts({ false, "UNAVAILABLE", "no", nil, nil, "unseen" })))
  eq(3, (attempts({ false, "UNAVAILABLE", "no" }, nil, true)))
  local n, seconds = attempts(unbegun(3), { retries = 1 })
  eq({ 2, 3 }, { n, seconds })
  n, seconds = attempts(unbegun(3), { timeout = 5 }) -- the third would come after the deadline
  eq({ 2, 3 }, { n, seconds })
  n, seconds = attempts(unbegun(), { wait = "10s" })
  ok(n > 6 and seconds >= 10 and seconds < 13)
  eq(3, (attempts({ false, "UNAVAILABLE", "no" }, { wait = "10s" }, true))) -- somebody was there
end)

test("timeout is for all attempts together", function()
  local _, world = within({ ["tags.Tags.Read"] = unary({ false, "UNAVAILABLE", "gone", nil, nil, "unbegun", 2 }, { true, {} }) },
    function(mica) mica.client("tags").Read({}, { timeout = 5 }) end)
  eq({ 5, 3 }, { world.calls[1].opts.timeout, world.calls[2].opts.timeout })
end)

test("info gets the metadata, also of a failure", function()
  within({
    ["tags.Tags.Read"] = unary { true, { id = "1" }, nil, nil, nil, nil, nil, { a = "1" }, { b = { "2", "3" } } },
    ["tags.Tags.Write"] = unary { false, "NOT_FOUND", "no", nil, nil, nil, nil, {}, { c = "4" } },
    ["tags.Tags.Lose"] = unary { false, "UNAVAILABLE", "no" },
  }, function(mica, world)
    local info = {}
    eq("1", mica.client("tags").Read({}, { info = info }).id)
    eq({ header = { a = "1" }, trailer = { b = { "2", "3" } } }, info)
    eq(true, world.calls[1].opts.info)
    mica.try(mica.client("tags").Write, {}, { info = info })
    eq({ header = {}, trailer = { c = "4" } }, info)
    mica.try(mica.client("tags").Lose, {}, { info = info })
    eq({ header = {}, trailer = {} }, info)
    raises('"info" of a call is a table', mica.client("tags").Read, {}, { info = true })
    raises('"retries" of a call is a number', mica.client("tags").Read, {}, { retries = "2" })
  end)
end)

test("a stream of which nothing was seen is begun again", function()
  local function opened(fault, idempotent, items)
    local world, reopened = fake.new {}, 0
    world.services = { ["tags.Tags.Watch"] = { shape = "server", items = items or {}, fault = fault, idempotent = idempotent } }
    function world.core.reopen(stream)
      reopened = reopened + 1
      if reopened == 2 then rawset(stream, "fault", nil) end
      return true
    end
    local request = world.request({}, function()
      local stream, got = world.mica.client("tags").Watch {}, {}
      for item in stream:messages() do got[#got + 1] = item end
      return got
    end)
    return reopened, request.raised and request.raised[1].code or request.result
  end
  eq({ 2, {} }, { opened { "UNAVAILABLE", "no", nil, nil, "unbegun" } })
  eq({ 2, {} }, { opened({ "UNAVAILABLE", "no", nil, nil, "unseen" }, true) })
  eq({ 0, "UNAVAILABLE" }, { opened { "UNAVAILABLE", "no", nil, nil, "unseen" } })
  eq({ 0, "UNAVAILABLE" }, { opened({ "UNAVAILABLE", "no" }, true) })
  eq({ 0, "UNAVAILABLE" }, { opened { "UNAVAILABLE", "no", nil, nil, "unbegun", false } })
end)

test("dial gives a stub of a contract", function()
  local services = {
    { name = "Weather", full_name = "weather.Weather", file = "proto/weather.proto",
      methods = { { name = "Today", path = "/weather.Weather/Today" } } },
    { name = "Other", full_name = "a.Other", file = "proto/two.proto", methods = {} },
    { name = "Other", full_name = "b.Other", file = "proto/two.proto", methods = {} },
  }
  local world = fake.new {}
  local answers = { { true, { text = "sunny" } } }
  function world.core.services() return services end
  function world.core.dial(addresses, path, _, contract)
    return { addresses .. path, answers = answers }, contract and "unary", false
  end
  function world.core.dials(address) return address == "a:1" or address == "b:2" end
  local request = world.request({}, function()
    local mica, dial = world.mica, world.mica.client.dial
    local weather = dial({ "a:1", "b:2" }, { proto = "Weather", metadata = { k = "v" }, namespace = "acme" })
    eq("sunny", weather.Today({ city = "Oslo" }, { metadata = { own = "1" }, version = "v2" }).text)
    eq("a:1,b:2/weather.Weather/Today", world.calls[1].target[1])
    eq({ namespace = "acme", metadata = { k = "v", own = "1", ["mica-version"] = "v2" } }, world.calls[1].opts)
    for _, name in ipairs { "weather.Weather", "weather.proto", "proto/weather.proto" } do
      eq("sunny", dial("a:1", { proto = name }).Today({}).text)
    end
    raises('the proto service "weather.Weather" has no method "Todya" (did you mean "Today"?)', function()
      return weather.Todya
    end)
    raises("weather.Weather.Today wants a request table", weather.Today, 5)
    raises('proto = "Other" may be a.Other or b.Other', dial, "a:1", { proto = "Other" })
    raises('proto = "two.proto" may be a.Other or b.Other', dial, "a:1", { proto = "two.proto" })
    raises('have no service "weather.Wether" (did you mean "weather.Weather"?)', dial, "a:1", { proto = "weather.Wether" })
    raises("at least one address", dial, {}, { proto = "Weather" })
    raises('got "a"', dial, "a", { proto = "Weather" })
    raises('got "a:1,b:2"', dial, "a:1,b:2", { proto = "Weather" })
    raises('may not dial "c:3"', dial, { "a:1", "c:3" }, { proto = "Weather" })
    raises('has no option "prto" (did you mean "proto"?)', dial, "a:1", { json = true, prto = "x" })
    raises("exclude each other", dial, "a:1", { json = true, proto = "Weather" })
    answers = { { false, "NOT_FOUND", "no city" } }
    local _, err = mica.try(dial("a:1", { proto = "Weather" }).Today, {})
    eq({ "weather.Weather.Today", "a:1" }, { err.id, err.from })
  end)
  if request.raised then error(request.raised[1], 0) end
end)

test("dial speaks JSON texts", function()
  within({}, function(mica, world)
    raises('may not dial "localhost:1": name it in its definition, uses = { dial = { "localhost:1" } }',
      mica.client.dial, "localhost:1", { json = true })
    function world.core.dials(address) return address == "localhost:1" or address == "a:1" end
    local server = mica.client.dial("localhost:1", { json = true, metadata = { a = "1", b = "2" } })
    eq("localhost:1/p.S/M", server:call("/p.S/M", "{}", { timeout = "1s", metadata = { b = "3" } }))
    eq({ timeout = 1, metadata = { a = "1", b = "3" } }, world.calls[1].opts)
    raises("wants the proto service of the server", mica.client.dial, "localhost:1")
    raises("a path is needed", server.call, server, "p.S/M", "{}")
    local function with(tls) return mica.client.dial("a:1", { json = true, tls = tls }) end
    eq("a:1/p.S/M tls ", with(true):call("/p.S/M", "{}"))
    eq("a:1/p.S/M tls ca=PEM name=b", with({ ca = "PEM", name = "b" }):call("/p.S/M", "{}"))
    eq("a:1/p.S/M", with(false):call("/p.S/M", "{}"))
    raises("tls is true or a table, got string", with, "yes")
    raises('did you mean "name"', with, { nam = "b" })
    raises("tls.ca is a text, got boolean", with, { ca = true })
    raises("tls.cert and tls.key belong together", with, { cert = "PEM" })
  end)
end)

test("native services by capability", function()
  within({ ["routes.Install"] = unary { true, { missing = {} } } }, function(mica)
    eq({}, mica.native("routes").Install({}).missing)
    raises("has no endpoint Instal", function() return mica.native("routes").Instal end)
  end)
end)
