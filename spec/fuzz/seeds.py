#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the fuzzers' first inputs: seeds.py FOLDER [TARGET...] makes FOLDER/TARGET/seed files.

They come from what the tests know already: every row of the conformance tables is one for the codec and the JSON reader, the
descriptor set of the fixtures and pieces of it are those of the bundles; the rest are a few of each kind. Inputs that once
made a target fail are in spec/fuzz/found/TARGET, by hand, and are tried as well."""

import gzip
import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(SPEC, "conformance"))

from rows import b, nested, v  # noqa: E402

PROTOS = [os.path.join(SPEC, "unit", "pb", "fixtures"), os.path.join(SPEC, "conformance", "proto")]
OFTEN = {"codec3.All": 0, "codec2.All": 1, "codec3.Known": 2, "conform3.Mixed": 3}
# Where the messages that hold all others have the one of a row: spec/fuzz/fuzz.h chooses among few types.
WITHIN = {"codec3.Scalars": (0, 1, "scalars"), "codec3.Optionals": (0, 2, "optionals"), "codec3.Lists": (0, 3, "lists"),
          "codec3.Maps": (0, 4, "maps"), "codec3.Choice": (0, 5, "choice"), "codec3.Tree": (0, 6, "tree"),
          "codec2.Defaults": (1, 1, "defaults"), "codec2.Strict": (1, 2, "strict"), "codec2.Grouped": (1, 3, "grouped"),
          "codec2.Extendable": (1, 4, "extendable"), "google.protobuf.Timestamp": (2, 1, "time"),
          "google.protobuf.Duration": (2, 2, "duration"), "google.protobuf.FieldMask": (2, 3, "mask"),
          "google.protobuf.Any": (2, 4, "any"), "google.protobuf.Struct": (2, 6, "struct"),
          "google.protobuf.Value": (2, 7, "value"), "google.protobuf.ListValue": (2, 8, "list")}
LONGEST = 2000


def rows(kind):
    for name in ("encoding", "proto2", "json_input", "json_types"):
        for row in importlib.import_module(name).table.rows:
            if row.kind == kind and len(row.given) < LONGEST:
                yield row


def codec():
    for row in rows("read"):
        if row.message_type in OFTEN:
            yield bytes([OFTEN[row.message_type]]) + row.given
        elif row.message_type in WITHIN:
            choice, number, _ = WITHIN[row.message_type]
            yield bytes([choice]) + b(number, row.given)


def json():
    for row in rows("parse"):
        given = row.given if isinstance(row.given, bytes) else row.given.encode()
        if row.message_type in OFTEN:
            yield bytes([OFTEN[row.message_type]]) + given
        elif row.message_type in WITHIN:
            choice, _, name = WITHIN[row.message_type]
            yield bytes([choice]) + b'{"' + name.encode() + b'":' + given + b"}"
        yield b"\xff" + given


def compiled(folder, name, *more):
    out = os.path.join(folder, name + ".pb")
    subprocess.run(["protoc", *("-I" + p for p in PROTOS), "-I" + folder, "--descriptor_set_out", out, *more, name], check=True)
    with open(out, "rb") as f:
        return f.read()


SMALL = """syntax = "proto3"; package p;
// A comment.
message M { int32 a = 1; M m = 2; map<string, E> e = 3; oneof o { string s = 4; bytes b = 5; } optional bool q = 6; }
enum E { Z = 0; // after
  Y = -1; }
