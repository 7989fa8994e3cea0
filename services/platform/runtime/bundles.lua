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

local kept = {} -- sha256 -> until when (time.now)
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

-- Stores what the client sends; an upload that does not come to its end leaves nothing.
---@return string source
function bundles.receive(ctx, stream)
  local header = check_header(stream:recv())
  if uploading >= UPLOADS then error(errors.resource_exhausted "too many uploads at a time: try again") end
  uploading = uploading + 1
  ctx:defer(function() uploading = uploading - 1 end)
  local upload = blobs.Begin({ size_limit = header.size }).upload
  local committed = false
  ctx:defer(function()
    if not committed then mica.try(blobs.Abort, { upload = upload }) end
  end)
  receive(stream, header, upload)
  jobs.run(function()
    records.note_blob(header.sha256)
    kept[header.sha256] = time.now() + KEEP
    committed = true -- a failed commit ends the upload, too
    blobs.Commit { upload = upload, sha256 = header.sha256 }
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
  if held[sha256] or in_use(sha256) then return end
  kept[sha256] = nil
  blobs.Delete { sha256 = sha256 }
  records.forget_blob(sha256)
end

-- One that cannot be deployed, or is not deployed any more.
function bundles.discard(sha256)
  if kept[sha256] and kept[sha256] > time.now() then return end -- somebody has just uploaded it
  mica.try(drop, sha256)
end

-- The client has used what it uploaded: it need not be kept for it any more.
function bundles.settled(sha256)
  kept[sha256] = nil
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
      for sha256, till in mica.sorted(kept) do
        if till < now then mica.try(drop, sha256) end
      end
    end
  end)
end

return bundles
