-- mica down [FILE]: stops what mica.json says.

local manifest = require "lib.manifest"
local mica = require "mica"
local stopping = require "lib.stopping"

-- A source that cannot be read any more has the name that the entry says.
local function name_of(cli, entry)
  if entry.name then return { name = entry.name, version = entry.version } end
  local packed = manifest.pack(cli, entry)
  return { name = packed.name, version = packed.version }
end

local function stop(cli, one)
  local finished, err = mica.try(stopping.stop, cli, one.name, one.version)
  if finished then return stopping.tell(cli, one.name, one.version, finished) end
  if err.code ~= "NOT_FOUND" then error(err, 0) end
  cli:changed({ one.name, "not running" }, { name = one.name, version = one.version, status = "STOPPED" })
end

return {
  examples = { "mica down", "mica down ./staging/mica.json --yes" },
  parser = function(parser)
    parser:argument("file", "The file (mica.json)."):args "?"
    parser:flag("-y --yes", "Do not ask.")
  end,
  run = function(cli, args)
    local file = manifest.read(cli, args.file)
    local list, names = {}, {}
    for i, entry in ipairs(file.services) do
      list[i] = name_of(cli, entry)
      names[i] = list[i].name
    end
    manifest.check_unique(cli, file.path, list)
    cli:confirm(("stop %s?"):format(table.concat(names, ", ")), args.yes)
    for i = #list, 1, -1 do stop(cli, list[i]) end
  end,
}
