-- mica kill NAME...: stops services.

local flags = require "lib.flags"
local stopping = require "lib.stopping"

return {
  text = "Calls that have begun may end, for as long as --drain says; new ones are refused at once.",
  examples = { "mica kill posts", "mica kill posts@v2 comments --drain 5s", "mica kill . --now" },
  parser = function(parser)
    parser:argument("name", "The services: name, name@version, or a folder."):args "+"
    parser:mutex(
      parser:option("--drain", "How long calls may go on (60s)."):argname "DURATION",
      parser:flag("--now", "Break calls off.")
    )
  end,
  check = function(cli, args) args.seconds = args.drain and flags.duration(cli, args.drain, "--drain") end,
  run = function(cli, args)
    local given = {}
    for i, word in ipairs(args.name) do given[i] = { cli:name(word) } end
    for _, one in ipairs(given) do
      stopping.tell(cli, one[1], one[2], stopping.stop(cli, one[1], one[2], args.seconds, args.now))
    end
  end,
}
