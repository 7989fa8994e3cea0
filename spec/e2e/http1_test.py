#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as a conversation: expectations, HEAD, answers in one piece, peers that stand still; what every request gets: an id and a line in
the access log; and health for load balancers.
"""

import json
import os
import re
import signal
import socket
import threading
import time

import harness
import raw_http2
from harness import EXAMPLES, SERVICES, SLOW

COMBINED = re.compile(r'^(\S+) - (\S+) \[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "(.*) HTTP/([\d.]+)" (\d{3}) (\d+) "(.*?)" "(.*?)" '
                      r'(\d+\.\d{6}) ([0-9a-f]{16}) "(.*?)" "(.*?)"$')


def read_head(reader):
    """The status and the headers of an answer."""
    status, headers = int(reader.readline().split()[1]), {}
    while line := reader.readline().strip().decode():
        key, value = line.split(": ", 1)
        headers[key] = value
    return status, headers


def read_all(connection):
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


class Talking(harness.Case):
    services = [EXAMPLES / "helloworld", SERVICES / "probe"]

    def talk(self):
        connection = self.server.connect()
        self.addCleanup(connection.close)
        return connection, connection.makefile("rb")

    def test_continue_is_said_when_the_body_is_wanted(self):
        connection, reader = self.talk()
        connection.sendall(b"POST /helloworld HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(reader.readline(), b"HTTP/1.1 100 Continue\r\n")
        self.assertEqual(reader.readline(), b"\r\n")
        connection.sendall(b"{}")
        status, headers = read_head(reader)
        self.assertEqual(status, 200)
        reader.read(int(headers["content-length"]))

    def test_continue_is_not_said_when_the_answer_comes_first(self):
        for head, status in ((b"POST /helloworld HTTP/1.1\r\nContent-Length: 999999999\r\n", 413), (b"POST /nobody HTTP/1.1\r\nContent-Length: 99999\r\n", 404),
                             (b"POST /helloworld HTTP/1.1\r\nContent-Length: 70000\r\nContent-Encoding: zstd\r\n", 415)):
            with self.subTest(status=status):
                connection, _ = self.talk()
                connection.sendall(head + b"Host: x\r\nExpect: 100-continue\r\n\r\n")
                data = read_all(connection)  # and closes: the body may come or not
                self.assertTrue(data.startswith(b"HTTP/1.1 %d " % status), data)
                self.assertNotIn(b"100 Continue", data)
                self.assertIn(b"connection: close\r\n", data)

    def test_continue_is_not_said_without_a_body_or_in_1_0(self):
        for data in (b"POST /helloworld HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
                     b"POST /helloworld HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
                     b"POST /helloworld HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"):
            connection, _ = self.talk()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
            self.assertIn(b"HTTP/1.1 200 OK", answer)
            if b"Length: 0" in data or b"/1.0" in data:
                self.assertNotIn(b"100 Continue", answer)

    def test_head_of_everything(self):
        for path in ("/", "/health", "/health/ready", "/metrics", "/favicon.ico", "/helloworld?name=Ada", "/helloworld/stream", "/nobody", "/a%2fb"):
            with self.subTest(path=path):
                connection, reader = self.talk()
                connection.sendall(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                status, _ = read_head(reader)
                self.assertEqual(status, self.server.http("GET", path).status)
                self.assertEqual(read_head(reader)[0], 200)  # the next answer follows at once: there was no body

    def test_options(self):
        for target in ("*", "/", "/helloworld", "/nobody"):
            connection, reader = self.talk()
            connection.sendall(f"OPTIONS {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, headers = read_head(reader)
            self.assertEqual(status, 204)
            self.assertIn("GET", headers["allow"])

    def test_pipelined_answers_share_a_write(self):
        connection, _ = self.talk()
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        time.sleep(0.3 * SLOW)
        data = connection.recv(1 << 20)
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 100)

    def test_half_closed(self):
        connection, _ = self.talk()
        connection.sendall(b'POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{"seconds":0.2,"mark":"half" }')
        connection.shutdown(socket.SHUT_WR)
        self.assertIn(b'{"text":"half"}', read_all(connection))

    def test_pipelining_without_reading(self):
        """Requests are taken no faster than their answers."""
        connection, _ = self.talk()
        connection.settimeout(1 * SLOW)
        before, sent = self.server.memory(), 0
        piece = b"GET /helloworld?name=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 4000) * 16
        try:
            while sent < 256 * 1024 * 1024:
                sent += connection.send(piece)
        except socket.timeout:
            pass
        self.assertLess(sent, 64 * 1024 * 1024)
        if not harness.SANITIZER:
            self.assertLess(self.server.memory() - before, 16 * 1024 * 1024)

    def test_ready(self):
        for path in ("/health", "/health/live", "/health/ready"):
            answer = self.server.http("GET", path)
            self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}), path)
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(self.server.http("GET", "/health/other").status, 404)

    def test_every_answer_has_an_id(self):
        seen = set()
        for method, path in (("GET", "/"), ("GET", "/health"), ("GET", "/nobody"), ("POST", "/helloworld"), ("POST", "/helloworld/stream"),
                             ("OPTIONS", "/helloworld"), ("GET", "/metrics"), ("HEAD", "/helloworld"), ("DELETE", "/a%00")):
            answer = self.server.http(method, path)
            self.assertRegex(answer.headers["mica-request-id"], "^[0-9a-f]{16}$", path)
            seen.add(answer.headers["mica-request-id"])
        self.assertEqual(len(seen), 9)
        answer = self.server.post("/helloworld", {"name": "logged"})
        self.assertTrue(self.server.wait_log(f"name=logged request={answer.headers['mica-request-id']}"))
        out = harness.curl("--http2-prior-knowledge", "-i", f"http://{self.server.api}/helloworld")
        self.assertEqual(len(re.findall("^mica-request-id: [0-9a-f]{16}", out, re.M)), 1)


class Still(harness.Case):
    """Peers that stand still, with short limits."""
    services = [EXAMPLES / "helloworld", SERVICES / "probe"]
    LIMIT = 0.25 * SLOW
    args = ["--body-timeout", f"{LIMIT}s", "--head-timeout", f"{LIMIT}s", "--max-headers", "20"]

    def from_place(self, n):
        host, port = self.server.api.split(":")
        connection = socket.create_connection((host, int(port)), 20 * SLOW, (f"127.0.7.{n}", 0))
        self.addCleanup(connection.close)
        return connection

    def test_bodies(self):
        began = time.monotonic()
        heads = (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"Transfer-Encoding: chunked\r\n\r\n")
        connections = [self.from_place(i + 1) for i in range(len(heads))]
        for connection, head in zip(connections, heads):
            connection.sendall(b"POST /helloworld HTTP/1.1\r\nHost: x\r\n" + head)
        dripping = self.from_place(9)  # a byte now and then is no progress
        dripping.sendall(b"POST /helloworld HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        over = threading.Event()

        def drip():
            try:
                while not over.wait(0.02):
                    dripping.send(b" ")
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        for connection in connections:
            self.assertIn(b"HTTP/1.1 408 Request Timeout", read_all(connection))
        self.assertIn(b"HTTP/1.1 408 Request Timeout", read_all(dripping))
        over.set()
        thread.join()
        took = time.monotonic() - began
        self.assertGreater(took, self.LIMIT)
        self.assertLess(took, 6 * self.LIMIT)
        self.assertEqual(len(re.findall("ended: no request body in time", self.server.log())), 1)

    def test_a_body_that_comes_slowly_is_taken(self):
        connection = self.from_place(20)
        body = json.dumps({"name": "a" * 12000}).encode()
        connection.sendall(b"POST /helloworld HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
        for at in range(0, len(body), 1500):
            connection.sendall(body[at:at + 1500])
            time.sleep(self.LIMIT / 3)
        self.assertIn(b"HTTP/1.1 200 OK", read_all(connection))

    def test_a_slow_service_is_not_the_peers_fault(self):
        answer = self.server.post("/probe/sleep", {"seconds": 2.5 * self.LIMIT, "mark": "slow"})
        self.assertEqual(answer.json, {"text": "slow"})

    def test_answers_that_are_not_read(self):
        host, port = self.server.api.split(":")
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.bind(("127.0.7.30", 0))
        connection.connect((host, int(port)))
        connection.sendall(b"POST /probe/endless HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(self.server.wait_log("an answer is not read", 6 * self.LIMIT))
        self.assertTrue(self.server.wait_log("endless ended"))

    def test_an_answer_that_is_read_slowly_goes_on(self):
        connection = self.from_place(40)
        connection.sendall(b"POST /probe/endless HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        end, got = time.monotonic() + 4 * self.LIMIT, 0
        while time.monotonic() < end:
            got += len(connection.recv(65536))
            time.sleep(self.LIMIT / 20)
        self.assertGreater(got, 0)
        connection.setblocking(False)
        self.assertGreater(len(connection.recv(65536)), 0)

    def test_heads(self):
        connection = self.from_place(50)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        self.assertEqual(read_all(connection), b"")
        self.assertTrue(self.server.wait_log("no whole request head in time"))

    def test_many_headers(self):
        extra = {f"X-{i}": "a" for i in range(30)}
        self.assertEqual(self.server.http("GET", "/health", headers=extra).status, 431)
        self.assertEqual(self.server.http("GET", "/health", headers=dict(list(extra.items())[:15])).status, 200)


class AccessLog(harness.Case):
    services = [EXAMPLES / "helloworld", SERVICES / "probe"]

    def serve(self, *args):
        file = harness.work_folder("access") / "access.log"
        server = harness.Server(self.services, ["--access-log", str(file), *args])
        self.addCleanup(server.kill)
        return server.start(), file

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def wait_lines(self, file, count):
        end = time.monotonic() + 5 * SLOW
        while time.monotonic() < end:
            lines = file.read_text().splitlines()
            if len(lines) >= count:
                return lines
            time.sleep(0.02)
        self.fail(f"{lines}")

    def test_combined(self):
        server, file = self.serve()
        headers = {"User-Agent": 'a "quoted" \\ agent', "Referer": "http://x/é".encode(), "X-Request-Id": "caller-7"}
        ids = [server.post("/helloworld?name=Bo", {"name": "Ada"}, headers).headers["mica-request-id"]]
        ids.append(server.http("GET", "/nobody").headers["mica-request-id"])
        harness.curl("--http2-prior-knowledge", f"http://{server.api}/health")
        lines = [COMBINED.match(line) for line in self.wait_lines(file, 3)]
        self.assertTrue(all(lines), file.read_text())
        fields = lines[0].groups()
        self.assertEqual(fields[0], "127.0.0.1")
        self.assertEqual((*fields[3:9], *fields[10:]), ("POST /helloworld?name=Bo", "1.1", "200", "23", r"http://x/\xe9".replace("e9", "c3\\xa9"),
                                                        r'a \"quoted\" \\ agent', ids[0], "caller-7", "helloworld.Helloworld.Call"))
        self.assertEqual((lines[1][4], lines[1][6], lines[1][11], lines[1][13]), ("GET /nobody", "404", ids[1], "-"))
        self.assertEqual((lines[2][4], lines[2][5], lines[2][6]), ("GET /health", "2", "200"))
        # Moved away, as logrotate does it.
        moved = file.with_suffix(".1")
        file.rename(moved)
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 5 * SLOW
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.02)
        server.http("GET", "/after")
        self.assertIn("/after", self.wait_lines(file, 1)[0])
        self.assertNotIn("/after", moved.read_text())
        server.stop()

    def test_json(self):
        server, file = self.serve("--access-log-format", "json")
        server.post("/helloworld", {"name": "Ada"}, {"X-Request-Id": "caller-8"})
        with server.connect() as connection:
            connection.sendall(b'POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{"seconds":9')
        lines = [json.loads(line) for line in self.wait_lines(file, 2)]
        first = lines[0]
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual((first["door"], first["method"], first["path"], first["status"], first["service"], first["endpoint"],
                          first["caller_request_id"]), ("api", "POST", "/helloworld", 200, "helloworld", "Helloworld.Call", "caller-8"))
        self.assertEqual(lines[1]["status"], 499)
        server.stop()

    def test_a_reader_that_is_too_slow(self):
        """Lines are dropped and counted: nobody waits, nothing grows."""
        pipe = harness.work_folder("pipe") / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDWR)
        self.addCleanup(os.close, reader)
        server = harness.Server([EXAMPLES / "helloworld"], ["--access-log", str(pipe)])
        self.addCleanup(server.kill)
        server.start()
        before = server.memory()
        with server.connect() as connection:
            data = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 1900)
            for _ in range(60):
                connection.sendall(data * 150)
                answers = b""
                while answers.count(b"HTTP/1.1 404") < 150:
                    answers = answers[-20:].replace(b"HTTP/1.1 404", b"") + b"HTTP/1.1 404" * answers.count(b"HTTP/1.1 404") + connection.recv(1 << 20)
        if not harness.SANITIZER:
            self.assertLess(server.memory() - before, 24 * 1024 * 1024)
        metrics = server.http("GET", "/metrics").body.decode()
        self.assertGreater(float(re.search(r"(?m)^mica_access_log_dropped_total (\S+)", metrics).group(1)), 0)
        taken = threading.Thread(target=lambda: [os.read(reader, 1 << 20) for _ in range(100000)], daemon=True)
        taken.start()
        self.assertTrue(server.wait_log("lines were not written"))
        server.stop()

    def test_a_file_that_cannot_be(self):
        done = harness.mica("server", "--access-log", "/nowhere/at/all")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^mica: --access-log /nowhere/at/all: No such file or directory\n$")
        done = harness.mica("server", "--access-log", "-", "--access-log-format", "xml")
        self.assertEqual(done.returncode, 2)


class Stopping(harness.Case):
    services = [SERVICES / "probe"]

    @classmethod
    def tearDownClass(cls):
        cls.server.stop(ask=False)

    def test_not_ready_while_it_stops(self):
        with raw_http2.connect(self.server.api) as connection:
            connection.request("/probe/sleep?seconds=1.5&mark=end", [], end=True, content_type="application/json", te=None)
            self.assertTrue(self.server.wait_log("asleep"))
            self.server.process.send_signal(signal.SIGTERM)
            self.assertTrue(self.server.wait_log("stopping"))
            connection.streams[99] = raw_http2.Stream(65535)
            connection.headers(99, [(":method", "GET"), (":scheme", "http"), (":path", "/health/ready"), (":authority", "test")], end=True)
            sid = 99
            answer = connection.answer(sid)
            self.assertEqual(answer.header(":status"), "503")
            self.assertEqual(json.loads(bytes(answer.data)), {"status": "unavailable", "detail": "the server is stopping"})


if __name__ == "__main__":
    harness.main()
