-- SPDX-License-Identifier: Apache-2.0
-- lua/mica/definition.lua, describe.lua, validate.lua: what main.lua declares, against a contract.
local T = ...
local test, eq, ok, raises = T.test, T.eq, T.ok, T.raises
local fake = require "fake_core"

local function field(name, kind, more)
  local f = { name = name, json_name = name, number = 1, type = kind, repeated = false, map = false, presence = false,
    comment = "" }
  for k, v in pairs(more or {}) do f[k] = v end
  return f
end

local TYPES = {
  ["posts.Save"] = {
    field("id", "string"), field("title", "string", { presence = true }), field("limit", "int32"),
    field("tags", "string", { repeated = true }), field("author", "message", { message = "posts.Author", presence = true }),
    field("lines", "message", { message = "posts.Line", repeated = true }),
    field("labels", "message", { message = "posts.Save.LabelsEntry", map = true, repeated = true }),
    field("state", "enum", { enum = "posts.State" }), field("draft", "bool"), field("score", "double", { presence = true }),
  },
  ["posts.Author"] = { field("name", "string"), field("boss", "message", { message = "posts.Author", presence = true }) },
  ["posts.Line"] = { field("amount", "int64") },
  ["posts.Save.LabelsEntry"] = { field("key", "string"), field("value", "message", { message = "posts.Line" }) },
  ["posts.Empty"] = {},
}

local function method(name, index, more)
  local m = { name = name, index = index, path = "/posts.Posts/" .. name, comment = name .. " does it.",
    client_streaming = false, server_streaming = false, input = "posts.Save", output = "posts.Empty", idempotency = 0 }
  for k, v in pairs(more or {}) do m[k] = v end
  return m
end

local function contract()
  return { { name = "Posts", full_name = "posts.Posts", file = "posts.proto", comment = "Blog posts.", methods = {
    method("Save", 0), method("Query", 1), method("Watch", 2, { server_streaming = true, output = "posts.Save" }),
    method("Talk", 3, { client_streaming = true, server_streaming = true }),
  } } }
end

local HEAD = 'local mica = require "mica"\nlocal Posts = {}\nfunction Posts.Save(ctx, req) return { "saved", req } end\n'

-- What core.definition makes of a main.lua; its fault is raised.
local function define(text, services)
  local world = fake.new { types = TYPES, enums = { ["posts.State"] = { "NEW", "OLD" } }, contract = services or contract(),
    files = { ["main.lua"] = text } }
  local value = assert(world.core.compile(text, "@main.lua"))()
  return world.core.definition(value), world
end

local function with(keys) return HEAD .. "return mica.service {\n  handlers = { Posts = Posts },\n  " .. keys .. "\n}" end

test("a handler without rules and wrappers is the author's function", function()
  local d = define(HEAD .. "return mica.service { handlers = { Posts = Posts } }")
  eq({ "saved", 5 }, d.handlers[0](nil, 5))
  eq(nil, d.handlers[1])
  eq({}, d.deadlines)
  local chosen = {}
  local world = fake.new { types = TYPES, contract = contract() }
  local function save() return chosen end
  local made = world.core.definition(world.mica.service { handlers = { ["posts.Posts"] = { Save = save } } })
  ok(rawequal(save, made.handlers[0]))
end)

test("an unknown key names its line", function()
  raises('main.lua:6: mica.service has no key "publik" (did you mean "public"?)', define, with "publik = true,")
end)

test("a method that the contract lacks names its line", function()
  local text = 'local mica = require "mica"\nlocal Posts = {}\nfunction Posts.Svae() end\n'
    .. "return mica.service { handlers = { Posts = Posts } }"
  raises('main.lua:3: the service "posts.Posts" has no method "Svae" (did you mean "Save"?)', define, text)
end)

test("handlers are checked", function()
  local start = 'local mica = require "mica"\nreturn mica.service '
  raises("main.lua:2: mica.service wants handlers: { Posts = { ... } }", define, start .. "{}")
  raises('the contract has no service "Post" (did you mean "Posts"?)', define, start .. "{ handlers = { Post = {} } }")
  raises("handlers.Posts must be a table, got number", define, start .. "{ handlers = { Posts = 1 } }")
  raises("handlers.Posts.Save must be a function, got table", define, start .. "{ handlers = { Posts = { Save = {} } } }")
  raises("stands there twice", define, start .. '{ handlers = { Posts = {}, ["posts.Posts"] = {} } }')
  raises("main.lua must return mica.service { ... }, it returned nothing", define, "local x")
  raises("it returned a table", define, "return { handlers = {} }")
  raises("mica.service wants a table", define, start .. "(5)")
end)

