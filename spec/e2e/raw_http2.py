# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 by hand, for tests that look at frames: one connection, client or server side, on a blocking socket.

Frames are packed here; python3-hpack reads and writes header blocks. Nothing happens behind a test's back but what it can switch
off: SETTINGS and PINGs are acknowledged (`answers_pings`), received DATA is given back to the peer's window (`gives_window`).
"""

import gzip
import queue
import socket
import struct
import threading
import time
from collections import namedtuple

import hpack

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 1, 1, 4, 8, 32
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 3, 4, 5, 6
NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 7, 8, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME = 16384

Message = namedtuple("Message", "compressed body")  # of gRPC, decompressed
Goaway = namedtuple("Goaway", "last error")


def frame(kind, flags, stream, payload=b""):
    """The bytes of a frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def grpc_frame(body, compressed=False, packed=None):
    """A gRPC message as it goes into DATA. `packed`: what stands there instead of gzip's own."""
    if compressed:
        body = gzip.compress(body) if packed is None else packed
    return struct.pack(">BI", bool(compressed), len(body)) + body


def grpc_messages(data):
    out, at = [], 0
    while at < len(data):
        flag, length = struct.unpack_from(">BI", data, at)
        body = bytes(data[at + 5:at + 5 + length])
        if len(body) != length:
            raise AssertionError(f"the last message is cut off: {len(body)} of {length} bytes")
        out.append(Message(flag == 1, gzip.decompress(body) if flag == 1 else body))
        at += 5 + length
    return out


class Stream:
    def __init__(self, window):
        self.headers = self.trailers = None  # lists of (name, value)
        self.data = bytearray()
        self.ended = False
        self.reset = None  # the error code
        self.window = window  # what may be sent

    def header(self, name):
        """The first value among headers and trailers."""
        for key, value in (self.headers or []) + (self.trailers or []):
            if key == name:
                return value
        return None

    def all(self, name):
        return [value for key, value in (self.headers or []) + (self.trailers or []) if key == name]

    @property
    def status(self):
        """grpc-status as a number, or None."""
        text = self.header("grpc-status")
        return None if text is None else int(text)

    @property
    def messages(self):
        return grpc_messages(self.data)


