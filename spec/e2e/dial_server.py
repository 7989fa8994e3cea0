# SPDX-License-Identifier: Apache-2.0
"""The gRPC servers that dial_test.py dials: a Weather service made with grpcio, also as a program of its own
(dial_server.py STUBS PORT), and a raw socket that speaks as much HTTP/2 as it takes to misbehave."""

import pathlib
import socket
import struct
import sys
import threading
import time
from concurrent import futures

import grpc

from raw_http2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, PUSH_PROMISE, RST_STREAM,
                       SETTINGS, frame)

PROTO = """syntax = "proto3";
package weather;

service Weather {
  rpc Today(City) returns (Report) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Set(City) returns (Report);
  rpc Watch(City) returns (stream Report) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc Gather(stream City) returns (Report);
  rpc Talk(stream City) returns (stream Report);
  rpc Missing(City) returns (Report);
}

message City { string name = 1; int64 n = 2; string do = 3; }
message Report { string text = 1; int64 n = 2; bytes ballast = 3; }
"""


def _field(number, payload):
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


# google.rpc.Status with an ErrorInfo, whose types are not installed for Python.
DETAILS = b"\x08\x09" + _field(2, b"too wet") + _field(3, _field(1, b"type.googleapis.com/google.rpc.ErrorInfo") + _field(
    2, _field(1, b"RAIN") + _field(2, b"weather")))


class Weather:
    """Answers by what City.do asks for; counts what came."""

    def __init__(self, pb, name=""):
        self.pb, self.name = pb, name
        self.lock = threading.Lock()
        self.calls, self.times, self.cancelled = {}, [], threading.Event()
        self.metadata, self.remaining = {}, None
        self.fail_all = False

    def _count(self, what):
        with self.lock:
            self.calls[what] = self.calls.get(what, 0) + 1
            self.times.append(time.monotonic())
            return self.calls[what]

    def _common(self, request, context):
        n = self._count(request.do)
        self.metadata, self.remaining = context.invocation_metadata(), context.time_remaining()
        if self.fail_all:
            context.abort(grpc.StatusCode.UNAVAILABLE, "down for lunch")
        if request.do == "twice" and n <= 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, f"attempt {n}")
        if request.do.startswith("pushback"):
            context.set_trailing_metadata((("grpc-retry-pushback-ms", request.do.split()[1]),))
            context.abort(grpc.StatusCode.UNAVAILABLE, f"attempt {n}")
        if request.do == "sleep":
            context.add_callback(self.cancelled.set)
            time.sleep(request.n / 1000)
        if request.do == "fail":
            context.set_trailing_metadata((("grpc-status-details-bin", DETAILS), ("x-why", "rain")))
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "\t\nUnicode \u263a and \U0001f608\t\n")
        if request.do == "unauthenticated":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if request.do == "metadata":
            context.send_initial_metadata((("x-one", "1"), ("x-many", "a"), ("x-many", "b"), ("x-raw-bin", b"\0\xff")))
            context.set_trailing_metadata((("x-last", "t"),))

    def Today(self, request, context):
        self._common(request, context)
        ballast = b"x" * request.n if request.do == "ballast" else b""
        return self.pb.Report(text=f"{request.name} {self.name}".strip(), n=request.n, ballast=ballast)

    Set = Today

    def Missing(self, request, context):
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not yet")

    def Watch(self, request, context):
        self._common(request, context)
        if request.do == "break":
            yield self.pb.Report(n=1)
            context.abort(grpc.StatusCode.UNAVAILABLE, "after the first")
        if request.do == "forever":
            context.add_callback(self.cancelled.set)
        i = 0
        while i < request.n or (request.do == "forever" and context.is_active()):
            i += 1
            yield self.pb.Report(text=request.name, n=i)
            if request.do == "forever":
                time.sleep(0.01)

    def Gather(self, requests, context):
        return self.pb.Report(n=sum(r.n for r in requests))

    def Talk(self, requests, context):
        for request in requests:
            yield self.pb.Report(text=request.name, n=request.n)


def serve(rpc, weather, address="127.0.0.1:0", streams=None):
    """A running server, and its port."""
    options = [("grpc.so_reuseport", 0)]
    if streams:
        options.append(("grpc.max_concurrent_streams", streams))
    server = grpc.server(futures.ThreadPoolExecutor(32), options=options)
    rpc.add_WeatherServicer_to_server(weather, server)
    port = server.add_insecure_port(address)
    server.start()
    return server, port


# ---- a server that misbehaves

def _integer(n, bits):
    most = (1 << bits) - 1
    if n < most:
        return bytes([n])
    out, n = [most], n - most
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + [n])


def headers(*pairs):
    """HPACK: literals, neither indexed nor packed."""
    return b"".join(b"\0" + _integer(len(k), 7) + k.encode() + _integer(len(v), 7) + v.encode() for k, v in pairs)


GRPC = (":status", "200"), ("content-type", "application/grpc")
MESSAGE = b"\0\0\0\0\4\x0a\x02hi"


def _answer(stream, *bodies, trailers=(("grpc-status", "0"),)):
    out = frame(HEADERS, END_HEADERS, stream, headers(*GRPC)) + b"".join(frame(DATA, 0, stream, b) for b in bodies)
    return out + frame(HEADERS, END_HEADERS | END_STREAM, stream, headers(*trailers))


