#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile peers: each attack of spec/hostile for a moment. It ends as it should, costs bounded memory, is logged once, and
the server serves others as before. And clients that come near an attack without being one are left alone.

How attacks look to others (latency, ten seconds of each) is measured by tools/hostile.
"""

import concurrent.futures
import json
import re
import subprocess
import time
import unittest

import grpc
import harness
from harness import BINARY, EXAMPLES, ROOT, SANITIZER, SLOW

TARGET = ROOT / "spec/hostile/target"
ATTACK = next(p for p in (BINARY.parent / "hostile/attack", ROOT / "build/hostile/attack") if p.exists())
pb, rpc = harness.stubs(TARGET / "proto/target.proto")
hello_pb, _ = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")

PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR, CALM = 1, 5, 6, 11  # RFC 9113 section 7
RESETS, PROVOKED, IDLE = "rapid reset", "provoked resets", "frames without effect"
MALFORMED = "malformed HTTP"
BOMB, BROKEN, CONTINUATION = "header bomb", "broken HTTP/2", "CONTINUATION flood"
# Attack -> the code of the GOAWAY that ends it and how it is logged; None: it breaks no bound, and goes on.
ENDS = {
    "rapid-reset": (CALM, RESETS),
    "rapid-reset-work": (CALM, RESETS),
    "window-zero": (PROTOCOL_ERROR, BROKEN),
    "window-overflow": (CALM, PROVOKED),
    "half-closed-data": (STREAM_CLOSED, BROKEN),
    "half-closed-headers": (STREAM_CLOSED, BROKEN),
    "wrong-length": (CALM, PROVOKED),
    "malformed-headers": (CALM, PROVOKED),
    "bad-trailers": (CALM, PROVOKED),
    "trailers-without-end": (CALM, PROVOKED),
    "closed-stream": (CALM, PROVOKED),
    "too-many-streams": (CALM, PROVOKED),
    "continuation-long": (CALM, BOMB),
    "continuation-tiny": (CALM, CONTINUATION),
    "continuation-empty": (CALM, CONTINUATION),
    "continuation-within": None,
    "settings": (CALM, "SETTINGS flood"),
    "settings-deaf": (0, "SETTINGS flood"),
    "settings-acks": (PROTOCOL_ERROR, BROKEN),
    "settings-windows": (CALM, "SETTINGS flood"),
    "settings-table": (CALM, "SETTINGS flood"),
    "pings": (CALM, "PING flood"),
    "pings-deaf": (0, "PING flood"),
    "empty-data": (CALM, "empty DATA"),
    "padding": (CALM, "empty DATA"),
    "window-updates": (CALM, "WINDOW_UPDATE flood"),
    "priorities": (CALM, IDLE),
    "unknown-frames": (CALM, IDLE),
    "goaways": (CALM, "GOAWAY storm"),
    "table-references": (CALM, BOMB),
    "many-fields": (CALM, "very many fields"),
    "long-value": None,
    "table-toggle": (CALM, BOMB),
    "utf8-headers": None,
    "zero-window": None,
    "large-answers": None,
    "crumbs": (CALM, ""),  # for the crumbs or for the WINDOW_UPDATE frames, whichever is too much first
    "deaf": None,
    "half-closed": None,
    "idle-streams": None,
    "slow-bodies": None,
    "large-bodies": None,
    "large-messages": None,
    "unended-head": None,
    "oversized": (FRAME_SIZE_ERROR, BROKEN),
    "bad-preface": (0, "malformed HTTP"),
    "garbage": (None, BROKEN),
    "announced": None,
    "empty-messages": None,
    "utf8-message": None,
    "deep-nesting": None,
    "grpc-bomb": None,
    "grpc-bomb-within": None,
    "json-nesting": None,
    "half-request": None,
    "half-head": None,
    "connections": None,
    "requests": None,
    "h1-smuggling": (0, MALFORMED),
    "h1-prefaces": (0, MALFORMED),
    "h1-headers": (0, MALFORMED),
    "h1-long-header": (0, MALFORMED),
    "h1-long-target": (0, MALFORMED),
    "h1-empty-lines": (0, MALFORMED),
    "h1-paths": None,
    "h1-climbing": None,
    "h1-queries": None,
    "h1-extension": (0, MALFORMED),
    "h1-zeros": (0, MALFORMED),
    "h1-tiny-chunks": None,
    "h1-trailers": (0, MALFORMED),
    "h1-slow-chunks": None,
    "h1-cut-off": None,
    "h1-utf8": None,
    "h1-expecting": None,
    "h1-refused-bodies": None,
    "h1-pipeline": None,
    "h1-pipeline-deaf": None,
    "h1-large-deaf": None,
    "h1-stream-deaf": None,
    "h1-stream-deaf-packed": None,
    "h1-packed": None,
    "h1-bomb": None,
    "h1-bomb-br": None,
    "h1-bomb-within": None,
    "h1-bomb-members": None,
    "h1-foreign": None,
}
SIDE_BY_SIDE = 9
ENDED = re.compile(r"WARN (\w+) connection of 127\.0\.0\.\d+:\d+ ended: ([^:(\n]+)")


def attacks():
    """The names of all attacks but those on WebSockets (hostile_socket_test.py), and the doors that they go to."""
    listed = subprocess.run([ATTACK, "--list"], capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[0]: line.split("\t")[1] for line in listed.splitlines() if not line.startswith("socket-")}


def attack(server, name, door="proxy", seconds=0.3, place=1):
    """Runs one; returns what it saw. Each comes from an address of its own: who is thrown out waits when it comes back."""
    done = subprocess.run([ATTACK, getattr(server, door), name, str(seconds * SLOW), f"127.0.0.{1 + place}"],
                          capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Serving(harness.Case):
    services = [TARGET, EXAMPLES / "helloworld"]

    def tearDown(self):
        with self.server.channel() as channel:
            answer = rpc.TargetStub(channel).Echo(pb.Node(text="still here"), timeout=20 * SLOW)
        self.assertEqual(answer.text, "still here")
        self.assertEqual(self.server.post("/target/echo", {"text": "Ada"}).json["text"], "Ada")

    def ended(self):
        return ENDED.findall(self.server.log())


class Attacks(Serving):
    def test_all(self):
        doors = attacks()
        self.assertEqual(sorted(doors), sorted(ENDS))
        # Those that unfold things come last: beside them others get little of the processor, and each has a moment only.
        names = sorted((name for name in ENDS if name != "connections"), key=lambda name: name.startswith("h1-") or "bomb" in name)
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            seen = list(pool.map(lambda i: attack(self.server, names[i], doors[names[i]], place=i), range(len(names))))
        log = self.server.log()
        for name, saw in zip(names, seen):
            with self.subTest(attack=name):
                if ENDS[name] is None:
                    # An end of the time, or the ordinary end of a connection (half-closed): not an error of ours.
                    self.assertEqual(saw["code"], 0, saw)
                    self.assertGreater(saw["connections"], 0, saw)
                    continue
                code, logged = ENDS[name]
                if code is not None:
                    self.assertEqual(saw["code"], code, saw)
                # The first connection was ended; one that is thrown out waits before it is heard again.
                if name not in ("settings-deaf", "pings-deaf"):  # which do not look
                    self.assertGreater(saw["closed"], 0, saw)
                self.assertLess(saw["connections"], 4 + 8 * SLOW, saw)
                self.assertRegex(log, "ended: .*" + re.escape(logged))
        lines = self.ended()
        self.assertEqual(len(lines), len(set(lines)), lines)  # one a kind and door, however many there were
        self.assertLess(len(log.splitlines()), 60)

    @unittest.skipIf(SANITIZER, "sanitizers keep memory that was freed")
    def test_memory(self):
        # Those that make the server keep things, one at a time.
        attack(self.server, "requests", seconds=1)
        for i, name in enumerate(("zero-window", "deaf", "crumbs", "large-bodies", "large-messages", "idle-streams", "slow-bodies", "long-value",
                                  "empty-messages", "rapid-reset-work", "h1-stream-deaf", "h1-pipeline-deaf", "h1-bomb")):
            with self.subTest(attack=name), concurrent.futures.ThreadPoolExecutor(1) as pool:
                before = most = self.server.memory()
                running = pool.submit(attack, self.server, name, "api" if name.startswith("h1-") else "proxy", seconds=0.5, place=100 + i)
                while not running.done():
                    most = max(most, self.server.memory())
                    time.sleep(0.01)
                running.result()
                self.assertLess(most - before, 16 * 1024 * 1024)

    def test_connections(self):
        saw = attack(self.server, "connections", seconds=1.5, place=200)
        self.assertGreater(saw["connections"], 10000, saw)
        lines = re.findall("connections refused: .*", self.server.log())
        self.assertEqual(len(lines), 1, lines)


class Honest(Serving):
    def tearDown(self):
        super().tearDown()
        self.assertEqual(self.ended(), [], re.findall("ended: .*", self.server.log()))

    def test_page_of_requests_cancelled(self):
        with self.server.channel() as channel:
            target = rpc.TargetStub(channel)
            for _ in range(2):
                for _ in range(3):
                    streams = [target.Endless(pb.Node()) for _ in range(100)]
                    for stream in streams:  # gRPC resets streams that it never opened when it is not waited for them
                        next(stream)
                    for stream in streams:
                        stream.cancel()
                # Answers make up for cancellations.
                for _ in range(400):
                    self.assertEqual(target.Echo(pb.Node(text="a"), timeout=20 * SLOW).text, "a")

    def test_eager_keep_alive(self):
        with self.server.channel(keepalive_time_ms=20, keepalive_timeout_ms=5000, keepalive_permit_without_calls=1,
                                 **{"http2.max_pings_without_data": 0}) as channel:
            target = rpc.TargetStub(channel)
            self.assertEqual(target.Echo(pb.Node(text="a"), timeout=20 * SLOW).text, "a")
            time.sleep(1)
            self.assertEqual(target.Echo(pb.Node(text="b"), timeout=20 * SLOW).text, "b")

    def h2load(self, count, *args):
        done = subprocess.run(["h2load", "-n", str(count), *args], capture_output=True, text=True, timeout=60 * SLOW)
        self.assertRegex(done.stdout, rf"{count} succeeded, 0 failed, 0 errored", done.stdout + done.stderr)

    def body(self, data):
        file = harness.work_folder("body") / "body"
        file.write_bytes(data)
        return str(file)

    def test_hundred_streams(self):
        data = self.body(b'{"text":"Ada"}')
        self.h2load(10000 // SLOW, "-c", "2", "-m", "100", "-d", data, "-H", "content-type: application/json",
                    f"http://{self.server.api}/target/echo")

    def test_window_updates_all_the_time(self):
        message = hello_pb.StreamRequest(messages=20000 // SLOW).SerializeToString()
        data = self.body(b"\0" + len(message).to_bytes(4, "big") + message)
        for bits in ("10", "16"):
            self.h2load(4, "-c", "1", "-m", "4", "-w", bits, "-W", bits, "-d", data, "-H", "content-type: application/grpc",
                        "-H", "te: trailers", f"http://{self.server.proxy}/helloworld.Helloworld/Stream")

    def test_large_bodies_side_by_side(self):
        # More at once than a connection may keep: they wait for each other, and all come through.
        with self.server.channel() as channel:
            target = rpc.TargetStub(channel)
            texts = [str(i) * (1024 * 1024) for i in range(10)]
            calls = [target.Echo.future(pb.Node(text=text), timeout=30 * SLOW) for text in texts]
            self.assertEqual([call.result().text == text for call, text in zip(calls, texts)], [True] * 10)

    def test_answers_that_are_read_late(self):
        with self.server.channel() as channel:
            streams = [rpc.TargetStub(channel).Endless(pb.Node()) for _ in range(20)]
            time.sleep(1)
            for stream in streams:
                for _ in range(20):
                    self.assertEqual(len(next(stream).text), 16 * 1024)
            for stream in streams:
                stream.cancel()

    def test_curl(self):
        for i in range(20):
            out = harness.curl("--http2-prior-knowledge", f"http://{self.server.api}/target/echo?text={i}")
            self.assertEqual(json.loads(out), {"text": str(i)})

    def test_deadlines_that_pass(self):
        with self.server.channel() as channel:
            target = rpc.TargetStub(channel)
            for _ in range(100):
                err = self.assert_rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, target.Endless, pb.Node(), timeout=0.005)
                self.assertIsNotNone(err)


if __name__ == "__main__":
    harness.main()
