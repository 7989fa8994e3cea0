#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The commands that talk to a server: deploying, looking, calling of the four kinds, stopping; outputs and exit codes."""

import json
import os
import pty
import re
import signal
import subprocess
import threading
import time
import unittest

import harness
from harness import BINARY, EXAMPLES, SERVICES

PROTO = """syntax = "proto3";
package {package};
// Says what it is.
service {group} {{
  rpc Call(Request) returns (Response);
  rpc Log(Request) returns (Response);
  rpc Sleep(Request) returns (Response);
{more}}}
message Request {{ string text = 1; double seconds = 2; }}
message Response {{ string text = 1; }}
"""

MAIN = """local mica = require "mica"
local {group} = {{}}
function {group}.Call(ctx, req) return {{ text = "{says}" }} end
function {group}.Log(ctx, req)
  mica.log.info("said " .. req.text, {{ length = #req.text, quoted = 'a "b"' }})
  mica.log.warn("warned")
  return {{}}
end
function {group}.Sleep(ctx, req)
  mica.log.info("asleep")
  mica.sleep(req.seconds)
  return {{ text = "rested" }}
end
{more}return mica.service {{ handlers = {{ {group} = {group} }} }}
"""


def write_service(folder, name, says="one", more_proto="", more_lua=""):
    """A small service in folder/name; its answers say `says`."""
    root = folder / name
    (root / "proto").mkdir(parents=True, exist_ok=True)
    group = "".join(part.capitalize() for part in name.split("-"))
    package = name.replace("-", "_")
    (root / "proto" / f"{package}.proto").write_text(PROTO.format(package=package, group=group, more=more_proto))
    (root / "main.lua").write_text(MAIN.format(group=group, says=says, more=more_lua))
    return root


