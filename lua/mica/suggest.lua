-- SPDX-License-Identifier: Apache-2.0
-- "Did you mean": the nearest of some names. The same measure as the core's (core/pb/desc.h): at most a third of the word.
local M = {}

local min, max, floor = math.min, math.max, math.floor

-- Edits that make `b` of `a`; two letters that have changed places are one edit. `limit + 1` when there are more.
local function distance(a, b, limit)
  if math.abs(#a - #b) > limit then return limit + 1 end
  local before, last, row = {}, {}, {}
  for j = 0, #b do last[j] = j end
  for i = 1, #a do
    row[0] = i
    local x, best = a:byte(i), i
    for j = 1, #b do
      local y = b:byte(j)
      local cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x == y and 0 or 1))
      if i > 1 and j > 1 and x == b:byte(j - 1) and a:byte(i - 1) == y then cost = min(cost, before[j - 2] + 1) end
      row[j] = cost
      best = min(best, cost)
    end
    if best > limit then return limit + 1 end
    before, last, row = last, row, before
  end
  return last[#b]
end

--- The name that is nearest to `word`; nil when none is near. Of equals the first in the alphabet.
---@param word any
---@param names string[]|table<string, any> a list, or the keys of a set
---@return string?
function M.nearest(word, names)
  if type(word) ~= "string" or #word > 100 then return nil end
  local limit = max(1, floor(#word / 3))
  local best
  local is_list = rawget(names, 1) ~= nil
  for key, value in next, names do
    local name = is_list and value or key
    if type(name) == "string" then
      local d = distance(word:lower(), name:lower(), limit)
      if d < limit or (d == limit and (not best or name < best)) then
        if d < limit then limit = d end
        best = name
      end
    end
  end
  return best
end

--- ` (did you mean "x"?)`, or nothing.
---@param word any
---@param names string[]|table<string, any>
---@return string
function M.hint(word, names)
  local near = M.nearest(word, names)
  return near and (' (did you mean "%s"?)'):format(near) or ""
end

--- Raises at the caller's caller for a key that `known` lacks.
---@param what string names the table in the message: "mica.service"
---@param t table
---@param known table<string, any>
---@param level? integer
function M.check_keys(what, t, known, level)
  for key in next, t do
    if known[key] == nil then
      error(('%s has no option "%s"%s'):format(what, tostring(key), M.hint(key, known)), level or 3)
    end
  end
end

return M
