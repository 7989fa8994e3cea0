#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Raw HTTP handlers through the front door: requests, answers, bodies of any length, static files.

MICA_WEB_BYTES says how long the long bodies are: 67108864, or 1073741824 for the 1 GB that docs/http.md speaks of.
"""

import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import harness
from certificates import Authority
from harness import EXAMPLES, SERVICES, SLOW, curl

LONG = int(os.environ.get("MICA_WEB_BYTES", 64 << 20))
GROWTH = 24 << 20  # of the server's memory at its peak, while long bodies pass (a sanitizer keeps what was freed for a while)


def forget_peak(server):
    """From now on the peak of the server's memory is counted anew."""
    pathlib.Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def peak(server):
    """The most resident bytes since then."""
    text = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text).group(1)) * 1024


def raw(server, text, wait=10):
    """Sends bytes and reads to the end of the connection."""
    with server.connect() as connection:
        connection.settimeout(wait * SLOW)
        connection.sendall(text)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


class Raw(harness.Case):
    services = [SERVICES / "raw", EXAMPLES / "site"]

    def get(self, path, headers=None, method="GET"):
        return self.server.http(method, "/raw" + path, headers=headers)

    def post(self, path, body, headers=None):
        return self.server.http("POST", "/raw" + path, body, headers)

    def url(self, path):
        return f"http://{self.server.api}/raw{path}"


