-- mica up [FILE]: brings what runs to what mica.json says.

local manifest = require "lib.manifest"
local upload = require "lib.upload"

local READ = "/mica.runtime.v1.Runtime/Read"

local function wanted(only, packed)
  if #only == 0 then return true end
  for _, name in ipairs(only) do
    if name == packed.name then return true end
  end
  return false
end

-- What runs and is not in the file is left alone, but said.
local function tell_others(cli, list)
  local known = {}
  for _, packed in ipairs(list) do known[packed.name] = true end
  local others, seen = {}, {}
  for _, service in ipairs(cli:server():call(READ).services or {}) do
    if not known[service.name] and not seen[service.name] then table.insert(others, service.name) end
    seen[service.name] = true
  end
  if #others > 0 then cli:note("runs too, and is not in the file: " .. table.concat(others, ", ")) end
end

local function check_only(cli, only, list)
  local names = {}
  for i, packed in ipairs(list) do names[i] = packed.name end
  for _, name in ipairs(only) do
    local found = false
    for _, known in ipairs(names) do found = found or known == name end
    if not found then cli:usage("--only: the file has no service %q%s", name, cli:suggest(name, names)) end
  end
end

return {
  text = 'FILE is mica.json, or the folder that holds it: { "services": [ { "source": "./posts", "name": "posts",\n'
    .. '"version": "v2", "instances": 2, "cors": ["https://app.example"] } ] }. What runs and is not in it is left alone.',
  examples = { "mica up", "mica up ./staging/mica.json --only posts" },
  parser = function(parser)
    parser:argument("file", "The file (mica.json)."):args "?"
    parser:option("--only", "Only this service; may repeat."):argname("NAME"):count "*"
  end,
  run = function(cli, args)
    local file = manifest.read(cli, args.file)
    local list = {}
    for i, entry in ipairs(file.services) do
      list[i] = manifest.pack(cli, entry)
      list[i].instances, list[i].origins = entry.instances or 1, entry.cors or {}
    end
    manifest.check_unique(cli, file.path, list)
    check_only(cli, args.only, list)
    for _, packed in ipairs(list) do
      if wanted(args.only, packed) then
        upload.tell(cli, upload.deploy(cli, packed, { instances = packed.instances, origins = packed.origins }))
      end
    end
    if #args.only == 0 then tell_others(cli, list) end
  end,
}
