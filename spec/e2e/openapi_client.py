# SPDX-License-Identifier: Apache-2.0
"""A client that knows nothing of a service but its OpenAPI document: it makes requests out of schemas, builds calls out of
operations, and checks answers against what the document says of them.

It reads the part of JSON Schema and OpenAPI 3.1 that Mica's documents use, and fails on anything else, so that a test says
when a document begins to use more.
"""

import base64
import copy
import json
import re
import urllib.parse

import jsonschema

LINES = "application/x-ndjson"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
# Texts that are tried for a pattern that says nothing of itself.
CANDIDATES = ("7", "12", "true", "3.5s", "abc", "a-b", "a", "x1", "10:20")
WORDS = {"type", "format", "properties", "required", "items", "additionalProperties", "propertyNames", "enum", "const", "pattern",
         "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minimum", "maximum", "not", "default",
         "description", "deprecated", "dependentSchemas", "contentEncoding", "contentMediaType"}


class Operation:
    def __init__(self, path, method, item, shared):
        self.path, self.method, self.item = path, method, item
        self.id = item.get("operationId", f"{method} {path}")
        self.parameters = shared + item.get("parameters", [])

    def body(self, media="application/json"):
        content = self.item.get("requestBody", {}).get("content", {})
        return content.get(media, {}).get("schema")


class Document:
    def __init__(self, document):
        self.document = document
        self.operations = {}
        for path, item in document["paths"].items():
            shared = [self.resolve(p) for p in item.get("parameters", [])]
            for method in METHODS:
                if method in item:
                    operation = Operation(path, method, item[method], shared)
                    assert operation.id not in self.operations, operation.id
                    self.operations[operation.id] = operation

    def resolve(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    def merged(self, schema):
        """A schema without $ref and allOf at its top."""
        schema = self.resolve(schema)
        if "allOf" in schema:
            parts = [self.merged(part) for part in schema["allOf"]]
            schema = {k: v for k, v in schema.items() if k != "allOf"}
            for part in parts:
                schema = merge(schema, part, self)
        unknown = set(schema) - WORDS
        assert not unknown, f"{unknown} in {schema}"
        return schema

    # ---- answers against schemas

    def validator(self, schema, closed=True):
        """Checks values against a schema. `closed`: properties that it does not name are faults."""
        components = copy.deepcopy(self.document["components"])
        if closed:
            for component in components["schemas"].values():
                if component.get("type") == "object":
                    component.setdefault("additionalProperties", False)
        whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema], "components": components}
        return jsonschema.Draft202012Validator(whole)

    def check(self, operation, answer):
        """An answer of the gateway (harness.Answer) must be what the document says of it."""
        responses = operation.item["responses"]
        response = self.resolve(responses.get(str(answer.status), responses.get("default")))
        if "content" not in response:
            assert answer.body == b"", answer
            return
        media = answer.headers["content-type"].split(";")[0]
        validator = self.validator(response["content"][media]["schema"])
        for text in answer.body.splitlines() if media == LINES else [answer.body]:
            validator.validate(json.loads(text))

    # ---- calls

    def request(self, operation, rng, body=None, values=None):
        """(method, path, body, headers) of a call; what is not given is made up."""
        values = dict(values or {})
        path, query, headers = operation.path, [], {}
        for parameter in map(self.resolve, operation.parameters):
            name, schema = parameter["name"], parameter["schema"]
            if name not in values:
                if not parameter.get("required") and rng.random() < 0.4:
                    continue
                values[name] = Maker(self, rng).make(schema)
            value = values[name]
            if parameter["in"] == "path":
                path = path.replace("{" + name + "}", urllib.parse.quote(as_text(value), safe=""))
            elif parameter["in"] == "header":
                headers[name] = as_text(value)
            else:
                assert parameter["in"] == "query", parameter
                query += query_pairs(parameter, value)
        if operation.body(LINES) is not None:
            lines = [Maker(self, rng).make(operation.body(LINES)) for _ in range(3)] if body is None else body
            headers["Content-Type"] = LINES
            body = "".join(json.dumps(line) + "\n" for line in lines)
        elif operation.body() is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(Maker(self, rng).make(operation.body()) if body is None else body)
        if query:
            path += "?" + urllib.parse.urlencode(query)
        return operation.method.upper(), path, body, headers


