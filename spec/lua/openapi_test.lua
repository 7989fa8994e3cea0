-- SPDX-License-Identifier: Apache-2.0
-- services/platform/api/openapi: patterns, templates, ordered objects, rules, parameters; and paths.canonical.
local T = ...
local test, eq, ok = T.test, T.eq, T.ok

package.path = "services/platform/api/?.lua;lua/?.lua;" .. package.path
local json = {}
function json.encode(value)
  if type(value) == "string" then return '"' .. value:gsub('["\\]', "\\%0"):gsub("\n", "\\n") .. '"' end
  return type(value) == "number" and ("%.14g"):format(value) or tostring(value)
end
function json.decode(text)
  if text:sub(1, 1) == '"' then return (text:sub(2, -2)) end
  if text == "true" or text == "false" then return text == "true" end
  return tonumber(text)
end
package.preload["mica.json"] = function() return json end
package.preload["mica"] = function() return { json = json } end

local contracts = require "mica.contract"
local ordered = require "openapi.ordered"
local parameters = require "openapi.parameters"
local paths = require "paths"
local pattern = require "openapi.pattern"
local rules = require "openapi.rules"
local schema = require "openapi.schema"
local template = require "openapi.template"

-- ---- ordered objects

test("an ordered object keeps the order of its members", function()
  local o = ordered.object("z", 1, "a", "x", "nothing", nil, "list", { 1, 2 }, "none", ordered.list(), "inner", ordered.object())
  o:set("z", 2)
  eq('{"z":2,"a":"x","list":[1,2],"none":[],"inner":{}}', ordered.encode(o))
  eq('{"a":1,"b":2}', ordered.encode { b = 2, a = 1 })
  ok(ordered.object():is_empty())
  eq(2, o:get "z")
end)

-- ---- patterns

test("Lua patterns that regular expressions can say", function()
  local cases = {
    ["^[a-z][a-z0-9-]*$"] = "^[a-z][a-z0-9\\-]*$",
    ["^%a+$"] = "^[A-Za-z]+$",
    ["%d"] = "[0-9]",
    ["^%w+@%w+%.%a%a$"] = "^[A-Za-z0-9]+@[A-Za-z0-9]+\\.[A-Za-z][A-Za-z]$",
    ["^(%d%d):(%d%d)$"] = "^([0-9][0-9]):([0-9][0-9])$",
    ["^x-y$"] = "^x*?y$",
    ["^[%w_]?$"] = "^[A-Za-z0-9_]?$",
    ["^[^/]+$"] = "^[^/]+$",
    ["^.+$"] = "^[\\s\\S]+$",
    ["^a.*b.+$"] = "^a[\\s\\S]*b[\\s\\S]+$",
    ["^%S+$"] = "^[^ \\t\\n\\v\\f\\r]+$",
    ["a^b$c"] = "a\\^b\\$c",
    ["^()x"] = "^x",
    ["^[]a]$"] = "^[\\]a]$",
    ["^[%]%-]$"] = "^[\\]\\-]$",
    ["50%%"] = "50%",
    ["a{2}|b"] = "a\\{2\\}\\|b",
    [""] = "",
  }
  for from, to in pairs(cases) do eq(to, pattern.to_regex(from)) end
end)

test("Lua patterns that regular expressions cannot say, or not of every text", function()
  local texts = { "%b()", "%f[%w]x", "(a)%1", "^.$", "^..+$", "^%D$", "^[^a]?$", "^[^a]+.+$", "é", "[é]", "[%D]", "a\0b" }
  for _, text in ipairs(texts) do
    eq(nil, pattern.to_regex(text))
  end
end)

-- ---- templates

local function shown(text)
  local found = template.read(text)
  local parts = { found.path }
  for i, v in ipairs(found.variables) do
    parts[i + 1] = ("%s=%s%s%s"):format(v.name, v.field or "-", v.whole and "" or "~", v.rest and "/**" or "")
  end
  return table.concat(parts, " ")
end

test("templates as paths", function()
  eq("/", shown "/")
  eq("/posts/save", shown "/posts/save")
  eq("/posts/{id} id=id", shown "/posts/{id}")
  eq("/posts/{id}:publish id=id", shown "/posts/{id}:publish")
  eq("/posts:find", shown "/posts:find")
  eq("/a/{page_limit}/b page_limit=page.limit", shown "/a/{page.limit}/b")
  eq("/v1/shelves/{name} name=name~", shown "/v1/{name=shelves/*}")
  eq("/v1/shelves/{name_1}/books/{name_2}:read name_1=name~ name_2=name~/**", shown "/v1/{name=shelves/*/books/**}:read")
  eq("/files/{name} name=name/**", shown "/files/{name=**}")
  eq("/any/{segment_1}/{id} segment_1=-~ id=id", shown "/any/*/{id}")
  eq("/x/{}/y/{}", template.shape "/x/{a}/y/{b_1}")
end)

