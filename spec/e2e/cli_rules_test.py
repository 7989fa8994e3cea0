#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules that hold for every command: flags, names, output, errors, offline commands, destructive ones, exit codes."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time
import unittest

import harness
from harness import BINARY, EXAMPLES, SERVICES, SLOW, mica

OFFLINE = ["new", "check", "types", "build", "env", "help", "version", "completion", "server"]
SHORT = {"e": "env", "o": "output", "f": "follow", "n": "lines", "w": "watch", "y": "yes", "q": "quiet", "v": "verbose", "h": "help"}


def commands():
    """The names in `mica help`."""
    return re.findall(r"^   ([a-z]+) {2,}\S", mica("help").stdout, re.M)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *args, env=None, cwd=None):
        self.parent, child = pty.openpty()
        self.process = subprocess.Popen([*harness.launcher(), str(BINARY), *map(str, args)], stdin=child, stdout=child, stderr=child,
                                        env=harness.environment(env), cwd=cwd, start_new_session=True)
        os.close(child)
        self.seen = ""

    def read(self, until=None, seconds=20):
        """What it shows up to a text, or to its end."""
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end and not (until and until in self.seen):
            if not select.select([self.parent], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.parent, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            self.seen += data.decode().replace("\r\n", "\n")
        return self.seen

    def type(self, text):
        os.write(self.parent, text.encode())

    def end(self):
        text = self.read()
        code = self.process.wait(20 * SLOW)
        os.close(self.parent)
        return code, text


class Listener:
    """An address that counts who connects and answers nothing."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        while True:
            try:
                self.socket.accept()
            except OSError:
                return
            self.connections += 1

    def __exit__(self, kind, value, trace):
        self.socket.close()


class Base(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = harness.work_folder("cli")
        self.env = {"XDG_CONFIG_HOME": str(self.folder / "config")}

    def run_it(self, *args, env=None, **options):
        options.setdefault("cwd", self.folder)
        options.setdefault("stdin", subprocess.DEVNULL)
        return mica(*args, env={**self.env, **(env or {})}, **options)

    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if out is not None:
            self.assertEqual(done.stdout, out)
        if err is not None:
            self.assertRegex(done.stderr, err)


class Flags(Base):
    def test_value_apart_and_after_an_equals_sign(self):
        for i, args in enumerate((["--template", "stream"], ["--template=stream"])):
            self.check(self.run_it("new", f"a{i}", *args), 0)
            self.assertTrue((self.folder / f"a{i}/proto/a{i}.proto").read_text().count("stream"))

    def test_before_and_after_arguments(self):
        self.check(self.run_it("new", "--template", "call", "before"), 0)
        self.check(self.run_it("-q", "new", "after", "-o", "name", "--template", "call"), 0, "after\n")

    def test_value_may_contain_equals_signs(self):
        self.check(self.run_it("--address=a=b:80", "services"), 3, "", "a=b:80")
        self.check(self.run_it("build", "--out=x=y", EXAMPLES / "helloworld"), 0, "x=y\n")
        self.assertTrue((self.folder / "x=y").exists())

    def test_underscores_are_accepted(self):
        self.check(self.run_it("server", "--log_level", "loud"), 2, "", 'log-level: "loud"')
        self.check(self.run_it("--no_color", "version"), 0)

    def test_negative_numbers_are_values(self):
        self.check(self.run_it("server", "--io", "-1"), 2, "", 'got "-1"')
        self.check(self.run_it("server", "--io=-1"), 2, "", 'got "-1"')
        self.check(self.run_it("new", "-5"), 2, "", '^mica: "-5" is no name')

    def test_two_hyphens_end_flags(self):
        self.check(self.run_it("new", "--", "--template"), 2, "", '^mica: "--template" is no name')

    def test_booleans(self):
        self.check(self.run_it("server", "--insecure=perhaps", "--io", "x"), 2, "", "--insecure is true or false")
        self.check(self.run_it("--quiet=false", "version"), 0)

    def test_faults(self):
        self.check(self.run_it("new", "x", "--template"), 2, "", "--template needs a value")
        self.check(self.run_it("new", "--template", "--verbose", "x"), 2, "", "--template=--verbose")
        self.check(self.run_it("new", "x", "--template", "call", "--template", "call"), 2, "", "more than once")
        self.check(self.run_it("new", "x", "--tempalte", "call"), 2, "", r'unknown flag "--tempalte" \(did you mean "--template"\?\)')
        self.check(self.run_it("--adress", "x", "version"), 2, "", 'did you mean "--address"')
        self.check(self.run_it("-x", "version"), 2, "", 'unknown flag "-x"')
        self.check(self.run_it("new"), 2, "", "missing argument 'name'")
        self.check(self.run_it("new", "a", "b"), 2, "", "too many arguments")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_short_flag_means_one_thing(self):
        for command in commands():
            for text in [mica("help", command).stdout]:
                for short, long in re.findall(r"^ +-(\w),? +--([a-z-]+)", text, re.M):
                    with self.subTest(command=command, flag=short):
                        self.assertEqual(SHORT.get(short), "limit" if long == "limit" and short == "n" else long)

    def test_every_command_has_help_and_an_example(self):
        self.assertGreater(len(commands()), 15)
        for command in commands():
            with self.subTest(command):
                done = self.run_it("help", command)
                self.check(done, 0)
                self.assertRegex(done.stdout, rf"Examples?:\n(.*\n)*   .*mica.* {command}|Examples?:\n(.*\n)*   .*mica {command}")
                self.assertEqual(self.run_it(command, "--help").stdout, done.stdout)
                self.assertEqual(self.run_it(command, "-h").stdout, done.stdout)


class Settings(Base):
    def address(self, *args, env=None):
        """The address that a command talks to, taken from its complaint that nobody is there."""
        done = self.run_it(*args, "services", env=env)
        self.assertEqual(done.returncode, 3, done.stderr)
        return re.search(r"127\.0\.0\.1:(\d+)", done.stderr)[1]

    def test_flag_variable_file_default(self):
        self.check(self.run_it("env", "add", "three", "127.0.0.1:3"), 0, "", "^$")
        self.check(self.run_it("env", "add", "four", "127.0.0.1:4"), 0, "")
        self.check(self.run_it("env", "set", "three"), 0, "", "^$")
        self.assertEqual(self.address(), "3")
        self.assertEqual(self.address("-e", "four"), "4")
        self.assertEqual(self.address(env={"MICA_ENV": "four"}), "4")
        self.assertEqual(self.address("--env=three", env={"MICA_ENV": "four"}), "3")
        self.assertEqual(self.address(env={"MICA_ADDRESS": "127.0.0.1:2"}), "2")
        self.assertEqual(self.address("--address", "127.0.0.1:1", env={"MICA_ADDRESS": "127.0.0.1:2"}), "1")

    def test_environments(self):
        self.check(self.run_it("env"), 0, "* local  127.0.0.1:8081  this machine\n")
        self.run_it("env", "add", "staging", "10.0.0.7:8081")
        self.check(self.run_it("env", "list"), 0, "* local    127.0.0.1:8081  this machine\n  staging  10.0.0.7:8081\n")
        self.check(self.run_it("env", "set", "staging"), 0, "")
        self.check(self.run_it("env", "get"), 0, "staging\n")
        self.check(self.run_it("env", "delete", "staging"), 1, "", "FAILED_PRECONDITION .*current")
        self.check(self.run_it("env", "set", "local"), 0)
        self.check(self.run_it("env", "del", "staging"), 0, "", "^$")
        self.check(self.run_it("env", "-o", "name"), 0, "local\n")
        self.check(self.run_it("env", "set", "stagin"), 1, "", "^mica: NOT_FOUND ")
        self.check(self.run_it("env", "add", "x", "nowhere"), 2, "", "HOST:PORT")
        self.check(self.run_it("env", "ad", "x"), 2, "", 'did you mean "env add"')
        self.check(self.run_it("-e", "nosuch", "services"), 2, "", 'no environment "nosuch"')
        self.assertEqual((self.folder / "config/mica/config.json").stat().st_mode & 0o777, 0o600)

    def test_a_broken_file_is_named(self):
        (self.folder / "config/mica").mkdir(parents=True)
        (self.folder / "config/mica/config.json").write_text("{")
        self.check(self.run_it("env"), 2, "", "config.json")
        self.check(self.run_it("version"), 0)  # needs none of it

    def test_faults_are_found_before_anything_is_sent(self):
        with Listener() as listener:
            env = {"MICA_ADDRESS": listener.address}
            for args in (["--timeout", "soon", "services"], ["-o", "yaml", "services"], ["services", "--al"], ["call", "posts"],
                         ["status", "a", "b"], ["kill"], ["logs", "posts", "--since", "yesterday"]):
                with self.subTest(args=args):
                    self.check(self.run_it(*args, env=env), 2, "", "^mica: ")
            self.check(self.run_it("services", env={**env, "MICA_OUTPUT": "yaml"}), 2, "", "yaml")
            self.check(self.run_it("services", env={**env, "MICA_TIMEOUT": "x"}), 2, "", '"x" is no duration')
            self.assertEqual(listener.connections, 0)

    def test_offline_commands_contact_nobody(self):
        with Listener() as listener:
            env = {"MICA_ADDRESS": listener.address}
            self.check(self.run_it("new", "posts", env=env), 0)
            for args in (["check", "posts"], ["types", "posts"], ["build", "posts"], ["env"], ["help"], ["help", "run"], ["version"],
                         ["completion", "bash"], ["completion", "zsh"], ["completion", "fish"], ["run", "--help"]):
                with self.subTest(args=args):
                    self.check(self.run_it(*args, env=env), 0)
            self.assertEqual(listener.connections, 0)

    def test_timeout(self):
        with Listener() as listener:
            began = time.monotonic()
            self.check(self.run_it("--timeout", "300ms", "--address", listener.address, "services"), 3, "", "^mica: ")
            self.assertLess(time.monotonic() - began, 5 * SLOW)


class Errors(Base):
    def test_misspelled_command(self):
        self.check(self.run_it("versoin", env={"MICA_ADDRESS": "127.0.0.1:1"}), 2, "", '^mica: unknown command.*"versoin"\ntry: mica version$')
        self.check(self.run_it("help", "versoin"), 2, "", 'did you mean "version"')
        self.check(self.run_it("completion", "tcsh"), 2, "", "bash")

    def test_nobody_answers(self):
        self.check(self.run_it("--address", "127.0.0.1:1", "services"), 3, "", "^mica: UNAVAILABLE .*127.0.0.1:1.*\ntry: mica ")

    def test_as_json(self):
        done = self.run_it("-o", "json", "env", "set", "nosuch")
        self.check(done, 1, "")
        self.assertEqual(json.loads(done.stderr), {"id": "mica", "code": 404, "status": "Not Found", "detail": 'no environment "nosuch"'})
        done = self.run_it("-o", "json", "new", "X")
        self.check(done, 2, "")
        self.assertEqual(json.loads(done.stderr)["code"], 400)
        done = self.run_it("-o", "json", "--address", "127.0.0.1:1", "services")
        self.check(done, 3, "")
        self.assertEqual(json.loads(done.stderr)["status"], "Service Unavailable")

    def test_quiet_does_not_silence_errors(self):
        self.check(self.run_it("-q", "env", "set", "nosuch"), 1, "", "NOT_FOUND")

    def test_output_that_nobody_reads_is_no_error(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*harness.launcher(), BINARY, "help"], stdout=writer, stderr=subprocess.PIPE, env=harness.environment(),
                              timeout=20 * SLOW)
        os.close(writer)
        self.assertEqual(done.stderr, b"")

    def test_programs_on_the_path(self):
        program = self.folder / "mica-greet"
        program.write_text('#!/bin/sh\necho "hello $*"\nexit 7\n')
        program.chmod(0o755)
        env = {"PATH": f"{self.folder}:{os.environ['PATH']}", "MICA_ADDRESS": "127.0.0.1:1"}
        self.check(self.run_it("greet", "a b", "--c", env=env), 7, "hello a b --c\n", "^$")

    def test_start_takes_little_time(self):
        best = min(self.seconds("help") for _ in range(10))
        self.assertLess(best, 0.015 * SLOW * 4)  # 15 ms on a machine that does nothing else

    def seconds(self, *args):
        began = time.monotonic()
        self.run_it(*args)
        return time.monotonic() - began


class Prompt(Base):
    def test_lines_from_a_pipe(self):
        lines = 'version\n\n# nothing\nenv add "a-1" \'127.0.0.1:1\'\nenv get\nmica version\n!env g\nhistory\n'
        done = self.run_it("cli", input=lines, stdin=None)
        self.check(done, 0, None, "^$")
        version = self.run_it("version").stdout
        self.assertEqual(done.stdout.split("   1  ")[0], version + "local\n" + version + "env get\nlocal\n")
        self.assertIn('127.0.0.1:1', self.run_it("env").stdout)

    def test_errors_do_not_end_it(self):
        done = self.run_it("cli", input='env set "nosuch\nenv set nosuch\nversion\n', stdin=None)
        self.check(done, 0, self.run_it("version").stdout, 'a " is not closed\n.*NOT_FOUND')
        self.check(self.run_it("cli", input="env set nosuch\nexit\nversion\n", stdin=None), 1, "")

    def test_on_a_terminal(self):
        terminal = Terminal("cli", env=self.env)
        terminal.read("mica> ")
        terminal.type("env get\n")
        terminal.read("local\nmica> ")
        terminal.type("\x04")
        code, text = terminal.end()
        self.assertEqual(code, 0, text)

    def test_an_interrupt_ends_the_wait_for_input(self):
        terminal = Terminal("cli", env=self.env)
        terminal.read("mica> ")
        terminal.process.send_signal(signal.SIGINT)
        code, text = terminal.end()
        self.assertEqual(code, 130, text)


class Looks(Base):
    def test_json_is_indented_on_a_terminal_only(self):
        self.check(self.run_it("-o", "json", "version"), 0)
        self.assertEqual(self.run_it("-o", "json", "version").stdout.count("\n"), 1)
        code, text = Terminal("-o", "json", "version", env=self.env).end()
        self.assertEqual(code, 0)
        self.assertRegex(text, r'^\{\n  "version": "[\d.]+"\n\}\n$')


class WithServer(harness.Case):
    services = [EXAMPLES / "helloworld", SERVICES / "probe", SERVICES / "faults"]
    check, run_it = Base.check, Base.run_it

    def setUp(self):
        Base.setUp(self)
        self.env["MICA_ADDRESS"] = self.server.proxy

    def test_lists(self):
        self.check(self.run_it("services"), 0, "NAME\nfaults\nhelloworld\nprobe\n", "^$")
        self.check(self.run_it("services", "-o", "name"), 0, "faults\nhelloworld\nprobe\n")
        rows = json.loads(self.run_it("services", "-o", "json").stdout)
        self.assertEqual([row["name"] for row in rows], ["faults", "helloworld", "probe"])
        header = self.run_it("status").stdout.split("\n")[0]
        self.assertEqual(header.split(), "NAME VERSION STATUS INSTANCES RESTARTS MEMORY REQUESTS ERRORS UPDATED SOURCE".split())

    def test_an_empty_list_has_its_header(self):
        self.check(self.run_it("--namespace", "elsewhere", "services"), 0, "NAME\n")
        self.check(self.run_it("--namespace", "elsewhere", "services", "-o", "json"), 0, "[]\n")
        self.check(self.run_it("--namespace", "elsewhere", "services", "-o", "name"), 0, "")

    def test_times_and_colours(self):
        text = self.run_it("status").stdout
        self.assertRegex(text, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        self.assertNotIn("\x1b", text)
        code, text = Terminal("status", env=self.env).end()
        self.assertEqual(code, 0, text)
        self.assertRegex(text, r"\b\d+[smh] ago|\bnow\b")
        self.assertIn("\x1b[", text)
        for args, env in ((["--no-color", "status"], {}), (["status"], {"NO_COLOR": "1"})):
            self.assertNotIn("\x1b", Terminal(*args, env={**self.env, **env}).end()[1])

    def test_single_things(self):
        self.check(self.run_it("call", "helloworld", "call", '{"name":"Ada"}'), 0, '{"message":"Hello Ada"}\n')
        code, text = Terminal("call", "helloworld", "Helloworld.Call", '{"name":"Ada"}', env=self.env).end()
        self.assertEqual((code, text), (0, '{\n  "message": "Hello Ada"\n}\n'))

    def test_verbose(self):
        done = self.run_it("-v", "services")
        self.check(done, 0)
        self.assertRegex(done.stderr, r"> .*Registry\.?/?\w+.* trace [0-9a-f]{32}\n(.*\n)*< .* ms")

    def test_the_service_of_a_folder(self):
        self.assertIn("Helloworld", self.run_it("describe", ".", cwd=EXAMPLES / "helloworld").stdout)
        self.assertIn("Helloworld", self.run_it("describe", EXAMPLES / "helloworld").stdout)
        self.check(self.run_it("describe", "Hello World"), 2, "", "no name of a service")

    def test_errors(self):
        self.check(self.run_it("call", "faults", "Faults.Fail", '{"code":"NOT_FOUND","message":"no post"}'), 1, "",
                   "^mica: NOT_FOUND faults.Faults.Fail: no post")
        done = self.run_it("-o", "json", "call", "faults", "Faults.Fail", '{"code":"NOT_FOUND","message":"no post"}')
        self.check(done, 1, "")
        self.assertEqual(json.loads(done.stderr),
                         {"id": "faults.Faults.Fail", "code": 404, "detail": "no post", "status": "Not Found"})
        self.check(self.run_it("call", "helloword", "Helloworld.Call"), 1, "", "helloworld")
        self.check(self.run_it("call", "helloworld", "Helloworld.Cal"), 2, "", "Helloworld.Call")
        self.check(self.run_it("helloword", "call"), 2, "", "helloworld")

    def test_a_deadline_of_the_caller_is_no_answer(self):
        self.check(self.run_it("--timeout", "300ms", "call", "probe", "Probe.Sleep", '{"seconds":20}'), 3, "", "DEADLINE_EXCEEDED")
        self.check(self.run_it("call", "faults", "Faults.Fail", '{"code":"DEADLINE_EXCEEDED","message":"m"}'), 1, "", "DEADLINE_EXCEEDED")

    def test_destructive_commands_want_a_yes(self):
        self.check(self.run_it("shutdown"), 2, "", "--yes")
        terminal = Terminal("shutdown", env=self.env)
        terminal.read("[y/N]")
        terminal.type("n\n")
        code, text = terminal.end()
        self.assertEqual(code, 1, text)
        self.check(self.run_it("services", "-o", "name"), 0, "faults\nhelloworld\nprobe\n")

    def test_a_token_is_asked_for_and_not_shown(self):
        terminal = Terminal("--token", "-", "services", "-o", "name", env=self.env)
        terminal.read("token: ")
        terminal.type("opensesame\n")
        code, text = terminal.end()
        self.assertNotIn("opensesame", text)
        self.assertIn("token: \n", text)

    def test_completion_knows_services(self):
        script = ('source <("$MICA" completion bash); mica() { "$MICA" "$@"; }; COMP_WORDS=(mica call hel); COMP_CWORD=2; _mica; '
                  'echo "${COMPREPLY[@]}"; COMP_WORDS=(mica vers); COMP_CWORD=1; _mica; echo "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script], env=harness.environment({**self.env, "MICA": str(BINARY)}), capture_output=True,
                              text=True, timeout=60 * SLOW)
        self.assertEqual(done.stdout, "helloworld\nversion\n", done.stderr)


if __name__ == "__main__":
    harness.main()
