-- mica register NAME ADDRESS...: puts a service that runs elsewhere behind the server, one that speaks gRPC or HTTP.

local flags = require "lib.flags"
local mica = require "mica"
local origins = require "lib.origins"

local REGISTER = "/mica.registry.v1.Registry/Register"
local HOLD = "/mica.registry.v1.Registry/Hold"
local DEFAULT_VERSION = "1"
local AGAIN = 1 -- seconds until the server is looked for again

-- Flags that are for one kind of service only.
local FOR_GRPC = { "descriptors", "cors" }
local FOR_HTTP = { "strip_prefix", "backend_host", "credentials", "timeout", "idle", "ca" }

-- "http", "https" or "grpc".
local function check_address(cli, address)
  local scheme, rest = address:match "^(https?)://([^/]*)/?$"
  local port = (rest or address):match "^[^%s/,]+:(%d+)$"
  if rest and rest:find "^[^%s/,:]+$" then port = scheme == "https" and "443" or "80" end
  port = tonumber(port)
  if not port or port < 1 or port > 65535 then
    cli:usage("%q is no address: write HOST:PORT for gRPC, http://HOST:PORT or https://HOST:PORT", address)
  end
  return scheme or "grpc"
end

local function check_kind(cli, args)
  for _, address in ipairs(args.address) do
    local kind = check_address(cli, address)
    args.kind = args.kind or kind
    if kind ~= args.kind then cli:usage "all addresses are of one kind: HOST:PORT, http:// or https://" end
  end
  local wrong = args.kind == "grpc" and FOR_HTTP or FOR_GRPC
  for _, name in ipairs(wrong) do
    local given = args[name]
    if given and not (type(given) == "table" and #given == 0) then
      local whom = args.kind == "grpc" and "addresses with http:// or https://" or "gRPC servers"
      cli:usage("--%s is for %s", (name:gsub("_", "-")), whom)
    end
  end
  if args.ca and args.kind == "http" then cli:usage "--ca is for addresses with https://" end
end

local DAY = 24 * 3600

local function seconds(cli, text, flag)
  local n = text and flags.duration(cli, text, flag)
  if n and (n <= 0 or n > DAY) then cli:usage("%s: up to 24h", flag) end
  return n
end

local function read(cli, given)
  local path = cli:path(given)
  return cli.files.read(path) or cli:fail("NOT_FOUND", "there is no file %s", path)
end

local function http_of(cli, args)
  if args.kind == "grpc" then return nil end
  return {
    strip_prefix = args.strip_prefix, backend_host = args.backend_host, credentials = args.credentials,
    first_byte = args.wait, idle = args.idle_seconds, ca = args.ca and read(cli, args.ca),
  }
end

local function tell(cli, args, answer)
  local fault = answer.fault ~= "" and answer.fault or nil
  local shown = ("%s@%s"):format(args.service, args.version)
  if fault then cli:note(("%s cannot be called yet: %s"):format(shown, fault)) end
  cli:changed({ shown, fault and "waits for its contract" or "registered", table.concat(args.address, " ") },
    { name = args.service, version = args.version, fault = fault })
end

-- Until it is interrupted, or the registration is taken out. A server that goes away is looked for again.
local function hold(cli, args, request)
  while true do
    local _, err = mica.try(function()
      for answer in cli:server():each(HOLD, request) do tell(cli, args, answer) end
    end)
    if err and err.code ~= "UNAVAILABLE" then error(err, 0) end
    cli:note(("the server is gone (%s): looking for it again"):format(err and err.message or "it ended the registration"))
    mica.sleep(AGAIN)
  end
end

return {
  text = [[The service is a gRPC server in any language. It is called as if it ran here: at both doors, as JSON too, by
`mica NAME` and from services. Its contract is asked of it by server reflection, or read from a file that
`protoc --include_imports --descriptor_set_out=FILE` has written.

With http:// or https:// before the address it is an HTTP server, and gets every request for /NAME/... at the gateway as it
came: path, query, body, whatever the method.

The registration lives as long as the command runs; when it ends, however it does, the service is taken out. With --ttl the
command returns, and the service is taken out after that time.]],
  examples = {
    "mica register greeter 127.0.0.1:9000",
    "mica register greeter@v2 10.0.0.7:9000 10.0.0.8:9000 --descriptors greeter.pb",
    "mica register greeter 127.0.0.1:9000 --ttl 1h",
    "mica register shop http://127.0.0.1:3000 --public --strip-prefix",
  },
  parser = function(parser)
    parser:argument("name", "The service: name or name@version (" .. DEFAULT_VERSION .. ").")
    parser:argument("address", "Where it runs: HOST:PORT, http://HOST:PORT or https://HOST:PORT."):args "+"
    parser:option("--descriptors", "Its contract: a FileDescriptorSet with imports."):argname "FILE"
    parser:option("--ttl", "Register once, for this time (at most 24h)."):argname "DURATION"
    origins.declare(parser, "cors", "gRPC: pages of this origin may read its answers; * is every one; may repeat.")
    parser:flag("--public", "It needs no account.")
    parser:flag("--strip-prefix", "HTTP: /NAME is no part of the path that it sees.")
    parser:flag("--backend-host", "HTTP: Host is its address instead of what the client sends.")
    parser:flag("--credentials", "HTTP: the client's authorization header is passed on.")
    parser:option("--timeout", "HTTP: until its answer begins (60s)."):argname "DURATION"
    parser:option("--idle", "HTTP: without progress from there on (300s)."):argname "DURATION"
    parser:option("--ca", "HTTPS: who may vouch for its certificate, PEM; else whom the system trusts."):argname "FILE"
  end,
  check = function(cli, args)
    args.seconds = seconds(cli, args.ttl, "--ttl")
    args.wait = seconds(cli, args.timeout, "--timeout")
    args.idle_seconds = seconds(cli, args.idle, "--idle")
    origins.check(cli, args.cors, "--cors")
    check_kind(cli, args)
    args.service, args.version = cli:name(args.name)
    args.version = args.version or DEFAULT_VERSION
  end,
  run = function(cli, args)
    local request = {
      service = {
        name = args.service, version = args.version, nodes = {}, backend = http_of(cli, args),
        cors = { origins = args.cors },
      },
      ttl = args.seconds,
      public = args.public,
    }
    for i, address in ipairs(args.address) do request.service.nodes[i] = { id = address, address = address } end
    if args.descriptors then request.descriptors = read(cli, args.descriptors) end
    request = mica.proto.json("mica.registry.v1.RegisterRequest", request)
    if not args.seconds then return hold(cli, args, request) end
    tell(cli, args, cli:server():call(REGISTER, request))
  end,
}
