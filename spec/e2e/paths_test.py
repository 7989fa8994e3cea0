#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Which service and endpoint a path of the gateway means, hyphens, dots and versions included."""

import json

import harness
from harness import curl

# service -> proto service -> methods
SERVICES = {
    "foo": {"Foo": ["Call", "Bar", "BarBaz", "Baz"], "Bar": ["Baz"]},
    "foo.bar": {"Baz": ["Cat"]},
    "foo.bar.baz": {"Cat": ["Dog"]},
    "foo-bar": {"FooBar": ["Call"]},
    "v1": {"V1": ["Foo"]},
    "v1.foo": {"Foo": ["Bar"], "Bar": ["Baz"]},
}

RULES = [
    ("/foo", "foo Foo.Call"),
    ("/foo/bar", "foo Foo.Bar"),
    ("/foo/bar/baz", "foo Bar.Baz"),
    ("/foo/bar/baz/cat", "foo.bar Baz.Cat"),
    ("/foo/bar/baz/cat/dog", "foo.bar.baz Cat.Dog"),
    ("/v1/foo", "v1 V1.Foo"),
    ("/v1/foo/bar", "v1.foo Foo.Bar"),
    ("/v1/foo/bar/baz", "v1.foo Bar.Baz"),
    ("/foo/bar-baz", "foo Foo.BarBaz"),
    ("/foo/Foo/BarBaz", "foo Foo.BarBaz"),
    ("/foo/foo/barBaz", "foo Foo.BarBaz"),
    ("/foo-bar/call", "foo-bar FooBar.Call"),
    ("/foo-bar", "foo-bar FooBar.Call"),
    ("/foo//bar/../baz/", "foo Foo.Baz"),
    ("/foo/", "foo Foo.Call"),
    ("/./foo/./bar", "foo Foo.Bar"),
    ("/f%6fo/bar", "foo Foo.Bar"),
]

NOWHERE = ["/fooBar", "/fooBar/call", "/foo.bar", "/v2/foo/bar", "/foo/barbaz", "/FOO/bar", "/foo/bar/baz/dog", "/foo/bar/baz/cat/dog/cow"]


def contract(name, groups):
    package = name.replace(".", "_").replace("-", "_")
    text = f'syntax = "proto3";\npackage paths_{package};\nmessage Empty {{}}\nmessage Answer {{ string said = 1; }}\n'
    for group, methods in groups.items():
        text += f"service {group} {{\n" + "".join(f"  rpc {m}(Empty) returns (Answer);\n" for m in methods) + "}\n"
    return text


def program(groups):
    text = 'local mica = require "mica"\nlocal function say(ctx) return { said = ctx.service .. " " .. ctx.endpoint } end\n'
    handlers = ", ".join(
        f"{group} = {{ " + ", ".join(f"{method} = say" for method in methods) + " }" for group, methods in groups.items())
    return text + f"return mica.service {{ handlers = {{ {handlers} }}, public = true }}\n"


class Paths(harness.Case):
    @classmethod
    def setUpClass(cls):
        parent = harness.work_folder("paths")
        cls.services = [
            harness.write_service(parent, name, contract(name, groups), program(groups)) for name, groups in SERVICES.items()]
        super().setUpClass()

    def test_rules(self):
        for path, said in RULES:
            for how in (["-d", "{}"], []):
                with self.subTest(path=path, how=how):
                    out = curl("--path-as-is", *how, self.server.api + path)
                    self.assertEqual(json.loads(out), {"said": said})

    def test_methods_do_not_matter(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method=method):
                answer = self.server.http(method, "/foo/bar", "{}" if method != "GET" else None)
                self.assertEqual(answer.json, {"said": "foo Foo.Bar"})

    def test_nowhere_is_404(self):
        for path in NOWHERE:
            with self.subTest(path=path):
                self.assert_error(self.server.http("GET", path), 404)


if __name__ == "__main__":
    harness.main()
