#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics: what it says is exact for known series of calls, returns to zero, stays bounded, and can be read under load."""

import threading
import time

import grpc
import harness
from deploying import Platform, greeter, make_bundle
from exposition import Page
from harness import EXAMPLES, SERVICES, SLOW

CODE = grpc.StatusCode
STRANGER = [("origin", "http://elsewhere.example")]
pb, rpc = harness.stubs(SERVICES / "probe/proto/probe.proto")

COUNTS = """syntax = "proto3";
package counts;
service Counts { rpc Run(Job) returns (Job); }
message Job { string kind = 1; int32 n = 2; }
"""
COUNTS_MAIN = """local mica = require "mica"
local metrics = mica.metrics
local Counts, run = {}, {}
function run.known()
  metrics.count("orders", 2, { kind = 'a"b\\\\c\\nd', ["n"] = 1 })
  metrics.count("jobs_total")
  metrics.gauge("depth", -1.5)
  metrics.timing("took", 0.2)
end
function run.many(n) for i = 1, n do metrics.count("many", 1, { i = i }) end end
function run.wrong() metrics.gauge("orders_total", 1) end
function run.reserved() metrics.count("mica_calls") end
function Counts.Run(_, req)
  run[req.kind](req.n)
  return req
end
return mica.service { handlers = { Counts = Counts }, public = true }
"""

# What must be nothing when nothing is going on.
GAUGES = ("mica_calls_in_flight", "mica_http_streams_open", "mica_messages_alive", "mica_buffers_alive")


def read(server):
    answer = server.http("GET", "/metrics")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", answer.headers
    return Page(answer.body.decode())


