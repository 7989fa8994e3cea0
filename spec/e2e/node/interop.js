// SPDX-License-Identifier: Apache-2.0
// gRPC's interoperability cases with @grpc/grpc-js: node interop.js ADDRESS INTEROP_PROTO [CA_FILE]. A line a case: "ok NAME" or
// "not ok NAME TEXT"; the exit code is 0 when all are ok.
"use strict";
const assert = require("assert");
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, proto, ca] = process.argv.slice(2);
const GZIP = 2; // of "grpc.default_compression_algorithm"
const { testing } = grpc.loadPackageDefinition(loader.loadSync(proto, { longs: Number, defaults: true, keepCase: true })).grpc;
const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();
const plain = new testing.TestService(address, credentials);
const packed = new testing.TestService(address, credentials, { "grpc.default_compression_algorithm": GZIP });
const other = new testing.UnimplementedService(address, credentials);

const SENT = [27182, 8, 1828, 45904];
const ANSWERED = [31415, 9, 2653, 58979];
const payload = (size) => ({ type: "COMPRESSABLE", body: Buffer.alloc(size) });
const simple = (fields) => ({ response_size: 314159, payload: payload(271828), ...fields });
const asked = (...sizes) => ({ response_parameters: sizes.map((size) => ({ size })) });
const soon = () => ({ deadline: Date.now() + 20000 });

const unary = (stub, method, request, metadata = new grpc.Metadata(), look = () => {}) =>
  new Promise((resolve, reject) =>
    look(stub[method](request, metadata, soon(), (err, answer) => (err ? reject(err) : resolve(answer))))
  );

// Sends all requests and gives the one answer.
const upload = (stub, requests) =>
  new Promise((resolve, reject) => {
    const call = stub.StreamingInputCall(new grpc.Metadata(), soon(), (err, answer) => (err ? reject(err) : resolve(answer)));
    for (const request of requests) call.write(request);
    call.end();
  });

const collect = (stream) =>
  new Promise((resolve, reject) => {
    const got = [];
    stream.on("data", (message) => got.push(message.payload.body.length));
    stream.on("error", reject);
    stream.on("end", () => resolve(got));
  });

async function fails(promise, code, text) {
  const err = await promise.then(() => assert.fail("the call should have failed"), (e) => e);
  assert.strictEqual(err.code, code, String(err));
  if (text !== undefined) assert.strictEqual(err.details, text);
}

function checkSize(answer) {
  assert.strictEqual(answer.payload.body.length, 314159);
}

async function checkStatus(text) {
  const response_status = { code: grpc.status.UNKNOWN, message: text };
  await fails(unary(plain, "UnaryCall", { response_status }), grpc.status.UNKNOWN, text);
  const stream = plain.FullDuplexCall(new grpc.Metadata(), soon());
  const all = collect(stream);
  stream.end({ response_status });
  await fails(all, grpc.status.UNKNOWN, text);
}

