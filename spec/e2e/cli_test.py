#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line: calls of each kind, output and exit codes."""

import json
import subprocess
import unittest

import harness
from harness import BINARY, EXAMPLES, SERVICES


class Call(harness.Case):
    services = [EXAMPLES / "helloworld", SERVICES / "probe", SERVICES / "faults", SERVICES / "values"]

    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if out is not None:
            self.assertEqual(done.stdout, out)
        if err is not None:
            self.assertRegex(done.stderr, err)

    def test_unary(self):
        self.check(self.server.mica("call", "helloworld", "Helloworld.Call", '{"name":"Ada"}'), 0, '{"message":"Hello Ada"}\n', "^$")

    def test_no_body_is_an_empty_one(self):
        self.check(self.server.mica("call", "helloworld", "Helloworld.Call"), 0, '{"message":"Hello "}\n')

    def test_server_stream_prints_a_line_each(self):
        done = self.server.mica("call", "helloworld", "Helloworld.Stream", '{"name":"Ada","messages":3}')
        self.check(done, 0, '{"message":"Hello Ada"}\n' * 3, "^$")

    def test_stream_that_fails_keeps_what_came(self):
        done = self.server.mica("call", "probe", "Probe.Some", '{"n":2}')
        self.check(done, 1, '{"n":"1"}\n{"n":"2"}\n', r"mica: FAILED_PRECONDITION probe\.Probe\.Some: that was number 2")

    def test_client_stream_reads_lines(self):
        self.check(self.server.mica("call", "probe", "Probe.Sum", input='{"n":1}\n{"n":2}\n'), 0, '{"n":"3"}\n')

    def test_answer_is_an_error(self):
        done = self.server.mica("call", "faults", "Faults.Fail", '{"code":"NOT_FOUND","message":"no post \\"7\\""}')
        self.check(done, 1, "", r'^mica: NOT_FOUND faults\.Faults\.Fail: no post "7"')

    def test_unknown_service_and_endpoint(self):
        self.check(self.server.mica("call", "helloword", "Helloworld.Call"), 1, "", r"^mica: NOT_FOUND .*helloword")
        self.check(self.server.mica("call", "helloworld", "Helloworld.Cal"), 2, "", r'"Helloworld.Cal" \(did you mean "Helloworld.Call"')

    def test_malformed_body(self):
        self.check(self.server.mica("call", "helloworld", "Helloworld.Call", "{malformed"), 2, "", "^mica: expected JSON")
        self.check(self.server.mica("call", "helloworld", "Helloworld.Call", '{"naem":"Ada"}'), 2, "", '^mica: .*no field "naem"')

    def test_wrong_usage(self):
        for args in (["call"], ["call", "helloworld"], ["call", "helloworld", "Helloworld.Call", "{}", "more"],
                     ["call", "helloworld", "Helloworld.Call", "--nosuch"], ["nosuch-command"], ["--nosuch"], ["cal"]):
            with self.subTest(args=args):
                self.check(self.server.mica(*args), 2, "", "^mica: ")

    def test_platform_services_are_called_alike(self):
        done = self.server.mica("call", "registry", "Registry.ListServices")
        self.check(done, 0)
        names = [service["name"] for service in json.loads(done.stdout)["services"]]
        self.assertEqual(names, ["faults", "helloworld", "probe", "values"])

    def test_timeout(self):
        done = self.server.mica("--timeout", "300ms", "call", "probe", "Probe.Sleep", '{"seconds":20}')
        self.check(done, 3, "", "DEADLINE_EXCEEDED")

    def test_interrupt_cancels_on_the_server(self):
        process = subprocess.Popen([*harness.launcher(), BINARY, "call", "probe", "Probe.Sleep", '{"seconds":20,"mark":"ctrl-c"}'],
                                   env=harness.environment({"MICA_ADDRESS": self.server.proxy}), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.assertTrue(self.server.wait_log("asleep .*mark=ctrl-c"))
        process.send_signal(2)
        process.communicate(timeout=20 * harness.SLOW)
        self.assertIn(process.returncode, (130, -2))
        self.assertTrue(self.server.wait_log("broken off .*mark=ctrl-c"))


class Alone(unittest.TestCase):
    def test_nobody_answers(self):
        done = harness.mica("--address", "127.0.0.1:1", "call", "helloworld", "Helloworld.Call")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr, r"^mica: .*127\.0\.0\.1:1")
        self.assertEqual(done.stdout, "")

    def test_version_and_help(self):
        done = harness.mica("version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")
        done = harness.mica("help")
        self.assertEqual(done.returncode, 0)
        for command in ("server", "call", "version", "help"):
            self.assertIn(command, done.stdout)


if __name__ == "__main__":
    harness.main()
