-- mica services

return {
  examples = { "mica services", "mica services --all -o json" },
  parser = function(parser) parser:flag("--all", "The platform's too.") end,
  run = function(cli, args)
    local found = cli:server():call("/mica.registry.v1.Registry/ListServices", { platform = args.all }).services or {}
    local rows, by_name = {}, {}
    for _, service in ipairs(found) do
      local key = service.namespace .. "\0" .. service.name
      if not by_name[key] then
        by_name[key] = { name = service.name, namespace = service.namespace, versions = {} }
        table.insert(rows, by_name[key])
      end
      table.insert(by_name[key].versions, service.version)
    end
    cli:table({ "NAME" }, rows)
  end,
}
