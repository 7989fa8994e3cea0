#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`public` is obeyed: a caller from another address is nobody, one from this machine is its account."""

import ipaddress
import json
import subprocess
import unittest

import grpc
import harness
from harness import SERVICES, SLOW

pb, rpc = harness.stubs(SERVICES / "closed/proto/closed.proto")


def outer_address():
    """An address of this machine that is not loopback: who connects to it comes from it."""
    links = json.loads(subprocess.run(["ip", "-j", "-4", "addr"], capture_output=True, text=True, check=True).stdout)
    for link in links:
        for info in link.get("addr_info", ()):
            if "UP" in link["flags"] and not ipaddress.ip_address(info["local"]).is_loopback:
                return info["local"]
    return None


class Public(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.outer = outer_address()
        cls.server = harness.Server([SERVICES / "closed"], ["--insecure"], api="0.0.0.0:0", proxy="0.0.0.0:0").start()
        cls.api, cls.proxy = cls.server.api.rsplit(":", 1)[1], cls.server.proxy.rsplit(":", 1)[1]

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def ask(self, host, path):
        self.server.api = f"{host}:{self.api}"
        return self.server.post(path, {})

    def call(self, host, method):
        with grpc.insecure_channel(f"{host}:{self.proxy}") as channel:
            return getattr(rpc.ClosedStub(channel), method)(pb.Empty(), timeout=10 * SLOW).account

    def test_from_this_machine(self):
        self.assertEqual(self.ask("127.0.0.1", "/closed/open").status, 200)
        answer = self.ask("127.0.0.1", "/closed/shut")
        self.assertEqual(answer.status, 200, answer)
        self.assertNotEqual(answer.json["account"], "nobody")
        self.assertNotEqual(self.call("127.0.0.1", "Shut"), "nobody")

    def outside(self):
        if not self.outer:
            self.skipTest("this machine has no address but loopback")
        return self.outer

    def test_from_elsewhere_to_a_public_endpoint(self):
        host = self.outside()
        self.assertEqual(self.ask(host, "/closed/open").json, {"account": "nobody"})
        self.assertEqual(self.call(host, "Open"), "nobody")

    def test_from_elsewhere_to_a_closed_endpoint(self):
        host = self.outside()
        answer = self.ask(host, "/closed/shut")
        self.assertEqual(answer.status, 401, answer)
        self.assertEqual(answer.json["status"], "Unauthorized")
        self.assertEqual(answer.json["id"], "closed.Closed.Shut")
        with self.assertRaises(grpc.RpcError) as caught:
            self.call(host, "Shut")
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)

    def test_headers_do_not_make_a_stranger_a_neighbour(self):
        self.server.api = f"{self.outside()}:{self.api}"
        for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Mica-Account"):
            answer = self.server.post("/closed/shut", {}, {header: "127.0.0.1"})
            self.assertEqual(answer.status, 401, (header, answer))

    def test_platform_is_closed_to_strangers(self):
        host = self.outside()
        with grpc.insecure_channel(f"{host}:{self.proxy}") as channel:
            create = channel.unary_unary("/mica.runtime.v1.Runtime/Create", request_serializer=bytes, response_deserializer=bytes)
            with self.assertRaises(grpc.RpcError) as caught:
                create(b"", timeout=10 * SLOW)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAUTHENTICATED)


if __name__ == "__main__":
    harness.main()