class Requests(Raw):
    def test_what_a_handler_sees(self):
        answer = self.get("/all?a=1&tag=x&tag=y+z&a=2", {
            "Cookie": "a=1; mica-token=secret; b=x%20y", "Authorization": "Bearer secret", "X-Y": "1", "TE": "trailers",
            "User-Agent": "test"}).json
        self.assertEqual(answer["query"], {"a": "1", "tag": "x"})
        self.assertEqual(answer["tags"], ["x", "y z"])
        self.assertEqual(answer["cookies"], {"a": "1", "b": "x y"})
        self.assertEqual(answer["headers"], {"accept-encoding": "identity", "cookie": "a=1; b=x%20y", "host": self.server.api,
                                             "user-agent": "test", "x-y": "1"})
        expected = {"method": "GET", "path": "/all", "url": "/raw/all?a=1&tag=x&tag=y+z&a=2", "base": "/raw",
                    "host": self.server.api, "scheme": "http", "params": {}, "kind": "http", "endpoint": "GET /all",
                    "account": "admin", "around": "http"}
        self.assertEqual({key: answer[key] for key in expected}, expected)

    def test_variables_and_paths(self):
        self.assertEqual(self.get("/all/a%20b%C3%A9").json["params"], {"id": "a bé"})
        rest = self.get("/rest/a//b/./c/../d/?x").json
        self.assertEqual((rest["params"], rest["path"]), ({"path": "a/b/d"}, "/rest/a/b/d/"))
        self.assertEqual(self.get("/rest").json["params"], {"path": ""})
        self.assert_error(self.get("/all/a%2Fb"), 400, "api", "no encoded slash")
        self.assert_error(self.get("/all/a%00b"), 400, "api", "no NUL")

    def test_endpoints_and_literals_come_before_templates(self):
        self.assertEqual(self.get("/ping").json, {"from": "endpoint"})
        self.assertEqual(self.get("/nothing-else").body, b"template nothing-else")
        self.assertEqual(self.get("/fails").status, 404)
        self.assertEqual(self.get("/").body, b"<p>page")
        self.assertEqual(self.server.http("GET", "/raw").headers["content-type"], "text/html; charset=utf-8")

    def test_methods(self):
        refused = self.get("/echo", method="PUT")
        self.assert_error(refused, 405, "api", 'not for PUT')
        self.assertIn("POST", refused.headers["allow"])
        head = self.get("/all", method="HEAD")
        self.assertEqual((head.status, head.body, head.headers["content-type"]), (200, b"", "application/json"))
        self.assertGreater(int(head.headers["content-length"]), 100)
        head = self.get("/generated/5", method="HEAD")
        self.assertEqual((head.status, head.body, head.headers.get("content-length")), (200, b"", None))

    def test_accounts(self):
        self.assertEqual(self.get("/private").body, b"admin")
        stranger = {"Host": "elsewhere.example"}
        self.assert_error(self.get("/private", stranger), 401, "raw.GET /private", "an account is required")
        self.assertEqual(self.get("/all", stranger).json["account"], "nobody")
        self.assert_error(self.get("/private", {"Origin": "https://evil.example"}), 401)

    def test_bodies_are_what_was_sent(self):
        body = bytes(range(256)) * 5000  # longer than what goes in one message
        for given in b"", b"x", bytes(range(256)), body:
            for options in [], ["-H", "Transfer-Encoding: chunked"], ["--http2-prior-knowledge"]:
                done = subprocess.run(["curl", "-sS", "-m", str(20 * SLOW), "--data-binary", "@-", *options,
                                       self.url("/echo")], input=given, capture_output=True, check=True)
                self.assertEqual(done.stdout, given)

    def test_json_bodies(self):
        answer = self.post("/json", {"a": [1, None]})
        self.assertEqual((answer.status, answer.json), (201, {"a": [1, None]}))
        self.assert_error(self.post("/json", "{"), 400, "raw.POST /json", "json: ")
        self.assert_error(self.post("/json", ""), 400, "raw.POST /json", "the body is empty")

    def test_forms(self):
        answer = self.post("/form", "a=1&b=x+y&a=%32", {"Content-Type": "application/x-www-form-urlencoded"}).json
        self.assertEqual(answer, {"fields": {"a": "1", "b": "x y"}, "files": {}, "all": ["1", "2"]})
        content = os.urandom(300000)
        path = harness.work_folder("web") / "photo.jpg"
        path.write_bytes(content)
        answer = curl("-F", "a=1", "-F", f"f=@{path};type=image/jpeg", "-F", "a=2", self.url("/form"))
        self.assertEqual(json.loads(answer), {
            "fields": {"a": "1"}, "all": ["1", "2"],
            "files": {"f": {"name": "photo.jpg", "type": "image/jpeg", "sha256": hashlib.sha256(content).hexdigest()}}})
        answer = curl("-F", "a=1", "-F", f"f=@{path}", self.url("/parts"))
        self.assertEqual(json.loads(answer), [
            {"field": "a", "type": "text/plain", "bytes": 1},
            {"field": "f", "name": "photo.jpg", "type": "image/jpeg", "bytes": 300000}])
        self.assert_error(self.post("/form", "x", {"Content-Type": "text/csv"}), 415, "raw.POST /form", "is no form")
        self.assert_error(self.post("/form", "--x", {"Content-Type": "multipart/form-data; boundary=B"}), 400,
                          "raw.POST /form", "ends before its last boundary")

    def test_a_body_that_nobody_reads(self):
        answer = self.post("/ignore", b"x" * 1_000_000)
        self.assertEqual((answer.status, answer.body), (200, b"ignored"))


