#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Server reflection: a client without .proto files finds, loads and calls what is deployed, and sees what it may see."""

import hashlib
import shutil
import time

import grpc
import harness
from deploying import Platform, greeter, make_bundle
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from harness import EXAMPLES, ROOT, SERVICES, SLOW

CODE = grpc.StatusCode
STRANGER = [("origin", "http://elsewhere.example")]  # a page of another site: no account

PACKAGES = {}
for version in ("v1", "v1alpha"):
    # Python's own package is called grpc, so the modules cannot lie in grpc/reflection/.
    copy = harness.work_folder("reflection") / f"reflection_{version}.proto"
    shutil.copy(ROOT / f"proto/grpc/reflection/{version}/reflection.proto", copy)
    PACKAGES[version] = harness.stubs(copy)

COMMON = """syntax = "proto2";
package common;
message Money { optional int64 %s = 1; }
"""
SHOP = """syntax = "proto2";
package %(name)s;
import "proto/common.proto";
import "google/protobuf/timestamp.proto";
service %(service)s { rpc Price(Item) returns (common.Money); }
message Item {
  optional string name = 1;
  optional google.protobuf.Timestamp at = 2;
  extensions 100 to 200;
  enum Size { SMALL = 1; }
}
extend Item { optional string color = %(number)d; }
"""
MAIN = """local mica = require "mica"
return mica.service {
  handlers = { %(service)s = { Price = function() return { %(field)s = 7 } end } },
  public = { %(public)s },
}
"""


def shop(parent, name, field, number, public):
    """A service with a file common.proto whose content differs from service to service."""
    values = {"name": name, "service": name.capitalize(), "number": number, "field": field, "public": public}
    folder = harness.write_service(parent, name, SHOP % values, MAIN % values)
    (folder / "proto/common.proto").write_text(COMMON % field)
    return folder


class Client:
    """One reflection stream."""

    def __init__(self, server, version="v1", metadata=None, channel=None):
        self.pb, rpc = PACKAGES[version]
        self.own = None if channel else server.channel()
        self.call = rpc.ServerReflectionStub(channel or self.own).ServerReflectionInfo
        self.metadata = metadata

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.own:
            self.own.close()

    def ask(self, **query):
        return self.ask_all([query])[0]

    def ask_all(self, queries):
        requests = [self.pb.ServerReflectionRequest(host="here", **q) for q in queries]
        answers = list(self.call(iter(requests), timeout=20 * SLOW, metadata=self.metadata))
        assert len(answers) == len(requests), answers
        for request, answer in zip(requests, answers):
            assert answer.original_request == request and answer.valid_host == "here", answer
        return answers

    def services(self):
        return [s.name for s in self.ask(list_services="*").list_services_response.service]

    def files(self, **query):
        answer = self.ask(**query)
        assert answer.WhichOneof("message_response") == "file_descriptor_response", answer
        return [descriptor_pb2.FileDescriptorProto.FromString(f)
                for f in answer.file_descriptor_response.file_descriptor_proto]

    def error(self, **query):
        answer = self.ask(**query)
        assert answer.WhichOneof("message_response") == "error_response", answer
        return answer.error_response.error_code, answer.error_response.error_message


def load(pool, files):
    """Adds files to a pool from the last to the first, as a loader without any cleverness does."""
    for file in reversed(files):
        pool.Add(file)
    return pool


