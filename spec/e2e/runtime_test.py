#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The runtime: bundles are uploaded, deployed, replaced without a lost call, restored after a crash, and taken out."""

import hashlib
import json
import os
import threading
import time

import deploying
import grpc
import harness
from deploying import Platform, greeter, make_bundle, runtime, stored_blobs
from harness import EXAMPLES, SLOW, Server

CODE = grpc.StatusCode
GREETER = "/greeter/call"

pb, rpc = harness.stubs(harness.write_service(
    harness.work_folder("stub"), "greeter", deploying.PROTO, "") / "proto/greeter.proto")


def says(server, version=None):
    headers = {"mica-version": version} if version else {}
    answer = server.post(GREETER, {}, headers)
    return answer.json["text"] if answer.status == 200 else answer.status


class Deploy(harness.Case):
    """One server; every test uses a namespace of its own, so that they do not meet."""

    def setUp(self):
        self.namespace = "t" + hashlib.sha256(self.id().encode()).hexdigest()[:12]
        self.p = Platform(self.server, self.namespace)
        self.addCleanup(self.p.close)

    def says(self, version=None):
        headers = {"mica-namespace": self.namespace}
        if version:
            headers["mica-version"] = version
        answer = self.server.post(GREETER, {}, headers)
        return answer.json["text"] if answer.status == 200 else answer.status

    def refuses(self, code, text, call, *args, **options):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*args, **options)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        self.assertRegex(caught.exception.details(), text)

    # ---- create, read, update, delete
    def test_life(self):
        made = self.p.create(make_bundle(greeter("one")), origin="/home/ada/greeter")
        self.assertTrue(made.changed)
        self.assertGreater(made.seconds, 0)
        self.assertEqual(made.url, f"http://{self.server.api}/greeter")
        self.assertEqual(self.says(), "one")
        [service] = self.p.read()
        self.assertEqual((service.name, service.namespace, service.status, service.source, service.owner),
                         ("greeter", self.namespace, runtime.RUNNING, "/home/ada/greeter", "admin"))
        self.assertEqual((service.instances, service.serving, service.requests, service.errors), (1, 1, 1, 0))
        self.assertEqual(service.version, service.hash[:8])
        self.assertGreater(service.memory, 1000)
        self.assertEqual(service.limits.memory, 64 << 20)

        changed = self.p.update(make_bundle(greeter("two")))
        self.assertTrue(changed.changed)
        self.assertEqual(self.says(), "two")
        [service] = self.p.read()
        self.assertEqual(service.created, made.service.created)
        self.assertGreater(service.generation, made.service.generation)

        self.assertFalse(self.p.update(make_bundle(greeter("two"))).changed)
        self.p.delete()
        self.assertEqual(self.p.read(), [])
        self.assertEqual(self.says(), 404)

    def test_twice(self):
        self.p.create(make_bundle(greeter("one")))
        self.refuses(CODE.ALREADY_EXISTS, "deployed already", self.p.create, make_bundle(greeter("two")))
        self.assertEqual(self.says(), "one")

    def test_unknown(self):
        self.refuses(CODE.NOT_FOUND, 'no service "greeter"', self.p.update, make_bundle(greeter("x")))
        self.refuses(CODE.NOT_FOUND, 'no service "nobody"', self.p.delete, "nobody")
        self.refuses(CODE.NOT_FOUND, "upload it again", self.p.call, self.p.runtime.Create,
                     runtime.CreateRequest(source="0" * 64))
        self.refuses(CODE.INVALID_ARGUMENT, "hexadecimal", self.p.call, self.p.runtime.Create,
                     runtime.CreateRequest(source="../../etc/passwd"))

    def test_names(self):
        bundle = make_bundle(greeter("x"))
        self.refuses(CODE.INVALID_ARGUMENT, "no name for a service", self.p.create, bundle, name="Greeter")
        self.refuses(CODE.INVALID_ARGUMENT, "platform's own", self.p.create, bundle, name="registry")
        self.refuses(CODE.INVALID_ARGUMENT, "version", self.p.create, bundle, version="../v1")
        self.assertEqual(self.p.create(bundle, name="other").service.name, "other")

    def test_scale(self):
        self.p.create(make_bundle(greeter("one")))
        answer = self.p.update(None, instances=3)
        self.assertTrue(answer.changed)
        self.assertEqual((answer.service.instances, answer.service.serving), (3, 3))
        self.assertEqual(self.says(), "one")
        self.assertFalse(self.p.update(None, instances=3).changed)
        self.refuses(CODE.INVALID_ARGUMENT, "at most", self.p.update, None, instances=100000)

    def test_a_fault_in_an_update_leaves_the_old_version(self):
        self.p.create(make_bundle(greeter("one")))
        broken = greeter("two")
        broken["main.lua"] = "local x = \n"
        self.refuses(CODE.INVALID_ARGUMENT, r"main\.lua:", self.p.update, make_bundle(broken))
        failing = greeter("two")
        failing["main.lua"] = failing["main.lua"].replace("public = true", 'on_start = function() error "not today" end')
        self.refuses(CODE.INTERNAL, r"main\.lua:\d+: not today", self.p.update, make_bundle(failing))
        self.assertEqual(self.says(), "one")
        self.assertEqual(self.p.read()[0].status, runtime.RUNNING)

    def test_a_fault_in_a_new_service_leaves_nothing(self):
        broken = greeter("two")
        broken["main.lua"] = "error 'no'\n"
        self.refuses(CODE.INVALID_ARGUMENT, "main.lua", self.p.create, make_bundle(broken))
        self.assertEqual(self.p.read(), [])

    def test_contract_changes(self):
        self.p.create(make_bundle(greeter("one")))
        proto = """syntax = "proto3";
package greeter;
service Greeter {
  rpc Call(Request) returns (Answer);
  rpc Slow(Request) returns (stream Answer);
}
message Request { int64 name = 1; double length = 3; }
message Answer { repeated string text = 1; bool extra = 2; }
"""
        main = greeter("two")["main.lua"].replace('text = "two"', 'text = { "two" }')
        files = {"main.lua": main.split("function Greeter.Slow")[0] +
                 'return mica.service { name = "greeter", handlers = { Greeter = Greeter }, public = true }',
                 "proto/greeter.proto": proto}
        answer = self.p.update(make_bundle(files))
        self.assertEqual(list(answer.contract_changes), [
            "greeter.Answer.text: repeated now",
            "greeter.Greeter.Count: removed",
            "greeter.Greeter.Slow: answers with a stream now",
            "greeter.Request.name: another type",
            "greeter.Request.seconds: removed",
        ])
        self.assertEqual(len(answer.service.warnings), 1)
        self.assertRegex(answer.service.warnings[0], "Slow.*no handler")

    def test_calls_go_on_while_it_is_updated(self):
        self.p.create(make_bundle(greeter("0")))
        stop, failed, seen = threading.Event(), [], set()

        def client():
            with self.server.channel() as channel:
                stub = rpc.GreeterStub(channel)
                while not stop.is_set():
                    try:
                        seen.add(stub.Call(pb.Request(), timeout=20 * SLOW,
                                           metadata=[("mica-namespace", self.namespace)]).text)
                    except grpc.RpcError as error:
                        failed.append(f"{error.code()} {error.details()}")

        clients = [threading.Thread(target=client) for _ in range(4)]
        for thread in clients:
            thread.start()
        for n in range(1, 13):
            self.p.update(make_bundle(greeter(str(n))))
        time.sleep(3)  # the replaced ones have stopped
        stop.set()
        for thread in clients:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(seen, {str(n) for n in range(13)})

    def test_a_call_at_work_ends_on_the_old_version(self):
        self.p.create(make_bundle(greeter("old")))
        with self.server.channel() as channel:
            slow = rpc.GreeterStub(channel).Slow.future(pb.Request(seconds=3), timeout=30 * SLOW,
                                                        metadata=[("mica-namespace", self.namespace)])
            time.sleep(0.3)
            self.p.update(make_bundle(greeter("new")))
            self.assertEqual(self.says(), "new")
            self.assertEqual(slow.result().text, "old")

    def test_two_updates_at_once(self):
        self.p.create(make_bundle(greeter("0")))
        sources = [self.p.upload(make_bundle(greeter(str(n), {"pad.txt": "x" * 1000000}))) for n in range(1, 7)]
        results = []

        def update(source):
            try:
                self.p.call(self.p.runtime.Update, runtime.UpdateRequest(name="greeter", source=source))
                results.append("ok")
            except grpc.RpcError as error:
                results.append(error.code())
                self.assertIn("another change of greeter", error.details())

        threads = [threading.Thread(target=update, args=(source,)) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 6)
        self.assertIn("ok", results)
        self.assertLessEqual(set(results), {"ok", CODE.ABORTED})
        [service] = self.p.read()
        self.assertEqual(service.status, runtime.RUNNING)
        self.assertIn(self.says(), "123456")

    def test_a_client_that_goes_away_leaves_no_half(self):
        slow = greeter("one")
        slow["main.lua"] = slow["main.lua"].replace("public = true", "public = true, on_start = function() mica.sleep(1) end")
        source = self.p.upload(make_bundle(slow))
        call = self.p.runtime.Create.future(runtime.CreateRequest(source=source), metadata=self.p.metadata)
        time.sleep(0.3)
        self.assertEqual(self.p.read()[0].status, runtime.STARTING)
        call.cancel()
        end = time.monotonic() + 10 * SLOW
        while self.says() != "one" and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(self.says(), "one")
        self.assertEqual(self.p.read()[0].status, runtime.RUNNING)

    # ---- versions
    def test_versions_side_by_side(self):
        self.p.create(make_bundle(greeter("first")), version="v1")
        self.assertEqual(self.says(), "first")
        self.p.create(make_bundle(greeter("second")), version="v2")
        self.assertEqual(self.says(), "second")  # the one created last
        self.assertEqual((self.says("v1"), self.says("v2"), self.says("v3")), ("first", "second", 404))
        self.p.update(make_bundle(greeter("first again")), version="v1")
        self.assertEqual((self.says(), self.says("v1")), ("second", "first again"))
        plain = self.p.create(make_bundle(greeter("plain")))
        self.assertEqual((self.says(), self.says("v2"), self.says(plain.service.version)), ("plain", "second", "plain"))
        self.p.delete(version="v2")
        self.assertEqual((self.says(), self.says("v1"), self.says("v2")), ("plain", "first again", 404))
        self.assertEqual(sorted(s.version for s in self.p.read("greeter")), sorted(["v1", plain.service.version]))
        self.assertEqual([s.version for s in self.p.read("greeter", "v1")], ["v1"])

    def test_grpc_by_version(self):
        self.p.create(make_bundle(greeter("first")), version="v1")
        self.p.create(make_bundle(greeter("second")), version="v2")
        with self.server.channel() as channel:
            stub = rpc.GreeterStub(channel)
            for version, text in (("v1", "first"), ("v2", "second")):
                answer = stub.Call(pb.Request(), timeout=10 * SLOW,
                                   metadata=[("mica-namespace", self.namespace), ("mica-version", version)])
                self.assertEqual(answer.text, text)

    def test_which_version(self):
        self.p.create(make_bundle(greeter("first")), version="v1")
        self.p.update(make_bundle(greeter("changed")))  # the only one
        self.assertEqual(self.says("v1"), "changed")
        self.p.create(make_bundle(greeter("second")), version="v2")
        self.refuses(CODE.FAILED_PRECONDITION, "say which", self.p.update, make_bundle(greeter("x")))
        self.refuses(CODE.NOT_FOUND, "no version", self.p.delete, version="v9")

    # ---- delete
    def test_delete_drains(self):
        self.p.create(make_bundle(greeter("one")))
        with self.server.channel() as channel:
            slow = rpc.GreeterStub(channel).Slow.future(pb.Request(seconds=1.5), timeout=30 * SLOW,
                                                        metadata=[("mica-namespace", self.namespace)])
            time.sleep(0.3)
            began = time.monotonic()
            answer = self.p.delete()
            self.assertGreater(time.monotonic() - began, 0.8)
            self.assertEqual(slow.result().text, "one")
        self.assertEqual(answer.finished, 1)

    def test_delete_now(self):
        self.p.create(make_bundle(greeter("one")))
        with self.server.channel() as channel:
            stream = rpc.GreeterStub(channel).Count(pb.Request(), metadata=[("mica-namespace", self.namespace)])
            next(stream)
            began = time.monotonic()
            self.p.delete(now=True)
            self.assertLess(time.monotonic() - began, 3 * SLOW)
            with self.assertRaises(grpc.RpcError) as caught:
                for _ in stream:
                    pass
            self.assertEqual(caught.exception.code(), CODE.UNAVAILABLE)

    # ---- who may
    def test_namespaces_are_apart(self):
        self.p.create(make_bundle(greeter("one")))
        with Platform(self.server, self.namespace + "-other") as other:
            self.assertEqual(other.read(), [])
            self.refuses(CODE.NOT_FOUND, "no service", other.delete)
            self.refuses(CODE.PERMISSION_DENIED, "only administrators", other.call, other.runtime.Shutdown,
                         runtime.ShutdownRequest())

    def test_platform_services(self):
        services = {s.name: s for s in self.p.read(platform=True)}
        self.assertLessEqual({"registry", "api", "proxy", "runtime"}, set(services))
        self.assertEqual(services["registry"].status, runtime.RUNNING)
        self.assertGreater(services["registry"].requests, 0)

    def test_errors_are_counted(self):
        files = greeter("one")
        files["main.lua"] = files["main.lua"].replace('return { text = "one" }', 'error "oops"', 1)
        self.p.create(make_bundle(files))
        for _ in range(3):
            self.says()
        [service] = self.p.read()
        self.assertEqual((service.requests, service.errors), (3, 3))


