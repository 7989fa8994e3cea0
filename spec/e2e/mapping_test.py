#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What requests over HTTP become: the rows of mapping.md, each a request and the message that the service gets."""

import http.client
import json
import pathlib
import re
import unittest

from google.protobuf import descriptor_pool

import harness
import reflection_test
from harness import SERVICES, SLOW

TABLE = pathlib.Path(__file__).with_name("mapping.md")
BOUNDARY = "----form"


def rows():
    """(section, request, spans of `with`, becomes) of each row."""
    section = None
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0].startswith("`"):
            yield section, cells[0].strip("`"), re.findall(r"`([^`]*)`", cells[1]), cells[2]


def part(text):
    """A part of multipart/form-data: NAME=VALUE, NAME=@FILE;TYPE=CONTENT or NAME=;TYPE=CONTENT."""
    name, value = text.split("=", 1)
    head = f'Content-Disposition: form-data; name="{name}"'
    named = re.fullmatch(r"(@[^;]*)?;([\w/]+)=(.*)", value, re.DOTALL)
    if named:
        file, kind, value = named.groups()
        if file:
            head += f'; filename="{file[1:]}"'
        head += f"\r\nContent-Type: {kind}"
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n"


def build(spans):
    """Headers and body of what stands in a row's `with`."""
    headers, parts, body = {}, [], None
    for span in spans:
        header = re.fullmatch(r"([a-z-]+): (.*)", span)
        if header and header[1] == "form":
            parts.append(part(header[2]))
        elif header:
            headers[header[1]] = header[2]
        else:
            body = span
    if parts:
        headers["content-type"] = "multipart/form-data; boundary=" + BOUNDARY
        body = "".join(parts) + f"--{BOUNDARY}--\r\n"
    elif body is not None:
        headers.setdefault("content-type", "application/json")
    return headers, body


TAKER = """syntax = "proto3";
package taker;
service Taker { rpc Call(Empty) returns (Empty); rpc Other(Empty) returns (Empty); rpc Mine(Empty) returns (Empty); }
message Empty { string id = 1; }
"""
TAKER_MAIN = """local mica = require "mica"
local Taker = {}
for _, name in ipairs { "Call", "Other", "Mine" } do Taker[name] = function() return { id = name } end end
return mica.service {
  handlers = { Taker = Taker }, public = true, json = { names = "camel", int64 = "number" },
  endpoints = {
    ["Taker.Call"] = { path = "POST /mapping/call" },
    ["Taker.Other"] = { path = "GET /m/read/{id}" },
    ["Taker.Mine"] = { path = { "GET /m/mine", "GET /taker/call" } },
  },
}
"""


