-- mica.json: what a place should run.
--
--   { "services": [ { "source": "./posts", "name": "posts", "version": "v2", "instances": 2, "cors": [ORIGIN] }, ... ] }
--
-- Only `source` must be there. Paths are relative to the file.

local mica = require "mica"
local origin = require "mica.origin"
local suggest = require "mica.suggest"

local manifest = {}

local TOP = { services = true }
local KEYS = { source = "string", name = "string", version = "string", instances = "number", cors = "table" }

local function check_keys(cli, where, value, known)
  if type(value) ~= "table" then cli:fail("INVALID_ARGUMENT", "%s: expected an object", where) end
  for key in pairs(value) do
    if not known[key] then
      cli:fail("INVALID_ARGUMENT", "%s: unknown key %q%s", where, tostring(key), suggest.hint(key, known))
    end
  end
end

local function check_origins(cli, where, list)
  local count = 0
  for _ in pairs(list) do count = count + 1 end
  for i = 1, count do
    if type(list[i]) ~= "string" then cli:fail("INVALID_ARGUMENT", "%s: expected a list of texts", where) end
    local fault = origin.fault(list[i])
    if fault then cli:fail("INVALID_ARGUMENT", "%s: %s", where, fault) end
  end
end

local function check_entry(cli, where, entry)
  check_keys(cli, where, entry, KEYS)
  for key, kind in pairs(KEYS) do
    if entry[key] ~= nil and type(entry[key]) ~= kind then
      cli:fail("INVALID_ARGUMENT", "%s.%s: expected a %s", where, key, kind)
    end
  end
  if not entry.source or entry.source == "" then cli:fail("INVALID_ARGUMENT", "%s: it has no source", where) end
  local n = entry.instances
  if n and (n < 1 or n > 1000 or n ~= math.floor(n)) then
    cli:fail("INVALID_ARGUMENT", "%s.instances: expected a number from 1 to 1000", where)
  end
  check_origins(cli, where .. ".cors", entry.cors or {})
end

--- Reads and checks the file; a folder stands for the mica.json in it.
---@param cli mica.cli.Console
---@param word string?
---@return { path: string, services: table[] } manifest with absolute sources
function manifest.read(cli, word)
  local path = cli:path(word or "mica.json")
  if cli.files.stat(path).folder then path = path .. "/mica.json" end
  local text = cli.files.read(path)
  if not text then cli:fail("NOT_FOUND", "no file %s", path) end
  local value, err = mica.try(mica.json.decode, text)
  if err then cli:fail("INVALID_ARGUMENT", "%s: %s", path, err.message) end
  check_keys(cli, path, value, TOP)
  if type(value.services) ~= "table" then cli:fail("INVALID_ARGUMENT", "%s: it has no list of services", path) end
  local base = path:match "^(.*)/[^/]*$"
  for i, entry in ipairs(value.services) do
    check_entry(cli, ("%s: services[%d]"):format(path, i - 1), entry)
    if entry.source:sub(1, 1) ~= "/" then entry.source = base .. "/" .. entry.source end
  end
  return { path = path, services = value.services }
end

--- The entry's source, packed, with the name and version that the entry says.
---@param cli mica.cli.Console
---@param entry table
---@return table packed of lib/upload.lua
function manifest.pack(cli, entry)
  local packed = require("lib.upload").read(cli, entry.source)
  packed.name = entry.name or packed.name
  packed.version = entry.version or packed.version
  return packed
end

--- Two entries for the same name and version would undo each other.
---@param cli mica.cli.Console
---@param path string
---@param list table[] of { name, version }
function manifest.check_unique(cli, path, list)
  local seen = {}
  for _, one in ipairs(list) do
    local key = one.name .. "@" .. (one.version or "")
    if seen[key] then cli:fail("INVALID_ARGUMENT", "%s: %s is named twice", path, key:gsub("@$", "")) end
    seen[key] = true
  end
end

return manifest
