-- Work that goes on when the request that began it has ended: a client that goes away in the middle of a deployment must
-- not leave half of one behind.

local mica = require "mica"
local errors = mica.errors

local jobs = {}

local queue -- of functions

-- Begins to work; call it in on_start: the jobs live with the instance.
function jobs.start()
  queue = mica.channel(1000)
  mica.spawn(function()
    for job in queue:messages() do mica.spawn(job) end
  end)
end

-- Runs fn beside everything else. A failure is logged.
---@param what string
---@param fn function
function jobs.later(what, fn)
  queue:send(function()
    local ok, err = pcall(fn)
    local over = errors.is(err) and err.code == "CANCELLED" -- the server stops
    if not ok and not over then mica.log.warn(what .. " failed", { error = tostring(err) }) end
  end)
end

-- Runs fn in a job and waits for it: its result, or its error raised here. When the request that waits ends early, the job
-- goes on to its end.
---@generic T
---@param fn fun(): T
---@return T
function jobs.run(fn)
  local done = mica.channel(1)
  queue:send(function()
    local ok, result = pcall(fn)
    done:send { ok = ok, result = result }
  end)
  local answer = done:recv()
  if answer.ok then return answer.result end
  local err = answer.result
  if errors.is(err) and err.id == "runtime" then err.id = nil end -- it was made in a job: the endpoint's name is better
  error(err, 0)
end

return jobs
