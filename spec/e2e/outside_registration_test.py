#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Registering services in other languages: contracts, names, addresses, time."""

import json
import signal
import socket
import subprocess
import time

import deploying
import grpc
import harness
import outside_backend
from deploying import registry
from google.protobuf import descriptor_pb2
from harness import SLOW
from outside_backend import Outside, Process, echo, retry, slowly

CODE = grpc.StatusCode


REGISTRANT = """local mica = require "mica"
local Registrant = {}
local registry = mica.client "registry"
function Registrant.Try(_, req)
  local node = { address = "127.0.0.1:1" }
  local _, err = mica.try(function()
    return registry.Register({ service = { name = "theirs", version = "1", namespace = req.text, nodes = { node } } })
  end)
  return { text = err and err.code or "OK" }
end
return mica.service { handlers = { Registrant = Registrant }, public = true, uses = { call = { "registry" } } }
"""
REGISTRANT_PROTO = """syntax = "proto3";
package registrant;
service Registrant { rpc Try(Text) returns (Text); }
message Text { string text = 1; }
"""


class Registration(Outside):
    """Contracts, names, addresses, time."""

    @classmethod
    def setUpClass(cls):
        registrant = harness.write_service(harness.work_folder("services"), "registrant", REGISTRANT_PROTO, REGISTRANT)
        cls.services = [harness.EXAMPLES / "helloworld", registrant]
        super().setUpClass()

    def contract(self, name="echo"):
        return self.p.call(self.p.registry.GetContract, registry.GetContractRequest(name=name))

    def service(self, name="echo"):
        [service] = self.p.call(self.p.registry.GetService, registry.GetServiceRequest(name=name)).services
        return service

    def test_reflection(self):
        for version in ("v1", "v1alpha"):
            one = self.backend(version, reflection=version)
            self.assertEqual(self.register(one.address).fault, "")
            self.assertEqual(self.unary().who, version)
            self.assertEqual(list(self.contract().protos), ["echo.proto"])
            endpoints = {e.name: e for e in self.service().endpoints}
            self.assertEqual(len(endpoints), 6)
            self.assertTrue(endpoints["Echo.Both"].client_streaming and endpoints["Echo.Both"].server_streaming)
            self.assertIn(("at", "google.protobuf.Timestamp"), [(v.name, v.type) for v in endpoints["Echo.Unary"].request.values])
            self.leave()

    def test_uploaded(self):
        one = self.backend(reflection=None)
        self.assertRegex(self.register(one.address).fault, "no server reflection")
        self.refuses(CODE.FAILED_PRECONDITION, "without its contract", self.contract)
        self.assert_rpc_error(CODE.UNIMPLEMENTED, self.echo.Unary, echo.Request())
        self.assertEqual(self.register(one.address, descriptors=outside_backend.contract()).fault, "")
        self.assertEqual(self.unary().who, "one")
        self.register(one.address)  # says only that it is there: the contract stays
        self.assertEqual(self.unary().who, "one")

    def test_reflection_comes_later(self):
        one = Process("late")
        one.kill()
        self.assertRegex(self.register(one.address).fault, "connect")
        late = self.backend("late", port=int(one.address.rsplit(":", 1)[1]))
        self.assertEqual(late.address, one.address)
        end = time.monotonic() + 10 * SLOW
        while not self.service().endpoints:
            self.assertLess(time.monotonic(), end, "its contract does not come")
            time.sleep(0.1)
        self.assertEqual(retry(lambda: self.unary().who), "late")

    def test_large_contract(self):
        """Close to the limit of 1 MB."""
        lines = ['syntax = "proto3";', "package big;"]
        for i in range(400):
            fields = " ".join(f"string some_field_number_{k} = {k};" for k in range(1, 26))
            lines.append(f"message M{i} {{ {fields} M{(i + 1) % 400} next = 50; M{(i + 7) % 400} other = 51; }}")
        lines.append("service Big { " + " ".join(f"rpc Call{i}(M{i}) returns (M{i});" for i in range(400)) + " }")
        files = descriptor_pb2.FileDescriptorSet.FromString(deploying.descriptors({"big.proto": "\n".join(lines)})[0])
        for file in files.file:
            file.ClearField("source_code_info")
        data = files.SerializeToString()
        self.assertGreater(len(data), 500_000)
        one = self.backend()
        self.assertEqual(self.register(one.address, name="big", descriptors=data).fault, "")
        self.assertEqual(len(self.service("big").endpoints), 400)

    def test_hostile_reflection(self):
        good = descriptor_pb2.FileDescriptorSet.FromString(outside_backend.contract())
        for mode, text in (("nothing", "no service"), ("other file", "without its services"), ("circle", ".*"), ("garbage", "."),
                           ("endless", "too large|services"), ("error", "not today"), ("hang up", ".")):
            with self.subTest(mode):
                one = self.backend(reflection=None, handlers=[HostileReflection(mode, good).handler()])
                fault = self.register(one.address, name="hostile").fault
                self.assertRegex(fault, text)
                self.leave("hostile")

    def test_bad_contracts(self):
        bad = CODE.INVALID_ARGUMENT
        one = self.backend()
        good = descriptor_pb2.FileDescriptorSet.FromString(outside_backend.contract())
        self.register(one.address, descriptors=good.SerializeToString())

        def refused(text, **fields):
            self.refuses(bad, text, self.register, one.address, **fields)
            self.assertEqual(self.unary().who, "one")  # what was there stays

        refused("contract", descriptors=b"\xff\xff\xff")
        refused("contract", descriptors=b"\x0a\x05")
        refused("1 MB", descriptors=b"x" * (1 << 20) + b"x")
        refused("no file other.proto", descriptors=good.SerializeToString(), protos=["other.proto"])
        alone = descriptor_pb2.FileDescriptorSet(file=[f for f in good.file if f.name == "echo.proto"])
        refused("google.protobuf.Timestamp is not in the set", descriptors=alone.SerializeToString())  # an import is missing
        del alone.file[0].service[:]
        alone.file[0].ClearField("dependency")
        del alone.file[0].message_type[:]
        refused("no service", descriptors=alone.SerializeToString())
        theirs = descriptor_pb2.FileDescriptorSet.FromString(good.SerializeToString())
        theirs.file[-1].package = "mica.registry.v1"
        text = theirs.SerializeToString().replace(b".echo.", b".mica.registry.v1.")
        refused("contract|service", descriptors=text, protos=["echo.proto"])
        nested = descriptor_pb2.FileDescriptorProto(name="deep.proto")
        message = nested.message_type.add(name="M")
        for _ in range(90):
            message = message.nested_type.add(name="M")
        raw = nested.SerializeToString()
        refused(".", descriptors=b"\x0a" + varint(len(raw)) + raw)

    def test_platform_packages_are_not_its_own(self):
        """A backend may serve gRPC's own services; a service of the platform cannot be stood in for."""
        files = subprocess.run(
            ["protoc", f"-I{harness.ROOT}/proto", "--include_imports", "--descriptor_set_out=/dev/stdout",
             "mica/proxy/v1/proxy.proto"], check=True, capture_output=True).stdout
        one = self.backend()
        self.refuses(CODE.INVALID_ARGUMENT, "no service of its own", self.register, one.address, name="other", descriptors=files)
        self.refuses(CODE.INVALID_ARGUMENT, "cannot be a service's own", self.register, one.address, name="other",
                     descriptors=files, protos=["mica/proxy/v1/proxy.proto"])

    def test_what_runs_here_comes_first(self):
        one = self.backend()
        self.refuses(CODE.ALREADY_EXISTS, "runs on this server", self.register, one.address, name="helloworld")
        self.register(one.address, name="greeter", descriptors=outside_backend.contract())
        self.assertEqual(self.unary().who, "one")
        self.p.create(deploying.make_bundle(deploying.greeter("here")))
        self.addCleanup(self.p.delete, now=True)
        self.assertEqual(self.server.post("/greeter/call").json["text"], "here")
        self.assert_rpc_error(CODE.UNIMPLEMENTED, self.echo.Unary, echo.Request())
        self.refuses(CODE.ALREADY_EXISTS, "runs on this server", self.register, one.address, name="greeter")

    def test_paths_here_come_first(self):
        """Another name does not help to take the paths of what runs here."""
        set_bytes, protos = deploying.descriptors(
            {"helloworld.proto": (harness.EXAMPLES / "helloworld/proto/helloworld.proto").read_text()})
        one = self.backend()
        self.register(one.address, name="aaa", descriptors=set_bytes, protos=protos)
        call = self.p.channel.unary_unary("/helloworld.Helloworld/Call", bytes, bytes)
        self.assertEqual(call(b"\n\3Ada", timeout=10 * SLOW), b"\n\x09Hello Ada")

    def test_addresses(self):
        for address in ("nowhere", "a:b", "h:0", "h:65536", "a b:1", "user@h:1", "h/x:1", "a,b:1", "x" * 260 + ":1"):
            self.refuses(CODE.INVALID_ARGUMENT, "HOST:PORT", self.register, address)

    def test_public(self):
        one = self.backend()
        self.register(one.address, public=True)
        self.assertTrue(all(e.public for e in self.service().endpoints))
        self.register(one.address)
        self.assertFalse(any(e.public for e in self.service().endpoints))

    def test_versions(self):
        one, two = self.backend("one"), self.backend("two")
        self.register(one.address, version="v1")
        self.register(two.address, version="v2")
        ask = self.echo.Unary
        self.assertEqual(ask(echo.Request(), timeout=9).who, "two")
        self.assertEqual(ask(echo.Request(), timeout=9, metadata=[("mica-version", "v1")]).who, "one")
        self.leave(version="v2")
        self.assertEqual(ask(echo.Request(), timeout=9).who, "one")

    def test_changes_do_not_fail_calls(self):
        """Registered again elsewhere, then taken out: each time the call that has begun comes to its end."""
        one, two = self.backend("one"), self.backend("two")
        self.register(one.address)
        first = self.echo.Sleep.future(echo.Request(seconds=2), timeout=20 * SLOW)
        stream = self.echo.Both(slowly("abc", 0.5), timeout=20 * SLOW)
        self.assertEqual(next(stream).text, "a")
        self.register(two.address)
        self.assertEqual(self.unary().who, "two")
        second = self.echo.Sleep.future(echo.Request(seconds=1), timeout=20 * SLOW)
        time.sleep(0.2)
        self.leave()
        self.assert_rpc_error(CODE.UNIMPLEMENTED, self.echo.Unary, echo.Request())
        self.assert_error(self.server.post("/echo/unary"), 404)
        self.assertEqual((first.result().who, second.result().who), ("one", "two"))
        self.assertEqual([a.text for a in stream], ["b", "c"])

    def test_expiry(self):
        one = self.backend()
        self.register(one.address, ttl=SLOW)
        self.assertEqual(self.unary().who, "one")
        slow = self.echo.Sleep.future(echo.Request(seconds=2.5 * SLOW), timeout=20 * SLOW)
        end = time.monotonic() + 8 * SLOW
        while self.server.post("/echo/unary").status != 404:
            self.assertLess(time.monotonic(), end, "it does not expire")
            time.sleep(0.1)
        self.assertEqual(slow.result().who, "one")

    def test_hold(self):
        """A registration that lives as long as a call."""
        one = self.backend()
        service = registry.Service(name="echo", version="1", nodes=[registry.Node(address=one.address)])
        held = self.p.registry.Hold(registry.RegisterRequest(service=service))
        self.assertEqual(next(held).fault, "")
        self.assertEqual(self.unary().who, "one")
        held.cancel()
        end = time.monotonic() + 5 * SLOW
        while self.server.post("/echo/unary").status != 404:
            self.assertLess(time.monotonic(), end, "it is still there")
            time.sleep(0.05)
        held = self.p.registry.Hold(registry.RegisterRequest(service=service))
        next(held)
        self.leave()
        with self.assertRaises(grpc.RpcError) as caught:
            next(held)
        self.assertEqual(caught.exception.code(), CODE.ABORTED)

    def test_server_stops_under_held_registration(self):
        """It does not wait for those who hold one; the command line finds the next server by itself."""
        one = self.backend()
        with socket.create_server(("127.0.0.1", 0)) as free:
            proxy = f"127.0.0.1:{free.getsockname()[1]}"
        data = harness.work_folder("data")
        with harness.Server(proxy=proxy, data=data):
            held = subprocess.Popen(harness.launcher() + [str(harness.BINARY), "register", "echo", one.address],
                                    env=harness.environment({"MICA_ADDRESS": proxy}), stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True)
            self.addCleanup(lambda: (held.kill(), held.wait(), held.stdout.close()))
            self.assertIn("registered", held.stdout.readline())
            began = time.monotonic()
        self.assertLess(time.monotonic() - began, 5 * SLOW)
        with harness.Server(proxy=proxy, data=data) as server:
            self.assertIn("registered", held.stdout.readline())
            self.assertEqual(server.post("/echo/unary", {"text": "again"}).json["text"], "again")

    def test_command_line(self):
        one = self.backend()
        pb = harness.work_folder("cli") / "echo.pb"
        pb.write_bytes(outside_backend.contract())
        done = self.server.mica("register", "echo@v7", one.address, "--descriptors", pb, "--ttl", "1h")
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["echo@v7", "registered", one.address]), done.stderr)
        self.assertIn("echo", self.server.mica("services").stdout)
        done = self.server.mica("echo", "unary", "--text", "q")
        self.assertEqual(json.loads(done.stdout)["text"], "q", done.stderr)
        done = self.server.mica("deregister", "echo")
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["echo@v7", "deregistered"]), done.stderr)
        self.assertEqual(self.server.mica("deregister", "echo").returncode, 1)
        self.assertEqual(self.server.mica("deregister", "helloworld").returncode, 1)
        self.assertEqual(self.server.mica("register", "echo", "nowhere").returncode, 2)
        self.assertEqual(self.server.mica("register", "echo", one.address, "--ttl", "2d").returncode, 2)
        held = subprocess.Popen(harness.launcher() + [str(harness.BINARY), "register", "echo", one.address],
                                env=harness.environment({"MICA_ADDRESS": self.server.proxy}), stdout=subprocess.PIPE, text=True)
        try:
            self.assertEqual(held.stdout.readline().split(), ["echo@1", "registered", one.address])
            self.assertEqual(self.unary().who, "one")
        finally:
            held.send_signal(signal.SIGINT)
            self.assertEqual(held.wait(10 * SLOW), 130)
            held.stdout.close()
        end = time.monotonic() + 5 * SLOW
        while self.server.post("/echo/unary").status != 404:
            self.assertLess(time.monotonic(), end, "it is still there")
            time.sleep(0.05)

    def test_strangers(self):
        """Who is not on the server's machine has no account here: it may not register, nor may a service of a user."""
        from_web = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        body = {"service": {"name": "x", "version": "1", "nodes": [{"address": "10.0.0.1:1"}]}}
        self.assertIn(self.server.post("/registry/register", body, from_web).status, (401, 403))
        # A service acts for whoever asks it, and in his namespace.
        self.assertEqual(self.server.post("/registrant/try", {}, from_web).json["text"], "UNAUTHENTICATED")
        self.assertEqual(self.server.post("/registrant/try", {"text": "other"}).json["text"], "PERMISSION_DENIED")
        self.assertEqual(self.server.post("/registrant/try", {}).json["text"], "OK")
        self.leave("theirs")


