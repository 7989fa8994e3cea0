-- SPDX-License-Identifier: Apache-2.0
-- Forms: application/x-www-form-urlencoded, and multipart/form-data (RFC 7578), which is read as it comes: a part's content is
-- given on while the rest is still under way, so files of any size pass through little memory.
--
-- A reader holds the last piece that has come, and what of the one before may be the beginning of a delimiter: what is found
-- out is never looked at again.
local core = ...
local errors = core.use("mica.errors")
local text_of = core.use("mica.web_text")

local M = {}

local HEAD_MOST = 16 * 1024 -- of a part
local PARTS_MOST = 1000
local BLANKS_MOST = 100 -- behind a boundary

local function malformed(what) error(errors.invalid_argument("the form cannot be read: %s", what), 0) end

-- ---- a reader of multipart bodies ------------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

local function new_reader(chunks, boundary)
  -- The first delimiter may be at the very beginning: as if a line break stood before it. `at`: what is before it is used up.
  return setmetatable({ chunks = chunks, delimiter = "\r\n--" .. boundary, have = "\r\n", at = 1, count = 0, over = false },
    Reader)
end

local function left(reader) return #reader.have - reader.at + 1 end

local function more(reader)
  local chunk = reader.chunks()
  if not chunk then malformed "it ends before its last boundary" end
  reader.have = left(reader) == 0 and chunk or reader.have:sub(reader.at) .. chunk
  reader.at = 1
end

-- The next piece of content up to the delimiter; nil when that has been reached (and taken).
local function content(reader)
  local delimiter = reader.delimiter
  while true do
    local found = reader.have:find(delimiter, reader.at, true)
    local past = found or #reader.have - #delimiter + 2 -- up to here it is content
    if past > reader.at then
      local piece = reader.have:sub(reader.at, past - 1)
      reader.at = past
      return piece
    end
    if found then
      reader.at = found + #delimiter
      return nil
    end
    more(reader)
  end
end

-- Behind a delimiter: true when a part follows, false when it was the last one.
local function part_follows(reader)
  while left(reader) < 2 do more(reader) end
  if reader.have:sub(reader.at, reader.at + 1) == "--" then return false end
  while true do
    local _, to = reader.have:find("^[ \t]*\r\n", reader.at)
    if to then
      reader.at = to - 1 -- the line break stays: a part without headers has only one more
      return true
    end
    local odd = reader.have:find("^[ \t]*[^ \t\r]", reader.at) or reader.have:find("^[ \t]*\r[^\n]", reader.at)
    if odd or left(reader) > BLANKS_MOST then malformed "a boundary is followed by something else" end
    more(reader)
  end
end

local function part_head(reader)
  while true do
    local found = reader.have:find("\r\n\r\n", reader.at, true)
    if (found or #reader.have) - reader.at > HEAD_MOST then
      malformed(("the head of a part is longer than %d bytes"):format(HEAD_MOST))
    end
    if found then
      local head = reader.have:sub(reader.at + 2, found + 1)
      reader.at = found + 4
      return head
    end
    more(reader)
  end
end

local function read_head(head)
  local headers = {}
  for line in head:gmatch("([^\r\n]+)\r\n") do
    local name, value = line:match("^([^:%s]+)%s*:%s*(.*)$")
    if not name then malformed "a part has a line that is no header" end
    if headers[name:lower()] == nil then headers[name:lower()] = value end
  end
  return headers
end

-- filename*=UTF-8''na%C3%AFve.txt is not used in forms (RFC 7578 section 4.2). A path before the name is dropped.
local function describe(headers)
  local disposition, parameters = text_of.header(headers["content-disposition"] or "")
  if disposition ~= "form-data" or not parameters.name then malformed "a part has no name" end
  local name = parameters.filename
  return { field = parameters.name, name = name and name:match "[^/\\]*$",
    type = headers["content-type"] or name and "application/octet-stream" or "text/plain" }
end

local Part = {}
Part.__index = Part

--- The part's content in pieces, as they come.
function Part.chunks(part)
  if part.reader.part ~= part then error("the part is over: read it before the next one", 2) end
  return function()
    if part.reader.part ~= part then return nil end
    local piece = content(part.reader)
    if not piece then part.reader.part = nil end
    return piece
  end
end

--- The part's content as a whole.
function Part.text(part)
  local list = {}
  for piece in Part.chunks(part) do list[#list + 1] = piece end
  return table.concat(list)
end

-- The next part; nil after the last one. What was not read of the one before is passed over.
local function next_part(reader)
  if reader.over then return nil end
  if reader.part or reader.count == 0 then
    while content(reader) do end
  end
  reader.part = nil
  if not part_follows(reader) then
    reader.over = true
    for _ in reader.chunks do end -- what follows the last boundary means nothing
    return nil
  end
  reader.count = reader.count + 1
  if reader.count > PARTS_MOST then malformed(("it has more than %d parts"):format(PARTS_MOST)) end
  local part = describe(read_head(part_head(reader)))
  part.reader = reader
  reader.part = setmetatable(part, Part)
  return part
end

-- ---- requests ------------------------------------------------------------------------------------------------------------

local function form_type(req) return text_of.header(req.headers["content-type"] or "") end

local function not_a_form(kind, wanted)
  local err = errors.invalid_argument("content-type %s is no form: send %s", kind == "" and "(none)" or kind:sub(1, 100), wanted)
  err.http = 415
  error(err, 0)
end

local function reader_of(parameters, chunks)
  local boundary = parameters.boundary or ""
  if boundary == "" or #boundary > 70 or boundary:find "[^%w'()+_,%-./:=? ]" then malformed "it names no boundary" end
  return new_reader(chunks, boundary)
end

function M.parts(req)
  local kind, parameters = form_type(req)
  if kind ~= "multipart/form-data" then not_a_form(kind, "multipart/form-data") end
  local reader = reader_of(parameters, req:chunks())
  return function() return next_part(reader) end
end

local function read_multipart(reader)
  local entries = {}
  for part in next_part, reader do
    local value = Part.text(part)
    if part.name then value = { name = part.name, type = part.type, content = value } end
    entries[#entries + 1] = { name = part.field, value = value }
  end
  return entries
end

--- All fields and files in order: { name =, value = }, where a file is { name, type, content }. `pieces`: of the body, bounded.
function M.read(req, pieces)
  local kind, parameters = form_type(req)
  if kind == "application/x-www-form-urlencoded" then return text_of.pairs(req:text()) end
  if kind == "multipart/form-data" then return read_multipart(reader_of(parameters, pieces(req))) end
  not_a_form(kind, "application/x-www-form-urlencoded or multipart/form-data")
end

return M
