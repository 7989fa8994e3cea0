-- mica describe NAME [ENDPOINT]: what a service answers.

local calling = require "lib.calling"
local contracts = require "lib.contract"
local reference = require "lib.reference"

-- The registry's record, with the endpoints that were asked for.
local function record(service, endpoints)
  local copy = {}
  for key, value in pairs(service) do copy[key] = value end
  copy.endpoints = require("mica").json.array(endpoints)
  return copy
end

local function print_text(cli, contract, service, endpoints, all)
  local parts = {}
  local head = service.name .. "@" .. service.version
  if (service.description or "") ~= "" then head = head .. "  " .. service.description:gsub("%s*\n%s*", " ") end
  table.insert(parts, head)
  for _, endpoint in ipairs(endpoints) do table.insert(parts, reference.endpoint(contract, service, endpoint)) end
  if all then
    local handlers = table.concat(reference.handlers(service), "\n")
    if handlers ~= "" then table.insert(parts, (handlers:gsub("^\n", ""))) end
  end
  cli:print(table.concat(parts, "\n\n"))
end

local function print_openapi(cli, name, version)
  local pieces = {}
  for piece in cli:server():each("/mica.api.v1.Api/OpenApi", { service = name, version = version }) do
    table.insert(pieces, piece.text)
  end
  cli:json(table.concat(pieces))
end

return {
  text = "Each endpoint with its kind, its fields as flags, its answer, its paths over HTTP, and a sample call.",
  examples = {
    "mica describe posts", "mica describe posts save", "mica describe posts --proto", "mica describe posts --openapi",
  },
  parser = function(parser)
    parser:argument("name", "The service: name or name@version.")
    parser:argument("endpoint", "Only this endpoint."):args "?"
    parser:flag("--proto", "As .proto files.")
    parser:flag("--openapi", "As an OpenAPI document: how the gateway answers it.")
  end,
  run = function(cli, args)
    local name, version = cli:name(args.name)
    local service = calling.service(cli, name, version)
    if args.openapi then return print_openapi(cli, name, service.version) end
    local endpoints = service.endpoints
    if args.endpoint then endpoints = { calling.endpoint(cli, service, args.endpoint) } end
    if cli.output == "json" then return cli:value(record(service, endpoints)) end
    if cli.output == "name" then return cli:print(service.name) end
    local contract = contracts.fetch(cli:server(), name, service.version)
    if args.proto then return cli:write(require("lib.proto_text").print(contract)) end
    print_text(cli, contract, service, endpoints, args.endpoint == nil)
  end,
}
