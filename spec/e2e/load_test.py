#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ten thousand calls from fifty connections at a time, without an error."""

import json
import subprocess
import threading

import harness
from harness import EXAMPLES, SERVICES, SLOW

pb, rpc = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")

CONNECTIONS, CALLS = 50, 10_000


class Load(harness.Case):
    services = [EXAMPLES / "helloworld", EXAMPLES / "dashboard", EXAMPLES / "weather", EXAMPLES / "news", SERVICES / "probe"]

    def test_grpc(self):
        faults, done, barrier = [], [0] * CONNECTIONS, threading.Barrier(CONNECTIONS)

        def work(index):
            try:
                with self.server.channel() as channel:
                    stub = rpc.HelloworldStub(channel)
                    barrier.wait()
                    for i in range(CALLS // CONNECTIONS):
                        name = f"{index}-{i}"
                        if stub.Call(pb.CallRequest(name=name), timeout=60 * SLOW).message != "Hello " + name:
                            faults.append("a wrong answer for " + name)
                        done[index] += 1
            except Exception as err:  # any fault at all is one of the server
                faults.append(repr(err))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(sum(done), CALLS)

    def h2load(self, *args):
        done = subprocess.run(["h2load", "-n", str(CALLS), "-c", str(CONNECTIONS), *args], capture_output=True, text=True,
                              timeout=120 * SLOW)
        self.assertRegex(done.stdout, rf"{CALLS} total, {CALLS} started, {CALLS} done, {CALLS} succeeded, 0 failed, 0 errored",
                         done.stdout + done.stderr)
        self.assertRegex(done.stdout, rf"status codes: {CALLS} 2xx", done.stdout)

    def body(self, value):
        file = harness.work_folder("body") / "body"
        file.write_text(json.dumps(value))
        return str(file)

    def test_json_over_http1(self):
        self.h2load("--h1", "-m", "1", "-d", self.body({"name": "Ada"}), "-H", "content-type: application/json",
                    f"http://{self.server.api}/helloworld/call")

    def test_json_over_http2(self):
        self.h2load("-m", "10", "-d", self.body({"name": "Ada"}), "-H", "content-type: application/json",
                    f"http://{self.server.api}/helloworld/call")

    def test_services_that_call_services(self):
        self.h2load("-m", "4", "-d", self.body({"city": "Oslo"}), "-H", "content-type: application/json",
                    f"http://{self.server.api}/dashboard/show")

    def test_connections_that_come_and_go(self):
        for _ in range(100):
            with self.server.connect() as connection:
                connection.sendall(b"GET /helloworld?name=Ada HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                data = b""
                while chunk := connection.recv(65536):
                    data += chunk
            self.assertIn(b"Hello Ada", data)


if __name__ == "__main__":
    harness.main()