const cases = {
  async empty_unary() {
    assert.deepStrictEqual(await unary(plain, "EmptyCall", {}), {});
  },
  async large_unary() {
    checkSize(await unary(plain, "UnaryCall", simple()));
  },
  async client_compressed_unary() {
    const expect_compressed = { value: true };
    await fails(unary(plain, "UnaryCall", simple({ expect_compressed })), grpc.status.INVALID_ARGUMENT);
    checkSize(await unary(packed, "UnaryCall", simple({ expect_compressed })));
    checkSize(await unary(plain, "UnaryCall", simple({ expect_compressed: { value: false } })));
  },
  async server_compressed_unary() {
    checkSize(await unary(plain, "UnaryCall", simple({ response_compressed: { value: true } })));
    checkSize(await unary(plain, "UnaryCall", simple({ response_compressed: { value: false } })));
  },
  async client_streaming() {
    const got = await upload(plain, SENT.map((size) => ({ payload: payload(size) })));
    assert.strictEqual(got.aggregated_payload_size, 74922);
  },
  async client_compressed_streaming() {
    const requests = [27182, 45904].map((size) => ({ payload: payload(size), expect_compressed: { value: true } }));
    await fails(upload(plain, requests), grpc.status.INVALID_ARGUMENT);
    assert.strictEqual((await upload(packed, requests)).aggregated_payload_size, 73086);
  },
  async server_streaming() {
    assert.deepStrictEqual(await collect(plain.StreamingOutputCall(asked(...ANSWERED))), ANSWERED);
  },
  async server_compressed_streaming() {
    const request = asked(31415, 92653);
    request.response_parameters[0].compressed = { value: true };
    request.response_parameters[1].compressed = { value: false };
    assert.deepStrictEqual(await collect(plain.StreamingOutputCall(request)), [31415, 92653]);
  },
  async ping_pong() {
    const stream = plain.FullDuplexCall(new grpc.Metadata(), soon());
    const all = collect(stream);
    for (let i = 0; i < SENT.length; i++) {
      const answer = new Promise((resolve) => stream.once("data", resolve));
      stream.write({ ...asked(ANSWERED[i]), payload: payload(SENT[i]) });
      assert.strictEqual((await answer).payload.body.length, ANSWERED[i]);
    }
    stream.end();
    assert.deepStrictEqual(await all, ANSWERED);
  },
  async empty_stream() {
    const stream = plain.FullDuplexCall(new grpc.Metadata(), soon());
    const all = collect(stream);
    stream.end();
    assert.deepStrictEqual(await all, []);
  },
  async timeout_on_sleeping_server() {
    const stream = plain.FullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 1 });
    const all = collect(stream);
    stream.write({ payload: payload(27182) });
    await fails(all, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancel_after_begin() {
    await fails(
      new Promise((resolve, reject) => {
        const call = plain.StreamingInputCall(new grpc.Metadata(), soon(), (err, answer) => (err ? reject(err) : resolve(answer)));
        call.cancel();
      }),
      grpc.status.CANCELLED
    );
  },
  async cancel_after_first_response() {
    const stream = plain.FullDuplexCall(new grpc.Metadata(), soon());
    const all = collect(stream);
    stream.once("data", () => stream.cancel());
    stream.write({ ...asked(31415), payload: payload(27182) });
    await fails(all, grpc.status.CANCELLED);
  },
  async custom_metadata() {
    const sent = new grpc.Metadata();
    sent.set("x-grpc-test-echo-initial", "test_initial_metadata_value");
    sent.set("x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xab, 0xab]));
    const look = (call) =>
      Promise.all([
        new Promise((resolve) => call.on("metadata", resolve)),
        new Promise((resolve) => call.on("status", resolve)),
      ]).then(([leading, status]) => {
        assert.deepStrictEqual(leading.get("x-grpc-test-echo-initial"), ["test_initial_metadata_value"]);
        assert.deepStrictEqual(status.metadata.get("x-grpc-test-echo-trailing-bin"), [Buffer.from([0xab, 0xab, 0xab])]);
      });
    let looked;
    checkSize(await unary(plain, "UnaryCall", simple(), sent, (call) => (looked = look(call))));
    await looked;
    const stream = plain.FullDuplexCall(sent, soon());
    looked = look(stream);
    const all = collect(stream);
    stream.end({ ...asked(314159), payload: payload(271828) });
    assert.deepStrictEqual(await all, [314159]);
    await looked;
  },
  async status_code_and_message() {
    await checkStatus("test status message");
  },
  async special_status_message() {
    await checkStatus("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1F608}\t\n");
  },
  async unimplemented_method() {
    await fails(unary(plain, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service() {
    await fails(unary(other, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED);
  },
};

(async () => {
  let code = 0;
  for (const [name, run] of Object.entries(cases)) {
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (err) {
      code = 1;
      console.log(`not ok ${name} ${err.stack}`);
    }
  }
  process.exit(code); // the deadlines of calls that have ended would keep the process
})();
