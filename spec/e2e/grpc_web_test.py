#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""gRPC-Web by hand: frames and text over HTTP/1.1 and HTTP/2, and what is wrong with them. browser_test.py has a real client."""

import base64
import http.client
import re
import socket
import struct
import time

import harness
import raw_http2
from harness import EXAMPLES, SERVICES, SLOW

pb, _ = harness.stubs(SERVICES / "wire/proto/wire.proto")
PATH = "/wire.Wire/"
BINARY, TEXT = "application/grpc-web+proto", "application/grpc-web-text"
OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = 0, 3, 4, 8, 12, 13, 16


def frame(message):
    return raw_http2.grpc_frame(message.SerializeToString())


def from_text(data):
    """Pieces that were encoded by themselves: padding may be at the end of any group."""
    assert len(data) % 4 == 0, data
    return b"".join(base64.b64decode(piece, validate=True) for piece in re.findall(rb"[^=]+=*", data))


class Answer:
    """What came: HTTP's status and headers, the messages, and the trailers (of the last frame, or of the headers alone)."""

    def __init__(self, http_status, fields, body):
        self.http, self.fields = http_status, [(k.lower(), v) for k, v in fields]
        self.type = self.field("content-type")
        if self.type and self.type.startswith(TEXT):
            body = from_text(body)
        self.messages, self.trailers, at = [], [], 0
        while at < len(body):
            assert not self.trailers, "something follows the trailers"
            flags, length = struct.unpack_from(">BI", body, at)
            content = body[at + 5:at + 5 + length]
            assert len(content) == length, "a frame is cut off"
            at += 5 + length
            if flags == 0x80:
                lines = content.decode().split("\r\n")
                assert lines.pop() == "", content
                self.trailers = [tuple(line.split(": ", 1)) for line in lines]
            else:
                assert flags == 0, flags
                self.messages.append(content)
        self.only_head = not body
        if self.only_head:
            self.trailers = self.fields

    def field(self, name):
        return next((v for k, v in self.fields if k == name), None)

    def trailer(self, name):
        return next((v for k, v in self.trailers if k == name), None)

    @property
    def status(self):
        text = self.trailer("grpc-status")
        return None if text is None else int(text)

    def read(self, kind):
        return [kind.FromString(m) for m in self.messages]


