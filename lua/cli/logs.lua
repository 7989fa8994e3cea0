-- mica logs NAME: what a service has logged, the oldest first.

local flags = require "lib.flags"
local mica = require "mica"

local LOGS = "/mica.runtime.v1.Runtime/Logs"

local LEVELS = { trace = true, debug = true, info = true, warn = true, error = true }
local COLOUR = { WARN = "yellow", ERROR = "red", DEBUG = "dim", TRACE = "dim" }

local function quoted(text)
  if text ~= "" and not text:find '[%s"=%c]' then return text end
  return mica.json.encode(text)
end

local function line(cli, record)
  local level = record.level:upper()
  local from = ("%s@%s/%d"):format(record.service, record.version, record.instance)
  local text = record.text:gsub("[%z\1-\8\11-\31\127]", " ")
  local parts = { mica.time.format(record.time), COLOUR[level] and cli:paint(COLOUR[level], level) or level,
    cli:paint("blue", from), text }
  for key, value in mica.sorted(record.fields or {}) do table.insert(parts, key .. "=" .. quoted(value)) end
  return table.concat(parts, " ")
end

return {
  examples = {
    "mica logs posts",
    "mica logs posts -f --level warn",
    "mica logs posts@v2 -n 100 --since 1h --grep timeout",
    "mica logs posts --trace 4bf92f3577b34da6a3ce929d0e0e4736 -o json",
  },
  parser = function(parser)
    parser:argument("name", "The service: name or name@version.")
    parser:flag("-f --follow", "Go on as it logs.")
    parser:option("-n --lines", "How many of the newest (15; with --since, --grep or --trace: all)."):argname "N"
    parser:option("--since", "Only what is newer: 1h, or 2026-11-22T10:00:00Z."):argname "TIME"
    parser:option("--level", "At least this level: trace, debug, info, warn or error."):argname "LEVEL"
    parser:option("--grep", "Only records that contain this text."):argname "TEXT"
    parser:option("--trace", "Only records of this trace."):argname "ID"
  end,
  check = function(cli, args)
    args.count = args.lines and flags.count(cli, args.lines, "-n", 0, 1000000)
    args.from = args.since and flags.moment(cli, args.since, "--since")
    args.level = args.level and args.level:lower()
    if args.level and not LEVELS[args.level] then
      cli:usage("--level: %q is none of trace, debug, info, warn, error%s", args.level,
        cli:suggest(args.level, { "trace", "debug", "info", "warn", "error" }))
    end
  end,
  run = function(cli, args)
    local name, version = cli:name(args.name)
    local selects = args.from or args.grep or args.trace
    local request = {
      name = name,
      version = version,
      count = args.count or (selects and 0 or 15),
      since = args.from,
      level = args.level,
      grep = args.grep,
      trace = args.trace,
      follow = args.follow,
    }
    if args.count == 0 and not args.follow then return end
    for record in cli:server():each(LOGS, request) do cli:item(record, line(cli, record)) end
  end,
}
