-- Fields of a message as flags: `--id 1 --tags a --tags b --person.address.city Rome --labels.lang=en`.
--
-- One walk along the contract (`locate`) tells for a flag's name which field it means, of what kind, and where its
-- value goes; help is written from the same fields and the same kinds (lib/kinds.lua), so they cannot differ.
--
-- Nothing here asks the server: everything wrong is found before something is sent.

local mica = require "mica"
local kinds = require "lib.kinds"
local suggest = require "mica.suggest"

local fields = {}

local HELP_DEPTH = 5 -- of nested messages
local STRUCT = "google.protobuf.Struct"

--- How a field is written as a flag, without the dashes.
---@param name string
---@return string
function fields.flag(name) return (name:gsub("_", "-")) end

-- ---- names

local function find(message, word)
  local by_name = message.by_name
  local field = by_name[word] or by_name[(word:gsub("-", "_"))]
  if field then return field end
  for _, candidate in ipairs(message.fields) do
    if candidate.json_name == word or fields.flag(candidate.name) == fields.flag(word) then return candidate end
  end
end

local function hint(message, word, prefix)
  local names = {}
  for _, field in ipairs(message.fields) do table.insert(names, fields.flag(field.name)) end
  local near = suggest.nearest(fields.flag(word), names)
  return near and (" (did you mean --%s%s?)"):format(prefix, near) or ""
end

-- ---- from a flag's name to its place

local function json_object(contract, name)
  local message = contract.messages[name]
  return {
    label = "JSON",
    read = function(text)
      if text:match "^%s*(.)" ~= "{" then return nil, ("expected a JSON object, got %q"):format(text) end
      local value, fault = kinds.json(text)
      if not value then return nil, fault end
      return fields.check(contract, message, value)
    end,
  }
end

-- The kind of one value: of a field, of an element of a list, of a map's value.
local function value_kind(contract, field)
  return kinds.of(contract, field) or json_object(contract, field.message)
end

local function map_object(contract, field)
  return {
    label = "JSON",
    read = function(text)
      if text:match "^%s*(.)" ~= "{" then return nil, ("expected a JSON object, got %q"):format(text) end
      local value, fault = kinds.json(text)
      if not value then return nil, fault end
      return fields.check_map(contract, field, value, field.name)
    end,
  }
end

local function slot(steps, kind, list) return { steps = steps, kind = kind, list = list or false } end

-- The message of a field whose fields are given one by one: not a well-known type.
local function message_of(contract, field)
  return field.message and not kinds.is_known(field.message) and contract.messages[field.message] or nil
end

local locate

-- A map's key may hold dots; where the values are messages, what follows the first dot is a field of the value if there
-- is one of that name.
local function locate_in_map(contract, field, steps, rest, prefix)
  if rest == "" then return nil, ("--%s needs a key: --%sKEY=VALUE"):format(prefix:sub(1, -2), prefix) end
  local function with(key)
    local all = { unpack(steps) }
    table.insert(all, { name = key })
    return all
  end
  local function checked(key, place)
    local _, fault = kinds.of(contract, field.key).read(key, {})
    if fault then return nil, ("--%s%s: the key: %s"):format(prefix, key, fault) end
    return place
  end
  local key, after = rest:match "^([^.]+)%.(.+)$"
  local message = message_of(contract, field.value)
  local inner = key and message and locate(contract, message, after, with(key), prefix .. key .. ".")
  if inner then return checked(key, inner) end
  return checked(rest, slot(with(rest), value_kind(contract, field.value)))
end

local function locate_below(contract, field, steps, rest, prefix)
  if field.map then return locate_in_map(contract, field, steps, rest, prefix) end
  local name = prefix:sub(1, -2)
  if field.repeated then
    return nil, ("--%s is a list: give each element whole%s"):format(name,
      field.message and (", --%s '{...}'"):format(name) or "")
  end
  if field.message == STRUCT and rest ~= "" then
    table.insert(steps, { name = rest })
    return slot(steps, kinds.of(contract, field).keys)
  end
  local message = message_of(contract, field)
  if not message then
    return nil, ("--%s has no fields: it is of type %s"):format(name, kinds.of(contract, field).label)
  end
  return locate(contract, message, rest, steps, prefix)
