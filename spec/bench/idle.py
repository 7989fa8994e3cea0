# SPDX-License-Identifier: Apache-2.0
"""Resident memory of many idle HTTP/2 connections, each of which has made one call."""

import pathlib
import resource
import sys
import time

import peers
from peers import CALL, GREETING, ROOT

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import raw_http2  # noqa: E402

CONNECTIONS = 10_000


def connect(port):
    """A connection that has made its call."""
    connection = raw_http2.connect(f"127.0.0.1:{port}")
    [message] = connection.call(CALL, b"\n\x03Ada").messages
    if message.body != GREETING:
        sys.exit(f"bench: the answer is {message.body!r}")
    return connection


def run(_):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < CONNECTIONS + 100:
        sys.exit(f"bench: {CONNECTIONS} connections need as many descriptors, the limit is {files}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    limit = ["--max-connections", str(CONNECTIONS + 100)]
    with peers.mica("mica", ["--run", str(ROOT / "examples/helloworld"), *limit]) as mica:
        before = peers.resident(mica.process.pid)
        open_ones = [connect(mica.port) for _ in range(CONNECTIONS)]
        time.sleep(1)
        after = peers.resident(mica.process.pid)
        print(f"{CONNECTIONS:,} idle HTTP/2 connections: {after:.0f} MB resident, {before:.0f} MB before them, "
              f"{(after - before) * 1024 / CONNECTIONS:.1f} KB each (aim: under 220 MB)")
        for connection in open_ones:
            connection.close()
