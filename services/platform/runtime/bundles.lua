-- Bundles on the server: they come in pieces, are stored as blobs under their hash, and go when nothing refers to them any
-- more. One that was uploaded is kept for KEEP seconds, so that the client can deploy it.

local mica = require "mica"
local jobs = require "jobs"
local records = require "records"
local errors, time = mica.errors, mica.time

local bundles = {}

local blobs = mica.native "blobs"

local SIZE = 64 * 1024 * 1024
local PIECE = 1024 * 1024
local KEEP = 600
local UPLOADS = 16 -- at a time

local kept = {} -- sha256 -> { till = (time.now), uploads = how many clients have not used it yet }
local turns = {} -- sha256 -> the channels of those who wait, while somebody stores or deletes it
local held = {} -- sha256 -> how many changes are working with it
local uploading = 0
local in_use = function() return true end

local function check_header(first)
  if not first or first.part ~= "header" then
    error(errors.invalid_argument "an upload begins with its header: the size and the SHA-256 of the bundle")
  end
  local header = first.header
  if header.size < 1 or header.size > SIZE then
    error(errors.invalid_fields { ["header.size"] = ("a bundle has 1 byte to %d MB"):format(SIZE / 1024 / 1024) })
  end
  bundles.check_source("header.sha256", header.sha256)
  return header
end

---@param field string
---@param source string
function bundles.check_source(field, source)
  if not (#source == 64 and source:match "^[0-9a-f]+$") then
    error(errors.invalid_fields { [field] = "64 hexadecimal digits in lower case" })
  end
end

local function receive(stream, header, upload)
  local size = 0
  for message in stream:messages() do
    if message.part ~= "data" then error(errors.invalid_argument "the header came twice") end
    if #message.data > PIECE then error(errors.invalid_argument "a piece is larger than 1 MB") end
    size = size + #message.data
    if size > header.size then
      error(errors.invalid_argument("the upload is larger than the %d bytes that its header says", header.size))
    end
    blobs.Append { upload = upload, data = message.data }
  end
  if size < header.size then
    error(errors.invalid_argument("the upload ended after %d of %d bytes", size, header.size))
  end
end

-- One at a time with the blob of a hash: storing and deleting it take several steps.
local function alone(sha256, fn)
  while turns[sha256] do
    local turn = mica.channel()
    table.insert(turns[sha256], turn)
    turn:recv()
  end
  turns[sha256] = {}
  local ok, result = pcall(fn)
  local waiting = turns[sha256]
  turns[sha256] = nil
  for _, turn in ipairs(waiting) do turn:close() end
  if not ok then error(result, 0) end
  return result
end

-- Stores what the client sends; an upload that does not come to its end leaves nothing.
---@return string source
function bundles.receive(ctx, stream)
  local header = check_header(stream:recv())
  if uploading >= UPLOADS then error(errors.resource_exhausted "too many uploads at a time: try again") end
  uploading = uploading + 1
  local upload, gone, committed
  local function abort()
    if upload and not committed then mica.try(blobs.Abort, { upload = upload }) end
  end
  ctx:defer(function()
    uploading, gone = uploading - 1, true
    abort()
  end)
  jobs.run(function()
    upload = blobs.Begin({ size_limit = header.size }).upload
    if gone then abort() end
  end)
  receive(stream, header, upload)
  jobs.run(function()
    committed = true -- a failed commit ends the upload, too
    alone(header.sha256, function()
      records.note_blob(header.sha256)
      blobs.Commit { upload = upload, sha256 = header.sha256 }
      local keep = kept[header.sha256] or { uploads = 0 }
      kept[header.sha256] = { till = time.now() + KEEP, uploads = keep.uploads + 1 }
    end)
  end)
  return header.sha256
end

-- While fn runs the bundle is not taken away.
function bundles.hold(sha256, fn)
  held[sha256] = (held[sha256] or 0) + 1
  local ok, result = pcall(fn)
  held[sha256] = held[sha256] > 1 and held[sha256] - 1 or nil
  if not ok then error(result, 0) end
  return result
end

-- Takes the bundle away if nothing refers to it.
local function drop(sha256)
  alone(sha256, function()
    local keep = kept[sha256]
    if held[sha256] or in_use(sha256) or keep and keep.till > time.now() then return end
    kept[sha256] = nil
    blobs.Delete { sha256 = sha256 }
    records.forget_blob(sha256)
  end)
end

-- One that cannot be deployed, or is not deployed any more.
function bundles.discard(sha256) mica.try(drop, sha256) end

-- A client has used what it uploaded: it need not be kept for it any more.
function bundles.settled(sha256)
  local keep = kept[sha256]
  if not keep then return end
  keep.uploads = keep.uploads - 1
  if keep.uploads == 0 then kept[sha256] = nil end
end

-- Takes away what earlier runs of the server have left, and from now on what nobody deploys.
---@param is_in_use fun(sha256: string): boolean
function bundles.start(is_in_use)
  in_use = is_in_use
  jobs.later("clearing bundles away", function()
    for _, sha256 in ipairs(records.noted_blobs()) do
      if not kept[sha256] then drop(sha256) end
    end
    while true do
      mica.sleep(60)
      local now = time.now()
      for sha256, keep in mica.sorted(kept) do
        if keep.till < now then mica.try(drop, sha256) end
      end
    end
  end)
end

return bundles
