#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Mica beside its peers, in turn, in one run.

usage: bench.py unary [--rounds N] [--requests N]
       bench.py start [--rounds N]

unary  a greeting by gRPC: Mica with the Lua handler of examples/helloworld, nghttpd with a static file of the same size (no
       gRPC: what HTTP/2 alone costs), and gRPC's C++ library with its callback API, each under the same h2load command.
       The first figure is requests per CPU-second of the server: user and system time over all its threads, from
       /proc/PID/stat. Then requests per second, and the median and 99th percentile of the latency as the client sees it;
       of the loads with many requests under way, latency is queueing. Medians over the rounds.
       nghttpd has one thread: it runs on one core and h2load on another; the others are not pinned.
start  from exec to the ready line, and resident memory then, without any service of a user.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
MICA, GRPC_CPP = ROOT / "build/mica", ROOT / "build/bench/grpc_cpp_server"
LOADS = [(8, 32, 1.0), (64, 10, 1.0), (1, 1, 0.05)]  # connections, streams each, share of --requests
TICKS = os.sysconf("SC_CLK_TCK")
GREETING = b"\n\x09Hello Ada"  # a CallResponse
WORK = pathlib.Path(tempfile.mkdtemp(prefix="mica-bench-"))


def framed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


class Peer:
    """A server: `command`, a pattern for the port in its first line (or a port that was chosen), and where it is pinned."""

    def __init__(self, name, command, ready, path, server_core=None, client_core=None):
        self.name, self.command, self.ready, self.path = name, command, ready, path
        self.pin = ["taskset", "-c", str(server_core)] if server_core is not None else []
        self.client_pin = ["taskset", "-c", str(client_core)] if client_core is not None else []

    def __enter__(self):
        began = time.monotonic()
        self.process = subprocess.Popen([*self.pin, *self.command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if isinstance(self.ready, int):
            self.port = self.ready
            time.sleep(0.3)
            if self.process.poll() is not None:
                sys.exit(f"bench: {self.name} did not start")
        else:
            line = self.process.stdout.readline().decode()
            match = re.search(self.ready, line)
            if not match:
                sys.exit(f"bench: {self.name} did not start: {line!r}")
            self.port = int(match.group(1))
        self.start_seconds = time.monotonic() - began
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def check(self):
        """One call whose answer is looked at: h2load sees no gRPC status."""
        if not self.path.endswith("/Call"):
            return
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            answer = channel.unary_unary(self.path, request_serializer=bytes, response_deserializer=bytes)(b"\n\x03Ada", timeout=5)
        if answer != GREETING:
            sys.exit(f"bench: {self.name} answers {answer!r}")

    def load(self, connections, streams, requests):
        """One run of h2load: (per CPU-second, per second, p50, p99), latencies in microseconds."""
        log = WORK / "h2load.log"
        log.unlink(missing_ok=True)
        before = cpu_seconds(self.process.pid)
        done = subprocess.run(
            [*self.client_pin, "h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", "1",
             "-d", str(WORK / "body"), "-H", "content-type: application/grpc", "-H", "te: trailers", f"--log-file={log}",
             f"http://127.0.0.1:{self.port}{self.path}"], capture_output=True, text=True)
        cpu = cpu_seconds(self.process.pid) - before
        if f"{requests} succeeded, 0 failed" not in done.stdout:
            sys.exit(f"bench: {self.name}: not every request succeeded:\n{done.stdout}{done.stderr}")
        rate = float(re.search(r"([\d.]+) req/s", done.stdout).group(1))
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return requests / max(cpu, 1 / TICKS), rate, times[len(times) // 2], times[len(times) * 99 // 100]


def peers():
    site = WORK / "site"
    site.mkdir()
    (site / "greeting").write_bytes(framed(GREETING))
    (WORK / "body").write_bytes(framed(b"\n\x03Ada"))
    cores = sorted(os.sched_getaffinity(0))
    first, second = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    mica = [str(MICA), "server", "--data", str(WORK / "data"), "--api", "127.0.0.1:0", "--proxy", "127.0.0.1:0",
            "--log-level", "warn", "--run", str(ROOT / "examples/helloworld")]
    nghttpd = ["nghttpd", "--no-tls", "-n", "1", "-a", "127.0.0.1", "-d", str(site), "18417"]
    return [
        Peer("mica, Lua handler", mica, r"proxy=127\.0\.0\.1:(\d+)", "/helloworld.Helloworld/Call"),
        Peer("nghttpd, static file", nghttpd, 18417, "/greeting", first, second),
        Peer("grpc C++, callback", [str(GRPC_CPP), "127.0.0.1:0"], r"ready (\d+)", "/helloworld.Helloworld/Call"),
    ]


def unary(args):
    runs, memory = {}, {}
    everyone = peers()
    for round_number in range(args.rounds):
        for peer in everyone:
            with peer:
                peer.check()
                peer.load(8, 32, max(args.requests // 10, 1000))  # warm-up, compilation of hot code included
                for connections, streams, share in LOADS:
                    result = peer.load(connections, streams, max(int(args.requests * share), 100))
                    runs.setdefault((connections, streams), {}).setdefault(peer.name, []).append(result)
                memory[peer.name] = resident(peer.process.pid)
        print(f"round {round_number + 1} of {args.rounds}", file=sys.stderr)
    for (connections, streams), results in runs.items():
        title = "lone caller" if connections == 1 else f"{connections} connections x {streams} streams"
        print(f"\n{title}, median of {args.rounds}")
        print(f"  {'':22}{'per CPU-s':>10}{'per s':>10}{'p50 us':>9}{'p99 us':>9}{'MB':>6}   of nghttpd, of grpc C++ (per CPU-s)")
        middle = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}

        def ratio(name, other):
            # Within a round, then the median: the machine's own swings cancel out.
            return statistics.median(a[0] / b[0] for a, b in zip(results[name], results[other]))

        nghttpd, cpp = everyone[1].name, everyone[2].name
        for name, (per_cpu, rate, p50, p99) in middle.items():
            print(f"  {name:22}{per_cpu:>10.0f}{rate:>10.0f}{p50:>9.0f}{p99:>9.0f}{memory[name]:>6.0f}"
                  f"   {ratio(name, nghttpd):.2f}, {ratio(name, cpp):.2f}")
        lone = middle[everyone[0].name][2] / middle[nghttpd][2]
        if connections == 1:
            print(f"  p50 of mica is {lone:.2f} times nghttpd's")


def start(args):
    seconds, memory = [], []
    for _ in range(args.rounds):
        command = [str(MICA), "server", "--data", str(WORK / "data"), "--api", "127.0.0.1:0", "--proxy", "127.0.0.1:0"]
        with Peer("mica", command, r"proxy=127\.0\.0\.1:(\d+)", "/") as mica:
            seconds.append(mica.start_seconds)
            time.sleep(0.3)
            memory.append(resident(mica.process.pid))
    print(f"start to ready line: median {statistics.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms "
          f"of {args.rounds} (aim: under 150 ms)")
    print(f"resident memory without services: median {statistics.median(memory):.1f} MB (aim: under 40 MB)")


def main():
    parser = argparse.ArgumentParser(prog="tools/bench")
    parser.add_argument("what", choices=["unary", "start"])
    parser.add_argument("--rounds", type=int, help="default: 3 for unary, 10 for start")
    parser.add_argument("--requests", type=int, default=300_000, help="of each load and round")
    args = parser.parse_args()
    args.rounds = args.rounds or (3 if args.what == "unary" else 10)
    try:
        unary(args) if args.what == "unary" else start(args)
    finally:
        shutil.rmtree(WORK, ignore_errors=True)


main()
