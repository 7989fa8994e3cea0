local mica = require "mica"

local Torture = {}

local function echo(_, req) return req end

for _, name in ipairs { "EchoScalars", "EchoLists", "EchoMaps", "EchoChoices", "EchoKnown", "EchoOld", "EchoRuled", "EchoUpload",
  "Recursive", "Nested", "Nothing", "Gone", "Hidden", "Private" } do
  Torture[name] = echo
end

function Torture.EchoShared(_, req) return { there = #req.here } end

function Torture.Watch(_, req, stream)
  for _ = 1, 3 do stream:send(req) end
end

function Torture.Talk(_, stream)
  for item in stream:messages() do stream:send(item) end
end

function Torture.Extremes()
  return { an_int64 = mica.int64 "-9223372036854775808", a_uint64 = mica.int64 "9223372036854775807", an_int32 = -2 ^ 31,
    a_uint32 = 2 ^ 32 - 1, a_double = 1e308, a_float = 1e-30, some_bytes = "\0\255", an_id = "9007199254740993",
    a_number = 2 ^ 53 - 1 }
end

return mica.service {
  handlers = { Torture = Torture },
  public = { "Torture.EchoScalars", "Torture.EchoLists", "Torture.EchoMaps", "Torture.EchoChoices", "Torture.EchoKnown",
    "Torture.Recursive", "Torture.Nested", "Torture.EchoShared", "Torture.EchoOld", "Torture.Nothing", "Torture.Gone",
    "Torture.EchoRuled", "Torture.EchoUpload", "Torture.Watch", "Torture.Talk", "Torture.Hidden", "Torture.Extremes" },
  endpoints = {
    ["Torture.Hidden"] = { hidden = true },
    ["Torture.EchoShared"] = { deadline = "5s" },
    ["Torture.EchoRuled"] = {
      validate = {
        id = "required",
        slug = { match = "^[a-z][a-z0-9-]*$", max = 20 },
        limit = { default = 20, min = 1, max = 100 },
        wide = { min = 1 },
        tags = { max = 3 },
        labels = { max = 2 },
        color = { one_of = { "RED", "NONE" } },
        author = "required",
        ["author.name"] = { required = true, min = 2 },
        ["author.age"] = { min = 0, max = 150 },
        ["others.name"] = "required",
        blob = { max = 8 },
        ratio = { min = 0, max = 1 },
        note = { min = 1, check = function(v) if v == "no" then return "must not be no" end end },
        code = { match = "^%f[%w]%w*$" },
      },
    },
  },
}
