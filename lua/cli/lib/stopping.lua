-- Stopping a service, and what is said of it: for `kill` and `down`.

local mica = require "mica"

local stopping = {}

local DELETE = "/mica.runtime.v1.Runtime/Delete"
local DRAIN = 60 -- seconds, the server's default
local ATTEMPTS = 20

--- Stops it, and waits for its calls; the number of calls that ended meanwhile. Raises NOT_FOUND.
---@param cli mica.cli.Console
---@param name string
---@param version string?
---@param drain number?
---@param now boolean?
---@return number finished
function stopping.stop(cli, name, version, drain, now)
  now = now or drain == 0 -- 0 would be the server's default
  local request = { name = name, version = version, drain = not now and drain or nil, now = now or nil }
  local timeout, given = cli:timeout()
  if not given then timeout = math.max(timeout, (drain or DRAIN) + 15) end
  for attempt = 1, ATTEMPTS do -- while somebody else changes it
    local answer, err = mica.try(function() return cli:server():call(DELETE, request, { timeout = timeout }) end)
    if answer then return tonumber(answer.finished) or 0 end
    if err.code ~= "ABORTED" or attempt == ATTEMPTS then error(err, 0) end
    mica.sleep(0.05 * math.min(attempt, 10))
  end
end

---@param cli mica.cli.Console
---@param name string
---@param version string?
---@param finished number
function stopping.tell(cli, name, version, finished)
  local shown = version and name .. "@" .. version or name
  local calls = ("%d %s finished"):format(finished, finished == 1 and "call" or "calls")
  cli:changed({ shown, "stopped", calls }, { name = name, version = version, status = "STOPPED", finished = finished })
end

return stopping
