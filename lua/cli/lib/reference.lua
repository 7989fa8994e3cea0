-- What help says of services and their endpoints: `mica posts --help`, `mica posts save --help`, `mica describe`.

local calling = require "lib.calling"
local fields = require "lib.fields"
local kinds = require "lib.kinds"

local reference = {}

local KIND = { unary = "", server = "answers a stream", client = "takes a stream", bidi = "takes and answers a stream" }

local function dashed(word)
  return (word:gsub("^%u", string.lower):gsub("%u", function(letter) return "-" .. letter:lower() end))
end

local function short_group(service, group)
  local own = calling.group(service.name)
  if group == own then return "" end
  local rest = group:sub(1, #own) == own and group:sub(#own + 1)
  return dashed(rest and rest ~= "" and rest or group) .. " "
end

--- The words of an endpoint: "save", "admin reset".
---@param service table
---@param endpoint table
---@return string
function reference.words(service, endpoint)
  local group, method = endpoint.name:match "^(.*)%.([^.]+)$"
  return short_group(service, group) .. dashed(method)
end

--- "mica posts save"
---@param service table
---@param endpoint table
---@return string
function reference.command(service, endpoint)
  return ("mica %s %s"):format(service.name, reference.words(service, endpoint))
end

local function first_line(text) return text:match "^[^\n]*" end

local function joined(text) return (text:gsub("%s*\n%s*", " ")) end

local function shown(endpoints)
  local list = {}
  for _, endpoint in ipairs(endpoints) do
    if not endpoint.hidden then table.insert(list, endpoint) end
  end
  return list
end

--- The raw HTTP handlers of a service, a line each with what stands before it; nothing when there are none.
---@param service table the registry's record
---@return string[]
function reference.handlers(service)
  local base = (service.namespace or "") == "" and "" or "/" .. service.name:gsub("%.", "/")
  local lines = {}
  for _, handler in ipairs(service.http or {}) do
    local method, path = handler.key:match "^(%S+) (.*)$"
    if path == "/" and base ~= "" then path = "" end
    table.insert(lines, ("   %-6s %s%s%s"):format(method, base, path, handler.public and "  public" or ""))
  end
  if lines[1] then
    table.insert(lines, 1, "HTTP:")
    table.insert(lines, 1, "")
  end
  return lines
end

--- The endpoints of a service, a line each.
---@param service table the registry's record
---@param endpoints? table[] default: all
---@return string
function reference.list(service, endpoints)
  local lines = { ("mica %s [endpoint] [--field value]..."):format(service.name), "" }
  if (service.description or "") ~= "" then
    table.insert(lines, service.description)
    table.insert(lines, "")
  end
  table.insert(lines, "Endpoints:")
  local rows, width = {}, 0
  for _, endpoint in ipairs(shown(endpoints or service.endpoints)) do
    local row = { reference.words(service, endpoint), first_line(endpoint.description or "") }
    table.insert(rows, row)
    width = math.max(width, #row[1])
  end
  table.sort(rows, function(a, b) return a[1] < b[1] end)
  for _, row in ipairs(rows) do
    table.insert(lines, (("   %-" .. width .. "s  %s"):format(row[1], row[2]):gsub("%s+$", "")))
  end
  for _, line in ipairs(reference.handlers(service)) do table.insert(lines, line) end
  table.insert(lines, "")
  table.insert(lines, ("`mica %s ENDPOINT --help` shows the fields of an endpoint."):format(service.name))
  return table.concat(lines, "\n")
end

local SAMPLE = {
  string = '"..."', bytes = "@file", time = "2026-11-22T10:00:00Z", duration = "2s", double = "1.5",
  float = "1.5", fields = "name", JSON = "'{...}'", int32 = "1", int64 = "1", uint32 = "1", uint64 = "1",
}

-- A call that shows how the first fields are given.
local function sample(contract, service, endpoint, message)
  local words = { reference.command(service, endpoint) }
  if calling.kind(endpoint) == "client" or calling.kind(endpoint) == "bidi" then
    return ("mica call %s %s < requests.json"):format(service.name, endpoint.name)
  end
  for i, row in ipairs(fields.rows(contract, message)) do
    if i > 3 then break end
    local value = SAMPLE[row.label] or row.label:match "^[%u%d_]+|?" and row.label:match "^[^|]+" or ""
    local flag = row.flag:gsub("KEY$", "key")
    table.insert(words, value == "" and "--" .. flag or ("--%s %s"):format(flag, value))
  end
  return table.concat(words, " ")
end

local function answer_lines(contract, method, lines)
  local message = contract.messages[method.output]
  if kinds.is_known(message.full_name) or #message.fields == 0 then return end
  table.insert(lines, "")
  table.insert(lines, method.server_streaming and "Answers, a line each:" or "Answer:")
  for _, row in ipairs(fields.help(fields.rows(contract, message), nil, "")) do table.insert(lines, row) end
end

-- The path that the endpoint's name gives it, then those of its own.
local function path_lines(service, endpoint, lines)
  local group, method = endpoint.name:match "^(.+)%.([^.]+)$"
  local base = "/" .. service.name:gsub("%.", "/")
  local words = reference.words(service, endpoint)
  local versioned = service.name:match "^v%d+%.[^.]+$"
  local short = not words:find(" ", 1, true) and (versioned or not service.name:find(".", 1, true))
  table.insert(lines, "")
  table.insert(lines, "Paths:")
  table.insert(lines, "  POST " .. base .. "/" .. (short and words or group .. "/" .. method))
  for _, rule in ipairs(endpoint.http or {}) do
    local notes = {}
    if rule.body ~= "" and rule.body ~= "*" then table.insert(notes, "body: " .. rule.body) end
    if rule.response_body ~= "" then table.insert(notes, "answers: " .. rule.response_body) end
    local note = notes[1] and "  (" .. table.concat(notes, ", ") .. ")" or ""
    table.insert(lines, "  " .. rule.method .. " " .. rule.template .. note)
  end
end

--- Everything about an endpoint.
---@param contract table
---@param service table
---@param endpoint table
---@return string
function reference.endpoint(contract, service, endpoint)
  local method = contract.methods[endpoint.name]
  local message = contract.messages[method.input]
  local kind = KIND[calling.kind(endpoint)]
  local lines = { reference.command(service, endpoint) .. " [--field value]..." }
  table.insert(lines, endpoint.name .. (kind ~= "" and "  " .. kind or "") .. (endpoint.public and "  public" or ""))
  if method.comment ~= "" then
    table.insert(lines, "")
    table.insert(lines, joined(method.comment))
  end
  table.insert(lines, "")
  table.insert(lines, "Fields:")
  if not kinds.is_known(message.full_name) then
    for _, row in ipairs(fields.help(fields.rows(contract, message), endpoint.rules)) do table.insert(lines, row) end
  end
  if not (message.by_name or {}).json then
    table.insert(lines, "  --json JSON|@file|-  the whole request; fields given beside it win")
  end
  answer_lines(contract, method, lines)
  path_lines(service, endpoint, lines)
  table.insert(lines, "")
  table.insert(lines, "Example:")
  table.insert(lines, "   " .. sample(contract, service, endpoint, message))
  return table.concat(lines, "\n")
end

return reference
