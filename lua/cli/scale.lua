-- mica scale NAME N

local flags = require "lib.flags"
local upload = require "lib.upload"

return {
  examples = { "mica scale posts 4", "mica scale posts@v2 2" },
  parser = function(parser)
    parser:argument("name", "The service: name or name@version.")
    parser:argument("instances", "How many instances."):argname "N"
  end,
  check = function(cli, args) args.count = flags.count(cli, args.instances, "N", 1, 1000) end,
  run = function(cli, args)
    local name, version = cli:name(args.name)
    upload.tell(cli, upload.update(cli, { name = name, version = version, instances = args.count }))
  end,
}
