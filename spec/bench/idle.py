# SPDX-License-Identifier: Apache-2.0
"""Resident memory of many idle connections: HTTP/2 and HTTP/1.1, each of which has made one call; WebSockets that have said nothing yet;
WebSockets in a conversation, whose service waits for the next word. Ten thousand of each, on a server of their own."""

import http.client
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

import peers
from peers import CALL, GREETING, MICA, ROOT

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import raw_http2  # noqa: E402
import raw_websocket  # noqa: E402

CONNECTIONS = 10_000
INSTANCES = 11  # one works on 1,000 requests at a time


def http2(mica):
    connection = raw_http2.connect(f"127.0.0.1:{mica.port}")
    [message] = connection.call(CALL, b"\n\x03Ada").messages
    if message.body != GREETING:
        sys.exit(f"bench: the answer is {message.body!r}")
    return connection.close


def open_socket(mica):
    return raw_websocket.open(re.search(r"api=http://(\S+)", mica.line).group(1), "/helloworld/pingPong")


def silent(mica):
    return open_socket(mica).socket.close


def talking(mica):
    socket = open_socket(mica)
    socket.send('{"stroke":1}')
    got = socket.receive()
    if got.data != b'{"stroke":"1"}':
        sys.exit(f"bench: the answer is {got}")
    return socket.socket.close


def http1(mica):
    connection = http.client.HTTPConnection(re.search(r"api=http://(\S+)", mica.line).group(1))
    connection.request("POST", "/helloworld", b'{"name":"Ada"}')
    answer = connection.getresponse().read()
    if answer != b'{"message":"Hello Ada"}':
        sys.exit(f"bench: the answer is {answer!r}")
    return connection.close


KINDS = {"http2": ("HTTP/2 connections", http2, 220), "http1": ("HTTP/1.1 connections", http1, 60),
         "ws": ("WebSockets that have said nothing", silent, 150), "ws-talking": ("WebSockets in a conversation", talking, 150)}


def measure(what, connect, most):
    limit = ["--max-connections", str(CONNECTIONS + 100), "--heartbeat", "0"]
    with peers.mica("mica", limit) as mica:
        subprocess.run([MICA, "run", str(ROOT / "examples/helloworld"), "--instances", str(INSTANCES if connect is talking else 1)],
                       env={**os.environ, "MICA_ADDRESS": f"127.0.0.1:{mica.port}"}, check=True, stdout=subprocess.DEVNULL)
        before = peers.resident(mica.process.pid)
        close = [connect(mica) for _ in range(CONNECTIONS)]
        time.sleep(1)
        after = peers.resident(mica.process.pid)
        print(f"{CONNECTIONS:,} idle {what}: {after:.0f} MB resident, {before:.0f} MB before them, "
              f"{(after - before) * 1024 / CONNECTIONS:.1f} KB each (aim: under {most} MB)", flush=True)
        for each in close:
            each()


def run(args):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < CONNECTIONS + 100:
        sys.exit(f"bench: {CONNECTIONS} connections need as many descriptors, the limit is {files}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    for kind in args.kinds or KINDS:
        if kind not in KINDS:
            sys.exit(f"bench: no kind {kind!r}; kinds are: {' '.join(KINDS)}")
        measure(*KINDS[kind])
