-- Finding endpoints and calling them, whatever their kind: what `mica call` and the dynamic commands share.

local mica = require "mica"
local kinds = require "lib.kinds"

local calling = {}

local GET_SERVICE = "/mica.registry.v1.Registry/GetService"

-- ---- finding

--- The registry's record of a service; raises NOT_FOUND.
---@param cli mica.cli.Console
---@param name string
---@param version? string
---@return table service
function calling.service(cli, name, version)
  local services = cli:server():call(GET_SERVICE, { name = name }).services
  if not version then return services[1] end
  local names = {}
  for _, service in ipairs(services) do
    if service.version == version then return service end
    table.insert(names, service.version)
  end
  cli:fail("NOT_FOUND", "no version %q of service %s%s; it has %s", version, name, cli:suggest(version, names),
    table.concat(names, ", "))
end

local function fold(word) return (word:gsub("[-_]", ""):lower()) end

--- "blog-posts" -> "BlogPosts": the group that may be left out.
---@param service string
---@return string
function calling.group(service)
  return (service:match("[^.]+$"):gsub("^%l", string.upper):gsub("%-(.?)", string.upper))
end

-- How well a word names an endpoint: 1 exactly, 2 by the method alone in the service's own group, 3 in another group.
local function rank(service, endpoint, word)
  local full = endpoint.path:sub(2):gsub("/", ".")
  if word == endpoint.name or word == full or word == endpoint.path or "/" .. word == endpoint.path then return 1 end
  local group, method = endpoint.name:match "^(.*)%.([^.]+)$"
  if fold(word) == fold(endpoint.name) or fold(word) == fold(full) then return 1 end
  if fold(word) == fold(method) then return group == calling.group(service.name) and 2 or 3 end
end

--- The endpoints that a word names, the best first: "Posts.Save", "save", "posts.Posts.Save".
---@param service table
---@param word string
---@return table[] endpoints
function calling.matches(service, word)
  local found, best = {}, 4
  for _, endpoint in ipairs(service.endpoints) do
    local n = rank(service, endpoint, word)
    if n and n < best then found, best = {}, n end
    if n == best then table.insert(found, endpoint) end
  end
  return found
end

local function shown_names(service)
  local names = {}
  for _, endpoint in ipairs(service.endpoints) do
    if not endpoint.hidden then table.insert(names, endpoint.name) end
  end
  table.sort(names)
  return names
end

--- What is near to a word that names no endpoint.
---@param cli mica.cli.Console
---@param service table
---@param word string
---@return string
function calling.hint(cli, service, word)
  local names = shown_names(service)
  local near = cli:suggest(word, names)
  if near ~= "" then return near end
  local methods = {}
  for _, name in ipairs(names) do table.insert(methods, name:match "[^.]+$") end
  near = cli:suggest(word, methods)
  if near ~= "" then return near end
  return "; it has " .. table.concat(names, ", ")
end

--- The endpoint that a word names; wrong usage when there is none, or more than one.
---@param cli mica.cli.Console
---@param service table
---@param word string
---@return table endpoint
function calling.endpoint(cli, service, word)
  local found = calling.matches(service, word)
  if #found == 1 then return found[1] end
  if #found == 0 then
    cli:usage("service %s has no endpoint %q%s", service.name, word, calling.hint(cli, service, word))
  end
  local names = {}
  for _, endpoint in ipairs(found) do table.insert(names, endpoint.name) end
  cli:usage("%q may be %s: say which", word, table.concat(names, " or "))
end

---@param endpoint table
---@return "unary"|"server"|"client"|"bidi"
function calling.kind(endpoint)
  if endpoint.client_streaming then return endpoint.server_streaming and "bidi" or "client" end
  return endpoint.server_streaming and "server" or "unary"
end

-- ---- printing

-- The only bytes or text of an answer, for --raw.
---@param cli mica.cli.Console
---@param contract table
---@param message table
---@return table field
function calling.raw_field(cli, contract, message)
  local found = {}
  for _, field in ipairs(message.fields) do
    if field.type == "bytes" and not field.repeated then table.insert(found, field) end
  end
  if #found == 0 and #message.fields == 1 and message.fields[1].type == "string" and not message.fields[1].repeated then
    found = message.fields
  end
  if #found == 1 then return found[1] end
  cli:usage("--raw: the answer %s has no single field of type bytes", message.full_name)
