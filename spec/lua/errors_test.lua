-- SPDX-License-Identifier: Apache-2.0
-- lua/mica/errors.lua: making errors, catching them, and what a caller hears.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

local READ = { kind = "rpc", service = "posts", endpoint = "Posts.Read", id = "r1" }

-- Runs fn as a request; what it returned, or its failure raised.
local function within(world, fn)
  local request = world.request(READ, fn)
  if request.raised then error(request.raised[1], 0) end
  return request.result
end

test("an error knows whose it is and how it reads", function()
  local world = fake.new {}
  within(world, function()
    local e = world.mica.errors.not_found("no post %q", "7")
    eq("NOT_FOUND", e.code)
    eq("posts.Posts.Read", e.id)
    eq(404, e.http)
    eq('NOT_FOUND posts.Posts.Read: no post "7"', tostring(e))
  end)
  eq("ABORTED again", tostring(world.mica.errors.aborted("again")))
end)

test("a text without arguments is no format", function()
  local world = fake.new {}
  eq("100% wrong", world.mica.errors.internal("100% wrong").message)
  raises("errors.not_found wants a text, got table", world.mica.errors.not_found, {})
  raises("errors.not_found: bad argument", world.mica.errors.not_found, "%d", "x")
end)

test("every code has its HTTP status", function()
  local errors = fake.new({}).mica.errors
  local expected = { cancelled = 499, unknown = 500, invalid_argument = 400, deadline_exceeded = 504, not_found = 404,
    already_exists = 409, permission_denied = 403, resource_exhausted = 429, failed_precondition = 400, aborted = 409,
    out_of_range = 400, unimplemented = 501, internal = 500, unavailable = 503, data_loss = 500, unauthenticated = 401 }
  for name, http in pairs(expected) do
    local e = errors[name]("x")
    eq({ name:upper(), http }, { e.code, e.http })
  end
end)

test("errors.new checks code and details", function()
  local world = fake.new {}
  local errors = world.mica.errors
  raises('no code "NOT_FUOND" (did you mean "NOT_FOUND"?)', errors.new, "NOT_FUOND", "x")
  raises("a detail is a message", errors.new, "NOT_FOUND", "x", { { reason = "GONE" } })
  local info = world.mica.proto.new("google.rpc.ErrorInfo", { reason = "GONE" })
  eq("GONE", errors.new("NOT_FOUND", "x", { info }).reason)
  eq("TYPED", errors.new("NOT_FOUND", "x", { { ["@type"] = "google.rpc.ErrorInfo", reason = "TYPED" } }).reason)
  eq(nil, errors.new("NOT_FOUND", "x").reason)
end)

test("errors.is", function()
  local errors = fake.new({}).mica.errors
  local e = errors.not_found("x")
  eq({ true, true, false, false, false },
    { errors.is(e), errors.is(e, "NOT_FOUND"), errors.is(e, "ABORTED"), errors.is("text"), errors.is({ code = "NOT_FOUND" }) })
  raises('no code "NOT FOUND"', errors.is, e, "NOT FOUND")
end)

test("invalid_fields is a BadRequest, sorted by field", function()
  local world = fake.new {}
  local e = world.mica.errors.invalid_fields { title = "is required", body = "is too long" }
  eq("body is too long; title is required", e.message)
  eq("INVALID_ARGUMENT", e.code)
  eq("google.rpc.BadRequest", world.core.type(e.details[1]))
  eq({ { field = "body", description = "is too long" }, { field = "title", description = "is required" } },
    e.details[1].field_violations)
  raises("wants the faults by field", world.mica.errors.invalid_fields, {})
end)

