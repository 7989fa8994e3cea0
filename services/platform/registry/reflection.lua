-- The contract of a gRPC server, asked of itself: server reflection v1, else v1alpha.
--
-- The server is called as any outside service is: under a name that exists for the time of the asking. Names are few and used
-- again, since a VM remembers whom it has called; they are random, so that nobody else calls them. Nothing that
-- the server says is believed: it is bounded in time, in files and in bytes, and the core checks the descriptors.

local mica = require "mica"
local errors = mica.errors

local AT_A_TIME = 4
local TIMEOUT = 5
local MAX_BYTES = 1024 * 1024
local MAX_FILES, MAX_SERVICES = 1000, 200
local VERSIONS = { "v1", "v1alpha" }
local FOREIGN = { "^grpc%.", "^google%.", "^mica%." } -- not the server's own

local reflection = {}

local outside
local sources = {} -- by version of the reflection service
local names -- a channel of those that nobody uses

local function prepare()
  if names then return end
  outside = mica.native "outside"
  names = mica.channel(AT_A_TIME)
  for i = 1, AT_A_TIME do names:send(("reflection-%d.x%s"):format(i, mica.id.uuid())) end
end

local function source_of(version)
  if not sources[version] then
    sources[version] = outside.Load({
      service = "reflection", platform = true, protos = { ("grpc/reflection/%s/reflection.proto"):format(version) },
    }).source
  end
  return sources[version]
end

-- ---- asking

local function ask(stream, request)
  stream:send(request)
  local answer = stream:recv()
  if not answer then error(errors.unavailable "the server ended its reflection") end
  if answer.error_response then
    error(errors.failed_precondition("reflection: %s", answer.error_response.error_message))
  end
  return answer
end

local function is_foreign(name)
  for _, pattern in ipairs(FOREIGN) do
    if name:find(pattern) then return true end
  end
  return false
end

local function list_services(stream)
  local answer = ask(stream, { list_services = "*" }).list_services_response
  local found = {}
  for _, service in ipairs(answer and answer.service or {}) do
    if not is_foreign(service.name) then table.insert(found, service.name) end
  end
  if #found == 0 then error(errors.failed_precondition "the server reflects no service of its own") end
  if #found > MAX_SERVICES then
    error(errors.failed_precondition("the server reflects more than %d services", MAX_SERVICES))
  end
  return found
end

local function add_files(all, answer)
  local response = answer.file_descriptor_response
  if not response then error(errors.failed_precondition "the server answers its reflection with something else") end
  for _, bytes in ipairs(response.file_descriptor_proto) do
    local file = mica.proto.decode("google.protobuf.FileDescriptorProto", bytes)
    if not all.files[file.name] then
      all.count, all.bytes = all.count + 1, all.bytes + #bytes
      if all.count > MAX_FILES or all.bytes > MAX_BYTES then
        error(errors.failed_precondition("the contract that the server reflects is too large: %d files, %d bytes",
          all.count, all.bytes))
      end
      local scope = (file.package or "") == "" and "" or file.package .. "."
      local services = {}
      for i, service in ipairs(file.service) do services[i] = scope .. service.name end
      all.files[file.name] = { bytes = bytes, dependencies = file.dependency, services = services }
    end
  end
end

-- Appends the file after all that it imports, asking for those that have not come.
local function add_in_order(stream, all, name)
  local file = all.files[name]
  if not file then
    add_files(all, ask(stream, { file_by_filename = name }))
    file = all.files[name] or error(errors.failed_precondition("the server reflects no file %q", name))
  end
  if file.added then return end
  file.added = true
  for _, dependency in ipairs(file.dependencies) do add_in_order(stream, all, dependency) end
  table.insert(all.order, file.bytes)
end

local function varint(n)
  local bytes = {}
  while n >= 128 do
    table.insert(bytes, string.char(n % 128 + 128))
    n = math.floor(n / 128)
  end
  return table.concat(bytes) .. string.char(n)
end

local function read(stream)
  local all = { files = {}, count = 0, bytes = 0, order = {} }
  local services = list_services(stream)
  for _, service in ipairs(services) do add_files(all, ask(stream, { file_containing_symbol = service })) end
  local protos, wanted = {}, {}
  for _, service in ipairs(services) do wanted[service] = true end
  for name, file in mica.sorted(all.files) do
    local own = false
    for _, service in ipairs(file.services) do own = own or wanted[service] == true end
    if own then table.insert(protos, name) end
  end
  if #protos == 0 then error(errors.failed_precondition "the server reflects files without its services") end
  for _, name in ipairs(protos) do add_in_order(stream, all, name) end
  local set = {}
  for i, bytes in ipairs(all.order) do set[i] = "\10" .. varint(#bytes) .. bytes end -- FileDescriptorSet.file
  return { descriptors = table.concat(set), protos = protos }
end

local function try_version(version, name, address, is_local)
  local put = outside.Put {
    service = name, version = version, source = source_of(version), addresses = { address }, ["local"] = is_local,
  }
  local contract, err = mica.try(function()
    local stream = mica.client.stream(name, "ServerReflection.ServerReflectionInfo", nil,
      { timeout = TIMEOUT, version = version })
    local found = read(stream)
    stream:close_send()
    return found
  end)
  outside.Remove { service = name, version = version, generation = put.generation }
  return contract, err
end

--- The contract of the server at the address: { descriptors =, protos = }, or nil and the error.
---@param address string
---@param is_local boolean may it be an address of this machine?
---@return table? contract
---@return mica.Error? err
function reflection.ask(address, is_local)
  prepare()
  local name = names:recv()
  local contract, err
  for _, version in ipairs(VERSIONS) do
    contract, err = try_version(version, name, address, is_local)
    if contract or err.code ~= "UNIMPLEMENTED" then break end
  end
  names:send(name)
  if contract then return contract end
  if err.code == "UNIMPLEMENTED" then
    err = errors.failed_precondition("%s has no server reflection: register it with its descriptors", address)
  end
  return nil, err
end

return reflection
