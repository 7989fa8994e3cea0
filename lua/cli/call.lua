-- mica call SERVICE ENDPOINT [JSON]: one call over gRPC, the request and the answer as JSON.

local mica = require "mica"
local suggest = require "mica.suggest"

local function find_endpoint(cli, server, service, endpoint)
  local found = mica.json.decode(server:call("/mica.registry.v1.Registry/GetService",
    mica.json.encode { name = service }, { timeout = cli:timeout() })).services[1]
  local names = {}
  for _, candidate in ipairs(found.endpoints) do
    if candidate.name == endpoint then return candidate end
    table.insert(names, candidate.name)
  end
  local near = suggest.nearest(endpoint, names)
  return nil, ("service %q has no endpoint %q%s"):format(service, endpoint,
    near and (" (did you mean %q?)"):format(near) or "; it has " .. table.concat(names, ", "))
end

return {
  summary = "Call an endpoint and print its answer as JSON.",
  examples = {
    [[mica call helloworld Helloworld.Call '{"name":"Ada"}']],
    [[mica --address 127.0.0.1:9081 call helloworld Helloworld.Stream '{"name":"Ada","messages":3}']],
  },
  parser = function(parser)
    parser:argument("service", "The service's name.")
    parser:argument("endpoint", "The endpoint, as Service.Method.")
    parser:argument("json", "The request; default {}."):args "?"
  end,
  run = function(cli, args)
    local request = args.json or "{}"
    local server = mica.client.dial(cli:address(), { json = true, namespace = cli:namespace() })
    local endpoint, fault = find_endpoint(cli, server, args.service, args.endpoint)
    if not endpoint then return cli:usage_error(fault) end
    if endpoint.client_streaming then
      return cli:usage_error(args.endpoint .. " takes a stream of requests, which `mica call` cannot send")
    end
    if not endpoint.server_streaming then
      cli:print(server:call(endpoint.path, request, { timeout = cli:timeout() }))
      return 0
    end
    for message in server:stream(endpoint.path, request):messages() do cli:print(message) end
    return 0
  end,
}
