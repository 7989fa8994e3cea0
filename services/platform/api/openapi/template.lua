-- Path templates of google.api.http as paths of OpenAPI.
--
-- OpenAPI knows only whole segments as variables, so a variable that spans several gets one for each of its wildcards:
-- "/v1/{name=shelves/*/books/*}:read" is "/v1/shelves/{name_1}/books/{name_2}:read". Names have no dots, which some generators of
-- clients do not understand: "{page.limit}" is "{page_limit}".

local template = {}

---@class openapi.Variable a variable segment of a path
---@field name string in the path
---@field field? string path of the field that it is, or is part of; nil for a wildcard that no variable names
---@field whole boolean it is the whole value of the field
---@field rest boolean it may hold slashes: all that is left of the path

-- Adds the segments of "shelves/*" to the path.
local function add_segments(found, segments, field)
  local wildcards = select(2, segments:gsub("%*+", ""))
  for segment in segments:gmatch "[^/]+" do
    if segment == "*" or segment == "**" then
      local name = (field or "segment"):gsub("%.", "_")
      if wildcards > 1 or not field or found.names[name] then name = ("%s_%d"):format(name, #found.variables + 1) end
      found.names[name] = true
      table.insert(found.variables, { name = name, field = field, whole = segments == segment, rest = segment == "**" })
      segment = "{" .. name .. "}"
    end
    found.path = found.path .. "/" .. segment
  end
end

--- The path, and its variables in order. The template has been checked when the service was deployed.
---@param text string "/shelves/{shelf}/books/{name=**}:publish"
---@return { path: string, variables: openapi.Variable[] }
function template.read(text)
  local found = { path = "", variables = {}, names = {} }
  local body, verb = text:match "^(.*[/}])([^/{}]*)$"
  local last, suffix = (verb or ""):match "^([^:]*)(:.*)$"
  if suffix then body = body .. last else body, suffix = text, "" end
  local at = 1
  while at <= #body do
    local variable, after = body:match("^/{([^}]*)}()", at)
    if variable then
      local field, segments = variable:match "^([^=]+)=(.+)$"
      add_segments(found, segments or "*", field or variable)
    else
      local plain
      plain, after = body:match("^(/?[^/]*)()", at)
      add_segments(found, plain, nil)
    end
    at = after
  end
  found.path = (found.path == "" and "/" or found.path) .. suffix
  return found
end

--- What two paths have in common when they differ only in the names of variables.
---@param path string
---@return string
function template.shape(path) return (path:gsub("{[^}]*}", "{}")) end

return template
