# SPDX-License-Identifier: Apache-2.0
"""gRPC's protocol on frames: what a library would hide or smooth over."""

import base64
import gzip
import signal
import struct
import time
import zlib

import harness
import raw_http2
from harness import SERVICES, SLOW
from raw_http2 import grpc_frame

pb, rpc = harness.stubs(SERVICES / "wire/proto/wire.proto")
PATH = "/wire.Wire/"
GZIP = [("grpc-encoding", "gzip")]
ACCEPTS = [("grpc-accept-encoding", "gzip,identity")]
OK, CANCELLED, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 0, 1, 3, 4, 8
UNIMPLEMENTED, INTERNAL = 12, 13


class Case(harness.Case):
    services = [SERVICES / "wire"]

    def setUp(self):
        self.c = self.connect()

    def tearDown(self):
        self.c.close()

    def connect(self, **options):
        return raw_http2.connect(self.server.proxy, timeout=20 * SLOW, **options)

    def call(self, method, message, **options):
        return self.c.call(PATH + method, message.SerializeToString(), **options)

    def begin(self, method, message=None, end=True, fields=()):
        sid = self.c.request(PATH + method, fields)
        if message is not None:
            self.c.send(sid, message.SerializeToString(), end=end)
        return sid

    def counts(self, mark):
        got = self.call("Count", pb.Mark(mark=mark))
        return pb.Counts.FromString(got.messages[0].body)

    def settle(self, count):
        """The value of count() when it has not changed for a while."""
        last, since = count(), time.monotonic()
        while time.monotonic() - since < 0.3 * SLOW:
            time.sleep(0.02)
            now = count()
            if now != last:
                last, since = now, time.monotonic()
        return last


