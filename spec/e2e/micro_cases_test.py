#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the integration tests of Micro (github.com/micro/micro, v3, folder test) ask of its command line, asked of this one.

The number is that of the case in the order of Micro's files: auth 1 to 6, config, env, events, login, misc, multitenancy,
rpc, runtime, store. Here are those about making, running, calling and looking at services. Micro waits up to 90 seconds for
what is asserted here at once: `run`, `update` and `kill` have happened when they return.
"""

import datetime
import json
import re
import select
import signal
import subprocess
import time
import unittest

import harness
from harness import BINARY, SLOW

PROTO = """syntax = "proto3";
package {package};
service {group} {{
  rpc Call(Request) returns (Response);
}}
message Request {{ string name = 1; }}
message Response {{ string message = 1; }}
"""

MAIN = """local mica = require "mica"
{head}
local {group} = {{}}
function {group}.Call(ctx, req)
  mica.log.info("called by " .. req.name)
  return {{ message = {message} }}
end
return mica.service {{
  handlers = {{ {group} = {group} }},
  on_start = function() mica.log.info "started" end,
}}
"""


def write(parent, name, message='"Hello " .. req.name', head=""):
    group = name.capitalize()
    return harness.write_service(parent, name, PROTO.format(package=name, group=group),
                                 MAIN.format(group=group, message=message, head=head))


class Offline(unittest.TestCase):
    """Without a server."""

    def check(self, done, code, out="", err=""):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertRegex(done.stdout, out)
        self.assertRegex(done.stderr, err)

    def test_wrong_commands(self):
        """Case 15: no command, an unknown one, an unknown one of a group."""
        nobody = {"MICA_ADDRESS": "127.0.0.1:1"}
        self.check(harness.mica(env=nobody), 0, r"^mica \[global flags\] <command>", "^$")
        self.check(harness.mica("asdasdasd", env=nobody), 3, "^$",
                   '^mica: UNAVAILABLE "asdasdasd" is no command, and no server')
        with harness.Server() as server:
            self.check(server.mica("asdasdasd"), 2, "^$",
                       '^mica: unknown command or service "asdasdasd"\ntry: mica help\n$')
        self.check(harness.mica("env", "asdasd", env=nobody), 2, "^$",
                   '^mica: unknown command "env asdasd"\ntry: mica help env\n$')
        self.check(harness.mica("env", "lsit", env=nobody), 2, "^$", r'\(did you mean "env list"\?\)')

    def test_helps(self):
        """Case 16: the help of every command names it."""
        names = re.findall(r"^   ([a-z]+) +[A-Z`]", harness.mica("help").stdout, re.M)
        self.assertGreater(len(names), 20)
        for name in names:
            with self.subTest(name):
                done = harness.mica(name, "--help")
                self.check(done, 0, rf"(?m)^(Usage: )?mica {name}\b", "^$")


class Case(harness.Case):
    def setUp(self):
        self.folder = harness.work_folder("case")
        self.addCleanup(self.kill_all)

    def kill_all(self):
        for name in self.names():
            self.server.mica("kill", name, "--now")

    def ok(self, *args, **options):
        options.setdefault("cwd", self.folder)
        done = self.server.mica(*args, **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def names(self):
        return self.ok("services").split()[1:]

    def rows(self):
        """Name, version and status of what `status` lists."""
        return {line.split()[0]: line.split()[1:3] for line in self.ok("status").splitlines()[1:]}

    def assert_runs(self, name):
        self.assertIn(name, self.names())
        version, status = self.rows()[name]
        self.assertRegex(version, "^[0-9a-f]{8}$")
        self.assertEqual(status, "running")


class New(Case):
    def test_new(self):
        """Case 14: `new` says what to do next, and what it made runs at once."""
        for name in ("foobarsvc", "foo-bar", "foo-bar-baz"):
            with self.subTest(name):
                out = self.ok("new", name)
                steps = out.strip().split("\n\n")[-1].splitlines()
                self.assertEqual(steps, [f"mica run {name}", f"mica {name} --name Ada"])
                self.assertRegex(self.ok(*steps[0].split()[1:]), f"^{name}  [0-9a-f]{{8}}  running")
                self.assertEqual(self.ok(*steps[1].split()[1:]), '{"message":"Hello Ada"}\n')
                self.assert_runs(name)

    def test_run_current_folder(self):
        """Case 27: `new`, then `run .` inside."""
        self.ok("new", "current")
        self.assertRegex(self.ok("run", ".", cwd=self.folder / "current"), "^current  ")
        self.assert_runs("current")

    def test_idiomatic_folder_structure(self):
        """Case 39: main.lua is found beside the folders that a service has, with modules in folders of their own."""
        root = write(self.folder, "tidy", message="greet(req.name)", head='local greet = require "internal.texts.greet"')
        (root / "internal/texts").mkdir(parents=True)
        (root / "internal/texts/greet.lua").write_text('return function(name) return "Hello " .. name end\n')
        (root / "README.md").write_text("tidy\n")
        self.ok("run", "tidy")
        self.assertEqual(self.ok("tidy", "--name", "Joe"), '{"message":"Hello Joe"}\n')
        (self.folder / "untidy/cmd").mkdir(parents=True)
        (self.folder / "untidy/cmd/main.lua").write_text((root / "main.lua").read_text())
        done = self.server.mica("run", "untidy", cwd=self.folder)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"^mica: NOT_FOUND \S+/untidy has no main\.lua")


class Runtime(Case):
    def test_server_mode_call(self):
        """Case 19: a call of the runtime fails without a server and passes with one."""
        words = ["call", "runtime", "Runtime.Read", "{}"]
        server = harness.Server()
        server.start()
        address = server.proxy
        done = harness.mica(*words, env={"MICA_ADDRESS": address})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIsInstance(json.loads(done.stdout), dict)
        server.stop()
        done = harness.mica(*words, env={"MICA_ADDRESS": address})
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertRegex(done.stderr, "^mica: UNAVAILABLE ")

    def test_run_local_source(self):
        """Case 20: what is run is in `status` as running, and in `services`."""
        write(self.folder, "localone")
        self.ok("run", "./localone")
        self.assert_runs("localone")
        self.assertIn(str(self.folder / "localone"), self.ok("status"))

    def test_run_and_kill(self):
        """Case 21: what is killed is in neither."""
        write(self.folder, "shortlived")
        self.ok("run", "./shortlived")
        self.assert_runs("shortlived")
        self.ok("kill", "shortlived")
        self.assertNotIn("shortlived", self.names())
        self.assertNotIn("shortlived", self.rows())
        done = self.server.mica("call", "shortlived", "call")
        self.assertEqual((done.returncode, done.stdout), (1, ""))

    def test_run_local_update_and_call(self):
        """Case 26: run, call, edit, update, call: the first call after `update` has the new answer."""
        root = write(self.folder, "example")
        self.ok("run", "./example")
        self.assertEqual(self.ok("example", "call", "--name=Joe"), '{"message":"Hello Joe"}\n')
        for round_ in range(5):
            old, new = ("Hello", "Hi") if round_ % 2 == 0 else ("Hi", "Hello")
            (root / "main.lua").write_text((root / "main.lua").read_text().replace(old, new))
            self.ok("update", "./example")
            self.assertEqual(self.ok("example", "call", "--name=Joe"), '{"message":"%s Joe"}\n' % new)
        self.assert_runs("example")

    def test_run_parent_folder(self):
        """Case 28: `run ../../../name` from a nested folder."""
        write(self.folder, "above")
        nested = self.folder / "a/b/c"
        nested.mkdir(parents=True)
        self.ok("run", "../../../above", cwd=nested)
        self.assert_runs("above")
        self.assertIn(str(self.folder / "above") + "\n", self.ok("status"))

    def test_parent_dependency(self):
        """Case 33: a service uses a module of its project's lib folder."""
        (self.folder / "mica.json").write_text("{}")
        (self.folder / "lib").mkdir()
        (self.folder / "lib/shouting.lua").write_text("return function(s) return s:upper() end\n")
        write(self.folder / "services", "dependent", message='shouting("hello " .. req.name)',
              head='local shouting = require "shouting"')
        self.ok("run", ".", cwd=self.folder / "services/dependent")
        self.assertEqual(self.ok("dependent", "--name", "Joe"), '{"message":"HELLO JOE"}\n')
        (self.folder / "lib/shouting.lua").write_text("return function(s) return s:upper() .. '!' end\n")
        self.ok("update", "dependent")
        self.assertEqual(self.ok("dependent", "--name", "Joe"), '{"message":"HELLO JOE!"}\n')


