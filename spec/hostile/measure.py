#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What each attack of spec/hostile costs others: one connection at full speed against a server of its own, and beside it a
well-behaved client with a gRPC call every 2 ms.

A row an attack: the client's 99th percentile alone (before and after, so that the machine's own noise shows) and during the attack,
by how much the server's memory grew at most, its CPU seconds a second, how often the attacker was thrown out, and how many
lines the server logged. The attacker runs at the lowest priority: it has the time that the server and the client leave,
so what is measured is the server and not the scheduler.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "spec/e2e"))

import harness  # noqa: E402

ATTACK = harness.BINARY.parent / "hostile/attack"


def cpu_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def neighbour(server, door, seconds):
    """A client beside the attack, at the same door."""
    kind = "neighbour1" if door == "api" else "neighbour"
    return subprocess.Popen([ATTACK, getattr(server, door), kind, str(seconds)], stdout=subprocess.PIPE, text=True)


def answer(process):
    return json.loads(process.communicate()[0])


def measure(name, door, options):
    """One attack: a dict of what was seen."""
    with harness.Server([ROOT / "spec/hostile/target"], ["--io", str(options.io)]) as server:
        before = answer(neighbour(server, door, min(2, options.seconds / 2)))
        memory = most = server.memory()
        logged, cpu = len(server.log().splitlines()), cpu_seconds(server)
        client = neighbour(server, door, options.seconds)
        attacker = subprocess.Popen(["nice", "-n", "39", ATTACK, getattr(server, door), name, str(options.seconds), "127.0.0.2"],
                                    stdout=subprocess.PIPE, text=True)
        while attacker.poll() is None:
            most = max(most, server.memory())
            time.sleep(0.02)
        saw, during = answer(attacker), answer(client)
        cpu = cpu_seconds(server) - cpu
        after = answer(neighbour(server, door, min(2, options.seconds / 2)))
        lines = server.log().splitlines()[logged:]
    return {"attack": name, "before": before["p99_us"], "during": during["p99_us"], "after": after["p99_us"],
            "p50": during["p50_us"], "failed": during["failed"], "grown": (most - memory) / 1e6, "cpu": cpu / options.seconds,
            "thrown": saw["closed"], "sent": saw["sent"] / 1e6, "lines": len(lines)}


def row(runs):
    """The median run of one attack, by how much it slowed the client."""
    def ratio(run):
        return run["during"] / statistics.mean((run["before"], run["after"]))
    run = sorted(runs, key=ratio)[len(runs) // 2]
    return (f"| {run['attack']} | {run['before']:.0f} / {run['after']:.0f} | {run['during']:.0f} | {ratio(run):.1f} | {run['p50']:.0f} | "
            f"{max(r['grown'] for r in runs):.1f} | {run['cpu']:.2f} | {run['sent']:.1f} | {run['thrown']} | "
            f"{max(r['lines'] for r in runs)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("attacks", nargs="*", help="names; all by default")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--io", type=int, default=1, help="I/O loops of the server")
    parser.add_argument("--nice", type=int, default=0, help="priority of the server and the client; below 0 on a busy machine")
    options = parser.parse_args()
    os.nice(options.nice)
    listed = subprocess.run([ATTACK, "--list"], capture_output=True, text=True, check=True).stdout
    doors = dict(line.split("\t")[:2] for line in listed.splitlines())
    for name in options.attacks:
        if name not in doors:
            parser.error(f"there is no attack {name}: " + " ".join(doors))
    print("| attack | p99 before / after (us) | p99 during | ratio | p50 | memory (MB) | CPU (s/s) | sent (MB) | thrown out | log lines |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.attacks or doors:
        print(row([measure(name, doors[name], options) for _ in range(options.repeat)]), flush=True)


if __name__ == "__main__":
    main()
