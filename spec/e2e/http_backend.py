# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 server by hand, for what is behind the reverse proxy: every byte of an answer is the test's to say.

    with Backend(handler) as backend: ... backend.address ... backend.seen

`handler` is called with a Request on a thread of its connection, again and again until it returns False, raises, or the peer is
gone. What it was asked is in `seen`.
"""

import socket
import ssl
import threading


class Request:
    def __init__(self, backend, connection, line, headers, reader):
        self.backend, self.connection, self.reader = backend, connection, reader
        self.method, self.target, _ = line.split(" ", 2)
        self.headers = headers
        self.trailers = []
        self.content = b""  # what `answer` has read
        self._read = False
        self.number = 0  # of those on its connection, from 1

    def values(self, name):
        return [value for key, value in self.headers if key == name]

    def header(self, name):
        return ", ".join(self.values(name)) or None

    def chunks(self):
        """The body as it comes."""
        self._read = True
        if self.header("transfer-encoding") == "chunked":
            while True:
                size = int(self.reader.readline().split(b";")[0], 16)
                if size == 0:
                    break
                left = size
                while left:
                    piece = self.reader.read1(min(left, 65536))
                    if not piece:
                        raise ConnectionError("cut off")
                    left -= len(piece)
                    yield piece
                self.reader.readline()
            self.trailers = read_headers(self.reader)
            return
        left = int(self.header("content-length") or 0)
        while left:
            piece = self.reader.read1(min(left, 65536))
            if not piece:
                raise ConnectionError("cut off")
            left -= len(piece)
            yield piece

    def body(self):
        return b"".join(self.chunks())

    def send(self, data):
        self.connection.sendall(data if isinstance(data, bytes) else data.encode())

    def answer(self, body=b"", status="200 OK", headers=()):
        """A whole answer, after the whole request."""
        if not self._read:
            self.content = self.body()
        body = body if isinstance(body, bytes) else body.encode()
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if self.method == "HEAD" else body))


def read_headers(reader):
    headers = []
    while True:
        line = reader.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return headers
        name, value = line.split(":", 1)
        headers.append((name.lower(), value.strip()))


class Backend:
    def __init__(self, handler, tls=None):
        self.handler, self.tls = handler, tls
        self.seen = []
        self.connections = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.url = ("https://" if tls else "http://") + self.address
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.listener.close()
        with self.lock:
            for connection in self.open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
            self.open.add(connection)
        try:
            if self.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.tls)
                connection = context.wrap_socket(connection, server_side=True)
            reader = connection.makefile("rb")
            number = 0
            while True:
                line = reader.readline().decode("latin-1").rstrip("\r\n")
                if not line:
                    return
                request = Request(self, connection, line, read_headers(reader), reader)
                number += 1
                request.number = number
                with self.lock:
                    self.seen.append(request)
                if self.handler(request) is False:
                    return
        except (OSError, ValueError, ssl.SSLError):
            pass
        finally:
            with self.lock:
                self.open.discard(connection)
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
