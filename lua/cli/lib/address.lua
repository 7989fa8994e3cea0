-- Addresses of servers as people write them: HOST:PORT, or https://HOST[:PORT] for TLS.

local address = {}

---@param cli mica.cli.Console
---@param text string
---@return string place HOST:PORT
---@return boolean tls
function address.parse(cli, text)
  local rest = text:match "^https://(.-)/?$"
  local place = rest or text
  if rest and not (place:find "^[^:%[]*:" or place:find "%]:") then place = place .. ":443" end
  if not (place:find "^[^%s/:%[%]]+:%d+$" or place:find "^%[[%x:.]+%]:%d+$") then
    cli:usage("%q is no address: write HOST:PORT, or https://HOST:PORT for TLS", text)
  end
  return place, rest ~= nil
end

return address