class Case(harness.Case):
    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if out is not None:
            self.assertRegex(done.stdout, out)
        if err is not None:
            self.assertRegex(done.stderr, err)
        return done

    def ok(self, *args, **options):
        return self.check(self.server.mica(*args, **options), 0).stdout

    def json(self, *args, **options):
        return json.loads(self.ok("-o", "json", *args, **options))

    def says(self, name):
        return json.loads(self.ok("call", name, "call"))["text"]

    def start(self, *args):
        """A command line under way."""
        return subprocess.Popen([*harness.launcher(), BINARY, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=harness.environment({"MICA_ADDRESS": self.server.proxy}))


class Deploying(Case):
    def test_from_run_to_kill(self):
        folder = harness.work_folder("life")
        write_service(folder, "posts")
        line = self.ok("run", "./posts", cwd=folder)
        self.assertRegex(line, r"^posts  [0-9a-f]{8}  running  \S+ m?s  http://127\.0\.0\.1:\d+/posts\n$")
        url = line.split()[-1]
        self.assertEqual(json.loads(harness.curl("-X", "POST", url, "-d", "{}")), {"text": "one"})
        self.assertEqual(self.says("posts"), "one")
        self.assertRegex(self.ok("run", "posts", cwd=folder), r"^posts  [0-9a-f]{8}  running  unchanged")

        write_service(folder, "posts", "two")
        self.assertNotEqual(self.ok("update", "posts", cwd=folder).split()[1], line.split()[1])
        self.assertEqual(self.says("posts"), "two")
        write_service(folder, "posts", "three")
        self.ok("update", "posts") # by its name, from where it came from
        self.assertEqual(self.says("posts"), "three")
        write_service(folder, "posts", "four")
        self.ok("run", ".", cwd=folder / "posts")
        self.assertEqual(self.says("posts"), "four")

        self.assertRegex(self.ok("scale", "posts", "3"), r"^posts  [0-9a-f]{8}  running")
        self.assertEqual(self.json("status", "posts")[0]["instances"], 3)
        self.assertRegex(self.ok("kill", "posts"), r"^posts  stopped  0 calls finished\n$")
        self.check(self.server.mica("call", "posts", "call"), 1, "^$", "^mica: NOT_FOUND ")
        self.check(self.server.mica("kill", "posts"), 1, "^$", "^mica: NOT_FOUND ")

    def test_names_tags_and_several(self):
        folder = harness.work_folder("tags")
        write_service(folder, "one")
        write_service(folder, "two")
        lines = self.ok("run", "one", "./two", cwd=folder).splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["one", "two"])
        self.assertRegex(self.ok("run", "one@v2", "--name", "other-one", "--instances", "2", cwd=folder),
                         "^other-one  v2  running")
        status = self.json("status", "other-one@v2")
        self.assertEqual([(s["name"], s["version"], s["instances"]) for s in status], [("other-one", "v2", 2)])
        self.assertEqual(self.ok("-q", "run", "one", cwd=folder), "")
        self.assertEqual(self.ok("-o", "name", "run", "one", cwd=folder), "one\n")
        self.assertEqual(self.json("run", "one", cwd=folder)["service"]["name"], "one")
        self.assertEqual(len(self.ok("kill", "one", "two", "other-one@v2").splitlines()), 3)

    def test_calls_of_a_version(self):
        folder = harness.work_folder("versions")
        write_service(folder, "both", "from one")
        self.ok("run", "both@v1", cwd=folder)
        write_service(folder, "both", "from two")
        self.ok("run", "both@v2", cwd=folder)
        for version, says in (("v1", "from one"), ("v2", "from two")):
            self.assertEqual(self.says("both@" + version), says)
            self.assertEqual(json.loads(self.ok("both@" + version, "call")), {"text": says})
        self.check(self.server.mica("call", "both@v3", "call"), 1, "^$", '^mica: NOT_FOUND no version "v3" of service both')
        self.check(self.server.mica("both@v3", "call"), 1, "^$", "^mica: NOT_FOUND ")
        self.check(self.server.mica("scale", "both", "2"), 1, "^$", "^mica: FAILED_PRECONDITION .*v1, v2")
        self.assertRegex(self.ok("scale", "both@v1", "2"), "^both  v1  running")
        self.ok("kill", "both@v1", "both@v2")

    def test_bundles(self):
        folder = harness.work_folder("bundle")
        write_service(folder, "packed", "from a bundle")
        name = self.ok("build", "packed", cwd=folder).split()[-1]
        self.assertRegex(self.ok("run", name, cwd=folder), "^packed  [0-9a-f]{8}  running")
        self.assertEqual(self.says("packed"), "from a bundle")
        self.ok("kill", "packed")

    def test_uploads_in_several_pieces(self):
        folder = harness.work_folder("large")
        root = write_service(folder, "large")
        (root / "data.bin").write_bytes(os.urandom(3 << 20))
        self.assertRegex(self.ok("run", "large", cwd=folder), "^large  [0-9a-f]{8}  running")
        self.assertEqual(self.says("large"), "one")
        self.ok("kill", "large")

    def test_contract_changes_are_told(self):
        folder = harness.work_folder("contract")
        write_service(folder, "changing", more_proto="  rpc Extra(Request) returns (Response);\n",
                      more_lua="function Changing.Extra() return {} end\n")
        self.ok("run", "changing", cwd=folder)
        write_service(folder, "changing")
        self.assertRegex(self.ok("run", "changing", cwd=folder), r"^changing .*\n  breaks callers: .*Extra")
        self.ok("kill", "changing")

    def test_faults_are_found_before_anything_is_sent(self):
        folder = harness.work_folder("faulty")
        write_service(folder, "good")
        write_service(folder, "bad")
        (folder / "bad" / "main.lua").write_text("local x = = 1\n")
        done = self.check(self.server.mica("run", "good", "bad", cwd=folder), 1, "^$", r"^mica: .*main\.lua:1:")
        self.assertNotIn("good", self.ok("services"), done)
        self.check(self.server.mica("run", "nowhere", cwd=folder), 1, "^$", r'^mica: NOT_FOUND .*nowhere')
        self.check(self.server.mica("update", "good", cwd=folder), 1, "^$", "^mica: NOT_FOUND ")
        self.check(self.server.mica("update", "nowhere", cwd=folder), 1, "^$", "^mica: NOT_FOUND ")

    def test_a_version_that_does_not_start_leaves_the_old_one(self):
        folder = harness.work_folder("nostart")
        root = write_service(folder, "steady")
        self.ok("run", "steady", cwd=folder)
        text = (root / "main.lua").read_text().replace("mica.service { ", "mica.service { on_start = function() error 'no' end, ")
        (root / "main.lua").write_text(text)
        self.check(self.server.mica("run", "steady", cwd=folder), 1, "^$", "^mica: ")
        self.assertEqual(self.says("steady"), "one")
        self.ok("kill", "steady")

    def test_kill_drains_or_breaks_off(self):
        folder = harness.work_folder("drain")
        write_service(folder, "sleepy")
        self.ok("run", "sleepy", cwd=folder)
        process = self.start("call", "sleepy", "sleep", '{"seconds": 1}')
        self.assertTrue(self.server.wait_log("asleep"))
        self.assertRegex(self.ok("kill", "sleepy"), "^sleepy  stopped  1 call finished\n$")
        self.assertIn(b"rested", process.communicate(timeout=20 * harness.SLOW)[0])
        write_service(folder, "drowsy")
        self.ok("run", "drowsy", cwd=folder)
        process = self.start("call", "drowsy", "sleep", '{"seconds": 30}')
        self.assertTrue(self.server.wait_log("drowsy.*asleep"))
        began = time.monotonic()
        self.ok("kill", "drowsy", "--now")
        self.assertLess(time.monotonic() - began, 10 * harness.SLOW)
        process.communicate(timeout=20 * harness.SLOW)
        self.assertEqual(process.returncode, 1)

    def test_two_at_once(self):
        folders = []
        for i in range(2):
            folder = harness.work_folder(f"race{i}")
            write_service(folder, "raced", f"says {i}")
            folders.append(folder)
        results = []

        def work(index):
            for turn in range(4):
                if turn % 2 == 0:
                    results.append((0, self.server.mica("run", "raced", cwd=folders[index])))
                else:
                    results.append((1, self.server.mica("kill", "raced", "--drain", "5s")))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for kind, done in results:
            if kind == 1 and done.returncode == 1:
                self.assertRegex(done.stderr, "^mica: NOT_FOUND ")
            else:
                self.check(done, 0)
        self.ok("run", "raced", cwd=folders[0])
        self.assertEqual(self.says("raced"), "says 0")
        self.assertEqual(len(self.json("status", "raced")), 1)
        self.ok("kill", "raced")


