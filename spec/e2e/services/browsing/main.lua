local mica = require "mica"
local errors = mica.errors

---@type browsing.Browsing.Server
local Browsing = {}

function Browsing.Greet(ctx, req)
  mica.log.info("greeted", { text = req.text })
  ctx:set_header("x-got", ctx.metadata["x-sent"] or "nothing")
  return { text = "Hello " .. req.text }
end

function Browsing.Count(_, req, stream)
  for n = 1, req.count do
    if n == req.fail_after + 1 and req.fail_after > 0 then error(errors.out_of_range("no more than %d", req.fail_after)) end
    stream:send { n = n }
  end
end

function Browsing.Chat(_, stream)
  for greeting in stream:messages() do stream:send { text = "Hello " .. greeting.text } end
end

local function hex(bytes) return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end

function Browsing.Upload(_, req)
  return { title = req.title, size = #req.file, sha256 = hex(mica.crypto.sha256(req.file)) }
end

function Browsing.Refuse(_, req) error(errors.not_found("no %s here: äöü", req.text)) end

return mica.service {
  handlers = { Browsing = Browsing },
  public = true,
}
