#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A python3-grpcio client of examples/helloworld, with stubs generated from its contract: client.py HOST:PORT"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import grpc
from harness import EXAMPLES, stubs

pb, rpc = stubs(EXAMPLES / "helloworld/proto/helloworld.proto")
with grpc.insecure_channel(sys.argv[1]) as channel:
    hello = rpc.HelloworldStub(channel)
    assert hello.Call(pb.CallRequest(name="Ada"), timeout=10).message == "Hello Ada"
    got = [m.message for m in hello.Stream(pb.StreamRequest(name="Ada", messages=3), timeout=10)]
    assert got == ["Hello Ada"] * 3, got
print("Hello Ada")
