-- Sources for the server: found on this machine, packed, and sent in pieces.

local flags = require "lib.flags"
local mica = require "mica"
local origins = require "lib.origins"
local sources = require "lib.source"

local upload = {}

local PIECE = 512 * 1024 -- bytes; JSON makes them a third longer, and the server takes 1 MB

local CREATE = "/mica.runtime.v1.Runtime/Create"
local READ = "/mica.runtime.v1.Runtime/Read"
local UPDATE = "/mica.runtime.v1.Runtime/Update"
local UPLOAD = "/mica.runtime.v1.Source/Upload"

local ATTEMPTS = 20 -- while others change the same service

-- ---- sources

-- "posts@v2" is the folder posts and the tag v2; a folder may have an "@" in a part before the last.
local function split_tag(word)
  local path, tag = word:match "^(.+)@([^/@]+)$"
  return path or word, tag
end

local function check_tag(cli, tag)
  if tag and not tag:find "^[%w][%w._-]*$" then
    cli:usage("%q is no version: letters, digits, '-', '_' and '.', as in v2", tag)
  end
end

local function read_bundle(cli, path)
  local bytes = cli.files.read(path)
  if not bytes then cli:fail("NOT_FOUND", "no file %s", path) end
  local bundle, err = mica.try(mica.proto.decode, "mica.core.v1.Bundle", bytes)
  if err or bundle.name == "" then cli:fail("INVALID_ARGUMENT", "%s is no bundle: `mica build` makes them", path) end
  local definition = mica.try(mica.proto.decode, "mica.core.v1.Definition", bundle.definition)
  local name = definition and definition.name ~= "" and definition.name or bundle.name
  return { bundle = bytes, name = name, origin = path }
end

--- Is the word a source on this machine: a path, a bundle, or the name of a folder here?
---@param cli mica.cli.Console
---@param word string
---@return boolean
function upload.is_source(cli, word)
  local path = split_tag(word)
  return path == "." or path == ".." or path:find("/", 1, true) ~= nil or path:find "%.mica$" ~= nil
    or cli.files.stat(cli:path(path)).folder
end

--- Reads and packs a source: { bundle, name, version (a tag, or nil), origin }.
---@param cli mica.cli.Console
---@param word string
---@return table packed
function upload.read(cli, word)
  local path, tag = split_tag(word)
  check_tag(cli, tag)
  local full = cli:path(path)
  local packed
  if path:find "%.mica$" and not cli.files.stat(full).folder then
    packed = read_bundle(cli, full)
  else
    if not cli.files.stat(full).exists and not path:find("/", 1, true) then
      cli:fail("NOT_FOUND", "there is no folder %q here", path)
    end
    local read = sources.load(cli, path)
    packed = { bundle = sources.pack(read), name = read.name, origin = full }
  end
  packed.version = tag
  return packed
end

-- ---- to the server

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

