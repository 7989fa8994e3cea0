#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tour of README.md, word for word: its `$ ` commands are run in order, and what they print is what stands there.

The commands run in one shell on a terminal of their own, in a folder that looks like a checkout after a build (a copy of
examples/, and build/mica). What differs from what a reader types:
  - `tools/run [DIR...]` is `build/mica server --run DIR...` with the same services, in the background: tools/run would
    install and build. A second one ends the first by SIGINT, as Ctrl-C does.
  - the server's ports are free ones: `localhost:8080` and `localhost:8081` in commands are replaced by them, and the ports in
    what is printed are turned back; the command line is told by MICA_ADDRESS.
  - HOME is a folder of its own, and the checkout's is shown as /home/ada/mica.
  - `$ python3` gets the `>>> ` lines below it.
Times, durations, sizes and widths of columns may differ; versions must be the same where the README has the same. A command
below which the README shows nothing must end with code 0, whatever it prints.
"""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import unittest

import harness
from harness import BINARY, EXAMPLES, ROOT, SLOW

README = (ROOT / "README.md").read_text()
SHOWN_FOLDER = "/home/ada/mica"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
MASKS = [
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<when>"),
    (re.compile(r"\b\d+(\.\d+)? m?s\b"), "<duration>"),
    (re.compile(r"\b\d+(\.\d+)?[KMG]?B\b"), "<size>"),
    (re.compile(r"\b(now|\d+[smhd] ago)(?=  )"), "<ago>"),
]
VERSION = re.compile(r"(?<=[@ ])[0-9a-f]{8}(?=[ /]|$)", re.M)


class Command:
    def __init__(self, text, line):
        self.text, self.line = text, line
        self.typed = []  # what is typed into it
        self.shown = []  # what it prints, as the README has it

    def __str__(self):
        return f"README.md:{self.line}: $ {self.text}"


def blocks(text):
    """The fenced blocks: (language, number of the first line, lines)."""
    inside = None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if inside is None:
                inside = (line[3:].strip(), number + 1, [])
            else:
                yield inside
                inside = None
        elif inside is not None:
            inside[2].append(line)


def commands(text):
    found = []
    for _, first, lines in blocks(text):
        command, continues = None, False
        for number, line in enumerate(lines, first):
            if continues:
                command.text += "\n" + line
            elif line.startswith("$ "):
                command = Command(line[2:], number)
                found.append(command)
            elif command and line.startswith(">>> "):
                command.typed.append(line[4:])
            elif command:
                command.shown.append(line)
            continues = command is not None and (line if continues or line.startswith("$ ") else "").endswith("\\")
    return found


def block(text, language, having):
    """The block of a language that contains a text."""
    [found] = ["\n".join(lines) + "\n" for name, _, lines in blocks(text) if name == language and having in "\n".join(lines)]
    return found


class Same:
    """Texts without what may differ. Versions are numbered in the order in which they are seen."""

    def __init__(self):
        self.versions = {}

    def text(self, text):
        for pattern, word in MASKS:
            text = pattern.sub(word, text)
        text = VERSION.sub(lambda m: "<version %d>" % self.versions.setdefault(m[0], len(self.versions) + 1), text)
        return [re.sub(r"  +", "  ", line).rstrip() if "<" in line or line.startswith("NAME ") else line.rstrip()
                for line in text.strip("\n").splitlines()]


class Shell:
    """A shell whose commands see a terminal."""

    def __init__(self, folder, env):
        self.master, self.slave = pty.openpty()
        self.tty = os.ttyname(self.slave)
        self.process = subprocess.Popen(["bash", "--norc", "--noprofile"], cwd=folder, env=env, stdin=subprocess.PIPE,
                                        stdout=self.slave, stderr=self.slave, start_new_session=True)

    def run(self, text):
        """What it prints, and its exit code."""
        mark = "-- done"
        self.process.stdin.write(f"{{ {text}\n}} <{self.tty}; printf '\\n{mark} %d\\n' $?\n".encode())
        self.process.stdin.flush()
        end, printed = time.monotonic() + 60 * SLOW, ""
        while True:
            match = re.search(rf"\n{mark} (\d+)\n", printed)
            if match:
                return COLOUR.sub("", printed[:match.start()]), int(match[1])
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{text}: not done in time; it printed {printed!r}")
            printed += os.read(self.master, 65536).decode(errors="replace").replace("\r", "")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10 * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class Walk:
    """A walk through the tour: a checkout, a shell, a server."""

    def __init__(self):
        self.folder = pathlib.Path(os.path.realpath(harness.work_folder("tour")))
        shutil.copytree(EXAMPLES, self.folder / "examples")
        (self.folder / "build").mkdir()
        (self.folder / "build/mica").symlink_to(BINARY)
        self.home = self.folder.parent / (self.folder.name + "-home")
        self.home.mkdir()
        self.env = harness.environment({"HOME": str(self.home), "TERM": "xterm", "COLUMNS": "200",
                                        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"})
        self.env.pop("NO_COLOR", None)
        self.shell = Shell(self.folder, self.env)
        self.server, self.ports = None, {}

    def close(self):
        self.shell.close()
        self.stop()

    def stop(self):
        if self.server is None:
            return
        server, self.server = self.server, None
        server.send_signal(signal.SIGINT)
        try:
            code = server.wait(20 * SLOW)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise AssertionError("the server did not end after Ctrl-C")
        finally:
            server.stdout.close()
        assert code == 0, f"the server ended with code {code}"

    def start(self, folders):
        self.stop()
        command = [*harness.launcher(), "build/mica", "server"]
        for folder in folders or ["examples/helloworld"]:
            command += ["--run", folder]
        env = {**self.env, "MICA_API": "127.0.0.1:0", "MICA_PROXY": "127.0.0.1:0"}
        with open(self.home / "server.log", "ab") as log:
            self.server = subprocess.Popen(command, cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=log)
        line = ""
        if select.select([self.server.stdout], [], [], 20 * SLOW)[0]:
            line = self.server.stdout.readline().decode()
        match = re.match(r"mica ready: api=https?://127\.0\.0\.1:(\d+) proxy=127\.0\.0\.1:(\d+)\n", line)
        assert match, f"no ready line but {line!r}: " + (self.home / "server.log").read_text(errors="replace")[-4000:]
        self.ports = {"8080": match[1], "8081": match[2]}
        _, code = self.shell.run(f"export MICA_ADDRESS=127.0.0.1:{match[2]}")
        assert code == 0
        return self.as_shown(line), 0

    def as_shown(self, text):
        for port, own in self.ports.items():
            text = re.sub(rf"(127\.0\.0\.1|localhost):{own}\b", rf"\1:{port}", text)
        return text.replace(str(self.folder), SHOWN_FOLDER)

    def run(self, command):
        """What the reader sees, and the exit code."""
        if command.text.startswith("tools/"):
            words = command.text.split()
            assert words[0] == "tools/run", f"{command}: no such script can stand in the tour"
            return self.start(words[1:])
        text = command.text
        for port, own in self.ports.items():
            text = text.replace(f"localhost:{port}", f"localhost:{own}")
        if text == "python3":
            typed = "\n".join(command.typed)
            for port, own in self.ports.items():
                typed = typed.replace(f"localhost:{port}", f"localhost:{own}")
            printed, code = self.shell.run(f"python3 -i -q <<'END'\n{typed}\nEND")
            return self.as_shown(printed.replace(">>> ", "")), code
        printed, code = self.shell.run(text)
        return self.as_shown(printed), code


def needs_python_stubs(command):
    return "grpc_python_plugin" in command.text or command.text == "python3"


class Tour(unittest.TestCase):
    maxDiff = 4000

    def walk(self, text, with_python):
        walk, seen, wanted = Walk(), Same(), Same()
        try:
            for command in commands(text):
                if needs_python_stubs(command) and not with_python:
                    continue
                printed, code = walk.run(command)
                self.assertEqual(code, 0, f"{command}\n{printed}")
                shown = "\n".join(command.shown)
                if not shown.strip():
                    seen.text(printed)  # its versions count too
                    continue
                if "REQUESTS" in shown and not with_python:  # the call of the block that was left out
                    printed = re.sub(r"(?m)^(helloworld .*B +)5 ", r"\g<1>6 ", printed)
                self.assertEqual(seen.text(printed), wanted.text(shown), f"{command}\n(printed, README.md)")
            self.assertTrue((walk.home / ".mica/data").is_dir())
        finally:
            walk.close()

    def test_commands_print_what_the_readme_says(self):
        self.walk(README, with_python=shutil.which("grpc_python_plugin") is not None)

    @unittest.skipUnless(shutil.which("grpc_python_plugin"), "grpc_python_plugin is not installed")
    def test_stubs_in_python(self):
        found = [command for command in commands(README) if needs_python_stubs(command)]
        self.assertEqual(len(found), 2, "the tour has its block for Python")
        self.assertTrue(found[1].typed and found[1].shown)

    def test_the_tour_shows_what_is_there(self):
        text = "\n".join(command.text for command in commands(README))
        for part in ("tools/run", "mica call", "curl -d", "/stream", "mica new", "mica run .", "mica update .", "mica status",
                     "mica logs", "mica describe", "mica kill", "dashboard"):
            self.assertIn(part, text)

    def test_what_is_not_so_is_found(self):
        changes = [('{"message":"Hello Ada"}', '{"message":"Hello Eve"}'), ('"status":"Bad Request"', '"status":"Not Found"'),
                   ("localhost:8080/helloworld/stream", "localhost:8080/helloworld/streams")]
        for old, new in changes:
            with self.subTest(new):
                text = README.split("### A service of your own")[0].replace(old, new)
                self.assertIn(new, text)
                with self.assertRaisesRegex(AssertionError, r"README\.md:\d+: \$ curl"):
                    self.walk(text, with_python=False)

    def test_code(self):
        self.assertEqual(block(README, "lua", "Helloworld.PingPong"), (EXAMPLES / "helloworld/main.lua").read_text())
        joined = [line.strip() for line in block(README, "lua", "mica.all").splitlines()]
        source = [line.strip() for line in (EXAMPLES / "dashboard/main.lua").read_text().splitlines()]
        self.assertIn("\n".join(joined), "\n".join(source))


if __name__ == "__main__":
    harness.main()
