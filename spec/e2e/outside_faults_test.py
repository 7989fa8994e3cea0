#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Services in other languages that are slow, die, or do not keep to the protocol."""

import socket
import threading
import time

import grpc
import harness
import outside_backend
from deploying import registry
from harness import SLOW
from outside_backend import Outside, Process, echo, renamed, retry, slowly

CODE = grpc.StatusCode


class Nodes(Outside):
    """Several addresses of one service, and backends that go away."""

    def test_two_nodes_one_dies(self):
        one, two = Process("one"), Process("two")
        self.addCleanup(one.kill)
        self.addCleanup(two.kill)
        self.register(one.address, two.address)
        end = time.monotonic() + 5 * SLOW
        while {self.unary().who for _ in range(4)} != {"one", "two"}:  # until both are connected
            self.assertLess(time.monotonic(), end)
        pending = [self.echo.Sleep.future(echo.Request(seconds=0.5), timeout=20 * SLOW) for _ in range(8)]
        self.assertEqual(sorted(p.result().who for p in pending), ["one"] * 4 + ["two"] * 4)  # least calls under way
        one.kill()
        answers = [self.unary().who for _ in range(40)]
        self.assertEqual(set(answers), {"two"})

    def test_nodes_register_themselves(self):
        one, two = self.backend("one"), self.backend("two")
        for backend in (one, two):
            node = registry.Node(id=backend.echo.name, address=backend.address)
            service = registry.Service(name="echo", version="1", nodes=[node])
            self.p.call(self.p.registry.Register, registry.RegisterRequest(service=service))
        self.addCleanup(self.leave, missing_is_fine=True)
        self.assertEqual({self.unary().who for _ in range(20)} | self.busy(), {"one", "two"})
        self.leave(node="one")
        self.assertEqual({self.unary().who for _ in range(10)} | self.busy(), {"two"})
        self.refuses(CODE.NOT_FOUND, "no node", self.leave, node="three")
        self.leave(node="two")
        self.assert_rpc_error(CODE.UNIMPLEMENTED, self.echo.Unary, echo.Request())

    def busy(self):
        pending = [self.echo.Sleep.future(echo.Request(seconds=0.2), timeout=20 * SLOW) for _ in range(4)]
        return {p.result().who for p in pending}

    def test_killed_under_calls(self):
        one, other = Process("one"), self.backend("other")
        self.addCleanup(one.kill)
        self.register(one.address)
        self.register(other.address, name="fine", version="2", descriptors=renamed("fine"))
        stream = self.echo.Both(slowly("ab", 30), timeout=60 * SLOW)
        self.assertEqual(next(stream).text, "a")
        sleeping = self.echo.Sleep.future(echo.Request(seconds=30), timeout=60 * SLOW)
        time.sleep(0.3)
        one.kill()
        self.assertEqual(sleeping.exception(timeout=10 * SLOW).code(), CODE.UNAVAILABLE)
        with self.assertRaises(grpc.RpcError) as caught:
            next(stream)
        self.assertEqual(caught.exception.code(), CODE.UNAVAILABLE)
        self.assert_error(self.server.post("/echo/unary"), 503)
        call = self.p.channel.unary_unary("/fine.Echo/Unary", bytes, bytes)
        self.assertEqual(self.assert_rpc_error(CODE.UNIMPLEMENTED, call, b"").code(), CODE.UNIMPLEMENTED)  # of the other server
        back = self.backend("back", port=int(one.address.rsplit(":", 1)[1]))
        self.assertEqual(retry(lambda: self.unary().who), back.echo.name)


class Circle(Outside):
    def test_calls_in_a_circle(self):
        """A service whose address is the server's own door, which leads to the service."""
        self.register(self.server.proxy, descriptors=outside_backend.contract())
        error = self.assert_rpc_error(CODE.RESOURCE_EXHAUSTED, self.echo.Unary, echo.Request())
        self.assertIn("in a circle", error.details())
        self.assertEqual(self.server.post("/echo/unary").status, 429)


