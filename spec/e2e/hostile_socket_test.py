#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile WebSocket peers: each attack of spec/hostile/attacks_socket.c for a moment. It ends as it should, costs bounded
memory, is logged once, and the server serves others as before."""

import concurrent.futures
import json
import re
import subprocess
import time
import unittest

import harness
import raw_websocket
from harness import BINARY, ROOT, SANITIZER, SLOW

TARGET = ROOT / "spec/hostile/target"
ATTACK = next(p for p in (BINARY.parent / "hostile/attack", ROOT / "build/hostile/attack") if p.exists())
CONTROLS, CRUMBS, BROKEN = "WebSocket ping flood", "WebSocket messages in crumbs", "broken WebSocket"
# Attack -> how it is logged; None: it breaks no bound, "": it is ended without a word in the log.
ENDS = {
    "socket-pings": CONTROLS,
    "socket-pings-deaf": CONTROLS,
    "socket-pongs": CONTROLS,
    "socket-crumbs": CRUMBS,
    "socket-endless": "",  # 1009
    "socket-tiny": None,
    "socket-unmasked": BROKEN,
    "socket-reserved": BROKEN,
    "socket-opcode": BROKEN,
    "socket-interleaved": BROKEN,
    "socket-long-ping": BROKEN,
    "socket-negative": BROKEN,
    "socket-announced": "",
    "socket-text": BROKEN,
    "socket-after-close": "",
    "socket-deaf": None,
    "socket-slow-message": None,
    "socket-half-open": None,
    "socket-silent": "",
}
ENDED = re.compile(r"WARN (\w+) connection of 127\.0\.0\.\d+:\d+ ended: ([^:(\n]+)")


def attack(server, name, seconds, place):
    """Runs one, from an address of its own; returns what it saw."""
    done = subprocess.run([ATTACK, server.api, name, str(seconds * SLOW), f"127.0.0.{1 + place}"], capture_output=True, text=True,
                          timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Attacks(harness.Case):
    services = [TARGET]
    args = ["--heartbeat", "0.2s"]

    def tearDown(self):
        with raw_websocket.open(self.server.api, "/target/echo", timeout=20 * SLOW) as socket:
            socket.send('{"text":"still here"}')
            self.assertEqual(json.loads(socket.end()[0][0])["text"], "still here")

    def test_all(self):
        listed = subprocess.run([ATTACK, "--list"], capture_output=True, text=True, check=True).stdout
        names = [line.split("\t")[0] for line in listed.splitlines() if line.startswith("socket-")]
        self.assertEqual(sorted(names), sorted(ENDS))
        with concurrent.futures.ThreadPoolExecutor(7) as pool:
            seen = list(pool.map(lambda i: attack(self.server, names[i], 1.2 if names[i] == "socket-silent" else 0.4, i),
                                 range(len(names))))
        log = self.server.log()
        for name, saw in zip(names, seen):
            with self.subTest(attack=name):
                self.assertGreater(saw["connections"], 0, saw)
                if ENDS[name] is None:
                    continue
                self.assertGreater(saw["closed"] if "deaf" not in name else 1, 0, saw)
                if ENDS[name]:
                    self.assertLess(saw["connections"], 4 + 8 * SLOW, saw)  # who is thrown out waits before it is heard again
                    self.assertRegex(log, "ended: .*" + re.escape(ENDS[name]))
        lines = ENDED.findall(log)
        self.assertEqual(len(lines), len(set(lines)), lines)  # one a kind, however many there were
        self.assertLess(len(log.splitlines()), 20, log[-3000:])

    @unittest.skipIf(SANITIZER, "sanitizers keep memory that was freed")
    def test_memory(self):
        attack(self.server, "socket-tiny", 0.2, 100)
        for i, name in enumerate(("socket-endless", "socket-tiny", "socket-deaf", "socket-crumbs", "socket-pings-deaf",
                                  "socket-after-close")):
            with self.subTest(attack=name), concurrent.futures.ThreadPoolExecutor(1) as pool:
                before = most = self.server.memory()
                running = pool.submit(attack, self.server, name, 0.3, 120 + i)
                while not running.done():
                    most = max(most, self.server.memory())
                    time.sleep(0.01)
                running.result()
                self.assertLess(most - before, 24 << 20)


if __name__ == "__main__":
    harness.main()
