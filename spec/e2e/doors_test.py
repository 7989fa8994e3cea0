# SPDX-License-Identifier: Apache-2.0
"""The limits of the front doors as `mica server` takes them: flags and variables, and what they do to peers."""

import socket
import time

import harness
import raw_http2
from harness import SERVICES, SLOW

pb, rpc = harness.stubs(SERVICES / "wire/proto/wire.proto")
PATH = "/wire.Wire/"


class Case(harness.Case):
    services = [SERVICES / "wire"]

    def connect(self, **options):
        return raw_http2.connect(self.server.proxy, timeout=20 * SLOW, **options)

    def echo(self, c, **fields):
        return c.call(PATH + "Echo", pb.Item(**fields).SerializeToString())

    def begin(self, c, method, message, end=True):
        sid = c.request(PATH + method)
        c.send(sid, message.SerializeToString(), end=end)
        return sid


class Sizes(Case):
    args = ["--max-message", "64KB", "--max-metadata", "4KB", "--max-streams", "3"]

    def test_message(self):
        with self.connect() as c:
            self.assertEqual(self.echo(c, data=bytes(60000)).status, 0)
            got = self.echo(c, data=bytes(66000))
            self.assertEqual((got.status, got.header("grpc-message")),
                             (8, "a message of 66004 bytes is longer than the limit of 65536"))
        got = self.server.http("POST", "/wire/Wire/Echo", b'{"mark":"%s"}' % (b"x" * 66000), {"content-type": "application/json"})
        self.assertEqual(got.status, 413)

    def test_metadata(self):
        with self.connect() as c:
            for size, fits in (3000, True), (5000, False):
                sid = c.request(PATH + "Echo", [("x-long", "v" * size)])
                stream = c.streams[sid]
                if fits:
                    c.send(sid, end=True)
                    self.assertEqual(c.answer(sid).status, 0)
                else:
                    self.assertTrue(c.until(lambda: stream.ended))
                    self.assertTrue(stream.reset is not None or stream.status == 8 or stream.header(":status") == "431",
                                    (stream.reset, stream.headers))
            self.assertEqual(c.settings[raw_http2.MAX_HEADER_LIST_SIZE], 4096)
            self.assertEqual(self.echo(c, mark="after").status, 0)

    def test_streams(self):
        with self.connect() as c:
            # All of them before it knows the limit; whoever exceeds one that he has acknowledged loses his connection.
            sids = [self.begin(c, "Drink", pb.Item(mark=f"s{i}"), end=False) for i in range(4)]
            self.assertTrue(c.until(lambda: c.streams[sids[3]].reset is not None))
            self.assertEqual(c.streams[sids[3]].reset, raw_http2.REFUSED_STREAM)
            self.assertEqual(c.settings[raw_http2.MAX_CONCURRENT_STREAMS], 3)
            c.reset(sids[0])
            self.assertEqual(self.echo(c, mark="again").status, 0)


class Connections(Case):
    args = ["--max-connections=4"]

    def test_connections(self):
        open_ones = [self.connect() for _ in range(4)]
        for c in open_ones:
            self.assertEqual(self.echo(c).status, 0)
        host, port = self.server.proxy.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10 * SLOW) as over:
            over.sendall(raw_http2.PREFACE)
            try:
                self.assertEqual(over.recv(1000), b"")
            except ConnectionError:
                pass
        self.assertTrue(self.server.wait_log("connections refused: 4 are open, which is the limit"))
        self.assertEqual(self.server.post("/wire/Wire/Echo", {"mark": "other door"}).status, 200)
        for c in open_ones:
            c.close()
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end:  # there is room again
            try:
                with self.connect() as c:
                    if self.echo(c).status == 0:
                        return
            except (AssertionError, ConnectionError):
                time.sleep(0.05)
        self.fail("the places of those that have gone stay taken")


