-- mica server: checks its flags, then the process becomes the server.

local flags = require "lib.flags"

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
local function tls_files(cli, args, acme)
  local function file(given, variable)
    local path = cli:setting(given, variable, "")
    return path == "" and "" or cli:path(path)
  end
  local cert, key = file(args.tls_cert, "MICA_TLS_CERT"), file(args.tls_key, "MICA_TLS_KEY")
  local client_ca = file(args.tls_client_ca, "MICA_TLS_CLIENT_CA")
  if cert == "" and key ~= "" then cli:usage "--tls-key needs --tls-cert: the certificate that it belongs to" end
  if cert ~= "" and key == "" then cli:usage "--tls-cert needs --tls-key: the private key that belongs to it" end
  if acme and cert ~= "" then cli:usage "--tls-cert and --acme-host: the certificate is either given or ordered" end
  if client_ca ~= "" and cert == "" and not acme then
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
  { "metadata", "max-metadata", "16KB", size(2 ^ 10, 2 ^ 20, "1KB to 1MB"), "SIZE", "Headers of one request" },
  { "streams", "max-streams", "128", count(100000), "N", "Requests that are open on a connection" },
  { "connections", "max-connections", "10000", count(1000000), "N", "Connections of each door" },
  { "idle", "idle-timeout", "5m", span(0.1), "TIME", "A connection without requests is closed after it" },
  { "age", "max-age", "0", span(0.1, true), "TIME", "A connection takes nothing new after it; 0: never" },
  { "age_grace", "max-age-grace", "1m", span(0.1, true), "TIME", "What is open then is cut off after it; 0: never" },
  { "ping_interval", "ping-interval", "1m", span(0.1, true), "TIME", "A silent HTTP/2 caller is pinged after it; 0: never" },
  { "ping_timeout", "ping-timeout", "20s", span(0.1), "TIME", "Its requests are cancelled when it says nothing" },
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

local function truth(text) return text == "1" or text == "true" or text == "yes" end

-- A name that an authority may be asked for, in lower case.
local function check_host(cli, host)
  local name = host:lower()
  if name:find "^%*" then
    cli:usage("--acme-host %s: a wildcard is proved by DNS only, which is not supported: give each name by itself", host)
  end
  if name:find "^%d+%.%d+%.%d+%.%d+$" or name:find ":" then
    cli:usage("--acme-host %s: a certificate is ordered for names, not for addresses", host)
  end
  local sound = #name <= 253 and not name:find "%.%." and not name:find "^%." and not name:find "%.$"
  for label in name:gmatch "[^.]+" do
    sound = sound and #label <= 63 and label:find "^[a-z0-9-]+$" and not label:find "^%-" and not label:find "%-$"
  end
  if name == "" or not sound then
    cli:usage("--acme-host %q is no name of a host, such as www.example.com (others than ASCII as xn--...)", host)
  end
  return name
end

local LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"

-- Certificates by ACME: nil where no name is given.
local function read_acme(cli, args)
  local given = args.acme_host
  if #given == 0 then
    for host in cli:setting(nil, "MICA_ACME_HOSTS", ""):gmatch "[^,%s]+" do table.insert(given, host) end
  end
  local agree = args.acme_agree
  if agree == nil then agree = truth(cli:setting(nil, "MICA_ACME_AGREE", "")) end
  local acme = {
    directory = cli:setting(args.acme_directory, "MICA_ACME_DIRECTORY", LETS_ENCRYPT),
    ca = cli:setting(args.acme_ca, "MICA_ACME_CA", ""),
    email = cli:setting(args.acme_email, "MICA_ACME_EMAIL", ""),
    http = cli:setting(args.acme_http, "MICA_ACME_HTTP", ""),
    hosts = {},
  }
  if #given == 0 then
    for _, flag in ipairs { "acme_directory", "acme_ca", "acme_email", "acme_http", "acme_agree" } do
      if args[flag] then cli:usage("--%s needs --acme-host: the name that the certificate is for", (flag:gsub("_", "-"))) end
    end
    return nil
  end
  local seen = {}
  for _, host in ipairs(given) do
    local name = check_host(cli, host)
    if not seen[name] then table.insert(acme.hosts, name) end
    seen[name] = true
  end
  if #acme.hosts > 100 then cli:usage "--acme-host: a certificate is for at most 100 names" end
  if not acme.directory:find "^https://" then
    cli:usage("--acme-directory %s: an authority has an https:// address", acme.directory)
  end
  if not agree then
    cli:usage("--acme-host needs --acme-agree: you agree to the terms of service that the authority names at %s", acme.directory)
  end
  if acme.ca ~= "" then acme.ca = cli:path(acme.ca) end
  return acme
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
    parser:option("--acme-host", "Order a certificate for this name; may repeat (MICA_ACME_HOSTS, separated by ',').")
      :argname("NAME"):count "*"
    parser:flag("--acme-agree", "You agree to the authority's terms of service (MICA_ACME_AGREE).")
    parser:option("--acme-directory", "The authority's directory (MICA_ACME_DIRECTORY, Let's Encrypt)."):argname "URL"
    parser:option("--acme-email", "Where the authority reaches you (MICA_ACME_EMAIL)."):argname "ADDRESS"
    parser:option("--acme-http", "A plain HTTP door that proves names, such as 0.0.0.0:80 (MICA_ACME_HTTP, none: over TLS).")
      :argname "ADDR"
    parser:option("--acme-ca", "Who vouches for the authority's own server, PEM (MICA_ACME_CA)."):argname "FILE"
    add_limits(parser)
    parser:flag("--insecure", "Allow addresses beyond this machine without encryption (MICA_INSECURE).")
  end,
  run = function(cli, args)
    local level = cli:setting(args.log_level, "MICA_LOG_LEVEL", "info")
    if not LEVELS[level] then
      cli:usage("--log-level: %q is none of trace, debug, info, warn, error, off", level)
    end
    local insecure = args.insecure
    if insecure == nil then insecure = truth(cli:setting(nil, "MICA_INSECURE", "")) end
    local home = cli.environment.HOME or "."
    local acme = read_acme(cli, args)
    local tls_cert, tls_key, tls_client_ca = tls_files(cli, args, acme)
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
      limits = read_limits(cli, args),
      acme = acme,
    }
  end,
}
