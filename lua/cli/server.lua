-- mica server: checks its flags, then the process becomes the server.

local acme = require "lib.acme"
local flags = require "lib.flags"
local origins = require "lib.origins"

local LEVELS = { trace = true, debug = true, info = true, warn = true, error = true, off = true }

local function folders(cli, given)
  local list = {}
  if #given > 0 then
    for _, folder in ipairs(given) do table.insert(list, cli:path(folder)) end
  else
    for folder in cli:setting(nil, "MICA_RUN", ""):gmatch "[^:]+" do table.insert(list, cli:path(folder)) end
  end
  return list
end

-- The files of --tls-*, absolute; "" where there is none.
local function tls_files(cli, args, ordered)
  local function file(given, variable)
    local path = cli:setting(given, variable, "")
    return path == "" and "" or cli:path(path)
  end
  local cert, key = file(args.tls_cert, "MICA_TLS_CERT"), file(args.tls_key, "MICA_TLS_KEY")
  local client_ca = file(args.tls_client_ca, "MICA_TLS_CLIENT_CA")
  if cert == "" and key ~= "" then cli:usage "--tls-key needs --tls-cert: the certificate that it belongs to" end
  if cert ~= "" and key == "" then cli:usage "--tls-cert needs --tls-key: the private key that belongs to it" end
  if ordered and cert ~= "" then cli:usage "--tls-cert and --acme-host: the certificate is either given or ordered" end
  if client_ca ~= "" and cert == "" and not ordered then
    cli:usage "--tls-client-ca needs --tls-cert and --tls-key, or --acme-host"
  end
  return cert, key, client_ca
end

local function size(least, most, range)
  return function(cli, text, what) return flags.size(cli, text, what, least, most, range) end
end
local function count(most)
  return function(cli, text, what) return flags.count(cli, text, what, 1, most) end
end
local function span(least, zero)
  return function(cli, text, what) return flags.span(cli, text, what, least, zero) end
end

-- What peers may do at the front doors: field of DoorLimits, flag, default, what reads the text, argument, help.
local LIMITS = {
  { "message", "max-message", "4MB", size(2 ^ 10, 2 ^ 30, "1KB to 1GB"), "SIZE", "Longest message that is taken" },
  { "request_body", "max-body", "100MB", size(2 ^ 10, 2 ^ 36, "1KB to 64GB"), "SIZE",
    "Longest body that a raw HTTP handler reads as a whole" },
  { "metadata", "max-metadata", "16KB", size(2 ^ 10, 2 ^ 20, "1KB to 1MB"), "SIZE", "Headers of one request" },
  { "streams", "max-streams", "128", count(100000), "N", "Requests that are open on a connection" },
  { "connections", "max-connections", "10000", count(1000000), "N", "Connections of each door" },
  { "idle", "idle-timeout", "5m", span(0.1), "TIME", "A connection without requests is closed after it" },
  { "age", "max-age", "0", span(0.1, true), "TIME", "A connection takes nothing new after it; 0: never" },
  { "age_grace", "max-age-grace", "1m", span(0.1, true), "TIME", "What is open then is cut off after it; 0: never" },
  { "ping_interval", "ping-interval", "1m", span(0.1, true), "TIME", "A silent HTTP/2 caller is pinged after it; 0: never" },
  { "heartbeat", "heartbeat", "15s", span(0.1, true), "TIME", "A silent stream to a browser says that it lives; 0: never" },
  { "ping_timeout", "ping-timeout", "20s", span(0.1), "TIME", "Its requests are cancelled when it says nothing" },
  { "head", "head-timeout", "10s", span(0.1), "TIME", "For the whole head of a request to come" },
  { "body", "body-timeout", "1m", span(0.1, true), "TIME", "For 1KB of a body to come or to be taken; 0: no limit" },
  { "headers", "max-headers", "100", count(100000), "N", "Header lines of an HTTP/1 request" },
  { "compress", "compress-min", "1KB", size(0, 2 ^ 30, "0 to 1GB"), "SIZE", "Longer answers are compressed; 0: none" },
}

local function variable(flag) return "MICA_" .. flag:upper():gsub("-", "_") end

local function add_limits(parser)
  for _, limit in ipairs(LIMITS) do
    local _, flag, default, _, argument, text = unpack(limit)
    parser:option("--" .. flag, ("%s (%s, %s)."):format(text, variable(flag), default)):argname(argument)
  end
end

local function read_limits(cli, args)
  local out = {}
  for _, limit in ipairs(LIMITS) do
    local key, flag, default, read = unpack(limit)
    out[key] = read(cli, cli:setting(args[flag:gsub("-", "_")], variable(flag), default), "--" .. flag)
  end
  return out
