#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The scripts of tools/, as a newcomer uses them."""

import json
import os
import re
import signal
import subprocess
import unittest

import harness
from harness import EXAMPLES, ROOT, curl


class Run(unittest.TestCase):
    def start(self, *folders, cwd="/"):
        """tools/run on free ports: the process, what it said before the ready line, and the gateway's address."""
        env = harness.environment({"MICA_API": "127.0.0.1:0", "MICA_PROXY": "127.0.0.1:0",
                                   "MICA_DATA": str(harness.work_folder("data"))})
        process = subprocess.Popen([ROOT / "tools/run", *folders], cwd=cwd, env=env, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(self.end, process)
        said = ""
        for line in process.stdout:
            if match := re.match(r"mica ready: api=https?://(\S+) proxy=(\S+)", line):
                return process, said, match.group(1)
            said += line
        self.fail(f"tools/run ended with {process.wait()}: {said}")

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()

    def test_default_is_helloworld(self):
        process, said, api = self.start()
        self.assertIn("""build/mica call helloworld Helloworld.Call '{"name":"Ada"}'""", said)
        self.assertIn("curl 'localhost:8080/helloworld?name=Ada'", said)
        self.assertEqual(json.loads(curl(f"{api}/helloworld?name=Ada")), {"message": "Hello Ada"})
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(20), 0)

    def test_several_folders_seen_from_elsewhere(self):
        _, said, api = self.start("dashboard", "weather", "news", cwd=EXAMPLES)
        self.assertIn("build/mica call dashboard Dashboard.Show '{}'", said)
        self.assertEqual(json.loads(curl(f"{api}/dashboard/show?city=Lagos"))["celsius"], 31)

    def test_a_folder_that_is_no_service(self):
        done = subprocess.run([ROOT / "tools/run", "/nonexistent"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("/nonexistent", done.stderr)


class Deps(unittest.TestCase):
    def test_nothing_is_missing_here(self):
        done = subprocess.run([ROOT / "tools/deps", "run", "test"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_unknown_group(self):
        done = subprocess.run([ROOT / "tools/deps", "nonsense"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("groups are", done.stderr)

    def test_who_may_not_install_is_told_what(self):
        # A system where nothing is installed: dpkg-query that knows no package, and no sudo.
        empty = harness.work_folder("bin")
        (empty / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")
        (empty / "dpkg-query").chmod(0o755)
        for tool in ("bash", "sh"):
            os.symlink(f"/bin/{tool}" if os.path.exists(f"/bin/{tool}") else f"/usr/bin/{tool}", empty / tool)
        if os.geteuid() == 0:
            for folder in (empty, *empty.parents[:1]):
                folder.chmod(0o755)
            prefix = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        else:
            prefix = []
        script = (ROOT / "tools/deps").read_text()
        done = subprocess.run([*prefix, "/bin/bash", "-s", "run"], input=script, capture_output=True, text=True,
                              env={"PATH": str(empty)}, cwd="/")
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, "only root can install them")
        self.assertRegex(done.stderr, "apt-get install .*libluajit-5.1-dev")


if __name__ == "__main__":
    harness.main()
