-- mica server: checks its flags, then the process becomes the server.

local LEVELS = { trace = true, debug = true, info = true, warn = true, error = true, off = true }

local function count(text)
  local n = tonumber(text)
  if n and n >= 0 and n <= 256 and n == math.floor(n) then return n end
end

local function folders(cli, flags)
  local list = {}
  if #flags > 0 then
    for _, folder in ipairs(flags) do table.insert(list, cli:path(folder)) end
  else
    for folder in cli:setting(nil, "MICA_RUN", ""):gmatch "[^:]+" do table.insert(list, cli:path(folder)) end
  end
  return list
end

local function truth(text) return text == "1" or text == "true" or text == "yes" end

return {
  summary = "Run the server.",
  examples = {
    "mica server",
    "mica server --run ./helloworld --run ./posts",
    "mica server --data /var/lib/mica --api 127.0.0.1:0 --proxy 127.0.0.1:0 --log-level debug",
  },
  parser = function(parser)
    parser:option("--data", "Folder of the data (MICA_DATA, ~/.mica/data)."):argname "DIR"
    parser:option("--api", "Address of the API gateway (MICA_API, 127.0.0.1:8080)."):argname "ADDR"
    parser:option("--proxy", "Address of the gRPC proxy (MICA_PROXY, 127.0.0.1:8081)."):argname "ADDR"
    parser:option("--io", "I/O loops (MICA_IO, a quarter of the cores)."):argname "N"
    parser:option("--workers", "Worker threads (MICA_WORKERS, the cores)."):argname "N"
    parser:option("--run", "Run the service in this folder; may repeat (MICA_RUN, separated by ':').")
      :argname("DIR"):count "*"
    parser:option("--log-level", "trace, debug, info, warn, error or off (MICA_LOG_LEVEL, info)."):argname "L"
    parser:flag("--insecure", "Allow addresses beyond this machine without encryption (MICA_INSECURE).")
  end,
  run = function(cli, args)
    local io = count(cli:setting(args.io, "MICA_IO", "0"))
    local workers = count(cli:setting(args.workers, "MICA_WORKERS", "0"))
    if not io then return cli:usage_error "--io: expected a number from 0 to 256" end
    if not workers then return cli:usage_error "--workers: expected a number from 0 to 256" end
    local level = cli:setting(args.log_level, "MICA_LOG_LEVEL", "info")
    if not LEVELS[level] then
      return cli:usage_error(("--log-level: %q is none of trace, debug, info, warn, error, off"):format(level))
    end
    local home = cli.environment.HOME or "."
    cli.native.Serve {
      data = cli:path(cli:setting(args.data, "MICA_DATA", home .. "/.mica/data")),
      api = cli:setting(args.api, "MICA_API", "127.0.0.1:8080"),
      proxy = cli:setting(args.proxy, "MICA_PROXY", "127.0.0.1:8081"),
      io = io,
      workers = workers,
      run = folders(cli, args.run),
      log_level = level,
      insecure = args.insecure or truth(cli:setting(nil, "MICA_INSECURE", "")),
    }
  end,
}
