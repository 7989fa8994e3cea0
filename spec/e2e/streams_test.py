#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Streams over plain HTTP: server-sent events with ids and resume, newline-delimited JSON both ways."""

import http.client
import json
import socket
import subprocess
import threading
import time
import unittest

import harness
from harness import SANITIZER, SERVICES, SLOW

FLOW = SERVICES / "flow"
EVENTS = {"Accept": "text/event-stream"}
LINES = {"Content-Type": "application/x-ndjson"}


class EventSource:
    """As a browser's: reads events, comes back after every end of the connection, with the last id, until it is told to stop
    by a status that is not 200. `lines` is all that came."""

    def __init__(self, server, path):
        self.server, self.path, self.last, self.retry = server, path, "", 3.0
        self.events, self.lines, self.statuses = [], [], []

    def run(self, most=10):
        for _ in range(most):
            headers = {**EVENTS, **({"Last-Event-ID": self.last} if self.last else {})}
            host, port = self.server.api.split(":")
            connection = http.client.HTTPConnection(host, int(port), timeout=20 * SLOW)
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            self.statuses.append(answer.status)
            if answer.status != 200:
                connection.close()
                return self
            self._read(answer)
            connection.close()
        raise AssertionError(f"it comes back for ever: {self.events}")

    def _read(self, answer):
        kind, data = "message", []
        for line in answer:
            line = line.decode().rstrip("\n")
            self.lines.append(line)
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if line == "":
                if data:
                    self.events.append((kind, json.loads("\n".join(data)), self.last))
                kind, data = "message", []
            elif name == "id":
                self.last = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "retry":
                self.retry = int(value) / 1000

    def numbers(self):
        return [int(data["number"]) for kind, data, _ in self.events if kind == "message"]