class Uploads(harness.Case):
    def setUp(self):
        self.p = Platform(self.server)
        self.addCleanup(self.p.close)

    refuses = Deploy.refuses

    def wait_empty(self):
        end = time.monotonic() + 5 * SLOW
        while stored_blobs(self.server) and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(stored_blobs(self.server), [])

    def test_cut(self):
        started = threading.Event()

        def pieces():
            yield runtime.UploadRequest(header=runtime.UploadHeader(size=5 << 20, sha256="0" * 64))
            yield runtime.UploadRequest(data=b"x" * (1 << 20))
            started.set()
            time.sleep(60 * SLOW)

        call = self.p.source.Upload.future(pieces())
        self.assertTrue(started.wait(10 * SLOW))
        time.sleep(0.3)
        call.cancel()
        self.wait_empty()

    def test_what_the_header_says(self):
        data = make_bundle(greeter("one")).SerializeToString()
        self.refuses(CODE.INVALID_ARGUMENT, r"ended after \d+ of", self.p.upload, data, size=len(data) + 1)
        self.refuses(CODE.INVALID_ARGUMENT, "larger than the", self.p.upload, data, size=len(data) - 1)
        self.refuses(CODE.DATA_LOSS, "hash|SHA-256", self.p.upload, data, sha256="0" * 64)
        self.refuses(CODE.INVALID_ARGUMENT, "hexadecimal", self.p.upload, data, sha256="x")
        self.refuses(CODE.INVALID_ARGUMENT, "64 MB", self.p.upload, data, size=65 << 20)
        self.refuses(CODE.INVALID_ARGUMENT, "header", self.p.source.Upload,
                     iter([runtime.UploadRequest(data=b"x")]), timeout=10 * SLOW)
        self.refuses(CODE.INVALID_ARGUMENT, "header", self.p.source.Upload, iter([]), timeout=10 * SLOW)
        big = runtime.UploadRequest(data=b"x" * ((1 << 20) + 1))
        header = runtime.UploadRequest(header=runtime.UploadHeader(size=4 << 20, sha256="0" * 64))
        self.refuses(CODE.INVALID_ARGUMENT, "1 MB", self.p.source.Upload, iter([header, big]), timeout=10 * SLOW)
        self.wait_empty()

    def test_bad_bundles(self):
        files = greeter("one")
        contract = deploying.descriptors(files)

        def bad(text, bundle):
            with self.subTest(text):
                self.refuses(CODE.INVALID_ARGUMENT, text, self.p.create, bundle)

        for path in ("../x.lua", "a/../../x", ".."):
            bad("a path that leaves it", make_bundle({**files, path: "x"}, contract=contract))
        bad("absolute path", make_bundle({**files, "/etc/x": "x"}, contract=contract))
        for path in ("./x", "a//b", "a/"):
            bad("empty or", make_bundle({**files, path: "x"}, contract=contract))
        bad("is empty", make_bundle({**files, "": "x"}, contract=contract))
        bad("plain UTF-8", make_bundle({**files, "a\0b": "x"}, contract=contract))
        bad("format 9", make_bundle(files, contract=contract, format=9))
        bad("no bundle", make_bundle(files, contract=contract, format=0))
        bad("hash", make_bundle(files, contract=contract, hash="0" * 64))
        bad("main.lua", make_bundle({"proto/greeter.proto": deploying.PROTO}, contract=contract))
        bad("contract", make_bundle(files, contract=(b"\xff\xff", contract[1])))
        bad("of its own", make_bundle(files, contract=(contract[0], [])))
        bad("no bundle", b"\x00garbage")
        bad("no bundle", make_bundle(files, contract=contract).SerializeToString()[:-5])
        twice = make_bundle(files, contract=contract)
        twice.files.add(path="main.lua", content=b"x")
        bad("twice", twice)
        many = make_bundle({**files, **{f"f{n}": "" for n in range(2001)}}, contract=contract)
        bad("2000 files", many)
        bad("wrong mode", make_bundle({**files, "main.lua": b"\x1bLJ\x02\x08"}, contract=contract))
        self.assertEqual(self.p.read(), [])
        self.wait_empty()

    def test_large(self):
        files = greeter("large", {f"data/{n}.bin": os.urandom(5_000_000) for n in range(10)})
        bundle = make_bundle(files, contract=deploying.descriptors(greeter("large")))
        began, before = time.monotonic(), self.server.memory()
        self.p.create(bundle)
        self.assertLess(time.monotonic() - began, 10 * SLOW)
        self.assertEqual(says(self.server), "large")
        if SLOW == 1:
            self.assertLess(self.server.memory() - before, 250 << 20)
        self.p.delete()
        self.wait_empty()

    def test_unused_bundles_go(self):
        self.p.create(make_bundle(greeter("0")), name="other")
        for n in range(1, 9):
            self.p.update(make_bundle(greeter(str(n))), "other")
        self.assertLessEqual(len(stored_blobs(self.server)), 5)
        self.p.delete("other")
        self.wait_empty()