end

local function write_raw(cli, text, field)
  local value = mica.json.decode(text)[field.name] or ""
  cli:write(field.type == "bytes" and kinds.bytes(value) or value)
end

local function print_headers(cli, metadata)
  for key, value in mica.sorted(metadata) do
    for _, item in ipairs(type(value) == "table" and value or { value }) do cli:complain(key .. ": " .. item) end
  end
end

-- ---- calling

local function send_lines(stream, lines)
  for line in lines do
    if line:find "%S" then stream:send(line) end
  end
  stream:close_send()
end

-- Sends while answers come: a stream of both sides may answer each message. When a line cannot be sent because of what
-- it is, the call is broken off, and `request.fault` says why.
local function start_sending(stream, request)
  return mica.spawn(function()
    local ok, err = pcall(send_lines, stream, request.lines)
    if ok or mica.errors.is(err) then return end -- why the call has ended is told to who receives
    request.fault = err
    stream:cancel()
  end)
end

local function print_answers(cli, request, stream)
  local count = 0
  for text in stream:messages() do
    if count == 0 and request.headers then print_headers(cli, stream:header()) end
    count = count + 1
    request.printed = true
    if request.raw then
      write_raw(cli, text, request.raw)
    elseif request.kind == "server" or request.kind == "bidi" then
      cli:item(text)
    else
      cli:json(text)
    end
  end
  if request.headers then
    if count == 0 then print_headers(cli, stream:header()) end
    print_headers(cli, stream:trailer())
  end
end

local function attempt(cli, request)
  local timeout = request.kind == "unary" and cli:timeout() or nil
  local opts = { kind = request.kind, metadata = request.metadata, timeout = timeout }
  local stream = cli:server():open(request.path, request.body, opts)
  local started = mica.time.now()
  local sender = request.lines and start_sending(stream, request)
  local ok, err = pcall(print_answers, cli, request, stream)
  if sender then sender:cancel() end
  cli:detail(("< %s  %.1f ms"):format(request.path, (mica.time.now() - started) * 1000))
  if not ok then error(request.fault or err, 0) end
end

-- May the call be made again?
local function again(request, err, count, started)
  if err.code ~= "UNAVAILABLE" or request.lines or request.printed then return false end
  if count < request.retries then return true end
  return request.wait and mica.time.now() - started < request.wait
end

--- Makes the call and prints what comes.
--- request: { path, kind, body (JSON text) or lines (iterator of JSON texts), metadata, retries, wait (seconds),
--- headers, raw (a field of the answer) }
---@param cli mica.cli.Console
---@param request table
function calling.run(cli, request)
  local started, count = mica.time.now(), 0
  request.retries = request.retries or 0
  while true do
    local done, err = mica.try(function()
      attempt(cli, request)
      return true
    end)
    if done then return end
    if not again(request, err, count, started) then error(err, 0) end
    count = count + 1
    mica.sleep(math.min(0.05 * 2 ^ math.min(count, 5), 1))
  end
end

-- ---- bodies

--- Checks a JSON text against a message's names before it is sent; wrong usage when it has none of that shape.
---@param cli mica.cli.Console
---@param contract table
---@param message table
---@param text string
---@return table value
function calling.check_body(cli, contract, message, text)
  local value, fault = kinds.json(text)
  if value == nil then cli:usage("%s", fault) end
  if kinds.is_known(message.full_name) then return value end
  if text:match "^%s*(.)" ~= "{" then cli:usage("expected a JSON object, got %q", text) end
  value, fault = require("lib.fields").check(contract, message, value)
  if value == nil then cli:usage("%s", fault) end
  return value
end

--- The lines of standard input, for a stream of requests. Each is checked before it is sent; one that is wrong ends the
--- call.
---@param cli mica.cli.Console
---@param contract table
---@param message table
---@return fun(): string?
function calling.checked_lines(cli, contract, message)
  local next_line = cli:lines()
  return function()
    local line = next_line()
    if line and line:find "%S" then calling.check_body(cli, contract, message, line) end
    return line
  end
end

--- One text as the only line.
---@param text string
---@return fun(): string?
function calling.one_line(text)
  local given = false
  return function()
    if given then return nil end
    given = true
    return text
  end
end

return calling
