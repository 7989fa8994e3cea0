-- mica debug health|stats NAME

local REGISTRY = "/mica.registry.v1.Registry/GetService"
local READ = "/mica.runtime.v1.Runtime/Read"

local function argument(parser) parser:argument("name", "The service: name or name@version.") end

local function versions_of(cli, word)
  local name, version = cli:name(word)
  local found = {}
  for _, service in ipairs(cli:server():call(REGISTRY, { name = name }).services) do
    if not version or service.version == version then table.insert(found, service) end
  end
  if #found == 0 then cli:fail("NOT_FOUND", "no version %q of service %s", version, name) end
  return found
end

local function paint(status) return status == "serving" and "green" or status == "not_serving" and "red" or nil end

local function health(cli, args)
  local rows, ill = {}, false
  for _, service in ipairs(versions_of(cli, args.name)) do
    for _, node in ipairs(service.nodes) do
      local status = (node.health or "UNKNOWN"):lower()
      ill = ill or status == "not_serving"
      table.insert(rows, { node = node.id, version = service.version, address = node.address, status = status })
    end
  end
  cli:table({ "NODE", "VERSION", { "STATUS", paint = paint }, "ADDRESS" }, rows)
  return ill and 1 or 0
end

local function stats(cli, args)
  local name, version = cli:name(args.name)
  local found = cli:server():call(READ, { name = name, version = version, platform = true }).services or {}
  if #found == 0 then cli:fail("NOT_FOUND", "no service %q is deployed in namespace %q", args.name, cli:namespace()) end
  local now = require("mica").time.now()
  local rows = {}
  for _, service in ipairs(found) do
    table.insert(rows, {
      node = service.name .. "@" .. service.version,
      started = service.updated,
      uptime = math.max(0, now - service.updated),
      memory = service.memory,
      requests = service.requests,
      errors = service.errors,
    })
  end
  cli:table({ "NODE", { "STARTED", kind = "time" }, { "UPTIME", kind = "seconds" }, { "MEMORY", kind = "bytes" },
    "REQUESTS", "ERRORS" }, rows)
end

return {
  commands = {
    health = {
      summary = "Does it serve? Exit code 1 when a node does not.",
      examples = { "mica debug health posts" },
      parser = argument,
      run = health,
    },
    stats = {
      summary = "Memory, requests and errors of each version.",
      examples = { "mica debug stats posts" },
      parser = argument,
      run = stats,
    },
  },
}
