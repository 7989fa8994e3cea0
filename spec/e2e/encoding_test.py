#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compressed answers and compressed requests at the api door, over HTTP/1.1 and HTTP/2."""

import gzip
import json
import re
import subprocess
import time
import zlib

import harness
from harness import SERVICES, SLOW

NAME = "Ada Lovelace, " * 300
SLOWLY = """
local mica = require "mica"
local Slowly = {}
function Slowly.Count(_, req, stream)
  for i = 1, req.n do
    stream:send { n = i }
    mica.sleep(req.pause)
  end
end
function Slowly.Echo(_, req) return req end
return mica.service { handlers = { Slowly = Slowly }, public = true }
"""
PROTO = """syntax = "proto3";
package slowly;
service Slowly {
  rpc Count(Request) returns (stream Number);
  rpc Echo(Text) returns (Text);
}
message Request { int32 n = 1; double pause = 2; }
message Number { int32 n = 1; }
message Text { string text = 1; }
"""


def brotli(data, *args):
    return subprocess.run(["brotli", "-c", *args], input=data, capture_output=True, check=True).stdout


class Encoding(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.services = [harness.write_service(harness.work_folder("slowly"), "slowly", PROTO, SLOWLY), SERVICES / "probe"]
        super().setUpClass()

    def ask(self, text, accept=None, method="POST", **headers):
        extra = {} if accept is None else {"Accept-Encoding": accept}
        extra.update((key.replace("_", "-"), value) for key, value in headers.items())
        return self.server.http(method, "/slowly/echo", {"text": text}, extra)

    def test_by_what_the_caller_accepts(self):
        for accept, encoding, decode in (
                ("gzip", "gzip", gzip.decompress), ("br", "br", lambda data: brotli(data, "-d")), ("gzip, deflate, br", "br", None),
                ("br;q=0.1, gzip;q=0.2", "gzip", gzip.decompress), ("*", "br", None), ("identity", None, bytes), ("gzip;q=0", None, bytes),
                (None, None, bytes), ("zstd", None, bytes)):
            with self.subTest(accept=accept):
                answer = self.ask(NAME, accept)
                self.assertEqual(answer.headers.get("content-encoding"), encoding)
                self.assertEqual(answer.headers["vary"], "accept-encoding")
                self.assertEqual("content-length" in answer.headers, encoding is None)
                if decode:
                    self.assertEqual(json.loads(decode(answer.body)), {"text": NAME})
                if encoding:
                    self.assertLess(len(answer.body), len(NAME) // 4)

    def test_short_answers_are_left_alone(self):
        answer = self.ask("short", "gzip, br")
        self.assertNotIn("content-encoding", answer.headers)
        self.assertNotIn("vary", answer.headers)

    def test_grpc_is_left_alone(self):
        out = harness.curl("--http2-prior-knowledge", "-i", "-H", "content-type: application/grpc", "-H", "te: trailers", "-H",
                           "accept-encoding: gzip", "--data-binary", "@/dev/null", f"http://{self.server.api}/slowly.Slowly/Echo")
        self.assertNotIn("content-encoding", out)

    def test_head_says_the_same(self):
        answer = self.server.http("HEAD", f"/slowly/echo?text={'a' * 3000}", headers={"Accept-Encoding": "gzip"})
        self.assertEqual((answer.status, answer.headers["content-encoding"], answer.body), (200, "gzip", b""))

    def test_large_answers_over_both(self):
        text = "".join(chr(65 + i * i % 57) for i in range(1_500_000))
        body = harness.work_folder("large") / "body"
        body.write_text(json.dumps({"text": text}))
        for version in ("--http1.1", "--http2-prior-knowledge"):
            for accept in ("gzip", "br"):
                with self.subTest(version=version, accept=accept):
                    raw = subprocess.run(["curl", "-sS", version, "-H", f"accept-encoding: {accept}", "-H", "content-type: application/json",
                                          "--data-binary", f"@{body}", f"http://{self.server.api}/slowly/echo"], capture_output=True,
                                         check=True, timeout=30 * SLOW).stdout
                    self.assertLess(len(raw), len(text) / 2)
                    self.assertEqual(json.loads(gzip.decompress(raw) if accept == "gzip" else brotli(raw, "-d"))["text"], text)

    def test_http_1_0_gets_it_as_it_is(self):
        body = json.dumps({"text": NAME}).encode()
        with self.server.connect() as connection:
            connection.sendall(b"POST /slowly/echo HTTP/1.0\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            got = b""
            while piece := connection.recv(65536):
                got += piece
        self.assertNotIn(b"content-encoding", got)
        self.assertIn(NAME.encode(), got)

    def test_each_message_of_a_stream_at_once(self):
        """A line can be read when it was sent, though the answer goes on."""
        pause = 0.3 * SLOW
        body = json.dumps({"n": 3, "pause": pause}).encode()
        with self.server.connect() as connection:
            connection.sendall(b"POST /slowly/count HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(body), body))
            reader = connection.makefile("rb")
            head = b""
            while (line := reader.readline()) != b"\r\n":
                head += line
            self.assertIn(b"content-encoding: gzip\r\n", head)
            unpack, text, began, times = zlib.decompressobj(31), b"", time.monotonic(), []
            while size := int(reader.readline(), 16):
                text += unpack.decompress(reader.read(size + 2)[:-2])
                while text.count(b"\n") > len(times):
                    times.append(time.monotonic() - began)
        self.assertEqual([json.loads(line) for line in text.splitlines()], [{"n": 1}, {"n": 2}, {"n": 3}])
        self.assertLess(times[0], pause)
        self.assertGreater(times[2] - times[0], pause * 1.5)

    def test_requests(self):
        data = json.dumps({"text": NAME}).encode()
        bare = zlib.compressobj(wbits=-15)
        for name, body in (("gzip", gzip.compress(data)), ("x-gzip", gzip.compress(data)), ("GZIP", gzip.compress(data)),
                           ("deflate", zlib.compress(data)), ("deflate", bare.compress(data) + bare.flush()), ("br", brotli(data)),
                           ("identity", data), ("gzip", gzip.compress(data[:10]) + gzip.compress(data[10:]))):
            with self.subTest(encoding=name):
                answer = self.server.http("POST", "/slowly/echo", body, {"Content-Encoding": name, "Content-Type": "application/json"})
                self.assertEqual((answer.status, answer.json), (200, {"text": NAME}))

    def test_large_requests_over_both(self):
        text = "".join(chr(65 + i * i % 57) for i in range(1_500_000))
        body = harness.work_folder("large") / "body"
        body.write_bytes(gzip.compress(json.dumps({"text": text}).encode()))
        for version in ("--http1.1", "--http2-prior-knowledge"):
            with self.subTest(version=version):
                out = harness.curl(version, "-H", "content-encoding: gzip", "-H", "content-type: application/json", "--data-binary",
                                   f"@{body}", f"http://{self.server.api}/slowly/echo")
                self.assertEqual(json.loads(out)["text"], text)

    def test_requests_that_cannot_be_read(self):
        whole = gzip.compress(json.dumps({"text": NAME}).encode())
        for name, body, status, detail in (
                ("zstd", b"x", 415, "content-encoding is not understood"), ("gzip, gzip", whole, 415, "content-encoding is not understood"),
                ("gzip", b"{}", 400, "not what its content-encoding says"), ("gzip", whole[:-5], 400, "not what its content-encoding says"),
                ("gzip", whole + b"more", 400, "not what its content-encoding says"), ("br", b"{}", 400, "not what its content-encoding says"),
                ("deflate", b"\xff", 400, "not what its content-encoding says")):
            with self.subTest(encoding=name, body=body[:10]):
                answer = self.server.http("POST", "/slowly/echo", body, {"Content-Encoding": name, "Content-Type": "application/json"})
                self.assert_error(answer, status, None, detail)
                if status == 415:
                    self.assertEqual(answer.headers["accept-encoding"], "gzip, br, deflate")

    def test_bombs(self):
        """What is unfolded is bounded by the limit of a body, whatever it would have been."""
        bomb = gzip.compress(b" " * 60_000_000, 1)
        for name, body in (("gzip", bomb), ("br", brotli(b" " * 20_000_000)), ("gzip", gzip.compress(bomb))):
            before = self.server.memory()
            answer = self.server.http("POST", "/slowly/echo", body, {"Content-Encoding": name, "Content-Type": "application/json"})
            self.assertIn(answer.status, (413, 400), answer)
            if not harness.SANITIZER:
                self.assertLess(self.server.memory() - before, 16 * 1024 * 1024)

    def test_others_are_served_while_much_is_compressed(self):
        """Long answers are compressed in slices, and at most half of a loop's time goes to it: the rest goes as it is."""
        body = harness.work_folder("busy") / "body"
        body.write_text(json.dumps({"text": "".join(chr(65 + i * i % 57) for i in range(300_000))}))
        load = subprocess.Popen(["h2load", "-n", str(200 // SLOW), "-c", "8", "-m", "1", "--h1", "-d", str(body), "-H", "accept-encoding: gzip",
                                 "-H", "content-type: application/json", f"http://{self.server.api}/slowly/echo"],
                                stdout=subprocess.PIPE, text=True)
        slowest = 0
        while load.poll() is None:
            began = time.monotonic()
            self.assertEqual(self.server.http("GET", "/health").status, 200)
            slowest = max(slowest, time.monotonic() - began)
        self.assertRegex(load.communicate()[0], r"\d+ succeeded, 0 failed, 0 errored")
        self.assertLess(slowest, 1 * SLOW)


class Off(harness.Case):
    services = [SERVICES / "probe"]
    args = ["--compress-min", "0"]

    def test_nothing_is_compressed(self):
        answer = self.server.post("/probe/some", {"n": 3}, {"Accept-Encoding": "gzip"})
        self.assertNotIn("content-encoding", answer.headers)
        self.assertNotIn("vary", answer.headers)
        self.assertTrue(re.match(b'{"n":"1"}', answer.body))


if __name__ == "__main__":
    harness.main()
