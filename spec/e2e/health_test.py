#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Health: Check and Watch of grpc.health.v1, by names of contracts and of deployments, while services come, go and fail."""

import hashlib
import queue
import signal
import threading
import time

import grpc
import harness
from deploying import Platform, greeter, make_bundle
from harness import EXAMPLES, ROOT, SLOW

pb, rpc = harness.stubs(ROOT / "proto/grpc/health/v1/health.proto")
CODE = grpc.StatusCode
STRANGER = [("origin", "http://elsewhere.example")]
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)

FRAGILE = """syntax = "proto3";
package fragile;
service Fragile { rpc Break(Empty) returns (Empty); rpc Slow(Empty) returns (Empty); }
message Empty {}
"""
FRAGILE_MAIN = """local mica = require "mica"
local Fragile = {}
function Fragile.Break()
  local eaten = {}
  for i = 1, 1e9 do eaten[i] = ("x"):rep(1000) .. i end
end
function Fragile.Slow() mica.sleep(2) end
return mica.service { handlers = { Fragile = Fragile }, public = true, limits = { memory = "4MB" } }
"""


class Watch:
    """A Watch whose answers are read as they come."""

    def __init__(self, channel, service, metadata=None):
        self.call = rpc.HealthStub(channel).Watch(pb.HealthCheckRequest(service=service), timeout=60 * SLOW,
                                                  metadata=metadata)
        self.seen = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for answer in self.call:
                self.seen.put(answer.status)
        except grpc.RpcError as error:
            self.seen.put(error.code())

    def next(self, seconds=10):
        return self.seen.get(timeout=seconds * SLOW)

    def nothing(self, seconds):
        try:
            return self.seen.get(timeout=seconds)
        except queue.Empty:
            return None


class Health(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.fragile = harness.write_service(harness.work_folder("fragile"), "fragile", FRAGILE, FRAGILE_MAIN)
        cls.services = [EXAMPLES / "helloworld", EXAMPLES / "news", cls.fragile]
        super().setUpClass()
        cls.channel = cls.server.channel()
        cls.stub = rpc.HealthStub(cls.channel)

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        super().tearDownClass()

    def check(self, service, metadata=None):
        return self.stub.Check(pb.HealthCheckRequest(service=service), timeout=10 * SLOW, metadata=metadata).status

    def test_check(self):
        for name in ("", "helloworld", "helloworld.Helloworld", "news.News", "registry", "mica.registry.v1.Registry", "proxy",
                     "grpc.health.v1.Health"):
            self.assertEqual(self.check(name), SERVING, name)

    def test_unknown_names(self):
        for name in ("none", "helloworld.None", "helloworld.Helloworld.Call", "Helloworld", "a" * 3000):
            error = self.assert_rpc_error(CODE.NOT_FOUND, self.stub.Check, pb.HealthCheckRequest(service=name))
            self.assertIn("no service", error.details())

    def test_nobody_needs_an_account(self):
        self.assertEqual(self.check("helloworld", STRANGER), SERVING)
        self.assertEqual(self.check("mica.registry.v1.Registry", STRANGER), SERVING)
        self.assertEqual(Watch(self.channel, "", STRANGER).next(), SERVING)

    def test_the_gateway_answers_too(self):
        answer = self.server.post("/proxy/health/check", {"service": "helloworld"})
        self.assertEqual(answer.json, {"status": "SERVING"})

    def test_watch_follows_a_deployment(self):
        namespace = "t" + hashlib.sha256(self.id().encode()).hexdigest()[:12]
        with Platform(self.server, namespace) as platform:
            by_name = Watch(self.channel, "greeter", platform.metadata)
            by_proto = Watch(self.channel, "greeter.Greeter", platform.metadata)
            elsewhere = Watch(self.channel, "greeter")
            for watch in (by_name, by_proto, elsewhere):
                self.assertEqual(watch.next(), SERVICE_UNKNOWN)
            platform.create(make_bundle(greeter("one")))
            for watch in (by_name, by_proto):
                self.assertEqual(watch.next(), SERVING)
            platform.update(make_bundle(greeter("two")))  # serves all the time
            platform.delete()
            for watch in (by_name, by_proto):
                self.assertEqual(watch.next(), SERVICE_UNKNOWN)
            platform.create(make_bundle(greeter("three")))
            for watch in (by_name, by_proto):
                self.assertEqual(watch.next(), SERVING)
            self.assertIsNone(elsewhere.nothing(0.1), "another namespace's service")
            for watch in (by_name, by_proto, elsewhere):
                watch.call.cancel()

    def test_watch_tells_of_failures(self):
        watch = Watch(self.channel, "fragile.Fragile")
        self.assertEqual(watch.next(), SERVING)
        end = time.monotonic() + 20 * SLOW
        status = None
        while status is None and time.monotonic() < end:  # the more often it breaks, the longer it rests
            self.server.post("/fragile/break", {})
            status = watch.nothing(0.05)
        self.assertEqual(status, NOT_SERVING)
        self.assertEqual(watch.next(30), SERVING)
        watch.call.cancel()

    def test_watches_are_bounded(self):
        watches = []
        with self.server.channel() as one, self.server.channel() as two, self.server.channel() as three, \
                self.server.channel() as four, self.server.channel() as five:
            for channel in (one, two, three, four, five):
                watches += [rpc.HealthStub(channel).Watch(pb.HealthCheckRequest(), timeout=60 * SLOW) for _ in range(110)]
            answers = {"ok": 0, "full": 0}
            for watch in watches:
                try:
                    self.assertEqual(next(watch).status, SERVING)
                    answers["ok"] += 1
                except grpc.RpcError as error:
                    self.assertEqual(error.code(), CODE.RESOURCE_EXHAUSTED)
                    answers["full"] += 1
            self.assertGreaterEqual(answers["full"], 50)
            self.assertGreater(answers["ok"], 400)
            self.assertEqual(self.check(""), SERVING)  # questions are answered all the same
            with Platform(self.server, "watched") as platform:  # and deployments go on
                platform.create(make_bundle(greeter("one")))
        end = time.monotonic() + 10 * SLOW
        while time.monotonic() < end:
            if Watch(self.channel, "").next() == SERVING:
                return
        self.fail("there is no room for a watch again")


class Stop(harness.Case):
    def test_nothing_serves_when_the_server_stops(self):
        fragile = harness.write_service(harness.work_folder("fragile"), "fragile", FRAGILE, FRAGILE_MAIN)
        server = harness.Server([fragile]).start()
        with server.channel() as channel, server.channel() as other:
            watches = [Watch(channel, name) for name in ("", "fragile", "none")]
            self.assertEqual([w.next() for w in watches], [SERVING, SERVING, SERVICE_UNKNOWN])
            slow = other.unary_unary("/fragile.Fragile/Slow").future(b"", timeout=20 * SLOW)
            end = time.monotonic() + 10 * SLOW
            while b'endpoint="Fragile.Slow"} 1\n' not in server.http("GET", "/metrics").body and time.monotonic() < end:
                time.sleep(0.02)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual([w.next() for w in watches[:2]], [NOT_SERVING, NOT_SERVING])
            self.assertFalse(slow.done(), "it is told before calls are drained")
            self.assertEqual([w.next() for w in watches], [CODE.UNAVAILABLE] * 3)
            self.assertEqual(slow.result(), b"")
            server.stop(ask=False)
            self.assertLess(time.monotonic() - began, 6 * SLOW)


if __name__ == "__main__":
    harness.main()
