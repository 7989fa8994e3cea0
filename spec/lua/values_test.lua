-- SPDX-License-Identifier: Apache-2.0
-- The small modules: ctx, log, json, time, id, proto, crypto, metrics, units, suggest.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

-- Runs fn(ctx, mica, world) as a request with these ctx fields.
local function within(fields, fn)
  local world = fake.new {}
  local request = world.request(fields, function(ctx) return fn(ctx, world.mica, world) end)
  if request.raised then error(request.raised[1], 0) end
  return request.result, world
end

local ADA = { id = "ada", name = "Ada", type = "user", issuer = "mica", scopes = { "editor" }, metadata = {} }

test("ctx reads what the core knows", function()
  within({ service = "posts", endpoint = "Posts.Read", kind = "rpc", id = "r1", account = ADA, deadline = 1010 },
    function(ctx, mica)
      eq({ "posts", "Posts.Read", "r1" }, { ctx.service, ctx.endpoint, ctx.id })
      eq(nil, ctx.caller)
      eq(10, ctx:remaining())
      eq(false, ctx:cancelled())
      ok(rawequal(ctx, mica.context()))
      ok(rawequal(ctx.account, ctx.account))
      eq("mica/ada", ctx.tenant)
      raises('ctx has no "acount" (did you mean "account"?)', function() return ctx.acount end)
      raises("keep things of your own in ctx.values.x", function() ctx.x = 1 end)
      ctx.values.x = 1
      eq(1, ctx.values.x)
      eq("ctx posts.Posts.Read r1", tostring(ctx))
    end)
end)

test("what is kept for ctx goes with the request, even when it refers to itself", function()
  local world = fake.new {}
  local seen = setmetatable({}, { __mode = "k" })
  for _ = 1, 2500 do
    world.request({}, function(ctx)
      ctx.values.me = ctx
      seen[ctx] = true
    end)
    world.fields = {}
  end
  collectgarbage()
  local left = 0
  for _ in pairs(seen) do left = left + 1 end
  ok(left <= 1001, "kept " .. left)
end)

test("ctx.metadata reads by key in any case", function()
  within({}, function(ctx)
    eq({ "v2", "v2", "1" }, { ctx.metadata["mica-version"], ctx.metadata["Mica-Version"], ctx.metadata["x-y"] })
    eq(nil, ctx.metadata["other"])
    raises("use ctx:set_header", function() ctx.metadata.x = "1" end)
  end)
end)

test("ctx:authorize", function()
  within({ account = ADA }, function(ctx)
    eq("Ada", ctx:authorize().name)
    eq("Ada", ctx:authorize("editor").name)
    eq("PERMISSION_DENIED", raises('the scope "admin"', ctx.authorize, ctx, "admin").code)
  end)
  within({}, function(ctx)
    eq("UNAUTHENTICATED", raises("needs an account", ctx.authorize, ctx).code)
    eq(nil, ctx.tenant)
  end)
end)

test("ctx:defer and headers", function()
  local _, world = within({}, function(ctx)
    ctx:defer(function(...) return ... end, "a", nil, "c")
    ctx:set_header("X-A", "1")
    raises("ctx:defer wants a function", ctx.defer, ctx, "x")
    raises("ctx:set_header wants two strings, got string and number", ctx.set_header, ctx, "x", 1)
  end)
  local a, b, c = world.defers[1]()
  eq({ "a", "c" }, { a, c })
  eq(nil, b)
  eq({ "x-a=1" }, world.headers)
end)

test("log", function()
  local world = fake.new {}
  local log = world.mica.log
  log.info("saved", { id = 1, tags = { "a" } })
  log.with({ a = 1, b = 1 }).with({ b = 2 }).warn("careful", { c = 3 })
  log.error(5)
  eq({ { level = "info", text = "saved", fields = { id = 1, tags = "json:table" } },
    { level = "warn", text = "careful", fields = { a = 1, b = 2, c = 3 } }, { level = "error", text = "5" } }, world.log)
  raises("mica.log.info wants fields as a table, got string", log.info, "x", "y")
end)

test("json", function()
  local json = fake.new({}).mica.json
  eq("json:number", json.encode(5))
  raises('json.encode has no option "prety" (did you mean "pretty"?)', json.encode, 5, { prety = true })
  eq("INVALID_ARGUMENT", raises("at 1: not JSON", json.decode, "bad").code)
  raises("json.decode wants a text", json.decode, nil)
end)

test("time.format", function()
  local time = fake.new({}).mica.time
  eq("2026-11-22T10:00:00Z", time.format(1795341600))
  eq("2026-11-22T10:00:00.500Z", time.format(1795341600.5, "rfc3339"))
  eq("2026-11-22T10:00:00.000250Z", time.format(1795341600.00025))
  eq("2026-11-22T12:00:00+02:00", time.format(1795341600, "rfc3339", "+02:00"))
  eq("2026-11-22T04:30:00-05:30", time.format(1795341600, "rfc3339", "-05:30"))
  eq("22.11.2026 +0200 %z", time.format(1795341600, "%d.%m.%Y %z %%z", "+02:00"))
  eq("1969-12-31T23:59:59Z", time.format(-1))
  raises('no zone "Europe/Berlin": only "UTC" and fixed offsets', time.format, 0, "rfc3339", "Europe/Berlin")
  raises("wants seconds, got table: write time.seconds(x)", time.format, {})
end)

