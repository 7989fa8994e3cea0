-- SPDX-License-Identifier: Apache-2.0
-- Names that nobody else makes. Randomness and time come from the core.
local core = ...
local bit = bit
local floor = math.floor

---@class mica.id
local id = {}

local function shaped(bytes, version)
  local b = { bytes:byte(1, 16) }
  b[7] = bit.bor(bit.band(b[7], 0x0F), version * 16)
  b[9] = bit.bor(bit.band(b[9], 0x3F), 0x80)
  return ("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x"):format(unpack(b))
end

--- A random UUID (version 4).
---@return string
function id.uuid() return shaped(core.random(16), 4) end

local last_ms, counter = 0, 0

-- The milliseconds and a counter of 12 bits that make ids of this VM rise within one; a full counter borrows from the next.
local function tick()
  local ms = floor(core.now() * 1000)
  if ms > last_ms then
    last_ms, counter = ms, core.random(1):byte()
    return
  end
  counter = counter + 1
  if counter > 4095 then last_ms, counter = last_ms + 1, 0 end
end

--- A UUID whose text sorts by the time it was made (version 7).
---@return string
function id.sortable()
  tick()
  local high, low = floor(last_ms / 2 ^ 16), last_ms % 2 ^ 16
  local head = string.char(
    bit.band(bit.rshift(high, 24), 255), bit.band(bit.rshift(high, 16), 255), bit.band(bit.rshift(high, 8), 255),
    bit.band(high, 255), floor(low / 256), low % 256, floor(counter / 256), counter % 256)
  return shaped(head .. core.random(8), 7)
end

local LETTERS = "0123456789abcdefghjkmnpqrstvwxyz" -- without i, l, o and u, which are misread

--- A short random name of small letters and digits, 5 bits a character.
---@param n? integer default 12
---@return string
function id.short(n)
  n = n or 12
  if type(n) ~= "number" or n < 1 or n > 1000 or n ~= floor(n) then error("id.short wants a length, 1 to 1000", 2) end
  return (core.random(n):gsub(".", function(c)
    local i = c:byte() % 32 + 1
    return LETTERS:sub(i, i)
  end))
end

return id
