local mica = require "mica"

local Target = {}

function Target.Echo(_, req) return { text = req.text } end

function Target.Endless(_, _, stream)
  local piece = { text = ("x"):rep(16 * 1024) }
  while true do stream:send(piece) end
end

function Target.Take(_, stream)
  local n = 0
  for _ in stream:messages() do n = n + 1 end
  return { text = tostring(n) }
end

function Target.Ignore() mica.sleep "1h" end

function Target.Large() return { text = ("x"):rep(1024 * 1024) } end

return mica.service { handlers = { Target = Target }, public = true }
