-- mica shutdown: the server drains, then it exits.

return {
  examples = { "mica shutdown", "mica --address 127.0.0.1:9081 shutdown --yes" },
  parser = function(parser) parser:flag("-y --yes", "Do not ask.") end,
  run = function(cli, args)
    cli:confirm(("shut down the server at %s?"):format(cli:address()), args.yes)
    cli:server():call("/mica.runtime.v1.Runtime/Shutdown")
  end,
}