class Compression(Case):
    def echo(self, data, **options):
        return self.call("Echo", pb.Item(data=data), **options)

    def check_error(self, got, status, text):
        self.assertEqual(got.status, status, got.header("grpc-message"))
        self.assertRegex(got.header("grpc-message"), text)
        self.assertEqual(len(got.data), 0)

    def test_compressed_without_encoding(self):
        for fields in [], [("grpc-encoding", "identity")]:
            self.check_error(self.echo(b"x" * 100, compressed=True, fields=fields), INTERNAL, "no grpc-encoding")

    def test_unknown_encoding(self):
        for name in "snappy", "deflate", "GZIP", "gzip,identity", "x" * 300:
            got = self.echo(b"x", fields=[("grpc-encoding", name)])
            self.check_error(got, UNIMPLEMENTED, "is not supported: use gzip or identity")
            self.assertEqual(got.header("grpc-accept-encoding"), "identity,gzip")

    def test_unknown_flag(self):
        for flag in 2, 128, 255:
            sid = self.c.request(PATH + "Echo", GZIP)
            self.c.data(sid, struct.pack(">BI", flag, 0), end=True)
            self.check_error(self.c.answer(sid), INTERNAL, "unknown flags")

    def test_flag_is_of_each_message(self):
        sid = self.c.request(PATH + "Drink", GZIP)
        item = pb.Item(mark="flags", data=b"x" * 1000).SerializeToString()
        self.c.send(sid, item, compressed=True)
        self.assertTrue(self.wait_received("flags", 1))
        self.call("Open", pb.Mark(mark="flags"))
        for compressed in False, True, True, False:
            self.c.send(sid, item, compressed=compressed)
        self.c.end(sid)
        got = self.c.answer(sid)
        self.assertEqual((got.status, pb.Counts.FromString(got.messages[0].body).received), (OK, 5))

    def wait_received(self, mark, n):
        end = time.monotonic() + 10 * SLOW
        while self.counts(mark).received < n and time.monotonic() < end:
            time.sleep(0.02)
        return self.counts(mark).received >= n

    def test_bytes_one_by_one(self):
        frame = grpc_frame(pb.Item(data=b"slow" * 100).SerializeToString(), compressed=True)
        sid = self.c.request(PATH + "Echo", GZIP)
        for i, byte in enumerate(frame):
            self.c.data(sid, bytes([byte]), end=i + 1 == len(frame))
        got = self.c.answer(sid)
        self.assertEqual(pb.Item.FromString(got.messages[0].body).data, b"slow" * 100)

    def test_damaged(self):
        body = pb.Item(data=b"damaged " * 100).SerializeToString()
        good = gzip.compress(body)
        wrong = {"cut off": good[:-1], "no end": good[:-8], "only a head": good[:10], "empty": b"", "no gzip": b"x" * 100,
                 "zlib instead": zlib.compress(body), "two members": good + good, "something behind": good + b"\0",
                 "wrong checksum": good[:-8] + b"\0\0\0\0" + good[-4:], "wrong length": good[:-4] + b"\1\0\0\0",
                 "flipped": good[:20] + bytes([good[20] ^ 0xFF]) + good[21:]}
        for what, packed in wrong.items():
            with self.subTest(what=what):
                sid = self.c.request(PATH + "Echo", GZIP)
                self.c.send(sid, compressed=True, packed=packed, end=True)
                got = self.c.answer(sid)
                self.check_error(got, INTERNAL, "not one whole and undamaged gzip member")
                sid = self.c.request(PATH + "Drink", GZIP)
                self.c.send(sid, compressed=True, packed=packed, end=True)
                self.check_error(self.c.answer(sid), INTERNAL, "not one whole and undamaged gzip member")

    def test_over_the_limit(self):
        within = self.echo(bytes(4 * 2 ** 20 - 100), compressed=True, fields=GZIP)
        self.assertEqual(within.status, OK)
        over = self.echo(bytes(4 * 2 ** 20), compressed=True, fields=GZIP)
        self.check_error(over, RESOURCE_EXHAUSTED, "decompressed, is longer than the limit of 4194304")

    def test_bombs_cost_nothing(self):
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = b"".join(bomb.compress(bytes(2 ** 20)) for _ in range(64)) + bomb.flush()  # 64 MB in 64 KB
        lying = packed[:-4] + struct.pack("<I", 10)
        before = self.server.memory()
        for _ in range(20):
            for body, status in (packed, RESOURCE_EXHAUSTED), (lying, INTERNAL):
                sid = self.c.request(PATH + "Echo", GZIP)
                self.c.send(sid, compressed=True, packed=body, end=True)
                self.assertEqual(self.c.answer(sid).status, status)
        self.assertLess(self.server.memory() - before, (8 if harness.SANITIZER == "" else 300) * 2 ** 20)

    def test_held_calls_keep_what_was_sent(self):
        # A hundred calls of 4 MB in 4 KB each that do not end: what they unfold to is not held.
        packed = gzip.compress(pb.Item(data=bytes(4 * 2 ** 20 - 100)).SerializeToString())
        before = self.server.memory()
        for _ in range(100):
            sid = self.c.request(PATH + "Echo", GZIP)
            self.c.send(sid, compressed=True, packed=packed)
        self.assertEqual(self.call("Echo", pb.Item(mark="alive")).status, OK)
        self.assertLess(self.server.memory() - before, (16 if harness.SANITIZER == "" else 300) * 2 ** 20)

    def test_answers(self):
        data = b"again and again " * 100
        for fields, asks, size, flagged in [(ACCEPTS, True, 1600, True), (ACCEPTS, False, 1600, False), ([], True, 1600, False),
                                            ([("grpc-accept-encoding", "identity")], True, 1600, False),
                                            (ACCEPTS, True, 20, False), (ACCEPTS, True, 0, False)]:
            got = self.call("Echo", pb.Item(data=data[:size], compress=asks), fields=fields)
            self.assertEqual([m.compressed for m in got.messages], [flagged], (fields, asks, size))
            self.assertEqual(pb.Item.FromString(got.messages[0].body).data, data[:size])
            self.assertEqual(got.header("grpc-encoding"), "gzip" if asks and fields == ACCEPTS else None)

    def test_what_does_not_get_shorter_is_sent_as_it_is(self):
        with open("/dev/urandom", "rb") as random:
            data = random.read(5000)
        got = self.call("Echo", pb.Item(data=data, compress=True), fields=ACCEPTS)
        self.assertEqual([m.compressed for m in got.messages], [False])
        self.assertEqual(pb.Item.FromString(got.messages[0].body).data, data)

    def test_packing_by_message(self):
        got = self.call("Packing", pb.PackingRequest(compress=[False, True, False], all=True, size=1000), fields=ACCEPTS)
        self.assertEqual(got.status, OK)
        self.assertEqual([m.compressed for m in got.messages], [False, True, False, False, True])
        got = self.call("Packing", pb.PackingRequest(compress=[True, False, True], size=1000), fields=ACCEPTS)
        self.assertEqual([m.compressed for m in got.messages], [True, False, True])

    def test_between_services_the_wish_is_seen(self):
        for wish in True, False:
            got = self.call("Inside", pb.Item(data=b"x" * 1000, compress=wish), fields=ACCEPTS)
            self.assertEqual((got.status, [m.compressed for m in got.messages]), (OK, [False]))
            self.assertEqual(pb.Item.FromString(got.messages[0].body), pb.Item(data=b"x" * 1000, compress=wish))

    def test_packing_too_late(self):
        got = self.call("Packing", pb.PackingRequest(compress=[False, True], size=1000), fields=ACCEPTS)
        self.assertEqual((got.status, [m.compressed for m in got.messages]), (INTERNAL, [False]))
        self.assertTrue(self.server.wait_log("compress comes too late: call ctx:compress"))