test("the path that people see", function()
  eq("/helloworld/call", paths.canonical("helloworld", "Helloworld.Call"))
  eq("/blog-posts/saveIt", paths.canonical("blog-posts", "BlogPosts.SaveIt"))
  eq("/posts/comments/list", paths.canonical("posts", "Comments.List"))
  eq("/foo/bar/baz/cat", paths.canonical("foo.bar", "Baz.Cat"))
  eq("/v1/foo/bar", paths.canonical("v1.foo", "Foo.Bar"))
  eq("/v1/foo", paths.canonical("v1", "V1.Foo"))
  eq(nil, paths.canonical("v1", "Other.Foo"))
end)

-- ---- a contract

local function descriptor(name, number, kind, more)
  local f = { name = name, json_name = name, number = number, type = "TYPE_" .. kind, label = "LABEL_OPTIONAL" }
  for k, v in pairs(more or {}) do f[k] = v end
  return f
end

local function message(name, fields, more)
  local m = { name = name, field = fields, nested_type = {}, enum_type = {}, oneof_decl = {}, extension = {} }
  for k, v in pairs(more or {}) do m[k] = v end
  return m
end

local function new_contract()
  local many = { label = "LABEL_REPEATED" }
  local function of(kind, more)
    more = more or {}
    more.type_name = ".p." .. kind
    return more
  end
  return contracts.read({ file = { {
    name = "p.proto", package = "p", syntax = "proto3", service = {}, extension = {},
    enum_type = { { name = "State", value = { { name = "NEW", number = 0 }, { name = "OLD", number = 1 } } } },
    message_type = {
      message("Save", {
        descriptor("id", 1, "STRING"), descriptor("limit", 2, "INT32"), descriptor("wide", 3, "INT64"),
        descriptor("tags", 4, "STRING", many), descriptor("author", 5, "MESSAGE", of "Author"),
        descriptor("lines", 6, "MESSAGE", of("Author", { label = "LABEL_REPEATED" })),
        descriptor("labels", 7, "MESSAGE", of("Save.LabelsEntry", { label = "LABEL_REPEATED" })),
        descriptor("state", 8, "ENUM", of "State"), descriptor("note", 9, "STRING", { proto3_optional = true, oneof_index = 1 }),
        descriptor("email", 10, "STRING", { oneof_index = 0 }), descriptor("phone", 11, "INT64", { oneof_index = 0 }),
        descriptor("some_name", 12, "STRING", { json_name = "someName" }),
      }, {
        oneof_decl = { { name = "contact" }, { name = "_note" } },
        nested_type = { message("LabelsEntry", { descriptor("key", 1, "INT32"), descriptor("value", 2, "STRING") },
          { options = { map_entry = true } }) },
      }),
      message("Author", { descriptor("name", 1, "STRING"), descriptor("boss", 2, "MESSAGE", of "Author") }),
    },
  } } }, { "p.proto" })
end

local function new_schemas(style) return schema.new(new_contract(), style or { camel = false, int64_number = false }) end

local function finished(schemas, root)
  schemas:message(root)
  local made = schemas:finish(function() end)
  return made
end

test("a message is a component, what it holds too", function()
  local made = finished(new_schemas(), "p.Save")
  local save = made["p.Save"]
  eq('{"type":"string","format":"int64","pattern":"^-?[0-9]+$"}', ordered.encode(save:get "properties":get "wide"))
  eq('{"type":"object","additionalProperties":{"type":"string"},"propertyNames":{"pattern":"^-?[0-9]+$"}}',
    ordered.encode(save:get "properties":get "labels"))
  eq('{"$ref":"#/components/schemas/p.Author"}', ordered.encode(save:get "properties":get "author"))
  eq('{"email":{"properties":{"phone":false}},"phone":{"properties":{"email":false}}}',
    ordered.encode(save:get "dependentSchemas"))
  eq("contact, at most one of `email`, `phone`", save:get "description")
  eq('{"type":"string","enum":["NEW","OLD"]}', ordered.encode(made["p.State"]))
  eq(nil, made["p.Save.LabelsEntry"])
end)

test("the style of the service", function()
  local save = finished(new_schemas { camel = true, int64_number = true }, "p.Save")["p.Save"]
  eq('{"type":"integer","format":"int64"}', ordered.encode(save:get "properties":get "wide"))
  ok(save:get "properties":get "someName")
end)

-- ---- rules

local function rule(path, more)
  local r = { path = path, required = false, min = "", max = "", match = "", one_of = {}, default = "", checked = false }
  for k, v in pairs(more) do r[k] = v end
  return r
end

local function overlay(list, elsewhere)
  local made = rules.overlay(new_schemas(), "p.Save", list, elsewhere or {})
  return made and ordered.encode(made)
