#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A long run with clients that do everything that clients do: tools/soak [SECONDS] (default: 1,800).

Clients call, stream and talk, over gRPC and over HTTP, and break off at random moments: by cancelling, by a deadline, by closing the
connection under open calls, by sending half a request. Every 30 seconds a line says what was done and how much memory the
server has. At the end everybody goes; then the gauges of /metrics (calls, streams, messages, buffers) must return to
zero, no call may have ended in a way that its client did not cause, and memory must have stopped growing: the last third of the run
may add a tenth and 4 MB at most. Exit code 1 when it is not so. The seed is printed, and taken from MICA_SOAK_SEED.
"""

import collections
import os
import pathlib
import random
import re
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import grpc  # noqa: E402

import harness  # noqa: E402
from harness import EXAMPLES  # noqa: E402

pb, rpc = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")
SERVICES = [EXAMPLES / name for name in ("helloworld", "dashboard", "weather", "news")]
CLIENTS = 8
GAUGES = ("mica_calls_in_flight", "mica_http_streams_open", "mica_messages_alive", "mica_buffers_alive")
EXPECTED = {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}  # what a client that breaks off has asked for


class Client(threading.Thread):
    """One client: a connection of its own, which it sometimes throws away."""

    def __init__(self, server, seed, until):
        super().__init__()
        self.server, self.chance, self.until = server, random.Random(seed), until
        self.done, self.faults = collections.Counter(), []

    def run(self):
        deeds = [self.call, self.late_call, self.stream, self.left_stream, self.talk, self.left_talk, self.json, self.half_json,
                 self.broken_json, self.nested]
        while time.monotonic() < self.until:
            self.channel = self.server.channel()
            self.stub = rpc.HelloworldStub(self.channel)
            for _ in range(self.chance.randint(1, 200)):
                deed = self.chance.choice(deeds)
                try:
                    deed()
                except grpc.RpcError as error:
                    if error.code() not in EXPECTED:
                        self.faults.append(f"{deed.__name__}: {error.code()} {error.details()}")
                except Exception as error:  # any other fault is one of the server
                    self.faults.append(f"{deed.__name__}: {error!r}")
                self.done[deed.__name__] += 1
                if time.monotonic() > self.until:
                    break
            left = [self.stub.Stream(pb.StreamRequest(name="x" * 500, messages=10**6)) for _ in range(self.chance.randint(0, 3))]
            self.channel.close()  # under what is open
            del left

    def call(self):
        name = "n" * self.chance.randint(0, 5000)
        if self.stub.Call(pb.CallRequest(name=name), timeout=30).message != "Hello " + name:
            raise AssertionError("a wrong answer")

    def late_call(self):
        self.stub.Call(pb.CallRequest(name="late"), timeout=self.chance.uniform(0.00001, 0.003))

    def stream(self):
        n = self.chance.randint(0, 300)
        if sum(1 for _ in self.stub.Stream(pb.StreamRequest(name="Ada", messages=n), timeout=30)) != n:
            raise AssertionError("a stream lost messages")

    def left_stream(self):
        call = self.stub.Stream(pb.StreamRequest(name="Ada", messages=10**7))
        next(call)
        for _ in range(self.chance.randint(0, 500)):
            next(call)
        call.cancel()

    def talk(self):
        n = self.chance.randint(0, 50)
        strokes = [pong.stroke for pong in self.stub.PingPong(iter([pb.Ping(stroke=i) for i in range(n)]), timeout=30)]
        if strokes != list(range(n)):
            raise AssertionError("a talk lost strokes")

    def left_talk(self):
        stop = threading.Event()

        def pings():
            n = 0
            while not stop.is_set():
                yield pb.Ping(stroke=n)
                n += 1

        call = self.stub.PingPong(pings(), timeout=30)
        next(call)
        for _ in range(self.chance.randint(0, 100)):
            next(call)
        call.cancel()
        stop.set()

    def json(self):
        answer = self.server.post("/helloworld/call", {"name": "Ada"})
        if (answer.status, answer.body) != (200, b'{"message":"Hello Ada"}'):
            raise AssertionError(f"{answer.status} {answer.body!r}")

    def nested(self):
        if self.server.http("GET", "/dashboard/show?city=Oslo").status != 200:
            raise AssertionError("the dashboard does not answer")

    def half_json(self):
        with self.server.connect() as connection:
            connection.sendall(b"POST /helloworld/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"name\":")

    def broken_json(self):  # a stream whose reader goes away
        with self.server.connect() as connection:
            body = b'{"name":"' + b"x" * 500 + b'","messages":"1000000"}'
            connection.sendall(b"POST /helloworld/stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % len(body) + body)
            connection.recv(self.chance.randint(1, 100000))
            if self.chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # goes by a reset


def gauges(server):
    """The sum of each gauge over its labels."""
    text = server.http("GET", "/metrics").body.decode()
    return {name: sum(float(v) for v in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)) for name in GAUGES}


def settle(server, seconds=20):
    end = time.monotonic() + seconds
    while True:
        now = gauges(server)
        if not any(now.values()) or time.monotonic() > end:
            return now
        time.sleep(0.5)


def watch(server, clients, seconds, began):
    """Lines about the run until it is over; memory by time."""
    memory = []
    while any(client.is_alive() for client in clients):
        time.sleep(min(30, max(seconds / 30, 1)))
        memory.append((time.monotonic() - began, server.memory() / 2**20))
        done = sum((client.done for client in clients), collections.Counter())
        faults = sum(len(client.faults) for client in clients)
        print(f"{memory[-1][0]:6.0f} s  {sum(done.values())} deeds, {faults} faults, {memory[-1][1]:.1f} MB", flush=True)
    return memory


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    seed = int(os.environ.get("MICA_SOAK_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}")
    with harness.Server(SERVICES, ["--log-level", "error"]) as server:
        began = time.monotonic()
        clients = [Client(server, seed + i, began + seconds) for i in range(CLIENTS)]
        for client in clients:
            client.start()
        memory = watch(server, clients, seconds, began)
        left = settle(server)
        faults = [fault for client in clients for fault in client.faults]
        done = sum((client.done for client in clients), collections.Counter())
        late = [m for t, m in memory if t > seconds * 2 / 3]
        grown = max(late) - min(late)
    print("done: " + ", ".join(f"{name} {n}" for name, n in sorted(done.items())))
    print("gauges at the end: " + ", ".join(f"{name} {value:g}" for name, value in left.items()))
    print(f"memory in the last third: {min(late):.1f} to {max(late):.1f} MB")
    for fault, n in collections.Counter(faults).most_common(10):
        print(f"fault, {n} times: {fault}")
    return 1 if faults or any(left.values()) or grown > min(late) / 10 + 4 else 0


code = main()
sys.exit(code)