test("a short name that two services share is refused", function()
  local two = contract()
  two[2] = { name = "Posts", full_name = "other.Posts", comment = "", methods = {} }
  raises('several proto services are called "Posts"', define, with "", two)
  local d = define(HEAD .. 'return mica.service { handlers = { ["posts.Posts"] = Posts } }', two)
  ok(d.handlers[0])
end)

test("keys of later versions are refused, not ignored", function()
  for _, key in ipairs { "events", "schedule", "topics", "config", "on_health", "on_export", "on_import" } do
    raises(('main.lua:6: mica.service: "%s" is not supported by this version'):format(key), define, with(key .. " = {},"))
  end
end)

test("public is true or a list of endpoints", function()
  local function public(keys)
    local d, world = define(with(keys))
    local described = world.core.decode("mica.core.v1.Definition", d.describe())
    local names = {}
    for _, e in ipairs(described.endpoints) do if e.public then names[#names + 1] = e.name end end
    return names
  end
  eq({}, public "")
  eq({ "Posts.Save", "Posts.Query", "Posts.Watch", "Posts.Talk" }, public "public = true,")
  eq({ "Posts.Query" }, public 'public = { "Posts.Query" },')
  eq({ "Posts.Query" }, public 'public = { "posts.Posts.Query" },')
  raises('main.lua:6: public: the contract has no endpoint "Posts.Qeury" (did you mean "Posts.Query"?)', define,
    with 'public = { "Posts.Qeury" },')
  raises("public must be true, or a list", define, with "public = false,")
  raises('"GET /x" is a route over HTTP, but there is no http', define, with 'public = { "GET /x" },')
end)

test("raw HTTP handlers", function()
  local function http(keys, more) return define(with("http = { " .. keys .. " }, " .. (more or ""))) end
  local function described(keys, more)
    local d, world = http(keys, more)
    local out = {}
    for i, h in ipairs(world.core.decode("mica.core.v1.Definition", d.describe()).http) do
      out[i] = h.key .. (h.public and " public" or "")
    end
    return out
  end
  local TWO = '["POST /a/{x}/*rest"] = print, ["GET /"] = print'
  eq({ "GET /", "POST /a/{x}/*rest" }, described(TWO))
  eq({ "GET / public", "POST /a/{x}/*rest public" }, described(TWO, "public = true"))
  eq({ "GET / public", "POST /a/{x}/*rest" }, described(TWO, 'public = { "GET /", "Posts.Save" }'))
  eq("function", type(http(TWO).http["GET /"]))
  eq(nil, define(with "").http)
  raises('main.lua:6: public: http has no key "GET /b"', http, TWO, 'public = { "GET /b" }')
  raises("http must be a table, got number", define, with "http = 5,")
  raises('http["GET /a"] must be a function, got number', http, '["GET /a"] = 5')
  for key, fault in pairs { ["/a"] = 'a method and a path: "GET /{id}"', ["GTE /a"] = 'did you mean "GET"?',
    ["CONNECT /a"] = 'no method "CONNECT"', ["GET a"] = "a method and a path", ["GET /a/"] = "without / at its end",
    ["GET /a//b"] = "no segment", ["GET /a b"] = "a method and a path", ["GET /*x/b"] = "it must come last",
    ["GET /{a}/{a}"] = "stands there twice", ["GET /{a"] = "no segment", ["GET /x{a}"] = "no segment", ["GET /{}"] = "no name",
    ["GET /*"] = "no name", ["GET /{a.b}"] = "no name", ["GET /.."] = "without . and ..", ["GET /a%20b"] = "no segment",
    ["GET /a?b"] = "no segment", ["GET /{a=**}"] = "no name", ["GET" .. (" /" .. ("a"):rep(600))] = "at most 500 characters",
    ["GET /{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}"] = "at most 16 variables" } do
    raises(fault, http, ("[%q] = print"):format(key))
  end
  raises("are the same route", http, '["GET /{a}"] = print, ["GET /{b}"] = print')
  raises("are the same route", http, '["GET /a/*b"] = print, ["GET /a/*c"] = print')
  ok(define('local mica = require "mica"\nreturn mica.service { http = { ["GET /"] = print } }').http)
  eq({ "GET /{count}/{names}" }, described '["GET /{count}/{names}"] = print')
  ok(define(with "limits = { body = \"1MB\" },"))
end)

-- The paths of Posts.Save in the definition that describes the service.
local function paths_of(option, services)
  local world = fake.new { types = TYPES, contract = services or contract() }
  local made = world.core.definition(world.mica.service {
    handlers = { Posts = { Save = function() end } }, endpoints = { ["Posts.Save"] = { path = option } },
  })
  return world.core.decode("mica.core.v1.Definition", made.describe()).endpoints[1].http
end

local function rule(verb, template, body, response_body)
  return { method = verb, template = template, body = body or "", response_body = response_body or "" }
end

test("paths in main.lua", function()
  eq({ rule("GET", "/p/{id}") }, paths_of "GET /p/{id}")
  eq({ rule("POST", "/p", "*"), rule("DELETE", "/p"), rule("*", "/q", "*") }, paths_of { "POST /p", "DELETE /p", "* /q" })
  eq({ rule("PUT", "/p", "author", "x") }, paths_of { "PUT /p", body = "author", response_body = "x" })
  eq({ rule("PUT", "/p", "author"), rule("GET", "/p") }, paths_of { { "PUT /p", body = "author" }, "GET /p" })
  local services = contract()
  services[1].methods[1].http = { rule("GET", "/option") }
  eq({ rule("GET", "/option"), rule("GET", "/p") }, paths_of("GET /p", services)) -- both count
  eq({}, paths_of(nil))
end)

test("faulty paths name their line", function()
  local function bad(text, option, services)
    raises(text, define, with('endpoints = {\n    ["Posts.Save"] = { path = ' .. option .. " } },"), services)
  end
  local shapes = 'endpoints["Posts.Save"].path: write "GET /posts/{id}", { "PUT'
  bad("main.lua:7: " .. shapes, '"x"')
  bad("main.lua:7: " .. shapes, '"get /x"')
  bad("main.lua:7: " .. shapes, '"GET x"')
  bad("main.lua:7: " .. shapes, '"GET  /x"')
  bad("main.lua:7: " .. shapes, "5")
  bad("main.lua:7: " .. shapes, "{ 5 }")
  bad("main.lua:7: " .. shapes, '{ verb = "GET /x" }')
  bad("main.lua:7: " .. shapes, '{ "POST /x", bdy = "y", body = "x" }')
  bad("main.lua:7: " .. shapes, '{ "POST /x", body = 5 }')
  bad('main.lua:7: endpoints["Posts.Save"].path: it is bad', '"GET /bad"')
  bad("main.lua:8: ", '{ "GET /x",\n "GET /bad" }')
  bad("the gateway itself answers /health", '"GET /health"')
  bad("GET /{b=*} answers what Posts.Save answers already", '{ "GET /{a}", "GET /{b=*}" }')
  local services = contract()
  services[1].methods[2].http, services[1].methods[2].line = { rule("GET", "/bad") }, 12
  bad("posts.proto:12: option (google.api.http) of Posts.Query: it is bad", '"GET /x"', services)
end)

test("empty answers", function()
  define(with 'endpoints = { ["Posts.Save"] = { empty = 204 } },')
  local services = contract()
  services[1].methods[1].output = "posts.Line"
  local text = with 'endpoints = { ["Posts.Save"] = { empty = 204 } },'
  raises("an answer of posts.Line is never empty, since it prints its fields", define, text, services)
  define(with 'json = { defaults = false }, endpoints = { ["Posts.Save"] = { empty = 204 } },', services)
  define(with 'endpoints = { ["Posts.Save"] = { empty = 204, path = { "GET /x", response_body = "amount" } } },', services)
  raises("is a stream", define, with 'endpoints = { ["Posts.Watch"] = { empty = 204 } },')
end)

test("the form of JSON", function()
  local function json_of(json)
    local world = fake.new { types = TYPES, contract = contract() }
    local made = world.core.definition(world.mica.service { handlers = { Posts = {} }, json = json })
    return world.core.decode("mica.core.v1.Definition", made.describe()).endpoints[1].json
  end
  eq(nil, json_of(nil))
  eq(nil, json_of {})
  eq({ camel = true, no_defaults = false, int64_number = false }, json_of { names = "camel" })
  eq({ camel = false, no_defaults = true, int64_number = true }, json_of { defaults = false, int64 = "number" })
end)

test("endpoint options", function()
  local d = define(with 'endpoints = { ["Posts.Save"] = { deadline = "5s", cache = "1m", hidden = true, path = "GET /x" } },')
  eq({ [0] = 5 }, d.deadlines)
  local function bad(text, options)
    raises(text, define, with('endpoints = { ["Posts.Save"] = { ' .. options .. " } },"))
  end
  bad('endpoints["Posts.Save"] has no key "dedline" (did you mean "deadline"?)', "dedline = 1")
  bad('endpoints["Posts.Save"].deadline: "x" is no duration', 'deadline = "x"')
  bad("hidden must be a boolean", "hidden = 1")
  bad("empty can only be 204", "empty = 200")
  raises("cannot be validated", define, with 'endpoints = { ["Posts.Talk"] = { validate = { id = "required" } } },')
  raises("the contract has no endpoint", define, with 'endpoints = { ["Posts.No"] = {} },')
end)

test("the fields of an event", function()
  local function endpoint(name, options) return with(('endpoints = { ["Posts.%s"] = { %s } },'):format(name, options)) end
  local d, world = define(endpoint("Watch", 'event_id = "id", resume = "id"'))
  local watch = world.core.decode("mica.core.v1.Definition", d.describe()).endpoints[3]
  eq({ "Posts.Watch", "id", "id" }, { watch.name, watch.event_id, watch.resume })
  raises('endpoints["Posts.Watch"].event_id: posts.Save has no field "nummer"', define, endpoint("Watch", 'event_id = "nummer"'))
  raises("resume needs event_id", define, endpoint("Watch", 'resume = "id"'))
  raises("only an endpoint that answers one message with a stream has events", define, endpoint("Save", 'event_id = "id"'))
  raises("only an endpoint that answers one message with a stream has events", define, endpoint("Talk", 'event_id = "id"'))
  raises("is no single text or whole number", define, endpoint("Watch", 'event_id = "tags"'))
end)

test("limits, uses, json and names", function()
  local d = define(with 'limits = { memory = "32MB", deadline = "1m30s", concurrency = 10, message = 1000, cpu = "50ms" },')
  eq({ memory = 32 * 1024 ^ 2, deadline = 90, concurrency = 10, message = 1000, cpu = 0.05 }, d.limits)
  raises('main.lua:6: limits has no key "memroy" (did you mean "memory"?)', define, with "limits = { memroy = 1 },")
  raises('limits.memory: "lots" is no size', define, with 'limits = { memory = "lots" },')
  raises("limits.queue must be a whole number", define, with "limits = { queue = 1.5 },")
  define(with 'uses = { call = { "tags" } }, json = { names = "camel", defaults = false, int64 = "number" }, name = "a.b-c",')
  raises('uses has no key "cal"', define, with "uses = { cal = {} },")
  raises("uses.call must be a list of strings", define, with "uses = { call = { 1 } },")
  raises('json.names can only be "camel"', define, with 'json = { names = "snake" },')
  raises("is no name for a service", define, with 'name = "Posts",')
  raises("on_start must be a function", define, with "on_start = 1,")
end)

test("wrappers go around, the first outermost", function()
  local d, world = define(with [[
  wrap = {
    function(ctx, req, next) ctx[#ctx + 1] = "a" local r = next() ctx[#ctx + 1] = "z" return r end,
    function(ctx, req, next) ctx[#ctx + 1] = req and req.id or "stream" return next() end,
  },]])
  ok(world)
  local ctx = {}
  eq({ "saved", { id = "1" } }, d.handlers[0](ctx, { id = "1" }))
  eq({ "a", "1", "z" }, ctx)
  raises("wrap must be a list of functions", define, with "wrap = { 1 },")
end)

test("wrappers of streaming methods", function()
  local text = 'local mica = require "mica"\nlocal Posts = {}\n'
    .. 'function Posts.Talk(ctx, stream) return { "talk", stream } end\n'
    .. 'function Posts.Watch(ctx, req, stream) return { req, stream } end\n'
    .. "return mica.service { handlers = { Posts = Posts }, wrap = {\n"
    .. "  function(ctx, req, next) ctx.seen = req == nil return next() end } }"
  local d = define(text)
  local ctx = {}
  eq({ "talk", "s" }, d.handlers[3](ctx, "s"))
  eq(true, ctx.seen)
  eq({ "r", "s" }, d.handlers[2](ctx, "r", "s"))
  eq(false, ctx.seen)
end)

test("the description", function()
  local d, world = define(with 'public = { "Posts.Query" }, limits = { memory = "1MB", cpu = 1 },')
  local described = world.core.decode("mica.core.v1.Definition", d.describe())
  eq({ "posts", "Blog posts." }, { described.name, described.description })
  eq({ memory = 1024 ^ 2 }, described.limits)
  eq({ "Posts.Query has no handler: it answers UNIMPLEMENTED", "Posts.Watch has no handler: it answers UNIMPLEMENTED",
    "Posts.Talk has no handler: it answers UNIMPLEMENTED" }, described.warnings)
  local save = described.endpoints[1]
  eq({ "Posts.Save", "/posts.Posts/Save", "Save does it." }, { save.name, save.path, save.description })
  local shown = {}
  for _, v in ipairs(save.request.values) do shown[#shown + 1] = v.name .. ":" .. v.type end
  eq("id:string title:string limit:int32 tags:[]string author:posts.Author lines:[]posts.Line "
    .. "labels:map[string]posts.Line state:posts.State draft:bool score:double", table.concat(shown, " "))
  local author = save.request.values[5]
  eq("boss", author.values[2].name)
  eq(nil, author.values[2].values) -- a type within itself is shown once
end)

-- ---- validate -------------------------------------------------------------------------------------------------------------

-- Runs a request through the rules: the request, or the faults by field.
local function check(rules, request)
  local world = fake.new { types = TYPES, enums = { ["posts.State"] = { "NEW", "OLD" } } }
  local compiled, fault = world.core.use("mica.validate").compile("posts.Save", rules)
  if not compiled then error(fault.text, 0) end
  local passed, err = pcall(compiled, request)
  if passed then return request end
  if type(err) ~= "table" then error(err, 0) end
  local faults = {}
  for _, v in ipairs(err.details[1].field_violations) do faults[v.field] = v.description end
  return faults
end

test("required", function()
  eq({ id = "is required", title = "is required", tags = "is required", author = "is required", limit = "is required" },
    check({ id = "required", title = "required", tags = { required = true }, author = "required", limit = "required" },
      { id = "", tags = {}, limit = 0 }))
  eq({ id = "1", title = "" }, check({ id = "required", title = "required" }, { id = "1", title = "" }))
end)

test("default replaces absent and zero", function()
  eq({ limit = 20, id = "x", title = "t", score = 1.5, draft = false },
    check({ limit = { default = 20, max = 100 }, id = { default = "x" }, title = { default = "t" }, score = { default = 1.5 } },
      { limit = 0, id = "", draft = false }))
  eq({ limit = "must be at most 100" }, check({ limit = { default = 20, max = 100 } }, { limit = 101 }))
end)

test("min and max", function()
  eq({ limit = "must be at least 1", id = "must have at most 3 characters", tags = "must have at least 2 elements" },
    check({ limit = { min = 1 }, id = { max = 3 }, tags = { min = 2 } }, { limit = 0, id = "abcd", tags = { "a" } }))
  eq({ id = "äöü" }, check({ id = { max = 3 } }, { id = "äöü" }))
  eq({}, check({ title = { min = 3 } }, {})) -- absent
  eq({ title = "must have at least 3 characters" }, check({ title = { min = 3 } }, { title = "" }))
end)

test("match, one_of, check", function()
  local rules = { id = { match = "^%l+$" }, state = { one_of = { "NEW" } },
    limit = { check = function(v) if v % 2 == 1 then return "must be even" end end } }
  eq({ id = "does not match ^%l+$", state = 'must be one of "NEW"', limit = "must be even" },
    check(rules, { id = "A", state = "OLD", limit = 3 }))
  eq({ id = "a", state = "NEW", limit = 2 }, check(rules, { id = "a", state = "NEW", limit = 2 }))
  raises("must return a text or nil", check, { id = { check = function() return true end } }, { id = "" })
end)

test("paths lead into messages and lists", function()
  local rules = { ["author.name"] = "required", ["author.boss.name"] = { min = 2 }, ["lines.amount"] = { min = 1 } }
  eq({ ["author.name"] = "is required", ["author.boss.name"] = "must have at least 2 characters",
    ["lines[1].amount"] = "must be at least 1" },
    check(rules, { author = { name = "", boss = { name = "x" } }, lines = { { amount = 5 }, { amount = 0 } } }))
  eq({ lines = {} }, check(rules, { lines = {} }))
end)

test("rules are checked against the contract", function()
  local function bad(text, rules) raises(text, check, rules, {}) end
  bad('posts.Save has no field "titel" (did you mean "title"?)', { titel = "required" })
  bad('posts.Author has no field "nam"', { ["author.nam"] = "required" })
  bad('"id" is no message', { ["id.x"] = "required" })
  bad('there is no rule "requird" (did you mean "required"?)', { id = { requird = true } })
  bad("id: write \"required\"", { id = "needed" })
  bad("min is for numbers", { draft = { min = 1 } })
  bad("min must be a number", { id = { min = "1" } })
  bad("the default must be a number, got string", { limit = { default = "x" } })
  bad("the default must be whole", { limit = { default = 1.5 } })
  bad("cannot have a default", { tags = { default = {} } })
  bad("match must be a Lua pattern", { id = { match = "[" } })
  bad("match is for strings", { limit = { match = "x" } })
  bad('posts.State has no value "NWE" (did you mean "NEW"?)', { state = { one_of = { "NWE" } } })
  bad("write `optional` before it", { draft = "required" })
  bad("check must be a function", { id = { check = "x" } })
end)

test("faulty rules name the line", function()
  raises('main.lua:6: endpoints["Posts.Save"].validate: posts.Save has no field "titel"', define,
    with 'endpoints = { ["Posts.Save"] = { validate = { titel = "required" } } },')
  local d = define(with 'endpoints = { ["Posts.Save"] = { validate = { id = "required" } } },')
  eq("INVALID_ARGUMENT", raises("id is required", d.handlers[0], {}, { id = "" }).code)
  eq({ "saved", { id = "1" } }, d.handlers[0]({}, { id = "1" }))
end)

test("in a service that dials, files without handlers are other servers' contracts", function()
  local function services()
    local list = contract()
    list[2] = { name = "Weather", full_name = "weather.Weather", comment = "", file = "weather.proto", methods = {
      method("Today", 4, { path = "/weather.Weather/Today" }) } }
    return list
  end
  local function disowned(keys)
    local files = {}
    local world = fake.new { types = TYPES, contract = services(), files = { ["main.lua"] = with(keys) } }
    function world.core.disown(file) files[#files + 1] = file end
    local d = world.core.definition(assert(world.core.compile(with(keys), "@main.lua"))())
    return files, d, world
  end
  eq({}, (disowned ""))
  local files, d, world = disowned 'uses = { dial = { "weather:1" } },'
  eq({ "weather.proto" }, files)
  eq({ true, false }, { world.core.dials("weather:1"), world.core.dials("weather:2") })
  ok(d.handlers[0])
  raises('endpoints: the contract has no endpoint "Weather.Today"', disowned,
    'uses = { dial = { "weather:1" } }, endpoints = { ["Weather.Today"] = {} },')
  disowned 'endpoints = { ["Weather.Today"] = {} },'
end)

test("what main.lua dials must be declared", function()
  local function dialled(keys)
    local text = with(keys)
    local world = fake.new { types = TYPES, contract = contract(), files = { ["main.lua"] = text } }
    world.core.dialled = { "weather:1" }
    function world.core.disown() end
    return world.core.definition(assert(world.core.compile(text, "@main.lua"))())
  end
  raises('main.lua:4: "weather:1" is dialled, but the definition does not say so: uses = { dial = { "weather:1" } }',
    dialled, "")
  dialled 'uses = { dial = { "weather:1", "other:2" } },'
  for _, granted in ipairs { "*", "weather:*", "*:1", "wea*er:1" } do dialled(('uses = { dial = { %q } },'):format(granted)) end
  for _, granted in ipairs { "weather:2", "we*", "*:2", "*:", "weathe.:1", "other:*" } do
    raises("is dialled", dialled, ('uses = { dial = { %q } },'):format(granted))
  end
end)
