#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Deadlines, cancellation, back-pressure and memory: nothing waits or grows without end."""

import threading
import time

import grpc
import harness
from harness import SERVICES, SLOW, curl

pb, rpc = harness.stubs(SERVICES / "probe/proto/probe.proto")


class Limits(harness.Case):
    services = [SERVICES / "probe"]

    def setUp(self):
        self.channel = self.server.channel()
        self.probe = rpc.ProbeStub(self.channel)

    def tearDown(self):
        self.channel.close()

    def test_deadline(self):
        began = time.monotonic()
        self.assert_rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, self.probe.Sleep,
                              pb.SleepRequest(seconds=30, mark="late"), timeout=0.5)
        self.assertLess(time.monotonic() - began, 5 * SLOW)
        self.assertTrue(self.server.wait_log("broken off .*mark=late"))

    def test_deadline_is_enforced_by_the_server(self):
        # curl sends the header and knows nothing of deadlines itself.
        message = pb.SleepRequest(seconds=30, mark="header").SerializeToString()
        body = harness.work_folder("frame") / "body"
        body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        out = curl("--http2-prior-knowledge", "-i", "-H", "content-type: application/grpc", "-H", "te: trailers", "-H",
                   "grpc-timeout: 300m", "--data-binary", f"@{body}", f"http://{self.server.proxy}/probe.Probe/Sleep")
        self.assertRegex(out, r"(?m)^grpc-status: 4\s*$")
        self.assertTrue(self.server.wait_log("broken off .*mark=header"))

    def test_deadline_reaches_the_nested_call(self):
        self.assert_rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, self.probe.Nest,
                              pb.SleepRequest(seconds=30, mark="nested"), timeout=0.5 * SLOW)
        self.assertTrue(self.server.wait_log("broken off .*mark=nested"))

    def test_deadline_as_the_handler_sees_it(self):
        answer = self.probe.Who(pb.Empty(), timeout=7)
        self.assertTrue(answer.has_deadline)
        self.assertGreater(answer.remaining, 1)
        self.assertLessEqual(answer.remaining, 7.1)
        answer = self.probe.Who(pb.Empty())
        self.assertGreater(answer.remaining, 20)
        self.assertLessEqual(answer.remaining, 30.1)

    def test_cancellation(self):
        call = self.probe.Sleep.future(pb.SleepRequest(seconds=30, mark="cancelled"))
        self.assertTrue(self.server.wait_log("asleep .*mark=cancelled"))
        call.cancel()
        self.assertTrue(self.server.wait_log("broken off .*mark=cancelled"))

    def test_cancellation_reaches_the_nested_call(self):
        call = self.probe.Nest.future(pb.SleepRequest(seconds=30, mark="deep"))
        self.assertTrue(self.server.wait_log("asleep .*mark=deep"))
        call.cancel()
        self.assertTrue(self.server.wait_log("broken off .*mark=deep"))

    def test_lost_connection_cancels(self):
        channel = self.server.channel()
        call = rpc.ProbeStub(channel).Sleep.future(pb.SleepRequest(seconds=30, mark="lost"))
        self.assertTrue(self.server.wait_log("asleep .*mark=lost"))
        channel.close()
        self.assertTrue(call.cancelled() or call.exception() is not None)
        self.assertTrue(self.server.wait_log("broken off .*mark=lost"))

    def test_lost_http_connection_cancels(self):
        body = b'{"seconds":20,"mark":"hung-up"}'
        with self.server.connect() as connection:
            connection.sendall(b"POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            self.assertTrue(self.server.wait_log("asleep .*mark=hung-up"))
        self.assertTrue(self.server.wait_log("broken off .*mark=hung-up"))

    def test_slow_reader_stops_the_producer(self):
        stream = self.probe.Endless(pb.Empty())
        next(stream)
        time.sleep(0.5)
        before = self.server.memory()
        time.sleep(2)
        grown = self.server.memory() - before
        for _ in range(200):
            self.assertEqual(len(next(stream).data), 16 * 1024)
        stream.cancel()
        self.assertLess(grown, 32 * 1024 * 1024)
        self.assertTrue(self.server.wait_log("endless ended"))

    def test_many_slow_readers(self):
        before = self.server.memory()
        channels = [self.server.channel() for _ in range(20)]
        streams = [rpc.ProbeStub(channel).Endless(pb.Empty()) for channel in channels]
        for stream in streams:
            next(stream)
        time.sleep(2)
        grown = self.server.memory() - before
        for channel in channels:
            channel.close()
        self.assertLess(grown, 128 * 1024 * 1024 * (3 if harness.SANITIZER else 1))
        self.assertEqual(self.probe.Length(pb.Text(text="abc"), timeout=10 * SLOW).n, 3)

    def test_sleepers_do_not_hold_up_others(self):
        channels = [self.server.channel() for _ in range(4)]  # a connection has a limit of streams
        calls = [rpc.ProbeStub(channel).Sleep.future(pb.SleepRequest(seconds=1.5, mark="many"))
                 for channel in channels for _ in range(50)]
        began = time.monotonic()
        self.assertEqual(self.probe.Length(pb.Text(text="abc"), timeout=10 * SLOW).n, 3)
        self.assertLess(time.monotonic() - began, 1 * SLOW)
        self.assertEqual({call.result().text for call in calls}, {"many"})
        for channel in channels:
            channel.close()
        self.assertLess(time.monotonic() - began, 5 * SLOW)

    def test_service_that_calls_itself(self):
        # Nest calls Sleep on the same service: waiting requests must not block the one they wait for.
        threads, answers = [], []
        for _ in range(20):
            thread = threading.Thread(target=lambda: answers.append(
                self.probe.Nest(pb.SleepRequest(seconds=0.1, mark="both"), timeout=20 * SLOW).text))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        self.assertEqual(answers, ["both"] * 20)


class Memory(harness.Case):
    """A service that eats its memory is answered for, and a fresh instance takes over: at once the first time, after a pause
    when it happens again and again."""

    services = [SERVICES / "probe"]

    def answers_again(self):
        end = time.monotonic() + 10 * SLOW
        while (answer := self.server.post("/probe/length", {"text": "abc"})).status == 503 and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(answer.json, {"n": "3"})

    def test_over_grpc(self):
        with self.server.channel() as channel:
            probe = rpc.ProbeStub(channel)
            err = self.assert_rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, probe.Eat, pb.Empty(), timeout=25 * SLOW)
        self.assertRegex(err.details(), "memory")
        self.answers_again()

    def test_others_at_work_are_answered_too(self):
        with self.server.channel() as channel:
            probe = rpc.ProbeStub(channel)
            asleep = probe.Sleep.future(pb.SleepRequest(seconds=20, mark="beside"), timeout=25 * SLOW)
            self.assertTrue(self.server.wait_log("asleep .*mark=beside"))
            self.assert_rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, probe.Eat, pb.Empty(), timeout=25 * SLOW)
            self.assertIn(asleep.exception(10 * SLOW).code(), (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE))
        self.answers_again()

    def test_again_and_again_in_json(self):
        for _ in range(3):
            self.assert_error(self.server.post("/probe/eat", {}), 429, None, "memory")
            self.answers_again()


if __name__ == "__main__":
    harness.main()
