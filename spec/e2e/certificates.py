# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by the command `openssl`: an authority, and what it signs."""

import pathlib
import subprocess

import harness


def openssl(*args):
    done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"openssl {args}: {done.stderr}")


class Certificate:
    """`cert` and `key` are files in PEM form."""

    def __init__(self, folder, name):
        self.cert, self.key = pathlib.Path(folder) / f"{name}.pem", pathlib.Path(folder) / f"{name}.key"

    def identity(self):
        """As grpc wants it."""
        return self.key.read_bytes(), self.cert.read_bytes()


class Authority(Certificate):
    def __init__(self, name="authority"):
        self.folder = harness.work_folder("certificates")
        super().__init__(self.folder, name)
        self.count = 0
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2, "-subj",
                f"/CN={name}", "-keyout", self.key, "-out", self.cert)

    def issue(self, subject, names="DNS:localhost,IP:127.0.0.1", days=2):
        """A certificate for a subject such as "/O=shop/CN=ada"; with negative days it has expired."""
        self.count += 1
        made = Certificate(self.folder, f"issued{self.count}")
        request, extensions = self.folder / "request", self.folder / "extensions"
        extensions.write_text(f"subjectAltName={names}\n")
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-utf8",
                "-keyout", made.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", made.cert)
        return made
