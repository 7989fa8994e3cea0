-- SPDX-License-Identifier: Apache-2.0
-- mica.sorted(t): `pairs` in key order. The order of pairs differs from VM to VM, so whatever shows an order uses this.
-- Numbers (int64 among them) come first, then strings by byte, then false and true; other keys have no order.
local core = ...
local compare = core.proto.compare

local RANK = { number = 1, userdata = 1, cdata = 1, string = 2, boolean = 3 }

local function less(a, b)
  local x, y = RANK[type(a)], RANK[type(b)]
  if x ~= y then return x < y end
  if x == 1 then
    if type(a) == "number" and type(b) == "number" then return a < b end
    return compare(a, b) < 0
  end
  if x == 3 then return not a and b end
  return a < b
end

---@generic K, V
---@param t table<K, V>
---@return fun(): K, V
return function(t)
  if type(t) ~= "table" then error("mica.sorted wants a table, got " .. type(t), 2) end
  local keys, n = {}, 0
  for key in next, t do
    if not RANK[type(key)] then error("mica.sorted cannot order keys of type " .. type(key), 2) end
    n = n + 1
    keys[n] = key
  end
  table.sort(keys, less)
  local i = 0
  return function()
    i = i + 1
    local key = keys[i]
    if key ~= nil then return key, t[key] end
  end
end
