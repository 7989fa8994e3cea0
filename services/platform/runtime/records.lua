-- What runtime keeps in system.db: a record for each deployment ("deployments"), the versions that it had ("history"), and the
-- blobs that nothing may refer to ("uploads").

local mica = require "mica"
local json = mica.json

local records = {}

local system = mica.native "system"

local HISTORY = 5 -- versions kept for each deployment, the present one included

local history = {} -- key -> list of { key =, value =, blob = }, the oldest first

local function every(name)
  local found, after = {}, ""
  repeat
    local page = system.List { table = name, after = after }
    for _, record in ipairs(page.records) do
      table.insert(found, record)
      after = record.key
    end
  until not page.more
  return found
end

---@return table[] records of deployments, by key
function records.load()
  local list = {}
  for i, record in ipairs(every "deployments") do list[i] = json.decode(record.value) end
  for _, record in ipairs(every "history") do
    local key = record.key:match "^(.*)/%d+$"
    history[key] = history[key] or {}
    table.insert(history[key], { key = record.key, blob = json.decode(record.value).blob })
  end
  return list
end

function records.key(d) return ("%s/%s/%s"):format(d.namespace, d.name, d.tag) end

-- The blobs that some version of the past refers to, as a set.
function records.blobs_of_history()
  local set = {}
  for _, versions in pairs(history) do
    for _, version in ipairs(versions) do set[version.blob] = true end
  end
  return set
end

local function value_of(d)
  return json.encode {
    namespace = d.namespace, name = d.name, tag = d.tag, blob = d.blob, hash = d.hash, instances = d.instances,
    order = d.order, created = d.created, updated = d.updated, origin = d.origin, owner = d.owner, origins = d.origins,
  }
end

local function add_history(operations, key, d)
  local versions = {}
  for _, version in ipairs(history[key] or {}) do table.insert(versions, version) end
  local last = versions[#versions]
  if last and last.blob == d.blob then return versions end
  local entry = { key = ("%s/%015d"):format(key, math.floor(d.updated * 1000)), blob = d.blob }
  table.insert(versions, entry)
  table.insert(operations, { table = "history", key = entry.key, value = value_of(d) })
  while #versions > HISTORY do
    local oldest = table.remove(versions, 1)
    table.insert(operations, { table = "history", key = oldest.key, delete = true })
    table.insert(operations, { table = "uploads", key = oldest.blob, value = "" })
  end
  return versions
end

-- Writes what a deployment is from now on; when it returns this is durable.
function records.write(d)
  local key = records.key(d)
  local operations = { { table = "deployments", key = key, value = value_of(d) } }
  local versions = add_history(operations, key, d)
  system.Write { operations = operations }
  history[key] = versions
end

function records.delete(d)
  local key = records.key(d)
  local operations = { { table = "deployments", key = key, delete = true } }
  if d.blob then table.insert(operations, { table = "uploads", key = d.blob, value = "" }) end
  for _, version in ipairs(history[key] or {}) do
    table.insert(operations, { table = "history", key = version.key, delete = true })
    table.insert(operations, { table = "uploads", key = version.blob, value = "" })
  end
  system.Write { operations = operations }
  history[key] = nil
end

-- The blobs of a deployment and of its past.
---@return string[]
function records.blobs_of(d)
  local list = { d.blob }
  for _, version in ipairs(history[records.key(d)] or {}) do table.insert(list, version.blob) end
  return list
end

-- A blob is noted before it is there, and the note goes after the blob has gone: what nobody refers to is found after a crash.
function records.note_blob(sha256)
  system.Write { operations = { { table = "uploads", key = sha256, value = "" } } }
end

function records.forget_blob(sha256)
  system.Write { operations = { { table = "uploads", key = sha256, delete = true } } }
end

---@return string[]
function records.noted_blobs()
  local list = {}
  for i, record in ipairs(every "uploads") do list[i] = record.key end
  return list
end

return records
