-- mica update SOURCE|NAME: puts a new version in the place of what runs.

local upload = require "lib.upload"

local READ = "/mica.runtime.v1.Runtime/Read"

-- A bare name that is no folder here: the service is deployed anew from where it came from.
local function from_its_source(cli, word)
  local name, version = cli:name(word)
  local found = cli:server():call(READ, { name = name, version = version }).services or {}
  if #found == 0 then
    cli:fail_hint("mica status", "NOT_FOUND", "no service %q runs in namespace %q", word, cli:namespace())
  end
  local origin = found[1].source or ""
  if origin == "" or not cli.files.stat(origin).exists then
    cli:fail("FAILED_PRECONDITION", "%s came from %s, which is not on this machine: name its folder", name,
      origin == "" and "an unknown place" or origin)
  end
  local packed = upload.read(cli, origin)
  return packed, name, version
end

return {
  text = "A folder or bundle as in `mica run`, but it must run already; or the name of a service that runs, which is read\n"
    .. "again from where it came from.",
  examples = { "mica update .", "mica update posts --instances 4" },
  parser = function(parser)
    parser:argument("source", "A folder, a bundle, or the name of a service that runs.")
    upload.declare(parser)
  end,
  check = upload.check,
  run = function(cli, args)
    local opts = { name = args.name, instances = args.count, origins = args.origins, wait = args.seconds, update = true }
    if upload.is_source(cli, args.source) then
      return upload.tell(cli, upload.deploy(cli, upload.read(cli, args.source), opts))
    end
    if args.name then cli:usage "--name: the service is named already" end
    local packed
    packed, opts.name, opts.version = from_its_source(cli, args.source)
    upload.tell(cli, upload.deploy(cli, packed, opts))
  end,
}