class Connection:
    def __init__(self, sock, server=False, settings=None, timeout=20):
        self.socket, self.server = sock, server
        self.timeout = timeout
        self.answers_pings = self.gives_window = True
        self.streams, self.settings, self.pings, self.acks = {}, {}, [], []
        self.goaway = []
        self.closed = False  # the peer has ended the connection
        self.window, self.initial = 65535, 65535
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.decoder.max_header_list_size = 1 << 20
        self.next_id = 1
        self._buffer, self._block = bytearray(), None
        if not server:
            self.write(PREFACE)
        self.frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", k, v) for k, v in (settings or {}).items()))

    # ---- frames

    def write(self, data):
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def frame(self, kind, flags, stream, payload=b""):
        self.write(frame(kind, flags, stream, payload))

    def _take(self, n, end):
        while len(self._buffer) < n:
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except (TimeoutError, socket.timeout):
                return None
            except ConnectionError:
                more = b""
            if not more:
                self.closed = True
                return None
            self._buffer += more
        out = bytes(self._buffer[:n])
        return out

    def read(self, seconds=None):
        """Takes one frame and does what it asks for: (kind, flags, stream), or None: none came, or the connection has ended."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        if self.server and self.next_id == 1:
            preface = self._take(len(PREFACE), end)
            if preface is None:
                return None
            assert preface == PREFACE, preface
            del self._buffer[:len(PREFACE)]
            self.next_id = 2
        head = self._take(9, end)
        if head is None:
            return None
        length = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        whole = self._take(9 + length, end)
        if whole is None:
            return None
        del self._buffer[:9 + length]
        self._handle(kind, flags, stream & 0x7FFFFFFF, whole[9:])
        return kind, flags, stream

    def _handle(self, kind, flags, sid, payload):
        stream = self.streams.get(sid)
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, at)
                self.settings[key] = value
                if key == INITIAL_WINDOW_SIZE:
                    for other in self.streams.values():
                        other.window += value - self.initial
                    self.initial = value
            self.frame(SETTINGS, ACK, 0)
        elif kind == PING:
            (self.acks if flags & ACK else self.pings).append(payload)
            if not flags & ACK and self.answers_pings:
                self.frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaway.append(Goaway(*struct.unpack_from(">II", payload)))
        elif kind == WINDOW_UPDATE:
            more = struct.unpack(">I", payload)[0]
            if sid == 0:
                self.window += more
            elif stream:
                stream.window += more
        elif kind == RST_STREAM and stream:
            stream.reset = struct.unpack(">I", payload)[0]
            stream.ended = True
        elif kind in (HEADERS, CONTINUATION):
            self._headers(kind, flags, sid, payload)
        elif kind == DATA and stream:
            stream.data += payload
            stream.ended |= bool(flags & END_STREAM)
            if payload and self.gives_window:
                self.give(sid, len(payload))

    def _headers(self, kind, flags, sid, payload):
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1:len(payload) - payload[0]]
            if flags & HAS_PRIORITY:
                payload = payload[5:]
            self._block = (flags, bytearray())
        self._block[1].extend(payload)
        if not flags & END_HEADERS:
            return
        first, block = self._block
        fields = [tuple(field) for field in self.decoder.decode(bytes(block))]
        stream = self.streams.setdefault(sid, Stream(self.initial))
        if stream.headers is None:
            stream.headers = fields
        else:
            stream.trailers = fields
        stream.ended |= bool(first & END_STREAM)

    def until(self, condition, seconds=None):
        """Reads frames until the condition holds; whether it does."""
        end = time.monotonic() + (self.timeout if seconds is None else seconds)
        while not condition():
            left = end - time.monotonic()
            if left <= 0 or (self.read(left) is None and self.closed):
                break
        return condition()

    # ---- what is sent

    def headers(self, sid, fields, end=False):
        block = self.encoder.encode(fields, huffman=False)
        pieces = [block[i:i + FRAME] for i in range(0, len(block), FRAME)]
        for i, piece in enumerate(pieces):
            last = END_HEADERS if i + 1 == len(pieces) else 0
            self.frame(CONTINUATION if i else HEADERS, last | (END_STREAM if end and not i else 0), sid, piece)

    def request(self, path, fields=(), end=False, content_type="application/grpc", te="trailers"):
        """Begins a gRPC request; returns the stream's id."""
        sid, self.next_id = self.next_id, self.next_id + 2
        self.streams[sid] = Stream(self.initial)
        head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test")]
        if content_type is not None:
            head.append(("content-type", content_type))
        if te is not None:
            head.append(("te", te))
        self.headers(sid, head + list(fields), end)
        return sid

    def connect(self, protocol, path, fields=()):
        """Begins a tunnel (RFC 8441); returns the stream's id."""
        sid, self.next_id = self.next_id, self.next_id + 2
        self.streams[sid] = Stream(self.initial)
        self.headers(sid, [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path),
                           (":authority", "test"), *fields])
        return sid

    def data(self, sid, data, end=False):
        """Sends within the peer's windows; waits for them."""
        stream, at = self.streams[sid], 0
        over = lambda: stream.reset is not None or stream.ended and not self.server
        while True:
            n = min(FRAME, len(data) - at)
            if n and not self.until(lambda: over() or min(self.window, stream.window) > 0):
                raise AssertionError("the peer's window stays shut")
            if over():
                return
            n = min(n, self.window, stream.window) if n else 0
            last = at + n == len(data)
            self.frame(DATA, END_STREAM if end and last else 0, sid, data[at:at + n])
            at, self.window, stream.window = at + n, self.window - n, stream.window - n
            if last:
                return

    def send(self, sid, body=b"", compressed=False, end=False, packed=None):
        """Sends one gRPC message."""
        self.data(sid, grpc_frame(body, compressed, packed), end)

    def end(self, sid):
        self.frame(DATA, END_STREAM, sid)

    def give(self, sid, n):
        for target in (0, sid):
            self.frame(WINDOW_UPDATE, 0, target, struct.pack(">I", n))

    def reset(self, sid, code=CANCEL):
        self.frame(RST_STREAM, 0, sid, struct.pack(">I", code))

    def ping(self, payload=b"12345678"):
        self.frame(PING, 0, 0, payload)

    def answer(self, sid, seconds=None):
        """The stream when it has ended."""
        stream = self.streams[sid]
        if not self.until(lambda: stream.ended, seconds):
            raise AssertionError(f"stream {sid} did not end: {stream.headers} {len(stream.data)} bytes, closed: {self.closed}")
        return stream

    def call(self, path, body=b"", compressed=False, **options):
        """A unary call."""
        sid = self.request(path, **options)
        self.send(sid, body, compressed, end=True)
        return self.answer(sid)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(address, context=None, **options):
    """A client's connection to "host:port"; `context` is an ssl.SSLContext."""
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_hostname="localhost")
    return Connection(sock, **options)


class Server:
    """A gRPC server of frames: answer(path, fields, messages) gives (fields, [(body, compressed)], status, text) for each request,
    when the caller has ended its side; `seen` has what came, for the test to look at."""

    def __init__(self, answer):
        self.answer, self.seen = answer, queue.Queue()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with Connection(sock, server=True) as c:
            done = set()
            while not c.closed:
                c.read(1)
                for sid, stream in list(c.streams.items()):
                    if stream.ended and sid not in done:
                        done.add(sid)
                        if stream.reset is None:
                            self._respond(c, sid, stream)

    def _respond(self, c, sid, stream):
        path, messages = stream.header(":path"), stream.messages
        self.seen.put((path, dict(stream.headers), messages))
        fields, bodies, status, text = self.answer(path, dict(stream.headers), messages)
        c.headers(sid, [(":status", "200"), ("content-type", "application/grpc")] + list(fields))
        for body, compressed in bodies:
            c.send(sid, body, compressed)
        c.headers(sid, [("grpc-status", str(status)), ("grpc-message", text)], end=True)

    def close(self):
        self.listener.close()