service S { rpc R(M) returns (stream M); }
"""


def bundle_of(files, descriptors, protos, name="svc"):
    content = b"".join(b(4, b(1, path), b(2, text)) for path, text in files)
    return v(1, 1) + b(2, name) + b(3, "0" * 64) + content + b(5, descriptors) + b"".join(b(6, p) for p in protos)


def bundle():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "small.proto"), "w", encoding="utf-8") as f:
            f.write(SMALL)
        small = compiled(folder, "small.proto")
        commented = compiled(folder, "small.proto", "--include_source_info")
        for name in ("codec2.proto", "codec3.proto", "conform2.proto", "conform3.proto"):
            yield b"\0" + compiled(folder, name, "--include_imports")
    yield b"\0" + small
    yield b"\0" + commented
    yield b"\0" + b(1, b(1, "a.proto"), nested(3, 120))
    yield b"\1" + bundle_of([("main.lua", "return 1")], small, ["small.proto"])
    yield b"\1" + bundle_of([("../main.lua", "return 1")], small, ["small.proto"])
    yield b"\1" + bundle_of([("main.lua", "")] * 2, b"", [])


def grpc():
    def frame(message, flags=0):
        return bytes([flags]) + len(message).to_bytes(4, "big") + message
    packed = gzip.compress(b"z" * 200, mtime=0)
    for data in (frame(b""), frame(packed, 1), frame(packed, 1) + frame(b"c") + frame(packed[:-1], 1), frame(b"hello"), frame(b"a") + frame(b"b" * 40) + frame(b""), frame(b"x", 1), frame(b"x", 2),
                 frame(b"y" * 300), frame(b"cut")[:-1], b"\0\xff\xff\xff\xff"):
        for limit in (1, 20, 21):
            yield bytes([limit, 3]) + data


BROTLI = bytes.fromhex("1ff900f8a5cbd0d8dec46a51c04b6a")  # "hello", 50 times


def encoding():
    for i in range(6):
        for text in (b"", b"hello", b"hello" * 100, bytes(range(256))):
            yield bytes([i, 20]) + gzip.compress(text)
            yield bytes([i, 20]) + zlib.compress(text)
            yield bytes([i, 20]) + gzip.compress(text) + gzip.compress(b"")
        yield bytes([i, 3]) + BROTLI
    for text in (b"gzip, deflate, br;q=0.5", b"*;q=0, identity", b"br;q=1.000,gzip;q=0"):
        yield bytes([0, 0]) + text


def grpc_web():
    for text in (b"AAAAAAU=aGVsbG8=", b"AAAAAAVoZWxsbw==", b"AAAAAAA=", b"gAAAAA9ncnBjLXN0YXR1czogMA0K", b"QQ==QQ==QUI=", b"A", b"AA", b"AA=",
                 b"====", b"A=AA", b"AAA\n", b"-_-_", b"\x80AAA", b""):
        for piece in (0, 2, 15):
            yield bytes([piece]) + text


def http1():
    requests = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
                b"GET / HTTP/1.0\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"GET http://h/p HTTP/1.1\r\nHost: h\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                b"GET / HTTP/1.1\nHost: a\n\n", b"GET /\r\n\r\n", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n"]
    for i, request in enumerate(requests):
        for ways in (0, 1, 2, 4, 8, 16, 32):
            yield bytes([ways, 5 + i]) + request
        yield bytes([i % 4, 1]) + request + requests[0] + requests[1]
    for name, body in (("gzip", gzip.compress(b"hello" * 50)), ("deflate", zlib.compress(b"hello" * 50)), ("br", BROTLI)):
        head = f"POST / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {name}\r\nContent-Encoding: {name}\r\n".encode()
        for ways in (32, 33, 36, 40):
            yield bytes([ways, 7]) + head + b"Content-Length: %d\r\n\r\n" % len(body) + body + requests[0]
            yield bytes([ways, 7]) + head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n" + requests[0]


def http2():
    def frame(kind, flags, stream, payload=b""):
        return bytes([kind, flags, stream, len(payload)]) + payload
    # Kinds from 0x40 name a header block of http2_fuzz.c: 0x48 is (0x48 % 12 = 0) GET with an authority, 0x49 POST, 0x4A 200.
    cases = [[frame(0x48, 5, 1)], [frame(0x49, 4, 1), frame(0, 1, 1, b"\0\0\0\0\5hello")],
             [frame(0x49, 4, 1), frame(0, 0, 1, b"x" * 50), frame(0x4C, 5, 1)], [frame(4, 0, 0, b"\0\4\0\0\0\0")],
             [frame(6, 0, 0, bytes(8)), frame(6, 1, 0, bytes(8))], [frame(0x49, 4, 1), frame(3, 0, 1, bytes(4))],
             [frame(8, 0, 0, b"\x7f\xff\xff\xff")], [frame(8, 0, 1, b"\0\0\0\0")], [frame(7, 0, 0, bytes(8))],
             [frame(1, 0, 1, b"\x82"), frame(9, 0, 1, b"\x86"), frame(9, 4, 1, b"\x84")], [frame(2, 0, 1, bytes(5))],
             [frame(5, 4, 1, b"\0\0\0\2\x88")], [frame(0x4A, 4, 1), frame(0, 1, 1, b"\0\0\0\0\0")], [frame(0x4A, 5, 1)],
             [frame(0x4A, 4, 3), frame(0x4C, 5, 3)], [frame(0x48, 5, 1), bytes([0xC0, 0, 0, 0])],
             [frame(0x49, 4, 1), bytes([0xC0, 1, 0, 0])], [frame(0x49, 4, 1), bytes([0xC0, 4, 0, 0]), frame(0, 1, 1, b"a")],
             [bytes([0x80, 0, 0, 9]) + b"\0\0\1\0\0\0\0\0\1"], [frame(0, 8, 1, b"\3abc\0\0\0")]]
    for case in cases:
        for ways in (0, 1, 2, 4, 8, 16):
            yield bytes([ways]) + b"".join(case)


def head():
    yield b"content-type:application/grpc+proto;x=1\ngrpc-timeout:5S\nmica-namespace:shop\nmica-version:v2\nx-a:1\nx-a:2\nx-b-bin:AQI,AQ==\nauthorization:Bearer x"
    yield b"traceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ngrpc-timeout:99999999H\nmicro-namespace:a"
    yield b"grpc-status:13\ngrpc-message:a%20b%ff%\ngrpc-status-details-bin:CA0\nmica-error-id:a.b"
    yield b"cookie:a=1; mica-token=x; __Host-micro-y=z;b=2\nset-cookie:mica-a=1\n:status:206\nconnection:close\ncontent-length:5"
    yield b"grpc-timeout:1n\ntraceparent:01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-x\norigin:http://a\nsec-fetch-site:same-origin"
    yield b"grpc-status:99999999999\ngrpc-message:\nx-bin:!\n-bin:AA\nx:\x80\x01"


def path():
    for text in (b"name=Ada&tags=a&tags=b", b"page.limit=3&page[offset]=1", b"a=%zz&b=%41+c&&=x&y", b"int32s=1&int32s=2",
                 b"tree.name=x&tree.next.name=y&tree[children][0][name]=z", b"by_string[a]=1&byString.b=2", b"color=RED&a_bool=true"):
        for choice in (0, 1, 2, 3, 70, 75, 80):
            yield bytes([choice]) + text
    for text in (b"/foo//bar/../baz/", b"/blog-posts/Save-It", b"/%2e%2e/a", b"/a%2fb", b"/%00", b"/a/./../..", b"//", b"/\xff", b"*"):
        yield b"\x80" + text
    for text in (b"127.0.0.1:8080", b"[::1]:80", b":0", b"name:65536", b"[::1]", b"::1:80", b"a:", b":" * 300):
        yield b"\x81" + text


def template():
    yield (b"GET /posts/{id}\nGET /posts/*/x\nPOST /posts/{id}:go\nGET /{name=posts/**}\nGET /posts/new\n* /a/{b.c}/**\n\n"
           b"GET /posts/7\nHEAD /posts/new\nPOST /posts/a:go\nGET /posts/1/2/3\nPUT /a/b/c/d\nGET /posts/:go\nGET /x//../posts/%41")
    yield b"GET /{a=x/*}/{b=**}:v\nGET /**\nGET /:v\nGET /\n\nGET /x/1:v\nGET /x/1/2:v\nGET /:v\nGET /" + b"a/" * 40
    for text in (b"{", b"{}", b"{a", b"{a=", b"{a={b}}", b"**/a", b"a/", b"a:b:c", b"a%20", b"{a}/{a}", b"{a=**}x", b"*" * 3):
        yield b"GET /" + text + b"\n\nGET /a"


def multipart():
    head = b'Content-Disposition: form-data; name="a"; filename="x\\"%22.png"\r\nContent-Type: image/png\r\n\r\n'
    body = b"preamble\r\n--XX\r\n" + head + b"one\r\n--X\r\n--XX \r\nContent-Disposition: form-data;name=b\r\n\r\n\r\n--XX--\r\nrest"
    for cuts in (0, 1, 3, 7):
        yield bytes([cuts]) + b"multipart/form-data; boundary=XX\n" + body
    yield b'\2multipart/form-data; boundary="X X"\n--X X\r\n' + head + b"\r\n--X X-"
    yield b"\1;boundary=X\n--X\r\n\r\n--X--"


def form():
    for kind in (0, 1, 2, 3):
        yield bytes([0, kind]) + b"tree.name=x\nscalars.a_string=b&lists.int32s=1&lists.int32s=2\nscalars.a_bool&tree.next.name=q\n\n"
        yield bytes([0, 4 + kind]) + b'tree.name=x\n\ntree.next.name=q&scalars.a_string=s\n\n{"tree":{"name":"y","next":{"children":[]}}}'
        yield bytes([0, 4 + kind]) + b'scalars.an_int32=1\n\ntree.name=q\ntree\n{"name":null,"next":{}}'
        yield bytes([0, 4 + kind]) + b'\n\nchoice.a_string=q\nchoice\n{"text":"x"},"a":{'


def log():
    yield b'\0{"time":1795341600.123456,"level":"INFO","version":"v2","instance":0,"text":"saved\\n","fields":{"id":"7"},"request":"5f2c"}'
    yield b'\0{"level":"ERROR","other":{"a":"b"},"n":1e3,"text":"\\u0000\\u00e9\\ud800\\/"}'
    yield b'\0{"text":"cut'
    line = b'{"time":1.5,"level":"INFO","instance":0,"text":"a","fields":{"id":"7"}}\n'
    for ways in (0, 1, 2, 0x42, 0x40, 0x44):
        yield bytes([3, ways, 3]) + line * 2 + b"broken\n" + line * 3 + b'{"level":"INFO"'
    yield bytes([3, 0xC0]) + b"\1" + (1).to_bytes(8, "little") + (9).to_bytes(8, "little") + line * 4
    yield b"\1\2\3\4\2v2\5hello\3key\5value\1a\0\0\0"
    yield b"\1\0\0\0\0\4\xff\0\n\"\1\\\1\x7f\2\xc3\xa9\1\xe2"


def websocket():
    def frame(first, payload):
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        return bytes([first]) + length + b"mask" + bytes(c ^ b"mask"[i % 4] for i, c in enumerate(payload))
    for data in (frame(0x81, b"hello") + frame(0x82, b"\0\1"), frame(1, b"a\xc3") + frame(0x89, b"ping") + frame(0x80, b"\xa4"),
                 frame(0x81, b"x" * 200) + frame(0x88, b"\x03\xe8bye"), frame(0x81, b"x" * 301), frame(2, b"x" * 299) + frame(0, b"") * 5 +
                 frame(0x80, b"yz"), frame(0x88, b"") + frame(0x8A, b"x" * 125), b"\x81\x05hello", frame(0xC1, b""),
                 b"\x82\xff" + (2 ** 62).to_bytes(8, "big") + b"mask1", frame(0x81, b"\xff")):
        for piece in (0, 1, 6):
            yield bytes([piece]) + data


TARGETS = {f.__name__: f for f in (codec, json, bundle, encoding, grpc, grpc_web, http1, http2, head, path, log, websocket, template,
                                   multipart, form)}


def main():
    folder, wanted = sys.argv[1], sys.argv[2:] or sorted(TARGETS)
    for target in wanted:
        out = os.path.join(folder, target)
        os.makedirs(out, exist_ok=True)
        for data in TARGETS[target]():
            with open(os.path.join(out, hashlib.sha1(data).hexdigest()[:16]), "wb") as f:
                f.write(data)


main()
