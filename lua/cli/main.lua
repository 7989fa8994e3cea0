-- The command line: reads the global flags, finds the command, runs it, and turns what it raises into a message and an
-- exit code.
--
--   0 done   1 the answer was an error, a check found faults   2 wrong usage, nothing was sent
--   3 nobody answered, or --timeout passed   130 interrupted (the core's affair)
--
-- A command is a module of this folder, named in lib/commands.lua (which has its one-line summary, so that `mica help`
-- loads no module):
--
--   return {
--     examples = { "mica scale posts 3" },         at least one
--     text = "...",                                optional: paragraphs for `mica help scale`, below the summary
--     parser = function(parser) ... end,           lua-argparse: parser:argument, :option, :flag; see lib/flags.lua
--     check = function(cli, args) ... end,         optional: what is wrong with the values, by cli:usage(...)
--     run = function(cli, args) ... end,           returns an exit code, or nothing for 0
--   }
--
-- or a group of commands (`mica env add NAME`):
--
--   return { commands = { add = { summary =, examples =, parser =, run = }, ... }, default = "list" }
--
-- `cli` is documented at the head of lib/console.lua. Arguments of argparse: `NAME` as args.name, `--log-level` as
-- args.log_level; an option with :count "*" is always a list; a flag is true or nil (and false for --flag=false). Flags
-- are given in any order, with `--flag value` or `--flag=value`, hyphens or underscores; the frame sees to it and -h.
-- The global flags (-e --address --ca --namespace --token -o --timeout --no-color -q -v) are accepted by every command at
-- any place, unless the command has a flag of that name; they are in `cli`, not in `args`.
--
-- The first word may also name a service: see lib/runner.lua. The module lib/dynamic.lua is
--   dynamic.run(cli, words) -> true, exit code   when words[1] is a service that the server knows; false, names if not
-- where words are all that followed the global flags, unparsed, and names are services for a suggestion (or nil).
-- It parses with flags.scan (lib/flags.lua).

local mica = require "mica"
local console = require "lib.console"

return mica.service {
  handlers = {},
  on_start = function()
    mica.spawn(function()
      local cli = console.open(mica.native "cli")
      cli.native.Exit { code = require("lib.errors").guard(cli, require("lib.runner").run, cli.arguments) }
    end)
  end,
}
