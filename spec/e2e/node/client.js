// SPDX-License-Identifier: Apache-2.0
// @grpc/grpc-js against a running server: node client.js ADDRESS HELLOWORLD_PROTO [PROBE_PROTO [CA_FILE]]; with a CA, over
// TLS.
// Each step throws when it is not as expected; the last line says that all are done.
"use strict";
const assert = require("assert");
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, helloworldProto, probeProto, ca] = process.argv.slice(2);
const credentials = ca ? grpc.credentials.createSsl(fs.readFileSync(ca)) : grpc.credentials.createInsecure();

function client(file, pkg, service) {
  const definition = loader.loadSync(file, { longs: Number, defaults: true });
  return new (grpc.loadPackageDefinition(definition)[pkg][service])(address, credentials);
}

const unary = (stub, method, request, options = {}) =>
  new Promise((resolve, reject) => {
    const metadata = options.metadata || new grpc.Metadata();
    const call = stub[method](request, metadata, { deadline: Date.now() + (options.milliseconds || 20000) }, (err, rsp) =>
      err ? reject(err) : resolve(rsp)
    );
    if (options.call) options.call(call);
  });

const collect = (stream) =>
  new Promise((resolve, reject) => {
    const got = [];
    stream.on("data", (message) => got.push(message));
    stream.on("error", (err) => reject(Object.assign(err, { got })));
    stream.on("end", () => resolve(got));
  });

async function fails(promise, code) {
  const err = await promise.then(() => assert.fail("the call should have failed"), (e) => e);
  assert.strictEqual(err.code, code, String(err));
  return err;
}

const helloworld = client(helloworldProto, "helloworld", "Helloworld");
const probe = probeProto && client(probeProto, "probe", "Probe");

const greetings = {
  async "unary call"() {
    assert.deepStrictEqual(await unary(helloworld, "Call", { name: "Ada" }), { message: "Hello Ada" });
  },
  async "server stream"() {
    const got = await collect(helloworld.Stream({ name: "Ada", messages: 3 }));
    assert.deepStrictEqual(got.map((m) => m.message), ["Hello Ada", "Hello Ada", "Hello Ada"]);
  },
  async "two-way stream"() {
    const stream = helloworld.PingPong();
    const all = collect(stream);
    for (let stroke = 1; stroke <= 10; stroke++) stream.write({ stroke });
    stream.end();
    assert.deepStrictEqual((await all).map((m) => m.stroke), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  },
};

const probes = {
  async "client stream"() {
    const sum = await new Promise((resolve, reject) => {
      const stream = probe.Sum((err, rsp) => (err ? reject(err) : resolve(rsp.n)));
      for (let n = 1; n <= 100; n++) stream.write({ n });
      stream.end();
    });
    assert.strictEqual(sum, 5050);
  },
  async "metadata both ways"() {
    const metadata = new grpc.Metadata();
    metadata.add("x-one", "1");
    metadata.add("x-many", "a");
    metadata.add("x-many", "b");
    metadata.add("x-raw-bin", Buffer.from([0, 1, 2]));
    let head, tail;
    const answer = await unary(probe, "Metadata", {}, {
      metadata,
      call(call) {
        call.on("metadata", (m) => (head = m));
        call.on("status", (s) => (tail = s.metadata));
      },
    });
    assert.strictEqual(answer.text, "1|a+b|3");
    assert.deepStrictEqual(head.get("x-head"), ["first"]);
    assert.deepStrictEqual(head.get("x-blob-bin"), [Buffer.from([0, 1, 255])]);
    await new Promise(setImmediate); // the status event may come after the callback
    assert.deepStrictEqual(tail.get("x-tail"), ["last"]);
  },
  async "a stream that ends with an error"() {
    const err = await fails(collect(probe.Some({ n: 4 })), grpc.status.FAILED_PRECONDITION);
    assert.strictEqual(err.details, "that was number 4");
    assert.strictEqual(err.got.length, 4);
  },
  async "deadline"() {
    await fails(unary(probe, "Sleep", { seconds: 30 }, { milliseconds: 300 }), grpc.status.DEADLINE_EXCEEDED);
  },
};

const steps = { ...greetings, ...(probe ? probes : {}) };

(async () => {
  for (const [name, step] of Object.entries(steps)) {
    await step();
    console.log("done: " + name);
  }
  console.log(`all ${Object.keys(steps).length} done`);
  helloworld.close();
  if (probe) probe.close();
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
