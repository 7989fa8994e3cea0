local mica = require "mica"

local Away = {}

local function given(text) return text ~= "" and text or nil end

function Away.Call(_, req)
  local tls = { ca = given(req.ca), cert = given(req.cert), key = given(req.key), name = given(req.name) }
  if next(tls) == nil then tls = true end
  local server = mica.client.dial(req.address, { json = true, tls = not req.plain and tls or nil })
  return { json = server:call(req.path, req.json) }
end

return mica.service { handlers = { Away = Away }, public = true, uses = { dial = { "127.0.0.1:*", "localhost:*" } } }
