local mica = require "mica"

local Values = {}

function Values.Echo(_, req) return req end

-- Copies what is set, so that the answer is encoded from plain tables.
local function copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = copy(v) end
  return out
end

-- Well-known types keep marks that a plain copy would lose (null, empty lists): they go over as they are.
function Values.Rebuild(_, req)
  local out = {}
  for k, v in pairs(req) do
    if k == "contact" then
      out[v] = copy(req[v])
    elseif k:sub(1, 2) == "w_" then
      out[k] = v
    else
      out[k] = copy(v)
    end
  end
  return out
end

function Values.Describe(_, req)
  return {
    contact = req.contact or "nil",
    color = tostring(req.f_enum),
    absent = tostring(req.o_int32),
    id = type(req.f_id),
    big = tostring(req.f_int64 + 1),
    unset = string.format("%q %d %s", req.f_string, #req.r_int32, type(req.m_string)),
  }
end

return mica.service {
  handlers = { Values = Values },
  public = true,
}
