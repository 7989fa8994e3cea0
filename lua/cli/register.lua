-- mica register NAME ADDRESS...: puts a service that runs elsewhere behind the server.

local flags = require "lib.flags"
local mica = require "mica"
local origins = require "lib.origins"

local REGISTER = "/mica.registry.v1.Registry/Register"
local HOLD = "/mica.registry.v1.Registry/Hold"
local DEFAULT_VERSION = "1"
local AGAIN = 1 -- seconds until the server is looked for again

local function check_address(cli, address)
  local port = tonumber(address:match "^[^%s/,]+:(%d+)$")
  if not port or port < 1 or port > 65535 then cli:usage("%q is no address: write HOST:PORT", address) end
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

The registration lives as long as the command runs; when it ends, however it does, the service is taken out. With --ttl the
command returns, and the service is taken out after that time.]],
  examples = {
    "mica register greeter 127.0.0.1:9000",
    "mica register greeter@v2 10.0.0.7:9000 10.0.0.8:9000 --descriptors greeter.pb",
    "mica register greeter 127.0.0.1:9000 --ttl 1h",
  },
  parser = function(parser)
    parser:argument("name", "The service: name or name@version (" .. DEFAULT_VERSION .. ").")
    parser:argument("address", "Where it runs: HOST:PORT."):args "+"
    parser:option("--descriptors", "Its contract: a FileDescriptorSet with imports."):argname "FILE"
    parser:option("--ttl", "Register once, for this time (at most 24h)."):argname "DURATION"
    origins.declare(parser, "cors", "Pages of this origin may read its answers; * is every one; may repeat.")
    parser:flag("--public", "Its endpoints need no account.")
  end,
  check = function(cli, args)
    args.seconds = args.ttl and flags.duration(cli, args.ttl, "--ttl")
    if args.seconds and (args.seconds <= 0 or args.seconds > 24 * 3600) then cli:usage "--ttl: up to 24h" end
    origins.check(cli, args.cors, "--cors")
    for _, address in ipairs(args.address) do check_address(cli, address) end
    args.service, args.version = cli:name(args.name)
    args.version = args.version or DEFAULT_VERSION
  end,
  run = function(cli, args)
    local request = {
      service = { name = args.service, version = args.version, nodes = {}, cors = { origins = args.cors } },
      ttl = args.seconds,
      public = args.public,
    }
    for i, address in ipairs(args.address) do request.service.nodes[i] = { id = address, address = address } end
    if args.descriptors then
      local path = cli:path(args.descriptors)
      local bytes = cli.files.read(path) or cli:fail("NOT_FOUND", "there is no file %s", path)
      request.descriptors = bytes
    end
    request = mica.proto.json("mica.registry.v1.RegisterRequest", request)
    if not args.seconds then return hold(cli, args, request) end
    tell(cli, args, cli:server():call(REGISTER, request))
  end,
}
