#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A page in Chromium that calls services of another origin: gRPC-Web by its own client, JSON, streams, WebSocket, upload.

The cases are browser/page.js, run by node/browser.js; each is a test here. The page comes from a small server of this test, the services
from Mica, which lets the page's origin in for one of them.
"""

import functools
import http.server
import json
import pathlib
import re
import subprocess
import threading

import harness
from harness import ROOT, SERVICES, SLOW

FOLDER = ROOT / "spec/e2e/browser"
NODE = ROOT / "spec/e2e/node"
MODULES = {"grpc-web": "grpc-web/index.js", "google-protobuf": "google-protobuf/google-protobuf.js"}
CASES = re.findall(r"^  async (\w+)\(", (FOLDER / "page.js").read_text(), re.M)


class Pages(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path):
        module = MODULES.get(path.removeprefix("/modules/"))
        if module:
            return str(NODE / "node_modules" / module)
        return super().translate_path(path)

    def log_message(self, *_):
        pass


class Browser(harness.Case):
    """The tests are made below, one for each case."""

    @classmethod
    def setUpClass(cls):
        cls.pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=FOLDER))
        threading.Thread(target=cls.pages.serve_forever, daemon=True).start()
        origin = "http://127.0.0.1:%d" % cls.pages.server_address[1]
        super().setUpClass()
        for args in (["--cors", origin], ["--name", "shut"]):
            done = cls.server.mica("run", SERVICES / "browsing", *args)
            assert done.returncode == 0, done.stderr
        cls.results = cls.run_cases(origin)

    @classmethod
    def run_cases(cls, origin):
        given = {"gateway": f"http://{cls.server.api}", "shut": "shut/browsing"}
        done = subprocess.run(["node", str(NODE / "browser.js"), f"{origin}/page.html", json.dumps(given)], capture_output=True,
                              text=True, timeout=30 * SLOW)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(line) for line in done.stdout.splitlines())

    def test_what_the_browser_does_not_send(self):
        """A simple request is made, as any link does, and its answer kept from the page; the others are not made."""
        self.assertTrue(self.server.wait_log("greeted .*text=hidden"))
        self.assertNotIn("text=never", self.server.log())

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.pages.shutdown()


def make_test(name):
    def test(self):
        self.assertIn(name, self.results)
        self.assertIsNone(self.results[name])
    return test


for case in CASES:
    setattr(Browser, f"test_{case}", make_test(case))

if __name__ == "__main__":
    harness.main()