class Time(Case):
    INTERVAL, TIMEOUT, IDLE = 0.3 * SLOW, 0.2 * SLOW, 0.5 * SLOW
    args = ["--idle-timeout", f"{IDLE}s", f"--ping-interval={INTERVAL}s", "--ping-timeout", f"{TIMEOUT}s", "--log-level", "debug"]

    def test_idle(self):
        with self.connect() as c:
            self.assertEqual(self.echo(c).status, 0)
            began = time.monotonic()
            self.assertTrue(c.until(lambda: c.closed))
            self.assertGreater(time.monotonic() - began, 0.9 * self.IDLE)
            self.assertEqual(c.goaway[-1], (1, raw_http2.NO_ERROR))

    def test_idle_but_waiting(self):
        with self.connect() as c:
            sid = self.begin(c, "Deep", pb.DeepRequest(mark="w"))
            self.assertTrue(c.until(lambda: len(c.pings) >= 3))  # answered, so the call goes on
            self.assertFalse(c.closed or c.streams[sid].ended)
            c.reset(sid)

    def test_dead_peer(self):
        with self.connect() as c:
            c.answers_pings = False
            began = time.monotonic()
            self.begin(c, "Deep", pb.DeepRequest(mark="dead", depth=1))
            self.assertTrue(c.until(lambda: c.closed))
            self.assertGreater(time.monotonic() - began, 0.9 * (self.INTERVAL + self.TIMEOUT))
            self.assertEqual(len(c.pings), 1)
            self.assertTrue(self.server.wait_log("deep ended .*depth=1.* mark=dead|deep ended .*mark=dead .*depth=1"))
            self.assertTrue(self.server.wait_log("is closed: it does not answer pings"))

    def test_anything_is_a_sign_of_life(self):
        with self.connect() as c:
            c.answers_pings = False
            sid = self.begin(c, "Drink", pb.Item(mark="alive"), end=False)
            end = time.monotonic() + 3 * (self.INTERVAL + self.TIMEOUT)
            while time.monotonic() < end:
                c.send(sid, pb.Item(mark="alive").SerializeToString())
                c.until(lambda: c.closed, self.TIMEOUT / 4)
            self.assertFalse(c.closed or c.streams[sid].ended)


class Age(Case):
    AGE, GRACE = 0.4 * SLOW, 0.5 * SLOW
    args = ["--max-age-grace", f"{GRACE}s", "--ping-interval", "0"]

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server(cls.services, cls.args, env={"MICA_MAX_AGE": f"{cls.AGE}s"}).start()

    def test_graceful(self):
        with self.connect() as c:
            sid = self.begin(c, "Drink", pb.Item(mark="old"), end=False)
            self.assertTrue(c.until(lambda: len(c.goaway) == 2))
            self.assertEqual([g.last for g in c.goaway], [2 ** 31 - 1, sid])
            self.assertFalse(c.closed)
            with self.connect() as fresh:
                got = fresh.call(PATH + "Open", pb.Mark(mark="old").SerializeToString())
                self.assertEqual(got.status, 0)
            c.end(sid)
            self.assertEqual(c.answer(sid).status, 0)
            self.assertTrue(c.until(lambda: c.closed))

    def test_cut_off_after_the_grace(self):
        began = time.monotonic()
        with self.connect() as c:
            sid = self.begin(c, "Deep", pb.DeepRequest(mark="cut"))
            self.assertTrue(c.until(lambda: c.closed))
            self.assertFalse(c.streams[sid].ended)
            self.assertGreater(time.monotonic() - began, 0.9 * self.AGE + self.GRACE)
            self.assertTrue(self.server.wait_log("deep ended .*mark=cut"))

    def test_http1(self):
        with self.server.connect() as sock:
            text = b"GET /wire/Wire/Count HTTP/1.1\r\nHost: x\r\n\r\n"
            sock.sendall(text)
            self.assertIn(b"200 OK", sock.recv(1000))
            self.assertEqual(sock.recv(1000), b"")  # it has said nothing, so it is closed

    def test_calls_do_not_notice(self):
        channel = self.server.channel()
        wire, end = rpc.WireStub(channel), time.monotonic() + 3 * self.AGE
        while time.monotonic() < end:
            wire.Echo(pb.Item(), timeout=20 * SLOW)
        channel.close()


class Flags(harness.Case):
    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def test_wrong_values(self):
        for flag, value, text in [("--max-message", "big", 'is no size: write bytes, or "64KB", "32MB"'),
                                  ("--max-message", "10", "expected 1KB to 1GB"), ("--max-message", "-1", "is no size"),
                                  ("--max-metadata", "2MB", "expected 1KB to 1MB"),
                                  ("--max-streams", "0", "expected a number from 1 to 100000"),
                                  ("--max-connections", "1.5", "expected a number"),
                                  ("--idle-timeout", "0", "expected at least 0.1s"), ("--idle-timeout", "soon", "is no duration"),
                                  ("--max-age", "10ms", "expected at least 0.1s, or 0 for never"),
                                  ("--max-age-grace", "1y", "is no duration"),
                                  ("--ping-interval", "50ms", "expected at least 0.1s, or 0 for never"),
                                  ("--ping-timeout", "0", "expected at least 0.1s")]:
            for done in (harness.mica("server", f"{flag}={value}"),
                         harness.mica("server", env={"MICA_" + flag[2:].upper().replace("-", "_"): value})):
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertIn(f"{flag}: ", done.stderr)
                self.assertIn(text, done.stderr)


if __name__ == "__main__":
    harness.main()
