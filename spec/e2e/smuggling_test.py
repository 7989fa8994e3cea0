#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Requests that two parsers might read differently, and paths that two of them might resolve differently: a table of bytes and
of what becomes of them. Each connection ends with the first doubtful request, and what an attacker has put behind it is not seen: the access
log tells which requests were.
"""

import itertools
import json
import re
import socket
import time

import harness
from harness import EXAMPLES, SLOW

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSED = None


def post(headers, body=b"", target=b"/helloworld", version=b"HTTP/1.1", host=b"Host: x\r\n"):
    return b"POST " + target + b" " + version + b"\r\n" + host + headers + b"\r\n" + body


def get(target, headers=b"Host: x\r\n"):
    return b"GET " + target + b" HTTP/1.1\r\n" + headers + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"

# Name, bytes, the status of the one answer. `HIDDEN` is what an attacker wants to be taken for a request.
REFUSED = [
    # Lengths.
    ("two lengths, equal", post(LENGTH + LENGTH, b"{}" + HIDDEN), 400),
    ("two lengths, different", post(LENGTH + b"Content-Length: 40\r\n", b"{}" + HIDDEN), 400),
    ("a list of lengths", post(b"Content-Length: 2, 2\r\n", b"{}" + HIDDEN), 400),
    ("a list of different lengths", post(b"Content-Length: 2,40\r\n", b"{}" + HIDDEN), 400),
    ("a length with a plus", post(b"Content-Length: +2\r\n", b"{}" + HIDDEN), 400),
    ("a length with a minus", post(b"Content-Length: -2\r\n", b"{}" + HIDDEN), 400),
    ("a length in hex", post(b"Content-Length: 0x2\r\n", b"{}" + HIDDEN), 400),
    ("a length with a unit", post(b"Content-Length: 2b\r\n", b"{}" + HIDDEN), 400),
    ("a length with a space inside", post(b"Content-Length: 2 2\r\n", b"{}" + HIDDEN), 400),
    ("a length in quotes", post(b'Content-Length: "2"\r\n', b"{}" + HIDDEN), 400),
    ("an empty length", post(b"Content-Length:\r\n", b"{}" + HIDDEN), 400),
    ("a length over 64 bits", post(b"Content-Length: 18446744073709551618\r\n", b"{}" + HIDDEN), 400),
    ("a length with a vertical tab", post(b"Content-Length: \x0b2\r\n", b"{}" + HIDDEN), 400),
    # Length and transfer-encoding.
    ("CL.TE", post(LENGTH + CHUNKED, b"0\r\n\r\n" + HIDDEN), 400),
    ("TE.CL", post(CHUNKED + LENGTH, b"0\r\n\r\n" + HIDDEN), 400),
    ("TE.CL with a length of zero", post(CHUNKED + b"Content-Length: 0\r\n", b"0\r\n\r\n" + HIDDEN), 400),
    ("TE.TE, twice", post(CHUNKED + CHUNKED, b"0\r\n\r\n" + HIDDEN), 400),
    ("TE.TE, one of them unknown", post(CHUNKED + b"Transfer-Encoding: cow\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("a list that ends with chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("a list that begins with chunked", post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("chunked twice in a list", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("an unknown encoding", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("identity", post(b"Transfer-Encoding: identity\r\n" + LENGTH, b"{}" + HIDDEN), (400, 501)),
    ("chunked in quotes", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("chunked behind a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("chunked before a vertical tab", post(b"Transfer-Encoding: chunked\x0b\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("chunked behind a form feed", post(b"Transfer-Encoding:\x0cchunked\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("chunked with a NUL", post(b"Transfer-Encoding: chunked\0\r\n", b"0\r\n\r\n" + HIDDEN), (400, 501)),
    ("an empty transfer-encoding", post(b"Transfer-Encoding:\r\n" + LENGTH, b"{}" + HIDDEN), (400, 501)),
    ("chunked in HTTP/1.0", post(CHUNKED, b"0\r\n\r\n" + HIDDEN, version=b"HTTP/1.0"), 400),
    # Lines.
    ("a space before the colon", post(b"Content-Length : 2\r\n", b"{}" + HIDDEN), 400),
    ("a tab before the colon", post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n" + HIDDEN), 400),
    ("a space before the name", post(b" Content-Length: 2\r\n", b"{}" + HIDDEN), 400),
    ("obs-fold", post(b"X: a\r\n b\r\n", HIDDEN), 400),
    ("obs-fold in transfer-encoding", post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n" + HIDDEN), 400),
    ("lines that end with LF", b"POST /helloworld HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}" + HIDDEN, 400),
    ("one line that ends with LF", post(b"X: a\n" + LENGTH, b"{}" + HIDDEN), 400),
    ("the head ends with LF", b"POST /helloworld HTTP/1.1\r\nHost: x\r\n\n" + HIDDEN, 400),
    ("a CR within a line", post(b"X: a\rContent-Length: 2\r\n", b"{}" + HIDDEN), 400),
    ("CR CR LF", post(b"X: a\r\r\n", HIDDEN), 400),
    ("a NUL in a value", post(b"X: a\0b\r\n", HIDDEN), 400),
    ("a NUL in a name", post(b"X\0: a\r\n", HIDDEN), 400),
    ("no name", post(b": a\r\n", HIDDEN), 400),
    ("no colon", post(b"nonsense\r\n", HIDDEN), 400),
    ("a name of odd bytes", post(b"Content\xad-Length: 2\r\n", b"{}" + HIDDEN), 400),
    ("a control in a value", post(b"X: \x01\r\n", HIDDEN), 400),
    # The request line.
    ("two hosts", post(b"Host: y\r\n", HIDDEN), 400),
    ("no host", post(b"", HIDDEN, host=b""), 400),
    ("a space before the method", b" GET /helloworld HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("a space behind the version", b"GET /helloworld HTTP/1.1 \r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("two spaces behind the target", b"GET /helloworld  HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("two spaces", b"GET  /helloworld HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("a tab", b"GET\t/helloworld HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("a space in the target", b"GET /hello world HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("something behind the version", b"GET /helloworld HTTP/1.1 x\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("HTTP/0.9", b"GET /helloworld\r\n\r\n" + HIDDEN, (400, 505)),
    ("HTTP/1.2", b"GET /helloworld HTTP/1.2\r\nHost: x\r\n\r\n" + HIDDEN, (400, 505)),
    ("HTTP/3.0", b"GET /helloworld HTTP/3.0\r\nHost: x\r\n\r\n" + HIDDEN, (400, 505)),
    ("HTTP/01.1", b"GET /helloworld HTTP/01.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("the name in lower case", b"GET /helloworld http/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("a method in lower case", b"get /helloworld HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, 400),
    ("a NUL in the target", get(b"/hello\0world") + HIDDEN, 400),
    ("bytes beyond ASCII in the target", get(b"/h\xc3\xa9") + HIDDEN, 400),
    ("no slash", get(b"helloworld") + HIDDEN, 400),
    ("another scheme", get(b"ftp://x/helloworld") + HIDDEN, 400),
    # Chunks.
    ("a size with a plus", post(CHUNKED, b"+2\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size with a minus", post(CHUNKED, b"-2\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size with 0x", post(CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size behind a space", post(CHUNKED, b" 2\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size before a space", post(CHUNKED, b"2 \r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size with an underscore", post(CHUNKED, b"1_0\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("no size", post(CHUNKED, b"\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size over 64 bits", post(CHUNKED, b"10000000000000002\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size of endless zeros", post(CHUNKED, b"0" * 300), 400),
    ("a long extension", post(CHUNKED, b"2;" + b"a" * 300), 400),
    ("a long extension in quotes", post(CHUNKED, b'2;a="' + b"a" * 300), 400),
    ("an LF in an extension", post(CHUNKED, b"2;a\nb\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a CR in an extension", post(CHUNKED, b"2;a\rb\r\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("a size that ends with LF", post(CHUNKED, b"2\n{}\r\n0\r\n\r\n" + HIDDEN), 400),
    ("content that ends with LF", post(CHUNKED, b"2\r\n{}\n0\r\n\r\n" + HIDDEN), 400),
    ("content without an end", post(CHUNKED, b"2\r\n{}0\r\n\r\n" + HIDDEN), 400),
    ("content that is longer", post(CHUNKED, b"2\r\n{}xx0\r\n\r\n" + HIDDEN), 400),
    ("the last size ends with LF", post(CHUNKED, b"2\r\n{}\r\n0\n\r\n" + HIDDEN), 400),
    ("the end is an LF", post(CHUNKED, b"2\r\n{}\r\n0\r\n\n" + HIDDEN), 400),
    ("trailers that end with LF", post(CHUNKED, b"2\r\n{}\r\n0\r\nX: a\n\r\n" + HIDDEN), 400),
    ("a folded trailer", post(CHUNKED, b"2\r\n{}\r\n0\r\nX: a\r\n b\r\n\r\n" + HIDDEN), 400),
    ("a trailer with a space before its colon", post(CHUNKED, b"2\r\n{}\r\n0\r\nX : a\r\n\r\n" + HIDDEN), 400),
    ("endless trailers", post(CHUNKED, b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 4000), 431),
    # Sizes.
    ("a long request line", get(b"/" + b"a" * 20000) + HIDDEN, 414),
    ("a long header", post(b"X: " + b"a" * 20000 + b"\r\n", HIDDEN), 431),
    ("very many headers", post(b"".join(b"X-%d: a\r\n" % i for i in range(200)), HIDDEN), 431),
    ("an unknown expectation", post(b"Expect: 200-maybe\r\n" + LENGTH, b"{}" + HIDDEN), 417),
    # HTTP/2's preface on the way of HTTP/1.
    ("a preface of another version", b"PRI * HTTP/1.1\r\nHost: x\r\n\r\nSM\r\n\r\n" + HIDDEN, 400),
    ("a broken preface", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + HIDDEN, (400, 505)),
    ("a preface behind a request", get(b"/health") + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [200, (400, 505)]),
]

# What is fine: the statuses of all answers.
TAKEN = [
    ("two requests", post(LENGTH, b"{}") + get(b"/health"), [200, 200]),
    ("an empty line before a request", b"\r\n" + get(b"/health"), [200]),
    ("empty lines between requests", get(b"/health") + b"\r\n\r\n" + get(b"/health"), [200, 200]),
    ("chunks", post(CHUNKED, b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n") + get(b"/health"), [200, 200]),
    ("a size with zeros", post(CHUNKED, b"0002\r\n{}\r\n000\r\n\r\n") + get(b"/health"), [200, 200]),
    ("a size in either case", post(CHUNKED, b'1a\r\n{"name":"0123456789abcdef"\r\n1A\r\n                          \r\n1\r\n}\r\n0\r\n\r\n'), [200]),
    ("a short extension", post(CHUNKED, b'2;a=b\r\n{}\r\n0\r\n\r\n') + get(b"/health"), [200, 200]),
    ("trailers", post(CHUNKED, b"2\r\n{}\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n") + get(b"/health"), [200, 200]),
    ("Chunked", post(b"TRANSFER-encoding: ChunKed\r\n", b"2\r\n{}\r\n0\r\n\r\n") + get(b"/health"), [200, 200]),
    ("zeros before a length", post(b"Content-Length: 002\r\n", b"{}") + get(b"/health"), [200, 200]),
    ("spaces around a length", post(b"Content-Length:   2 \r\n", b"{}") + get(b"/health"), [200, 200]),
    ("a body of GET", get(b"/helloworld", b"Host: x\r\n" + LENGTH) + b"{}" + get(b"/health"), [200, 200]),
    ("HTTP/1.0", b"GET /health HTTP/1.0\r\n\r\n" + HIDDEN, [200]),
    ("HTTP/1.0, kept", b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get(b"/health"), [200, 200]),
    ("close", get(b"/health", b"Host: x\r\nConnection: close\r\n") + HIDDEN, [200]),
    ("Close among others", get(b"/health", b"Host: x\r\nConnection: foo, Close\r\n") + HIDDEN, [200]),
    ("an absolute target", get(b"http://other/health"), [200]),
    ("an absolute target without a path", get(b"http://other"), [200]),
    ("OPTIONS *", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [204]),
    ("an authority of CONNECT", b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\n\r\n", [(400, 404, 405)]),
    ("an upgrade that is not offered", get(b"/health", b"Host: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n") + get(b"/health"), [200, 200]),
]

# Paths: what is asked for, the status. /helloworld is there, /smuggled is not.
PATHS = [
    (b"/helloworld/", 200), (b"//helloworld", 200), (b"/./helloworld", 200), (b"/x/../helloworld", 200), (b"/../../helloworld", 200),
    (b"/%68elloworld", 200), (b"/x/%2e%2e/helloworld", 200), (b"/x/.%2e/helloworld", 200), (b"/helloworld?a=/../b", 400),
    (b"/helloworld%2fcall", 400), (b"/helloworld%2Fcall", 400), (b"/..%2fhelloworld", 400), (b"/hello%00world", 400),
    (b"/helloworld%00", 400), (b"/helloworld%5ccall", 404), (b"/helloworld\\call", 404), (b"/..%5chelloworld", 404),
    (b"/%252e%252e/helloworld", 404), (b"/%25%32%66helloworld", 404), (b"/helloworld%252fcall", 404), (b"/%c0%ae%c0%ae/helloworld", 400), (b"/%c0%afhelloworld", 400),
    (b"/%e0%80%afhelloworld", 400), (b"/%ed%a0%80", 400), (b"/%ff", 400), (b"/helloworld;a=b", 404), (b"/helloworld;/call", 404), (b"/x;/../helloworld", 200),
    (b"/helloworld%", 404), (b"/helloworld%2", 404), (b"/helloworld%zz", 404), (b"/helloworld#call", 400), (b"/" + b"../" * 3000 + b"helloworld", 200),
    (b"/" + b"a/" * 5000, 404), (b"/.", 404), (b"/..", 404), (b"/%2e", 404),
]  # fmt: skip


def answers(data):
    """The statuses of all answers in what came back."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


