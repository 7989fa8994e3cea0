-- SPDX-License-Identifier: Apache-2.0
-- Streams: the methods of the object that handlers of streaming methods get, and that calls to such methods return.
local core = ...
local mt = core.stream_mt
local errors = core.use("mica.errors")
local received = errors.received

---@class mica.Stream
local Stream = {}

-- Of the streams that we have opened: { from, id (whose errors these are), again (begins it again: client.lua), ... }.
local origin = setmetatable({}, { __mode = "k" })

local function fail(stream, code, message, id, details)
  local opened = origin[stream]
  error(received(opened and opened.from, code, message, id or opened and opened.id, details), 0)
end

local SEND_OPTIONS = { compress = true }

local function compress_of(opts)
  if type(opts) ~= "table" then error("the options of stream:send are a table, such as { compress = false }", 3) end
  core.use("mica.suggest").check_keys("stream:send", opts, SEND_OPTIONS, 4)
  if opts.compress ~= nil and type(opts.compress) ~= "boolean" then
    error('the option "compress" of stream:send is true or false', 3)
  end
  return opts.compress
end

local function result(stream, ok, ...)
  if ok then return ... end
  fail(stream, ...)
end

-- The same of an operation that is done again when the call has begun again.
local function result_of(operation, stream, ok, ...)
  if ok then return ... end
  local opened = origin[stream]
  local code, _, _, _, again, pushback = ...
  if again and opened and opened.again and opened.again(stream, opened, code, again, pushback) then
    return operation(stream)
  end
  fail(stream, ...)
end

--- Sends a message; waits while the other side's window is full. CANCELLED when it has gone.
---@param message table
---@param opts? { compress?: boolean } of this message; else as ctx:compress, or the call's options, say
function Stream.send(stream, message, opts)
  if message == nil then error("stream:send wants a message: stream:send { ... }", 2) end
  if opts == nil then return result(stream, core.send(stream, message)) end
  result(stream, core.send(stream, message, compress_of(opts)))
end

--- Did the message that was received last come compressed?
---@return boolean
function Stream.compressed(stream)
  return core.compressed(stream)
end

--- The next message; nil when the other side has finished.
---@return table?
function Stream.recv(stream)
  return result_of(Stream.recv, stream, core.recv(stream))
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
---@return table<string, string|string[]>
function Stream.header(stream)
  return result_of(Stream.header, stream, core.header(stream))
end

--- The trailing response metadata; waits for the end of the stream.
---@return table<string, string|string[]>
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

local function opened_stream(opened, target, request, options, ok, stream, message, id, details, again, pushback)
  if ok then
    origin[stream] = opened
    return stream
  end
  if again and opened.again and core.use("mica.attempts").pause(opened.o, opened.attempt, false, stream, again, pushback) then
    opened.attempt = opened.attempt + 1
    return opened_stream(opened, target, request, options, core.open(target, request, options))
  end
  error(received(opened.from, stream, message, id or opened.id, details), 0)
end

return {
  -- Opens a call of a streaming method; for `opened` see `origin`.
  open = function(opened, target, request, options)
    return opened_stream(opened, target, request, options, core.open(target, request, options))
  end,
}