class Reflection(harness.Case):
    @classmethod
    def setUpClass(cls):
        parent = harness.work_folder("shops")
        cls.services = [EXAMPLES / "helloworld", SERVICES / "closed", shop(parent, "apples", "cents", 100, '"Apples.Price"'),
                        shop(parent, "pears", "euros", 101, '"Pears.Price"'), shop(parent, "secret", "grams", 102, "")]
        super().setUpClass()

    def test_lists_services(self):
        expected = ["apples.Apples", "closed.Closed", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1alpha.ServerReflection", "helloworld.Helloworld", "mica.api.v1.Api",
                    "mica.proxy.v1.Proxy", "mica.registry.v1.Registry", "mica.runtime.v1.Runtime", "mica.runtime.v1.Source",
                    "pears.Pears", "secret.Secret"]
        for version in PACKAGES:
            with Client(self.server, version) as client:
                self.assertEqual(client.services(), expected)

    def test_a_stranger_sees_what_is_public(self):
        with Client(self.server, metadata=STRANGER) as client:
            listed = client.services()
            # closed.Closed has one public endpoint.
            self.assertEqual(listed, ["apples.Apples", "closed.Closed", "grpc.health.v1.Health",
                                      "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
                                      "helloworld.Helloworld", "pears.Pears"])
            self.assertEqual(client.files(file_containing_symbol="apples.Item")[0].name, "proto/apples.proto")
            for hidden in ("secret.Secret", "secret.Item", "mica.runtime.v1.Runtime", "mica.core.v1.Deploy"):
                self.assertEqual(client.error(file_containing_symbol=hidden)[0], 5, hidden)
            for hidden in ("proto/secret.proto", "mica/runtime/v1/runtime.proto", "mica/core/v1/core.proto"):
                self.assertEqual(client.error(file_by_filename=hidden)[0], 5, hidden)
            numbers = client.ask(all_extension_numbers_of_type="secret.Item")
            self.assertEqual(numbers.error_response.error_code, 5)

    def test_the_core_is_not_shown_as_a_service(self):
        with Client(self.server) as client:
            self.assertFalse([s for s in client.services() if s.startswith("mica.core")])
            self.assertEqual(client.error(file_containing_symbol="mica.cli.v1.None")[0], 5)

    def test_symbols(self):
        with Client(self.server) as client:
            for symbol in ("apples.Apples", "apples.Apples.Price", "apples.Item", "apples.Item.name", "apples.Item.Size",
                           "apples.Item.SMALL", "apples.color", ".apples.Item"):
                self.assertEqual(client.files(file_containing_symbol=symbol)[0].name, "proto/apples.proto", symbol)
            self.assertEqual(client.files(file_containing_symbol="google.protobuf.Timestamp")[0].name,
                             "google/protobuf/timestamp.proto")
            for symbol in ("apples", "apples.None", "apples.Item.", "apples.Apples.Price.x", "x" * 3000, "\0", "apples.item"):
                code, text = client.error(file_containing_symbol=symbol)
                self.assertEqual(code, 5, symbol)
                self.assertIn("not found", text)

    def test_files(self):
        with Client(self.server) as client:
            files = client.files(file_by_filename="proto/apples.proto")
            self.assertEqual([f.name for f in files][0], "proto/apples.proto")
            self.assertEqual(sorted(f.name for f in files),
                             ["google/protobuf/timestamp.proto", "proto/apples.proto", "proto/common.proto"])
            self.assertFalse(files[0].HasField("source_code_info"))
            self.assertEqual(client.error(file_by_filename="none.proto")[0], 5)
            self.assertEqual(client.error()[0], 3)
            self.assertEqual(client.error(file_by_filename="")[0], 3)

    def test_extensions(self):
        ask = lambda client, number, name="apples.Item": dict(file_containing_extension=client.pb.ExtensionRequest(
            containing_type=name, extension_number=number))
        with Client(self.server) as client:
            self.assertEqual(client.files(**ask(client, 100))[0].name, "proto/apples.proto")
            self.assertEqual(client.files(**ask(client, 101, "pears.Item"))[0].name, "proto/pears.proto")
            for number in (101, 1, 0, -1):
                self.assertEqual(client.error(**ask(client, number))[0], 5, number)
            self.assertEqual(client.error(**ask(client, 100, "apples.None"))[0], 5)
            answer = client.ask(all_extension_numbers_of_type="apples.Item").all_extension_numbers_response
            self.assertEqual((answer.base_type_name, list(answer.extension_number)), ("apples.Item", [100]))
            answer = client.ask(all_extension_numbers_of_type="helloworld.CallRequest")
            self.assertEqual(list(answer.all_extension_numbers_response.extension_number), [])
            self.assertEqual(client.error(all_extension_numbers_of_type="apples.Apples.Price.x")[0], 5)

    def test_many_questions_on_one_stream(self):
        with Client(self.server) as client:
            queries = [{"file_containing_symbol": "helloworld.Helloworld"}, {"file_by_filename": "no"},
                       {"list_services": ""}] * 50
            answers = client.ask_all(queries)
            kinds = [a.WhichOneof("message_response") for a in answers]
            self.assertEqual(kinds, ["file_descriptor_response", "error_response", "list_services_response"] * 50)

    def test_a_call_with_nothing_but_reflection(self):
        with self.server.channel() as channel, Client(self.server, channel=channel) as client:
            pool = load(descriptor_pool.DescriptorPool(), client.files(file_containing_symbol="helloworld.Helloworld"))
            method = pool.FindServiceByName("helloworld.Helloworld").FindMethodByName("Call")
            request, answer = [message_factory.MessageFactory(pool).GetPrototype(d)
                               for d in (method.input_type, method.output_type)]
            call = channel.unary_unary("/helloworld.Helloworld/Call", request_serializer=request.SerializeToString,
                                       response_deserializer=answer.FromString)
            self.assertEqual(call(request(name="Ada"), timeout=10 * SLOW).message, "Hello Ada")

    def test_files_of_one_name_with_different_contents(self):
        with Client(self.server) as client:
            fields, contents = {}, {}
            for name in ("apples", "pears", "secret"):
                files = client.files(file_containing_symbol=f"{name}.{name.capitalize()}")
                pool = load(descriptor_pool.DescriptorPool(), files)  # each answer is whole
                fields[name] = [f.name for f in pool.FindMessageTypeByName("common.Money").fields]
                for file in files:  # and a client keeps one file a name
                    self.assertEqual(contents.setdefault(file.name, file), file)
                    self.assertEqual(client.files(file_by_filename=file.name)[0], file)
            self.assertEqual(fields, {"apples": ["cents"], "pears": ["euros"], "secret": ["grams"]})
            names = set(contents) - {"google/protobuf/timestamp.proto"}
            self.assertEqual(names, {"proto/apples.proto", "proto/common.proto", "proto/pears.proto", "proto/secret.proto",
                                     "pears/proto/common.proto", "secret/proto/common.proto"})
            # The message alone is the first one's.
            self.assertEqual(client.files(file_containing_symbol="common.Money.cents")[0].name, "proto/common.proto")
            self.assertEqual(client.files(file_containing_symbol="common.Money.euros")[0].name, "pears/proto/common.proto")
        with Client(self.server, metadata=STRANGER) as client:
            self.assertEqual(client.error(file_by_filename="secret/proto/common.proto")[0], 5)

    def test_everything_listed_can_be_loaded(self):
        with Client(self.server) as client:
            for service in client.services():
                pool = load(descriptor_pool.DescriptorPool(), client.files(file_containing_symbol=service))
                self.assertEqual(pool.FindServiceByName(service).full_name, service)

    def test_follows_deployments_and_keeps_namespaces_apart(self):
        namespace = "t" + hashlib.sha256(self.id().encode()).hexdigest()[:12]
        with Platform(self.server, namespace) as platform:
            with Client(self.server, metadata=platform.metadata) as client:
                self.assertNotIn("greeter.Greeter", client.services())
                self.assertNotIn("helloworld.Helloworld", client.services())
                platform.create(make_bundle(greeter("one")))
                self.assertIn("greeter.Greeter", client.services())
                self.assertEqual(client.files(file_containing_symbol="greeter.Greeter")[0].name, "proto/greeter.proto")
                longer = greeter("two")
                longer["proto/greeter.proto"] += "message Fresh {}\n"
                platform.update(make_bundle(longer))
                self.assertEqual(client.files(file_containing_symbol="greeter.Fresh")[0].name, "proto/greeter.proto")
                platform.delete()
                self.assertNotIn("greeter.Greeter", client.services())
                self.assertEqual(client.error(file_containing_symbol="greeter.Greeter")[0], 5)
        with Client(self.server) as client:
            self.assertNotIn("greeter.Greeter", client.services())

    def test_streams_are_bounded(self):
        pb, rpc = PACKAGES["v1"]
        with self.server.channel() as channel, self.server.channel() as other:
            stub = rpc.ServerReflectionStub(channel)
            hold = harness.threading.Event()

            def wait():
                hold.wait(20 * SLOW)
                return
                yield

            calls = [stub.ServerReflectionInfo(wait(), timeout=30 * SLOW) for _ in range(100)]
            end = time.monotonic() + 10 * SLOW
            code = None
            while code != CODE.RESOURCE_EXHAUSTED and time.monotonic() < end:
                try:
                    list(rpc.ServerReflectionStub(other).ServerReflectionInfo(iter([]), timeout=10 * SLOW))
                except grpc.RpcError as error:
                    code = error.code()
            self.assertEqual(code, CODE.RESOURCE_EXHAUSTED)
            hold.set()
            for call in calls:
                self.assertEqual(list(call), [])
        with Client(self.server) as client:
            self.assertTrue(client.services())


class Stop(harness.Case):
    def test_an_open_stream_does_not_hold_the_server_back(self):
        pb, rpc = PACKAGES["v1"]
        server = harness.Server().start()
        hold = harness.threading.Event()

        def requests():
            yield pb.ServerReflectionRequest(list_services="")
            hold.wait(20 * SLOW)

        with server.channel() as channel:
            answers = rpc.ServerReflectionStub(channel).ServerReflectionInfo(requests(), timeout=30 * SLOW)
            next(answers)
            began = time.monotonic()
            server.stop()
            self.assertLess(time.monotonic() - began, 5 * SLOW)
            with self.assertRaises(grpc.RpcError) as caught:
                next(answers)
            hold.set()
            self.assertEqual(caught.exception.code(), CODE.UNAVAILABLE)


if __name__ == "__main__":
    harness.main()
