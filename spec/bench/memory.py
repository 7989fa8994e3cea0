# SPDX-License-Identifier: Apache-2.0
"""Does memory grow with the number of requests? Resident memory after one million and after ten million calls."""

import sys

import peers
from peers import CALL, ROOT

STEPS = [1_000_000] * 10


def run(args):
    peers.greeting_body()
    with peers.mica("mica", ["--run", str(ROOT / "examples/helloworld")], CALL) as mica:
        mica.check()
        figures = []
        for done, requests in enumerate(STEPS, 1):
            mica.load(8, 32, requests)
            figures.append(peers.resident(mica.process.pid))
            print(f"{done} million calls: {figures[-1]:.2f} MB", file=sys.stderr)
    print(f"resident memory after 1 million calls {figures[0]:.2f} MB, after {len(STEPS)} million {figures[-1]:.2f} MB: "
          f"{(figures[-1] / figures[0] - 1) * 100:+.2f} % (aim: within 2 %)")
