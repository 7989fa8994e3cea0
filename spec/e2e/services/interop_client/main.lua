-- gRPC's interoperability cases as a client (the server's side is examples/interop). Whoever runs it adds two things to a copy
-- of the folder: proto/interop.proto, and target.lua, which returns { address = "HOST:PORT", options = {} }.
local mica = require "mica"
local target = require "target"

local function dial(service)
  local options = { proto = "grpc.testing." .. service }
  for key, value in pairs(target.options) do options[key] = value end
  return mica.client.dial(target.address, options)
end

local test, other = dial "TestService", dial "UnimplementedService"

local SENT, ANSWERED = { 27182, 8, 1828, 45904 }, { 31415, 9, 2653, 58979 }
local TRUE, FALSE = { value = true }, { value = false }
local INITIAL, TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
local METADATA = { [INITIAL] = "test_initial_metadata_value", [TRAILING] = "\171\171\171" }

local function payload(size) return { body = ("\0"):rep(size) } end

local function simple(fields)
  fields.response_size, fields.payload = 314159, payload(271828)
  return fields
end

local function equal(got, wanted, what)
  if got ~= wanted then
    error(("%s: got %q, wanted %q"):format(what, tostring(got), tostring(wanted)), 2)
  end
end

local function check_body(message, size)
  equal(#message.payload.body, size, "bytes of the payload")
  equal(message.payload.body, ("\0"):rep(size), "the payload")
end

local function check_fails(code, message, fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("the call should have failed with " .. code, 2) end
  if type(err) ~= "table" or err.code ~= code then error(("got %s, wanted %s"):format(tostring(err), code), 2) end
  if message then equal(err.message, message, "message") end
end

local function asked(...)
  local parameters = {}
  for i, size in ipairs { ... } do parameters[i] = { size = size } end
  return { response_parameters = parameters }
end

local function upload(requests, options)
  local stream = test.StreamingInputCall(options)
  for _, request in ipairs(requests) do stream:send(request, request.options) end
  stream:close_send()
  return stream:recv()
end

local cases = {}

function cases.empty_unary() equal(next(test.EmptyCall {}), nil, "fields of the answer") end

function cases.large_unary() check_body(test.UnaryCall(simple {}), 314159) end

function cases.client_compressed_unary(sees)
  if sees then check_fails("INVALID_ARGUMENT", nil, test.UnaryCall, simple { expect_compressed = TRUE }) end
  check_body(test.UnaryCall(simple { expect_compressed = TRUE }, { compress = true }), 314159)
  check_body(test.UnaryCall(simple { expect_compressed = FALSE }), 314159)
end

function cases.server_compressed_unary()
  check_body(test.UnaryCall(simple { response_compressed = TRUE }), 314159)
  check_body(test.UnaryCall(simple { response_compressed = FALSE }), 314159)
end

function cases.client_streaming()
  local requests = {}
  for i, size in ipairs(SENT) do requests[i] = { payload = payload(size) } end
  equal(upload(requests).aggregated_payload_size, 74922, "sum")
end

function cases.client_compressed_streaming(sees)
  if sees then
    check_fails("INVALID_ARGUMENT", nil, upload, { { expect_compressed = TRUE, payload = payload(27182) } })
  end
  local stream = test.StreamingInputCall { compress = true }
  stream:send { expect_compressed = TRUE, payload = payload(27182) }
  stream:send({ expect_compressed = FALSE, payload = payload(45904) }, { compress = false })
  stream:close_send()
  equal(stream:recv().aggregated_payload_size, 73086, "sum")
end

function cases.server_streaming()
  local n = 0
  for answer in test.StreamingOutputCall(asked(unpack(ANSWERED))):messages() do
    n = n + 1
    check_body(answer, ANSWERED[n])
  end
  equal(n, #ANSWERED, "answers")
end

function cases.server_compressed_streaming()
  local stream = test.StreamingOutputCall {
    response_parameters = { { compressed = TRUE, size = 31415 }, { compressed = FALSE, size = 92653 } },
  }
  check_body(stream:recv(), 31415)
  equal(stream:compressed(), true, "the first answer was compressed")
  check_body(stream:recv(), 92653)
  equal(stream:compressed(), false, "the second answer was compressed")
  equal(stream:recv(), nil, "a third answer")
end

function cases.ping_pong()
  local stream = test.FullDuplexCall()
  for i, size in ipairs(SENT) do
    local request = asked(ANSWERED[i])
    request.payload = payload(size)
    stream:send(request)
    check_body(stream:recv(), ANSWERED[i])
  end
  stream:close_send()
  equal(stream:recv(), nil, "a further answer")
end

function cases.empty_stream()
  local stream = test.FullDuplexCall()
  stream:close_send()
  equal(stream:recv(), nil, "an answer")
end

function cases.timeout_on_sleeping_server()
  check_fails("DEADLINE_EXCEEDED", nil, function()
    local stream = test.FullDuplexCall { timeout = 0.001 }
    stream:send { payload = payload(27182) }
    stream:recv()
  end)
end

function cases.cancel_after_begin()
  local stream = test.StreamingInputCall()
  stream:cancel()
  check_fails("CANCELLED", nil, stream.recv, stream)
end

function cases.cancel_after_first_response()
  local stream = test.FullDuplexCall()
  local request = asked(31415)
  request.payload = payload(27182)
  stream:send(request)
  check_body(stream:recv(), 31415)
  stream:cancel()
  check_fails("CANCELLED", nil, stream.recv, stream)
end

function cases.custom_metadata()
  local info = {}
  check_body(test.UnaryCall(simple {}, { metadata = METADATA, info = info }), 314159)
  equal(info.header[INITIAL], METADATA[INITIAL], "leading metadata")
  equal(info.trailer[TRAILING], METADATA[TRAILING], "trailing metadata")
  local stream = test.FullDuplexCall { metadata = METADATA }
  local request = asked(314159)
  request.payload = payload(271828)
  stream:send(request)
  stream:close_send()
  equal(stream:header()[INITIAL], METADATA[INITIAL], "leading metadata of the stream")
  check_body(stream:recv(), 314159)
  equal(stream:recv(), nil, "a second answer")
  equal(stream:trailer()[TRAILING], METADATA[TRAILING], "trailing metadata of the stream")
end

local function check_status(text)
  local status = { code = 2, message = text }
  check_fails("UNKNOWN", text, test.UnaryCall, { response_status = status })
  check_fails("UNKNOWN", text, function()
    local stream = test.FullDuplexCall()
    stream:send { response_status = status }
    stream:close_send()
    stream:recv()
  end)
end

function cases.status_code_and_message() check_status "test status message" end

function cases.special_status_message()
  check_status "\t\ntest with whitespace\r\nand Unicode BMP \226\152\186 and non-BMP \240\159\152\136\t\n"
end

function cases.unimplemented_method() check_fails("UNIMPLEMENTED", nil, test.UnimplementedCall, {}) end

function cases.unimplemented_service() check_fails("UNIMPLEMENTED", nil, other.UnimplementedCall, {}) end

local Client = {}

function Client.Run(_, req)
  local case = cases[req.case]
  if not case then return { fault = "there is no such case" } end
  local ok, err = pcall(case, req.sees_compression)
  return { fault = ok and "" or tostring(err) }
end

return mica.service {
  name = "interop-client",
  handlers = { Client = Client },
  public = true,
  uses = { dial = { target.address } },
}
