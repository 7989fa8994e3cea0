-- SPDX-License-Identifier: Apache-2.0
-- Origins of web pages (https://www.rfc-editor.org/rfc/rfc6454#section-6.2) as they stand in options: exactly as browsers write
-- them, since they are compared as they are.
local M = {}

local DEFAULT_PORTS = { http = "80", https = "443" }

--- What is wrong with an origin, or nil.
---@param text string "https://app.example", or "*" for every one
---@return string? fault
function M.fault(text)
  if text == "*" then return nil end
  local scheme, rest = text:match "^(%l[%l%d+.-]*)://(.*)$"
  local host, port = (rest or ""):match "^([%l%d.-]+):?(%d*)$"
  if not host then host, port = (rest or ""):match "^(%[[%x:]+%]):?(%d*)$" end
  if not scheme or not host or rest:sub(-1) == ":" or #text > 300 then
    return ('%q is no origin: write "https://app.example" or "http://localhost:3000", without a path, in lower case; or "*"')
      :format(text)
  end
  if port ~= "" and (#port > 5 or tonumber(port) < 1 or tonumber(port) > 65535 or port:sub(1, 1) == "0") then
    return ("%q is no origin: there is no port %s"):format(text, port)
  end
  if DEFAULT_PORTS[scheme] == port then
    return ("%q: browsers leave port %s out for %s: write %q"):format(text, port, scheme, scheme .. "://" .. host)
  end
  return nil
end

M.MAX = 100 -- origins in one list

return M