class Smuggling(harness.Case):
    services = [EXAMPLES / "helloworld"]

    @classmethod
    def setUpClass(cls):
        cls.access = harness.work_folder("access") / "log"
        cls.args = ["--access-log", str(cls.access), "--access-log-format", "json"]
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        paths = [json.loads(line)["path"] for line in cls.access.read_text().splitlines()]
        assert len(paths) > len(TAKEN) + len(PATHS), len(paths)
        assert "/smuggled" not in paths

    places = itertools.count(256)

    def connect(self):
        """From an address of its own: who was thrown out waits when it comes back."""
        n = next(self.places)
        host, port = self.server.api.split(":")
        connection = socket.create_connection((host, int(port)), 10 * SLOW, (f"127.0.{n // 250}.{n % 250 + 1}", 0))
        self.addCleanup(connection.close)
        return connection

    def statuses(self, data, expected):
        """Sends bytes; the statuses of all answers, and whether the connection was closed."""
        connection = self.connect()
        try:
            connection.sendall(data)
        except OSError:
            pass  # it was closed before all was taken: what was answered can still be read
        got, found = b"", []
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                return found, True
            except socket.timeout:
                break
            if not piece:
                return found, True
            got += piece
            found = answers(got)
            if expected is not None and len(found) >= expected:
                connection.settimeout(0.02 * SLOW)
                expected = len(found) + 1
        return found, False

    def check(self, found, expected):
        self.assertEqual(len(found), len(expected), (found, expected))
        for status, wanted in zip(found, expected):
            self.assertIn(status, wanted if isinstance(wanted, tuple) else (wanted,))

    def test_refused(self):
        for name, data, expected in REFUSED:
            with self.subTest(name):
                found, closed = self.statuses(data, None)
                self.assertTrue(closed)
                self.check(found, expected if isinstance(expected, list) else [expected])

    def test_taken(self):
        for name, data, expected in TAKEN:
            with self.subTest(name):
                found, _ = self.statuses(data, len(expected))
                self.check(found, expected)

    def test_in_pieces(self):
        """The same where the bytes come one by one."""
        for name, data, expected in REFUSED + TAKEN:
            if len(data) > 400:
                continue
            with self.subTest(name):
                found = self.one_by_one(data)
                self.check(found, expected if isinstance(expected, list) else [expected])

    def one_by_one(self, data):
        connection = self.connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for i in range(len(data)):
                connection.sendall(data[i:i + 1])
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        got = b""
        try:
            while piece := connection.recv(65536):
                got += piece
        except OSError:
            pass
        return answers(got)

    def test_paths(self):
        for path, expected in PATHS:
            with self.subTest(path=path):
                found, _ = self.statuses(get(path), 1)
                self.check(found, [expected])


if __name__ == "__main__":
    harness.main()