class Places(Case):
    def test_up_and_down(self):
        folder = harness.work_folder("place")
        write_service(folder, "first")
        write_service(folder, "second")
        file = folder / "mica.json"
        file.write_text(json.dumps({"services": [{"source": "./first", "instances": 2},
                                                 {"source": "second", "name": "renamed", "version": "v1"}]}))
        out = self.ok("up", cwd=folder)
        self.assertRegex(out, r"^first  [0-9a-f]{8}  running .*\nrenamed  v1  running .*\n$")
        self.assertEqual({s["name"]: s["instances"] for s in self.json("status")}, {"first": 2, "renamed": 1})
        self.assertEqual(len(re.findall("running  unchanged", self.ok("up", folder))), 2)
        write_service(folder, "first", "changed")
        self.assertRegex(self.ok("up", file, "--only", "first"), r"^first  [0-9a-f]{8}  running  \S+ m?s")
        self.check(self.server.mica("up", file, "--only", "frist"), 2, "^$", 'did you mean "first"')
        self.check(self.server.mica("down", file), 2, "^$", "--yes")
        self.assertEqual(self.says("first"), "changed")
        out = self.ok("down", file, "--yes")
        self.assertRegex(out, r"renamed@v1  stopped .*\nfirst  stopped ")
        self.assertRegex(self.ok("down", file, "-y"), r"renamed  not running\nfirst  not running")
        self.assertEqual(self.json("status"), [])

    def test_faults_of_the_file(self):
        folder = harness.work_folder("wrong")
        for text, wanted in (("{", "mica.json"), ('{"service": []}', 'unknown key "service".*did you mean "services"'),
                             ('{"services": [{"name": "x"}]}', r"services\[0\]: it has no source"),
                             ('{"services": [{"source": "x", "instances": 0}]}', r"services\[0\]\.instances"),
                             ('{"services": [{"source": 7}]}', r"services\[0\]\.source: expected a string")):
            with self.subTest(text=text):
                (folder / "mica.json").write_text(text)
                self.check(self.server.mica("up", cwd=folder), 1, "^$", "^mica: INVALID_ARGUMENT .*" + wanted)
        self.check(self.server.mica("up", "nowhere.json", cwd=folder), 1, "^$", "^mica: NOT_FOUND ")