class HostileReflection(outside_backend.Reflection):
    def __init__(self, mode, good):
        super().__init__("v1", good.SerializeToString(), ["echo.Echo"])
        self.mode = mode

    def answer(self, requests, context):
        if self.mode == "hang up":
            return
        for n, request in enumerate(requests):
            response = self.response()
            files = response.file_descriptor_response.file_descriptor_proto
            listing = request.WhichOneof("message_request") == "list_services"
            if self.mode == "error":
                response.error_response.error_message = "not today"
            elif listing:
                if self.mode != "nothing":
                    response.list_services_response.service.add(name="echo.Echo")
            elif self.mode == "other file":
                files.append(descriptor_pb2.FileDescriptorProto(name="other.proto").SerializeToString())
            elif self.mode == "circle":
                files.append(descriptor_pb2.FileDescriptorProto(
                    name="echo.proto", package="echo", dependency=["echo.proto"],
                    service=[descriptor_pb2.ServiceDescriptorProto(name="Echo")]).SerializeToString())
            elif self.mode == "garbage":
                files.append(b"\xff\xff\xff")
            elif self.mode == "endless":  # every file imports the next
                files.append(descriptor_pb2.FileDescriptorProto(
                    name="echo.proto" if n == 1 else f"{n}.proto", package="echo", dependency=[f"{n + 1}.proto"],
                    service=[descriptor_pb2.ServiceDescriptorProto(name="Echo")] if n == 1 else []).SerializeToString())
            yield response


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


if __name__ == "__main__":
    harness.main()
