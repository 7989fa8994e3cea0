# SPDX-License-Identifier: Apache-2.0
"""Resident memory of ten thousand idle connections of a kind, on a server of their own: HTTP/2 at the proxy and HTTP/1.1 at the api
door, each of which has made one call; WebSockets that have said nothing yet, and WebSockets in a conversation, whose service
waits for the next word. A kind is a function that makes such a connection, and what it is held to."""

import http.client
import os
import pathlib
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
INSTANCES = CONNECTIONS // 1000 + 1  # one works on 1,000 requests at a time


def check(answer, expected):
    if answer != expected:
        sys.exit(f"bench: the answer is {answer!r}")


def http2(mica):
    connection = raw_http2.connect(f"127.0.0.1:{mica.port}")
    [message] = connection.call(CALL, b"\n\x03Ada").messages
    check(message.body, GREETING)
    return connection


def http1(mica):
    connection = http.client.HTTPConnection("127.0.0.1", mica.api)
    connection.request("POST", "/helloworld", b'{"name":"Ada"}')
    check(connection.getresponse().read(), b'{"message":"Hello Ada"}')
    return connection


def open_socket(mica):
    return raw_websocket.open(f"127.0.0.1:{mica.api}", "/helloworld/pingPong")


def silent(mica):
    return open_socket(mica).socket


def talking(mica):
    socket = open_socket(mica)
    socket.send('{"stroke":1}')
    check(socket.receive().data, b'{"stroke":"1"}')
    return socket.socket


KINDS = {"http2": (http2, "HTTP/2 connections", 220), "http1": (http1, "HTTP/1.1 connections", 60),
         "ws": (silent, "WebSockets that have said nothing", 150), "ws-talking": (talking, "WebSockets in a conversation", 150)}


def measure(kind):
    connect, name, aim = KINDS[kind]
    limit = ["--max-connections", str(CONNECTIONS + 100), "--heartbeat", "0"]
    with peers.mica("mica", limit) as mica:
        subprocess.run([MICA, "run", str(ROOT / "examples/helloworld"), "--instances", str(INSTANCES if kind == "ws-talking" else 1)],
                       env={**os.environ, "MICA_ADDRESS": f"127.0.0.1:{mica.port}"}, check=True, stdout=subprocess.DEVNULL)
        before = peers.resident(mica.process.pid)
        open_ones = [connect(mica) for _ in range(CONNECTIONS)]
        time.sleep(1)
        after = peers.resident(mica.process.pid)
        print(f"{CONNECTIONS:,} idle {name}: {after:.0f} MB resident, {before:.0f} MB before them, "
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
