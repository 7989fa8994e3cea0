# SPDX-License-Identifier: Apache-2.0
"""A server stream of small messages from a Lua handler (Stream of examples/helloworld), in messages per CPU-second of the server."""

import re
import statistics
import sys

import peers
from peers import ROOT, TICKS, WORK, framed

MESSAGES = 100_000  # of each stream
LOADS = [(1, 1), (8, 1), (8, 4)]  # connections, streams each


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def run(args):
    (WORK / "body").write_bytes(framed(b"\n\x03Ada\x10" + varint(MESSAGES)))
    handler = ["--run", str(ROOT / "examples/helloworld")]
    results = {}
    for _ in range(args.rounds):
        with peers.mica("mica", handler, "/helloworld.Helloworld/Stream") as mica:
            for connections, streams in LOADS:
                calls = connections * streams
                before = peers.cpu_seconds(mica.process.pid)
                output = mica.h2load(connections, streams, calls, "-w", "20", "-W", "24")
                cpu = max(peers.cpu_seconds(mica.process.pid) - before, 1 / TICKS)
                data = int(re.search(r"\((\d+)\) data", output).group(1))
                if data != calls * MESSAGES * len(framed(peers.GREETING)):
                    sys.exit(f"bench: {data} bytes of messages came")
                results.setdefault((connections, streams), []).append(calls * MESSAGES / cpu)
    for (connections, streams), figures in results.items():
        print(f"{connections} connections x {streams} streams: {statistics.median(figures):,.0f} messages per CPU-second, "
              f"median of {args.rounds} (aim: 500,000)")
