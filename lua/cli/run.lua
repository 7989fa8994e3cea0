-- mica run SOURCE...: deploys folders and bundles; what runs already gets the new version.

local upload = require "lib.upload"

return {
  text = "SOURCE is a folder, a file that `mica build` made, or the name of a folder here; SOURCE@TAG names the version.\n"
    .. "What runs already is updated, without dropping a call; so it can be repeated.",
  examples = {
    "mica run .",
    "mica run ./posts ./comments",
    "mica run posts@v2 --instances 4 --cors https://app.example",
    "mica run posts-3f2a9c1.mica --name blog-posts",
  },
  parser = function(parser)
    parser:argument("source", "What to run."):args "+"
    upload.declare(parser)
  end,
  check = function(cli, args)
    upload.check(cli, args)
    if args.name and #args.source > 1 then cli:usage "--name: names one service, and there are several sources" end
  end,
  run = function(cli, args)
    local packed = {} -- all are read before the first is sent
    for i, word in ipairs(args.source) do packed[i] = upload.read(cli, word) end
    for _, one in ipairs(packed) do
      local opts = { name = args.name, instances = args.count, origins = args.origins, wait = args.seconds }
      upload.tell(cli, upload.deploy(cli, one, opts))
    end
  end,
}
