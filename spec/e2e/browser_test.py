#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A page in Chromium that calls services: gRPC-Web by its own client, JSON, streams, WebSocket, upload.

The cases are browser/page.js, run by node/browser.js; each is a test here, twice: in a page from a small server of this test, whose
origin Mica lets in for one service and not for another; and in the same page served by a service, which needs no leave.
"""

import functools
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading

import harness
from harness import ROOT, SERVICES, SLOW

FOLDER = ROOT / "spec/e2e/browser"
NODE = ROOT / "spec/e2e/node"
MODULES = {"grpc-web": "grpc-web/index.js", "google-protobuf": "google-protobuf/google-protobuf.js"}
CASES = re.findall(r"^  async (\w+)\(", (FOLDER / "page.js").read_text(), re.M)


PROTO = 'syntax = "proto3"; package site; message Nothing {}'
SITE = """
local mica = require "mica"
return mica.service { handlers = {}, public = true, http = { ["GET /*path"] = mica.web.files() } }
"""


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
        for args in ([SERVICES / "browsing", "--cors", origin], [SERVICES / "browsing", "--name", "shut"], [cls.site()]):
            done = cls.server.mica("run", *args)
            assert done.returncode == 0, done.stderr
        cls.results = cls.run_cases(origin)

    @classmethod
    def site(cls):
        """The folder of a service that serves the page."""
        folder = harness.write_service(harness.work_folder("site"), "site", PROTO, SITE)
        shutil.copytree(FOLDER, folder / "public")
        (folder / "public/modules").mkdir()
        for name, path in MODULES.items():
            shutil.copy(NODE / "node_modules" / path, folder / "public/modules" / name)
        return folder

    @classmethod
    def run_cases(cls, origin):
        gateway = f"http://{cls.server.api}"
        command = ["node", str(NODE / "browser.js")]
        for prefix, url, more in (("other", f"{origin}/page.html", {"shut": "shut/browsing"}), ("own", f"{gateway}/site/page.html", {})):
            command += [prefix, url, json.dumps({"gateway": gateway, **more})]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30 * SLOW)
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
    for origin in ("other", "own"):
        setattr(Browser, f"test_{origin}_{case}", make_test(f"{origin}_{case}"))

if __name__ == "__main__":
    harness.main()
