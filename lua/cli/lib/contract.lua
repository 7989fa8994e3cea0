-- A service's contract as tables (lua/mica/contract.lua), from the descriptors that Registry.GetContract or a build gives.

local mica = require "mica"
local reader = require "mica.contract"

local contract = {}

--- Reads an encoded mica.cli.v1.Contract (which an encoded registry GetContractResponse is too).
---@param bytes string
---@return table contract
function contract.read(bytes)
  local read = mica.proto.decode("mica.cli.v1.Contract", bytes)
  return reader.read(read.descriptors, read.protos)
end

--- The contract of a service that runs, over the server.
---@param server mica.cli.Server
---@param name string
---@param version? string
---@param opts? table of the call
---@return table contract
function contract.fetch(server, name, version, opts)
  local request = mica.json.encode { name = name, version = version }
  local text = server:call_text("/mica.registry.v1.Registry/GetContract", request, opts)
  local answer = mica.proto.from_json("mica.registry.v1.GetContractResponse", text)
  return contract.read(mica.proto.encode("mica.registry.v1.GetContractResponse", answer))
end

return contract