end

test("rules are laid over a message", function()
  eq(nil, overlay {})
  eq('{"properties":{"id":{"minLength":1}},"required":["id"]}', overlay { rule("id", { required = true }) })
  eq(nil, overlay({ rule("id", { required = true }) }, { id = true }))
  eq('{"properties":{"limit":{"minimum":1,"maximum":9,"default":5}}}',
    overlay { rule("limit", { min = "1", max = "9", default = "5" }) })
  eq('{"properties":{"limit":{"minimum":1}},"required":["limit"]}', overlay { rule("limit", { min = "1" }) })
  eq('{"properties":{"wide":{"description":"Must be: at most 9."}}}', overlay { rule("wide", { max = "9" }) })
  eq('{"properties":{"wide":{"enum":["5","0"]}}}', overlay { rule("wide", { one_of = { "5", "0" } }) })
  eq('{"properties":{"state":{"enum":["OLD"]}},"required":["state"]}', overlay { rule("state", { one_of = { '"OLD"' } }) })
  eq('{"properties":{"note":{"minLength":2}}}', overlay { rule("note", { min = "2" }) })
  eq('{"properties":{"note":{}},"required":["note"]}', overlay { rule("note", { required = true }) })
  eq('{"properties":{"tags":{"maxItems":3}}}', overlay { rule("tags", { max = "3" }) })
  eq('{"properties":{"id":{"pattern":"^[0-9]+$"}},"required":["id"]}', overlay { rule("id", { match = "^%d+$" }) })
  eq('{"properties":{"id":{"description":"Must be: like the Lua pattern %b(); checked by the service."}},"required":["id"]}',
    overlay { rule("id", { match = "%b()", checked = true }) })
end)

test("rules of what lies in messages and lists", function()
  eq('{"properties":{"author":{"properties":{"name":{"minLength":1}},"required":["name"]}},"required":["author"]}',
    overlay { rule("author", { required = true }), rule("author.name", { required = true }) })
  eq('{"properties":{"lines":{"items":{"properties":{"boss":{"properties":{"name":{"maxLength":5}}}}}}}}',
    overlay { rule("lines.boss.name", { max = "5" }) })
end)

-- ---- parameters

test("what a query can hold", function()
  local names = {}
  local list = parameters.of_query(new_schemas(), "p.Save", { id = true, tags = true }, {})
  for i, p in ipairs(list) do names[i] = p:get "name" end
  eq({ "limit", "wide", "author.name", "labels", "state", "note", "email", "phone", "some_name" }, names)
  eq('{"name":"labels","in":"query","style":"deepObject","explode":true,"schema":{"type":"object","additionalProperties":'
    .. '{"type":"string"},"propertyNames":{"pattern":"^-?[0-9]+$"}}}', ordered.encode(list[4]))
  eq("At most one of the oneof `contact`.", list[7]:get "description")
end)

test("variables of a path, and their rules", function()
  local by_path = { id = rule("id", { max = "5" }), limit = rule("limit", { min = "1", required = true }) }
  local made = parameters.of_path(new_schemas(), "p.Save", template.read("/x/{id}/{limit}/{author.name=**}").variables, by_path)
  eq('{"name":"id","in":"path","required":true,"schema":{"type":"string","maxLength":5,"minLength":1}}', ordered.encode(made[1]))
  eq('{"name":"limit","in":"path","required":true,"schema":{"type":"integer","format":"int32","minimum":1,"maximum":2147483647,'
    .. '"not":{"const":0}}}', ordered.encode(made[2]))
  eq("The field `author.name`. May hold slashes, which are sent as they are.", made[3]:get "description")
  eq("author_name", made[3]:get "name")
end)

-- ---- documents

test("paths of two services that differ in the names of variables are one", function()
  local function part(service, verb, name)
    local text = ('{"parameters":[{"name":"%s","in":"path"}],"d":"\\"name\\":\\"%s\\""}'):format(name, name)
    return { service = service, schemas = {}, tags = {},
      operations = { { path = "/things/{" .. name .. "}", verb = verb, names = { name }, text = text } } }
  end
  local parts, pieces = { part("a", "get", "id"), part("b", "put", "other"), part("c", "get", "late") }, {}
  local options = { title = "t", version = "1", description = "", namespace = "mica" }
  local function next_part() return table.remove(parts, 1) end
  require("openapi.document").write(options, next_part, function(piece) pieces[#pieces + 1] = piece end)
  local found = table.concat(pieces):match '"paths":(.-)\n"components"'
  eq('{"/things/{id}":{"get":{"parameters":[{"name":"id","in":"path"}],"d":"\\"name\\":\\"id\\""},'
    .. '"put":{"parameters":[{"name":"id","in":"path"}],"d":"\\"name\\":\\"other\\""}}},', found)
end)