def query_pairs(parameter, value):
    name = parameter["name"]
    if isinstance(value, list):
        return [(name, as_text(item)) for item in value]
    if isinstance(value, dict):
        assert parameter.get("style") == "deepObject", parameter
        return [(f"{name}[{key}]", as_text(item)) for key, item in value.items()]
    return [(name, as_text(value))]


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def merge(a, b, document):
    out = dict(a)
    for key, value in b.items():
        if key not in out:
            out[key] = value
        elif key == "properties":
            both = {k: {"allOf": [out[key][k], v]} if k in out[key] else v for k, v in value.items()}
            out[key] = {**out[key], **both}
        elif key == "required":
            out[key] = sorted(set(out[key]) | set(value))
        elif key == "items":
            out[key] = {"allOf": [out[key], value]}
        elif key == "enum":
            out[key] = [item for item in out[key] if item in value]
        elif key in ("minimum", "minLength", "minItems", "minProperties"):
            out[key] = max(out[key], value)
        elif key in ("maximum", "maxLength", "maxItems", "maxProperties"):
            out[key] = min(out[key], value)
        elif key not in ("description", "default"):
            assert out[key] == value, (key, out[key], value)
    return out


class Maker:
    """Values that a schema admits, made up at random; what recurs ends after a few levels."""

    DEPTH = 4

    def __init__(self, document, rng):
        self.document, self.rng = document, rng

    def make(self, schema, depth=0):
        schema = self.document.merged(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        kind = schema.get("type", "any")
        if isinstance(kind, list):
            kind = self.rng.choice(kind)
        return getattr(self, "make_" + kind)(schema, depth)

    def make_any(self, _, depth):
        return self.rng.choice([True, "text", 1.5, ["a", None], {"k": "v"}, ""])

    def make_null(self, _, depth):
        return None

    def make_boolean(self, _, depth):
        return self.rng.random() < 0.5

    def make_integer(self, schema, _):
        low, high = schema.get("minimum", -2**53), schema.get("maximum", 2**53)
        return self.rng.choice([v for v in (0, 1, low, high, self.rng.randint(int(low), int(high)))
                                if low <= v <= high and v != schema.get("not", {}).get("const")])

    def make_number(self, schema, _):
        low, high = schema.get("minimum", -1000), schema.get("maximum", 1000)
        return self.rng.choice([low, high, low + (high - low) * self.rng.random()])

    def make_string(self, schema, _):
        if schema.get("format") == "date-time":
            return self.rng.choice(["2026-11-25T10:00:00Z", "1970-01-01T00:00:00.000000001Z", "9999-12-31T23:59:59.5Z"])
        if schema.get("contentEncoding") == "base64":
            return base64.b64encode(self.rng.randbytes(self.rng.randint(schema.get("minLength", 0), 5))).decode()
        if schema.get("format") in ("int64", "uint64"):
            low, high = (-(2**63), 2**63 - 1) if schema["format"] == "int64" else (0, 2**64 - 1)
            made = [str(n) for n in (0, 1, low, high, self.rng.randint(low, high), self.rng.randint(max(low, -(2**53)), 2**53))]
            return self.rng.choice([text for text in made if re.search(schema["pattern"], text)])
        low = schema.get("minLength", 0)
        high = schema.get("maxLength", low + 8)
        made = ["".join(self.rng.choice("abcdefgh") for _ in range(self.rng.randint(low, high)))]
        if "pattern" in schema:
            made = [c for c in CANDIDATES if re.search(schema["pattern"], c) and low <= len(c) <= high]
        return self.rng.choice(made)

    def make_array(self, schema, depth):
        low = schema.get("minItems", 0)
        n = low if depth >= self.DEPTH else self.rng.randint(low, schema.get("maxItems", low + 3))
        return [self.make(schema.get("items", {}), depth + 1) for _ in range(n)]

    def make_object(self, schema, depth):
        made = {}
        required = schema.get("required", [])
        for name, inner in schema.get("properties", {}).items():
            if name in required or depth < self.DEPTH and self.rng.random() < (0.7 if depth == 0 else 0.3):
                made[name] = self.make(inner, depth + 1)
        extra = schema.get("additionalProperties")
        if extra and "properties" not in schema and depth < self.DEPTH:
            keys = self.make_keys(schema)
            made = {key: self.make({} if extra is True else extra, depth + 1) for key in keys}
        for name, then in schema.get("dependentSchemas", {}).items():
            for other, allowed in then["properties"].items() if name in made else ():
                assert allowed is False
                made.pop(other, None)
        return made

    def make_keys(self, schema):
        pattern = schema.get("propertyNames", {}).get("pattern", "^[a-z]")
        keys = [c for c in CANDIDATES if re.search(pattern, c)]
        count = self.rng.randint(schema.get("minProperties", 0), min(len(keys), schema.get("maxProperties", 2)))
        return self.rng.sample(keys, count)
