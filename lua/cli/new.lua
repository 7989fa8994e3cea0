-- mica new NAME: a service to begin with.

local mica = require "mica"
local commands = require "lib.commands"
local source = require "lib.source"

local TEMPLATES = { call = true, stream = true }

-- Of the reference; they come with what they show.
local LATER = {
  web = "handlers of raw HTTP are not part of this version",
  model = "storage for services is not part of this version",
}

-- Names of the templates' messages, which a proto service cannot have too.
local TAKEN = { CallRequest = true, CallResponse = true, CountRequest = true, CountResponse = true, EchoMessage = true }

local function check_name(cli, name)
  local rule = "letters a-z, digits and -, beginning with a letter; no two - together"
  if not name:find "^%l[%l%d-]*$" or name:find("--", 1, true) then
    cli:usage("%q is no name for a service: %s", name, rule)
  end
  if #name > 63 then cli:usage("%q is no name for a service: at most 63 characters, %s", name, rule) end
end

local function check_template(cli, template)
  if LATER[template] then
    cli:usage_hint("mica help new", "there is no template %q yet: %s", template, LATER[template])
  end
  if not TEMPLATES[template] then
    cli:usage_hint("mica help new", "no template %q%s", template, cli:suggest(template, { "call", "stream" }))
  end
end

local function words_of(cli, name, call)
  local group = require("lib.annotations").camel(name)
  if TAKEN[group] then cli:usage("%q is a name of the template's own messages: choose another", name) end
  local next_call = "mica " .. name .. " " .. call.flags
  if commands.find(name) then -- a command hides the service of its name
    next_call = ("mica call %s %s.%s '%s'"):format(name, group, call.endpoint, call.request)
  end
  return { name = name, package = (name:gsub("-", "_")), Group = group, next = next_call }
end

local function filled(text, words) return (text:gsub("%$(%a+)", words)) end

-- The files by path, and the words that they were made with.
local function files_of(cli, name, template)
  local chosen = require("templates." .. template)
  local words = words_of(cli, name, chosen.call)
  local files = {}
  for _, texts in ipairs { require "templates.common", chosen } do
    for path, text in pairs(texts) do
      if type(text) == "string" then files[filled(path, words)] = filled(text, words) end
    end
  end
  return files, words
end

local function write(cli, folder, files)
  if cli.files.stat(folder).exists then cli:fail("ALREADY_EXISTS", "%s exists already", folder) end
  for path, text in mica.sorted(files) do
    cli.files.make_folder((folder .. "/" .. path):match "^(.*)/")
    cli.files.write(folder .. "/" .. path, text, { create_only = true })
  end
end

-- Files before folders, each in the order of names.
local function tree(name, files)
  local top, below = {}, {}
  for path in mica.sorted(files) do
    local folder, rest = path:match "^([^/]+)/(.*)$"
    if folder then
      table.insert(below, "  " .. folder .. "/")
      table.insert(below, "    " .. rest)
    else
      table.insert(top, "  " .. path)
    end
  end
  return name .. "/\n" .. table.concat(top, "\n") .. "\n" .. table.concat(below, "\n")
end

return {
  examples = { "mica new helloworld", "mica new blog-posts", "mica new ticker --template stream" },
  text = "Makes the folder NAME with a contract, main.lua, README and settings for editors, and prints what to do\n"
    .. "next. A name has letters a-z, digits and - (no two together), and begins with a letter.",
  parser = function(parser)
    parser:argument("name", "The service's name, and the folder's.")
    parser:option("--template", "call (one answer, the default) or stream (more than one)."):argname "NAME"
  end,
  check = function(cli, args)
    check_name(cli, args.name)
    check_template(cli, args.template or "call")
  end,
  run = function(cli, args)
    local name = args.name
    local files, words = files_of(cli, name, args.template or "call")
    local folder = cli:path(name)
    write(cli, folder, files)
    require("lib.types").write(cli, source.read(cli, folder))
    local commands_next = { "mica run " .. name, words.next }
    if cli.output == "json" then return cli:value { name = name, folder = folder, next = commands_next } end
    if cli.output == "name" then return cli:print(name) end
    cli:print(tree(name, files) .. "\n\n" .. table.concat(commands_next, "\n"))
  end,
}
