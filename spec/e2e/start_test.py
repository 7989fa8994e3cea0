#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Starting and stopping: what cannot work is one line that says what to do, with exit code 1."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest

import harness
from harness import BINARY, EXAMPLES, SLOW, Server

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Faults(unittest.TestCase):
    def refused(self, server, pattern, prefix=()):
        """Starts what cannot start: one line on standard error, nothing on standard output, code 1."""
        done = subprocess.run([*prefix, *server.command], env=server.env, capture_output=True, text=True, timeout=20 * SLOW,
                              cwd="/")
        lines = [line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT\S+ (INFO|DEBUG)", line)]
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertRegex(lines[0], pattern)
        self.assertRegex(lines[0], "^mica: ")

    def test_same_port(self):
        with Server([EXAMPLES / "helloworld"]) as first:
            port = first.api.rsplit(":", 1)[1]
            self.refused(Server(api=f"127.0.0.1:{port}"), rf"{port}.*--api")
            port = first.proxy.rsplit(":", 1)[1]
            self.refused(Server(proxy=f"127.0.0.1:{port}"), rf"{port}.*--proxy")
            self.assertEqual(first.post("/helloworld/call", {"name": "Ada"}).status, 200)

    def test_same_data_folder(self):
        with Server([EXAMPLES / "helloworld"]) as first:
            self.refused(Server(data=first.data), re.escape(str(first.data)) + ".*--data")
            self.assertEqual(first.post("/helloworld/call", {"name": "Ada"}).status, 200)
        with Server(data=first.data):
            pass  # free again

    def as_nobody(self):
        """A command prefix and a copy of the binary that a user without rights can run."""
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                self.skipTest("needs setpriv")
            # The unprivileged user must reach the binary and the folders.
            place = pathlib.Path(subprocess.check_output(["mktemp", "-d", "/tmp/mica-nobody-XXXXXX"], text=True).strip())
            self.addCleanup(shutil.rmtree, place, ignore_errors=True)
            place.chmod(0o755)
            shutil.copy(BINARY, place / "mica")
            home = place / "home"
            home.mkdir()
            os.chown(home, 65534, 65534)
            return NOBODY, place / "mica", home
        home = harness.work_folder("home")
        return [], BINARY, home

    def privileged_from(self):
        try:
            return int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
        except (OSError, ValueError):
            return 1024

    def test_forbidden_port(self):
        if self.privileged_from() <= 81:
            self.skipTest("every port is free for all users here")
        prefix, binary, home = self.as_nobody()
        server = Server(api="127.0.0.1:81", data=home / "data")
        server.command[server.command.index(str(BINARY))] = str(binary)
        self.refused(server, r"81.*(permission|allowed|root|1024).*--api|--api.*81", prefix)

    def test_data_folder_that_cannot_be_written(self):
        prefix, binary, home = self.as_nobody()
        home.chmod(0o555)
        server = Server(data=home / "data")
        server.command[server.command.index(str(BINARY))] = str(binary)
        if prefix:
            os.chown(home, 0, 0)
        self.refused(server, re.escape(str(home / "data")) + ".*--data", prefix)

    def test_data_folder_is_a_file(self):
        file = harness.work_folder("file") / "data"
        file.write_text("")
        self.refused(Server(data=file), re.escape(str(file)) + ".*--data")

    def test_address_that_is_none(self):
        self.refused(Server(api="nonsense"), "nonsense")
        self.refused(Server(api="127.0.0.1:99999"), "99999")

    def test_beyond_loopback_needs_insecure(self):
        self.refused(Server(api="0.0.0.0:0"), "--insecure")

    def test_wrong_flag(self):
        done = harness.mica("server", "--aip", "x")
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("--api", done.stderr)


class FaultyServices(unittest.TestCase):
    """A folder that cannot be run is reported with the place of the fault; the others run."""

    def reported(self, folder, pattern):
        with Server([folder, EXAMPLES / "helloworld"]) as server:
            self.assertTrue(server.wait_log(r"ERROR .*cannot run " + re.escape(str(folder)) + ".*" + pattern), server.log())
            self.assertEqual(server.post("/helloworld/call", {"name": "Ada"}).json, {"message": "Hello Ada"})
            self.assertEqual(server.post("/bad/call").status, 404)

    def test_syntax_error(self):
        proto = 'syntax = "proto3";\npackage bad;\nservice Bad {}\n'
        folder = harness.write_service(harness.work_folder("faulty"), "bad", proto, "return {\n\n= 3 }\n")
        self.reported(folder, r"main\.lua:3: ")

    def test_proto_error(self):
        proto = 'syntax = "proto3";\npackage bad;\nmessage A {\n  strin name = 1;\n}\n'
        folder = harness.write_service(harness.work_folder("faulty"), "bad", proto, "return {}\n")
        self.reported(folder, r'bad\.proto:4:3: "strin" is not defined')

    def test_not_there(self):
        self.reported("/nonexistent/service", "")


class Stop(unittest.TestCase):
    def test_ready_line_and_term(self):
        with Server() as server:
            self.assertRegex(server.api, r"^127\.0\.0\.1:\d+$")
            self.assertNotEqual(server.api, server.proxy)

    def test_interrupt(self):
        server = Server().start()
        server.process.send_signal(signal.SIGINT)
        server.stop(ask=False)

    def test_term_lets_calls_finish(self):
        server = Server([harness.SERVICES / "probe"]).start()
        connection = server.connect()
        body = b'{"seconds":1,"mark":"drained"}'
        connection.sendall(b"POST /probe/sleep HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        self.assertTrue(server.wait_log("asleep .*mark=drained"))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        address = server.api.rsplit(":", 1)
        with self.assertRaises(OSError):
            socket.create_connection((address[0], int(address[1])), timeout=2).close()
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        self.assertIn(b" 200 ", answer.split(b"\r\n")[0])
        self.assertIn(b"drained", answer)
        server.stop(ask=False)

    def test_environment_instead_of_flags(self):
        data = harness.work_folder("data") / "by-env"
        server = Server(env={"MICA_DATA": str(data), "MICA_API": "127.0.0.1:0", "MICA_PROXY": "127.0.0.1:0",
                             "MICA_LOG_LEVEL": "error"})
        server.command = server.command[:server.command.index("--data")]
        with server:
            self.assertTrue(data.is_dir())


if __name__ == "__main__":
    harness.main()
