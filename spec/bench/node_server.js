// SPDX-License-Identifier: Apache-2.0
// The greeting as JSON over HTTP with node's own server, for comparison.
"use strict";
const http = require("http");

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = JSON.stringify({ message: "Hello " + JSON.parse(Buffer.concat(parts).toString()).name });
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
});
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1", () => console.log("ready", server.address().port));
