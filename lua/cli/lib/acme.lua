-- The flags of `mica server` for certificates by ACME.

local flags = require "lib.flags"

local acme = {}

function acme.declare(parser)
  parser:option("--acme-host", "Order a certificate for this name; may repeat (MICA_ACME_HOSTS, separated by ',').")
    :argname("NAME"):count "*"
  parser:flag("--acme-agree", "You agree to the authority's terms of service (MICA_ACME_AGREE).")
  parser:option("--acme-directory", "The authority's directory (MICA_ACME_DIRECTORY, Let's Encrypt)."):argname "URL"
  parser:option("--acme-email", "Where the authority reaches you (MICA_ACME_EMAIL)."):argname "ADDRESS"
  parser:option("--acme-http", "A plain HTTP door that proves names, such as 0.0.0.0:80 (MICA_ACME_HTTP, none: over TLS).")
    :argname "ADDR"
  parser:option("--acme-ca", "Who vouches for the authority's own server, PEM (MICA_ACME_CA)."):argname "FILE"
end

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

--- What the flags and variables say; nil where no name is given.
---@param cli mica.cli.Console
---@return table? mica.core.v1.AcmeOptions
function acme.read(cli, args)
  local given = args.acme_host
  if #given == 0 then
    for host in cli:setting(nil, "MICA_ACME_HOSTS", ""):gmatch "[^,%s]+" do table.insert(given, host) end
  end
  local agree = args.acme_agree
  if agree == nil then agree = flags.truth(cli:setting(nil, "MICA_ACME_AGREE", "")) end
  local options = {
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
    if not seen[name] then table.insert(options.hosts, name) end
    seen[name] = true
  end
  if #options.hosts > 100 then cli:usage "--acme-host: a certificate is for at most 100 names" end
  if not options.directory:find "^https://" then
    cli:usage("--acme-directory %s: an authority has an https:// address", options.directory)
  end
  if not agree then
    cli:usage("--acme-host needs --acme-agree: you agree to the terms of service that %s names", options.directory)
  end
  if options.ca ~= "" then options.ca = cli:path(options.ca) end
  return options
end

return acme
