-- mica deregister NAME: takes a service that runs elsewhere out.

local REGISTRY = "/mica.registry.v1.Registry/"

local function runs_elsewhere(service)
  for _, node in ipairs(service.nodes) do
    if node.address ~= "" then return true end
  end
  return false
end

return {
  text = "Calls that have begun go on. Without a version all of its versions are taken out.",
  examples = { "mica deregister greeter", "mica deregister greeter@v2" },
  parser = function(parser) parser:argument("name", "The service: name or name@version.") end,
  run = function(cli, args)
    local name, version = cli:name(args.name)
    local versions = { version }
    if not version then
      for _, service in ipairs(cli:server():call(REGISTRY .. "GetService", { name = name }).services) do
        if runs_elsewhere(service) then table.insert(versions, service.version) end
      end
      if #versions == 0 then
        cli:fail_hint("mica kill " .. name, "FAILED_PRECONDITION", "%s runs on the server itself", name)
      end
    end
    for _, one in ipairs(versions) do
      cli:server():call(REGISTRY .. "Deregister", { name = name, version = one })
      cli:changed({ ("%s@%s"):format(name, one), "deregistered" }, { name = name, version = one, status = "DEREGISTERED" })
    end
  end,
}
