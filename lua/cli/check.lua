-- mica check [DIR]: what is wrong with a service, a line each, without running it.

local mica = require "mica"
local source = require "lib.source"

-- ---- faults --------------------------------------------------------------------------------------------------------

-- A line such as "main.lua:12:7: text" as a fault.
local function fault_of(line, severity)
  local file, number, text = line:match "^([^:%s]+):(%d+):%s*(.*)$"
  if not file then return { file = "main.lua", line = 1, text = line, severity = severity } end
  return { file = file, line = tonumber(number), text = (text:gsub("^%d+:%s*", "")), severity = severity }
end

local function add(faults, severity, text)
  for line in text:gmatch "[^\n]+" do
    if line:find "%S" then table.insert(faults, fault_of(line, severity)) end
  end
end

local WRONG = { INVALID_ARGUMENT = true, FAILED_PRECONDITION = true, NOT_FOUND = true, RESOURCE_EXHAUSTED = true,
  DEADLINE_EXCEEDED = true, INTERNAL = true }

-- Calls fn; an error that tells what is wrong with the service becomes faults.
local function attempt(faults, fn, ...)
  local result, err = mica.try(fn, ...)
  if not err then return result end
  if not WRONG[err.code] then error(err, 0) end
  add(faults, "error", err.message)
end

-- ---- luacheck ------------------------------------------------------------------------------------------------------

local function has_settings(cli, folder)
  while folder ~= "" do
    if cli.files.stat(folder .. "/.luacheckrc").exists then return true end
    folder = folder:match "^(.*)/[^/]*$"
  end
  return cli.files.stat("/.luacheckrc").exists
end

local function lua_files(read)
  local list = {}
  for _, path in ipairs(read.files) do
    if path:find "%.lua$" and not path:find "^spec/" and not path:find "^lua_modules/" then table.insert(list, path) end
  end
  return list
end

-- luacheck's exit code: 1 warnings, 2 errors, more: it could not do its work.
local function run_luacheck(cli, read, faults)
  local arguments = { "--formatter", "plain", "--codes", "--no-color" }
  if not has_settings(cli, read.folder) then
    for _, word in ipairs { "--std", "luajit", "--no-unused-args" } do table.insert(arguments, word) end
  end
  for _, path in ipairs(lua_files(read)) do table.insert(arguments, path) end
  local found, code, output = cli.files.try_run("luacheck", arguments, { folder = read.folder, capture = true })
  if not found then return cli:detail "luacheck is not installed: its checks are left out" end
  if code > 2 then cli:fail("INTERNAL", "luacheck: %s", output) end
  if code > 0 then add(faults, code == 2 and "error" or "warning", output) end
end

-- ---- the contract before -------------------------------------------------------------------------------------------

local function find_breaks(cli, read, faults)
  local descriptors = require "lib.descriptors"
  local old, old_protos = require("lib.history").last(cli, read.folder)
  if not old then return end
  local before = descriptors.index(old, old_protos)
  local now = descriptors.index(source.contract(read))
  for _, change in ipairs(require("lib.changes").breaking(before, now)) do
    local file, line = change.place:match "^(.-):(%d+)$"
    table.insert(faults, { file = file or change.place, line = tonumber(line) or 1, severity = "error",
      text = change.text .. ": this breaks callers of the version before" })
  end
end

local function show(cli, faults)
  if cli.output ~= "table" then
    return cli:table({ { "FILE", key = "file" }, { "LINE", key = "line" }, { "TEXT", key = "text" } }, faults,
      { sorted = false })
  end
  for _, fault in ipairs(faults) do
    local place = ("%s:%d:"):format(fault.file, fault.line)
    local mark = fault.severity == "note" and "note: " or ""
    cli:print(("%s %s%s"):format(cli:paint("bold", place), mark, fault.text))
  end
end

return {
  examples = { "mica check", "mica check examples/helloworld" },
  text = "Loads main.lua, compares its names with the contract, runs luacheck where it is installed, and tells what\n"
    .. "would break callers of the version that was last built (kept in .mica/). Exit code 1 when there are faults.",
  parser = function(parser) parser:argument("dir", "The service's folder; default the present one."):args "?" end,
  run = function(cli, args)
    local faults = {}
    local read = attempt(faults, source.read, cli, args.dir or ".")
    if read then
      local described = attempt(faults, source.describe, read)
      run_luacheck(cli, read, faults)
      find_breaks(cli, read, faults)
      for _, warning in ipairs(described and described.definition.warnings or {}) do add(faults, "note", warning) end
    end
    show(cli, faults)
    for _, fault in ipairs(faults) do
      if fault.severity ~= "note" then return 1 end
    end
  end,
}
