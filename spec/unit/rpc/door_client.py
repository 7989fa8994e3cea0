#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# The front doors as other people's clients see them: grpcio, curl, and bytes on a socket. Started by door_test.c with
# the addresses of the api and the proxy door; the service behind them is that of echo_server.h.
import json
import socket
import subprocess
import sys
import threading
import time

import grpc

API, PROXY = sys.argv[1:3]
failures = []


def check(what, got, want):
    if got != want:
        failures.append(f"{what}: got {got!r}, not {want!r}")


def has(what, text, part):
    if part not in text:
        failures.append(f"{what}: {text!r} does not hold {part!r}")


def text(t):
    raw = t.encode()
    n, length = len(raw), b""
    while n >= 0x80:
        length += bytes([n & 0x7F | 0x80])
        n >>= 7
    return b"\x0a" + length + bytes([n]) + raw


# ---- gRPC ------------------------------------------------------------------------------------------------------------

def fails(what, call, code, part):
    try:
        call()
        failures.append(f"{what}: no error")
        return None
    except grpc.RpcError as e:
        check(what, e.code(), code)
        has(what, e.details(), part)
        return e


def grpc_calls(address):
    channel = grpc.insecure_channel(address)
    say = channel.unary_unary("/echo.Echo/Say")
    other = channel.unary_unary("/echo.Other/Say")
    count = channel.unary_stream("/echo.Echo/Count")
    gather = channel.stream_unary("/echo.Echo/Gather")
    chat = channel.stream_stream("/echo.Echo/Chat")
    code = grpc.StatusCode

    answer, call = say.with_call(text("hello"))
    check("unary", answer, text("hello"))
    check("leading", dict(call.initial_metadata()).get("x-leading"), "first")
    check("trailing", dict(call.trailing_metadata()).get("x-trailing-bin"), b"last")
    check("empty message", say(b""), b"")
    big = text("b" * 3_000_000)
    check("3 MB", say(big) == big, True)

    e = fails("fault", lambda: say(text("x"), metadata=[("do", "fail")]), code.NOT_FOUND, 'no post "7" ä')
    trailers = dict(e.trailing_metadata())
    check("details", trailers.get("grpc-status-details-bin"), b"\x08\x05")
    check("error id", trailers.get("mica-error-id"), "posts.Posts.Read")
    check("request id", len(trailers.get("mica-request-id", "")), 16)

    e = fails("full", lambda: say(text("x"), metadata=[("do", "full")]), code.RESOURCE_EXHAUSTED, "too many")
    check("pushback", dict(e.trailing_metadata()).get("grpc-retry-pushback-ms"), "100")
    fails("down", lambda: say(text("x"), metadata=[("do", "down")]), code.UNAVAILABLE, "not running")
    fails("too big", lambda: say(b"x" * (4 * 1024 * 1024 + 1)), code.RESOURCE_EXHAUSTED, "limit")
    fails("unknown", lambda: channel.unary_unary("/echo.Echo/Shout")(b""), code.UNIMPLEMENTED, '"Shout"')
    fails("namespace", lambda: say(b"", metadata=[("mica-namespace", "No!")]), code.INVALID_ARGUMENT, "namespace")
    fails("other namespace", lambda: say(b"", metadata=[("mica-namespace", "acme")]), code.UNIMPLEMENTED, "acme")
    fails("deadline", lambda: say(b"", metadata=[("do", "hang")], timeout=0.2), code.DEADLINE_EXCEEDED, "")
    long = text("x" * 1000)
    check("compressed", say(long, compression=grpc.Compression.Gzip), long)
    fails("deflate", lambda: say(long, compression=grpc.Compression.Deflate), code.UNIMPLEMENTED, "deflate")

    seen = say(b"", metadata=[("do", "context"), ("x-a", "1"), ("data-bin", b"raw"), ("authorization", "secret")])
    has("context", seen, b"mica 127.0.0.1:")
    has("metadata", seen, b"x-a=1")
    has("binary metadata", seen, b"data-bin=raw")
    check("no token", b"secret" in seen, False)
    check("no http", b"user-agent" in seen or b"content-type" in seen, False)
    has("account", say(b"", metadata=[("do", "account")]), b"admin".hex().encode() + b"22046d696361")
    has("old header", say(b"", metadata=[("do", "context"), ("micro-namespace", "mica")]), b"mica 127.")
    check("not public", other(text("x")), text("x"))

    check("stream", [m for m in count(b"", metadata=[("count", "50")])], [text("xxxxx")] * 50)
    check("no items", [m for m in count(b"", metadata=[("count", "0")])], [])
    got = sum(len(m) for m in count(b"", metadata=[("count", "100"), ("size", "60000")]))
    check("6 MB in a stream", got, 100 * 60004)
    items = []
    fails("break", lambda: items.extend(count(b"", metadata=[("do", "break")])), code.INTERNAL, "it broke")

    check("gather", gather(iter([text("12345")] * 100)), text("100 items, 700 bytes"))
    check("gather nothing", gather(iter([])), text("0 items, 0 bytes"))
    long = [text("l" * 50000)] * 100
    check("lazy", gather(iter(long), metadata=[("do", "lazy")]), text(f"100 items, {100 * 50004} bytes"))

    def endless(stop):
        while not stop.is_set():
            yield text("x")
            time.sleep(0.001)

    stop = threading.Event()
    check("early answer", gather(endless(stop), metadata=[("do", "early")]), text("1 items, 3 bytes"))
    stop.set()

    balls = [text(f"ball {i}") for i in range(200)]
    check("chat", [m for m in chat(iter(balls))], balls)

    stream = count(b"", metadata=[("do", "hang")])
    time.sleep(0.05)
    stream.cancel()

    jobs = [say.future(text(str(i))) for i in range(2000)]
    check("many", [j.result() for j in jobs], [text(str(i)) for i in range(2000)])
    channel.close()


