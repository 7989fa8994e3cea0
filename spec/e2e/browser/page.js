// SPDX-License-Identifier: Apache-2.0
// What browser_test.py does in a page: each function of `cases` is a test, which gets { gateway, shut } (the URL of the gateway, and the
// path of a service that lets no other origin in) and throws when something is not as it should be. A page of the gateway's own
// origin has no `shut`: nothing is refused to it.
"use strict";

function equal(got, wanted) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`expected ${b}, got ${a}`);
}

// A CommonJS module that needs no other: grpc-web and google-protobuf are published as such.
async function load(name) {
  const module = { exports: {} };
  const text = await (await fetch(`modules/${name}`)).text();
  new Function("module", "exports", text)(module, module.exports);
  return module.exports;
}

// ---- gRPC-Web by its own client; a plugin of protoc would write this from browsing.proto

let client;

async function grpc() {
  if (client) return client;
  const [web, pb] = await Promise.all([load("grpc-web"), load("google-protobuf")]);
  // Messages as plain objects: field number -> [name, how it is written and read].
  const codec = (fields) => ({
    write(message) {
      const out = new pb.BinaryWriter();
      for (const [number, [name, kind]] of Object.entries(fields)) {
        if (message[name] !== undefined) out[`write${kind}`](Number(number), message[name]);
      }
      return out.getResultBuffer();
    },
    read(bytes) {
      const reader = new pb.BinaryReader(bytes);
      const message = {};
      while (reader.nextField()) {
        const [name, kind] = fields[reader.getFieldNumber()];
        message[name] = reader[`read${kind}`]();
      }
      return message;
    },
  });
  const greeting = codec({ 1: ["text", "String"] });
  const count = codec({ 1: ["count", "Int32"], 2: ["fail_after", "Int32"] });
  const number = codec({ 1: ["n", "Int32"] });
  const method = (name, type, input, output) =>
    new web.MethodDescriptor(`/browsing.Browsing/${name}`, type, Object, Object, input.write, output.read);
  client = {
    web,
    greet: method("Greet", web.MethodType.UNARY, greeting, greeting),
    refuse: method("Refuse", web.MethodType.UNARY, greeting, greeting),
    count: method("Count", web.MethodType.SERVER_STREAMING, count, number),
  };
  return client;
}

async function unary(gateway, format, method, request, metadata = {}) {
  const base = new (await grpc()).web.GrpcWebClientBase({ format });
  const seen = {};
  const message = await new Promise((resolve, reject) => {
    base
      .rpcCall(gateway + method.getName(), request, metadata, method, (err, got) => (err ? reject(err) : resolve(got)))
      .on("metadata", (headers) => Object.assign(seen, headers));
  });
  return { message, seen };
}

async function stream(gateway, request) {
  const { web, count } = await grpc();
  const base = new web.GrpcWebClientBase({ format: "text" });
  const got = { numbers: [], status: null };
  await new Promise((resolve) => {
    base
      .serverStreaming(gateway + count.getName(), request, {}, count)
      .on("data", (message) => got.numbers.push(message.n))
      .on("error", (err) => resolve((got.status = { code: err.code, text: err.message })))
      .on("end", resolve);
  });
  return got;
}

// ---- the cases

