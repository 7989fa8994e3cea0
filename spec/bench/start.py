# SPDX-License-Identifier: Apache-2.0
"""From exec to the ready line, and resident memory then, without any service of a user."""

import statistics
import time

import peers


def run(args):
    seconds, memory = [], []
    for _ in range(args.rounds):
        with peers.mica("mica") as mica:
            seconds.append(mica.start_seconds)
            time.sleep(0.3)
            memory.append(peers.resident(mica.process.pid))
    print(f"start to ready line: median {statistics.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms "
          f"of {args.rounds} (aim: under 150 ms)")
    print(f"resident memory without services: median {statistics.median(memory):.1f} MB (aim: under 40 MB)")