# ---- HTTP ------------------------------------------------------------------------------------------------------------

def curl(*args, address=API, path="/"):
    run = subprocess.run(
        ["curl", "-sS", "-m", "20", "-w", "\n%{http_code} %{content_type}", *args, f"http://{address}{path}"],
        capture_output=True)
    if run.returncode != 0:
        failures.append(f"curl {args} {path}: {run.stderr.decode()}")
        return "", 0, ""
    body, _, last = run.stdout.decode().rpartition("\n")
    status, _, kind = last.partition(" ")
    return body, int(status), kind


def expect(what, answer, body, status=200, kind="application/json"):
    check(what, answer, (body, status, kind))


def error(what, answer, status, words, id_, part):
    body, got, kind = answer
    check(what, (got, kind), (status, "application/json"))
    parsed = json.loads(body or "{}")
    check(what + " keys", list(parsed), ["id", "code", "detail", "status"])
    check(what + " id", parsed.get("id"), id_)
    check(what + " code", parsed.get("code"), status)
    check(what + " status", parsed.get("status"), words)
    has(what, parsed.get("detail", ""), part)


def http_calls(version):
    def c(path, *args):
        return curl(version, *args, path=path)

    js = ("-H", "content-type: application/json")
    hello = '{"text":"hello"}'
    expect("post", c("/echo/say", *js, "-d", hello), hello)
    expect("full path", c("/echo/Echo/Say", *js, "-d", hello), hello)
    expect("hyphens", c("/blog-posts/say", *js, "-d", hello), hello)
    error("prefix", c("/blogPosts/say", *js, "-d", hello), 404, "Not Found", "api", '"/blogPosts/say"')
    expect("cleaned", c("//x/../echo/./say/", "--path-as-is", *js, "-d", hello), hello)
    for method in "PUT", "PATCH", "DELETE":
        expect(method, c("/echo/say", "-X", method, *js, "-d", hello), hello)
    expect("no type", c("/echo/say", "-H", "content-type:", "-d", hello), hello)
    expect("curl's own type", c("/echo/say", "-d", hello), hello)
    expect("empty", c("/echo/say", "-X", "POST"), "{}")
    expect("get nothing", c("/echo/say"), "{}")
    check("get", json.loads(c("/echo/say?text=a%20b&tags=x&tags=y")[0]), {"text": "a b", "tags": ["x", "y"]})
    check("form", json.loads(c("/echo/say", "-d", "text=a+b&n=5")[0])["text"], "a b")
    check("query on delete", json.loads(c("/echo/say?text=7", "-X", "DELETE")[0]), {"text": "7"})
    error("bad query", c("/echo/say?txet=1"), 400, "Bad Request", "echo.Echo.Say", "text")
    body, status, kind = c("/echo/say", "-H", "content-type: application/protobuf", "--data-binary", "\n\x02hi")
    check("protobuf", (body, status, kind), ("\n\x02hi", 200, "application/protobuf"))
    body, status, _ = c("/echo/say", "-I")
    check("head", (status, "content-length: 2" in body.lower()), (200, True))
    body, status, _ = c("/echo/say", "-X", "OPTIONS", "-i")
    check("options", (status, "allow: get, head, post" in body.lower()), (204, True))

    expect("version", c("/"), body=c("/")[0])
    has("version", c("/")[0], '{"version":"')
    expect("health", c("/health"), '{"status":"ok"}')
    expect("icon", c("/favicon.ico"), "", kind="image/x-icon")
    body, status, kind = c("/metrics")
    check("metrics", (status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"))
    has("metrics", body, 'mica_calls_total{door="api",namespace="mica",service="echo",endpoint="Echo.Say",code="OK"}')
    has("metrics", body, 'mica_connections_open{door="api",version="1.1"} ')
    error("metrics of another namespace", c("/metrics", "-H", "mica-namespace: acme"), 403, "Forbidden", "api", '"mica"')
    error("metrics by another name", c("/metrics", "-H", "host: example.com"), 401, "Unauthorized", "api", '"mica"')

    error("unknown", c("/no/such-thing"), 404, "Not Found", "api", '"/no/such-thing"')
    error("quotes", c('/a"b%5C%0A'), 404, "Not Found", "api", '"/a"b\\\n"')
    error("slash", c("/echo%2Fsay"), 400, "Bad Request", "api", "malformed")
    error("method", c("/echo/say", "-X", "TRACE"), 405, "Method Not Allowed", "api", "TRACE")
    error("type", c("/echo/say", "-H", "content-type: image/png", "-d", "x"), 415, "Unsupported Media Type",
          "echo.Echo.Say", "image/png")
    error("namespace", c("/echo/say", "-H", "mica-namespace: A"), 400, "Bad Request", "api", "namespace")
    error("other namespace", c("/echo/say", "-H", "micro-namespace: acme"), 404, "Not Found", "api", '"acme"')
    error("client stream", c("/echo/gather", *js, "-d", "{}"), 415, "Unsupported Media Type", "echo.Echo.Gather", "WebSocket")
    error("fault", c("/echo/say", "-H", "do: fail"), 404, "Not Found", "posts.Posts.Read", 'no post "7" ä')
    error("full", c("/echo/say", "-H", "do: full"), 429, "Too Many Requests", "echo.Echo.Say", "too many")
    error("down", c("/echo/say", "-H", "do: down"), 503, "Service Unavailable", "echo.Echo.Say", "not running")
    check("metadata out", "x-leading: first" in c("/echo/say", "-i")[0].lower(), True)
    check("early metadata", "x-early: bird" in c("/echo/say", "-i", "-H", "do: headers")[0].lower(), True)

    # curl 7.88 takes an answer that comes before the end of its request for an error on HTTP/2.
    big = b'{"text":"' + b"x" * (4 << 20) + b'"}'
    for chunked in ((), ("-H", "transfer-encoding: chunked")) if version == "--http1.1" else ():
        answer = subprocess.run(
            ["curl", "-s", "-m", "20", "-i", version, *js, *chunked, "-H", "expect:", "--data-binary", "@-",
             f"http://{API}/echo/say"], input=big, capture_output=True).stdout.decode()
        has("too large", answer, " 413 ")
        has("too large", answer, '"status":"Content Too Large"}')

    seen = json.loads(c("/echo/say?text=q", "-H", "do: context", "-H", "X-Mine: 1")[0])["text"]
    has("context", seen, "mica 127.0.0.1:")
    for part in f"host={API}", "method=GET", "url=/echo/say?text=q", "x-mine=1":
        has("context", seen, part)

    lines = c("/echo/count", "-H", "count: 5", "-d", "{}")
    expect("lines", lines, '{"text":"xxxxx"}\n' * 5, kind="application/x-ndjson")
    expect("no lines", c("/echo/count", "-H", "count: 0"), "", kind="application/x-ndjson")
    body, status, _ = c("/echo/count", "-H", "count: 100", "-H", "size: 60000")
    check("6 MB of lines", (status, len(body)), (200, 100 * 60012))
    body, status, _ = c("/echo/count", "-H", "do: break")
    last = json.loads(body.strip().split("\n")[-1])
    check("broken lines", (status, last["error"]["code"], last["error"]["detail"]), (200, 500, "it broke"))
    check("head of lines", c("/echo/count", "-I")[1:], (200, "application/x-ndjson"))


def trust():
    def asks(*args, address=API):
        return curl(*args, address=address, path="/echo/other/say")[1]

    here = f"http://{API}"
    check("trusted", asks(), 200)
    check("same origin", asks("-H", f"origin: {here}"), 200)
    check("typed in", asks("-H", "sec-fetch-site: none"), 200)
    check("localhost", asks("-H", "host: localhost:8080"), 200)
    check("v6", asks("-H", "host: [::1]:8080"), 200)
    for header in ("origin: http://evil.example", "origin: null", "sec-fetch-site: cross-site",
                   "sec-fetch-site: same-site", "host: evil.example", "host: 127.0.0.1.evil.example",
                   "host: notlocalhost"):
        check(header, asks("-H", header), 401)
    body, status, _ = curl("-i", "-H", "origin: null", path="/echo/other/say")
    has("challenge", body.lower(), "www-authenticate: bearer")
    check("public for anybody", curl("-H", "origin: null", path="/echo/say")[1], 200)


def wrong_doors():
    grpc_type = ("-H", "content-type: application/grpc")
    check("json at the proxy", curl("-d", "{}", address=PROXY, path="/echo.Echo/Say")[1], 415)
    check("get at the proxy", curl(address=PROXY, path="/health")[1], 415)
    h2 = "--http2-prior-knowledge"
    check("no grpc", curl(h2, "-X", "POST", "-H", "content-type: application/grpcish", address=PROXY)[1], 415)
    check("grpc by get", curl(h2, "-X", "GET", *grpc_type, address=PROXY, path="/echo.Echo/Say")[1], 405)
    check("grpc on http/1", curl(*grpc_type, "-d", "x", address=PROXY, path="/echo.Echo/Say")[1], 505)

    def raw(*args, body=None):
        sent = ["-X", "POST"] if body is None else ["--data-binary", "@-"]
        run = subprocess.run(
            ["curl", "-sS", "-m", "10", h2, "-D", "-", "-o", "/dev/null", *grpc_type, *args, *sent,
             f"http://{PROXY}/echo.Echo/Say"], input=body, capture_output=True)
        return run.stdout.decode().lower()

    has("no message", raw(), "grpc-status: 13")
    has("cut off", raw(body=b"\0\0\0\0\x05ab"), "grpc-status: 13")
    has("two messages", raw(body=b"\0\0\0\0\0" * 2), "grpc-status: 13")
    has("unknown flags", raw(body=b"\7\0\0\0\0"), "grpc-status: 13")
    has("compressed", raw(body=b"\1\0\0\0\0"), "no grpc-encoding")
    has("encoding", raw("-H", "grpc-encoding: br"), "grpc-accept-encoding: identity,gzip")
    has("timeout", raw("-H", "grpc-timeout: 5x"), "grpc-status: 3")
    has("json", raw("-H", "content-type: application/grpc+json", body=b"\0\0\0\0\2{}"), "application/grpc+json")


def gone_callers():
    host, port = API.split(":")
    for request in (b"GET /echo/count HTTP/1.1\r\nhost: %b\r\ncount: 1000\r\nsize: 60000\r\n\r\n",
                    b"POST /echo/say HTTP/1.1\r\nhost: %b\r\ncontent-length: 100\r\n\r\nhalf"):
        with socket.create_connection((host, int(port)), timeout=5) as s:
            s.sendall(request % API.encode())
            time.sleep(0.1)
    with socket.create_connection((host, int(port)), timeout=5) as s:  # several requests at once
        s.sendall((b"GET /echo/say?text=%d HTTP/1.1\r\nhost: x\r\n\r\n" * 3 % (1, 2, 3)))
        got = b""
        while got.count(b'"}') < 3:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
        check("pipelined", [got.find(b'"%d"' % i) > 0 for i in (1, 2, 3)], [True] * 3)


grpc_calls(PROXY)
grpc_calls(API)
http_calls("--http1.1")
http_calls("--http2-prior-knowledge")
trust()
wrong_doors()
gone_callers()
for failure in failures:
    print(failure, flush=True)
sys.exit(1 if failures else 0)