class Metrics(harness.Case):
    @classmethod
    def setUpClass(cls):
        counts = harness.write_service(harness.work_folder("counts"), "counts", COUNTS, COUNTS_MAIN)
        cls.services = [EXAMPLES / "helloworld", SERVICES / "probe", SERVICES / "closed", counts]
        super().setUpClass()

    def setUp(self):
        self.channel = self.server.channel()
        self.addCleanup(self.channel.close)
        self.probe = rpc.ProbeStub(self.channel)
        self.before = read(self.server)

    def grown(self, page, name, **labels):
        """By how much samples have grown since the test began, without those that have not."""
        old = self.before.find(name, **labels)
        new = page.find(name, **labels)
        return {key: value - old.get(key, 0) for key, value in new.items() if value != old.get(key, 0)}

    def settle(self, seconds=5):
        """The page when nothing is going on any more: what ends a call comes a moment after its answer."""
        end = time.monotonic() + seconds * SLOW
        while True:
            page = read(self.server)
            left = {name: page.sum(name) for name in GAUGES if page.sum(name) != 0}
            if not left or time.monotonic() > end:
                self.assertEqual(left, {})
                return page
            time.sleep(0.02)

    def codes(self, page, endpoint, door="proxy", service="probe"):
        return self.grown(page, "mica_calls_total", door=door, namespace="mica", service=service, endpoint=endpoint)

    # ---- calls
    def test_calls_by_code(self):
        for i in range(5):
            self.probe.Length(pb.Text(text="x"), timeout=10 * SLOW)
        for i in range(3):
            self.assertEqual(self.server.post("/probe/length", {"text": "x"}).status, 200)
        self.assertEqual(self.server.post("/probe/length", "{nonsense").status, 400)
        for i in (0, 2, 7):
            self.assert_rpc_error(CODE.FAILED_PRECONDITION, self.probe.Some, pb.Number(n=i))
        self.assertEqual(self.probe.Sum(iter([pb.Number(n=1)] * 4), timeout=10 * SLOW).n, 4)
        self.assert_rpc_error(CODE.DEADLINE_EXCEEDED, self.probe.Sleep, pb.SleepRequest(seconds=60), timeout=1 * SLOW)
        for i in range(2):
            endless = self.probe.Endless(pb.Empty(), timeout=20 * SLOW)
            next(endless)
            endless.cancel()
        page = self.settle()
        self.assertEqual(self.codes(page, "Probe.Length"), {"OK": 5})
        self.assertEqual(self.codes(page, "Probe.Length", door="api"), {"OK": 3, "INVALID_ARGUMENT": 1})
        self.assertEqual(self.codes(page, "Probe.Some"), {"FAILED_PRECONDITION": 3})
        self.assertEqual(self.codes(page, "Probe.Sum"), {"OK": 1})
        self.assertEqual(sum(self.codes(page, "Probe.Sleep").values()), 1)
        self.assertLessEqual(set(self.codes(page, "Probe.Sleep")), {"DEADLINE_EXCEEDED", "CANCELLED"})
        self.assertEqual(self.codes(page, "Probe.Endless"), {"CANCELLED": 2})
        [(labels, count)] = self.grown(page, "mica_requests_total", service="probe").items()
        self.assertEqual(count, 5 + 4 + 3 + 1 + 1 + 2)
        self.assertEqual(self.grown(page, "mica_request_queue_seconds_count", service="probe"), {labels: count})

    def test_what_no_route_answers(self):
        for path in ("/none", "/none/call", "/probe/none"):
            self.assertEqual(self.server.post(path, {}).status, 404)
        call = self.channel.unary_unary("/none.None/Call")
        self.assert_rpc_error(CODE.UNIMPLEMENTED, call, b"")
        closed = self.channel.unary_unary("/closed.Closed/Shut")
        self.assert_rpc_error(CODE.UNAUTHENTICATED, closed, b"", metadata=STRANGER)
        page = self.settle()
        nobody = dict(namespace="", service="", endpoint="")
        self.assertEqual(self.grown(page, "mica_calls_total", door="api", **nobody), {"NOT_FOUND": 3})
        self.assertEqual(self.grown(page, "mica_calls_total", door="proxy", **nobody), {"UNIMPLEMENTED": 1})
        self.assertEqual(self.codes(page, "Closed.Shut", service="closed"), {"UNAUTHENTICATED": 1})

    def test_durations(self):
        self.server.post("/probe/sleep", {"seconds": 0.3 * SLOW})
        self.server.post("/probe/length", {"text": "x"})
        page = self.settle()
        slow = dict(door="api", endpoint="Probe.Sleep")
        [seconds] = self.grown(page, "mica_call_duration_seconds_sum", **slow).values()
        self.assertGreaterEqual(seconds, 0.3 * SLOW)
        self.assertLess(seconds, 5 * SLOW)
        self.assertFalse(self.grown(page, "mica_call_duration_seconds_bucket", le="0.25", **slow))
        self.assertEqual(list(self.grown(page, "mica_call_duration_seconds_bucket", le="10", **slow).values()), [1])
        [seconds] = self.grown(page, "mica_call_duration_seconds_sum", door="api", endpoint="Probe.Length").values()
        self.assertLess(seconds, 1 * SLOW)

    def test_queue_time(self):
        """Requests that wait for one that keeps the machine busy show how long they have waited."""
        threads = [threading.Thread(target=self.server.post, args=("/counts/run", {"kind": "many", "n": 900}))
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        page = self.settle()
        self.assertEqual(list(self.grown(page, "mica_request_queue_seconds_count", service="counts").values()), [4])
        [seconds] = self.grown(page, "mica_request_queue_seconds_sum", service="counts").values()
        self.assertTrue(0 < seconds < 20 * SLOW, seconds)

    # ---- gauges
    def test_gauges_rise_and_return_to_zero(self):
        sleeping = [self.probe.Sleep.future(pb.SleepRequest(seconds=30), timeout=60 * SLOW) for _ in range(3)]
        endless = self.probe.Endless(pb.Empty(), timeout=60 * SLOW)
        next(endless)
        end = time.monotonic() + 5 * SLOW
        while time.monotonic() < end:
            page = read(self.server)
            if page.sum("mica_calls_in_flight", endpoint="Probe.Sleep") == 3:
                break
        self.assertEqual(page.sum("mica_calls_in_flight", door="proxy", endpoint="Probe.Sleep"), 3)
        self.assertEqual(page.sum("mica_calls_in_flight", door="proxy", endpoint="Probe.Endless"), 1)
        self.assertEqual(page.one("mica_http_streams_open", side="door"), 4)
        self.assertEqual(page.one("mica_requests_open", service="probe"), 4)
        for call in sleeping + [endless]:
            call.cancel()
        self.settle()

    def test_nested_calls_leave_nothing(self):
        for _ in range(20):
            self.probe.Nest(pb.SleepRequest(seconds=0), timeout=10 * SLOW)
        for _ in range(3):
            call = self.probe.Nest.future(pb.SleepRequest(seconds=30), timeout=60 * SLOW)
            end = time.monotonic() + 10 * SLOW
            while read(self.server).one("mica_requests_open", service="probe") != 2 and time.monotonic() < end:
                time.sleep(0.01)
            call.cancel()
            self.settle()
        page = self.settle()
        self.assertEqual(list(self.grown(page, "mica_requests_total", service="probe").values()), [46])

    def test_a_scrape_does_not_show_itself(self):
        before = read(self.server)
        for _ in range(10):
            page = read(self.server)
        self.assertEqual([page.sum(name) for name in GAUGES], [0, 0, 0, 0])
        self.assertEqual(page.sum("mica_calls_total"), before.sum("mica_calls_total"))

    # ---- connections
    def test_connections(self):
        with self.server.channel(), self.server.connect() as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"200", plain.recv(100))
            page = read(self.server)
            self.assertEqual(page.one("mica_connections_open", door="proxy", version="2"), 2)
            self.assertEqual(page.one("mica_connections_open", door="api", version="1.1"), 2)  # the scrape's too
        end = time.monotonic() + 5 * SLOW
        while read(self.server).one("mica_connections_open", door="proxy", version="2") != 1 and time.monotonic() < end:
            time.sleep(0.02)
        page = read(self.server)
        self.assertEqual(page.one("mica_connections_open", door="proxy", version="2"), 1)
        self.assertEqual(page.one("mica_connections_open", door="api", version="2"), 0)
        self.assertGreaterEqual(sum(self.grown(page, "mica_connections_total").values()), 4)

    def test_bytes(self):
        self.server.post("/probe/length", {"text": "x" * 100000})
        page = read(self.server)
        self.assertGreater(list(self.grown(page, "mica_received_bytes_total", side="door").values())[0], 100000)
        self.assertGreater(list(self.grown(page, "mica_sent_bytes_total", side="door").values())[0], 1000)

    def test_ends_of_streams(self):
        ended = lambda page, how: self.grown(page, "mica_http_streams_total", side="door", end=how)
        with self.server.connect() as plain:
            plain.sendall(b"POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{\"seconds\":9}")
            time.sleep(0.2 * SLOW)
        page = self.settle()
        self.assertEqual(list(ended(page, "peer").values()), [1])
        self.assertTrue(ended(page, "done"))

    # ---- machines and threads
    def test_machines(self):
        page = read(self.server)
        self.assertGreater(page.one("mica_vm_memory_bytes", service="probe", instance="0"), 10000)
        self.assertEqual(page.one("mica_vm_serving", service="probe", instance="0"), 1)
        self.assertEqual(len(page.find("mica_vm_memory_bytes", namespace="")), 4)  # the platform's own
        self.server.post("/probe/eat", {})
        page = self.settle()
        self.assertEqual(list(self.grown(page, "mica_vm_restarts_total", service="probe").values()), [1])
        self.assertEqual(list(self.grown(page, "mica_request_faults_total", service="probe").values()), [1])

    def test_threads_and_the_process(self):
        for _ in range(50):
            self.server.post("/probe/length", {"text": "x" * 1000})
        page = read(self.server)
        self.assertGreaterEqual(len(page.find("mica_loop_cpu_seconds_total")), 1)
        self.assertGreater(sum(self.grown(page, "mica_loop_cpu_seconds_total").values()), 0)
        self.assertGreater(sum(self.grown(page, "mica_worker_cpu_seconds_total").values()), 0)
        cpu = page.one("process_cpu_seconds_total")
        self.assertGreaterEqual(cpu, page.sum("mica_loop_cpu_seconds_total") + page.sum("mica_worker_cpu_seconds_total") - 1)
        self.assertLess(abs(page.one("process_resident_memory_bytes") / self.server.memory() - 1), 0.3)
        self.assertTrue(5 < page.one("process_open_fds") < page.one("process_max_fds"))
        self.assertLess(abs(page.one("process_start_time_seconds") - time.time()), 300)
        self.assertEqual(page.one("mica_build_info"), 1)

    # ---- who may read
    def test_who_may_read(self):
        self.assert_error(self.server.http("GET", "/metrics", headers={"Mica-Namespace": "acme"}), 403, "api")
        self.assert_error(self.server.http("GET", "/metrics", headers={"Origin": "http://elsewhere.example"}), 401, "api")
        self.assert_error(self.server.http("GET", "/metrics", headers={"Host": "elsewhere.example"}), 401, "api")
        head = self.server.http("HEAD", "/metrics")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.server.post("/metrics").status, 404)

    # ---- what services count
    def test_what_services_count(self):
        for _ in range(3):
            self.assertEqual(self.server.post("/counts/run", {"kind": "known"}).status, 200)
        page = read(self.server)
        mine = dict(namespace="mica", service="counts")
        self.assertEqual(page.one("orders_total", kind='a"b\\c\nd', n="1", **mine), 6)
        self.assertEqual(page.one("jobs_total", **mine), 3)
        self.assertEqual(page.one("depth", **mine), -1.5)
        self.assertEqual(page.one("took_seconds_count", **mine), 3)
        self.assertEqual(page.one("took_seconds_bucket", le="0.25", **mine), 3)
        self.assertEqual(page.one("took_seconds_bucket", le="0.1", **mine), 0)
        self.assertEqual(self.server.post("/counts/run", {"kind": "reserved"}).status, 500)
        self.assertEqual(self.server.post("/counts/run", {"kind": "wrong"}).status, 200)  # a count of that name: dropped
        self.assertTrue(self.grown(read(self.server), "mica_metrics_dropped_total"))

    def test_what_services_count_is_bounded_and_ends_with_them(self):
        files = {"main.lua": COUNTS_MAIN.replace("mica.service {", 'mica.service { name = "counting",'),
                 "proto/counts.proto": COUNTS}
        headers = {"Mica-Namespace": "many"}
        with Platform(self.server, "many") as platform:
            platform.create(make_bundle(files, name="counting"))
            self.server.post("/counting/counts/run", {"kind": "many", "n": 3000}, headers)
            page = read(self.server)
            self.assertEqual(len(page.find("many_total", namespace="many", service="counting")), 1000)
            self.assertEqual(list(self.grown(page, "mica_metrics_dropped_total").values()), [2000])
            files["more.txt"] = "another version"
            platform.update(make_bundle(files, name="counting"), name="counting")
            self.server.post("/counting/counts/run", {"kind": "many", "n": 1}, headers)
            self.assertEqual(read(self.server).one("many_total", namespace="many", service="counting", i="1"), 2)
            platform.delete("counting")
        self.assertEqual(read(self.server).find("many_total", service="counting"), {})

    # ---- bounds
    def test_callers_cannot_make_series(self):
        self.assert_rpc_error(CODE.UNIMPLEMENTED, self.channel.unary_unary("/none.None/Call"), b"")
        self.server.post("/none/call", {})
        before = len(read(self.server).samples)
        for i in range(50):
            self.server.post(f"/none{i}/call", {}, {"Mica-Namespace": f"n{i}"})
            self.assert_rpc_error(CODE.UNIMPLEMENTED, self.channel.unary_unary(f"/none{i}.None/Call"), b"")
        self.assertEqual(len(read(self.server).samples), before)

    def test_a_deployment_again_and_again_makes_no_series(self):
        mine = dict(namespace="again", service="greeter")
        with Platform(self.server, "again") as platform:
            platform.create(make_bundle(greeter("0")))
            for i in range(1, 4):
                platform.update(make_bundle(greeter(str(i))))
                self.server.post("/greeter/call", {}, {"Mica-Namespace": "again"})
            page = self.settle()
            self.assertEqual(page.one("mica_calls_total", door="api", **mine), 3)  # one series, which goes on
            end = time.monotonic() + 20 * SLOW
            while len(page.find("mica_vm_memory_bytes", **mine)) > 1 and time.monotonic() < end:
                time.sleep(0.1)
                page = read(self.server)
            self.assertEqual(len(page.find("mica_vm_memory_bytes", **mine)), 1)  # what was replaced drains, and ends
            self.assertEqual(len(page.find("mica_request_queue_seconds_count", **mine)), 1)
            platform.delete()
        self.assertEqual(read(self.server).find("mica_vm_memory_bytes", **mine), {})

    # ---- under load
    def test_read_under_load(self):
        each, stop, failed = 60, threading.Event(), []

        def call():
            try:
                with self.server.channel() as channel:
                    stub = rpc.ProbeStub(channel)
                    for i in range(each):
                        stub.Length(pb.Text(text="x"), timeout=30 * SLOW)
                        if i % 10 == 0:
                            endless = stub.Endless(pb.Empty(), timeout=30 * SLOW)
                            next(endless)
                            endless.cancel()
            except Exception as error:  # told by the main thread
                failed.append(error)

        def scrape():
            try:
                last = 0
                while not stop.is_set():
                    page = read(self.server)
                    total = page.sum("mica_calls_total", endpoint="Probe.Length")
                    assert total >= last, (total, last)
                    assert page.sum("mica_calls_in_flight") >= 0
                    last = total
            except Exception as error:
                failed.append(error)

        callers = [threading.Thread(target=call) for _ in range(6)]
        scrapers = [threading.Thread(target=scrape) for _ in range(3)]
        for thread in callers + scrapers:
            thread.start()
        for thread in callers:
            thread.join()
        stop.set()
        for thread in scrapers:
            thread.join()
        self.assertEqual(failed, [])
        page = self.settle(10)
        self.assertEqual(self.codes(page, "Probe.Length"), {"OK": 6 * each})
        self.assertEqual(self.codes(page, "Probe.Endless"), {"CANCELLED": 36})


if __name__ == "__main__":
    harness.main()