class Logs(Case):
    LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z (\w+) (\S+)@[0-9a-f]{8}/0 (.*)$")

    def setUp(self):
        super().setUp()
        write(self.folder, "crier")
        self.ok("run", "crier")

    def test_existing_logs(self):
        """Case 30: `logs` has the line of the start and the service's own."""
        self.ok("crier", "--name", "Joe")
        texts = [self.LINE.match(line).group(3, 4) for line in self.ok("logs", "crier").splitlines()]
        self.assertEqual(texts, [("crier", "started"), ("crier", "called by Joe")])

    def test_stream_logs(self):
        """Case 32: `logs -n 1 -f` has one line that was there, and new ones as they come, with the time of now."""
        self.ok("crier", "--name", "before")
        process = subprocess.Popen([*harness.launcher(), BINARY, "logs", "-n", "1", "-f", "crier"], stdout=subprocess.PIPE,
                                   env=harness.environment({"MICA_ADDRESS": self.server.proxy}))
        try:
            self.assertEqual(self.next_line(process)[1], "called by before")
            for name in ("one", "two", "three"):
                time.sleep(0.2)
                asked = datetime.datetime.now(datetime.timezone.utc)
                self.ok("crier", "--name", name)
                when, text = self.next_line(process)
                self.assertEqual(text, "called by " + name)
                self.assertLess(abs((when - asked).total_seconds()), 2 * SLOW)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(10 * SLOW), 130)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()

    def next_line(self, process):
        self.assertTrue(select.select([process.stdout], [], [], 10 * SLOW)[0], "no line came")
        match = self.LINE.match(process.stdout.readline().decode())
        return datetime.datetime.fromisoformat(match[1] + "+00:00"), match[4]


if __name__ == "__main__":
    harness.main()