test("details travel as google.rpc.Status and are decoded when they are read", function()
  local world = fake.new {}
  local errors, core = world.mica.errors, world.core
  local e = errors.unavailable("later")
  e.retry_after, e.reason = 1.5, "DRAINING"
  local code, message, _, bytes = core.on_error(e, "")
  eq({ "UNAVAILABLE", "later" }, { code, message })
  local status = core.decode("google.rpc.Status", bytes)
  eq(14, status.code)
  local use = core.use "mica.errors"
  local received = use.received("tags", code, message, "tags.Tags.Read", bytes)
  eq({ 1.5, "DRAINING" }, { received.retry_after, received.reason })
  eq(2, #received.details)
  local _, _, id, again = core.on_error(received, "")
  eq("tags.Tags.Read", id)
  eq(2, #core.decode("google.rpc.Status", again).details)
  local untouched = use.received("tags", code, message, "tags.Tags.Read", bytes)
  local _, _, _, same = core.on_error(untouched, "")
  eq(bytes, same)
end)

test("a bug is INTERNAL, and only the log says more", function()
  local world = fake.new {}
  eq({ "INTERNAL", "internal error" }, { world.core.on_error("main.lua:3: attempt to index", "stack: main.lua:3") })
  eq({ { level = "error", text = "main.lua:3: attempt to index", fields = { traceback = "stack: main.lua:3" } } }, world.log)
  eq("INTERNAL", (world.core.on_error(nil, "")))
  eq("INTERNAL", (world.core.on_error({ code = "NOT_FOUND" }, "")))
  ok(world.log[3].text:find("error with a table instead of a text", 1, true), world.log[3].text)
  local angry = setmetatable({}, { __tostring = function() error "no" end })
  eq("INTERNAL", (world.core.on_error(angry, "")))
end)

test("what the core finds wrong with an argument is told at the author's line", function()
  local world = fake.new {}
  world.core.on_error("mica/client.lua:9: t.In has no field", "stack traceback:\n\t[C]: in function 'call'\n"
    .. "\tmica/client.lua:9: in function 'Read'\n\thandler/posts.lua:3: in function <handler/posts.lua:1>")
  eq("handler/posts.lua:3: t.In has no field", world.log[1].text)
  world.core.on_error("mica/client.lua:9: odd", "stack traceback:\n\tmica/client.lua:9: in main chunk")
  eq("mica/client.lua:9: odd", world.log[2].text)
end)

test("an error whose details cannot be written is a bug", function()
  local world = fake.new {}
  local e = world.mica.errors.aborted("x")
  e.details = { { nonsense = 1 } }
  eq("INTERNAL", (world.core.on_error(e, "")))
  local odd = world.mica.errors.aborted("x")
  odd.code = 7
  eq("INTERNAL", (world.core.on_error(odd, "")))
end)

test("what another service refused us is INTERNAL for our caller", function()
  local world = fake.new {}
  local use = world.core.use "mica.errors"
  for _, code in ipairs { "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED" } do
    eq({ "INTERNAL", "no", "tags.Tags.Read" }, { world.core.on_error(use.received("tags", code, "no", "tags.Tags.Read"), "") })
  end
  eq(3, #world.log)
  eq({ "NOT_FOUND", "no", "tags.Tags.Read" },
    { world.core.on_error(use.received("tags", "NOT_FOUND", "no", "tags.Tags.Read"), "") })
  eq({ "PERMISSION_DENIED", "no", "posts.Posts.Read" },
    { world.core.on_error(use.received("posts", "PERMISSION_DENIED", "no", "posts.Posts.Read"), "") })
  eq("PERMISSION_DENIED", (world.core.on_error(world.mica.errors.permission_denied("no"), "")))
end)

test("try gives results, or nil and the error", function()
  local world = fake.new {}
  local mica = world.mica
  within(world, function()
    eq({ 1, 2, 3 }, { mica.try(function(...) return ... end, 1, 2, 3) })
    local value, err = mica.try(function() error(mica.errors.not_found("x")) end)
    eq(nil, value)
    eq("NOT_FOUND", err.code)
  end)
  raises("mica.try wants a function and its arguments", mica.try, {})
end)

test("bugs pass through try and keep their traceback", function()
  local world = fake.new {}
  local function broken() local t = nil return t.x end
  local _, err = pcall(world.mica.try, broken)
  ok(tostring(err):find("attempt to index", 1, true))
  world.core.on_error(err, "stack of try")
  ok(world.log[1].fields.traceback:find("errors_test.lua", 1, true), world.log[1].fields.traceback)
end)

test("the end of the own request passes through try", function()
  local world = fake.new {}
  local mica = world.mica
  local tried
  local request = world.request({ deadline = 1005 }, function()
    tried = { mica.try(mica.sleep, 10) }
  end)
  eq(nil, tried)
  eq("DEADLINE_EXCEEDED", request.raised[1].code)
end)

test("the end of somebody else's time does not pass through try", function()
  local world = fake.new {}
  world.services["tags.Tags.Read"] = { shape = "unary", answers = { { false, "DEADLINE_EXCEEDED", "late", "tags.Tags.Read" } } }
  local result = within(world, function()
    local value, err = world.mica.try(world.mica.client("tags").Read, {})
    eq(nil, value)
    return err.code
  end)
  eq("DEADLINE_EXCEEDED", result)
end)