class Web(harness.Case):
    services = [SERVICES / "wire", SERVICES / "closed", EXAMPLES / "helloworld"]
    args = ["--max-message", "100KB"]

    # ---- both versions of HTTP: (address, path, type, pieces of the body, further headers) -> Answer

    def over_http1(self, address, path, kind, pieces, fields=()):
        host, port = address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * SLOW)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.putrequest("POST", path)
        for name, value in [("content-type", kind), ("x-grpc-web", "1"), ("transfer-encoding", "chunked"), *fields]:
            connection.putheader(name, value)
        connection.endheaders()
        for piece in filter(None, pieces):
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return Answer(response.status, response.getheaders(), body)

    def over_http2(self, address, path, kind, pieces, fields=()):
        with raw_http2.connect(address, timeout=20 * SLOW) as c:
            sid = c.request(path, [("x-grpc-web", "1"), *fields], content_type=kind, te=None)
            for piece in filter(None, pieces):
                c.data(sid, piece)
            if not c.streams[sid].ended:
                c.end(sid)
            got = c.answer(sid)
            self.assertIsNone(got.trailers, "gRPC-Web has no trailers of HTTP")
            return Answer(int(got.header(":status")), got.headers[1:], bytes(got.data))

    def ways(self):
        return [(send, kind) for send in (self.over_http1, self.over_http2) for kind in (BINARY, TEXT)]

    def call(self, send, kind, method, message, fields=()):
        body = frame(message)
        return send(self.server.api, PATH + method, kind, [base64.b64encode(body) if kind == TEXT else body], fields)

    # ---- what goes well

    def test_unary(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "Echo", pb.Item(mark="a", data=bytes(range(256))))
            self.assertEqual((got.http, got.type, got.status), (200, kind, OK))
            self.assertEqual(got.read(pb.Item), [pb.Item(mark="a", data=bytes(range(256)))])
            self.assertFalse(got.only_head)

    def test_empty_message(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "Echo", pb.Item())
            self.assertEqual((got.messages, got.status), ([b""], OK))

    def test_lengths(self):
        for send, kind in self.ways():
            for n in [*range(1, 8), 1016, 1017, 1018, 1019, 90000]:
                got = self.call(send, kind, "Echo", pb.Item(data=b"x" * n))
                self.assertEqual([len(m.data) for m in got.read(pb.Item)], [n])

    def test_server_stream(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "Flood", pb.FloodRequest(mark="web", count=100, size=1000))
            self.assertEqual(([len(m.data) for m in got.read(pb.Item)], got.status), ([1000] * 100, OK))
            got = self.call(send, kind, "Flood", pb.FloodRequest(mark="none", count=0))
            self.assertEqual((got.http, got.messages, got.status), (200, [], OK))

    def test_slow_reader_of_a_stream(self):
        """32 MB in items: flow control reaches from the reader to the service."""
        for send, kind in self.ways():
            got = self.call(send, kind, "Flood", pb.FloodRequest(mark="big", count=80, size=50000))
            self.assertEqual((len(got.messages), got.status), (80, OK))

    def test_client_stream_in_one_body(self):
        """Two-way streams work as far as the caller can say all before it listens."""
        pings = b"".join(raw_http2.grpc_frame(bytes([8, n])) for n in range(1, 6))
        for send, kind in self.ways():
            body = base64.b64encode(pings) if kind == TEXT else pings
            got = send(self.server.api, "/helloworld.Helloworld/PingPong", kind, [body])
            self.assertEqual((got.messages, got.status), ([bytes([8, n]) for n in range(1, 6)], OK))

    def test_metadata(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "Metadata", pb.Keys(keys=["x-a", "x-b-bin"]),
                            [("x-a", "plain"), ("x-b-bin", base64.b64encode(b"\0\xff").decode()), ("grpc-timeout", "30S")])
            values = got.read(pb.Values)[0]
            self.assertEqual([list(v.hex) for v in values.values], [[b"plain".hex()], ["00ff"]])
            self.assertTrue(0 < values.remaining <= 30)
            self.assertEqual([v for k, v in got.fields if k == "x-twice"], ["one", "two"])
            self.assertEqual(base64.b64decode(got.field("x-raw-bin") + "=="), b"\0\1\xff")
            self.assertEqual((got.trailer("x-end"), base64.b64decode(got.trailer("x-end-bin") + "==")), ("last", b"\xfe"))

    def test_pieces(self):
        """The caller's text may be encoded and cut anywhere."""
        message = pb.Item(mark="pieces", data=bytes(range(200)))
        body = frame(message)
        whole = base64.b64encode(body)
        encoded = {
            "whole": [whole], "characters": [whole[i:i + 1] for i in range(len(whole))],
            "threes": [whole[i:i + 3] for i in range(0, len(whole), 3)],
            "fives": [whole[i:i + 5] for i in range(0, len(whole), 5)],
            "padded bytes": [base64.b64encode(body[i:i + 1]) for i in range(len(body))],
            "padded sevens": [b"".join(base64.b64encode(body[i:i + 7]) for i in range(0, len(body), 7))],
            "head by itself": [base64.b64encode(body[:5]), base64.b64encode(body[5:])],
        }
        for name, send in (("HTTP/1.1", self.over_http1), ("HTTP/2", self.over_http2)):
            for how, pieces in encoded.items():
                with self.subTest(version=name, how=how):
                    got = send(self.server.api, PATH + "Echo", TEXT, pieces)
                    self.assertEqual((got.status, got.read(pb.Item)), (OK, [message]))

    def test_types(self):
        text = base64.b64encode(frame(pb.Item(mark="t")))
        for kind, accept, answers in [("application/grpc-web", None, "application/grpc-web"),
                                      ("application/grpc-web+proto; charset=x", None, BINARY),
                                      ("Application/gRPC-Web", None, "application/grpc-web"),
                                      ("application/grpc-web-text+proto", None, "application/grpc-web-text+proto"),
                                      (BINARY, TEXT, TEXT), (TEXT, BINARY, BINARY), (BINARY, "*/*", BINARY),
                                      (BINARY, "application/grpc-web+json", BINARY)]:
            with self.subTest(kind=kind, accept=accept):
                body = text if "text" in kind else frame(pb.Item(mark="t"))
                got = self.over_http1(self.server.api, PATH + "Echo", kind, [body], [("accept", accept)] if accept else [])
                self.assertEqual((got.type, got.status, got.read(pb.Item)), (answers, OK, [pb.Item(mark="t")]))
        got = self.over_http1(self.server.api, PATH + "Echo", "application/grpc-web+json",
                              [raw_http2.grpc_frame(b'{"mark":"j"}')])
        self.assertEqual((got.status, b'"mark":"j"' in got.messages[0]), (OK, True))

    def test_proxy_door(self):
        for send, kind in self.ways():
            body = frame(pb.Item(mark="p"))
            got = send(self.server.proxy, PATH + "Echo", kind, [base64.b64encode(body) if kind == TEXT else body])
            self.assertEqual((got.status, got.read(pb.Item)), (OK, [pb.Item(mark="p")]))

    def test_connection_is_kept(self):
        host, port = self.server.api.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=20 * SLOW)
        for mark, path in (("one", "Echo"), ("two", "Nothing"), ("three", "Echo")):
            connection.request("POST", PATH + path, frame(pb.Item(mark=mark)), {"content-type": BINARY})
            response = connection.getresponse()
            got = Answer(response.status, response.getheaders(), response.read())
            self.assertEqual(got.status, OK if path == "Echo" else UNIMPLEMENTED)
            local = connection.sock.getsockname() if mark == "one" else local
            self.assertEqual(connection.sock.getsockname(), local)
        connection.close()

    # ---- what does not

    def test_errors(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "Fail", pb.FailRequest(code="NOT_FOUND", text="ä\n%", details=True))
            self.assertEqual((got.http, got.status, got.only_head), (200, 5, True))
            self.assertEqual(got.trailer("grpc-message"), "%C3%A4%0A%25")
            self.assertTrue(got.trailer("grpc-status-details-bin") and got.trailer("mica-request-id"))

    def test_error_after_a_message(self):
        for send, kind in self.ways():
            got = self.call(send, kind, "FailStream", pb.FailRequest(code="ABORTED", text="late"))
            self.assertEqual([m.mark for m in got.read(pb.Item)], ["before"])
            self.assertEqual((got.status, got.trailer("grpc-message"), got.trailer("x-end")), (10, "late", "failed"))

    def test_refusals(self):
        for send, kind in self.ways():
            for path, fields, status in [("/wire.Wire/Nothing", (), UNIMPLEMENTED), ("/nothing", (), UNIMPLEMENTED),
                                         (PATH + "Echo", [("grpc-timeout", "x")], INVALID_ARGUMENT),
                                         (PATH + "Echo", [("grpc-encoding", "br")], UNIMPLEMENTED),
                                         (PATH + "Echo", [("mica-namespace", "A B")], INVALID_ARGUMENT)]:
                got = send(self.server.api, path, kind, [b""], fields)
                self.assertEqual((got.http, got.status, got.only_head), (200, status, True), path)

    def test_deadline(self):
        for send, kind in self.ways():
            began = time.monotonic()
            got = self.call(send, kind, "Deep", pb.DeepRequest(mark="late"), [("grpc-timeout", "100m")])
            self.assertEqual(got.status, DEADLINE_EXCEEDED)
            self.assertLess(time.monotonic() - began, 5 * SLOW)

    def test_who_asks(self):
        """From this machine an administrator; but not for pages of other sites, nor by another name of this machine."""
        own = "http://" + self.server.api
        for send, kind in self.ways():
            for fields, status in [((), OK), ([("origin", own)], OK), ([("origin", own), ("sec-fetch-site", "same-origin")], OK),
                                   ([("origin", "https://evil.example")], UNAUTHENTICATED), ([("origin", "null")], UNAUTHENTICATED),
                                   ([("sec-fetch-site", "cross-site")], UNAUTHENTICATED)]:
                body = raw_http2.grpc_frame(b"")
                got = send(self.server.api, "/closed.Closed/Shut", kind, [base64.b64encode(body) if kind == TEXT else body], fields)
                if send == self.over_http2:
                    status = UNAUTHENTICATED  # it calls the server "test"
                self.assertEqual(got.status, status, (fields, got.trailers))

    def test_wrong_frames(self):
        good = frame(pb.Item(mark="x"))
        for send, kind in self.ways():
            for what, body, status in [("nothing", b"", INTERNAL), ("cut off", good[:-1], INTERNAL), ("head only", good[:4], INTERNAL),
                                       ("two messages", good + good, INTERNAL), ("unknown flags", b"\x02" + good[1:], INTERNAL),
                                       ("trailers of the caller", good + b"\x80\0\0\0\0", INTERNAL),
                                       ("compressed without encoding", b"\1" + good[1:], INTERNAL),
                                       ("announces too much", b"\0\xff\xff\xff\xff", RESOURCE_EXHAUSTED),
                                       ("is too much", raw_http2.grpc_frame(b"x" * (100 * 1024 + 1)), RESOURCE_EXHAUSTED),
                                       ("no message", raw_http2.grpc_frame(b"\xff"), INVALID_ARGUMENT)]:
                got = send(self.server.api, PATH + "Echo", kind, [base64.b64encode(body) if kind == TEXT else body])
                self.assertEqual((got.http, got.status, got.messages), (200, status, []), what)

    def test_wrong_text(self):
        good = base64.b64encode(frame(pb.Item(mark="text")))
        for name, send in (("HTTP/1.1", self.over_http1), ("HTTP/2", self.over_http2)):
            for what, body in [("bytes", frame(pb.Item(mark="x"))), ("no padding", good.rstrip(b"=")[:-1]), ("one character", b"A"),
                               ("padding first", b"=AAA"), ("padding within", b"A=AA"), ("padding thrice", b"A==="), ("only padding", b"===="),
                               ("a space", good[:8] + b" " + good[8:]), ("a line", good[:8] + b"\r\n" + good[8:]),
                               ("rest", good + b"AA"), ("NUL", b"\0" * 4), ("high", b"\xff" * 400)]:
                with self.subTest(version=name, what=what):
                    got = send(self.server.api, PATH + "Echo", TEXT, [body])
                    self.assertEqual((got.http, got.status), (200, INTERNAL))
                    got = send(self.server.api, PATH + "Echo", TEXT, [body[i:i + 1] for i in range(len(body))])
                    self.assertEqual((got.http, got.status), (200, INTERNAL))

    def test_not_a_call(self):
        for method in ("GET", "PUT"):
            got = self.server.http(method, PATH + "Echo", headers={"content-type": BINARY})
            self.assertEqual((got.status, got.headers.get("allow")), (405, "POST"))
        got = self.server.http("POST", PATH + "Echo", headers={"content-type": "application/grpc-web+xml"})
        self.assertEqual(got.status, 415)

    def test_caller_goes(self):
        """A browser cancels by ending its connection."""
        with self.server.connect() as sock:
            body = frame(pb.DeepRequest(mark="gone", depth=1))
            sock.sendall(b"POST /wire.Wire/Deep HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web\r\n"
                         b"content-length: %d\r\n\r\n" % len(body) + body)
            self.assertTrue(self.server.wait_log("deep asleep .*mark=gone"))
        self.assertTrue(self.server.wait_log("deep ended .*depth=1.* mark=gone|deep ended .*mark=gone .*depth=1"))


if __name__ == "__main__":
    harness.main()