end

return {
  examples = {
    "mica server",
    "mica server --run ./helloworld --run ./posts",
    "mica server --data /var/lib/mica --api 127.0.0.1:0 --proxy 127.0.0.1:0 --log-level debug",
    "mica server --api 0.0.0.0:443 --proxy 0.0.0.0:8081 --tls-cert cert.pem --tls-key key.pem",
    "mica server --api 0.0.0.0:443 --acme-host www.example.com --acme-email ops@example.com --acme-agree",
  },
  text = "Prints a line when all answers, and goes on until it gets SIGTERM or Ctrl-C, or `mica shutdown`: then calls\n"
    .. "that are under way finish. New certificates are taken from their files while it runs.",
  parser = function(parser)
    parser:option("--data", "Folder of the data (MICA_DATA, ~/.mica/data)."):argname "DIR"
    parser:option("--api", "Address of the API gateway (MICA_API, 127.0.0.1:8080)."):argname "ADDR"
    parser:option("--proxy", "Address of the gRPC proxy (MICA_PROXY, 127.0.0.1:8081)."):argname "ADDR"
    parser:option("--io", "I/O loops (MICA_IO, a quarter of the cores)."):argname "N"
    parser:option("--workers", "Worker threads (MICA_WORKERS, the cores)."):argname "N"
    parser:option("--run", "Run the service in this folder; may repeat (MICA_RUN, separated by ':').")
      :argname("DIR"):count "*"
    parser:option("--log-level", "trace, debug, info, warn, error or off (MICA_LOG_LEVEL, info)."):argname "L"
    parser:option("--tls-cert", "The certificate with its chain, PEM: both doors speak TLS (MICA_TLS_CERT)."):argname "FILE"
    parser:option("--tls-key", "Its private key, PEM (MICA_TLS_KEY)."):argname "FILE"
    parser:option("--tls-client-ca", "Who vouches for clients: they may show a certificate (MICA_TLS_CLIENT_CA).")
      :argname "FILE"
    acme.declare(parser)
    parser:option("--access-log", "A line a request: a file, or - for standard output (MICA_ACCESS_LOG, none).")
      :argname "FILE"
    parser:option("--access-log-format", "combined or json (MICA_ACCESS_LOG_FORMAT, combined)."):argname "F"
    origins.declare(parser, "cors-origin", "Pages of it may read all answers; * is any; may repeat (MICA_CORS_ORIGINS).")
    add_limits(parser)
    parser:flag("--insecure", "Allow addresses beyond this machine without encryption (MICA_INSECURE).")
  end,
  run = function(cli, args)
    local level = cli:setting(args.log_level, "MICA_LOG_LEVEL", "info")
    if not LEVELS[level] then
      cli:usage("--log-level: %q is none of trace, debug, info, warn, error, off", level)
    end
    local access_log = cli:setting(args.access_log, "MICA_ACCESS_LOG", "")
    if access_log ~= "" and access_log ~= "-" then access_log = cli:path(access_log) end
    local access_log_format = cli:setting(args.access_log_format, "MICA_ACCESS_LOG_FORMAT", "combined")
    if access_log_format ~= "combined" and access_log_format ~= "json" then
      cli:usage("--access-log-format: %q is neither combined nor json", access_log_format)
    end
    local insecure = args.insecure
    if insecure == nil then insecure = flags.truth(cli:setting(nil, "MICA_INSECURE", "")) end
    local home = cli.environment.HOME or "."
    local ordered = acme.read(cli, args)
    local tls_cert, tls_key, tls_client_ca = tls_files(cli, args, ordered)
    cli.native.Serve {
      data = cli:path(cli:setting(args.data, "MICA_DATA", home .. "/.mica/data")),
      api = cli:setting(args.api, "MICA_API", "127.0.0.1:8080"),
      proxy = cli:setting(args.proxy, "MICA_PROXY", "127.0.0.1:8081"),
      io = flags.count(cli, cli:setting(args.io, "MICA_IO", "0"), "--io", 0, 256),
      workers = flags.count(cli, cli:setting(args.workers, "MICA_WORKERS", "0"), "--workers", 0, 256),
      run = folders(cli, args.run),
      log_level = level,
      insecure = insecure,
      tls_cert = tls_cert,
      tls_key = tls_key,
      tls_client_ca = tls_client_ca,
      access_log = access_log,
      access_log_format = access_log_format,
      limits = read_limits(cli, args),
      acme = ordered,
      cors = { origins = origins.setting(cli, args.cors_origin, "--cors-origin", "MICA_CORS_ORIGINS") },
    }
  end,
}
