-- mica env: the places that commands talk to, kept in ~/.config/mica/config.json.

local address = require "lib.address"
local config = require "lib.config"
local suggestions = require "lib.suggestions"

local function find(cli, loaded, name)
  if loaded.envs[name] then return loaded.envs[name] end
  cli:fail_hint("mica env list", "NOT_FOUND", "no environment %q%s", name,
    suggestions.hint(name, config.names(loaded)))
end

local function name_argument(parser) parser:argument("name", "The environment's name.") end

local function rows(cli)
  local loaded = config.load(cli)
  local current = config.place(cli).name
  local list = {}
  for _, name in ipairs(config.names(loaded)) do
    local place = loaded.envs[name]
    table.insert(list, {
      name = name, address = place.address, namespace = place.namespace, description = place.description,
      tls = place.tls or nil, ca = place.ca, current = name == current,
    })
  end
  return list
end

local function shown(row) return (row.tls and "https://" or "") .. row.address end

local function lines(list)
  local width = { 0, 0 }
  for _, row in ipairs(list) do
    width[1], width[2] = math.max(width[1], #row.name), math.max(width[2], #shown(row))
  end
  local out = {}
  for _, row in ipairs(list) do
    local text = ("%s %-" .. width[1] .. "s  %-" .. width[2] .. "s  %s"):format(
      row.current and "*" or " ", row.name, shown(row), row.description or row.namespace or "")
    table.insert(out, (text:gsub(" +$", "")))
  end
  return table.concat(out, "\n")
end

return {
  default = "list",
  text = "The environment that holds is that of --env, else of MICA_ENV, else the one that `mica env set` has set.",
  commands = {
    list = {
      summary = "List the environments; a star stands before the one that holds.",
      examples = { "mica env" },
      run = function(cli)
        local list = rows(cli)
        if cli.output ~= "table" then return cli:table({ "NAME" }, list) end
        cli:print(lines(list))
      end,
    },
    get = {
      summary = "Show the name of the environment that holds.",
      examples = { "mica env get" },
      run = function(cli) cli:value(config.place(cli).name) end,
    },
    set = {
      summary = "Choose an environment for the commands that follow.",
      examples = { "mica env set staging" },
      parser = name_argument,
      run = function(cli, args)
        local loaded = config.load(cli)
        loaded.env = find(cli, loaded, args.name).name
        config.save(cli, loaded)
      end,
    },
    add = {
      summary = "Add an environment, or change one.",
      examples = {
        "mica env add staging 10.0.0.7:8081", "mica --namespace shop env add shop 10.0.0.7:8081",
        "mica --ca ca.pem env add live https://mica.example.com:8081",
      },
      text = "With --namespace, the environment's commands use that namespace; with --ca, they trust that file's\n"
        .. "authorities.",
      parser = function(parser)
        name_argument(parser)
        parser:argument("address", "HOST:PORT of the server's proxy; https://HOST[:PORT] with TLS.")
      end,
      check = function(cli, args)
        if not args.name:find "^%l[%w_-]*$" then
          cli:usage("%q is no name for an environment: letters, digits, - and _, beginning with a small letter",
            args.name)
        end
        local _, tls = address.parse(cli, args.address)
        if cli.flags.ca and not tls then
          cli:usage("--ca is for servers with TLS: write https://%s", args.address)
        end
      end,
      run = function(cli, args)
        local loaded = config.load(cli)
        local place, tls = address.parse(cli, args.address)
        loaded.envs[args.name] = {
          name = args.name, address = place, namespace = cli.flags.namespace, tls = tls,
          ca = cli.flags.ca and cli:path(cli.flags.ca),
        }
        config.save(cli, loaded)
      end,
    },
    delete = {
      summary = "Delete an environment.",
      examples = { "mica env delete staging" },
      parser = name_argument,
      run = function(cli, args)
        local loaded = config.load(cli)
        find(cli, loaded, args.name)
        if args.name == "local" then cli:fail("FAILED_PRECONDITION", "the environment \"local\" is built in") end
        if args.name == loaded.env then
          cli:fail_hint("mica env set local", "FAILED_PRECONDITION", "%q is the current environment", args.name)
        end
        loaded.envs[args.name] = nil
        config.save(cli, loaded)
      end,
    },
  },
}