def _http(status, kind="text/html"):
    return lambda s: frame(HEADERS, END_HEADERS, s, headers((":status", status), ("content-type", kind))) + frame(
        DATA, 0, s, b"<html>" * 100)  # without an end


def _reset(code):
    return lambda s: frame(RST_STREAM, 0, s, struct.pack(">I", code))


# What is sent when a request's HEADERS have come.
ANSWERS = {
    "good": lambda s: _answer(s, MESSAGE),
    "pieces": lambda s: _answer(s, MESSAGE[:3], MESSAGE[3:6], b"", MESSAGE[6:]),
    "http 401": _http("401"), "http 403": _http("403"), "http 404": _http("404"), "http 429": _http("429"),
    "http 500": _http("500"), "http 502": _http("502"), "http 503": _http("503"),
    "no grpc": _http("200"),
    "no trailers": lambda s: frame(HEADERS, END_HEADERS, s, headers(*GRPC)) + frame(DATA, END_STREAM, s, MESSAGE),
    "trailers only": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, headers(
        *GRPC, ("grpc-status", "5"), ("grpc-message", "none%20here%"), ("x-t", "1"))),
    "strange status": lambda s: _answer(s, MESSAGE, trailers=(("grpc-status", "twelve"),)),
    "unknown status": lambda s: _answer(s, MESSAGE, trailers=(("grpc-status", "99"), ("grpc-message", "what"))),
    "no message": lambda s: _answer(s),
    "two messages": lambda s: _answer(s, MESSAGE, MESSAGE),
    "cut off": lambda s: _answer(s, MESSAGE[:7]),
    "strange flags": lambda s: _answer(s, b"\7" + MESSAGE[1:]),
    "not protobuf": lambda s: _answer(s, b"\0\0\0\0\2\xff\xff"),
    "announces 4 GB": lambda s: _answer(s, b"\0\xff\xff\xff\xff"),
    "long headers": lambda s: frame(HEADERS, END_HEADERS, s, headers(
        *GRPC, *[(f"x-{i}", "y" * 200) for i in range(75)])) + frame(DATA, 0, s, MESSAGE),
    "long trailers": lambda s: frame(HEADERS, END_HEADERS, s, headers(*GRPC)) + frame(DATA, 0, s, MESSAGE) + frame(
        HEADERS, END_HEADERS | END_STREAM, s, headers(("grpc-status", "0"), *[(f"x-{i}", "y" * 200) for i in range(75)])),
    "endless headers": lambda s: frame(HEADERS, 0, s, headers(*GRPC)) + b"".join(
        frame(CONTINUATION, 0, s, headers((f"x-{i}", "y" * 100))) for i in range(2000)),
    "endless hints": lambda s: b"".join(frame(HEADERS, END_HEADERS, s, headers((":status", "103"), ("link", "x" * 100)))
                                        for _ in range(1000)),
    "reset": _reset(2), "reset for calm": _reset(11), "reset by cancel": _reset(8), "refused": _reset(7),
    "goaway": lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)),
    "goaway and answer": lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", s, 0)) * 3 + _answer(s, MESSAGE),
    "goaway storm": lambda s: frame(GOAWAY, 0, 0, struct.pack(">II", s, 0)) * 50 + _answer(s, MESSAGE),
    "wrong frames": lambda s: frame(DATA, 0, 0, b"on stream 0"),
    "push": lambda s: frame(PUSH_PROMISE, END_HEADERS, s, struct.pack(">I", 2) + headers((":path", "/"))),
    "garbage": lambda s: b"\xff" * 100,
    "pings": lambda s: frame(PING, 0, 0, b"12345678") * 20000,
    "settings": lambda s: frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * 20000,
    "hang up": lambda s: None,
    "silence": lambda s: b"",
}


class Rude:
    """Answers every request as `mode` says; `mode` may also be about connections: see _serve."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.mode = "good"
        self.sockets = []
        self.requests = self.connections = self.pings = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def be(self, mode):
        """Answers so from now on, on new connections."""
        self.mode, self.requests, self.connections, self.pings = mode, 0, 0, 0
        for s in self.sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sockets = []
        time.sleep(0.02)  # the other side has seen it

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.sockets.append(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        with s:
            try:
                self._talk(s, s.makefile("rb"))
            except (OSError, struct.error):
                pass

    def _talk(self, s, stream):
        if stream.read(len(PREFACE)) != PREFACE:
            return
        if self.mode == "speaks HTTP/1.1":
            s.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        if self.mode == "closes":
            return
        if self.mode == "says nothing":
            stream.read()
            return
        s.sendall(frame(SETTINGS, 0, 0))
        if self.mode == "goes away at once":
            s.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))
        while True:
            head = stream.read(9)
            if len(head) < 9:
                return
            length = int.from_bytes(head[:3], "big")
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = stream.read(length)
            if kind == SETTINGS and not flags & ACK:
                s.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                self.pings += 1
                s.sendall(frame(PING, ACK, 0, payload))
            elif kind == HEADERS:
                self.requests += 1
                answer = ANSWERS.get(self.mode, ANSWERS["silence"])(number)
                if answer is None:
                    return
                s.sendall(answer)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import weather_pb2
    import weather_pb2_grpc
    running, _ = serve(weather_pb2_grpc, Weather(weather_pb2, sys.argv[2]), "127.0.0.1:" + sys.argv[2])
    print("ready", flush=True)
    running.wait_for_termination()
