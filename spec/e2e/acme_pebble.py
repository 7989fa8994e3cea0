#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Certificates by ACME from Pebble, the authority that Let's Encrypt tests clients with: by hand, when something of it changes.

    apt-get install pebble && python3 spec/e2e/acme_pebble.py

Pebble refuses half of all nonces here, looks for names at 127.0.0.1, and answers everything in its own way. PEBBLE names another
folder with its two programs than those on PATH.
"""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request

import harness
from acme_test import ISSUED, ONE, TWO, free_port
from certificates import Authority
from harness import EXAMPLES, Server


def program(name):
    folder = os.environ.get("PEBBLE")
    return str(pathlib.Path(folder) / name) if folder else shutil.which(name) or name


class Pebble(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = harness.work_folder("pebble")
        cls.authority = Authority("pebble's authority")
        cls.own = cls.authority.issue("/CN=pebble")
        cls.processes = []

    @classmethod
    def tearDownClass(cls):
        pass

    def tearDown(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def run_pebble(self, http_port, tls_port):
        """Starts it; returns its directory and the address where its root certificate is."""
        port, management, names = free_port(), free_port(), free_port()
        config = self.folder / "config.json"
        config.write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{management}",
            "certificate": str(self.own.cert), "privateKey": str(self.own.key), "httpPort": http_port, "tlsPort": tls_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
        log = open(self.folder / "log", "w")
        self.processes.append(subprocess.Popen(
            [program("pebble-challtestsrv"), "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{names}",
             "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{free_port()}"],
            stdout=log, stderr=log))
        self.processes.append(subprocess.Popen(
            [program("pebble"), "-config", str(config), "-strict", "-dnsserver", f"127.0.0.1:{names}"], stdout=log, stderr=log,
            env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "50"}))
        for wanted in (port, management):
            self.wait_port(wanted)
        return f"https://127.0.0.1:{port}/dir", f"https://127.0.0.1:{management}/roots/0"

    def wait_port(self, port):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.fail("pebble does not start:\n" + (self.folder / "log").read_text())

    def issue(self, more, http_port, tls_port, **options):
        directory, root = self.run_pebble(http_port, tls_port)
        args = ["--acme-host", ONE, "--acme-host", TWO, "--acme-agree", "--acme-email", "ops@example.org", "--acme-directory",
                directory, "--acme-ca", str(self.authority.cert), *more]
        with Server([EXAMPLES / "helloworld"], args, **options) as server:
            self.assertTrue(server.wait_log(ISSUED, 30), server.log() + (self.folder / "log").read_text())
            trust = ssl.create_default_context(cafile=str(self.authority.cert))
            pem = urllib.request.urlopen(root, context=trust).read().decode()
            host, port = server.api.rsplit(":", 1)
            for name in (ONE, TWO):
                context = ssl.create_default_context(cadata=pem)
                with context.wrap_socket(socket.create_connection((host, int(port))), server_hostname=name) as connection:
                    self.assertIn(("DNS", name), connection.getpeercert()["subjectAltName"])
            self.assertNotIn("no certificate:", server.log())

    def test_http_01(self):
        port = free_port()
        self.issue(["--acme-http", f"127.0.0.1:{port}"], port, free_port())

    def test_tls_alpn_01(self):
        port = free_port()
        self.issue([], free_port(), port, api=f"127.0.0.1:{port}")


if __name__ == "__main__":
    harness.main()
