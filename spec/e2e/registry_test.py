#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The registry: what runs here and elsewhere, its contracts, and the news of every change."""

import queue
import threading
import time

import deploying
import grpc
import harness
from deploying import Platform, greeter, make_bundle, registry
from google.protobuf import descriptor_pb2
from harness import EXAMPLES, SLOW

CODE = grpc.StatusCode
TYPE = registry.Event.Type


class Watch:
    """A watch that is read by a thread of its own."""

    def __init__(self, platform, **request):
        self.events = queue.Queue()
        self.call = platform.registry.Watch(registry.WatchRequest(**request), metadata=platform.metadata)
        threading.Thread(target=self._read, daemon=True).start()
        self.current = []
        while (event := self.next()).type != TYPE.SYNCED:
            self.current.append(event)

    def _read(self):
        try:
            for event in self.call:
                self.events.put(event)
        except grpc.RpcError as error:
            self.events.put(error)

    def next(self, seconds=10):
        return self.events.get(timeout=seconds * SLOW)

    def close(self):
        self.call.cancel()


class Registry(harness.Case):
    services = [EXAMPLES / "helloworld"]

    def setUp(self):
        self.p = Platform(self.server)
        self.addCleanup(self.p.close)

    def outside(self, name="elsewhere", version="1", ttl=0, address="127.0.0.1:1", **fields):
        service = registry.Service(name=name, version=version, nodes=[registry.Node(id="n1", address=address)])
        return self.p.call(self.p.registry.Register, registry.RegisterRequest(service=service, ttl=ttl, **fields))

    def leave(self, name="elsewhere", version="1"):
        return self.p.call(self.p.registry.Deregister, registry.DeregisterRequest(name=name, version=version))

    def get(self, name):
        return list(self.p.call(self.p.registry.GetService, registry.GetServiceRequest(name=name)).services)

    def refuses(self, code, text, call, *args, **options):
        error = self.assert_rpc_error(code, lambda timeout: call(*args, **options))
        self.assertRegex(error.details(), text)

    # ---- what runs here
    def test_endpoints(self):
        [service] = self.get("helloworld")
        endpoints = {e.name: e for e in service.endpoints}
        self.assertEqual(set(endpoints), {"Helloworld.Call", "Helloworld.Stream", "Helloworld.PingPong"})
        call = endpoints["Helloworld.Call"]
        self.assertEqual(call.path, "/helloworld.Helloworld/Call")
        self.assertEqual([(v.name, v.type) for v in call.request.values], [("name", "string")])
        self.assertEqual([(v.name, v.type) for v in call.response.values], [("message", "string")])
        self.assertIn("greets the caller", call.description)
        self.assertTrue(endpoints["Helloworld.Stream"].server_streaming)
        [node] = service.nodes
        self.assertEqual((node.address, node.health), ("", registry.SERVING))
        self.assertGreater(node.seen, time.time() - 3600)

    def test_unknown(self):
        self.assert_rpc_error(CODE.NOT_FOUND, self.p.registry.GetService, registry.GetServiceRequest(name="nobody"))
        self.assert_rpc_error(CODE.NOT_FOUND, self.p.registry.GetContract, registry.GetContractRequest(name="nobody"))
        self.assert_rpc_error(CODE.NOT_FOUND, self.p.registry.GetContract,
                              registry.GetContractRequest(name="helloworld", version="v9"))

    def test_list(self):
        def names(**request):
            listed = self.p.call(self.p.registry.ListServices, registry.ListServicesRequest(**request)).services
            return {s.name for s in listed}
        self.assertIn("helloworld", names())
        self.assertNotIn("runtime", names())
        self.assertLessEqual({"helloworld", "registry", "runtime", "api", "proxy"}, names(platform=True))

    def contract(self, name, version=""):
        answer = self.p.call(self.p.registry.GetContract, registry.GetContractRequest(name=name, version=version))
        return descriptor_pb2.FileDescriptorSet.FromString(answer.descriptors), list(answer.protos)

    def test_contract(self):
        descriptors, protos = self.contract("helloworld")
        self.assertEqual(protos, ["proto/helloworld.proto"])
        [file] = [f for f in descriptors.file if f.name == protos[0]]
        self.assertEqual([m.name for m in file.service[0].method], ["Call", "Stream", "PingPong"])
        self.assertGreater(len(file.source_code_info.location), 0)  # comments are there
        [service] = self.get("helloworld")
        self.assertEqual(self.contract("helloworld", service.version)[1], protos)

    def test_contract_of_the_platform(self):
        for name in ("registry", "runtime", "api", "proxy"):
            descriptors, protos = self.contract(name)
            # gRPC's standard services are the proxy's too.
            own = [file for file in protos if not (name == "proxy" and file.startswith("grpc/"))]
            self.assertEqual(own, [f"mica/{name}/v1/{name}.proto"])
            self.assertIn(protos[0], [f.name for f in descriptors.file])

    def test_contract_by_version(self):
        proto = deploying.PROTO.replace("string text", "string text = 9; string words")
        self.p.create(make_bundle(greeter("one")), version="v1")
        self.p.create(make_bundle(greeter("two", proto=proto)), version="v2")
        self.addCleanup(lambda: [self.p.delete(version=v, now=True) for v in ("v1", "v2")])

        def fields(version):
            descriptors, protos = self.contract("greeter", version)
            [file] = [f for f in descriptors.file if f.name == protos[0]]
            return [f.name for m in file.message_type if m.name == "Answer" for f in m.field]
        self.assertEqual(fields("v1"), ["text"])
        self.assertEqual(fields("v2"), ["text", "words"])
        self.assertEqual(fields(""), ["text", "words"])
        self.assertEqual([s.version for s in self.get("greeter")], ["v2", "v1"])

    # ---- what runs elsewhere
    def test_outside(self):
        data, protos = deploying.descriptors(greeter("x"))
        self.outside(descriptors=data, protos=protos)
        self.addCleanup(self.leave)
        [service] = self.get("elsewhere")
        self.assertEqual((service.nodes[0].address, service.nodes[0].health), ("127.0.0.1:1", registry.SERVING))
        self.assertEqual(self.contract("elsewhere")[1], protos)

    def test_outside_without_contract(self):
        self.outside("silent")
        self.addCleanup(self.leave, "silent")
        self.refuses(CODE.FAILED_PRECONDITION, "without its contract", self.contract, "silent")

    def test_refused(self):
        bad = CODE.INVALID_ARGUMENT
        self.refuses(bad, "name", self.outside, "Not a name")
        self.refuses(bad, "platform's own", self.outside, "registry")
        self.refuses(bad, "HOST:PORT", self.outside, address="nowhere")
        self.refuses(bad, "address", self.outside, address="")
        self.refuses(bad, "ttl", self.outside, ttl=-1)
        self.refuses(bad, "ttl", self.outside, ttl=float("nan"))
        self.refuses(bad, "1 MB", self.outside, descriptors=b"x" * (1 << 20) + b"x")
        version = self.get("helloworld")[0].version
        self.refuses(CODE.ALREADY_EXISTS, "on this server", self.outside, "helloworld", version)
        self.refuses(CODE.FAILED_PRECONDITION, "runtime", self.leave, "helloworld", version)
        self.refuses(CODE.NOT_FOUND, "no service", self.leave, "nobody")
        self.assertEqual(self.server.post("/helloworld/call", {"name": "x"}).status, 200)

    def test_another_namespace(self):
        service = registry.Service(name="theirs", version="1", namespace="other",
                                   nodes=[registry.Node(id="n", address="h:1")])
        self.assert_rpc_error(CODE.PERMISSION_DENIED, self.p.registry.Register, registry.RegisterRequest(service=service))
        with Platform(self.server, "other") as other:
            self.assert_rpc_error(CODE.NOT_FOUND, lambda timeout: other.call(
                other.registry.GetService, registry.GetServiceRequest(name="helloworld")))

    def test_time_to_live(self):
        watch = Watch(self.p, name="fleeting")
        self.addCleanup(watch.close)
        self.outside("fleeting", ttl=2 * SLOW)
        self.assertEqual(watch.next().type, TYPE.CREATED)
        for _ in range(4):  # for twice its time it says that it is there
            time.sleep(SLOW)
            self.outside("fleeting", ttl=2 * SLOW)
        self.assertEqual(len(self.get("fleeting")), 1)
        event = watch.next(6)
        self.assertEqual((event.type, event.service.name), (TYPE.DELETED, "fleeting"))
        self.refuses(CODE.NOT_FOUND, "no service", self.get, "fleeting")

    def test_versions_elsewhere(self):
        for version in ("1", "2"):
            self.outside("several", version)
            self.addCleanup(self.leave, "several", version)
        self.assertEqual([s.version for s in self.get("several")], ["2", "1"])
        self.outside("several", "1", address="127.0.0.1:2")  # it keeps its place
        self.assertEqual([s.version for s in self.get("several")], ["2", "1"])

    # ---- watching
    def test_watch(self):
        watch = Watch(self.p)
        self.addCleanup(watch.close)
        self.assertIn("helloworld", [e.service.name for e in watch.current])
        self.assertEqual({e.type for e in watch.current}, {TYPE.CURRENT})

        def told(kind, name):
            event = watch.next()
            self.assertEqual((event.type, event.service.name), (kind, name))
            return event.revision

        self.p.create(make_bundle(greeter("one")), name="watched")
        first = told(TYPE.CREATED, "watched")
        self.p.update(make_bundle(greeter("two")), "watched")
        self.assertGreater(told(TYPE.CREATED, "watched"), first)  # another version
        told(TYPE.DELETED, "watched")
        self.p.update(None, "watched", instances=2)
        told(TYPE.UPDATED, "watched")
        self.p.delete("watched", now=True)
        told(TYPE.DELETED, "watched")

    def test_watch_one(self):
        watch = Watch(self.p, name="helloworld")
        self.addCleanup(watch.close)
        self.assertEqual([e.service.name for e in watch.current], ["helloworld"])

    def test_watch_all_namespaces(self):
        self.assert_rpc_error(CODE.PERMISSION_DENIED, self.p.registry.Watch, registry.WatchRequest(all_namespaces=True))


if __name__ == "__main__":
    harness.main()
