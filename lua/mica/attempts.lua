-- SPDX-License-Identifier: Apache-2.0
-- When a call that failed is made again.
--
-- Only UNAVAILABLE is, and only where nothing is done twice: the callee has not begun ("unbegun": it does not run, its
-- server cannot be reached, the stream was refused), or the contract says that the method may be repeated. `retries` counts
-- further attempts; with `wait`, those that found nobody do not count until that time is over. Pauses grow from 50 ms, unless
-- the callee says how long to wait (grpc-retry-pushback-ms). No attempt is made that would come after the call's deadline: the
-- failure is told instead.
local core = ...
local check = core.use("mica.errors").check

local M = {}

M.RETRIES = 2
local FIRST, MOST = 0.05, 2 -- seconds

-- A bit more or less, so that callers do not come back all at once.
local function growing(attempt)
  local random = core.random(1):byte() / 255
  return math.min(FIRST * 2 ^ attempt, MOST) * (0.5 + random)
end

-- Seconds until the call's deadline; nil: it has none.
local function remaining(o)
  local ctx = core.context()
  local left = ctx and core.ctx(ctx, "remaining")
  if not o.ends then return left end
  local own = o.ends - core.monotonic()
  return left and math.min(left, own) or own
end

-- Waits for the time of the next attempt, the number `attempt` + 1. False: there is none.
--   o           retries, wait and started (its seconds, and since when), ends: of core.monotonic
--   repeatable  it may have begun, and may be repeated nevertheless
--   again, pushback  behind the fault's other values (bindings.h)
function M.pause(o, attempt, repeatable, code, again, pushback)
  local unbegun = again == "unbegun"
  if code ~= "UNAVAILABLE" or pushback == false or not (unbegun or repeatable) then return false end
  local waiting = unbegun and o.wait and core.monotonic() - o.started < o.wait
  if attempt >= o.retries and not waiting then return false end
  local seconds = pushback or growing(attempt)
  local left = remaining(o)
  if left and seconds >= left then return false end
  check(core.sleep(seconds))
  return true
end

-- The options of the next attempt: `timeout` is for all of them together.
function M.options(o)
  if not o.ends then return o.core end
  local rest = {}
  for key, value in next, o.core do rest[key] = value end
  rest.timeout = math.max(o.ends - core.monotonic(), 1e-3)
  return rest
end

return M
