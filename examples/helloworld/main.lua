local mica = require "mica"

---@type helloworld.Helloworld.Server
local Helloworld = {}

function Helloworld.Call(ctx, req)
  mica.log.info("received Helloworld.Call", { name = req.name })
  return { message = "Hello " .. req.name }
end

function Helloworld.Stream(ctx, req, stream)
  for _ = 1, req.messages do stream:send { message = "Hello " .. req.name } end
end

function Helloworld.PingPong(ctx, stream)
  for ping in stream:messages() do stream:send { stroke = ping.stroke } end
end

return mica.service {
  handlers = { Helloworld = Helloworld },
  public = true, -- anyone may call; without this line, only accounts of the namespace
}
