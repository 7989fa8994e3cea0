#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""OpenAPI: documents that are valid, and that are true.

`torture` has every type of field, messages in themselves, and names that packages share. Each of its endpoints answers what it
is sent, so what a schema admits must be accepted, and what comes back must be what the schema of the answer says.
"""

import json
import pathlib
import random
import subprocess
import unittest

import harness
import jsonschema
from harness import EXAMPLES, ROOT, SERVICES, SLOW
from openapi_client import Document, Maker
from public_test import outer_address

SEED = 110661
EVERY_SERVICE = sorted(p.parent for folder in (EXAMPLES, SERVICES) for p in folder.glob("*/main.lua")
                       if p.parent.name != "interop_client")  # which wants a server to dial


def walk(node):
    yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(inner)


class Documents(harness.Case):
    """The documents of all services of the tree."""

    services = EVERY_SERVICE

    def document(self, path):
        answer = self.server.http("GET", path)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "application/json")
        return answer.json

    def test_valid(self):
        folder = harness.work_folder("openapi")
        names = [p.name for p in EVERY_SERVICE] + ["registry", "runtime", "api", "proxy"]
        paths = {name: f"/{name}/openapi.json" for name in names} | {"all": "/openapi.json"}
        files, checked = [], set()
        for name, path in paths.items():
            document = self.document(path)
            self.assertGreater(len(document["paths"]), 0, name)
            for schema in document["components"]["schemas"].values():
                if json.dumps(schema) not in checked:
                    checked.add(json.dumps(schema))
                    jsonschema.Draft202012Validator.check_schema(schema)
            for node in walk(document):
                if isinstance(node, dict) and isinstance(node.get("$ref"), str):
                    Document(document).resolve(node)
            files.append(folder / f"{name}.json")
            files[-1].write_text(json.dumps(document))
        document["paths"]["/broken"] = {"get": {"responses": {"okay": {}}}}
        files.append(folder / "broken.json")
        files[-1].write_text(json.dumps(document))
        done = subprocess.run(["node", ROOT / "spec/e2e/node/openapi_valid.js", *files], capture_output=True, text=True)
        self.assertEqual([line.split()[1] for line in done.stdout.splitlines()], ["3.1"] * (len(files) - 1) + ["invalid:"],
                         done.stdout + done.stderr)

    def test_what_it_says(self):
        document = self.document("/weather/openapi.json")
        self.assertEqual(document["openapi"], "3.1.0")
        self.assertEqual(document["info"]["title"], "weather")
        operation = document["paths"]["/weather/today"]["post"]
        self.assertEqual(operation["operationId"], "weather.Weather.Today")
        self.assertEqual(operation["summary"], "Today tells the weather of one city.")
        self.assertEqual(operation["security"], [])
        self.assertEqual(operation["tags"], ["weather"])
        count = self.document("/flow/openapi.json")["paths"]["/flow/count"]["post"]
        self.assertEqual([(p["name"], p["in"]) for p in count["parameters"]], [("Last-Event-ID", "header")])
        self.assertEqual(list(count["responses"]["200"]["content"]), ["application/x-ndjson", "text/event-stream"])
        whole = self.document("/openapi.json")
        self.assertEqual(whole["paths"]["/weather/today"]["post"], operation)
        self.assertEqual([p for p in whole["paths"] if p.startswith("/registry")], [], "the platform's own are not the namespace's")

    def test_every_operation_of_examples(self):
        """A client made of the document alone calls everything that there is, streams included."""
        rng = random.Random(SEED)
        called = 0
        for name in ("helloworld", "weather", "dashboard"):
            document = Document(self.document(f"/{name}/openapi.json"))
            for operation in document.operations.values():
                given = {"name": "Ada", "messages": "3"} if operation.id.endswith(".Stream") else None  # else it may be endless
                document.check(operation, self.server.http(*document.request(operation, rng, body=given)))
                called += 1
        self.assertEqual(called, 5)


class Reality(harness.Case):
    services = [SERVICES / "torture"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = Document(cls.server.http("GET", "/torture/openapi.json").json)

    def operation(self, name):
        return self.document.operations["torture.Torture." + name]

    def call(self, operation, body):
        return self.server.http(operation.method.upper(), operation.path, json.dumps(body), {"Content-Type": "application/json"})

    def test_requests_are_accepted_and_answers_are_as_told(self):
        rng = random.Random(SEED)
        for name in ("EchoScalars", "EchoLists", "EchoMaps", "EchoChoices", "EchoKnown", "Recursive", "Nested", "EchoShared", "EchoOld",
                     "Nothing", "Gone", "EchoUpload", "Private", "Extremes"):
            operation = self.operation(name)
            admitted = self.document.validator(operation.body())
            for _ in range(12):
                body = Maker(self.document, rng).make(operation.body())
                for node in walk(body):
                    if isinstance(node, dict) and "@type" in node:
                        node.clear()
                        node.update({"@type": "type.googleapis.com/torture.v1.Shared", "here": "any"})
                with self.subTest(name, body=body):
                    admitted.validate(body)
                    answer = self.call(operation, body)
                    self.assertEqual(answer.status, 200, answer)
                    self.document.check(operation, answer)

    def test_a_stream_is_a_line_a_message(self):
        operation = self.operation("Watch")
        answer = self.call(operation, {"here": "x"})
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/x-ndjson")
        self.assertEqual(len(answer.body.splitlines()), 3)
        self.document.check(operation, answer)

    def test_errors_are_as_told(self):
        answer = self.call(self.operation("EchoRuled"), {})
        self.assertEqual(answer.status, 400)
        self.document.check(self.operation("EchoRuled"), answer)

    def test_names_that_packages_share(self):
        schemas = self.document.document["components"]["schemas"]
        self.assertEqual(list(schemas["torture.v1.Shared"]["properties"]), ["here"])
        self.assertEqual(list(schemas["torture.other.Shared"]["properties"]), ["there"])
        self.assertEqual(list(schemas["torture.v1.Outer.Shared"]["properties"]), ["own"])
        self.assertEqual(schemas["torture.other.Shared"]["description"], "Not the Shared of torture.v1.")

    def test_forms(self):
        schemas = self.document.document["components"]["schemas"]
        scalars = schemas["torture.v1.Scalars"]["properties"]
        self.assertEqual(scalars["an_int64"], {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
        self.assertEqual(scalars["some_bytes"], {"type": "string", "contentEncoding": "base64"})
        self.assertEqual(scalars["a_color"], {"$ref": "#/components/schemas/torture.v1.Color"})
        self.assertEqual(scalars["a_string"]["description"], 'any text, "quoted" and \\escaped')
        self.assertEqual(scalars["gone"], {"type": "string", "deprecated": True})
        self.assertEqual(schemas["torture.v1.Color"]["enum"], ["NONE", "RED", "CRIMSON", "BELOW"])
        known = schemas["torture.v1.Known"]["properties"]
        self.assertEqual(known["at"], {"type": "string", "format": "date-time", "description": "when"})
        self.assertEqual(known["int64_value"]["type"], ["string", "null"])
        self.assertEqual(schemas["torture.v1.Node"]["properties"]["left"], {"$ref": "#/components/schemas/torture.v1.Node"})
        self.assertEqual(schemas["torture.v1.old.Old"]["required"], ["name"])
        self.assertEqual(schemas["torture.v1.old.Old"]["properties"]["kind"]["default"], "SECOND")
        self.assertIn("[torture.v1.old.added]", schemas["torture.v1.old.Old"]["properties"])

    def test_operations(self):
        self.assertEqual(self.operation("EchoLists").item["summary"], "Lists repeats them.")
        self.assertIn("second sentence", self.operation("EchoLists").item["description"])
        self.assertTrue(self.operation("Gone").item["deprecated"])
        self.assertIn("5 s", self.operation("EchoShared").item["description"])
        self.assertEqual(self.operation("EchoShared").item["security"], [])
        self.assertNotIn("security", self.operation("Private").item, "what the document says of all holds: a token")
        self.assertEqual(self.document.document["security"], [{"bearer": []}])
        self.assertNotIn("torture.Torture.Hidden", self.document.operations)
        lines = {"schema": {"$ref": "#/components/schemas/torture.v1.Shared"}}
        self.assertEqual(self.operation("Talk").item["requestBody"]["content"], {"application/x-ndjson": lines})
        self.assertEqual(self.operation("Talk").item["responses"]["200"]["content"]["application/x-ndjson"], lines)
        self.assertIn("multipart/form-data", self.operation("EchoUpload").item["requestBody"]["content"])

    GOOD = {"id": "1", "slug": "a-b", "wide": "5", "code": "x1", "author": {"name": "Ada"}, "limit": 5}
    # What is changed, and whether it is admitted then; None takes a member away.
    RULES = [
        ({}, True),
        ({"id": None}, False), ({"id": ""}, False),
        ({"slug": None}, False), ({"slug": "Ab"}, False), ({"slug": "a" * 21}, False), ({"slug": "a1-"}, True),
        ({"limit": None}, True), ({"limit": 100}, True), ({"limit": 101}, False), ({"limit": -1}, False),
        ({"tags": ["a", "b", "c"]}, True), ({"tags": ["a", "b", "c", "d"]}, False),
        ({"labels": {"a": "1", "b": "2"}}, True), ({"labels": {"a": "1", "b": "2", "c": "3"}}, False),
        ({"color": "RED"}, True), ({"color": "BELOW"}, False),
        ({"author": None}, False), ({"author": {}}, False), ({"author": {"name": "A"}}, False),
        ({"author": {"name": "Ada", "age": 151}}, False), ({"author": {"name": "Ada", "age": 150}}, True),
        ({"others": [{"name": "x"}]}, True), ({"others": [{"name": "x"}, {}]}, False),
        ({"ratio": 1.0}, True), ({"ratio": 1.5}, False),
        ({"note": ""}, False), ({"note": "yes"}, True),
        ({"wide": None}, False), ({"code": None}, False),
    ]

    def test_rules_are_the_services_own(self):
        """What `validate` refuses the schema refuses, and the other way round."""
        operation = self.operation("EchoRuled")
        admitted = self.document.validator(operation.body())
        for change, good in self.RULES:
            with self.subTest(change=change):
                body = {k: v for k, v in {**self.GOOD, **change}.items() if v is not None}
                answer = self.call(operation, body)
                self.assertEqual(answer.status, 200 if good else 400, answer)
                self.assertEqual(admitted.is_valid(body), good)

    def test_rules_that_are_said_in_words(self):
        overlay = self.operation("EchoRuled").body()["allOf"][1]["properties"]
        self.assertEqual(overlay["wide"]["description"], "Must be: at least 1.")
        self.assertEqual(overlay["blob"]["description"], "Must be: at most 8 bytes.")
        self.assertEqual(overlay["code"]["description"], "Must be: like the Lua pattern ^%f[%w]%w*$.")
        self.assertEqual(overlay["note"]["description"], "Must be: checked by the service.")
        self.assertEqual(overlay["limit"]["default"], 20)


class Paths(harness.Case):
    """Paths of google.api.http and of the definition, and raw HTTP. `mapping` answers with the request that it got."""

    services = [SERVICES / "mapping", EXAMPLES / "site"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = Document(cls.server.http("GET", "/mapping/openapi.json").json)

    def test_every_operation_answers_as_told(self):
        rng = random.Random(SEED)
        operations = [o for o in self.document.operations.values()
                      if o.path.startswith("/m/") and ".Count" not in o.id]  # counts for as long as it is told
        self.assertGreater(len(operations), 20)
        for operation in operations:
            operation.parameters = [p for p in operation.parameters if "oneof" not in p.get("description", "")]
            for _ in range(3):
                request = self.document.request(operation, rng)
                with self.subTest(operation.id, request=request):
                    answer = self.server.http(*request)
                    self.assertIn(answer.status, (200, 204), answer)
                    self.document.check(operation, answer)

    def test_what_is_in_path_and_query_is_in_the_message(self):
        operation = next(o for o in self.document.operations.values() if o.path == "/m/read/{id}/pages/{page_limit}")
        values = {"id": "a b", "page_limit": 7, "tags": ["x", "y"], "labels": {"k": "v"}, "number": "9007199254740993"}
        operation.parameters = [p for p in operation.parameters if p["name"] in values]
        answer = self.server.http(*self.document.request(operation, random.Random(SEED), values=values)).json
        self.assertEqual((answer["id"], answer["page"]["limit"], answer["tags"], answer["labels"], answer["number"]),
                         ("a b", 7, ["x", "y"], {"k": "v"}, "9007199254740993"))

    def test_parts_of_requests_and_answers(self):
        paths = self.document.document["paths"]
        change = paths["/m/pages/{id}"]["patch"]
        self.assertEqual(change["requestBody"]["content"]["application/json"]["schema"], {"$ref": "#/components/schemas/mapping.Page"})
        names = [p["name"] for p in change["parameters"]]
        self.assertEqual(names[:3], ["id", "name", "number"])
        self.assertFalse([name for name in names if name.startswith("page")], "the body is not in the query")
        page = paths["/m/page/{id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        self.assertEqual(page, {"$ref": "#/components/schemas/mapping.Page"})
        self.assertEqual([p["name"] for p in paths["/m/v1/shelves/{name_1}/books/{name_2}"]["get"]["parameters"]][:2], ["name_1", "name_2"])
        self.assertEqual(sorted(paths["/m/read/{id}"]), ["delete", "get", "put"], "LINK is no method of OpenAPI")

    def test_forms_with_files(self):
        content = self.document.document["paths"]["/m/upload/{count}"]["post"]["requestBody"]["content"]
        form = content["multipart/form-data"]["schema"]["properties"]
        binary = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
        self.assertEqual([form[name] for name in ("title", "photo", "attachment", "parts")],
                         [{"type": "string"}, binary, binary, {"type": "array", "items": binary}])
        photo = harness.work_folder("form") / "p.png"
        photo.write_bytes(b"\0\1")
        done = json.loads(harness.curl("-F", "title=t", "-F", f"photo=@{photo}", f"http://{self.server.api}/m/upload/3"))
        self.assertEqual((done["title"], done["photo"], done["count"]), ("t", "AAE=", 3))
        data = self.document.document["paths"]["/m/data/{id}"]["put"]["requestBody"]["content"]
        self.assertEqual(list(data), ["application/json", "application/octet-stream"])
        answer = self.server.http("PUT", "/m/data/7", b"\0\1", {"Content-Type": "application/octet-stream"})
        self.assertEqual(answer.json["data"], "AAE=")

    def test_raw_http(self):
        paths = self.server.http("GET", "/site/openapi.json").json["paths"]
        self.assertEqual(sorted(paths["/site"]), ["get"])
        self.assertEqual([p["name"] for p in paths["/site/numbers/{count}"]["get"]["parameters"]], ["count"])
        rest = paths["/site/static/{path}"]["get"]
        self.assertIn("slashes", rest["parameters"][0]["description"])
        self.assertEqual(list(rest["responses"]), ["default"])


ITEM = """syntax = "proto3"; package shop;
service %s { rpc Get(Item) returns (Item); rpc Put(Item) returns (Nothing); rpc Both(Shared) returns (Shared); }
message Item { %s inside = 1; }
message Inner { string a_name = 1; }
message Shared { string same = 1; }
message Nothing {}
"""
SHOP = """local mica = require "mica"
local S = {}
function S.Get(ctx, req) return req end
function S.Put(ctx, req) return {} end
return mica.service { handlers = { %s = S }, public = true, %s }
"""


class Names(unittest.TestCase):
    """What several services share, and names that none can have."""

    RESERVED = ("health", "metrics", "openapi.json")

    @classmethod
    def setUpClass(cls):
        cls.folder = folder = harness.work_folder("names")
        nothing = 'local mica = require "mica"\nreturn mica.service { handlers = { A = {} } }\n'
        services = [harness.write_service(folder, name, 'syntax = "proto3"; service A {}', nothing) for name in cls.RESERVED]
        services.append(harness.write_service(folder, "alpha", ITEM % ("Alpha", "Inner"), SHOP % ("Alpha", "")))
        services.append(harness.write_service(folder, "beta", ITEM % ("Beta", "int64"), SHOP % (
            "Beta", 'json = { names = "camel", int64 = "number" }')))
        for name in ("delta", "gamma"):
            services.append(harness.write_service(folder, name, ITEM % (name.title(), "Inner"), SHOP % (name.title(), "")))
        cls.server = harness.Server(services).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_names_that_the_gateway_has(self):
        for name in self.RESERVED:
            self.assertTrue(self.server.wait_log(f'"{name}" is no name for a service: the gateway itself answers /{name}'))
            outside = self.server.mica("register", name, "127.0.0.1:1", "--ttl", "60s")
            self.assertEqual(outside.returncode, 1, outside)
            self.assertIn("the gateway itself answers /" + name, outside.stderr)

    def test_one_name_for_two_things(self):
        document = self.server.http("GET", "/openapi.json").json
        schemas = document["components"]["schemas"]
        self.assertEqual(schemas["shop.Item"]["properties"]["inside"], {"$ref": "#/components/schemas/shop.Inner"})
        self.assertEqual(schemas["beta--shop.Item"]["properties"]["inside"], {"type": "integer", "format": "int64"})
        body = {path: document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                for path in ("/alpha/get", "/beta/get", "/delta/get")}
        self.assertEqual(body, {"/alpha/get": "#/components/schemas/shop.Item", "/beta/get": "#/components/schemas/beta--shop.Item",
                                "/delta/get": "#/components/schemas/shop.Item"})
        self.assertNotIn("delta--shop.Shared", schemas)
        operations = Document(document).operations
        self.assertEqual(sorted(operations)[:2], ["alpha.Alpha.Both", "alpha.Alpha.Get"])

    def test_the_style_of_a_service(self):
        answer = self.server.post("/beta/get", {"inside": 5})
        document = Document(self.server.http("GET", "/beta/openapi.json").json)
        document.check(document.operations["beta.Beta.Get"], answer)
        self.assertEqual(answer.json, {"inside": 5})

    def test_another_version_is_another_document(self):
        first = self.server.http("GET", "/gamma/openapi.json")
        harness.write_service(self.folder, "gamma", ITEM.replace("a_name = 1;", "a_name = 1; bool fresh = 2;") % ("Gamma", "Inner"),
                              SHOP % ("Gamma", ""))
        done = self.server.mica("update", self.folder / "gamma")
        self.assertEqual(done.returncode, 0, done.stderr)
        again = self.server.http("GET", "/gamma/openapi.json", headers={"If-None-Match": first.headers["etag"]})
        self.assertEqual(again.status, 200)
        self.assertNotEqual(again.json["info"]["version"], first.json["info"]["version"])
        self.assertIn("fresh", again.json["components"]["schemas"]["shop.Inner"]["properties"])
        beside = self.server.mica("run", f"{self.folder / 'gamma'}@v2")
        self.assertEqual(beside.returncode, 0, beside.stderr)
        v2 = self.server.http("GET", "/gamma/openapi.json?version=v2")
        self.assertEqual(v2.json["info"]["version"], "v2")
        for path, status in (("/gamma/openapi.json?version=v3", 404), ("/gamma/openapi.json/", 200), ("/nothing/openapi.json", 404)):
            self.assertEqual(self.server.http("GET", path).status, status, path)

    def test_a_service_from_elsewhere(self):
        source = self.folder / "alpha/proto/alpha.proto"
        subprocess.run(["protoc", f"-I{source.parent}", f"--descriptor_set_out={self.folder}/set", "--include_source_info",
                        source], check=True)
        done = self.server.mica("register", "distant", "127.0.0.1:1", "--ttl", "60s", "--descriptors", self.folder / "set")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("/distant/alpha/get", self.server.http("GET", "/distant/openapi.json").json["paths"])


class Access(harness.Case):
    """Who sees what: accounts their namespace, strangers what is public."""

    services = [SERVICES / "torture", SERVICES / "closed", EXAMPLES / "weather"]
    args = ["--insecure"]

    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server(cls.services, cls.args, api="0.0.0.0:0").start()
        cls.port = cls.server.api.rsplit(":", 1)[1]
        cls.outer = outer_address()

    def get(self, path, host="127.0.0.1", **headers):
        self.server.api = f"{host}:{self.port}"
        return self.server.http("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def test_strangers_see_what_is_public(self):
        if not self.outer:
            self.skipTest("this machine has no address but loopback")
        mine, theirs = self.get("/torture/openapi.json"), self.get("/torture/openapi.json", self.outer)
        self.assertIn("/torture/private", mine.json["paths"])
        self.assertNotIn("/torture/private", theirs.json["paths"])
        self.assertIn("torture.v1.Secret", mine.json["components"]["schemas"])
        self.assertNotIn("torture.v1.Secret", theirs.json["components"]["schemas"])
        self.assertNotEqual(mine.headers["etag"], theirs.headers["etag"])
        whole = self.get("/openapi.json", self.outer).json["paths"]
        self.assertIn("/weather/today", whole)
        self.assertNotIn("/torture/private", whole)
        self.assert_error(self.get("/registry/openapi.json", self.outer), 401)

    def test_entity_tags(self):
        first = self.get("/torture/openapi.json")
        again = self.get("/torture/openapi.json", if_none_match=first.headers["etag"])
        self.assertEqual((again.status, again.body), (304, b""))
        self.assertEqual(self.get("/torture/openapi.json", if_none_match='"other"').status, 200)
        self.assertNotEqual(first.headers["etag"], self.get("/openapi.json").headers["etag"])
        head = harness.curl("-D", "-", "-o", "/dev/null", f"http://127.0.0.1:{self.port}/torture/openapi.json")
        self.assertIn("authorization, mica-namespace", head)

    def test_namespaces(self):
        other = self.get("/openapi.json", Mica_Namespace="other")
        self.assertEqual(other.status, 200)
        self.assertEqual(other.json["paths"], {})
        self.assert_error(self.get("/torture/openapi.json", Mica_Namespace="other"), 404, None,
                          'no service "torture" in namespace "other"')
        done = self.server.mica("--namespace", "other", "run", EXAMPLES / "news")
        self.assertEqual(done.returncode, 0, done.stderr)
        document = Document(self.get("/openapi.json", Mica_Namespace="other").json)
        operation = document.operations["news.News.Latest"]
        request = document.request(operation, random.Random(SEED), body={"city": "Oslo"})
        self.assertEqual(request[3]["Mica-Namespace"], "other")
        document.check(operation, self.server.http(*request))
        self.assertNotIn("/news/latest", self.get("/openapi.json").json["paths"])

    def test_the_command_line_prints_it(self):
        self.server.api = f"127.0.0.1:{self.port}"
        done = self.server.mica("describe", "torture", "--openapi")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout), self.get("/torture/openapi.json").json)
        missing = self.server.mica("describe", "torrture", "--openapi")
        self.assertEqual(missing.returncode, 1)
        self.assertIn('did you mean "torture"', missing.stderr)


if __name__ == "__main__":
    harness.main()