class Pressure(Outside):
    """Back-pressure both ways, with bounded memory."""

    def test_slow_reader(self):
        one = self.backend()
        self.register(one.address)
        before = self.server.memory()
        call = self.p.channel.unary_stream("/echo.Echo/Server", bytes, bytes)(
            echo.Request(n=2000, data=b"x" * 65536).SerializeToString(), timeout=60 * SLOW)
        next(call)
        time.sleep(1)
        grown = self.server.memory() - before
        self.assertLess(grown, (16 << 20) * SLOW, "what its reader does not take is kept here")
        self.assertEqual(sum(1 for _ in call), 1999)

    def test_slow_reader_of_json(self):
        """Its JSON is much longer than what the backend sends."""
        one = self.backend()
        self.register(one.address)
        before = self.server.memory()
        with self.server.connect() as reader:
            body = b'{"n":1000000}'
            reader.sendall(b"POST /echo/server HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(1.5)
            self.assertLess(self.server.memory() - before, (16 << 20) * SLOW)

    def test_slow_backend(self):
        one = self.backend()
        self.register(one.address)
        before, sent = self.server.memory(), [0]

        def requests():
            yield echo.Request(seconds=1.5)
            for _ in range(500):
                sent[0] += 1
                yield echo.Request(data=b"x" * 65536)
        future = self.echo.Client.future(requests(), timeout=60 * SLOW)
        time.sleep(1)
        self.assertLess(sent[0], 400, "the caller is not held back")
        self.assertLess(self.server.memory() - before, (16 << 20) * SLOW)
        self.assertEqual(future.result().n, 501)


class Hostile(Outside):
    """Backends that do not keep to the contract, or to the protocol."""

    def raw(self, path, answer):
        """A backend whose one unary method answers with bytes."""
        handlers = grpc.method_handlers_generic_handler("raw.Echo", {"Unary": grpc.unary_unary_rpc_method_handler(answer)})
        one = self.backend(reflection=None, handlers=[handlers])
        self.register(one.address, name=path, descriptors=renamed("raw"))
        return self.p.channel.unary_unary("/raw.Echo/Unary", bytes, bytes)

    def test_another_message(self):
        call = self.raw("raw", lambda request, context: b"\xff\xff\xff not protobuf")
        self.assertEqual(call(b"", timeout=10 * SLOW), b"\xff\xff\xff not protobuf")  # gRPC's bytes are the caller's affair
        self.assert_error(self.server.post("/raw/echo/unary"), 500, None, "raw.Answer")
        self.assertEqual(self.server.post("/raw/echo/unary").status, 500)

    def test_much_json_of_few_bytes(self):
        entry = b"\x3a\x04\x0a\x00\x12\x00"  # a pair of empty strings: six bytes that are seven of JSON
        call = self.raw("raw", lambda request, context: entry * 600_000)
        self.assertEqual(len(call(b"", timeout=10 * SLOW)), 3_600_000)
        self.assertIn(self.server.post("/raw/echo/unary").status, (200, 429))

    def test_huge_message(self):
        self.raw("raw", lambda request, context: b"x" * (5 << 20))
        call = self.server.channel(max_receive_message_length=64 << 20)
        self.addCleanup(call.close)
        error = self.assert_rpc_error(CODE.RESOURCE_EXHAUSTED, call.unary_unary("/raw.Echo/Unary", bytes, bytes), b"")
        self.assertIn("4194304", error.details())

    def bare(self, reply):
        """A server that reads, says some bytes of HTTP/2 and hangs up or not."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5 * SLOW)
                    try:
                        reply(connection)
                    except OSError:
                        pass
        threading.Thread(target=serve, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.register(address, name="bare", descriptors=renamed("bare"))
        return self.p.channel.unary_unary("/bare.Echo/Unary", bytes, bytes)

    def frame(self, kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def read_request(self, connection):
        """Reads the preface and frames until the end of stream 1."""
        data, at = b"", 24
        while True:
            while len(data) >= at + 9:
                length, kind, flags = int.from_bytes(data[at:at + 3], "big"), data[at + 3], data[at + 4]
                stream = int.from_bytes(data[at + 5:at + 9], "big")
                at += 9 + length
                if stream == 1 and kind in (0, 1) and flags & 1:
                    return
            piece = connection.recv(65536)
            if not piece:
                raise OSError("no request")
            data += piece

    def test_no_http2(self):
        call = self.bare(lambda c: (c.recv(65536), c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
        self.assert_rpc_error(CODE.UNAVAILABLE, call, b"")

    def test_hangs_up(self):
        call = self.bare(lambda c: c.recv(65536))
        self.assert_rpc_error(CODE.UNAVAILABLE, call, b"")

    def test_silent(self):
        call = self.bare(lambda c: time.sleep(3 * SLOW))
        self.assert_rpc_error(CODE.DEADLINE_EXCEEDED, call, b"", timeout=0.5)

    def test_no_trailers(self):
        """:status 200, content-type application/grpc, one message, END_STREAM on DATA: no status came."""
        def reply(connection):
            connection.sendall(self.frame(4, 0, 0))
            self.read_request(connection)
            headers = b"\x88\x5f\x10application/grpc"
            connection.sendall(self.frame(1, 4, 1, headers) + self.frame(0, 1, 1, b"\0\0\0\0\0"))
            connection.recv(65536)
            time.sleep(0.2)
        self.assert_rpc_error(CODE.UNKNOWN, self.bare(reply), b"")

    def test_html(self):
        def reply(connection):
            connection.sendall(self.frame(4, 0, 0))
            self.read_request(connection)
            connection.sendall(self.frame(1, 4, 1, b"\x8d\x5f\x09text/html") + self.frame(0, 1, 1, b"<html>"))
            connection.recv(65536)
            time.sleep(0.2)
        error = self.assert_rpc_error(CODE.UNIMPLEMENTED, self.bare(reply), b"")  # :status 404
        self.assertIn("no gRPC", error.details())


if __name__ == "__main__":
    harness.main()
