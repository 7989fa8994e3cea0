-- The files of whoever uses the command line, in ~/.config/mica (XDG_CONFIG_HOME/mica):
--   config.json  { "env": "local", "envs": { "NAME": { "address": "HOST:PORT", "namespace": "...", "tls": true,
--                 "ca": "/FILE" } } }
--   tokens       { "NAME": { "token": "..." } }, by environment; mode 0600

local mica = require "mica"
local suggestions = require "lib.suggestions"

local config = {}

local BUILT_IN = { ["local"] = { address = "127.0.0.1:8081", description = "this machine" } }

local function folder(cli)
  local base = cli:setting(nil, "XDG_CONFIG_HOME")
  if base then return base .. "/mica" end
  local home = cli:setting(nil, "HOME") or cli:usage "there is neither HOME nor XDG_CONFIG_HOME in the environment"
  return home .. "/.config/mica"
end

-- {} when there is no such file.
local function read(cli, name)
  if not (cli:setting(nil, "XDG_CONFIG_HOME") or cli:setting(nil, "HOME")) then return {} end
  local path = folder(cli) .. "/" .. name
  local text = cli.files.read(path)
  if not text or text == "" then return {} end
  local value, err = mica.try(mica.json.decode, text)
  if err then cli:usage("%s: %s", path, err.message) end
  if type(value) ~= "table" then cli:usage("%s: expected a JSON object", path) end
  return value
end

---@class mica.cli.Place an environment
---@field name string
---@field address string
---@field namespace? string
---@field tls? boolean
---@field ca? string a file of PEM certificates, absolute
---@field description? string

local function place_of(name, entry)
  return {
    name = name, address = entry.address, namespace = entry.namespace, tls = entry.tls == true,
    ca = entry.ca,
    description = entry.description,
  }
end

---@param cli mica.cli.Console
---@return { env: string, envs: table<string, mica.cli.Place> }
function config.load(cli)
  local file = read(cli, "config.json")
  local envs = {}
  for name, entry in pairs(BUILT_IN) do envs[name] = place_of(name, entry) end
  for name, entry in pairs(type(file.envs) == "table" and file.envs or {}) do
    if type(entry) == "table" then envs[name] = place_of(name, entry) end
  end
  return { env = type(file.env) == "string" and file.env or "local", envs = envs }
end

--- Writes what differs from the built-in environments.
---@param cli mica.cli.Console
---@param loaded { env: string, envs: table<string, mica.cli.Place> }
function config.save(cli, loaded)
  local envs = {}
  for name, place in pairs(loaded.envs) do
    local built_in = BUILT_IN[name]
    if not (built_in and built_in.address == place.address and place.namespace == nil) then
      envs[name] = { address = place.address, namespace = place.namespace, tls = place.tls or nil,
        ca = place.ca, description = place.description }
    end
  end
  cli.files.make_folder(folder(cli), 448) -- 0700
  local text = mica.json.encode({ env = loaded.env, envs = envs }, { pretty = true }) .. "\n"
  cli.files.write(folder(cli) .. "/config.json", text, { mode = 384 }) -- 0600
end

--- The environment that holds: of --env, MICA_ENV, or the one that was set.
---@param cli mica.cli.Console
---@return mica.cli.Place
function config.place(cli)
  local loaded = config.load(cli)
  local name = cli:setting(cli.flags.env, "MICA_ENV") or loaded.env
  local place = loaded.envs[name]
  if place then return place end
  cli:usage_hint("mica env list", "no environment %q%s", name, suggestions.hint(name, config.names(loaded)))
end

function config.names(loaded)
  local names = {}
  for name in mica.sorted(loaded.envs) do table.insert(names, name) end
  return names
end

--- The stored login of an environment; nil without one.
---@param cli mica.cli.Console
---@param place mica.cli.Place
---@return string?
function config.token(cli, place)
  local entry = read(cli, "tokens")[place.name]
  return type(entry) == "table" and type(entry.token) == "string" and entry.token or nil
end

return config
