-- Answers what it is sent: for the command line's tests.

local mica = require "mica"
local log = mica.log

local calls = 0 -- of unary methods that take a request as it is

local function echo(_, req)
  calls = calls + 1
  log.info("called", { calls = calls })
  return req
end

local Fields = { Call = echo, Echo = echo, Names = echo, Plant = echo }

function Fields.Count(ctx, req, stream)
  for i = 1, req.n do stream:send { n = i } end
end

function Fields.Sum(ctx, stream)
  local sum = 0
  for message in stream:messages() do sum = sum + message.n end
  return { n = sum }
end

function Fields.Double(ctx, stream)
  for message in stream:messages() do
    if message.n < 0 then error(mica.errors.out_of_range("%d is below 0", message.n)) end
    stream:send { n = message.n * 2 }
  end
end

function Fields.Download(ctx, req) return { content = ("\0\1\255\n"):rep(req.n) } end

function Fields.Head(ctx, req)
  local values = {}
  for key in pairs(ctx.metadata) do values[key] = table.concat(ctx:metadata_all(key), ",") end
  ctx:set_header("x-first", "1")
  return { values = values }
end

local FieldsAdmin = {}
function FieldsAdmin.Reset() return {} end

return mica.service {
  handlers = { Fields = Fields, FieldsAdmin = FieldsAdmin },
  endpoints = {
    ["Fields.Call"] = { validate = { times = { min = 0, max = 1000 }, name = { max = 50, match = "^[^%d]*$" } } },
  },
}
