-- Answers with what it got, so that mapping.md can say what a request becomes.
local mica = require "mica"

local Mapping = {}

for _, name in ipairs { "Call", "Read", "Shelf", "File", "Newest", "Publish", "Replace", "Change", "Items", "Tags", "Text",
  "Labels", "Remove", "Start", "Report", "Any", "PageOf", "Told", "Upload", "Data", "Maybe",
  "Zero" } do
  Mapping[name] = function(_, req) return req end
end

function Mapping.Nothing() return {} end

local function length(message)
  local n = 0
  for _ in pairs(message) do n = n + 1 end
  return n
end

-- Joins a piece of a file to what came before it. False: the message is none.
local function join(last, piece)
  if not last or length(piece) ~= 1 then return false end
  local file, rest = last.attachment, piece.attachment
  if file and rest and length(rest) == 1 then
    file.data = file.data .. rest.data
    return true
  end
  if piece.photo == "" or last.attachment then return false end
  last.photo = last.photo .. piece.photo
  return true
end

function Mapping.Store(_, stream)
  local messages = {}
  for message in stream:messages() do
    if not join(messages[#messages], message) then table.insert(messages, message) end
  end
  return { messages = messages }
end

function Mapping.Weigh(_, stream)
  local bytes, count = 0, 0
  for message in stream:messages() do
    bytes, count = bytes + #message.photo, count + 1
  end
  return { bytes = bytes, messages = count }
end

function Mapping.Count(_, req, stream)
  for i = 1, req.small do stream:send { small = i, camel_case = req.camel_case, page = req.page } end
end

return mica.service {
  handlers = { Mapping = Mapping },
  public = true,
  json = { defaults = false },
  endpoints = {
    ["Mapping.Nothing"] = { empty = 204 },
    ["Mapping.Maybe"] = { empty = 204 },
    ["Mapping.Count"] = { path = { "GET /m/count/{small}", { "POST /m/count/{small}", response_body = "page" } } },
    ["Mapping.Told"] = {
      path = { "GET /m/told/{id}", "POST /m/told", { "PUT /m/told/{page.cursor}/page", body = "page", response_body = "page" } },
    },
  },
}