class Streams(Case):
    def test_peers_window_stops_the_handler(self):
        self.c.close()
        self.c = self.connect(settings={raw_http2.INITIAL_WINDOW_SIZE: 1000})
        self.c.gives_window = False
        sid = self.begin("Flood", pb.FloodRequest(mark="shut", count=10000, size=1000))
        sent = self.settle(lambda: self.counts_elsewhere("shut").sent)
        self.assertGreater(sent, 0)
        self.assertLess(sent, 2000)  # of 10 MB: what waits in between is bounded
        self.c.until(lambda: len(self.c.streams[sid].data) >= 1000)
        self.assertEqual(len(self.c.streams[sid].data), 1000)
        self.c.gives_window = True
        self.c.give(sid, 2 ** 20)
        got = self.c.answer(sid)
        self.assertEqual((got.status, len(got.messages)), (OK, 10000))

    def counts_elsewhere(self, mark):
        with self.connect() as other:
            got = other.call(PATH + "Count", pb.Mark(mark=mark).SerializeToString())
            return pb.Counts.FromString(got.messages[0].body)

    def push_all(self, sid, limit=20 * 2 ** 20):
        """Sends until the server's window stays shut; how many messages of 1 KB went."""
        frame, sent, stream = grpc_frame(pb.Item(data=b"z" * 1000).SerializeToString()), 0, self.c.streams[sid]
        while sent * len(frame) < limit:
            fits = lambda: min(self.c.window, stream.window) >= len(frame)
            if not fits() and not self.c.until(fits, 0.5 * SLOW):
                break
            self.c.data(sid, frame)
            sent += 1
        return sent

    def test_slow_handler_stops_the_peer(self):
        sid = self.begin("Drink", pb.Item(mark="slow"), end=False)
        sent = self.push_all(sid)
        self.assertGreater(sent, 30)  # of about 1 KB each: a window of 64 KB
        self.assertLess(sent, 2000)
        self.assertEqual(self.counts("slow").received, 1)  # the connection's own window is not used up
        self.call("Open", pb.Mark(mark="slow"))
        self.c.end(sid)
        got = self.c.answer(sid)
        self.assertEqual((got.status, pb.Counts.FromString(got.messages[0].body).received), (OK, sent + 1))

    def test_two_ways_do_not_wait_for_each_other(self):
        sid = self.begin("Both", pb.Item(mark="both"), end=False)
        stream = self.c.streams[sid]
        self.c.until(lambda: len(stream.data) > 20000)  # it sends while it does not read
        sent = self.push_all(sid)
        self.assertLess(sent, 2000)
        already = len(stream.data)
        self.c.until(lambda: len(stream.data) > already + 20000)  # and goes on when our side is stopped
        self.call("Open", pb.Mark(mark="both"))
        self.c.end(sid)
        got = self.c.answer(sid)
        self.assertEqual((got.status, self.counts("both").received), (OK, sent + 1))

    def test_answer_before_the_end_of_the_request(self):
        sid = self.c.request(PATH + "Drink", GZIP)
        self.c.send(sid, compressed=True, packed=b"no gzip")
        got = self.c.answer(sid)
        self.assertEqual(got.status, INTERNAL)
        self.c.until(lambda: got.reset is not None)
        self.assertEqual(got.reset, raw_http2.NO_ERROR)  # the rest is not wanted

    def test_cancel_reaches_nested_calls(self):
        for method, mark in ("Deep", "c1"), ("DeepStream", "c2"):
            sid = self.begin(method, pb.DeepRequest(mark=mark, depth=3))
            if method == "Deep":
                self.assertTrue(self.server.wait_log(f"deep asleep .*mark={mark}"))
            else:
                self.assertTrue(self.c.until(lambda: len(self.c.streams[sid].data) > 20))
            self.c.reset(sid)
            for depth in range(4):
                self.assertTrue(self.server.wait_log(f"deep ended .*depth={depth}.* mark={mark}\\b|"
                                                     f"deep ended .*mark={mark} .*depth={depth}\\b"), (mark, depth))

    def test_deadline_reaches_nested_streams(self):
        sid = self.begin("DeepStream", pb.DeepRequest(mark="d1", depth=2), fields=[("grpc-timeout", "300m")])
        self.assertEqual(self.c.answer(sid).status, DEADLINE_EXCEEDED)
        for depth in range(3):
            self.assertTrue(self.server.wait_log(f"deep ended .*depth={depth}.* mark=d1\\b|deep ended .*mark=d1 .*depth={depth}\\b"))

    def test_lost_connection_cancels(self):
        self.begin("DeepStream", pb.DeepRequest(mark="l1", depth=2))
        self.c.until(lambda: len(self.c.streams[1].data) > 20)
        self.c.close()
        for depth in range(3):
            self.assertTrue(self.server.wait_log(f"deep ended .*depth={depth}.* mark=l1\\b|deep ended .*mark=l1 .*depth={depth}\\b"))

    def test_too_many_streams_are_refused(self):
        sids = [self.begin("Drink", pb.Item(mark=f"many{i}"), end=False) for i in range(128)]
        over = self.begin("Drink", pb.Item(mark="over"), end=False)
        self.c.until(lambda: self.c.streams[over].reset is not None)
        self.assertEqual(self.c.streams[over].reset, raw_http2.REFUSED_STREAM)
        self.assertEqual([sid for sid in sids if self.c.streams[sid].ended], [])
        self.assertEqual(self.c.settings[raw_http2.MAX_CONCURRENT_STREAMS], 128)


