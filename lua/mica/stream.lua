-- SPDX-License-Identifier: Apache-2.0
-- Streams: the methods of the object that handlers of streaming methods get, and that calls to such methods return.
local core = ...
local mt = core.stream_mt
local errors = core.use("mica.errors")
local check, received = errors.check, errors.received

---@class mica.Stream
local Stream = {}

-- The service at the other end of the streams that we have opened: whose errors these are.
local origin = setmetatable({}, { __mode = "k" })

local function result(stream, ok, ...)
  if ok then return ... end
  error(received(origin[stream], ...), 0)
end

--- Sends a message; waits while the other side's window is full. CANCELLED when it has gone.
---@param message table
function Stream.send(stream, message)
  if message == nil then error("stream:send wants a message: stream:send { ... }", 2) end
  result(stream, core.send(stream, message))
end

--- The next message; nil when the other side has finished.
---@return table?
function Stream.recv(stream)
  return result(stream, core.recv(stream))
end

--- Iterates over what is received: for message in stream:messages() do ... end
---@return fun(): table?
function Stream.messages(stream)
  return Stream.recv, stream
end

--- No more messages from this side.
function Stream.close_send(stream)
  core.close_send(stream)
end

--- Breaks the call off.
function Stream.cancel(stream)
  core.cancel_stream(stream)
end

--- The leading response metadata; waits for it.
---@return table<string, string>
function Stream.header(stream)
  return result(stream, core.header(stream))
end

--- The trailing response metadata; waits for the end of the stream.
---@return table<string, string>
function Stream.trailer(stream)
  return result(stream, core.trailer(stream))
end

function mt.__index(_, key)
  local method = Stream[key]
  if method then return method end
  if key == "close" then error("a stream has no \"close\": write stream:close_send(), or stream:cancel()", 2) end
  error(('a stream has no "%s"%s'):format(tostring(key), core.use("mica.suggest").hint(key, Stream)), 2)
end

function mt.__tostring() return "stream" end

return {
  -- Opens a call of a streaming method; `from` is the service that is called.
  open = function(from, target, request, options)
    local stream = check(core.open(target, request, options))
    origin[stream] = from
    return stream
  end,
}
