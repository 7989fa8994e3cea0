-- "Did you mean", for commands, flags, services and fields.

local suggest = require "mica.suggest"

local suggestions = {}

--- The nearest of the names; nil when none is near.
---@param word string
---@param names string[]
---@return string?
function suggestions.nearest(word, names)
  if #names == 0 then return nil end
  return suggest.nearest(word, names)
end

--- ` (did you mean "x"?)`, or nothing.
---@param word string
---@param names string[]
---@param prefix? string stands before the name that is shown ("--")
---@return string
function suggestions.hint(word, names, prefix)
  local near = suggestions.nearest(word, names)
  return near and (' (did you mean "%s%s"?)'):format(prefix or "", near) or ""
end

return suggestions
