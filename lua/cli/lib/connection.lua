-- The server that commands talk to: its address, the namespace, the login and the timeout are those of the command
-- line.

local mica = require "mica"
local address = require "lib.address"

---@class mica.cli.Server
local Server = {}
Server.__index = Server

local connection = {}

-- What `dial` takes as tls. The file of --ca is for TLS only; that of MICA_CA may wait for it.
local function tls_of(cli, place, tls)
  local file = cli:ca()
  if not tls then
    if cli.flags.ca then cli:usage("--ca is for servers with TLS: give --address https://%s", place) end
    return nil
  end
  if not file then return true end
  local pem = cli.files.read(cli:path(file)) or cli:usage("no file %q, which --ca (or MICA_CA) names", file)
  if not pem:find("-----BEGIN CERTIFICATE-----", 1, true) then
    cli:usage("%q, which --ca (or MICA_CA) names, holds no certificate in PEM form", file)
  end
  return { ca = pem }
end

--- Connects nothing by itself.
---@param cli mica.cli.Console
---@return mica.cli.Server
function connection.open(cli)
  local token = cli:token()
  local place, tls = address.parse(cli, cli:address())
  local dialled = mica.client.dial(place, {
    json = true,
    tls = tls_of(cli, place, tls),
    namespace = cli:namespace(),
    metadata = token and { authorization = "Bearer " .. token } or nil,
  })
  return setmetatable({ cli = cli, dialled = dialled }, Server)
end

local function text_of(request)
  if request == nil then return "{}" end
  return type(request) == "string" and request or mica.json.encode(request)
end

-- The options of a call, with --timeout; remembers since when somebody waits, for the exit code (lib/errors.lua).
local function begin(server, opts, is_stream)
  local cli = server.cli
  local out = {}
  for key, value in pairs(opts or {}) do out[key] = value end
  local timeout, given = cli:timeout()
  if out.timeout == nil and (given or not is_stream) then out.timeout = timeout end
  cli.waiting = out.timeout and { since = mica.time.now(), timeout = mica.time.seconds(out.timeout) } or nil
  return out
end

local function tell_request(server, path, text)
  local ctx = mica.context()
  server.cli:detail(("> %s%s %s  trace %s"):format(server.dialled.address, path, text, ctx and ctx.trace or "-"))
end

local function tell_answer(server, path, started, what)
  local took = (mica.time.now() - started) * 1000
  server.cli:detail(("< %s %s  %.1f ms"):format(path, what, took))
end

--- A unary call; the answer is a JSON text.
---@param path string "/posts.Posts/Read"
---@param request? table|string
---@param opts? mica.CallOptions
---@return string
function Server:call_text(path, request, opts)
  local text = text_of(request)
  opts = begin(self, opts, false)
  if not self.cli.verbose then return self.dialled:call(path, text, opts) end
  local started = mica.time.now()
  tell_request(self, path, text)
  local answer, err = mica.try(function() return self.dialled:call(path, text, opts) end)
  tell_answer(self, path, started, err and err.code or "OK")
  return answer or error(err, 0)
end

--- A unary call; the answer is a table.
---@param path string
---@param request? table|string
---@param opts? mica.CallOptions
---@return table
function Server:call(path, request, opts)
  return mica.json.decode(self:call_text(path, request, opts))
end

--- Opens a stream of JSON texts. `request` is nil where the method takes a stream.
---@param path string
---@param request? table|string
---@param opts? mica.CallOptions
---@return mica.Stream
function Server:open(path, request, opts)
  local text = request ~= nil and text_of(request) or nil
  opts = begin(self, opts, true)
  if self.cli.verbose then tell_request(self, path, text or "(a stream)") end
  return self.dialled:stream(path, text, opts)
end

--- What a server stream sends, as tables.
---@param path string
---@param request? table|string
---@param opts? mica.CallOptions
---@return fun(): table?
function Server:each(path, request, opts)
  local stream = self:open(path, request or {}, opts)
  return function()
    local text = stream:recv()
    return text and mica.json.decode(text)
  end
end

return connection
