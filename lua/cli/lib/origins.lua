-- Lists of origins (CORS) as flags, a variable, and in mica.json.

local origin = require "mica.origin"

local origins = {}

function origins.declare(parser, flag, help) parser:option("--" .. flag, help):argname("ORIGIN"):count "*" end

--- Checks a list.
---@param cli mica.cli.Console
---@param list string[]
---@param what string "--cors"
---@return string[] list
function origins.check(cli, list, what)
  if #list > origin.MAX then cli:usage("%s: at most %d origins", what, origin.MAX) end
  for _, text in ipairs(list) do
    local fault = origin.fault(text)
    if fault then cli:usage("%s: %s", what, fault) end
  end
  return list
end

--- What a flag that may repeat says: nil when it is not given, the empty list for the word "none".
---@param cli mica.cli.Console
---@param given string[]
---@param what string
---@return string[]? list
function origins.given(cli, given, what)
  if #given == 0 then return nil end
  if #given == 1 and given[1] == "none" then return {} end
  return origins.check(cli, given, what)
end

--- What a flag that may repeat says, else its variable, which holds several with spaces or commas between.
---@param cli mica.cli.Console
---@param given string[]
---@param what string
---@param variable string
---@return string[]
function origins.setting(cli, given, what, variable)
  if #given == 0 then
    for text in cli:setting(nil, variable, ""):gmatch "[^%s,]+" do table.insert(given, text) end
  end
  return origins.check(cli, given, what)
end

return origins