end

--- The place of a flag: { steps = list of { name, oneof }, kind, list }; nil and what is wrong.
function locate(contract, message, path, steps, prefix)
  local word, rest = path:match "^([^.]*)%.(.*)$"
  word = word or path
  local field = find(message, word)
  if not field then return nil, ("unknown field --%s%s%s"):format(prefix, word, hint(message, word, prefix)) end
  table.insert(steps, { name = field.name, oneof = field.oneof, message = message })
  if rest then return locate_below(contract, field, steps, rest, prefix .. word .. ".") end
  if field.map then return slot(steps, map_object(contract, field)) end
  return slot(steps, value_kind(contract, field), field.repeated)
end

-- ---- checking JSON bodies

local check_field

function fields.check_map(contract, field, value, path)
  if type(value) ~= "table" then return nil, ("%s: expected an object"):format(path) end
  for key, item in pairs(value) do
    local ok, fault = check_field(contract, field.value, item, path .. "." .. tostring(key))
    if ok == nil then return nil, fault end
    value[key] = ok
  end
  return value
end

local function check_list(contract, field, value, path)
  if type(value) ~= "table" then return nil, ("%s: expected a list"):format(path) end
  for i, item in ipairs(value) do
    local ok, fault = check_field(contract, field, item, ("%s[%d]"):format(path, i - 1))
    if ok == nil then return nil, fault end
    value[i] = ok
  end
  return value
end

function check_field(contract, field, value, path)
  if value == mica.null or not field.message or kinds.is_known(field.message) then return value end
  return fields.check(contract, contract.messages[field.message], value, path)
end

-- The field that a key of a body means; nil and what is wrong, or nil alone for what is left to the server: an extension
-- ("[package.name]"), or "@type".
local function field_of_key(message, key, full)
  local field = message.by_name[key] or find(message, key)
  if field or key:find "^[%[@]" then return field end
  local names = {}
  for _, candidate in ipairs(message.fields) do table.insert(names, candidate.name) end
  return nil, ("%s has no field %q%s"):format(message.full_name, full, suggest.hint(key, names))
end

--- Checks the names in the JSON value of a message, and gives them the form that the contract declares; nil and what is
--- wrong. What their values may be is told by the server.
---@param contract table
---@param message table
---@param value any
---@param path? string
---@return table? value, string? fault
function fields.check(contract, message, value, path)
  local checked = {}
  if type(value) ~= "table" then return nil, (path and path .. ": " or "") .. "expected a JSON object" end
  for key, item in pairs(value) do
    if type(key) ~= "string" then return nil, (path and path .. ": " or "") .. "expected a JSON object" end
    local full = (path and path .. "." or "") .. key
    local field, fault = field_of_key(message, key, full)
    if fault then return nil, fault end
    if field and item ~= mica.null then
      local check = field.map and fields.check_map or field.repeated and check_list or check_field
      item, fault = check(contract, field, item, full)
      if item == nil then return nil, fault end
    end
    checked[field and field.name or key] = item
  end
  return checked
end

-- ---- reading flags

-- Takes the flags apart: a list of { flag, slot, text }, the text of --json, and whether help is wanted.
local Reader = {}
Reader.__index = Reader

function Reader:value_of(name, slot_of, inline)
  if inline then return inline end
  if slot_of and slot_of.kind.bare ~= nil and not slot_of.list then return nil end
  local text = self.arguments[self.at + 1]
  if text == nil then return nil, ("--%s needs a value"):format(name) end
  if text:find "^%-%-" then
    return nil, ("--%s needs a value; if %q is meant to be it: --%s=%s"):format(name, text, name, text)
  end
  self.at = self.at + 1
  return text
