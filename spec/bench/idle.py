# SPDX-License-Identifier: Apache-2.0
"""Resident memory of many idle HTTP/2 connections, each of which has made one call."""

import re
import resource
import socket
import sys
import time

import peers
from peers import CALL, ROOT, framed

CONNECTIONS = 10_000


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def opening():
    """What a client sends first: the preface, its settings, and one call on stream 1."""
    headers = (b"\x83\x86" + literal(b":path", CALL.encode()) + literal(b":authority", b"localhost") +
               literal(b"content-type", b"application/grpc") + literal(b"te", b"trailers"))
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers) +
            frame(0, 1, 1, framed(b"\n\x03Ada")))


def answered(connection):
    """Reads until the headers that end stream 1 are here."""
    data = b""
    while not re.search(rb"\x01\x05\x00\x00\x00\x01", data):
        more = connection.recv(4096)
        if not more:
            sys.exit("bench: a connection was closed")
        data += more


def run(_):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files < CONNECTIONS + 100:
        sys.exit(f"bench: {CONNECTIONS} connections need as many descriptors, the limit is {files}: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    limit = ["--max-connections", str(CONNECTIONS + 100)]
    with peers.mica("mica", ["--run", str(ROOT / "examples/helloworld"), *limit]) as mica:
        before = peers.resident(mica.process.pid)
        open_ones = []
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", mica.port), timeout=10)
            connection.sendall(opening())
            open_ones.append(connection)
        for connection in open_ones:
            answered(connection)
        time.sleep(1)
        after = peers.resident(mica.process.pid)
        print(f"{CONNECTIONS:,} idle HTTP/2 connections: {after:.0f} MB resident, {before:.0f} MB before them, "
              f"{(after - before) * 1024 / CONNECTIONS:.1f} KB each (aim: under 220 MB)")
        for connection in open_ones:
            connection.close()
