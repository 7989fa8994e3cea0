-- Writes .mica/types/ of a service's folder: the library, the service's own contract, and the contracts of the services
-- that it calls and that lie beside it.

local annotations = require "lib.annotations"
local descriptors = require "lib.descriptors"
local source = require "lib.source"

local types = {}

-- The services that the code names: mica.client "tags", mica.client("auth", "Accounts").
local function named_services(cli, read)
  local found, list = {}, {}
  for _, path in ipairs(read.files) do
    local text = path:find "%.lua$" and cli.files.read(read.folder .. "/" .. path) or ""
    for name in text:gmatch "client%s*%(?%s*[\"'](%l[%l%d.-]*)[\"']" do
      if not found[name] and name ~= read.name then table.insert(list, name) end
      found[name] = true
    end
  end
  table.sort(list)
  return list
end

-- What main.lua says decides which .proto files are the service's own; one that cannot be loaded has all of them.
local function contract(read)
  if not read.definition then require("mica").try(source.describe, read) end
  return descriptors.index(source.contract(read))
end

local function write(cli, folder, name, text, written)
  local path = folder .. "/" .. name
  cli.files.make_folder((path:match "^(.*)/"))
  if cli.files.read(path) ~= text then cli.files.write(path, text) end
  table.insert(written, ".mica/types/" .. name)
end

---@param cli mica.cli.Console
---@param read mica.cli.Source
---@return string[] files, relative to the service's folder
function types.write(cli, read)
  local folder, written, known = read.folder .. "/.mica/types", {}, {}
  local library = require "templates.library"
  for name, text in require("mica").sorted(library) do write(cli, folder, name, text, written) end
  local index = contract(read)
  write(cli, folder, read.name .. "_service.lua", annotations.of(read.name, index, known), written)
  for _, name in ipairs(named_services(cli, read)) do
    local beside = read.folder:match "^(.*)/[^/]*$" .. "/" .. name
    if cli.files.stat(beside .. "/main.lua").exists then
      index = contract(source.read(cli, beside))
      write(cli, folder, name .. "_service.lua", annotations.of(name, index, known), written)
    end
  end
  return written
end

return types
