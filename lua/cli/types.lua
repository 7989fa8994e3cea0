-- mica types [DIR]: types for editors.

local source = require "lib.source"

return {
  examples = { "mica types", "mica types examples/helloworld" },
  text = "Writes .mica/types/ in LuaCATS, which lua-language-server reads: the library, every message, handlers\n"
    .. "(posts.Posts.Server) and stubs (mica.client \"posts\") of this service and of the services beside it that it\n"
    .. "calls. Prints the files.",
  parser = function(parser) parser:argument("dir", "The service's folder; default the present one."):args "?" end,
  run = function(cli, args)
    local read = source.read(cli, args.dir or ".")
    local files = {}
    for i, file in ipairs(require("lib.types").write(cli, read)) do files[i] = { file = file } end
    if cli.output ~= "table" then return cli:table({ "FILE" }, files, { sorted = false }) end
    for _, row in ipairs(files) do cli:print(row.file) end
  end,
}
