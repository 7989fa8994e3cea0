#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP as it is: connections that are kept, requests in a row, query strings, HTTP/2."""

import http.client
import json
import socket

import harness
from harness import EXAMPLES, SERVICES, SLOW, curl


def request(body, extra=""):
    return f"POST /helloworld/call HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Gateway(harness.Case):
    services = [EXAMPLES / "helloworld", SERVICES / "values", SERVICES / "probe", SERVICES / "faults"]

    def read_answers(self, connection, count):
        """Reads `count` answers from a bare socket: list of (status, body)."""
        reader, answers = connection.makefile("rb"), []
        for _ in range(count):
            status = int(reader.readline().split()[1])
            length = None
            while (line := reader.readline().strip()):
                key, value = line.split(b":", 1)
                if key.lower() == b"content-length":
                    length = int(value)
            self.assertIsNotNone(length, "an answer needs a length")
            answers.append((status, reader.read(length)))
        return answers

    def test_keep_alive(self):
        host, port = self.server.api.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        connection.connect()
        local = connection.sock.getsockname()
        for i in range(50):
            connection.request("POST", "/helloworld/call", json.dumps({"name": str(i)}))
            answer = connection.getresponse()
            self.assertEqual(json.loads(answer.read()), {"message": f"Hello {i}"})
            self.assertEqual(connection.sock.getsockname(), local)
        connection.close()

    def test_keep_alive_after_errors(self):
        with self.server.connect() as connection:
            connection.sendall(request("{nonsense") + request('{"name":"a"}'))
            self.assertEqual([status for status, _ in self.read_answers(connection, 2)], [400, 200])

    def test_pipelining(self):
        with self.server.connect() as connection:
            connection.sendall(b"".join(request(json.dumps({"name": str(i)})) for i in range(100)))
            answers = self.read_answers(connection, 100)
        self.assertEqual([json.loads(body)["message"] for _, body in answers], [f"Hello {i}" for i in range(100)])

    def test_pipelined_answers_keep_their_order(self):
        slow = b'{"seconds":0.3,"mark":"slow"}'
        with self.server.connect() as connection:
            connection.sendall(b"POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(slow) + slow
                               + request('{"name":"quick"}'))
            answers = self.read_answers(connection, 2)
        self.assertIn(b"slow", answers[0][1])
        self.assertIn(b"quick", answers[1][1])

    def test_connection_close(self):
        with self.server.connect() as connection:
            connection.sendall(request('{"name":"a"}', "Connection: close\r\n"))
            data = b""
            while chunk := connection.recv(65536):
                data += chunk
        self.assertIn(b"Hello a", data)

    def test_bytes_one_by_one(self):
        with self.server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request('{"name":"slow"}'):
                connection.sendall(bytes([byte]))
            self.assertEqual(json.loads(self.read_answers(connection, 1)[0][1]), {"message": "Hello slow"})

    def test_chunked_body(self):
        head = b"POST /helloworld/call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        with self.server.connect() as connection:
            connection.sendall(head + b'8\r\n{"name":\r\n6\r\n"Ada"}\r\n0\r\n\r\n')
            self.assertEqual(json.loads(self.read_answers(connection, 1)[0][1]), {"message": "Hello Ada"})

    def test_expect_continue(self):
        out = curl("-H", "Expect: 100-continue", "-d", '{"name":"Ada"}', f"{self.server.api}/helloworld/call")
        self.assertEqual(json.loads(out), {"message": "Hello Ada"})

    def test_http2(self):
        out = curl("--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}", "-d", '{"name":"Ada"}',
                   f"{self.server.api}/helloworld/call")
        self.assertEqual(out, '{"message":"Hello Ada"}\n2 200')
        out = curl("--http2-prior-knowledge", "-w", "\n%{http_code}", f"{self.server.api}/nobody")
        self.assertTrue(out.endswith("\n404"), out)

    def test_query_string(self):
        def echo(query):
            answer = self.server.http("GET", "/values/values/echo?" + query)
            self.assertEqual(answer.status, 200, answer)
            return answer.json

        got = echo("f_int32=-3&f_bool=true&f_double=0.5&f_string=a%20b+c&f_int64=9007199254740993&f_enum=RED")
        self.assertEqual((got["f_int32"], got["f_bool"], got["f_double"]), (-3, True, 0.5))
        self.assertEqual((got["f_string"], got["f_int64"], got["f_enum"]), ("a b c", "9007199254740993", "RED"))
        self.assertEqual(echo("r_int32=1&r_int32=2")["r_int32"], [1, 2])
        self.assertEqual(echo("f_message.x=4&f_message.y=5")["f_message"], {"x": 4, "y": 5})
        self.assertEqual(echo("f_string=%C3%A9")["f_string"], "é")

    def test_wrong_query_string(self):
        for query in ("f_int32=x", "nosuch=1", "f_bool=7", "f_int32=99999999999", "f_message.z=1", "f_string=%ff"):
            with self.subTest(query=query):
                self.assert_error(self.server.http("GET", "/values/values/echo?" + query), 400, "values.Values.Echo")

    def test_form(self):
        out = curl("-d", "name=Ada", f"{self.server.api}/helloworld/call")
        self.assertEqual(json.loads(out), {"message": "Hello Ada"})

    def test_stream_is_a_line_each(self):
        answer = self.server.post("/helloworld/stream", {"name": "Ada", "messages": 3})
        self.assertEqual((answer.status, answer.headers["content-type"]), (200, "application/x-ndjson"))
        self.assertEqual(answer.body, b'{"message":"Hello Ada"}\n' * 3)

    def test_stream_that_fails_says_so_in_its_last_line(self):
        answer = self.server.post("/probe/some", {"n": 2})
        lines = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual(lines[:2], [{"n": "1"}, {"n": "2"}])
        self.assertEqual(lines[2]["error"], {"id": "probe.Probe.Some", "code": 400, "detail": "that was number 2",
                                             "status": "Bad Request"})

    def test_protobuf_body(self):
        answer = self.server.http("POST", "/helloworld/call", b"\n\x03Ada", {"Content-Type": "application/protobuf"})
        self.assertEqual((answer.status, answer.body), (200, b"\n\x09Hello Ada"))

    def test_no_body(self):
        self.assertEqual(self.server.http("POST", "/helloworld/call").json, {"message": "Hello "})

    def test_defaults_are_printed(self):
        got = self.server.post("/values/values/echo", {}).json
        self.assertEqual((got["f_int32"], got["f_int64"], got["f_string"], got["r_int32"], got["m_string"]), (0, "0", "", [], {}))
        self.assertEqual(got["f_enum"], "NONE")
        self.assertNotIn("o_int32", got)

    def test_errors_are_the_same_in_json(self):
        table = {
            "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
            "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
            "CANCELLED": 499, "INTERNAL": 500, "UNKNOWN": 500, "DATA_LOSS": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
            "DEADLINE_EXCEEDED": 504}
        for code, status in table.items():
            with self.subTest(code=code):
                answer = self.server.post("/faults/fail", {"code": code, "message": "as asked"})
                self.assert_error(answer, status, "faults.Faults.Fail", "^as asked$")


if __name__ == "__main__":
    harness.main()
