#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The first example, called in every way that a newcomer would."""

import json
import subprocess

import grpc
import harness
from harness import EXAMPLES, ROOT, SLOW, curl

pb, rpc = harness.stubs(EXAMPLES / "helloworld/proto/helloworld.proto")


class Helloworld(harness.Case):
    services = [EXAMPLES / "helloworld"]

    def test_mica_call(self):
        done = self.server.mica("call", "helloworld", "Helloworld.Call", '{"name":"Ada"}')
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, '{"message":"Hello Ada"}\n', ""))

    def test_curl_post(self):
        out = curl("-d", '{"name":"Ada"}', f"{self.server.api}/helloworld/call")
        self.assertEqual(json.loads(out), {"message": "Hello Ada"})

    def test_curl_query(self):
        out = curl(f"{self.server.api}/helloworld?name=Ada")
        self.assertEqual(json.loads(out), {"message": "Hello Ada"})

    def test_python_unary(self):
        with self.server.channel() as channel:
            answer = rpc.HelloworldStub(channel).Call(pb.CallRequest(name="Ada"), timeout=10 * SLOW)
        self.assertEqual(answer.message, "Hello Ada")

    def test_python_server_stream(self):
        with self.server.channel() as channel:
            stub = rpc.HelloworldStub(channel)
            got = [m.message for m in stub.Stream(pb.StreamRequest(name="Ada", messages=5), timeout=10 * SLOW)]
            none = list(stub.Stream(pb.StreamRequest(name="Ada"), timeout=10 * SLOW))
        self.assertEqual(got, ["Hello Ada"] * 5)
        self.assertEqual(none, [])

    def test_python_two_way_stream(self):
        with self.server.channel() as channel:
            balls = (pb.Ping(stroke=i) for i in range(100))
            got = [m.stroke for m in rpc.HelloworldStub(channel).PingPong(balls, timeout=10 * SLOW)]
        self.assertEqual(got, list(range(100)))

    def test_python_many_items(self):
        with self.server.channel() as channel:
            stream = rpc.HelloworldStub(channel).Stream(pb.StreamRequest(name="x", messages=20000), timeout=60 * SLOW)
            self.assertEqual(sum(1 for _ in stream), 20000)

    def test_grpc_on_the_gateway_port(self):
        with grpc.insecure_channel(self.server.api) as channel:
            answer = rpc.HelloworldStub(channel).Call(pb.CallRequest(name="Ada"), timeout=10 * SLOW)
        self.assertEqual(answer.message, "Hello Ada")

    def test_log_line(self):
        self.server.mica("call", "helloworld", "Helloworld.Call", '{"name":"Grace"}')
        self.assertTrue(self.server.wait_log(r"INFO helloworld\S* received Helloworld.Call .*name=Grace"))


class Node(harness.Case):
    """The same by @grpc/grpc-js. Its own lines of TAP tell the cases apart when it fails."""

    services = [EXAMPLES / "helloworld", harness.SERVICES / "probe"]

    def test_grpc_js(self):
        done = subprocess.run(
            ["node", ROOT / "spec/e2e/node/client.js", self.server.proxy, EXAMPLES / "helloworld/proto/helloworld.proto",
             harness.SERVICES / "probe/proto/probe.proto"],
            capture_output=True, text=True, timeout=60 * SLOW)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all 7 done", done.stdout)


if __name__ == "__main__":
    harness.main()
