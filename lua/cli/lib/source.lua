-- The folder of a service, read and packed on this machine (the capability "build").

local mica = require "mica"

local source = {}

---@class mica.cli.Source
---@field folder string
---@field id integer
---@field name string of main.lua, else of the folder
---@field hash string
---@field files string[]
---@field definition table what main.lua declares (mica.core.v1.Definition)

local function check_folder(cli, folder)
  local stat = cli.files.stat(folder)
  if not stat.exists then cli:fail("NOT_FOUND", "no folder %s", folder) end
  if not stat.folder then cli:fail("INVALID_ARGUMENT", "%s is no folder", folder) end
  if not cli.files.stat(folder .. "/main.lua").exists then
    cli:fail_hint("mica new NAME", "NOT_FOUND", "%s has no main.lua: it is not the folder of a service", folder)
  end
end

--- Reads the folder: its files are in memory, its .proto files compiled. Faults are errors that name file and line.
---@param cli mica.cli.Console
---@param word string as given: ".", a path
---@return mica.cli.Source
function source.read(cli, word)
  local folder = cli:path(word)
  check_folder(cli, folder)
  local read = mica.native("build").Read { folder = folder }
  return { folder = folder, id = read.source, name = read.name, hash = read.hash, files = read.files }
end

--- Loads main.lua; fills in `definition`, and `name` when main.lua says one.
---@param read mica.cli.Source
---@return mica.cli.Source
function source.describe(read)
  read.definition = mica.native("build").Describe { source = read.id, name = read.name }
  if read.definition.name ~= "" then read.name = read.definition.name end
  return read
end

--- Both.
---@param cli mica.cli.Console
---@param word string
---@return mica.cli.Source
function source.load(cli, word) return source.describe(source.read(cli, word)) end

--- The name of a folder's service.
---@param cli mica.cli.Console
---@param word string
---@return string
function source.name(cli, word) return source.load(cli, word).name end

--- The descriptors: an encoded google.protobuf.FileDescriptorSet, and the service's own files in it.
---@param read mica.cli.Source
---@return string descriptors, string[] protos
function source.contract(read)
  local contract = mica.native("build").Contract { source = read.id }
  return contract.descriptors, contract.protos
end

--- The bundle, an encoded mica.core.v1.Bundle.
---@param read mica.cli.Source
---@return string bundle, string hash
function source.pack(read)
  local packed = mica.native("build").Pack { source = read.id, name = read.name }
  return packed.bundle, packed.hash
end

return source