end

function Reader:take_field(name, inline)
  local place, fault = locate(self.contract, self.message, name, {}, "")
  if not place then return fault end
  local text
  text, fault = self:value_of(name, place, inline)
  if fault then return fault end
  table.insert(self.sets, { flag = name, slot = place, text = text, order = #self.sets + 1 })
end

function Reader:take(word)
  if word == "-h" or word == "--help" and not self.message.by_name.help then
    self.help = true
    return
  end
  local name, inline = word:match "^%-%-([^=]+)=(.*)$"
  name = name or word:match "^%-%-(.+)$"
  if not name and word == "--" then return "nothing is expected after --" end
  if not name then
    local last = self.sets[#self.sets]
    if last and last.text == nil then return ("unexpected %q: write --%s=%s"):format(word, last.flag, word) end
    return ("unexpected %q: fields are given as --name value, values with spaces in quotes"):format(word)
  end
  if name == "json" and not self.message.by_name.json then
    local fault
    if self.json then return "--json was given twice" end
    self.json, fault = self:value_of("json", nil, inline)
    return fault
  end
  return self:take_field(name, inline)
end

--- Reads the arguments after an endpoint's name.
---@param contract table
---@param message table of the request
---@param arguments string[]
---@param first? integer the first argument to read
---@return table? read, string? fault
function fields.read(contract, message, arguments, first)
  local reader = setmetatable({
    contract = contract, message = message, arguments = arguments, at = first or 1, sets = {},
  }, Reader)
  while arguments[reader.at] do
    local fault = reader:take(arguments[reader.at])
    if fault then return nil, fault end
    reader.at = reader.at + 1
  end
  return reader
end

-- ---- building the request

-- What the flags have set so far: to tell repeated flags, and members of a oneof that exclude each other.
local Builder = {}
Builder.__index = Builder

function Builder:leave_oneof(at, step, flag)
  if not step.oneof then return end
  local chosen = self.chosen[at] or {}
  self.chosen[at] = chosen
  local other = chosen[step.oneof]
  if other and other.name ~= step.name then
    return ("--%s and --%s exclude each other: only one of %s can be set"):format(other.flag, flag, step.oneof)
  end
  chosen[step.oneof] = { name = step.name, flag = flag }
  for _, field in ipairs(step.message.fields) do
    if field.oneof == step.oneof and field.name ~= step.name then at[field.name] = nil end
  end
end

function Builder:append(at, name, value)
  local lists = self.lists[at] or {}
  self.lists[at] = lists
  if not lists[name] then
    lists[name] = mica.json.array {}
    at[name] = lists[name]
  end
  table.insert(at[name], value)
end

function Builder:put(set, value)
  local at, steps = self.body, set.slot.steps
  local trail = {}
  for i, step in ipairs(steps) do
    local fault = self:leave_oneof(at, step, set.flag)
    if fault then return fault end
    table.insert(trail, step.name)
    if i < #steps then
      if type(at[step.name]) ~= "table" or at[step.name] == mica.null then at[step.name] = {} end
      at = at[step.name]
    end
  end
  local name = steps[#steps].name
  if set.slot.list then return self:append(at, name, value) end
  local key = table.concat(trail, "\0")
  if self.seen[key] then return ("--%s was given twice"):format(set.flag) end
  self.seen[key] = true
  at[name] = value
end

-- Whole messages first, so that fields given beside them win.
local function by_depth(a, b)
  local x, y = #a.slot.steps, #b.slot.steps
  if x ~= y then return x < y end
  return a.order < b.order
end

--- The request's JSON text from what `fields.read` gave and a body that has been checked.
---@param read table
---@param body table? the value of --json
---@param ask table for kinds
---@return string? json, string? fault
function fields.build(read, body, ask)
  local builder = setmetatable({ body = body or {}, chosen = {}, lists = {}, seen = {} }, Builder)
  table.sort(read.sets, by_depth)
  for _, set in ipairs(read.sets) do
    local value, fault = set.slot.kind.bare, nil
    if set.text then
      value, fault = set.slot.kind.read(set.text, ask)
    end
    if fault then return nil, ("--%s: %s"):format(set.flag, fault) end
    fault = builder:put(set, value)
    if fault then return nil, fault end
  end
  return mica.json.encode(builder.body)
end

-- ---- help

local function note_of(field, kind)
  local notes = {}
  if field.required then table.insert(notes, "required") end
  if field.repeated and not field.map then table.insert(notes, "may repeat") end
  if field.oneof then table.insert(notes, "one of " .. field.oneof) end
  if kind and kind.values then
    for _, value in ipairs(kind.values) do
      if value.comment ~= "" then table.insert(notes, value.name .. ": " .. value.comment:match "[^\n]+") end
    end
  end
  return notes
end

local function add_row(rows, flag, label, field, kind, oneof)
  local notes = note_of(field, kind)
  if oneof and oneof ~= field.oneof then table.insert(notes, "one of " .. oneof) end
  table.insert(rows, {
    flag = flag,
    label = label,
    notes = notes,
    comment = (field.comment:gsub("%s*\n%s*", " ")),
  })
end

local add_rows

-- `within`: the oneof that the message around it is a member of.
local function add_field(rows, contract, field, at)
  local flag = at.prefix .. fields.flag(field.name)
  if field.map then
    local kind = value_kind(contract, field.value)
    add_row(rows, flag .. ".KEY", kind.label, field, kind, at.within)
    return
  end
  local kind = value_kind(contract, field)
  local message = message_of(contract, field)
  local nests = message and not field.repeated and #message.fields > 0 and at.depth < HELP_DEPTH
  if nests and not at.open[field.message] then
    local below = { prefix = flag .. ".", open = at.open, depth = at.depth + 1, within = field.oneof or at.within }
    return add_rows(rows, contract, message, below)
  end
  add_row(rows, flag, kind.label, field, kind, at.within)
end

function add_rows(rows, contract, message, at)
  at.open[message.full_name] = true
  for _, field in ipairs(message.fields) do add_field(rows, contract, field, at) end
  at.open[message.full_name] = nil
end

--- What can be given for a message: a list of { flag, label, notes, comment }.
---@param contract table
---@param message table
---@return table[]
function fields.rows(contract, message)
  local rows = {}
  add_rows(rows, contract, message, { prefix = "", open = {}, depth = 1 })
  return rows
end

--- The rows as lines of text.
---@param rows table[]
---@param rules? table<string, string> what an endpoint's `validate` says of a field, by path
---@param dashes? string "--", or "" for the fields of an answer, which keep their names
---@return string[]
function fields.help(rows, rules, dashes)
  local lines, width = {}, 0
  local heads = {}
  for i, row in ipairs(rows) do
    local name = dashes == "" and row.flag:gsub("-", "_") or row.flag
    heads[i] = ("%s%s %s"):format(dashes or "--", name, row.label)
    if #heads[i] <= 36 then width = math.max(width, #heads[i]) end
  end
  for i, row in ipairs(rows) do
    local rule = rules and rules[(row.flag:gsub("-", "_"))]
    local texts = {}
    if row.comment ~= "" then table.insert(texts, row.comment) end
    local notes = { unpack(row.notes) }
    if rule then table.insert(notes, 1, rule) end
    if #notes > 0 then table.insert(texts, "(" .. table.concat(notes, "; ") .. ")") end
    local padding = (" "):rep(width - #heads[i])
    table.insert(lines, (("  %s%s  %s"):format(heads[i], padding, table.concat(texts, " ")):gsub("%s+$", "")))
  end
  return lines
end

return fields