class Metadata(Case):
    def values(self, *fields, keys, **options):
        got = self.call("Metadata", pb.Keys(keys=keys), fields=fields, **options)
        self.assertEqual(got.status, OK, got.header("grpc-message"))
        answer = pb.Values.FromString(got.messages[0].body)
        return {v.key: [bytes.fromhex(h) for h in v.hex] for v in answer.values}, got, answer

    def test_repeated_keys(self):
        values, _, _ = self.values(("x-a", "one"), ("x-b", "b"), ("x-a", "two"), ("x-a", ""), keys=["x-a", "x-b", "x-none"])
        self.assertEqual(values, {"x-a": [b"one", b"two", b""], "x-b": [b"b"], "x-none": []})

    def test_binary_values(self):
        raw = [bytes(range(n)) for n in (0, 1, 2, 3, 4)]
        padded = [base64.b64encode(r).decode() for r in raw]
        bare = [text.rstrip("=") for text in padded]
        for what, texts in ("padded", padded), ("bare", bare):
            fields = [("x-raw-bin", text) for text in texts]
            self.assertEqual(self.values(*fields, keys=["x-raw-bin"])[0], {"x-raw-bin": raw}, what)
        joined = [("x-raw-bin", ",".join([padded[2], bare[1]])), ("x-raw-bin", ", ".join([bare[4], padded[3]]))]
        self.assertEqual(self.values(*joined, keys=["x-raw-bin"])[0], {"x-raw-bin": [raw[2], raw[1], raw[4], raw[3]]})

    def test_what_a_service_does_not_see(self):
        fields = [("grpc-previous-rpc-attempts", "1"), ("authorization", "Bearer x"), ("x-seen", "yes")]
        keys = ["grpc-previous-rpc-attempts", "grpc-timeout", "grpc-encoding", "authorization", "te", "content-type", ":path", "x-seen"]
        values, _, _ = self.values(*fields, keys=keys)
        self.assertEqual({k: v for k, v in values.items() if v}, {"x-seen": [b"yes"]})

    def test_leading_and_trailing(self):
        _, got, _ = self.values(keys=[])
        leading, trailing = [f for f in got.headers if f[0].startswith("x-")], [f for f in got.trailers if f[0].startswith("x-")]
        self.assertEqual(leading, [("x-twice", "one"), ("x-twice", "two"), ("x-raw-bin", "AAH/")])
        self.assertEqual(trailing, [("x-end", "last"), ("x-end-bin", "/g")])
        self.assertEqual((got.header(":status"), got.header("content-type")), ("200", "application/grpc"))

    def test_timeout_units(self):
        for text, least, most in [("1H", 3590, 3600), ("2M", 110, 120), ("20S", 10, 20), ("20000m", 10, 20),
                                  ("20000000u", 10, 20), ("99999999n", 0, 0.1), ("99999999H", 1e9, 1e12)]:
            got = self.call("Metadata", pb.Keys(), fields=[("grpc-timeout", text)])
            if text == "99999999n" and got.status == DEADLINE_EXCEEDED:
                continue  # a tenth of a second may be short under a sanitizer
            self.assertEqual(got.status, OK, text)
            remaining = pb.Values.FromString(got.messages[0].body).remaining
            if text != "99999999H":  # longer than a clock of nanoseconds: none
                self.assertTrue(least <= remaining <= most, (text, remaining))

    def test_wrong_timeouts(self):
        for text in "1", "S", "123456789S", "1s", "-1S", "1.5S", "0x1S", "1SS":
            got = self.call("Metadata", pb.Keys(), fields=[("grpc-timeout", text)])
            self.assertEqual(got.status, INVALID_ARGUMENT, text)
            self.assertIsNone(got.trailers)  # Trailers-Only

    def test_timeout_of_nothing(self):
        for text in "0S", "0n", "1n":
            self.assertEqual(self.call("Metadata", pb.Keys(), fields=[("grpc-timeout", text)]).status, DEADLINE_EXCEEDED, text)

    def test_content_types(self):
        for kind in "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8", "APPLICATION/GRPC":
            self.assertEqual(self.call("Metadata", pb.Keys(), content_type=kind).status, OK, kind)
        got = self.c.call(PATH + "Metadata", b'{"keys":["x-a"]}', content_type="application/grpc+json", fields=[("x-a", "v")])
        self.assertEqual((got.status, got.header("content-type")), (OK, "application/grpc+json"))
        self.assertIn(b'"hex":["76"]', got.messages[0].body)
        for kind in "application/grpcx", "application/json", "text/plain", "application/grpc+thrift", "", None:
            got = self.call("Metadata", pb.Keys(), content_type=kind)
            self.assertEqual((got.header(":status"), got.status), ("415", None), kind)

    def test_te(self):
        self.assertEqual(self.call("Metadata", pb.Keys(), te=None).status, OK)  # asked for, needed by nobody here
        sid = self.c.request(PATH + "Metadata", te="gzip")  # RFC 9113 section 8.2.2
        self.c.until(lambda: self.c.streams[sid].reset is not None)
        self.assertEqual(self.c.streams[sid].reset, raw_http2.PROTOCOL_ERROR)

    def test_methods(self):
        sid, self.c.next_id = self.c.next_id, self.c.next_id + 2
        self.c.streams[sid] = raw_http2.Stream(65535)
        self.c.headers(sid, [(":method", "GET"), (":scheme", "http"), (":path", PATH + "Echo"), (":authority", "x"),
                             ("content-type", "application/grpc")], end=True)
        got = self.c.answer(sid)
        self.assertEqual((got.header(":status"), got.header("allow")), ("405", "POST"))

    def test_status_messages(self):
        for text in ["plain text", "100 %", "tab\tline\nend\r", "\u00e9\u263a\U0001F608", "\x01\x1f\x7f", "%20", "x" * 1000]:
            got = self.call("Fail", pb.FailRequest(code="ABORTED", text=text))
            encoded = "".join(c if " " <= c <= "~" and c != "%" else "".join("%%%02X" % b for b in c.encode()) for c in text)
            self.assertEqual((got.status, got.header("grpc-message")), (10, encoded))

    def test_trailers_only(self):
        got = self.call("Fail", pb.FailRequest(code="NOT_FOUND", text="gone"))
        self.assertEqual((got.header(":status"), got.status, got.trailers, len(got.data)), ("200", 5, None, 0))
        self.assertEqual(got.header("content-type"), "application/grpc")

    def test_error_behind_messages(self):
        got = self.call("FailStream", pb.FailRequest(code="OUT_OF_RANGE", text="over"))
        self.assertEqual((got.status, len(got.messages)), (11, 1))
        self.assertNotIn("grpc-status", dict(got.headers))
        self.assertEqual(dict(got.trailers)["x-end"], "failed")

    def test_details(self):
        got = self.call("Fail", pb.FailRequest(code="FAILED_PRECONDITION", text="why", details=True))
        text = got.header("grpc-status-details-bin")
        self.assertNotIn("=", text)
        raw = base64.b64decode(text + "=" * (-len(text) % 4))
        self.assertTrue(raw.startswith(b"\x08\x09\x12\x03why\x1a"), raw)  # google.rpc.Status: code, message, details
        self.assertIn(b"type.googleapis.com/wire.Mark", raw)
        self.assertIn(pb.Mark(mark="detail").SerializeToString(), raw)

    def test_no_message_and_two(self):
        sid = self.c.request(PATH + "Echo", end=True)
        self.assertEqual(self.c.answer(sid).status, INTERNAL)
        sid = self.c.request(PATH + "Echo")
        self.c.data(sid, grpc_frame(b"") + grpc_frame(b""), end=True)
        self.assertEqual(self.c.answer(sid).status, INTERNAL)
        sid = self.c.request(PATH + "Echo")
        self.c.data(sid, grpc_frame(b"12345")[:7], end=True)
        self.assertEqual(self.c.answer(sid).status, INTERNAL)


