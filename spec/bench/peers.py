# SPDX-License-Identifier: Apache-2.0
"""What the benches share: servers that are started, loaded by h2load and measured, and where they are pinned."""

import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
MICA, BUILT = ROOT / "build/mica", ROOT / "build/bench"
TICKS = os.sysconf("SC_CLK_TCK")
GREETING = b"\n\x09Hello Ada"  # a CallResponse
CALL = "/helloworld.Helloworld/Call"
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
            api = re.search(r"api=https?://127\.0\.0\.1:(\d+)", line)
            self.api = int(api.group(1)) if api else None
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

    def h2load(self, connections, streams, requests, *more):
        """One run of h2load; what it printed. Every request must succeed."""
        done = subprocess.run(
            [*self.client_pin, "h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams), "-t", "1",
             "-d", str(WORK / "body"), "-H", "content-type: application/grpc", "-H", "te: trailers", *more,
             f"http://127.0.0.1:{self.port}{self.path}"], capture_output=True, text=True)
        if f"{requests} succeeded, 0 failed" not in done.stdout:
            sys.exit(f"bench: {self.name}: not every request succeeded:\n{done.stdout}{done.stderr}")
        return done.stdout

    def load(self, connections, streams, requests, *more):
        """One run of h2load: (per CPU-second, per second, p50, p99), latencies in microseconds."""
        log = WORK / "h2load.log"
        log.unlink(missing_ok=True)
        before = cpu_seconds(self.process.pid)
        output = self.h2load(connections, streams, requests, f"--log-file={log}", *more)
        cpu = cpu_seconds(self.process.pid) - before
        rate = float(re.search(r"([\d.]+) req/s", output).group(1))
        times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
        return requests / max(cpu, 1 / TICKS), rate, times[len(times) // 2], times[len(times) * 99 // 100]


def cores():
    """A core for a server with one thread and another for its client; None where there is one core."""
    found = sorted(os.sched_getaffinity(0))
    return (found[0], found[1]) if len(found) > 1 else (None, None)


def greeting_body():
    """The request of a greeting, as h2load sends it."""
    (WORK / "body").write_bytes(framed(b"\n\x03Ada"))


def mica(name, args=(), path="/"):
    """A server of ours with a fresh data folder."""
    command = [str(MICA), "server", "--data", tempfile.mkdtemp(dir=WORK), "--api", "127.0.0.1:0", "--proxy", "127.0.0.1:0",
               "--log-level", "warn", *args]
    return Peer(name, command, r"proxy=127\.0\.0\.1:(\d+)", path)


def grpc_cpp():
    return Peer("grpc C++, callback", [str(BUILT / "grpc_cpp_server"), "127.0.0.1:0"], r"ready (\d+)", CALL)


def grpc_go():
    return Peer("grpc-go", [str(BUILT / "grpc_go_server"), "127.0.0.1:0"], r"ready (\d+)", CALL)


def middle(rows):
    """Medians of columns."""
    return [statistics.median(column) for column in zip(*rows)]


def ratio(rows, others):
    """Of the first column, within a round, then the median: the machine's own swings cancel out."""
    return statistics.median(a[0] / b[0] for a, b in zip(rows, others))
