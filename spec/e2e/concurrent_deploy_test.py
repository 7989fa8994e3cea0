#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Deploying by the command line when it is rough: two at once, under load, broken off, large, and with a crash in between.

runtime_test.py has the same by the RPCs: one client after another, cut uploads, crafted bundles, restarts.
"""

import os
import random
import subprocess
import threading
import time
import unittest

import deploying
import grpc
import harness
from deploying import Platform, greeter, make_bundle, runtime, stored_blobs
from harness import BINARY, SLOW, Server

pb, rpc = harness.stubs(harness.write_service(
    harness.work_folder("stub"), "greeter", deploying.PROTO, "") / "proto/greeter.proto")


def write(parent, text, name="greeter"):
    """A folder `name` with a service of that name that answers with a text."""
    main = deploying.MAIN.replace("%s", text).replace('name = "greeter"', f'name = "{name}"')
    return harness.write_service(parent, name, deploying.PROTO, main) / "main.lua"


def begin(server, *args, **options):
    """A command line under way."""
    return subprocess.Popen([*harness.launcher(), str(BINARY), *map(str, args)], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=harness.environment({"MICA_ADDRESS": server.proxy}), **options)


def end(process):
    out, err = process.communicate(timeout=60 * SLOW)
    return process.returncode, out, err


def says(server, name="greeter"):
    """The answer of a service by HTTP, or the status."""
    answer = server.post(f"/{name}/greeter/call")
    return answer.json["text"] if answer.status == 200 else answer.status


def together(*functions):
    """Runs them at once; what they raise is raised here."""
    failed = []

    def run(function):
        try:
            function()
        except BaseException as error:  # told below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


class Deploying(harness.Case):
    def setUp(self):
        self.folder = harness.work_folder("deploy")
        self.there = set(left(self.server))
        self.addCleanup(self.server.mica, "kill", "greeter", "--now")

    def ok(self, *args, **options):
        done = self.server.mica(*args, **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def large_folder(self, megabytes=50):
        write(self.folder, "large")
        (self.folder / "greeter/data").mkdir()
        for n in range(megabytes // 5):
            (self.folder / f"greeter/data/{n}.bin").write_bytes(os.urandom(5 << 20))
        return self.folder / "greeter"

    def wait_nothing_new(self):
        """Waits until no file of an upload is there that was not there when the test began."""
        until = time.monotonic() + 10 * SLOW
        while set(left(self.server)) - self.there and time.monotonic() < until:
            time.sleep(0.05)
        new = set(left(self.server)) - self.there
        self.assertFalse(new, f"{len(new)} files of uploads are left")


def left(server):
    return stored_blobs(server) + [path for path in (server.data / "uploads").rglob("*") if path.is_file()]


class Together(Deploying):
    def test_two_command_lines_change_the_same_service(self):
        folders = [harness.work_folder(f"side{side}") for side in range(2)]
        seed = random.randrange(1 << 30)
        chance = random.Random(seed)
        outcomes = {}
        for round_ in range(20):
            for side, folder in enumerate(folders):
                write(folder, f"{side}-{round_}")
            self.ok("run", folders[0] / "greeter")
            words = [chance.choice([("update", folders[side] / "greeter"), ("kill", "greeter", "--drain", "2s"),
                                    ("run", folders[side] / "greeter"), ("scale", "greeter", str(chance.randint(1, 3)))])
                     for side in range(2)]
            with self.subTest(seed=seed, round=round_, words=[word[0] for word in words]):
                for word, (code, out, err) in zip(words, map(end, [begin(self.server, *word) for word in words])):
                    if code == 0:
                        self.assertEqual(err, "")
                        self.assertRegex(out, "^greeter  ")
                    else:
                        self.assertEqual((code, out), (1, ""), err)
                        self.assertRegex(err, r"^mica: (ABORTED|NOT_FOUND) .*greeter")
                    outcomes[word[0], code] = outcomes.get((word[0], code), 0) + 1
                self.assert_whole()
        print("# outcomes: " + ", ".join(f"{word} {code}: {n}" for (word, code), n in sorted(outcomes.items())))

    def assert_whole(self):
        """It runs and answers, or it is not there at all."""
        with Platform(self.server) as p:
            services = p.read("")
        if services:
            [service] = services
            self.assertEqual((service.status, service.serving), (runtime.RUNNING, service.instances))
            self.assertRegex(str(says(self.server)), r"^[01]-\d+$")
            self.assertIn("greeter", self.ok("services").split())
        else:
            self.assertEqual(says(self.server), 404)
            self.assertEqual(self.ok("services"), "NAME\n")

    def test_no_call_fails_while_it_is_updated_and_scaled(self):
        write(self.folder, "0")
        self.ok("run", self.folder / "greeter")
        stop, failed, seen, count = threading.Event(), [], set(), [0, 0, 0]

        def by_grpc():
            with self.server.channel() as channel:
                stub = rpc.GreeterStub(channel)
                while not stop.is_set():
                    try:
                        seen.add(stub.Call(pb.Request(), timeout=20 * SLOW).text)
                        count[0] += 1
                    except grpc.RpcError as error:
                        failed.append(f"{error.code()} {error.details()}")

        def by_http():
            while not stop.is_set():
                answer = says(self.server)
                count[1] += 1
                if not isinstance(answer, str):
                    failed.append(f"HTTP {answer}")

        def slowly():  # calls that last longer than an update
            with self.server.channel() as channel:
                stub = rpc.GreeterStub(channel)
                while not stop.is_set():
                    try:
                        stub.Slow(pb.Request(seconds=0.7), timeout=20 * SLOW)
                        count[2] += 1
                    except grpc.RpcError as error:
                        failed.append(f"slow: {error.code()} {error.details()}")

        def updates():
            try:
                for n in range(1, 21):
                    write(self.folder, str(n))
                    self.ok("update", self.folder / "greeter")
                    if n % 5 == 0:
                        self.ok("scale", "greeter", 1 + n // 5 % 3)
                    time.sleep(0.1 * SLOW)  # at most 8 replaced versions may finish their calls at a time
                time.sleep(1)
            finally:
                stop.set()

        together(by_grpc, by_http, slowly, updates)
        print(f"# {count[0]} calls by gRPC, {count[1]} by HTTP, {count[2]} slow ones, through 20 updates")
        self.assertEqual(failed, [])
        self.assertEqual(seen, {str(n) for n in range(21)})
        self.assertEqual(says(self.server), "20")
        for n in count:
            self.assertGreater(n, 3)


class Rough(Deploying):
    def test_large(self):
        folder = self.large_folder()
        self.ok("services")
        before, times, memory = self.server.memory(), [], []
        for _ in range(4):
            began = time.monotonic()
            self.ok("run", folder)
            times.append(time.monotonic() - began)
            self.assertEqual(says(self.server), "large")
            self.ok("kill", "greeter")
            self.wait_nothing_new()
            memory.append(self.server.memory())
        print(f"# 50 MB in {min(times):.1f} to {max(times):.1f} s; the server's memory: {before >> 20} MB before, "
              + ", ".join(f"{n >> 20}" for n in memory) + " MB after each was killed")
        self.assertLess(max(times), 20 * SLOW)
        if SLOW == 1:  # sanitizers keep freed memory
            self.assertLess(memory[-1] - before, 20 << 20)

    def test_too_large(self):
        folder = self.large_folder(70)
        done = self.server.mica("run", folder)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertRegex(done.stderr, r"^mica: [A-Z_]+ .*64 MB")
        self.wait_nothing_new()

    def test_a_bundle_that_would_leave_its_folder(self):
        bundle = make_bundle({**greeter("evil"), "../x": "x"}, contract=deploying.descriptors(greeter("evil")))
        (self.folder / "evil.mica").write_bytes(bundle.SerializeToString())
        done = self.server.mica("run", "evil.mica", cwd=self.folder)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^mica: INVALID_ARGUMENT .*a path that leaves it: \.\./x\n$")
        self.wait_nothing_new()

    def test_links(self):
        write(self.folder, "linked")
        folder = self.folder / "greeter"
        (folder / "loop").symlink_to(".")  # links to folders are not followed
        self.ok("run", folder)
        self.assertEqual(says(self.server), "linked")
        (folder / "circle.lua").symlink_to("circle.lua")
        for words in (("update", folder), ("build", folder), ("check", folder)):
            done = self.server.mica(*words, cwd=self.folder)
            with self.subTest(words[0]):
                self.assertEqual(done.returncode, 1, done)
                self.assertRegex(done.stdout + done.stderr, r"circle\.lua is a link that leads in a circle")
        (folder / "circle.lua").unlink()
        (folder / "out.lua").symlink_to("/etc/hostname")
        done = self.server.mica("update", folder)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"out\.lua is a link that leads out of")
        self.assertEqual(says(self.server), "linked")


class Leftovers(Deploying):
    """What is broken off or refused leaves no file behind, at the latest when the server is started again."""

    def test_a_command_line_that_is_killed_in_an_upload(self):
        folder = self.large_folder()
        cut = 0
        for _ in range(4):
            process = begin(self.server, "run", folder)
            until = time.monotonic() + 30 * SLOW
            while not left(self.server) and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            process.kill()
            end(process)
            with Platform(self.server) as p:
                if p.read("greeter"):  # it was quicker
                    self.ok("kill", "greeter")
                else:
                    cut += 1
            self.wait_nothing_new()
        self.assertGreater(cut, 0)
        self.assertEqual(self.ok("services"), "NAME\n")

    def test_uploads_that_are_broken_off_at_any_moment(self):
        piece = runtime.UploadRequest(data=b"x" * (1 << 20))
        with Platform(self.server) as p:
            for turn in range(40):
                begun = threading.Event()

                def pieces():
                    yield runtime.UploadRequest(header=runtime.UploadHeader(size=60 << 20, sha256="0" * 64))
                    begun.set()
                    for _ in range(50):
                        yield piece

                call = p.source.Upload.future(pieces())
                self.assertTrue(begun.wait(10 * SLOW))
                time.sleep(turn * 0.0005)
                call.cancel()
        self.wait_nothing_new()

    def test_a_kill_beside_an_update_to_the_same_bundle(self):
        with Platform(self.server) as p:
            for turn in range(40):
                bundle = make_bundle(greeter(f"turn {turn}"))
                p.create(bundle)

                def refused(call, *args):
                    try:
                        call(*args)
                    except grpc.RpcError as error:
                        self.assertIn(error.code(), (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED), error.details())

                def update():
                    time.sleep(turn % 10 * 0.001)
                    refused(p.update, bundle)

                together(update, lambda: refused(p.delete))
                refused(p.delete)
        self.server.stop()
        self.server.start()
        self.wait_nothing_new()


class Crash(unittest.TestCase):
    NAMES = ("first", "second", "third")

    def test_killed_while_another_is_updated(self):
        folder = harness.work_folder("crash")
        server = Server().start()
        for name in self.NAMES:
            write(folder, "is " + name, name)
        write(folder, "0")
        done = server.mica("run", *[folder / name for name in self.NAMES], folder / "greeter")
        self.assertEqual(done.returncode, 0, done.stderr)
        for turn in range(1, 6):
            before = self.versions(server)
            write(folder, str(turn))
            process = begin(server, "update", folder / "greeter")
            time.sleep(0.01 * turn)
            server.kill()
            code, _, err = end(process)
            self.assertIn(code, (0, 1, 3), err)
            self.assertNotIn("internal error", err)
            server = Server(data=server.data).start()
            after = self.versions(server)
            with self.subTest(turn):
                for name in self.NAMES:
                    self.assertEqual(says(server, name), "is " + name)
                    self.assertEqual(after[name], before[name])
                if code == 0:
                    self.assertEqual(says(server), str(turn))
                self.assertIn(says(server), (str(turn), str(turn - 1)))
                self.assertEqual(server.mica("update", folder / "greeter").returncode, 0)
                self.assertEqual(says(server), str(turn))
                self.assertLessEqual(len(left(server)), len(self.NAMES) + 5, left(server))  # 5 versions of the changed one
        server.stop()

    def versions(self, server):
        with Platform(server) as p:
            services = p.read()
        self.assertEqual({service.status for service in services}, {runtime.RUNNING})
        return {service.name: service.version for service in services}

    def test_server_killed_in_an_upload(self):
        folder = harness.work_folder("crash")
        write(folder, "large")
        (folder / "greeter/data.bin").write_bytes(os.urandom(40 << 20))
        server = Server().start()
        process = begin(server, "run", folder / "greeter")
        until = time.monotonic() + 30 * SLOW
        while not left(server) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        server.kill()
        code, out, err = end(process)
        self.assertEqual((code, out), (3, ""), err)
        self.assertRegex(err, "^mica: UNAVAILABLE ")
        with Server(data=server.data) as second:
            self.assertEqual(left(second), [])
            self.assertEqual(second.mica("services").stdout, "NAME\n")


if __name__ == "__main__":
    harness.main()