const cases = {
  async grpc_web_unary({ gateway }) {
    const { greet } = await grpc();
    for (const format of ["text", "binary"]) {
      const { message, seen } = await unary(gateway, format, greet, { text: "Ada äöü" }, { "x-sent": "metadata" });
      equal(message, { text: "Hello Ada äöü" });
      equal(seen["x-got"], "metadata");
    }
  },

  async grpc_web_error({ gateway }) {
    const { refuse } = await grpc();
    for (const format of ["text", "binary"]) {
      const err = await unary(gateway, format, refuse, { text: "cat" }).then(() => null, (e) => e);
      equal([err.code, err.message], [5, "no cat here: äöü"]);
      equal(err.metadata["mica-request-id"].length, 16);
    }
  },

  async grpc_web_stream({ gateway }) {
    const got = await stream(gateway, { count: 500 });
    equal(got, { numbers: Array.from({ length: 500 }, (_, i) => i + 1), status: null });
    equal(await stream(gateway, { count: 0 }), { numbers: [], status: null });
  },

  async grpc_web_stream_that_fails({ gateway }) {
    const got = await stream(gateway, { count: 5, fail_after: 2 });
    equal(got, { numbers: [1, 2], status: { code: 11, text: "no more than 2" } });
  },

  async fetch_json({ gateway }) {
    const answer = await fetch(`${gateway}/browsing/greet`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-sent": "fetch" },
      body: JSON.stringify({ text: "Ada" }),
    });
    equal([answer.status, await answer.json()], [200, { text: "Hello Ada" }]);
    equal(answer.headers.get("x-got"), "fetch");
    const wrong = await fetch(`${gateway}/browsing/greet?nothing=1`);
    equal([wrong.status, (await wrong.json()).code], [400, 400]);
  },

  async lines_of_json({ gateway }) {
    const answer = await fetch(`${gateway}/browsing/count?count=3`);
    const lines = (await answer.text()).trim().split("\n");
    equal(lines.map((line) => JSON.parse(line).n), [1, 2, 3]);
  },

  async event_stream({ gateway }) {
    const source = new EventSource(`${gateway}/browsing/count?count=3`);
    const got = await new Promise((resolve, reject) => {
      const list = [];
      source.onmessage = (event) => list.push(JSON.parse(event.data).n) === 3 && resolve(list);
      source.onerror = () => reject(new Error(`the stream broke after ${list.length} events`));
    });
    source.close();
    equal(got, [1, 2, 3]);
  },

  async websocket({ gateway }) {
    const socket = new WebSocket(gateway.replace("http", "ws") + "/browsing/chat");
    const got = [];
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    const answered = new Promise((resolve, reject) => {
      socket.onmessage = (event) => got.push(JSON.parse(event.data).text) === 3 && resolve();
      socket.onerror = () => reject(new Error("the socket failed"));
    });
    await new Promise((resolve) => (socket.onopen = resolve));
    for (const text of ["Ada", "Bob", "Chi"]) socket.send(JSON.stringify({ text }));
    await answered;
    socket.send(""); // that is all
    const { code } = await closed;
    equal([got, code], [["Hello Ada", "Hello Bob", "Hello Chi"], 1000]);
  },

  async upload({ gateway }) {
    const bytes = Uint8Array.from({ length: 100000 }, (_, i) => (i * 7) & 255);
    const chosen = new DataTransfer();
    chosen.items.add(new File([bytes], "picture.png", { type: "image/png" }));
    const form = document.getElementById("upload");
    form.elements.file.files = chosen.files;
    const answer = await fetch(`${gateway}/browsing/upload`, { method: "POST", body: new FormData(form) });
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const sha256 = Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    equal(await answer.json(), { title: "A picture", size: bytes.length, sha256 });
  },

  async refused({ gateway, shut }) {
    if (!shut) return equal((await fetch(`${gateway}/nothing`)).status, 404);
    const refusal = (promise) => promise.then((answer) => `answered ${answer.status}`, (err) => err.name);
    equal(await refusal(fetch(`${gateway}/${shut}/greet?text=hidden`)), "TypeError"); // it ran, as for any stranger, and is not shown
    const body = JSON.stringify({ text: "never" });
    const headers = { "content-type": "application/json" };
    equal(await refusal(fetch(`${gateway}/${shut}/greet`, { method: "POST", headers, body })), "TypeError"); // it did not run
    equal(await refusal(fetch(`${gateway}/nothing`)), "TypeError");
  },

  async refused_websocket({ gateway, shut }) {
    if (!shut) return;
    const socket = new WebSocket(gateway.replace("http", "ws") + `/${shut}/chat`);
    equal(await new Promise((resolve) => (socket.onopen = socket.onclose = (event) => resolve(event.type))), "close");
  },
};