class Drain(harness.Case):
    """Each test ends its own server."""

    services = [SERVICES / "wire"]

    def setUp(self):
        if self.server.process is None:
            type(self).server = harness.Server(self.services, self.args).start()

    def test_stop_lets_open_calls_finish(self):
        with raw_http2.connect(self.server.proxy, timeout=20 * SLOW) as c:
            sid = c.request(PATH + "Drink")
            c.send(sid, pb.Item(mark="drain").SerializeToString())
            end = time.monotonic() + 10 * SLOW
            while time.monotonic() < end:
                got = c.call(PATH + "Count", pb.Mark(mark="drain").SerializeToString())
                if pb.Counts.FromString(got.messages[0].body).received:
                    break
            c.answers_pings = False
            self.server.process.send_signal(signal.SIGTERM)
            self.assertTrue(c.until(lambda: c.goaway and c.pings))
            self.assertEqual(c.goaway[0], (2 ** 31 - 1, raw_http2.NO_ERROR))  # the notice: what is under way to it is served
            late = c.call(PATH + "Open", pb.Mark(mark="drain").SerializeToString())
            self.assertEqual(late.status, OK)
            c.frame(raw_http2.PING, raw_http2.ACK, 0, c.pings[-1])
            self.assertTrue(c.until(lambda: len(c.goaway) == 2))
            self.assertEqual(c.goaway[1], (c.next_id - 2, raw_http2.NO_ERROR))
            refused = c.request(PATH + "Count")  # above the last id: its sender knows that it was not begun
            c.send(sid, pb.Item(mark="drain").SerializeToString(), end=True)
            got = c.answer(sid)
            self.assertEqual((got.status, pb.Counts.FromString(got.messages[0].body).received), (OK, 2))
            self.assertIsNone(c.streams[refused].headers)
            self.assertTrue(c.until(lambda: c.closed))
        self.server.stop(ask=False)

    def test_new_calls_go_elsewhere(self):
        # A channel of several servers whose connection drains makes its next calls at another, without an error.
        import grpc
        with harness.Server(self.services) as other:
            target = f"ipv4:{self.server.proxy},{other.proxy}"
            channel = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1),
                                                             ("grpc.lb_policy_name", "round_robin"),
                                                             ("grpc.initial_reconnect_backoff_ms", 100)])
            grpc.channel_ready_future(channel).result(20 * SLOW)
            wire = rpc.WireStub(channel)
            for _ in range(20):
                wire.Echo(pb.Item(mark="a"), timeout=20 * SLOW)
            self.server.process.send_signal(signal.SIGTERM)
            end, calls = time.monotonic() + 1.5, 0
            while time.monotonic() < end:
                self.assertEqual(wire.Echo(pb.Item(mark="b"), timeout=20 * SLOW).mark, "b")
                calls += 1
            self.assertGreater(calls, 50 / SLOW)
            channel.close()
        self.server.stop(ask=False)


if __name__ == "__main__":
    harness.main()