class Answers(Raw):
    def test_redirects_and_cookies(self):
        jar = harness.work_folder("web") / "jar"
        redirected = self.get("/redirect")
        self.assertEqual((redirected.status, redirected.headers["location"]), (303, "/raw/cookie?from=redirect"))
        answer = curl("-L", "-c", str(jar), "-b", str(jar), self.url("/redirect"))
        self.assertEqual(json.loads(answer), {"one": "a b;c", "two": "2"})
        self.assertRegex(jar.read_text(), r"#HttpOnly_127.0.0.1\tFALSE\t/raw\tFALSE\t0\tone\ta%20b%3Bc")

    def test_headers(self):
        answer = curl("-i", self.url("/headers"))
        head, body = answer.split("\n\n" if "\r" not in answer else "\r\n\r\n", 1)
        lines = sorted(line.lower() for line in head.replace("\r", "").split("\n"))
        self.assertEqual(body, "I'm a teapot")
        self.assertIn("content-length: 12", lines)
        self.assertIn("set-cookie: own=1", lines)
        self.assertEqual([line for line in lines if line.startswith("x-many")], ["x-many: 1", "x-many: 2"])
        self.assertIn("x-ctx: 1", lines)
        self.assertTrue(lines[-1].startswith("x-trailer: 2") or "x-trailer: 2" in lines, lines)
        for dropped in "connection", "transfer-encoding", "set-cookie: mica":
            self.assertEqual([line for line in lines if line.startswith(dropped)], [])

    def test_no_content(self):
        answer = self.get("/none")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertNotIn("content-length", answer.headers)

    def test_errors(self):
        self.assert_error(self.get("/fails"), 404, "raw.GET /fails", 'no page "x"')
        self.assert_error(self.get("/bug"), 500, "raw.GET /bug", "^internal error$")
        self.assert_error(self.get("/wrong"), 500, "raw.GET /wrong", "^internal error$")
        self.assertTrue(self.server.wait_log(r'an answer has no "titel": for JSON write mica.web.json'))
        for path in "/kettle", "/teapot":  # a handler and an endpoint
            teapot = self.get(path)
            self.assertEqual((teapot.status, teapot.json["code"]), (418, 418), path)

    def test_statuses_are_counted(self):
        self.get("/fails"), self.get("/headers"), self.get("/generated/5")
        page = self.server.http("GET", "/metrics").body.decode()
        for endpoint, code in ("GET /fails", "NOT_FOUND"), ("GET /headers", "INVALID_ARGUMENT"), ("GET /generated/{n}", "OK"):
            self.assertIn(f'service="raw",endpoint="{endpoint}",code="{code}"', page)

    def test_line_breaks_do_not_get_into_headers(self):
        for value in "a%0D%0Aset-cookie:%20x=1", "a%0Ab", "a%0Db", "a%00b", "a%7F":
            answer = self.get("/inject?value=" + value)
            self.assert_error(answer, 500, "raw.GET /inject", "^internal error$")
            self.assertNotIn("set-cookie", answer.headers)
            self.assert_error(self.get("/goto?to=/x" + value), 500, "raw.GET /goto", "^internal error$")
        self.assertEqual(self.get("/inject?value=a%09b").headers["x-a"], "a\tb")

    def test_a_tag_of_ones_own(self):
        self.assertEqual(self.get("/tagged").body, b"tagged")
        again = self.get("/tagged", {"If-None-Match": '"v1"'})
        self.assertEqual((again.status, again.body, again.headers["etag"]), (304, b"", '"v1"'))

    def test_iterators(self):
        self.assertEqual(len(self.get("/generated/200000").body), 200000)
        self.assertEqual(self.get("/generated/0").body, b"")
        sized = self.get("/sized/100001")
        self.assertEqual((len(sized.body), sized.headers["content-length"]), (100001, "100001"))
        self.assertNotIn("transfer-encoding", sized.headers)
        with self.assertRaises(http.client.IncompleteRead):  # an error in the middle is no end
            self.get("/broken")
        done = subprocess.run(["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", self.url("/broken")],
                              capture_output=True, text=True, timeout=20 * SLOW)
        self.assertNotEqual(done.returncode, 0)

    def test_the_connection_stays(self):
        host, port = self.server.api.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        connection.connect()
        local = connection.sock.getsockname()
        for path, status in [("/generated/100000", 200), ("/none", 204), ("/static/digits.txt", 200), ("/fails", 404),
                             ("/redirect", 303), ("/all", 200)]:
            connection.request("GET", "/raw" + path)
            answer = connection.getresponse()
            answer.read()
            self.assertEqual((path, answer.status), (path, status))
            self.assertEqual(connection.sock.getsockname(), local)
        connection.close()

    def test_the_example(self):
        site = f"http://{self.server.api}/site"
        self.assertEqual(self.server.http("GET", "/site/").status, 200)
        self.assertIn("303", curl("-i", "-d", "name=Ada", "-d", "text=<b>Hello", site + "/entries").split("\n")[0])
        self.assertIn("&lt;b&gt;Hello", curl(site + "/"))
        self.assertEqual(json.loads(curl(site + "/entries")), {"entries": [{"name": "Ada", "text": "<b>Hello"}]})
        signature = hmac.new(b"whsec_example", b'{"text":"built"}', "sha256").hexdigest()
        hooked = self.server.http("POST", "/site/hook", '{"text":"built"}', {"X-Signature": signature})
        self.assertEqual(hooked.status, 204, hooked)
        self.assertEqual(self.server.http("POST", "/site/hook", '{"text":"Built"}', {"X-Signature": signature}).status, 403)
        self.assertTrue(curl(site + "/numbers/100000").endswith("\n100000\n"))
        self.assertEqual(self.server.http("GET", "/site/static/site.css").headers["content-type"], "text/css; charset=utf-8")


