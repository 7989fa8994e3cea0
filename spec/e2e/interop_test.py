# SPDX-License-Identifier: Apache-2.0
"""gRPC's interoperability cases against examples/interop, plain and over TLS."""

import harness
import interop
from certificates import Authority


class Plain(interop.PythonCases, interop.FrameCases, interop.NodeCases, harness.Case):
    services = [interop.SERVICE]

    @classmethod
    def target(cls):
        return interop.Target(cls.server.proxy)


class Tls(interop.PythonCases, interop.FrameCases, interop.NodeCases, harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        own = cls.authority.issue("/CN=server")
        args = ["--tls-cert", own.cert, "--tls-key", own.key]
        cls.server = harness.Server([interop.SERVICE], args, ca=cls.authority.cert).start()
        cls.begin()

    @classmethod
    def target(cls):
        return interop.Target(cls.server.proxy, cls.authority.cert)


if __name__ == "__main__":
    harness.main()
