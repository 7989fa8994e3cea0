#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`mica types`: what it writes, compared with the descriptors that protoc makes of the same contract."""

import pathlib
import re
import shutil
import subprocess
import unittest

from google.protobuf import descriptor_pb2

import harness
import library_types
from harness import SERVICES, mica

PROTO = '''
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/empty.proto";

// Sells things.
service Shop {
  rpc Get(GetRequest) returns (Item);
  rpc Watch(GetRequest) returns (stream Item);
  rpc Put(stream Item) returns (GetRequest);
  rpc Talk(stream Item) returns (stream GetRequest);
  rpc Clear(google.protobuf.Empty) returns (google.protobuf.Empty);
}
message GetRequest { int64 id = 1 [jstype = JS_STRING]; optional string lang = 2; int64 small = 3 [jstype = JS_NUMBER]; }
message Item {
  string id = 1; int64 stock = 2; uint32 size = 3; double price = 4; float weight = 5; bool sold = 6; bytes image = 7;
  Kind kind = 8; Inner inner = 9; repeated Inner inners = 10; repeated string tags = 11; map<string, Inner> by_name = 12;
  map<int64, double> by_number = 13; repeated int64 days = 14; repeated Kind kinds = 15;
  oneof contact { string email = 16; Inner address = 17; }
  google.protobuf.Timestamp created = 18; google.protobuf.StringValue note = 19; google.protobuf.Struct extra = 20;
  string end = 21;
  message Inner { sint64 n = 1; Level level = 2; enum Level { LOW = 0; HIGH = 7; } }
}
enum Kind { UNKNOWN = 0; BOOK = 1; NEGATIVE = -3; }
'''
MAIN = 'local mica = require "mica"\nlocal tags = mica.client "tags"\nreturn mica.service { handlers = { Shop = {} } }\n'
WIDE = "integer|mica.int64"
SCALARS = {1: "number", 2: "number", 3: WIDE, 4: WIDE, 5: "integer", 6: WIDE, 7: "integer", 8: "boolean", 9: "string", 12: "string",
           13: "integer", 15: "integer", 16: WIDE, 17: "integer", 18: WIDE}
WELL_KNOWN = {"StringValue": "string", "Struct": "table<string, any>", "Int64Value": WIDE, "BoolValue": "boolean", "BytesValue": "string",
              "DoubleValue": "number", "FloatValue": "number", "Int32Value": "integer", "UInt32Value": "integer", "UInt64Value": WIDE,
              "Value": "any", "ListValue": "any[]"}


def descriptors(folder):
    out = folder / "set.pb"
    files = [str(p.relative_to(folder / "proto")) for p in (folder / "proto").rglob("*.proto")]
    subprocess.run(["protoc", f"-I{folder / 'proto'}", "--include_imports", f"--descriptor_set_out={out}", *files], check=True)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def classes(text):
    """The classes of an annotated file: name -> { field: (type, may be nil) }; aliases: name -> names of values."""
    found, aliases, current = {}, {}, None
    for line in text.split("\n"):
        if match := re.match(r"---@class ([\w.]+)", line):
            current = found.setdefault(match[1], {})
        elif match := re.match(r"---@alias ([\w.]+)$", line):
            current = aliases.setdefault(match[1], [])
        elif match := re.match(r"""---\| '"(\w+)"' # (-?\d+)$""", line):
            current.append((match[1], int(match[2])))
        elif match := re.match(r'---@field (?:\["([^"]+)"\]|(\w+))(\??) (.*)$', line):
            current[match[1] or match[2]] = (match[4], match[3] == "?")
    return found, aliases


class Expected:
    """The same, worked out from descriptors."""

    def __init__(self, file_set):
        self.messages, self.enums = {}, {}
        for file in file_set.file:
            self.proto3 = file.syntax == "proto3"
            for message in file.message_type:
                self.add(file.package + ".", message)
            for enum in file.enum_type:
                self.enums[f"{file.package}.{enum.name}"] = enum

    def add(self, scope, message):
        self.messages[scope + message.name] = (message, self.proto3)
        for nested in message.nested_type:
            self.add(f"{scope}{message.name}.", nested)
        for enum in message.enum_type:
            self.enums[f"{scope}{message.name}.{enum.name}"] = enum

    def one(self, field):
        name = field.type_name.lstrip(".")
        if field.type in (10, 11):
            return WELL_KNOWN.get(name.removeprefix("google.protobuf."), name) if name.startswith("google.protobuf.") else name
        if field.type == 14:
            return name
        js = field.options.jstype
        return {0: SCALARS[field.type], 1: "string", 2: "integer"}[js]

    def type(self, field):
        entry = self.messages.get(field.type_name.lstrip("."), (None,))[0] if field.type == 11 else None
        if entry is not None and entry.options.map_entry:
            key = SCALARS[entry.field[0].type]
            return f"table<{'integer|string' if key == WIDE else key}, {self.one(entry.field[1])}>"
        text = self.one(field)
        return text if field.label != 3 else (f"({text})[]" if "|" in text else text + "[]")

    def fields(self, message, proto3):
        out = {}
        for field in message.field:
            in_oneof = field.HasField("oneof_index")
            nil = field.label != 3 and (field.type in (10, 11) or in_oneof or (not proto3 and field.label == 1))
            out[field.name.lower() if field.type == 10 else field.name] = (self.type(field), nil)
        for i, oneof in enumerate(message.oneof_decl):
            members = [f.name for f in message.field if f.HasField("oneof_index") and f.oneof_index == i and not f.proto3_optional]
            if members:
                out[oneof.name] = ("|".join(f'"{name}"' for name in members) + " which one is set", True)
        return out


