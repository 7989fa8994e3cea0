-- The contract of the version that was last built or deployed from a folder, in its .mica/last.pb: `mica check` tells
-- what has broken since.

local mica = require "mica"
local source = require "lib.source"

local TYPE = "mica.core.v1.ContractResponse"

local history = {}

local function path(folder) return folder .. "/.mica/last.pb" end

--- Remembers the version that a source was read from.
---@param cli mica.cli.Console
---@param read mica.cli.Source
function history.keep(cli, read)
  local bytes, protos = source.contract(read)
  cli.files.make_folder(read.folder .. "/.mica")
  cli.files.write(path(read.folder), mica.proto.encode(TYPE, { descriptors = bytes, protos = protos }))
end

--- The descriptors and the own files of that version; nil when none is known.
---@param cli mica.cli.Console
---@param folder string
---@return string? descriptors, string[]? protos
function history.last(cli, folder)
  local bytes = cli.files.read(path(folder))
  if not bytes then return nil end
  local last, err = mica.try(mica.proto.decode, TYPE, bytes)
  if err then cli:fail_hint("mica build", "DATA_LOSS", "%s cannot be read: %s", path(folder), err.message) end
  return last.descriptors, last.protos
end

return history