-- The server may answer before it has taken everything: what it says is what counts then.
local function send(stream, bundle)
  local function part(message) stream:send(mica.proto.json("mica.runtime.v1.UploadRequest", message)) end
  part { header = { size = #bundle, sha256 = hex(mica.crypto.sha256(bundle)) } }
  for at = 1, #bundle, PIECE do part { data = bundle:sub(at, at + PIECE - 1) } end
  stream:close_send()
end

--- Sends a bundle; gives what Create and Update take as the source.
---@param cli mica.cli.Console
---@param packed table of upload.read
---@param timeout? number
---@return string source
function upload.send(cli, packed, timeout)
  local stream = cli:server():open(UPLOAD, nil, { kind = "client", timeout = timeout or cli:timeout() })
  local _, err = mica.try(send, stream, packed.bundle)
  if err and err.code ~= "CANCELLED" then error(err, 0) end
  local answer = stream:recv()
  return mica.json.decode(answer).source
end

-- Is it deployed with that tag, or without one?
local function is_deployed(cli, name, tag)
  for _, service in ipairs(cli:server():call(READ, { name = name, version = tag }).services or {}) do
    if service.version == (tag or service.hash:sub(1, 8)) then return true end
  end
  return false
end

-- Calls fn until nobody else is changing the service. `turn` tells whether what failed is to be tried otherwise.
local function until_free(fn, turn)
  for attempt = 1, ATTEMPTS do
    local answer, err = mica.try(fn)
    if answer then return answer end
    local other_way = turn and turn(err.code)
    if not other_way and err.code ~= "ABORTED" or attempt == ATTEMPTS then error(err, 0) end
    if not other_way or attempt > 2 then mica.sleep(0.05 * math.min(attempt, 10)) end
  end
end

--- Uploads and deploys: the answer of the runtime. Others may deploy and stop the same service meanwhile.
---@param cli mica.cli.Console
---@param packed table of upload.read
---@param opts { name: string?, version: string?, instances: integer?, origins: string[]?, wait: number?, update: boolean? }
---@return table answer
function upload.deploy(cli, packed, opts)
  local name, version = opts.name or packed.name, opts.version or packed.version
  local updates = opts.update or is_deployed(cli, name, version)
  local function deploy() -- what is uploaded is good for one attempt
    local request = {
      source = upload.send(cli, packed, opts.wait),
      name = name,
      version = version,
      instances = opts.instances,
      origin = packed.origin,
      cors = opts.origins and { origins = opts.origins[1] and opts.origins }, -- an empty table would be an object
    }
    return cli:server():call(updates and UPDATE or CREATE, request, { timeout = opts.wait })
  end
  return until_free(deploy, function(code)
    if opts.update or code ~= (updates and "NOT_FOUND" or "ALREADY_EXISTS") then return false end
    updates = not updates
    return true
  end)
end

--- Changes what is deployed without a new source.
---@param cli mica.cli.Console
---@param request { name: string, version: string?, instances: integer? }
---@return table answer
function upload.update(cli, request)
  return until_free(function() return cli:server():call(UPDATE, request) end)
end

-- ---- what is said of it

--- Prints the line of a deployment, what breaks callers, and warnings.
---@param cli mica.cli.Console
---@param answer table DeployResponse
function upload.tell(cli, answer)
  local service = answer.service
  local cells = { service.name, service.version, service.status:lower() }
  table.insert(cells, answer.changed and cli:seconds(answer.seconds) or "unchanged")
  if (answer.url or "") ~= "" then table.insert(cells, answer.url) end
  cli:changed(cells, answer)
  if not cli.quiet and cli.output == "table" then
    for _, change in ipairs(answer.contract_changes or {}) do cli:print("  breaks callers: " .. change) end
  end
  for _, warning in ipairs(service.warnings or {}) do cli:note(("%s: warning: %s"):format(service.name, warning)) end
end

--- The flags that `run` and `update` share.
---@param parser table
function upload.declare(parser)
  parser:option("--name", "The service's name; default: what main.lua says, else the folder's."):argname "NAME"
  parser:option("--instances", "How many instances (1; of what runs already: as it is)."):argname "N"
  origins.declare(parser, "cors", "Pages of this origin may read its answers; * is every one; may repeat; none: no other.")
  parser:option("--wait", "How long to wait until it serves (--timeout)."):argname "DURATION"
end

--- Checks and reads those flags.
---@param cli mica.cli.Console
---@param args table
function upload.check(cli, args)
  if args.name and not args.name:find "^%l[%l%d.-]*$" then
    cli:usage("--name: %q is no name of a service: a-z, 0-9, '-' and '.', beginning with a letter", args.name)
  end
  args.count = args.instances and flags.count(cli, args.instances, "--instances", 1, 1000)
  args.origins = origins.given(cli, args.cors, "--cors")
  args.seconds = args.wait and flags.duration(cli, args.wait, "--wait")
  if args.seconds == 0 then cli:usage("--wait: a deployment takes some time") end
end

return upload