class Types(unittest.TestCase):
    maxDiff = None

    def compare(self, folder, service):
        done = mica("types", folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        found, aliases = classes((folder / f".mica/types/{service}_service.lua").read_text())
        expected = Expected(descriptors(folder))
        compared = 0
        for name, (message, proto3) in expected.messages.items():
            if message.options.map_entry or name.removeprefix("google.protobuf.") in WELL_KNOWN and name.startswith("google."):
                self.assertNotIn(name, found)
                continue
            with self.subTest(name):
                self.assertEqual(found[name], expected.fields(message, proto3))
                compared += 1
        for name, enum in expected.enums.items():
            if not name.startswith("google."):
                self.assertEqual(aliases[name], [(value.name, value.number) for value in enum.value])
        return found, compared

    def test_a_contract_with_everything(self):
        folder = harness.write_service(harness.work_folder("types"), "shop", PROTO, MAIN)
        found, compared = self.compare(folder, "shop")
        self.assertGreaterEqual(compared, 4)
        self.assertEqual(found["shop.Shop.Server"], {
            "Get": ("fun(ctx: mica.Context, req: shop.GetRequest): shop.Item", False),
            "Watch": ("fun(ctx: mica.Context, req: shop.GetRequest, stream: shop.Shop.Watch.Stream)", False),
            "Put": ("fun(ctx: mica.Context, stream: shop.Shop.Put.Stream): shop.GetRequest", False),
            "Talk": ("fun(ctx: mica.Context, stream: shop.Shop.Talk.Stream)", False),
            "Clear": ("fun(ctx: mica.Context, req: google.protobuf.Empty): google.protobuf.Empty?", False),
        })
        self.assertEqual(found["shop.Shop.Talk.Stream"]["send"][0], "fun(self, message: shop.GetRequest)")
        self.assertEqual(found["shop.Shop.Talk.Stream"]["recv"][0], "fun(self): shop.Item?")
        self.assertEqual(found["shop.Shop.Talk.Call"]["send"][0], "fun(self, message: shop.Item)")
        self.assertEqual(found["shop.Shop.Client"]["Get"][0],
                         "fun(req?: shop.GetRequest, opts?: mica.CallOptions): shop.Item")

    def test_the_services_of_the_tests(self):
        for name in ("values", "probe", "faults"):
            with self.subTest(name):
                folder = harness.work_folder("types") / name
                shutil.copytree(SERVICES / name, folder)
                self.assertGreater(self.compare(folder, name)[1], 2)

    def test_stubs_of_services_that_are_called(self):
        parent = harness.work_folder("types")
        folder = harness.write_service(parent, "shop", PROTO, MAIN)
        harness.write_service(parent, "tags", 'syntax = "proto3";\npackage tags;\nservice Tags { rpc List(Q) returns (Q); }\nmessage Q {}\n',
                              'return require "mica".service { handlers = {} }\n')
        self.assertEqual(mica("types", folder).returncode, 0)
        text = (folder / ".mica/types/tags_service.lua").read_text()
        self.assertIn('---@overload fun(service: "tags"): tags.Tags.Client', text)
        self.assertIn('---@overload fun(service: "shop"): shop.Shop.Client', (folder / ".mica/types/shop_service.lua").read_text())

    def test_all_files_are_lua(self):
        folder = harness.write_service(harness.work_folder("types"), "shop", PROTO, MAIN)
        done = mica("types", ".", cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        files = done.stdout.split()
        self.assertIn(".mica/types/mica/errors.lua", files)
        for file in files:
            self.assertEqual(subprocess.run(["luac5.1" if shutil.which("luac5.1") else "luajit", *(
                ["-p"] if shutil.which("luac5.1") else ["-b", "-l"]), str(folder / file)], stdout=subprocess.DEVNULL).returncode, 0, file)


class Library(unittest.TestCase):
    def test_it_is_what_the_annotations_say(self):
        self.assertEqual(library_types.TARGET.read_text(), library_types.make(), "run spec/e2e/library_types.py")

    def test_every_member_of_mica_is_in_it(self):
        source = (library_types.ROOT / "lua/mica/init.lua").read_text()
        members = set(re.findall(r"^function members\.(\w+)", source, re.M))
        for line in re.findall(r"^local (?:MODULES|TASKS) = \{(.*)\}", source, re.M):
            members |= set(re.findall(r'"(\w+)"', line))
        fields = set(re.findall(r"^---@field (\w+)", library_types.make().split('["mica/client.lua"]')[0], re.M))
        self.assertGreater(len(members), 20)
        self.assertEqual(members - fields, set())

    def test_annotated_functions_exist(self):
        for path in pathlib.Path(library_types.ROOT / "lua/mica").glob("*.lua"):
            if path.stem not in library_types.MODULES:
                continue
            made = library_types.types_of(path)
            for name in re.findall(r"^function [\w]+[.:](\w+)", made, re.M):
                self.assertIn(name, path.read_text())


if __name__ == "__main__":
    harness.main()
