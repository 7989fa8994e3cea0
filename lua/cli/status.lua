-- mica status [NAME]: how services are doing.

local READ = "/mica.runtime.v1.Runtime/Read"

local COLOUR = { running = "green", error = "red", stopping = "yellow", starting = "yellow", pending = "yellow" }

local COLUMNS = {
  "NAME", "VERSION", { "STATUS", paint = function(status) return COLOUR[status] end },
  "INSTANCES", "RESTARTS", { "MEMORY", kind = "bytes" }, "REQUESTS", "ERRORS", { "UPDATED", kind = "time" }, "SOURCE",
}

-- How many of its instances answer is said where it is not all of them.
local function instances(service)
  if service.serving == service.instances then return service.instances end
  return ("%d/%d"):format(service.serving, service.instances)
end

local function row_of(service)
  local row = {}
  for key, value in pairs(service) do row[key] = value end
  row.status = service.status:lower()
  row.instances = instances(service)
  return row
end

local function limits_text(cli, limits)
  local parts = {}
  if tonumber(limits.memory) > 0 then table.insert(parts, "memory=" .. cli:bytes(limits.memory)) end
  if tonumber(limits.message) > 0 then table.insert(parts, "message=" .. cli:bytes(limits.message)) end
  if limits.deadline > 0 then table.insert(parts, ("deadline=%gs"):format(limits.deadline)) end
  if limits.concurrency > 0 then table.insert(parts, "concurrency=" .. limits.concurrency) end
  if limits.queue > 0 then table.insert(parts, "queue=" .. limits.queue) end
  return table.concat(parts, " ")
end

-- What the table has no room for.
local function print_details(cli, service)
  local function say(what, text)
    if text and text ~= "" then cli:print(("%s@%s %s: %s"):format(service.name, service.version, what, text)) end
  end
  say("error", service.error)
  if type(service.limits) == "table" and service.limits.memory then say("limits", limits_text(cli, service.limits)) end
  say("hash", service.hash)
  say("owner", service.owner)
  say("created", cli:time(service.created))
  for _, warning in ipairs(service.warnings or {}) do say("warning", warning) end
end

return {
  examples = { "mica status", "mica status posts", "mica status --all -o json" },
  parser = function(parser)
    parser:argument("name", "A service: name or name@version."):args "?"
    parser:flag("--all", "The platform's too.")
  end,
  run = function(cli, args)
    local name, version
    if args.name then name, version = cli:name(args.name) end
    local request = { name = name, version = version, platform = args.all }
    local found = cli:server():call(READ, request).services or {}
    if name and #found == 0 then
      cli:fail_hint("mica status", "NOT_FOUND", "no service %q is deployed in namespace %q", args.name, cli:namespace())
    end
    local rows = {}
    for i, service in ipairs(found) do rows[i] = cli.output == "table" and row_of(service) or service end
    cli:table(COLUMNS, rows)
    if not name or cli.output ~= "table" then return end
    for _, service in ipairs(found) do print_details(cli, service) end
  end,
}