test("time.parse is the inverse", function()
  local time = fake.new({}).mica.time
  eq(1795341600, time.parse "2026-11-22T10:00:00Z")
  eq(1795341600.5, time.parse "2026-11-22t11:00:00.5+01:00")
  eq(1795305600, time.parse "2026-11-22")
  eq(951782400, time.parse "2000-02-29")
  eq(-1, time.parse "1969-12-31T23:59:59Z")
  for t = -4e9, 4e9, 123456789 do eq(t, time.parse(time.format(t))) end
  for _, text in ipairs { "", "2026-11-22T10:00:00", "2026-02-29", "2026-13-01", "2026-11-22T24:00:00Z", "2026-11-22T10:00Z",
    "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00+2:00", "2026-11-22T10:00:0012Z", "yesterday" } do
    eq("INVALID_ARGUMENT", raises("is no time", time.parse, text).code)
  end
end)

test("time.seconds", function()
  local time = fake.new({}).mica.time
  eq({ 1.5, 2, 90, 1795341600 }, { time.seconds { seconds = 1, nanos = 5e8 }, time.seconds(2), time.seconds "1m30s",
    time.seconds "2026-11-22T10:00:00Z" })
  raises("time.seconds wants", time.seconds, "x")
  eq(1000, time.unix())
end)

test("ids", function()
  local world = fake.new {}
  local id = world.mica.id
  eq("07070707-0707-4707-8707-070707070707", id.uuid())
  local last = ""
  for _ = 1, 5000 do
    local new = id.sortable()
    ok(new:find("^%x%x%x%x%x%x%x%x%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"), new)
    ok(last < new, last .. " before " .. new)
    last = new
  end
  world.clock = 2000
  ok(last < id.sortable())
  eq("777777777777", id.short())
  eq(5, #id.short(5))
  raises("wants a length", id.short, 0)
end)

test("proto", function()
  local world = fake.new { types = { ["posts.Post"] = {} } }
  local proto = world.mica.proto
  local post = proto.new("posts.Post", { id = "1" })
  eq("posts.Post", proto.type(post))
  eq(nil, proto.type(nil))
  local any = proto.pack(post)
  eq("type.googleapis.com/posts.Post", any.type_url)
  eq("1", proto.unpack(any).id)
  raises('proto.pack(t, "posts.Post")', proto.pack, {})
  eq("INVALID_ARGUMENT", raises("not a posts.Post", proto.decode, "posts.Post", "junk").code)
  raises("wants the name of a type first", proto.encode, {}, {})
  raises('proto.json has no option "camel"', proto.json, "posts.Post", {}, { camel = true })
end)

test("crypto", function()
  local world = fake.new {}
  local crypto = world.mica.crypto
  eq("6162", crypto.hex "ab")
  eq("ab", crypto.unhex "6162")
  eq("INVALID_ARGUMENT", raises("this is not hex", crypto.unhex, "xy").code)
  raises("crypto.sha256 wants a string, got nil", crypto.sha256)
  raises("0 to 65536", crypto.random, -1)
  world.services["crypto.HashPassword"] = { shape = "unary", answers = { { true, { hash = "h" } } } }
  world.services["crypto.CheckPassword"] = { shape = "unary", answers = { { true, { ok = true } } } }
  local request = world.request({}, function() return { crypto.hash_password "p", crypto.check_password("p", "h") } end)
  eq({ "h", true }, request.result)
end)

test("metrics", function()
  local world = fake.new {}
  local metrics = world.mica.metrics
  metrics.count "saved"
  metrics.count("saved", 2, { kind = "x" })
  metrics.timing("took", 0.5)
  eq({ { "count", "saved", 1 }, { "count", "saved", 2, { kind = "x" } }, { "timing", "took", 0.5 } }, world.metrics)
  raises("only grows", metrics.count, "x", -1)
  raises('got "a-b"', metrics.count, "a-b")
  raises("wants a number, got string", metrics.gauge, "x", "1")
end)

test("durations and sizes", function()
  local units = fake.new({}).core.use "mica.units"
  eq({ 0.25, 2, 5400, 604800, 1.5, 0 }, { units.duration "250ms", units.duration "2s", units.duration "1h30m",
    units.duration "7d", (units.duration(1.5)), (units.duration(0)) })
  for _, bad in ipairs { "", "5", "s", "1x", "-1s", "1h 30m", -1, 0 / 0, math.huge } do eq(nil, (units.duration(bad))) end
  eq({ 65536, 33554432, 10, 1024 }, { units.size "64KB", units.size "32MB", units.size(10), (units.size "1 KB") })
  for _, bad in ipairs { "", "5", "KB", "1kb", -1, 1.5 } do eq(nil, (units.size(bad))) end
end)

test("suggestions", function()
  local suggest = fake.new({}).core.use "mica.suggest"
  eq("title", suggest.nearest("titel", { title = 1, id = 1 }))
  eq("Read", suggest.nearest("Raed", { "Read", "Write" }))
  eq("read", suggest.nearest("READ", { read = 1 }))
  eq(nil, suggest.nearest("quite different", { title = 1 }))
  eq("aa", suggest.nearest("ab", { "ac", "aa" }))
  eq(nil, suggest.nearest(5, { "a" }))
  eq("", suggest.hint("zzz", {}))
end)
