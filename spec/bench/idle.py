# SPDX-License-Identifier: Apache-2.0
"""Resident memory of many idle connections, each of which has made one call: over HTTP/2 at the proxy, over HTTP/1.1 at the
api door. A kind is a function that makes such a connection, and what it is held to."""

import http.client
import pathlib
import resource
import sys
import time

import peers
from peers import CALL, GREETING, ROOT

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import raw_http2  # noqa: E402

CONNECTIONS = 10_000


def http2(mica):
    connection = raw_http2.connect(f"127.0.0.1:{mica.port}")
    [message] = connection.call(CALL, b"\n\x03Ada").messages
    if message.body != GREETING:
        sys.exit(f"bench: the answer is {message.body!r}")
    return connection


def http1(mica):
    connection = http.client.HTTPConnection("127.0.0.1", mica.api)
    connection.request("POST", "/helloworld", b'{"name":"Ada"}')
    answer = connection.getresponse().read()
    if answer != b'{"message":"Hello Ada"}':
        sys.exit(f"bench: the answer is {answer!r}")
    return connection


KINDS = {"http2": (http2, "HTTP/2", 220), "http1": (http1, "HTTP/1.1", 60)}


def measure(kind):
    connect, name, aim = KINDS[kind]
    limit = ["--max-connections", str(CONNECTIONS + 100)]
    with peers.mica("mica", ["--run", str(ROOT / "examples/helloworld"), *limit]) as mica:
        before = peers.resident(mica.process.pid)
        open_ones = [connect(mica) for _ in range(CONNECTIONS)]
        time.sleep(1)
        after = peers.resident(mica.process.pid)
        print(f"{CONNECTIONS:,} idle {name} connections: {after:.0f} MB resident, {before:.0f} MB before them, "
              f"{(after - before) * 1024 / CONNECTIONS:.1f} KB each (aim: under {aim} MB)", flush=True)
        for connection in open_ones:
            connection.close()


def run(args):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < CONNECTIONS + 100:
        sys.exit(f"bench: {CONNECTIONS} connections need as many descriptors, the limit is {files}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    for kind in args.kinds or KINDS:
        if kind not in KINDS:
            sys.exit(f"bench: no kind {kind!r}; kinds are: {' '.join(KINDS)}")
        measure(kind)
