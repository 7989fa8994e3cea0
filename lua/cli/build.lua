-- mica build [DIR]: a service in one file, NAME-HASH8.mica.

local source = require "lib.source"

return {
  examples = { "mica build", "mica build examples/helloworld --out /tmp/hello.mica" },
  text = "Code, contract and descriptors in one file, which `mica run FILE` runs. Prints the file's name.",
  parser = function(parser)
    parser:argument("dir", "The service's folder; default the present one."):args "?"
    parser:option("--out", "The file to write; default NAME-HASH8.mica in the present folder."):argname "FILE"
  end,
  run = function(cli, args)
    local read = source.load(cli, args.dir or ".")
    for _, warning in ipairs(read.definition.warnings) do cli:note("warning: " .. warning) end
    local bundle, hash = source.pack(read)
    local file = args.out or ("%s-%s.mica"):format(read.name, hash:sub(1, 8))
    cli.files.write(cli:path(file), bundle)
    require("lib.history").keep(cli, read)
    cli:value(file)
  end,
}
