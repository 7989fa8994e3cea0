-- When a certificate is renewed, and when an order that failed is tried again. Pure functions; `luck` is a random number from 0
-- to 1, so that many servers do not ask at the same moment.

local schedule = {}

local DAY = 24 * 3600
-- Seconds after the first failure, doubled with each further one up to the second number. An authority counts what it has to
-- refuse (Let's Encrypt: five names an hour that do not lead where they should), and not what did not reach it.
local UNREACHABLE = { 2, 3600 }
local REFUSED = { 300, 6 * 3600 }

-- A third of its life before the end, or up to a thirtieth earlier.
---@param certificate { not_before: number, not_after: number }
---@param luck number
---@return number unix seconds
function schedule.renewal(certificate, luck)
  local life = certificate.not_after - certificate.not_before
  return certificate.not_after - life / 3 - luck * life / 30
end

-- A moment of the window that the authority suggests (RFC 9773 section 4.2).
---@param window { from: number, to: number }
---@return number unix seconds
function schedule.suggested(window, luck)
  return window.from + luck * (window.to - window.from)
end

-- When a renewal is due whatever is suggested: a tenth of the life before the end, for there may be failures.
---@return number unix seconds
function schedule.latest(certificate)
  return certificate.not_after - (certificate.not_after - certificate.not_before) / 10
end

-- Seconds until an order is tried again. `present`: the certificate that is good for `left` more seconds, and could run out
-- meanwhile; nil: there is none that is.
---@param failures number one after the other, this one included
---@param err mica.Error
---@param present { left: number, life: number }?
---@return number
function schedule.pause(failures, err, present, luck)
  if err.retry_after then -- which may be 0
    return math.min(math.max(err.retry_after * (1 + luck / 10), math.min(2 ^ (failures - 1), 60)), 7 * DAY)
  end
  local unreachable = err.code == "UNAVAILABLE" or err.code == "DEADLINE_EXCEEDED"
  local first, most = unpack(unreachable and UNREACHABLE or REFUSED)
  local pause = math.min(first * 2 ^ math.min(failures - 1, 30), most) * (0.75 + luck / 2)
  if present then pause = math.min(pause, math.max(present.left / 4, math.min(first, present.life / 20), 1)) end
  return pause
end

return schedule