class Table(harness.Case):
    """Tries rows of the table. `form`: what of `accept` makes a server print what the table shows."""
    form = {}

    def ask(self, request, spans):
        method, path = request.split(" ", 1)
        headers, body = build(spans)
        headers = {**self.form, **headers}
        self.connection.request(method, path, None if body is None else body.encode(), headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def check(self, section, without=None):
        host, port = self.server.api.split(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=10 * SLOW)
        count = 0
        for title, request, spans, becomes in rows():
            if title != section or (without and without in request):
                continue
            count += 1
            with self.subTest(request=request, spans=spans):
                status, text = self.ask(request, spans)
                wanted = re.match(r"(\d{3})(?: `(.*)`)?$", becomes)
                if wanted:
                    self.assertEqual(status, int(wanted[1]), text)
                    self.assertIn(wanted[2] or "", json.loads(text)["detail"] if text else "")
                else:
                    self.assertEqual((status, text), (200, becomes.strip("`")))
        self.connection.close()
        self.assertGreater(count, 5)


class Mapping(Table):
    services = [SERVICES / "mapping"]


class Elsewhere(Table):
    """The same of a service that runs elsewhere: what main.lua says is not known, what the .proto says is."""
    form = {"accept": "application/json; defaults=false"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = harness.Server([SERVICES / "mapping"])
        cls.other.start()
        answer = cls.server.mica("register", "mapping", cls.other.proxy, "--ttl", "1h", "--public")
        assert answer.returncode == 0, answer.stderr

    @classmethod
    def tearDownClass(cls):
        try:
            cls.other.stop()
        finally:
            super().tearDownClass()

    def test_paths(self):
        self.check("Path templates", without="/m/told")

    def test_queries(self):
        self.check("Queries")

    def test_bodies(self):
        self.check("Bodies")

    def test_forms(self):
        self.check("Forms")
        self.check("Forms with files")


class Around(harness.Case):
    """What is no row: heads of answers, streams, long uploads, two services that want one path."""
    services = [SERVICES / "mapping"]

    @classmethod
    def setUpClass(cls):
        taker = harness.write_service(harness.work_folder("taker"), "taker", TAKER, TAKER_MAIN)
        cls.services = [SERVICES / "mapping", taker]
        super().setUpClass()

    def test_methods_of_a_path(self):
        answer = self.server.http("PATCH", "/m/read/7", b"{}")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, PUT, DELETE, LINK"))
        answer = self.server.http("HEAD", "/m/read/7")
        self.assertEqual((answer.status, answer.headers["content-length"], answer.body), (200, "10", b""))

    def test_streams(self):
        answer = self.server.http("GET", "/m/count/2?camel_case=x", headers={"accept": "application/x-ndjson; names=camel"})
        self.assertEqual(answer.body, b'{"small":1,"camelCase":"x"}\n{"small":2,"camelCase":"x"}\n')
        answer = self.server.http("POST", "/m/count/1", b'{"page":{"limit":3}}', {"content-type": "application/json"})
        self.assertEqual(answer.body, b'{"limit":3}\n')
        lines = b'{"title":"a"}\n{"title":"b","count":3}\n'
        answer = self.server.http("POST", "/m/store/4?title=q&text=q", lines, {"content-type": "application/x-ndjson"})
        self.assertEqual(answer.json["messages"], [{"title": "a", "text": "q", "count": 4}, {"title": "b", "count": 3}])

    def test_binary_form(self):
        wire = {"content-type": "application/protobuf"}
        answer = self.server.http("PUT", "/m/read/7?name=query&note=query", b"\x0a\x018\x12\x04body", wire)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.body, b"\x0a\x017\x12\x04body\xb2\x01\x05query")
        answer = self.server.http("PATCH", "/m/pages/7", b"\x08\x03", wire)
        self.assert_error(answer, 400, detail="the body of this path is no whole message")

    def test_a_long_upload_takes_no_memory(self):
        host, port = self.server.api.split(":")
        size = 64 << 20
        head = part("title=x") + f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n'
        tail = f"\r\n--{BOUNDARY}--\r\n"
        connection = http.client.HTTPConnection(host, int(port), timeout=60 * SLOW)
        connection.putrequest("POST", "/mapping/weigh")
        connection.putheader("content-type", "multipart/form-data; boundary=" + BOUNDARY)
        connection.putheader("content-length", str(len(head) + size + len(tail)))
        connection.endheaders(head.encode())
        before, most = self.server.memory(), 0
        for i in range(size >> 20):
            connection.send(b"\r\n--for " * (1 << 17))
            if i % 8 == 0:
                most = max(most, self.server.memory())
        connection.send(tail.encode())
        answer = json.loads(connection.getresponse().read())
        connection.close()
        self.assertEqual(answer.get("bytes"), str(size), answer)
        if not harness.SANITIZER:
            self.assertLess(most - before, 24 << 20)

    def test_whose_path_it_is(self):
        self.assertEqual(self.server.post("/mapping/call", b'{"id":"1"}').json, {"id": "1"})  # its name says so
        self.assertEqual(self.server.http("GET", "/m/read/7").json, {"id": "7"})  # mapping came first
        self.assertEqual(self.server.http("GET", "/m/mine").json, {"id": "Mine"})
        self.assertEqual(self.server.http("GET", "/taker/call").json, {"id": "Mine"})  # its own it may take
        self.assertEqual(self.server.post("/taker/call", b"{}").json, {"id": "Call"})
        self.server.wait_log("the path belongs to another service.*/mapping/call")
        self.server.wait_log("two services answer the same path.*/m/read/{id}")

    def test_reflection_has_the_option(self):
        with reflection_test.Client(self.server) as client:
            files = client.files(file_containing_symbol="mapping.Mapping")
            names = {file.name for file in files}
            self.assertLess({"google/api/annotations.proto", "google/api/http.proto", "google/protobuf/descriptor.proto"}, names)
            pool = reflection_test.load(descriptor_pool.DescriptorPool(), files)
            rule = pool.FindExtensionByName("google.api.http")
            self.assertEqual((rule.number, rule.message_type.full_name), (72295728, "google.api.HttpRule"))
            query = client.pb.ExtensionRequest(containing_type="google.protobuf.MethodOptions", extension_number=72295728)
            self.assertEqual(client.files(file_containing_extension=query)[0].name, "google/api/annotations.proto")

    def test_bundles(self):
        folder = harness.work_folder("bundle")
        answer = self.server.mica("build", str(SERVICES / "mapping"), "--out", str(folder / "m.mica"))
        self.assertEqual(answer.returncode, 0, answer.stderr)
        answer = self.server.mica("run", str(folder / "m.mica"), "--name", "packed")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(self.server.http("GET", "/packed/Mapping/Read?id=7").json, {"id": "7"})

    def test_describe(self):
        text = self.server.mica("describe", "mapping", "told").stdout
        self.assertIn("Paths:\n  POST /mapping/told\n  GET /m/told/{id}\n  POST /m/told\n"
                      "  PUT /m/told/{page.cursor}/page  (body: page, answers: page)\n", text)


class Faults(unittest.TestCase):
    """Faulty paths stop a deployment, with file and line."""

    def fault(self, rule="", path=""):
        proto = ('syntax = "proto3";\npackage t;\nimport "google/api/annotations.proto";\nservice T {\n'
                 "  rpc Call(Ask) returns (Ask) {\n    " + rule + "\n  }\n}\nmessage Ask { string id = 1; repeated string tags = 2; }\n")
        main = ('local mica = require "mica"\nreturn mica.service {\n  handlers = { T = { Call = function(_, r) return r end } },\n'
                '  endpoints = {\n    ["T.Call"] = { ' + path + " },\n  },\n}\n")
        answer = harness.mica("check", str(harness.write_service(harness.work_folder("t"), "t", proto, main)))
        return answer.returncode, answer.stdout + answer.stderr

    def test_faults(self):
        option = "option (google.api.http) = { %s };"
        for fault, said in [
                ({"rule": option % 'get: "/t/{id"'}, 'proto/t.proto:6: option (google.api.http) of T.Call: path template "/t/{id": a "}"'),
                ({"rule": option % 'get: "/t/{idd}"'}, 'variable {idd}: t.Ask has no field "idd" (did you mean "id"?)'),
                ({"rule": option % 'get: "/t/{tags}"'}, "variable {tags}: a list cannot be written in a path"),
                ({"rule": option % 'get: "/t" body: "*"'}, "proto/t.proto:6: option (google.api.http) of T.Call: body: a GET has none"),
                ({"rule": option % 'gett: "/t"'}, 'proto/t.proto:6:'),
                ({"path": 'path = "GET /t/{idd}"'}, 'main.lua:5: endpoints["T.Call"].path: variable {idd}: t.Ask has no field'),
                ({"path": 'path = "GET t"'}, 'main.lua:5: endpoints["T.Call"].path: write "GET /posts/{id}"'),
                ({"path": "empty = 204"}, 'main.lua:5: endpoints["T.Call"].empty: an answer of t.Ask is never empty')]:
            with self.subTest(said=said):
                code, text = self.fault(**fault)
                self.assertNotEqual(code, 0)
                self.assertIn(said, text)
        self.assertEqual(self.fault(option % 'get: "/t/{id}"', 'path = "DELETE /t/{id}"')[0], 0)


def add_tests():
    """One test a section of the table."""
    for section in dict.fromkeys(row[0] for row in rows()):
        name = "test_" + re.sub(r"\W+", "_", section.lower()).strip("_")
        setattr(Mapping, name, lambda self, section=section: self.check(section))


add_tests()

if __name__ == "__main__":
    harness.main()
