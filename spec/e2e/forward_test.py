#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The reverse proxy to an HTTP service elsewhere: what it passes on, both ways, and what it makes of backends that fail."""

import base64
import gzip
import hashlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import threading
import time
import unittest

import certificates
import deploying
import grpc
import harness
from deploying import core, registry
from harness import SLOW
from http_backend import Backend

NODE = """
const http = require("http");
const server = http.createServer((request, response) => {
  if (request.url === "/shop/pipe") return request.pipe(response);
  response.setHeader("Trailer", "x-sum");
  response.write("hello ");
  setTimeout(() => { response.write("node"); response.addTrailers({ "x-sum": "7" }); response.end(); }, 50);
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""

# RFC 8441: a WebSocket as a stream of HTTP/2.
SOCKET = """
const client = require("http2").connect(process.argv[1]);
client.on("remoteSettings", (settings) => {
  if (!settings.enableConnectProtocol) throw "no extended CONNECT";
  const stream = client.request({ ":method": "CONNECT", ":protocol": "websocket", ":path": "/shop/socket",
    "sec-websocket-version": "13" });
  let text = "";
  stream.on("response", (headers) => {
    console.log(headers[":status"], headers["sec-websocket-accept"]);
    stream.write("hello bye");
  });
  stream.on("data", (data) => { text += data; });
  stream.on("end", () => { console.log(text); client.close(); });
});
"""


class Forward(harness.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.p = deploying.Platform(cls.server)

    @classmethod
    def tearDownClass(cls):
        cls.p.close()
        super().tearDownClass()

    def backend(self, handler, **options):
        backend = Backend(handler, **options)
        self.addCleanup(backend.close)
        return backend

    def register(self, *addresses, name="shop", version="1", public=True, metadata=None, **http_options):
        nodes = [registry.Node(id=f"n{i}", address=a) for i, a in enumerate(addresses)]
        service = registry.Service(name=name, version=version, nodes=nodes, backend=core.HttpBackend(**http_options))
        answer = self.p.registry.Register(registry.RegisterRequest(service=service, public=public), timeout=20 * SLOW,
                                          metadata=metadata)
        self.addCleanup(self.leave, name, version)
        return answer

    def leave(self, name="shop", version="1"):
        try:
            self.p.call(self.p.registry.Deregister, registry.DeregisterRequest(name=name, version=version))
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def serve(self, handler, **options):
        """A backend registered as "shop"."""
        backend = self.backend(handler)
        self.register(backend.url, **options)
        return backend

    def fails(self, status, detail, path="/shop/x", method="GET", body=None, headers=None):
        answer = self.server.http(method, path, body, headers)
        self.assert_error(answer, status, "shop", detail)

    def read_answer(self, connection, length_of_head=1 << 16):
        data = b""
        while b"\r\n\r\n" not in data and len(data) < length_of_head:
            piece = connection.recv(4096)
            if not piece:
                break
            data += piece
        return data


def ok(request):
    request.answer("ok")


class Heads(Forward):
    """What the service is asked, and what the client is told."""

    def test_as_received(self):
        backend = self.serve(ok)
        for target in ("/shop/a%2Fb/%C3%A4/..x/c%20d?q=%2B+x&&=&r=/../", "/shop", "/shop?x", "/shop/", "/shop//a//b/",
                       "/shop/%00%ff", "/shop/a;b=c,d/!$&'()*+@:~"):
            self.assertEqual(self.server.http("GET", target).body, b"ok", target)
            self.assertEqual(backend.seen[-1].target, target)
        self.assert_error(self.server.http("GET", "/shopping"), 404)

    def test_strip_prefix(self):
        backend = self.serve(ok, strip_prefix=True)
        for target, seen in (("/shop/a%2Fb?c", "/a%2Fb?c"), ("/shop", "/"), ("/shop?x=/y", "/?x=/y"), ("/shop/", "/"),
                             ("/shop//evil.example/x", "//evil.example/x")):
            self.assertEqual(self.server.http("GET", target).body, b"ok")
            self.assertEqual(backend.seen[-1].target, seen)

    def test_odd_paths(self):
        backend = self.serve(ok, strip_prefix=True)
        for target in ("/shop/../shop/x", "/shop/a/../b", "/shop/%2e%2E/x", "/shop/.", "/shop/.%2e", "//shop/x", "/%73hop/x",
                       "/./shop/x", "/x/../shop/y"):
            self.assertIn(self.server.http("GET", target).status, (400, 404), target)
        self.assertEqual(backend.seen, [])

    def test_methods(self):
        backend = self.serve(ok)
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "TRACE"):
            body = b"some body" if method != "TRACE" else None
            self.assertEqual(self.server.http(method, "/shop/x", body).status, 200, method)
            self.assertEqual(backend.seen[-1].method, method)
        self.assertEqual(self.server.http("OPTIONS", "/other").status, 204)

    def test_headers_of_a_request(self):
        backend = self.serve(ok)
        self.server.http("GET", "/shop/x", headers={
            "Host": "localhost:1234", "X-One": "1", "Cookie": "a=b", "User-Agent": "me", "Accept-Encoding": "gzip",
            "Connection": "X-Hop, keep-alive", "X-Hop": "1", "Keep-Alive": "timeout=9", "TE": "trailers",
            "Proxy-Authorization": "Basic eDp5", "Authorization": "Bearer secret", "Forwarded": "for=1.2.3.4",
            "Mica-Account": "root", "Mica-Account-Scopes": "all", "Mica-Request-Id": "1", "Mica-Chain": "3",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        seen = backend.seen[-1]
        for name, value in (("host", "localhost:1234"), ("x-one", "1"), ("cookie", "a=b"), ("user-agent", "me"),
                            ("accept-encoding", "gzip"), ("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"),
                            ("x-forwarded-host", "localhost:1234"), ("mica-account", "admin"), ("mica-account-type", "user"),
                            ("mica-account-scopes", "admin"), ("mica-namespace", "mica"), ("mica-chain", "4"),
                            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")):
            self.assertEqual(seen.values(name), [value], name)
        self.assertRegex(seen.header("mica-request-id"), "^[0-9a-f]{16}$")
        for name in ("connection", "x-hop", "keep-alive", "te", "proxy-authorization", "authorization", "forwarded",
                     "transfer-encoding", "content-length"):
            self.assertEqual(seen.values(name), [], name)

    def test_where_it_comes_from(self):
        backend = self.serve(ok, credentials=True, backend_host=True)
        # A proxy on this machine is believed about who is behind it; a stranger (another host's name) has no account.
        self.server.http("GET", "/shop/x", headers={
            "Host": "shop.example", "X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "shop.example", "Authorization": "Basic eDp5"})
        seen = backend.seen[-1]
        self.assertEqual(seen.header("x-forwarded-for"), "10.1.1.1, 127.0.0.1")
        self.assertEqual(seen.header("x-forwarded-proto"), "https")
        self.assertEqual(seen.header("x-forwarded-host"), "shop.example")
        self.assertEqual(seen.header("host"), backend.address)
        self.assertEqual(seen.header("authorization"), "Basic eDp5")
        self.assertEqual(seen.values("mica-account"), [])

    def test_many_headers(self):
        backend = self.serve(lambda r: r.answer("ok", headers=[f"X-Back-{i}: {i}" for i in range(90)]))
        answer = self.server.http("GET", "/shop/x", headers={f"X-N-{i}": str(i) for i in range(90)})
        self.assertEqual([backend.seen[-1].header(f"x-n-{i}") for i in range(90)], [str(i) for i in range(90)])
        self.assertEqual([answer.headers[f"x-back-{i}"] for i in range(90)], [str(i) for i in range(90)])

    def test_headers_of_an_answer(self):
        self.serve(lambda r: r.answer("ok", "207 Multi-Status", [
            "Set-Cookie: a=1", "Set-Cookie: b=2", "X-Hop: 1", "Connection: x-hop", "Keep-Alive: timeout=9",
            "Proxy-Authenticate: Basic", "Location: http://elsewhere/", "ETag: \"1\""]))
        with self.server.connect() as connection:
            connection.sendall(b"GET /shop/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head = self.read_answer(connection).decode()
        self.assertTrue(head.startswith("HTTP/1.1 207 "), head)
        for line in ("set-cookie: a=1", "set-cookie: b=2", "location: http://elsewhere/", 'etag: "1"', "content-length: 2"):
            self.assertIn(line + "\r\n", head)
        for name in ("x-hop", "keep-alive", "proxy-authenticate", "connection"):
            self.assertNotIn(name + ":", head)

    def test_without_bodies(self):
        def handler(request):
            if request.target.endswith("204"):
                request.send("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n")
            elif request.target.endswith("304"):
                request.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n")
            else:
                request.answer("hello")
        backend = self.serve(handler)
        host, port = self.server.api.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        for method, path, status, length in (("HEAD", "/shop/x", 200, "5"), ("GET", "/shop/204", 204, None),
                                             ("GET", "/shop/304", 304, "99"), ("GET", "/shop/x", 200, "5")):
            connection.request(method, path)  # all on one connection: each ends where it should
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.getheader("content-length")), (status, length))
            self.assertEqual(answer.read(), b"hello" if method == "GET" and status == 200 else b"")
        connection.close()
        self.assertEqual(backend.connections, 1)

    def test_who_may(self):
        backend = self.serve(ok, public=False)
        self.assertEqual(self.server.http("GET", "/shop/x").status, 200)
        for headers in ({"Host": "shop.example"}, {"Origin": "http://shop.example"}, {"Mica-Namespace": "other"}):
            self.assertIn(self.server.http("GET", "/shop/x", headers=headers).status, (401, 404), headers)
        self.assertEqual(len(backend.seen), 1)

    def test_http2(self):
        backend = self.serve(lambda r: r.answer(r.body()))
        url = f"http://{self.server.api}/shop/x?y"
        flags = ("--http2-prior-knowledge", "-H", "Cookie: a=b", "-H", "Cookie: c=d")
        self.assertEqual(harness.curl(*flags, "-d", "hello", url), "hello")
        seen = backend.seen[-1]
        self.assertEqual((seen.target, seen.header("content-length")), ("/shop/x?y", "5"))
        self.assertEqual(seen.values("cookie"), ["a=b; c=d"])
        self.assertEqual(harness.curl(*flags, "--data-binary", "x" * 100000, url), "x" * 100000)
        self.assertEqual(harness.curl(*flags, url), "")
        self.assertEqual(backend.seen[-1].values("transfer-encoding"), [])


class Bodies(Forward):
    """Bytes both ways, as they come."""

    def test_lengths_and_chunks(self):
        backend = self.serve(lambda r: r.answer(r.body()))
        host, port = self.server.api.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        for body in (b"x", b"y" * 300000):
            connection.request("POST", "/shop/x", body)
            self.assertEqual(connection.getresponse().read(), body)
            self.assertEqual(backend.seen[-1].header("content-length"), str(len(body)))
            connection.request("PUT", "/shop/x", iter([body, b"z"]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
            self.assertEqual(connection.getresponse().read(), body + b"z")
            self.assertEqual(backend.seen[-1].header("transfer-encoding"), "chunked")
        connection.request("POST", "/shop/x")
        self.assertEqual(connection.getresponse().read(), b"")
        self.assertEqual(backend.seen[-1].header("content-length"), "0")
        connection.close()

    def test_content_codings(self):
        """What is compressed stays so, and nothing else is: encodings are between client and service."""
        text = b'{"a":"' + b"x" * 5000 + b'"}'
        backend = self.serve(lambda r: r.answer(text, headers=["Content-Type: application/json", 'ETag: "1"']))
        for coding, body in (("gzip", gzip.compress(text)), ("zstd", b"whatever"), ("gzip", b"damaged")):
            answer = self.server.http("POST", "/shop/x", body, {"Content-Encoding": coding, "Accept-Encoding": "gzip, br"})
            self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (200, text, '"1"'))
            self.assertNotIn("content-encoding", answer.headers)
            seen = backend.seen[-1]
            self.assertEqual((seen.header("content-encoding"), seen.header("content-length"), seen.content),
                             (coding, str(len(body)), body))

    def test_trailers(self):
        def handler(request):
            request.body()
            request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 9\r\n\r\n")
        backend = self.serve(handler)
        with self.server.connect() as connection:
            connection.sendall(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"5\r\nhello\r\n0\r\nX-In: 3\r\nContent-Length: 7\r\n\r\n")
            data = b""
            while not data.endswith(b"x-sum: 9\r\n\r\n"):
                piece = connection.recv(4096)
                self.assertTrue(piece, data)
                data += piece
        self.assertEqual(backend.seen[-1].trailers, [("x-in", "3")])

    def test_pieces_go_on_at_once(self):
        heard, said = threading.Event(), threading.Event()

        def handler(request):
            chunks = request.chunks()
            next(chunks)
            heard.set()
            request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            said.wait(10 * SLOW)
            for _ in chunks:
                pass
            request.send("4\r\nlast\r\n0\r\n\r\n")
        self.serve(handler)
        with self.server.connect() as connection:
            connection.sendall(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            self.assertTrue(heard.wait(10 * SLOW))
            data = b""
            while b"first" not in data:
                data += connection.recv(4096)
            said.set()
            connection.sendall(b"1\r\nb\r\n0\r\n\r\n")
            while b"last\r\n0\r\n\r\n" not in data:
                data += connection.recv(4096)

    def test_until_the_end(self):
        def handler(request):
            request.body()
            request.send("HTTP/1.0 200 OK\r\nX: y\r\n\r\nold")
            return False
        self.serve(handler)
        answer = self.server.http("GET", "/shop/x")
        self.assertEqual((answer.status, answer.body, answer.headers["x"]), (200, b"old", "y"))
        self.assertEqual(harness.curl("--http1.0", f"http://{self.server.api}/shop/x"), "old")

    def test_expectation(self):
        backend = self.serve(lambda r: r.answer(r.body()))
        with self.server.connect() as connection:
            connection.sendall(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            self.assertEqual(self.read_answer(connection), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.sendall(b"hi")
            self.assertIn(b" 200 OK\r\n", self.read_answer(connection))
        self.assertEqual(backend.seen[-1].values("expect"), [])

    def test_an_early_answer(self):
        def handler(request):
            request.send("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop")
            return False
        self.serve(handler)
        with self.server.connect() as connection:
            connection.sendall(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\nbegin")
            head = self.read_answer(connection)
        self.assertIn(b"HTTP/1.1 413 ", head)

    def much(self, size):
        """A request and an answer of `size` bytes, of which the other side takes nothing at first: the digests of both."""
        block = bytes(range(256)) * 256

        def handler(request):
            time.sleep(0.2)
            digest = hashlib.sha256()
            for piece in request.chunks():
                digest.update(piece)
            self.uploaded = digest.hexdigest()
            request.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
            for _ in range(size // len(block)):
                request.send(block)
        self.serve(handler)
        before = self.server.memory()
        most = before
        digest = hashlib.sha256()
        with self.server.connect() as connection:
            connection.settimeout(60 * SLOW)
            connection.sendall(f"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size // len(block)):
                connection.sendall(block)
            most = max(most, self.server.memory())
            time.sleep(0.2)
            most = max(most, self.server.memory())
            data = self.read_answer(connection)
            data = data[data.index(b"\r\n\r\n") + 4:]
            got = len(data)
            digest.update(data)
            while got < size:
                piece = connection.recv(1 << 20)
                self.assertTrue(piece)
                got += len(piece)
                digest.update(piece)
                most = max(most, self.server.memory()) if got % 64 == 0 else most
        expected = hashlib.sha256(block * (size // len(block))).hexdigest()
        self.assertEqual((self.uploaded, digest.hexdigest()), (expected, expected))
        return most - before

    def test_much_in_little_memory(self):
        self.assertLess(self.much(64 << 20), (24 << 20) * SLOW)

    @unittest.skipUnless(os.environ.get("HUGE"), "HUGE=1 spec/e2e/forward_test.py gigabyte")
    def test_a_gigabyte(self):
        print(f"# grew by {self.much(1 << 30) >> 20} MB")

    def test_both_ways_at_once(self):
        """An echo that stops reading when it cannot write: nothing may wait for the other side."""
        def handler(request):
            request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in request.chunks():
                request.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.send("0\r\n\r\n")
        self.serve(handler)
        size = 24 << 20
        out = subprocess.run(f"head -c {size} /dev/zero | curl -sS -m 60 -T - http://{self.server.api}/shop/x | wc -c",
                             shell=True, capture_output=True, text=True)
        self.assertEqual((out.stdout.strip(), out.stderr), (str(size), ""))

    def test_node(self):
        node = subprocess.Popen(["node", "-e", NODE], stdout=subprocess.PIPE, text=True)
        self.addCleanup(node.stdout.close)
        self.addCleanup(node.wait)
        self.addCleanup(node.kill)
        self.register("http://127.0.0.1:" + node.stdout.readline().strip())
        for _ in range(3):
            self.assertEqual(harness.curl(f"http://{self.server.api}/shop/x"), "hello node")
        body = "z" * 500000
        self.assertEqual(self.server.http("POST", "/shop/pipe", body).body, body.encode())


class Tunnels(Forward):
    KEY = base64.b64encode(b"0123456789abcdef").decode()

    def handler(self, request):
        if request.target.endswith("/no"):
            request.answer("no", "403 Forbidden")
            return
        digest = hashlib.sha1((request.header("sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        request.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n")
        request.send("greeting")
        try:
            while data := request.reader.read1(65536):
                request.send(data.upper())
                if data.endswith(b"e"):
                    return False
        except ConnectionError:
            pass  # the answer to the last piece finds nobody
        self.ended.set()
        return False

    def open(self, path="/shop/socket"):
        connection = self.server.connect()
        self.addCleanup(connection.close)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
                           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {self.KEY}\r\n\r\n".encode())
        return connection

    def until(self, connection, end):
        data = b""
        while not data.endswith(end):
            piece = connection.recv(65536)
            self.assertTrue(piece, data)
            data += piece
        return data

    def test_websocket(self):
        self.ended = threading.Event()
        backend = self.serve(self.handler)
        connection = self.open()
        head = self.until(connection, b"greeting").decode().lower()
        self.assertTrue(head.startswith("http/1.1 101 "), head)
        self.assertIn("upgrade: websocket\r\n", head)
        self.assertIn("sec-websocket-accept: bacsccjpnqyz+uboqmh89vmuroa=\r\n", head)
        self.assertEqual(backend.seen[-1].header("upgrade"), "websocket")
        connection.sendall(b"hello")
        self.until(connection, b"HELLO")
        connection.sendall(b"last")  # what was said before the end arrives
        connection.close()
        self.assertTrue(self.ended.wait(5 * SLOW))

        connection = self.open()  # what is sent before the answer has come belongs to the tunnel as well
        connection.sendall(b"x" * 200000 + b"bye")
        self.assertEqual(len(self.until(connection, b"BYE").split(b"greeting")[1]), 200003)
        self.assertEqual(connection.recv(10), b"")

    def test_over_http2(self):
        self.ended = threading.Event()
        self.serve(self.handler)
        done = subprocess.run(["node", "-e", SOCKET, f"http://{self.server.api}"], capture_output=True, text=True,
                              timeout=20 * SLOW)
        self.assertEqual(done.stdout, "200 undefined\ngreetingHELLO BYE\n", done.stderr)

    def test_refused(self):
        self.ended = threading.Event()
        self.serve(self.handler)
        connection = self.open("/shop/no")
        self.assertIn(b" 403 Forbidden\r\n", self.read_answer(connection))


# What a backend says, and what the gateway makes of it. Each breaks the rules of where an answer ends, or has no end.
HOSTILE = [
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("LF alone", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("garbage", "\x16\x03\x01\x02nonsense\r\n\r\n"),
    ("another protocol", "220 mail.example ESMTP\r\n"),
    ("HTTP/2", "HTTP/2 200\r\n\r\n"),
    ("a switch nobody asked for", "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"),
    ("status 999", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
    ("interim answers without end", "HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    ("headers without end", "HTTP/1.1 200 OK\r\n" + "X-More: and more\r\n" * 50000),
    ("one header without end", "HTTP/1.1 200 OK\r\nX: " + "y" * 1000000),
    ("nothing", ""),
    ("a piece of a head", "HTTP/1.1 200 OK\r\nContent-"),
]


class Faults(Forward):
    """Backends that are not there, late, broken or hostile."""

    args = ("--io", "1")  # one pool: connections are counted

    def test_hostile(self):
        current = [None]

        def handler(request):
            request.body()
            request.send(current[0])
            return False
        self.serve(handler)
        for what, says in HOSTILE:
            with self.subTest(what):
                current[0] = says.encode("latin-1")
                self.fails(502, "127.0.0.1:")
        current[0] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"ok")

    def test_two_answers_to_one_request(self):
        def handler(request):
            request.body()
            request.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
                         "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        self.serve(handler)
        for _ in range(5):
            self.assertEqual(self.server.http("GET", "/shop/x").body, b"first")

    def test_broken_off(self):
        def handler(request):
            request.body()
            request.send({"length": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
                          "chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                          "odd": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n"}[request.target[6:]])
            return False
        self.serve(handler)
        for how in ("length", "chunks", "odd"):
            with self.assertRaises(http.client.IncompleteRead) as caught:
                self.server.http("GET", "/shop/" + how)
            self.assertIn(caught.exception.partial, (b"half", b""))  # what came last may be lost with it
        done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", f"http://{self.server.api}/shop/chunks"],
                              capture_output=True)
        self.assertEqual(done.returncode, 92, done)  # HTTP/2 stream error

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = "127.0.0.1:%d" % listener.getsockname()[1]
        self.register("http://" + address)
        answer = self.server.http("GET", "/shop/x")
        self.assert_error(answer, 503, "shop", f"{address}.*connection refused")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.register("http://nobody.invalid:80", name="nobody")
        self.assert_error(self.server.http("GET", "/nobody/x"), 503, "nobody", "nobody.invalid")

    def test_late(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def handler(request):
            request.body()
            if request.target.endswith("/half"):
                request.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            release.wait(10 * SLOW)
            return False
        self.serve(handler, first_byte=0.3 * SLOW, idle=0.3 * SLOW)
        began = time.monotonic()
        self.fails(504, "127.0.0.1:.* did not answer in time")
        self.assertLess(time.monotonic() - began, 3 * SLOW)
        with self.assertRaises(http.client.IncompleteRead):
            self.server.http("GET", "/shop/half")
        with self.server.connect() as connection:  # a client that does not go on
            connection.sendall(b"POST /shop/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhal")
            self.assertIn(b" 408 Request Timeout\r\n", self.read_answer(connection))

    def test_several_addresses(self):
        one, two = self.backend(ok), self.backend(ok)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            dead = "http://127.0.0.1:%d" % listener.getsockname()[1]
        self.register(dead, one.url, two.url)
        host, port = self.server.api.rsplit(":", 1)
        for _ in range(30):
            self.assertEqual(self.server.http("POST", "/shop/x", b"y").status, 200)
        self.assertGreater(len(one.seen), 5)
        self.assertGreater(len(two.seen), 5)
        one.close()
        time.sleep(0.05)
        for _ in range(10):
            self.assertEqual(self.server.http("POST", "/shop/x", b"y").status, 200)

    def test_connections_are_kept(self):
        backend = self.serve(ok)
        for _ in range(20):
            self.server.http("POST", "/shop/x", b"y")
        self.assertEqual(backend.connections, 1)
        closing = self.backend(lambda r: r.answer("ok", headers=["Connection: close"]))
        self.register(closing.url, name="closing")
        for _ in range(5):
            self.assertEqual(self.server.http("GET", "/closing/x").body, b"ok")
        self.assertEqual(closing.connections, 5)

    def test_a_kept_connection_that_closes_under_a_request(self):
        def handler(request):
            if request.number > 1:
                request.body()
                return False  # the peer closes at that moment
            request.answer("ok")
        backend = self.serve(handler)
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"ok")
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"ok")  # made again, on another connection
        self.assertEqual(len(backend.seen), 3)
        self.fails(502, "broke the connection off", method="POST", body=b"once")
        self.assertEqual([r.method for r in backend.seen[3:]], ["POST"])

    def test_a_client_that_goes_away(self):
        gone = threading.Event()

        def handler(request):
            request.body()
            request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while True:
                    request.send("4\r\nmore\r\n")
                    time.sleep(0.01)
            finally:
                gone.set()
        self.serve(handler)
        with self.server.connect() as connection:
            connection.sendall(b"GET /shop/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(100)
        self.assertTrue(gone.wait(10 * SLOW))

    def test_many_at_once(self):
        backend = self.serve(lambda r: (time.sleep(0.02), r.answer("ok")))
        results = []

        def work():
            for _ in range(5):
                results.append(self.server.http("GET", "/shop/x").status)
        threads = [threading.Thread(target=work) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [200] * 200)
        self.assertLessEqual(backend.connections, 41)


class Registering(Forward):
    args = ("--io", "3")

    def test_command_line(self):
        backend = self.backend(ok)
        done = self.server.mica("register", "shop", backend.url + "/", "--strip-prefix", "--public", "--ttl", "1h")
        self.assertEqual((done.returncode, done.stdout), (0, f"shop@1  registered  {backend.url}/\n"), done.stderr)
        self.addCleanup(self.leave)
        self.assertEqual(self.server.http("GET", "/shop/x", headers={"Host": "shop.example"}).body, b"ok")
        self.assertEqual(backend.seen[-1].target, "/x")
        self.assertIn("shop", self.server.mica("services").stdout)
        self.assertIn("speaks HTTP", self.server.mica("describe", "shop").stderr)
        for args, text in ((("http://127.0.0.1:1", "127.0.0.1:2"), "of one kind"), (("ftp://127.0.0.1:1",), "no address"),
                           (("http://127.0.0.1:1/path",), "no address"), (("127.0.0.1:1", "--strip-prefix"), "--strip-prefix"),
                           (("http://127.0.0.1:1", "--descriptors", "x"), "--descriptors"),
                           (("http://127.0.0.1:1", "--ca", "x"), "--ca")):
            done = self.server.mica("register", "other", *args)
            self.assertEqual(done.returncode, 2, args)
            self.assertIn(text, done.stderr)

    def test_held(self):
        backend = self.backend(ok)
        held = subprocess.Popen(harness.launcher() + [str(harness.BINARY), "register", "shop", backend.url, "--public"],
                                env=harness.environment({"MICA_ADDRESS": self.server.proxy}), stdout=subprocess.PIPE, text=True)
        self.assertIn("registered", held.stdout.readline())
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"ok")
        held.kill()
        held.wait()
        held.stdout.close()
        end = time.monotonic() + 5 * SLOW
        while self.server.http("GET", "/shop/x").status != 404:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def test_kinds_and_versions(self):
        one, two = self.backend(lambda r: r.answer("one")), self.backend(lambda r: r.answer("two"))
        self.register(one.url)
        self.register(two.url, version="2")
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"two")
        self.assertEqual(self.server.http("GET", "/shop/x", headers={"Mica-Version": "1"}).body, b"one")
        self.leave(version="2")
        self.assertEqual(self.server.http("GET", "/shop/x").body, b"one")
        for nodes, options, text in (([one.address], {}, "registered as an HTTP service"), ([one.url, two.address], {}, "of one kind"),
                                     ([one.url], {"descriptors": b"x"}, "no contract"), (["http://a b"], {}, "is not HOST:PORT"),
                                     (["http://127.0.0.1:0"], {}, "is not HOST:PORT")):
            service = registry.Service(name="shop", version="1", nodes=[registry.Node(address=a) for a in nodes])
            with self.assertRaises(grpc.RpcError) as caught:
                self.p.registry.Register(registry.RegisterRequest(service=service, **options), timeout=20 * SLOW)
            self.assertIn(text, caught.exception.details())
        [shown] = self.p.call(self.p.registry.GetService, registry.GetServiceRequest(name="shop")).services
        self.assertEqual(shown.nodes[0].address, one.url)

    def test_changes_under_requests(self):
        go = threading.Event()

        def slow(request):
            request.body()
            request.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            go.wait(10 * SLOW)
            request.send("done")
        one, two = self.backend(slow), self.backend(lambda r: r.answer("two"))
        self.register(one.url)
        with self.server.connect() as connection:
            connection.sendall(b"GET /shop/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b""
            while b"half" not in data:
                data += connection.recv(4096)
            self.register(two.url)
            self.assertEqual(self.server.http("GET", "/shop/x").body, b"two")
            go.set()
            while b"done" not in data:
                piece = connection.recv(4096)
                self.assertTrue(piece)
                data += piece

    def test_https(self):
        authority = certificates.Authority()
        mine = authority.issue("/CN=backend")
        backend = self.backend(lambda r: r.answer(r.body()), tls=(mine.cert, mine.key))
        ca = pathlib.Path(authority.cert).read_text()
        self.register(backend.url, ca=ca)
        for _ in range(2):
            self.assertEqual(self.server.http("POST", "/shop/x", b"z" * 100000).body, b"z" * 100000)
        self.register(backend.url, name="untrusted")
        self.assert_error(self.server.http("GET", "/untrusted/x"), 503, "untrusted", "certificate")
        self.register(backend.url.replace("127.0.0.1", "127.0.0.2"), name="another")
        self.assertEqual(self.server.http("GET", "/another/x").status, 503)

    def test_counted(self):
        self.serve(lambda r: r.answer("x", "404 Not Found" if r.target.endswith("/no") else "200 OK"))
        self.register("http://127.0.0.1:1", name="away")
        for path in ("/shop/x", "/shop/y", "/shop/no", "/away/x"):
            self.server.http("GET", path)
        page = self.server.http("GET", "/metrics").body.decode()
        for service, code, count in (("shop", "NOT_FOUND", 1), ("away", "UNAVAILABLE", 1)):
            self.assertIn(f'mica_calls_total{{door="api",namespace="mica",service="{service}",endpoint="*",code="{code}"}} {count}\n',
                          page)


class Logged(Forward):
    @classmethod
    def setUpClass(cls):
        cls.file = harness.work_folder("access") / "log"
        cls.args = ("--access-log", str(cls.file), "--access-log-format", "json")
        super().setUpClass()

    def test_access_log(self):
        self.serve(lambda r: r.answer("hello", "404 Not Found"))
        self.server.http("GET", "/shop/a%2Fb?c")
        end = time.monotonic() + 5 * SLOW
        while "shop" not in self.file.read_text():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        [line] = [json.loads(line) for line in self.file.read_text().splitlines() if "shop" in line]
        self.assertEqual([line[name] for name in ("method", "path", "status", "bytes", "service", "endpoint")],
                         ["GET", "/shop/a%2Fb?c", 404, 5, "shop", "*"], line)


class Stopping(harness.Case):
    def test_requests_under_way_end(self):
        begun, go = threading.Event(), threading.Event()

        def slow(request):
            request.body()
            begun.set()
            go.wait(10 * SLOW)
            request.answer("late")
        results = []
        with Backend(slow) as backend, harness.Server() as server:
            done = server.mica("register", "shop", backend.url, "--public", "--ttl", "1h")
            self.assertEqual(done.returncode, 0, done.stderr)
            thread = threading.Thread(target=lambda: results.append(server.http("GET", "/shop/x")))
            thread.start()
            self.assertTrue(begun.wait(10 * SLOW))
            server.process.terminate()
            server.wait_log("stopping")
            time.sleep(0.1)
            go.set()
            thread.join()
            server.stop(ask=False)
        self.assertEqual((results[0].status, results[0].body), (200, b"late"))


if __name__ == "__main__":
    harness.main()
