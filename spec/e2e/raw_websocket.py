# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client for tests (RFC 6455), by hand, so that it can also say what no library would.

    with raw_websocket.open(server.api, "/helloworld/pingPong") as socket:
        socket.send('{"stroke": 1}')
        socket.receive()    # Frame(opcode=1, data=b'{"stroke":"1"}')
"""

import base64
import collections
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
Frame = collections.namedtuple("Frame", "opcode data")


class Refused(Exception):
    """The handshake was answered with something else; `status`, `headers`, `body`."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body!r}")
        self.status, self.headers, self.body = status, headers, body


def frame(opcode, data=b"", fin=True, rsv=0, mask=b"mask", length=None):
    """The bytes of a frame. mask=None: unmasked; `length`: what the head says, whatever comes."""
    if isinstance(data, str):
        data = data.encode()
    n = len(data) if length is None else length
    out = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    masked = 0x80 if mask else 0
    if n < 126:
        out += bytes([masked | n])
    elif n < 65536:
        out += bytes([masked | 126]) + struct.pack(">H", n)
    else:
        out += bytes([masked | 127]) + struct.pack(">Q", n)
    if not mask:
        return out + data
    key = (mask * (len(data) // 4 + 1))[:len(data)]
    return out + mask + (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


def request(address, path, headers=()):
    lines = {"Host": address, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
             "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(), **dict(headers)}
    return f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None) + "\r\n"


class Socket:
    def __init__(self, address, path, headers=(), timeout=20, first=b"", context=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.socket.sendall(request(address, path, headers).encode() + first)
        self.buffer = b""
        head = self._until(b"\r\n\r\n").decode()
        lines = head.split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if ":" in line)}
        if self.status != 101:
            body = self._exactly(int(self.headers.get("content-length", 0)))
            self.socket.close()
            raise Refused(self.status, self.headers, body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError
        self.buffer += data

    def _until(self, end):
        while end not in self.buffer:
            self._more()
        head, self.buffer = self.buffer.split(end, 1)
        return head

    def _exactly(self, n):
        while len(self.buffer) < n:
            self._more()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, data, **options):
        """A message: text for str, binary for bytes."""
        self.raw(frame(TEXT if isinstance(data, str) else BINARY, data, **options))

    def close(self, code=1000, reason=b""):
        self.raw(frame(CLOSE, struct.pack(">H", code) + reason))

    def receive(self):
        """The next frame, whatever it is; EOFError when the connection has ended."""
        first, n = self._exactly(2)
        assert first & 0x70 == 0 and n & 0x80 == 0, "a server's frames are not masked"
        if n == 126:
            [n] = struct.unpack(">H", self._exactly(2))
        elif n == 127:
            [n] = struct.unpack(">Q", self._exactly(8))
        assert first & 0x80, "a server's frames are whole"
        return Frame(first & 15, self._exactly(n))

    def end(self):
        """Reads to the close frame: (messages, code, reason). Answers it and waits for the end of the connection."""
        messages = []
        while True:
            got = self.receive()
            if got.opcode == CLOSE:
                break
            if got.opcode in (TEXT, BINARY):
                messages.append(got.data.decode() if got.opcode == TEXT else got.data)
        self.raw(frame(CLOSE, got.data[:2]))
        try:
            self.socket.settimeout(5)
            if self.buffer or self.socket.recv(1):
                raise AssertionError("bytes after the close frame")
        except ConnectionResetError:
            pass
        code = struct.unpack(">H", got.data[:2])[0] if got.data else 1005
        return messages, code, got.data[2:].decode()


def open(address, path, headers=(), **options):
    return Socket(address, path, headers, **options)