class Looking(Case):
    services = [EXAMPLES / "helloworld", SERVICES / "fields"]

    def test_services(self):
        self.assertEqual(self.ok("services"), "NAME\nfields\nhelloworld\n")
        self.assertEqual(self.ok("-o", "name", "services"), "fields\nhelloworld\n")
        self.assertIn("registry", self.ok("services", "--all").split())
        self.assertEqual([s["name"] for s in self.json("services")], ["fields", "helloworld"])
        self.assertEqual(self.ok("--namespace", "empty", "services"), "NAME\n")

    def test_status(self):
        self.ok("call", "helloworld", "call")
        lines = self.ok("status").splitlines()
        self.assertEqual(lines[0].split(), "NAME VERSION STATUS INSTANCES RESTARTS MEMORY REQUESTS ERRORS UPDATED SOURCE".split())
        row = [line for line in lines if line.startswith("helloworld ")][0].split()
        self.assertEqual(row[2:5], ["running", "1", "0"])
        self.assertGreater(int(row[5]), 0)
        self.assertGreaterEqual(int(row[6]), 1)
        self.assertRegex(row[8], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        out = self.ok("status", "helloworld")
        self.assertRegex(out, r"(?s)^NAME .*helloworld@\w+ hash: [0-9a-f]{64}")
        self.assertNotIn("fields", out)
        self.assertEqual(self.json("status", "helloworld")[0]["status"], "RUNNING")
        self.check(self.server.mica("status", "nosuch"), 1, "^$", "^mica: NOT_FOUND ")
        self.assertIn("\nregistry ", self.ok("status", "--all"))

    def test_describe(self):
        out = self.ok("describe", "fields")
        for text in ("fields@", "Fields.Echo", "answers a stream", "takes a stream", "--person.address.city string",
                     "FieldsAdmin.Reset", "mica call fields Fields.Sum < requests.json"):
            self.assertIn(text, out)
        out = self.ok("describe", "fields", "count")
        self.assertIn("--n int64", out)
        self.assertNotIn("Fields.Echo", out)
        self.assertEqual(self.ok("get", "service", "fields"), self.ok("describe", "fields"))
        self.assertEqual(self.json("describe", "fields", "count")["endpoints"][0]["name"], "Fields.Count")
        self.check(self.server.mica("describe", "fields", "cuont"), 2, "^$", "did you mean")
        self.check(self.server.mica("describe", "nosuch"), 1, "^$", "^mica: NOT_FOUND ")

    def test_describe_as_proto_is_the_same_contract(self):
        folder = harness.work_folder("proto")
        (folder / "fields.proto").write_text(self.ok("describe", "fields", "--proto"))
        sets = []
        for source in (folder, SERVICES / "fields" / "proto"):
            out = harness.work_folder("set") / "out.pb"
            subprocess.run(["protoc", "-I", source, f"--descriptor_set_out={out}", "fields.proto"], check=True, cwd=source)
            sets.append(normalised(out.read_bytes()))
        self.assertEqual(*sets)

    def test_debug(self):
        self.assertRegex(self.ok("debug", "health", "helloworld"), r"^NODE +VERSION +STATUS +ADDRESS\nhelloworld@\S+ +\w+ +serving")
        lines = self.ok("debug", "stats", "helloworld").splitlines()
        self.assertEqual(lines[0].split(), ["NODE", "STARTED", "UPTIME", "MEMORY", "REQUESTS", "ERRORS"])
        self.assertEqual(len(lines), 2)
        self.check(self.server.mica("debug", "health", "nosuch"), 1, "^$", "^mica: NOT_FOUND ")
        self.check(self.server.mica("debug", "nosuch"), 2, "^$", "^mica: ")


def normalised(data):
    from google.protobuf import descriptor_pb2
    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    for file in files.file:
        for message in file.message_type:
            nested = sorted(message.nested_type, key=lambda m: m.name)
            del message.nested_type[:]
            message.nested_type.extend(nested)
    return str(files)


class Logs(Case):
    def setUp(self):
        folder = harness.work_folder("logs")
        write_service(folder, "talker")
        self.ok("run", "talker", cwd=folder)

    def tearDown(self):
        self.ok("kill", "talker")

    def test_logs(self):
        for i in range(20):
            self.ok("talker", "log", "--text", f"word{i:02}")
        lines = self.ok("logs", "talker").splitlines()
        self.assertEqual(len(lines), 15)
        self.assertRegex(lines[-1], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*Z WARN talker@\w+/0 warned")
        self.assertRegex(lines[-2], r'INFO talker@\w+/0 said word19 length=6 quoted="a \\"b\\""')
        self.assertEqual(len(self.ok("logs", "talker", "-n", "3").splitlines()), 3)
        warned = self.ok("logs", "talker", "--level", "warn", "-n", "100").splitlines()
        self.assertTrue(all(" WARN " in line for line in warned) and len(warned) >= 20, warned)
        self.assertEqual(len(self.ok("logs", "talker", "--grep", "word07").splitlines()), 1)
        self.assertEqual(self.ok("logs", "talker", "--since", "2100-01-01"), "")
        self.assertGreaterEqual(len(self.ok("logs", "talker", "--since", "1h").splitlines()), 40)
        record = json.loads(self.ok("-o", "json", "logs", "talker", "--grep", "word07"))
        self.assertEqual((record["level"].lower(), record["text"], record["fields"]["length"]), ("info", "said word07", "6"))
        self.assertEqual(len(self.ok("logs", "talker", "--trace", record["trace"]).splitlines()), 2)
        self.check(self.server.mica("logs", "talker", "--level", "wran"), 2, "^$", 'did you mean "warn"')
        self.check(self.server.mica("logs", "talker", "--since", "yesterday"), 2, "^$", "^mica: ")

    def test_follow(self):
        process = self.start("logs", "talker", "-f", "-n", "1")
        time.sleep(0.5 * harness.SLOW)
        self.ok("talker", "log", "--text", "live")
        killer = threading.Timer(20 * harness.SLOW, process.kill)
        killer.start()
        for line in process.stdout:
            if b"said live" in line:
                break
        else:
            self.fail("the record did not come")
        killer.cancel()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20 * harness.SLOW)
        self.assertEqual(process.returncode, 130)


class Calls(Case):
    services = [SERVICES / "fields", SERVICES / "probe", SERVICES / "faults"]

    def test_four_kinds(self):
        self.assertEqual(self.ok("call", "fields", "Call", '{"name":"Ada"}'), '{"name":"Ada","times":0}\n')
        self.assertEqual(self.ok("call", "fields", "Count", '{"n":2}'), '{"n":"1"}\n{"n":"2"}\n')
        self.assertEqual(self.ok("stream", "fields", "Fields.Count", '{"n":1}'), '{"n":"1"}\n')
        self.assertEqual(self.ok("call", "fields", "sum", input='{"n":1}\n\n{"n":2}\n'), '{"n":"3"}\n')
        self.assertEqual(self.ok("call", "fields", "sum", input=""), '{"n":"0"}\n')
        self.assertEqual(self.ok("call", "fields", "sum", "-", input='{"n":5}'), '{"n":"5"}\n')
        self.assertEqual(self.ok("call", "fields", "double", input='{"n":1}\n{"n":2}\n'), '{"n":"2"}\n{"n":"4"}\n')
        self.assertEqual(self.ok("call", "fields", "double", '{"n":4}'), '{"n":"8"}\n')

    def test_large_client_stream(self):
        lines = "".join('{"n":%d}\n' % i for i in range(20000))
        self.assertEqual(self.ok("call", "fields", "sum", input=lines), '{"n":"%d"}\n' % sum(range(20000)))

    def test_both_sides_of_a_stream_go_on_at_once(self):
        process = self.start("call", "fields", "double")
        killer = threading.Timer(20 * harness.SLOW, process.kill)
        killer.start()
        for i in range(3):
            process.stdin.write(b'{"n":%d}\n' % i)
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b'{"n":"%d"}\n' % (2 * i))
        process.communicate(timeout=20 * harness.SLOW)
        killer.cancel()
        self.assertEqual(process.returncode, 0)

    def test_a_stream_that_fails_while_input_goes_on(self):
        process = self.start("call", "fields", "double")
        process.stdin.write(b'{"n":1}\n{"n":-1}\n')
        process.stdin.flush()
        process.wait(timeout=20 * harness.SLOW)
        out, err = process.communicate()
        self.assertEqual((process.returncode, out), (1, b'{"n":"2"}\n'))
        self.assertRegex(err, rb"^mica: OUT_OF_RANGE fields\.Fields\.Double: -1 is below 0")

    def test_a_line_that_is_wrong_ends_the_call(self):
        for args in (["call", "fields", "sum"], ["fields", "sum"]):
            done = self.server.mica(*args, input='{"n":1}\n{"m":2}\n{"n":3}\n')
            self.check(done, 2, "^$", 'has no field "m"')
        done = self.server.mica("call", "fields", "double", input='{"n":1}\n{\n')
        self.check(done, 2, err="^mica: expected JSON")

    def test_endpoints_by_any_name(self):
        for name in ("Fields.Call", "Call", "call", "fields.Fields.Call", "/fields.Fields/Call", "fields.Fields/Call"):
            with self.subTest(name=name):
                self.ok("call", "fields", name)
        self.ok("call", "fields", "FieldsAdmin.Reset")
        self.ok("call", "fields", "reset")

    def test_metadata_and_headers(self):
        done = self.server.mica("call", "fields", "head", "--metadata", "x-a=1=2", "--metadata", "x-b=", "--headers",
                                "--metadata", "x-c=v w")
        self.check(done, 0, err="(?m)^x-first: 1$")
        values = json.loads(done.stdout)["values"]
        self.assertEqual((values["x-a"], values["x-b"], values["x-c"]), ("1=2", "", "v w"))
        self.check(self.server.mica("call", "fields", "head", "--metadata", "novalue"), 2, "^$", "KEY=VALUE")

    def test_raw(self):
        done = subprocess.run([*harness.launcher(), BINARY, "call", "fields", "download", '{"n":2}', "--raw"],
                              capture_output=True, env=harness.environment({"MICA_ADDRESS": self.server.proxy}),
                              timeout=30 * harness.SLOW)
        self.assertEqual((done.returncode, done.stdout), (0, b"\0\1\xff\n" * 2), done.stderr)
        self.check(self.server.mica("call", "fields", "count", "--raw"), 2, "^$", "no single field of type bytes")

    def test_bodies(self):
        folder = harness.work_folder("body")
        (folder / "b.json").write_text('{"name": "File"}\n')
        self.assertIn("File", self.ok("call", "fields", "call", "@b.json", cwd=folder))
        self.assertIn("Input", self.ok("call", "fields", "call", "-", input='{"name":"Input"}'))
        before = self.server.log().count(" called")
        self.check(self.server.mica("call", "fields", "call", "{malformed"), 2, "^$", "^mica: expected JSON")
        self.check(self.server.mica("call", "fields", "call", '{"naem":"x"}'), 2, "^$", 'no field "naem".*did you mean "name"')
        self.check(self.server.mica("call", "fields", "call", "@nosuch.json"), 2, "^$", "no file")
        self.check(self.server.mica("call", "fields", "cal"), 2, "^$", 'no endpoint "cal".*did you mean')
        self.assertEqual(self.server.log().count(" called"), before)
        self.check(self.server.mica("call", "fields", "call", '{"times":"many"}'), 1, "^$", "^mica: INVALID_ARGUMENT ")

    def test_wait_and_retries(self):
        folder = harness.work_folder("wait")
        write_service(folder, "late")
        process = self.start("--timeout", "20s", "call", "late", "call", "--wait")
        time.sleep(0.3 * harness.SLOW)
        self.ok("run", "late", cwd=folder)
        out, err = process.communicate(timeout=30 * harness.SLOW)
        self.assertEqual((process.returncode, json.loads(out)), (0, {"text": "one"}), err)
        self.ok("call", "late", "call", "--retries", "3")
        self.check(self.server.mica("call", "late", "call", "--retries", "x"), 2, "^$", "--retries")
        self.ok("kill", "late")

    def test_on_a_terminal_answers_are_indented(self):
        primary, secondary = pty.openpty()
        done = subprocess.run([*harness.launcher(), BINARY, "call", "fields", "plant", '{"left":{"name":"x"}}'], stdout=secondary,
                              stderr=subprocess.PIPE, env=harness.environment({"MICA_ADDRESS": self.server.proxy}),
                              timeout=30 * harness.SLOW)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        text = os.read(primary, 10000).decode().replace("\r", "")
        os.close(primary)
        os.close(secondary)
        self.assertTrue(text.startswith('{\n  "name": "",\n  "left": {\n    "name": "x",\n'), text)

    def test_a_reader_that_goes_away(self):
        for args in ("call fields count '{\"n\":200000}'", "fields count --n 200000"):
            done = subprocess.run(["bash", "-c", f"{BINARY} {args} | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True,
                                  text=True, env=harness.environment({"MICA_ADDRESS": self.server.proxy}),
                                  timeout=60 * harness.SLOW)
            self.assertEqual((done.stdout, done.stderr), ('{"n":"1"}\n', ""))

    def test_errors_and_exit_codes(self):
        self.check(self.server.mica("call", "faults", "fail", '{"code":"NOT_FOUND","message":"no post"}'), 1, "^$",
                   r"^mica: NOT_FOUND faults\.Faults\.Fail: no post\n")
        done = self.check(self.server.mica("-o", "json", "call", "faults", "fail", '{"code":"NOT_FOUND","message":"no post"}'),
                          1, "^$")
        self.assertEqual(json.loads(done.stderr),
                         {"id": "faults.Faults.Fail", "code": 404, "detail": "no post", "status": "Not Found"})
        self.check(self.server.mica("call", "fields"), 2, "^$", "^mica: ")
        self.check(self.server.mica("call", "fields", "call", "--nosuch"), 2, "^$", "^mica: ")
        self.check(self.server.mica("--timeout", "300ms", "call", "probe", "sleep", '{"seconds":20}'), 3, "^$",
                   "^mica: DEADLINE_EXCEEDED")
        self.check(harness.mica("--address", "127.0.0.1:1", "status"), 3, "^$", "^mica: UNAVAILABLE")
        process = self.start("call", "probe", "sleep", '{"seconds":20,"mark":"online"}')
        self.assertTrue(self.server.wait_log("asleep .*mark=online"))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20 * harness.SLOW)
        self.assertEqual(process.returncode, 130)
        self.assertTrue(self.server.wait_log("broken off .*mark=online"))


class Shutdown(unittest.TestCase):
    def test_shutdown(self):
        server = harness.Server([EXAMPLES / "helloworld"]).start()
        done = server.mica("shutdown")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertIn("--yes", done.stderr)
        for answer, code in ((b"n\n", 1), (b"y\n", 0)):
            primary, secondary = pty.openpty()
            os.write(primary, answer)
            done = subprocess.run([*harness.launcher(), BINARY, "shutdown"], stdin=secondary, stdout=subprocess.DEVNULL,
                                  stderr=secondary, env=harness.environment({"MICA_ADDRESS": server.proxy}),
                                  timeout=30 * harness.SLOW)
            text = os.read(primary, 10000).decode()
            os.close(primary)
            os.close(secondary)
            self.assertEqual(done.returncode, code, text)
            self.assertIn(f"shut down the server at {server.proxy}?", text)
        server.stop(ask=False)

    def test_shutdown_without_asking(self):
        server = harness.Server([EXAMPLES / "helloworld"]).start()
        done = server.mica("shutdown", "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        server.stop(ask=False)


if __name__ == "__main__":
    harness.main()