class Events(harness.Case):
    services = [FLOW]
    args = ["--heartbeat", "0.2s"]

    def test_clean_end(self):
        source = EventSource(self.server, "/flow/count?to=3").run()
        self.assertEqual(source.numbers(), [1, 2, 3])
        self.assertEqual([id for kind, _, id in source.events if kind == "message"], ["1", "2", "3"])
        self.assertEqual(source.events[-1], ("end", {}, "mica:end"))
        self.assertEqual(source.statuses, [200, 204])
        self.assertEqual(source.retry, 2)

    def test_resume(self):
        # UNAVAILABLE before the fourth and once more: the client comes back and goes on where it was.
        source = EventSource(self.server, "/flow/count?to=6&break_at=4").run()
        self.assertEqual(source.numbers(), [1, 2, 3, 4, 5, 6])
        errors = [(data["code"], id) for kind, data, id in source.events if kind == "error"]
        self.assertEqual(errors, [(503, "3")])
        self.assertEqual(source.statuses, [200, 200, 204])

    def test_resume_comes_before_the_query(self):
        source = EventSource(self.server, "/flow/count?to=5&since=1")
        source.last = "3"
        self.assertEqual(source.run().numbers(), [4, 5])

    def test_broken_resume(self):
        answer = self.server.http("GET", "/flow/count?to=5", headers={**EVENTS, "Last-Event-ID": "abc"})
        self.assert_error(answer, 400, detail="since")

    def test_failure_ends_it(self):
        source = EventSource(self.server, "/flow/count?to=1&fail=NOT_FOUND").run()
        kind, data, id = source.events[-1]
        self.assertEqual((kind, data["code"], data["detail"], id), ("error", 404, "as asked", "mica:end"))
        self.assertEqual(data["id"], "flow.Flow.Count")
        self.assertEqual(source.statuses, [200, 204])

    def test_failure_before_the_first(self):
        answer = self.server.http("GET", "/flow/fail?fail=PERMISSION_DENIED", headers=EVENTS)
        self.assert_error(answer, 403, "flow.Flow.Fail", "not today")

    def test_heartbeats(self):
        source = EventSource(self.server, "/flow/greet?wait=1.5").run()
        self.assertEqual(source.events[0][:2], ("message", {"number": "0", "text": "hello", "data": ""}))
        self.assertGreaterEqual(source.lines.count(":"), 2)

    def test_silent_stream_opens(self):
        # The head comes about a second after the request, though the first message comes later.
        began = time.monotonic()
        with self.server.connect() as connection:
            connection.sendall(b"GET /flow/count?to=1&wait=1.6 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            self.assertIn(b"200 OK", connection.recv(100))
            self.assertLess(time.monotonic() - began, 1.5 * SLOW)

    def test_accept_chooses(self):
        for accept, expected in (("text/event-stream", "text/event-stream"), ("*/*", "application/x-ndjson"),
                                 ("text/html, text/event-stream;q=0.9", "text/event-stream"),
                                 ("application/x-ndjson", "application/x-ndjson")):
            for method in ("GET", "POST", "HEAD"):
                path, body = ("/flow/count", {"to": 1}) if method == "POST" else ("/flow/count?to=1", None)
                answer = self.server.http(method, path, body, {"Accept": accept})
                self.assertEqual((answer.status, answer.headers["content-type"]), (200, expected), (method, accept))
        # An endpoint with one answer has no events.
        answer = self.server.http("POST", "/flow/sum", "{}", {**LINES, **EVENTS})
        self.assertEqual(answer.headers["content-type"], "application/json")

    def test_http2(self):
        done = subprocess.run(["curl", "-sSN", "--http2-prior-knowledge", "-H", "Accept: text/event-stream",
                               f"http://{self.server.api}/flow/count?to=2"], capture_output=True, text=True, timeout=20 * SLOW)
        self.assertEqual(done.stdout.count("data: {"), 3, done)
        self.assertIn("id: 2\n", done.stdout)


class Lines(harness.Case):
    services = [FLOW]

    def test_client_stream(self):
        body = '{"text":"a"}\n\r\n  \n{"text":"bc"}\r\n{"text":"def"}'  # the last line needs no end
        answer = self.server.http("POST", "/flow/sum", body, LINES)
        self.assertEqual((answer.status, answer.json), (200, {"count": "3", "bytes": "6"}), answer)

    def test_nothing(self):
        self.assertEqual(self.server.http("POST", "/flow/sum", "", LINES).json, {"count": "0", "bytes": "0"})
        self.assertEqual(self.server.http("POST", "/flow/sum", "\n\n", LINES).json, {"count": "0", "bytes": "0"})

    def test_answer_before_the_end(self):
        answer = self.server.http("POST", "/flow/sum", '{"text":"forget"}\n' + '{"text":"x"}\n' * 100, LINES)
        self.assertEqual(answer.json, {"count": "0", "bytes": "0"})

    def test_conversation(self):
        # Chunks both ways: each line is answered while the request goes on.
        with self.server.connect() as connection:
            connection.sendall(b"POST /flow/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            reader = connection.makefile("rb")
            for i, pieces in enumerate(([b'{"number":0}\n'], [b'{"num', b'ber":1}\n'], [b'{"number":2}', b"\n"])):
                for piece in pieces:
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                while not (line := reader.readline()).startswith(b"{"):
                    self.assertTrue(line)
                self.assertEqual(json.loads(line)["number"], str(i))
            connection.sendall(b"0\r\n\r\n")
            while (line := reader.readline()) != b"0\r\n":  # the last chunk: the answer is whole
                self.assertTrue(line)

    def test_conversation_http2(self):
        # nothing of it is HTTP/1's: curl sends a body and reads lines
        done = subprocess.run(["curl", "-sSN", "--http2-prior-knowledge", "-H", "Content-Type: application/x-ndjson", "--data-binary",
                               '{"number":1}\n{"number":2}\n', f"http://{self.server.api}/flow/echo"],
                              capture_output=True, text=True, timeout=20 * SLOW)
        self.assertEqual([json.loads(line)["number"] for line in done.stdout.splitlines()], ["1", "2"], done)

    def test_failure_in_the_middle(self):
        answer = self.server.http("POST", "/flow/echo", '{"number":1}\n{"text":"fail:NOT_FOUND"}\n{"number":2}\n', LINES)
        lines = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual(lines[0]["number"], "1")
        self.assertEqual(lines[-1]["error"]["code"], 404)

    def test_broken_line(self):
        answer = self.server.http("POST", "/flow/sum", '{"text":"a"}\n{"text":\n', LINES)
        self.assert_error(answer, 400, "flow.Flow.Sum")

    def test_wrong_kinds(self):
        self.assert_error(self.server.post("/flow/sum", {"text": "a"}), 415, detail="x-ndjson.*WebSocket")
        answer = self.server.http("GET", "/flow/sum")
        self.assert_error(answer, 405)
        self.assertEqual(answer.headers["allow"], "POST")
        self.assert_error(self.server.http("POST", "/flow/count", '{"to":1}\n', LINES), 415, detail="one message")

    def test_long_line(self):
        answer = self.server.http("POST", "/flow/sum", b'{"text":"' + b"x" * (4 << 20) + b'"}', LINES)
        self.assert_error(answer, 400, detail="longer than the limit of 4194304")

    @unittest.skipIf(SANITIZER, "sanitizers keep memory that was freed")
    def test_slow_service(self):
        # 20 MB for a service that does not read for half a second: the client waits, the server keeps little.
        line = b'{"text":"' + b"x" * 10000 + b'"}\n'
        before, most = self.server.memory(), 0
        host, port = self.server.api.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)

        def send():
            body = (line for _ in range(2000))
            connection.request("POST", "/flow/sum", body=iter([b'{"text":"wait"}\n', *body]), headers=LINES, encode_chunked=True)

        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            most = max(most, self.server.memory())
            time.sleep(0.01)
        self.assertEqual(json.loads(connection.getresponse().read()), {"count": "2001", "bytes": str(4 + 2000 * 10000)})
        self.assertLess(most - before, 12 << 20)

    @unittest.skipIf(SANITIZER, "sanitizers keep memory that was freed")
    def test_slow_reader(self):
        # 200 MB of events for a client that reads nothing: the service waits.
        before = self.server.memory()
        with self.server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /flow/count?to=20000&size=10000 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            connection.recv(10)
            time.sleep(0.6)
            self.assertLess(self.server.memory() - before, 8 << 20)


if __name__ == "__main__":
    harness.main()
