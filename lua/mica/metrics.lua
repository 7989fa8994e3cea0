-- SPDX-License-Identifier: Apache-2.0
-- Numbers for whoever runs the service, shown by /metrics (docs/observing.md). The platform adds the labels namespace and
-- service; all versions and instances of a service share a series.
local core = ...

---@class mica.metrics
local metrics = {}

local function record(kind, name, value, tags)
  if type(name) ~= "string" or not name:find("^[%a_:][%w_:]*$") then
    error(("metrics.%s wants a name of letters, digits and _, got %s"):format(kind,
      type(name) == "string" and '"' .. name .. '"' or type(name)), 3)
  end
  if type(value) ~= "number" then error(("metrics.%s wants a number, got %s"):format(kind, type(value)), 3) end
  if kind == "timing" and (value < 0 or value ~= value) then error("metrics.timing wants seconds, 0 or more", 3) end
  if kind == "count" and (value < 0 or value ~= value) then error("metrics.count only grows: use metrics.gauge", 3) end
  if tags ~= nil and type(tags) ~= "table" then error(("metrics.%s: tags are a table: { kind = \"x\" }"):format(kind), 3) end
  core.metric(kind, name, value, tags)
end

--- Adds to a counter; it is shown as NAME_total.
---@param name string
---@param n? number default 1
---@param tags? table<string, any>
function metrics.count(name, n, tags) record("count", name, n or 1, tags) end

--- Sets a value that rises and falls.
---@param name string
---@param value number
---@param tags? table<string, any>
function metrics.gauge(name, value, tags) record("gauge", name, value, tags) end

--- Observes how long something took, in a histogram; it is shown as NAME_seconds.
---@param name string
---@param seconds number
---@param tags? table<string, any>
function metrics.timing(name, seconds, tags) record("timing", name, seconds, tags) end

return metrics