class LongBodies(Raw):
    """Of any length, in little memory; who is slow holds the other side up; who goes ends it."""

    def setUp(self):
        self.before = self.server.memory()
        forget_peak(self.server)

    def assert_little_memory(self):
        growth = peak(self.server) - self.before
        if not harness.SANITIZER:
            self.assertLess(growth, GROWTH, f"{growth >> 20} MB")

    def upload(self, *options):
        source = subprocess.Popen(["head", "-c", str(LONG), "/dev/zero"], stdout=subprocess.PIPE)
        done = subprocess.run(["curl", "-sS", "-m", str(300 * SLOW), "-T", "-", *options, self.url("/count")],
                              stdin=source.stdout, capture_output=True, check=True)
        source.stdout.close()
        source.wait()
        self.assertEqual(int(done.stdout), LONG)
        self.assert_little_memory()

    def download(self, *options):
        done = subprocess.run(["curl", "-sS", "-m", str(300 * SLOW), "-o", "/dev/null", "-w", "%{size_download}", *options,
                               self.url(f"/generated/{LONG}")], capture_output=True, text=True, check=True)
        self.assertEqual(int(done.stdout), LONG)
        self.assert_little_memory()

    def test_upload(self):
        self.upload()

    def test_upload_by_http2(self):
        self.upload("--http2-prior-knowledge")

    def test_download(self):
        self.download()

    def test_download_by_http2(self):
        self.download("--http2-prior-knowledge")

    def seen(self):
        return self.server.post("/raw/seen").json

    def wait_seen(self, key, count):
        end = time.monotonic() + 10 * SLOW
        while self.seen().get("ended", []).count(key) < count and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(self.seen()["ended"].count(key), count)

    def test_a_slow_reader_stops_the_service(self):
        made = int(self.seen()["made"])
        with self.server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            connection.sendall(b"GET /raw/endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            last, still = -1, 0
            while still < 5:
                time.sleep(0.05 * SLOW)
                now = int(self.seen()["made"])
                still, last = (still + 1, last) if now == last else (0, now)
            self.assertLess(last - made, 16 << 20)
            self.assertGreater(last - made, 64 << 10)
        self.wait_seen("GET /endless", 1)
        self.assert_little_memory()

    def test_a_client_that_goes_ends_its_upload(self):
        with self.server.connect() as connection:
            connection.sendall(b"POST /raw/count HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 100000)
            time.sleep(0.1)
        self.wait_seen("POST /count", 1)

    def test_bodies_that_come_slowly(self):
        with self.server.connect() as connection:
            connection.sendall(b"POST /raw/count HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                               b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(20):
                connection.sendall(b"3\r\nabc\r\n")
                time.sleep(0.01)
            connection.sendall(b"0\r\n\r\n")
            self.assertTrue(connection.makefile("rb").read().endswith(b"\r\n\r\n60"))


class Files(Raw):
    def test_types_and_caching(self):
        for path, kind in [("/static/a.css", "text/css; charset=utf-8"), ("/static/x.png", "image/png"),
                           ("/static/odd%20name.bin", "application/octet-stream"), ("/static/", "text/html; charset=utf-8"),
                           ("/static/docs/", "text/html; charset=utf-8"), ("/one", "text/plain; charset=utf-8")]:
            answer = self.get(path)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind), path)
            self.assertRegex(answer.headers["etag"], '^"[0-9a-f]{32}"$')
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["cache-control"], "no-cache" if path == "/one" else "public, max-age=3600")
            head = self.get(path, method="HEAD")
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(answer.body)))
            same = self.get(path, {"If-None-Match": f'"x", {answer.headers["etag"]}'})
            self.assertEqual((same.status, same.body, same.headers["etag"]), (304, b"", answer.headers["etag"]))

    def test_ranges(self):
        def ranged(value, **more):
            return self.get("/static/digits.txt", {"Range": value, **more})
        for value, content, where in [("bytes=0-3", b"0123", "0-3"), ("bytes=7-", b"789", "7-9"), ("bytes=-2", b"89", "8-9"),
                                      ("bytes=9-99", b"9", "9-9")]:
            answer = ranged(value)
            self.assertEqual((answer.status, answer.body), (206, content))
            self.assertEqual(answer.headers["content-range"], f"bytes {where}/10")
        refused = ranged("bytes=10-")
        self.assertEqual((refused.status, refused.headers["content-range"]), (416, "bytes */10"))
        for ignored in "lines=1-2", "bytes=3-2", "bytes=0-9,0-9":
            self.assertEqual((ranged(ignored).status, ranged(ignored).body), (200, b"0123456789"))
        tag = self.get("/static/digits.txt").headers["etag"]
        self.assertEqual(ranged("bytes=0-0", **{"If-Range": tag}).body, b"0")
        self.assertEqual(ranged("bytes=0-0", **{"If-Range": '"other"'}).body, b"0123456789")
        self.assertEqual(ranged("bytes=0-0", **{"If-None-Match": tag}).status, 304)
        self.assertEqual(ranged("bytes=0-0", **{"If-Match": '"other"'}).status, 412)
        self.assertEqual(self.get("/static/digits.txt", {"Range": "bytes=0-0"}, "HEAD").headers["content-length"], "10")

    def test_several_ranges(self):
        answer = self.get("/static/digits.txt", {"Range": "bytes=0-1,-3"})
        self.assertEqual(answer.status, 206)
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
        boundary = answer.headers["content-type"].removeprefix("multipart/byteranges; boundary=").encode()
        parts = answer.body.split(b"--" + boundary)
        self.assertEqual(parts[0], b"")
        self.assertEqual(parts[1:], [
            b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes 0-1/10\r\n\r\n01\r\n",
            b"\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-range: bytes 7-9/10\r\n\r\n789\r\n", b"--\r\n"])

    def test_folders(self):
        self.assertEqual(self.get("/static/docs").headers["location"], "/raw/static/docs/")
        self.assertEqual(self.get("/static?x=1").headers["location"], "/raw/static/?x=1")
        self.assertEqual(self.get("/found/").body, b"<h1>docs</h1>\n")
        missing = self.get("/found/nothing")
        self.assertEqual((missing.status, missing.body), (404, b"no /found/nothing"))
        self.assert_error(self.get("/static/nothing"), 404, "raw.GET /static/*path", 'no file "nothing"')

    def test_no_way_out(self):
        for path in ["/static/../main.lua", "/static/..%2Fmain.lua", "/static/%2e%2e/main.lua", "/static/....//main.lua",
                     "/static/..\\main.lua", "/static/..%5cmain.lua", "/static//main.lua", "/static/./../proto/raw.proto",
                     "/static/main.lua", "/static/digits.txt/", "/static/digits.txt%00.css", "/static/docs/../../main.lua",
                     "/static/%252e%252e/main.lua", "/static/C:/main.lua", "/static//etc/passwd", "/static/~root/x"]:
            received = raw(self.server, f"GET /raw{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            status = int(received.split()[1])
            self.assertNotIn(b"mica.service", received, path)
            self.assertNotIn(b"root:", received, path)
            if path == "/static/digits.txt/":
                self.assertEqual(status, 200)  # a slash at the end of a file is only cleaned
            else:
                self.assertIn(status, (200, 400, 404), path)
                self.assertFalse(status == 200 and b"template" not in received, path)


class OverTls(harness.Case):
    @classmethod
    def setUpClass(cls):
        authority = Authority()
        own = authority.issue("/CN=server")
        cls.server = harness.Server([SERVICES / "raw"], ["--tls-cert", own.cert, "--tls-key", own.key],
                                    ca=authority.cert).start()

    def test_scheme_and_cookies(self):
        self.assertEqual(self.server.http("GET", "/raw/all").json["scheme"], "https")
        self.assertRegex(self.server.http("GET", "/raw/redirect").headers["set-cookie"],
                         "two=2; Path=/raw; Secure; SameSite=Lax")


class Deployed(harness.Case):
    """The same as a bundle and with several instances; limits."""

    args = ["--max-body", "100KB"]

    def assert_too_long(self, answer, endpoint, detail):
        self.assertEqual((answer.status, answer.json["code"], answer.json["id"]), (413, 413, endpoint), answer)
        self.assertRegex(answer.json["detail"], detail)

    def test_instances_and_bundles(self):
        done = self.server.mica("run", SERVICES / "raw", "--instances", "3")
        self.assertEqual(done.returncode, 0, done.stderr)
        tag = self.server.http("GET", "/raw/static/digits.txt").headers["etag"]
        for i in range(6):
            answer = self.server.http("PUT", "/raw/count", b"x" * (100_000 + i))
            self.assertEqual(answer.body, str(100_000 + i).encode())
            self.assertEqual(len(self.server.http("GET", "/raw/generated/200000").body), 200_000)
            self.assertEqual(self.server.http("GET", "/raw/static/digits.txt").headers["etag"], tag)
        self.limits()
        self.described()

    def limits(self):
        fits, long = b"x" * 102_400, b"x" * 102_401
        self.assertEqual(self.server.http("POST", "/raw/echo", fits).body, fits)
        for body in long, iter([long]):  # an iterator goes in chunks
            answer = self.server.http("POST", "/raw/echo", body)
            self.assert_too_long(answer, "raw.POST /echo", r"limit of 102400 bytes: read it with req:chunks\(\)")
        self.assertEqual(self.server.http("PUT", "/raw/count", long).body, b"102401")

    def described(self):
        text = self.server.mica("describe", "raw").stdout
        self.assertRegex(text, r"POST\s+/raw/echo")
        self.assertRegex(text, r"GET\s+/raw/static/\*path")
        listed = json.loads(self.server.mica("describe", "raw", "-o", "json").stdout)
        self.assertIn({"key": "GET /all", "public": True}, listed["http"])
        self.assertIn("GET /private", [handler["key"] for handler in listed["http"] if not handler.get("public")])

    def test_deadlines_end_with_the_head(self):
        folder = harness.write_service(
            harness.work_folder("web"), "late", 'syntax = "proto3"; package late;',
            'local mica = require "mica"\nlocal function wait() mica.sleep(0.6) end\n'
            'return mica.service { public = true, limits = { deadline = "200ms" }, http = { ["GET /head"] = wait,\n'
            '["GET /body"] = function() local n = 0 return { body = function() n = n + 1\n'
            'if n == 2 then wait() end return n < 3 and "x" or nil end } end } }')
        self.assertEqual(self.server.mica("run", folder).returncode, 0)
        self.assert_error(self.server.http("GET", "/late/head"), 504, "late.GET /head", "deadline")
        self.assertEqual(self.server.http("GET", "/late/body").body, b"xx")

    def test_a_limit_of_the_service(self):
        folder = harness.write_service(
            harness.work_folder("web"), "small", 'syntax = "proto3"; package small;',
            'local mica = require "mica"\nlocal function n(_, req) local n = 0 for c in req:chunks() do n = n + #c end\n'
            'return mica.web.text(tostring(n)) end\n'
            'return mica.service { public = true, limits = { body = "50KB" }, http = { ["POST /n"] = n,\n'
            '["POST /text"] = function(_, req) return mica.web.text(tostring(#req:text())) end } }')
        self.assertEqual(self.server.mica("run", folder).returncode, 0)
        for path in "n", "text":
            self.assertEqual(self.server.http("POST", "/small/" + path, b"x" * 51_200).body, b"51200")
            for body in b"x" * 51_201, iter([b"x" * 60_000]):
                answer = self.server.http("POST", "/small/" + path, body)
                self.assert_too_long(answer, "small.POST /" + path, "limit of 51200 bytes$")


del Raw
if __name__ == "__main__":
    harness.main()
