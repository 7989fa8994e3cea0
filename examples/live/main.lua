-- A conversation over a WebSocket and events that a page goes on with where it was. README.md has the lines for a shell.

local mica = require "mica"
local web = mica.web

---@type live.Live.Server
local Live = {}

function Live.Talk(_, stream)
  local number = 0
  for line in stream:messages() do
    number = number + 1
    stream:send { text = line.text, number = number }
  end
end

function Live.Ticks(_, req, stream)
  local number = req.since
  while req.to == 0 or number < req.to do
    if number > req.since then mica.sleep(1) end
    number = number + 1
    stream:send { number = number }
  end
end

return mica.service {
  handlers = { Live = Live },
  public = true,
  -- A page that comes back after a break says which event was its last one.
  endpoints = { ["Live.Ticks"] = { event_id = "number", resume = "since" } },
  http = { ["GET /*path"] = web.files "public" },
}
