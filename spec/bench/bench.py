#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Mica beside its peers, in turn, in one run. What is measured: the modules of the same names.

usage: bench.py unary [--rounds N] [--requests N]    a greeting, beside nghttpd, gRPC C++ and grpc-go (unary.py)
       bench.py proxy [--rounds N] [--requests N]    the same through the proxy to a server elsewhere, beside nginx (proxy.py)
       bench.py gateway [--rounds N]                 JSON over HTTP, beside nginx with Lua, node and a gateway in Go (gateway.py)
       bench.py streams [--rounds N]                 small messages of a server stream (streams.py)
       bench.py idle [http1] [http2]                 memory of idle connections (idle.py)
       bench.py memory                               memory after one and after ten million calls (memory.py)
       bench.py start [--rounds N]                   start and memory (start.py)

The first figure is requests per CPU-second of the server: user and system time over all its threads, from /proc/PID/stat. Then
requests per second, and the median and 99th percentile of the latency as the client sees it; of the loads with many
requests under way, latency is queueing. Medians over the rounds. nghttpd has one thread: it runs on one core and h2load on
another; the others are not pinned.
"""

import argparse
import importlib
import shutil

import peers

ROUNDS = {"unary": 5, "proxy": 5, "gateway": 5, "streams": 5, "idle": 1, "memory": 1, "start": 10}


def main():
    parser = argparse.ArgumentParser(prog="tools/bench")
    parser.add_argument("what", choices=sorted(ROUNDS))
    parser.add_argument("kinds", nargs="*", help="of idle: http1, http2, ws, ws-talking; all by default")
    parser.add_argument("--rounds", type=int, help="default: 5; 10 for start")
    parser.add_argument("--requests", type=int, default=300_000, help="of each load and round")
    args = parser.parse_args()
    args.rounds = args.rounds or ROUNDS[args.what]
    try:
        importlib.import_module(args.what).run(args)
    finally:
        shutil.rmtree(peers.WORK, ignore_errors=True)


main()
