# SPDX-License-Identifier: Apache-2.0
"""gRPC's interoperability cases against examples/interop."""

import harness
import interop


class Plain(interop.PythonCases, interop.FrameCases, interop.NodeCases, harness.Case):
    services = [interop.SERVICE]

    @classmethod
    def target(cls):
        return interop.Target(cls.server.proxy)


if __name__ == "__main__":
    harness.main()