class Restart(harness.Case):
    """Servers that are killed; `server` is not used."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def test_kill_and_restore(self):
        first = Server().start()
        with Platform(first) as p:
            p.create(make_bundle(greeter("one")), origin="/from/here")
            p.create(make_bundle(greeter("tagged")), version="v1", instances=2)
            p.create(make_bundle(greeter("gone")), name="gone")
            p.delete("gone")
            p.update(make_bundle(greeter("two")))
            before = {s.version: s for s in p.read()}
        first.kill()
        with Server(data=first.data) as second, Platform(second) as p:
            self.assertEqual((says(second), says(second, "v1")), ("two", "tagged"))
            after = {s.version: s for s in p.read()}
            self.assertEqual(set(after), set(before))
            for version, service in after.items():
                for field in ("hash", "owner", "source", "created", "updated", "instances", "status"):
                    self.assertEqual(getattr(service, field), getattr(before[version], field), field)
            p.update(make_bundle(greeter("three")))
            self.assertEqual(says(second), "three")

    def test_what_was_acknowledged_is_there(self):
        data = None
        for n in range(4):
            server = Server(data=data).start()
            data = server.data
            with Platform(server) as p:
                if n:
                    self.assertEqual(says(server), str(n - 1))
                bundle = make_bundle(greeter(str(n)))
                p.update(bundle) if n else p.create(bundle)
            server.kill()  # as soon as it was said
        with Server(data=data) as server:
            self.assertEqual(says(server), "3")

    def test_one_that_does_not_start(self):
        flaky = greeter("flaky")
        flaky["main.lua"] = flaky["main.lua"].replace(
            "public = true", 'public = true, on_start = function() if mica.time.now() > %d then error("no more") end end')
        first = Server().start()
        with Platform(first) as p:
            until = time.time() + 2.5 * SLOW
            flaky["main.lua"] = flaky["main.lua"].replace("%d", str(until))
            p.create(make_bundle(flaky), name="flaky")
            p.create(make_bundle(greeter("fine")))
        first.kill()
        time.sleep(max(0, until - time.time()) + 0.1)
        with Server(data=first.data) as second, Platform(second) as p:
            self.assertEqual(says(second), "fine")
            services = {s.name: s for s in p.read()}
            self.assertEqual(services["flaky"].status, runtime.ERROR)
            self.assertRegex(services["flaky"].error, r"main\.lua:\d+: no more")
            self.assertEqual(services["greeter"].status, runtime.RUNNING)
            p.update(make_bundle(greeter("healed")), "flaky")
            self.assertEqual({s.status for s in p.read()}, {runtime.RUNNING})
            p.delete("flaky")

    def test_folders_win_for_a_run(self):
        first = Server().start()
        with Platform(first) as p:
            p.create(make_bundle(greeter("stored")))
        first.stop()
        folder = harness.write_service(harness.work_folder("run"), "greeter", deploying.PROTO,
                                       deploying.MAIN.replace("%s", "folder"))
        with Server([folder], data=first.data) as second:
            self.assertEqual(says(second), "folder")
        with Server(data=first.data) as third:
            self.assertEqual(says(third), "stored")

    def test_shutdown(self):
        server = Server([EXAMPLES / "helloworld"]).start()
        with Platform(server) as p:
            p.call(p.runtime.Shutdown, runtime.ShutdownRequest())
        server.stop(ask=False)

    def test_ready_is_quick(self):
        times = []
        for _ in range(3):
            with Server([EXAMPLES / "helloworld"]) as server:
                times.append(server.ready_seconds)
        self.assertLess(min(times), 0.3 * SLOW, times)


class Folders(harness.Case):
    """What is read of a folder and of its project."""

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def test_project(self):
        project = harness.work_folder("project")
        (project / "mica.json").write_text("{}")
        (project / "lib").mkdir()
        (project / "lib/shout.lua").write_text('return function(s) return s:upper() .. "!" end')
        (project / "lua_modules/share/lua/5.1").mkdir(parents=True)
        (project / "lua_modules/share/lua/5.1/twice.lua").write_text("return function(s) return s .. s end")
        (project / "proto/shared").mkdir(parents=True)
        (project / "proto/shared/answer.proto").write_text(
            'syntax = "proto3"; package shared; message Answer { string text = 1; }')
        proto = ('syntax = "proto3"; package greeter; import "shared/answer.proto"; message Request {} '
                 "service Greeter { rpc Call(Request) returns (shared.Answer); }")
        main = """local mica = require "mica"
