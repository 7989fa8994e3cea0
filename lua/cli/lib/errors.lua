-- What goes wrong in the command line: how it is raised, and what becomes of it: a message on standard error and an
-- exit code.

local mica = require "mica"

local errors = {}

local DONE, FAILED, USAGE, NOBODY = 0, 1, 2, 3

-- Faults of our own. What the server answered is an error value of the library.
local Fault = { __tostring = function(fault) return fault.text end }

local STATUS = {
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [409] = "Conflict",
  [429] = "Too Many Requests", [499] = "Client Closed Request", [500] = "Internal Server Error",
  [501] = "Not Implemented", [503] = "Service Unavailable", [504] = "Gateway Timeout",
}

local function text_of(fmt, ...)
  if select("#", ...) == 0 then return fmt end
  return fmt:format(...)
end

--- Wrong usage.
---@param hint string? a command to try
function errors.usage(hint, fmt, ...)
  error(setmetatable({ exit = USAGE, code = "INVALID_ARGUMENT", text = text_of(fmt, ...), hint = hint }, Fault), 0)
end

--- Something is wrong with the machine, or with what is here.
---@param hint string?
---@param code string "NOT_FOUND"
function errors.fail(hint, code, fmt, ...)
  local text = text_of(fmt, ...)
  error(setmetatable({ exit = FAILED, code = code, text = text, hint = hint, shown = code .. " " .. text }, Fault), 0)
end

-- Has the time passed that --timeout gives? Then the answer, if it is one, is about us and not from the service.
local function has_timed_out(cli)
  local waiting = cli.waiting
  return waiting ~= nil and mica.time.now() - waiting.since >= waiting.timeout * 0.95
end

-- Is it about the connection, and not from a capability of this process? Those go by a word, servers by HOST:PORT.
local function is_connection(err) return (rawget(err, "from") or ""):find ":%d+$" ~= nil end

-- An error value as a fault.
local function fault_of(cli, err)
  local fault = { exit = FAILED, code = err.code, text = err.message, id = err.id, shown = tostring(err) }
  if err.id == "cli" then -- raised on this side
    fault.id = nil
    fault.shown = err.code .. " " .. err.message
    if err.code == "UNAVAILABLE" and is_connection(err) then
      fault.exit = NOBODY
      fault.hint = err.message:find("unknown authority", 1, true) and "--ca FILE with the certificate of that authority"
        or "mica server, or another --address"
    end
  end
  if err.code == "DEADLINE_EXCEEDED" and has_timed_out(cli) then fault.exit = NOBODY end
  return fault
end

local function is_fault(err) return getmetatable(err) == Fault end

local function report(cli, fault)
  if cli.output == "json" then
    local http = mica.errors.new(fault.code, fault.text).http
    cli:complain(mica.json.encode { id = fault.id or "mica", code = http, detail = fault.text, status = STATUS[http] })
  else
    cli:complain("mica: " .. (fault.shown or fault.text))
    if fault.hint then cli:complain("try: " .. fault.hint) end
  end
  return fault.exit
end

--- Calls fn(cli, ...): its result as an exit code; what it raises is reported.
---@return integer code
function errors.guard(cli, fn, ...)
  local where
  local ok, result = xpcall(fn, function(err)
    if not is_fault(err) and not mica.errors.is(err) then where = debug.traceback(tostring(err), 2) end
    return err
  end, cli, ...)
  if ok then return result or DONE end
  if where then
    cli:complain("mica: internal error: " .. where)
    return FAILED
  end
  return report(cli, is_fault(result) and result or fault_of(cli, result))
end

return errors
