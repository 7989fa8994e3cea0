-- gRPC's interoperability test service: what every gRPC library's own test client calls. See README.md.
local mica = require "mica"
local errors = mica.errors

local TestService = {}

local CODES = { "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
  "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED" } -- by number

local INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"

-- Gives back the metadata that the tests send.
local function echo_metadata(ctx)
  local initial, trailing = ctx.metadata[INITIAL], ctx.metadata[TRAILING]
  if initial then ctx:set_header(INITIAL, initial) end
  if trailing then ctx:set_trailer(TRAILING, trailing) end
end

-- Ends the call with the status that the request asks for, if it does.
local function echo_status(status)
  if status and status.code ~= 0 then error(errors.new(CODES[status.code] or "UNKNOWN", status.message)) end
end

local function payload(size)
  if size < 0 then error(errors.invalid_argument("a payload of %d bytes cannot be made", size)) end
  return { type = "COMPRESSABLE", body = ("\0"):rep(size) }
end

local function check_compressed(expected, compressed)
  if expected and expected.value ~= compressed then
    error(errors.invalid_argument("the message was expected %s", expected.value and "compressed" or "not compressed"))
  end
end

local function wants(compressed) return compressed ~= nil and compressed.value end

function TestService.EmptyCall() return {} end

function TestService.UnaryCall(ctx, req)
  echo_metadata(ctx)
  check_compressed(req.expect_compressed, ctx.compressed)
  echo_status(req.response_status)
  if wants(req.response_compressed) then ctx:compress(true) end
  return { payload = payload(req.response_size) }
end

TestService.CacheableUnaryCall = TestService.UnaryCall

local function answer(req, stream)
  for _, parameters in ipairs(req.response_parameters) do
    if parameters.interval_us > 0 then mica.sleep(parameters.interval_us / 1e6) end
    stream:send({ payload = payload(parameters.size) }, { compress = wants(parameters.compressed) })
  end
  echo_status(req.response_status)
end

function TestService.StreamingOutputCall(ctx, req, stream)
  echo_metadata(ctx)
  ctx:compress(true) -- some of the messages may be; each says for itself
  answer(req, stream)
end

function TestService.StreamingInputCall(ctx, stream)
  local size = 0
  echo_metadata(ctx)
  for req in stream:messages() do
    check_compressed(req.expect_compressed, stream:compressed())
    size = size + (req.payload and #req.payload.body or 0)
  end
  return { aggregated_payload_size = size }
end

function TestService.FullDuplexCall(ctx, stream)
  echo_metadata(ctx)
  ctx:compress(true)
  for req in stream:messages() do answer(req, stream) end
end

function TestService.HalfDuplexCall(ctx, stream)
  local all = {}
  echo_metadata(ctx)
  ctx:compress(true)
  for req in stream:messages() do table.insert(all, req) end
  for _, req in ipairs(all) do answer(req, stream) end
end

return mica.service {
  handlers = { TestService = TestService },
  public = true,
}