local shout, twice = require "shout", require "twice"
local Greeter = {}
function Greeter.Call() return { text = shout(twice "ho") } end
return mica.service { handlers = { Greeter = Greeter }, public = true }
"""
        folder = harness.write_service(project / "services", "greeter", proto, main)
        with Server([folder]) as server:
            self.assertEqual(says(server), "HOHO!")

    def test_links(self):
        folder = harness.write_service(harness.work_folder("links"), "greeter", deploying.PROTO,
                                       deploying.MAIN.replace("%s", "linked"))
        (folder / "real.lua").write_text("return 1")
        (folder / "inside.lua").symlink_to("real.lua")
        (folder / "loop").symlink_to(".")  # a link to a folder is not followed
        (folder / "nothing.lua").symlink_to("absent.lua")
        with Server([folder]) as server:
            self.assertEqual(says(server), "linked")
        circle = folder / "circle.lua"
        circle.symlink_to("circle.lua")
        with Server([folder]) as server:
            self.assertTrue(server.wait_log("circle.lua is a link that leads in a circle"))
            self.assertEqual(says(server), 404)
        circle.unlink()
        (folder / "passwd.lua").symlink_to("/etc/passwd")
        with Server([folder]) as server:
            self.assertTrue(server.wait_log("passwd.lua is a link that leads out of"))
            self.assertEqual(says(server), 404)


class Logs(harness.Case):
    def test_read_and_follow(self):
        files = greeter("one")
        files["main.lua"] = files["main.lua"].replace(
            'return { text = "one" }', 'mica.log.info("called", { name = req.name }) return { text = "one" }', 1)
        with Platform(self.server) as p:
            p.create(make_bundle(files))
            for name in ("ada", "grace"):
                self.server.post(GREETER, {"name": name})
            end, names = time.monotonic() + 5 * SLOW, []
            while len(names) < 2 and time.monotonic() < end:
                logs = p.call(p.runtime.Logs, runtime.LogsRequest(name="greeter"))
                names = [record.fields["name"] for record in logs if record.text == "called"]
            self.assertEqual(names, ["ada", "grace"])
            logs = list(p.call(p.runtime.Logs, runtime.LogsRequest(name="greeter", count=1)))
            self.assertEqual([record.fields["name"] for record in logs], ["grace"])
            follow = p.call(p.runtime.Logs, runtime.LogsRequest(name="greeter", count=1, follow=True))
            self.assertEqual(next(follow).fields["name"], "grace")
            self.server.post(GREETER, {"name": "joan"})
            self.assertEqual(next(follow).fields["name"], "joan")
            follow.cancel()
            self.assert_rpc_error(CODE.NOT_FOUND, p.runtime.Logs, runtime.LogsRequest(name="nobody"))


if __name__ == "__main__":
    harness.main()
