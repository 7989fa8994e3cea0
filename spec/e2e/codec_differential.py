#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the codec with Google's (python3-protobuf) on random messages.

For every message, of a type of spec/unit/pb/fixtures:
  binary -> Lua -> binary, binary -> binary     the same message, unknown fields too
  binary -> ProtoJSON, binary -> Micro's JSON   parsed by Google's reader, the same message
  Google's JSON -> binary, -> Lua -> JSON       the same message, for random settings of Google's writer
  damaged binary and JSON                       an answer, and no malformed output
The first difference ends the run with the seed, the message and both sides.

usage: codec_differential.py [--driver PATH] [--messages N] [--seed S] [--skip-lua]
"""

import argparse
import difflib
import importlib
import json as jsonlib
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor as FD

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "..", "unit", "pb", "fixtures")

INT32 = [0, 1, -1, 127, 128, 2**31 - 1, -(2**31)]
INT64 = INT32 + [2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)]
UINT32 = [0, 1, 127, 128, 2**31, 2**32 - 1]
UINT64 = UINT32 + [2**53, 2**53 + 1, 2**63, 2**64 - 1]
DOUBLE = [0.0, -0.0, 1.0, -1.5, 0.1, 1e15, 1e21, 1e22, 1e23, 123456789012345680.0, 5e-324, 2.2250738585072014e-308,
          1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 2.0**53, 4.35, 0.000123, 1e-7]
FLOAT = [0.0, -0.0, 1.0, -1.5, 0.1, 16777216.0, 1e-45, 1.17549435e-38, 3.4e38, float("inf"), float("-inf"),
         float("nan"), 33554432.0, 8388608.5, 0.3]
FLOATING = (FD.CPPTYPE_DOUBLE, FD.CPPTYPE_FLOAT)
TEXT = ["", "a", "plain text", "caf\u00e9", "\u65e5\u672c\u8a9e", "\U0001f600", "\"quotes\" \\ /", "\n\t\r\b\f\0\x1f",
        "\x7f\u0080\u2028", "<b>&'</b>", "x" * 130]


class Differs(Exception):
    pass


class Refused(Differs):
    """The driver's answer was an error."""


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().decode(errors="replace").rstrip("\n")
        if not answer:
            raise Differs("the driver ended")
        word, _, rest = answer.partition(" ")
        if word != "ok":
            raise Refused(rest)
        return b"" if rest in ("", "-") else bytes.fromhex(rest)

    def convert(self, op, message_type, data):
        try:
            return self.ask("%s %s %s" % (op, message_type, data.hex() or "-"))
        except Differs as e:
            raise Differs("%s: %s" % (op, e)) from None


class Maker:
    """Makes random messages. Values that Google's Python treats against the documentation are left out, as said."""

    def __init__(self, rng, any_types):
        self.rng = rng
        self.any_types = any_types
        self.unknown = True

    def integer(self, known, bits, signed):
        if self.rng.random() < 0.5:
            return self.rng.choice(known)
        value = self.rng.getrandbits(self.rng.randrange(1, bits + (0 if signed else 1)))
        return -value if signed and self.rng.random() < 0.5 else value

    def floating(self, known, form, limit):
        if self.rng.random() < 0.4:
            return self.rng.choice(known)
        if self.rng.random() < 0.4:
            return struct.unpack(form, struct.pack(form, round(self.rng.uniform(-1e4, 1e4), self.rng.randrange(8))))[0]
        raw = self.rng.getrandbits(8 * struct.calcsize(form)).to_bytes(struct.calcsize(form), "little")
        value = struct.unpack(form, raw)[0]
        # Python prints the largest float as 3.4028235e+38 and then refuses it, comparing as doubles.
        # NaNs have many bit patterns and JSON one.
        return value if abs(value) < limit else 1.25

    def text(self):
        if self.rng.random() < 0.7:
            return self.rng.choice(TEXT)
        return "".join(chr(self.rng.choice([self.rng.randrange(0xD800), self.rng.randrange(0xE000, 0x110000)]))
                       for _ in range(self.rng.randrange(12)))

    def scalar(self, field):
        t = field.type
        if t in (FD.TYPE_INT32, FD.TYPE_SINT32, FD.TYPE_SFIXED32):
            return self.integer(INT32, 32, True)
        if t in (FD.TYPE_INT64, FD.TYPE_SINT64, FD.TYPE_SFIXED64):
            if field.GetOptions().jstype == 2:  # JS_NUMBER: Lua numbers only, so at most 2^53
                return self.integer(INT32 + [2**53, -(2**53)], 53, True)
            return self.integer(INT64, 64, True)
        if t in (FD.TYPE_UINT32, FD.TYPE_FIXED32):
            return self.integer(UINT32, 32, False)
        if t in (FD.TYPE_UINT64, FD.TYPE_FIXED64):
            return self.integer(UINT64, 64, False)
        if t == FD.TYPE_DOUBLE:
            return self.floating(DOUBLE, "<d", float("inf"))
        if t == FD.TYPE_FLOAT:
            return self.floating(FLOAT, "<f", 3.4e38)
        if t == FD.TYPE_BOOL:
            return self.rng.random() < 0.5
        if t == FD.TYPE_STRING:
            return self.text()
        if t == FD.TYPE_BYTES:
            return bytes(self.rng.getrandbits(8) for _ in range(self.rng.choice([0, 1, 2, 3, 10, 200])))
        known = [v.number for v in field.enum_type.values]
        opened = field.enum_type.file.syntax == "proto3" and field.enum_type.name != "NullValue"
        return self.rng.choice(known + ([77, -2147483648] if opened else []))

    def raw_unknown(self):
        """A few fields that no fixture has, of every wire type."""
        parts = []
        for _ in range(self.rng.randrange(1, 4)):
            kind = self.rng.choice([0, 1, 2, 3, 5])
            tag = self.rng.randrange(900, 990) << 3
            head = varint(tag | kind)
            body = {0: varint(self.rng.getrandbits(64)), 1: self.rng.randbytes(8), 5: self.rng.randbytes(4),
                    2: varint(5) + self.rng.randbytes(5), 3: varint(1 << 3) + varint(7) + varint(tag | 4)}[kind]
            parts.append(head + body)
        return b"".join(parts)

    def closed_enum_unknown(self, message):
        """Numbers that a closed enum lacks are unknown fields too."""
        field = message.DESCRIPTOR.fields_by_name.get("shape")
        if field is None:
            return b""
        return varint(field.number << 3) + varint(99)

    def fill(self, message, depth):
        known = getattr(self, "fill_" + message.DESCRIPTOR.full_name.replace(".", "_"), None)
        if known is not None:
            known(message, depth)
            return
        fields = list(message.DESCRIPTOR.fields)
        fields += message.DESCRIPTOR.file.pool.FindAllExtensions(message.DESCRIPTOR)
        keep = self.rng.choice([0.15, 0.5, 0.9]) if depth < 3 else 0.3
        for field in fields:
            if field.label == FD.LABEL_REQUIRED or self.rng.random() < keep:
                self.fill_field(message, field, depth)
        wrapper = message.DESCRIPTOR.file.name == "google/protobuf/wrappers.proto"  # in Lua a bare value
        if self.unknown and not wrapper and self.rng.random() < 0.1:
            message.MergeFromString(self.raw_unknown() + self.closed_enum_unknown(message))

    def fill_field(self, message, field, depth):
        nested = field.message_type is not None
        if nested and depth >= 5:
            return
        count = self.rng.choice([0, 1, 2, 3, 20 if not nested else 2])
        if nested and field.message_type.GetOptions().map_entry:
            self.fill_map(getattr(message, field.name), field.message_type, count, depth)
            return
        if field.is_extension:
            holder, key = message.Extensions, field
            get, put = (lambda: holder[key]), (lambda v: holder.__setitem__(key, v))
        else:
            get, put = (lambda: getattr(message, field.name)), (lambda v: setattr(message, field.name, v))
        if field.label == FD.LABEL_REPEATED:
            for _ in range(count):
                if nested:
                    self.fill(get().add(), depth + 1)
                else:
                    get().append(self.scalar(field))
        elif nested:
            get().SetInParent()
            self.fill(get(), depth + 1)
        else:
            put(self.scalar(field))

    def fill_map(self, target, entry, count, depth):
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(count):
            if value.message_type is not None:
                self.fill(target[self.scalar(key)], depth + 1)
            else:
                target[self.scalar(key)] = self.scalar(value)

    # Well-known types: only what has a JSON form.

    def fill_google_protobuf_Timestamp(self, message, _):
        message.seconds = self.rng.choice([0, 1, -1, -62135596800, 253402300799, 951782400, 1709164800,
                                           self.rng.randrange(-62135596800, 253402300800)])
        message.nanos = self.nanos()

    def fill_google_protobuf_Duration(self, message, _):
        message.seconds = self.rng.choice([0, 1, -1, 315576000000, -315576000000, self.rng.randrange(-10**9, 10**9)])
        message.nanos = self.nanos() * (-1 if message.seconds < 0 else 1)
        if message.seconds == 0 and self.rng.random() < 0.5:
            message.nanos = -message.nanos

    def nanos(self):
        return self.rng.choice([0, 0, 1, 500000000, 1000, 120000, 999999999, self.rng.randrange(10**9)])

    def fill_google_protobuf_FieldMask(self, message, _):
        message.paths.extend(self.rng.choice(["a", "foo_bar", "foo.bar_baz", "x1.y2"])
                             for _ in range(self.rng.randrange(4)))

    def fill_google_protobuf_Any(self, message, depth):
        if depth >= 4 or self.rng.random() < 0.1:
            return  # an empty Any
        content = self.rng.choice(self.any_types)()
        before, self.unknown = self.unknown, False  # JSON would drop them, inside bytes that are compared
        self.fill(content, depth + 1)
        self.unknown = before
        drop_repeated_extensions(content)
        message.type_url = "type.googleapis.com/" + content.DESCRIPTOR.full_name
        message.value = content.SerializeToString(deterministic=True)

    def fill_google_protobuf_Struct(self, message, depth):
        message.SetInParent()
        for _ in range(self.rng.randrange(4)):
            self.fill_google_protobuf_Value(message.fields[self.text()], depth + 1)

    def fill_google_protobuf_ListValue(self, message, depth):
        message.SetInParent()
        for _ in range(self.rng.randrange(4)):
            self.fill_google_protobuf_Value(message.values.add(), depth + 1)

    def fill_google_protobuf_Value(self, message, depth):
        # Never unset, which JSON cannot say; Python prints it as null and reads null_value. No NaN, which is an error.
        kind = self.rng.randrange(6 if depth < 5 else 4)
        if kind == 0:
            message.null_value = 0
        elif kind == 1:
            number = self.floating(DOUBLE, "<d", float("inf"))
            message.number_value = number if abs(number) < float("inf") else 0.5
        elif kind == 2:
            message.string_value = self.text()
        elif kind == 3:
            message.bool_value = self.rng.random() < 0.5
        elif kind == 4:
            self.fill_google_protobuf_Struct(message.struct_value, depth + 1)
        else:
            self.fill_google_protobuf_ListValue(message.list_value, depth + 1)


def varint(value):
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def submessages(message):
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                yield from value.values()
        elif field.label == FD.LABEL_REPEATED:
            yield from value
        else:
            yield value


def same_nan(message, field, value):
    """Gives every NaN the same bits: LuaJIT's differ from Python's in the sign."""
    if field.message_type is not None:
        entry = field.message_type
        if entry.GetOptions().map_entry and entry.fields_by_name["value"].cpp_type in FLOATING:
            for key in [k for k, v in value.items() if v != v]:
                value[key] = float("nan")
    elif field.cpp_type not in FLOATING:
        return
    elif field.label == FD.LABEL_REPEATED:
        for i, v in enumerate(value):
            if v != v:
                value[i] = float("nan")
    elif value != value and not field.is_extension:
        setattr(message, field.name, float("nan"))


def drop_repeated_extensions(message):
    """Python writes them as JSON and cannot read them: it looks for them among the plain fields."""
    for field, _ in message.ListFields():
        if field.is_extension and field.label == FD.LABEL_REPEATED:
            message.ClearExtension(field)
    for inner in submessages(message):
        drop_repeated_extensions(inner)


class Checker:
    def __init__(self, driver, types, any_types, skip_lua):
        self.driver = driver
        self.types = types
        self.skip_lua = skip_lua
        self.by_url = {"type.googleapis.com/" + t.DESCRIPTOR.full_name: t for t in any_types}

    def canonical(self, message):
        """Bytes that are equal when the messages are: maps in order, also inside of an Any."""
        self.normalize(message)
        return message.SerializeToString(deterministic=True)

    def normalize(self, message):
        if message.DESCRIPTOR.full_name == "google.protobuf.Any" and message.type_url:
            content = self.by_url[message.type_url]()
            content.ParseFromString(message.value)
            message.value = self.canonical(content)
        for field, value in message.ListFields():
            same_nan(message, field, value)
        for inner in submessages(message):
            self.normalize(inner)

    def same(self, what, wanted, kind, data, parse):
        got = kind()
        try:
            parse(got, data)
        except Exception as e:  # whatever Google's readers raise
            raise Differs("%s: Google's reader refuses it: %s\nours: %r" % (what, e, data)) from None
        if self.canonical(got) != wanted:
            lines = difflib.unified_diff(str(kind.FromString(wanted)).splitlines(), str(got).splitlines(),
                                         "Google's", "ours", lineterm="", n=2)
            raise Differs("%s: differs\nours: %r\n%s" % (what, data, "\n".join(lines)))

    def check(self, rng, message):
        kind = type(message)
        name = message.DESCRIPTOR.full_name
        data = message.SerializeToString()
        wanted = self.canonical(message)

        def wire(op, given, expect):
            got = self.driver.convert(op, name, given)
            self.same(op, expect, kind, got, lambda m, d: m.ParseFromString(d))

        def json(op, given, expect):
            got = self.driver.convert(op, name, given).decode()
            self.same(op, expect, kind, got, lambda m, d: json_format.Parse(d, m))

        wire("wire", data, wanted)
        if not self.skip_lua:
            wire("lua", data, wanted)
        message.DiscardUnknownFields()
        drop_repeated_extensions(message)
        data = message.SerializeToString()
        wanted = self.canonical(message)
        json("proto", data, wanted)
        json(rng.choice(["micro", "pretty"]), data, wanted)

        # Python prints defaults of proto2's optional fields as well, which would set them; also inside of an Any.
        defaults = not name.startswith("codec2") and b"codec2" not in data and rng.random() < 0.3
        text = json_format.MessageToJson(message, including_default_value_fields=defaults,
                                         preserving_proto_field_name=rng.random() < 0.5,
                                         use_integers_for_enums=rng.random() < 0.3,
                                         indent=rng.choice([None, 2]), ensure_ascii=rng.random() < 0.5).encode()
        wire("read", text, wanted)
        json("json", text, wanted)
        if not self.skip_lua:
            json("lua_json", text, wanted)


    def check_broken(self, rng, message):
        """Damaged input gets an answer, and what is made of it is well-formed."""
        kind = type(message)
        name = message.DESCRIPTOR.full_name
        binary = damage(rng, message.SerializeToString())
        message.DiscardUnknownFields()
        drop_repeated_extensions(message)
        text = damage(rng, json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode())
        ops = [("wire", binary), ("micro", binary), ("read", text)]
        if not self.skip_lua:
            ops += [("lua", binary), ("lua_json", text)]
        for op, data in ops:
            try:
                got = self.driver.ask("%s %s %s" % (op, name, data.hex() or "-"))
            except Refused:
                continue
            try:
                if op in ("micro", "lua_json"):
                    jsonlib.loads(got.decode())
                else:
                    kind().MergeFromString(got)
            except Exception as e:
                raise Differs("%s of %r: malformed: %s\n%r" % (op, data, e, got)) from None


def damage(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at + 1] = bytes([rng.getrandbits(8)])
        elif kind == 1:
            del data[at:at + rng.randrange(1, 8)]
        elif kind == 2:
            data[at:at] = rng.choice([b"\xff", b"\x80", b"\x00", b"\"", b"{", b"]", b"\\", b",", b"-", b"9" * 20])
        else:
            data[at:at] = data[:rng.randrange(20)]
    return bytes(data)


def load_fixtures(folder):
    files = sorted(f for f in os.listdir(FIXTURES) if f.startswith("codec") and f.endswith(".proto"))
    descriptors = os.path.join(folder, "fixtures.pb")
    subprocess.run(["protoc", "-I", FIXTURES, "--python_out", folder, "--include_imports",
                    "--descriptor_set_out", descriptors] + files, check=True)
    sys.path.insert(0, folder)
    modules = [importlib.import_module(f[:-6] + "_pb2") for f in files]
    types = [getattr(m, name) for m in modules for name in m.DESCRIPTOR.message_types_by_name]
    known = [getattr(importlib.import_module("google.protobuf.%s_pb2" % module), name) for module, name in [
        ("timestamp", "Timestamp"), ("duration", "Duration"), ("field_mask", "FieldMask"), ("any", "Any"),
        ("empty", "Empty"), ("struct", "Struct"), ("struct", "Value"), ("struct", "ListValue"),
        ("wrappers", "StringValue"), ("wrappers", "UInt64Value"), ("wrappers", "BytesValue")]]
    return descriptors, types, known


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", default=os.path.join(HERE, "..", "..", "build", "unit", "pb_codec_driver"))
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--skip-lua", action="store_true", help="leave out what goes through Lua")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        descriptors, types, known = load_fixtures(folder)
        driver = Driver(options.driver)
        driver.ask("load %s" % descriptors)
        any_types = types + known
        checker = Checker(driver, types, any_types, options.skip_lua)
        started = time.time()
        for i in range(options.messages):
            rng = random.Random("%d/%d" % (options.seed, i))
            message = rng.choice(types if rng.random() < 0.9 else known)()
            Maker(rng, any_types).fill(message, 0)
            shown = str(message)
            data = message.SerializeToString()
            try:
                checker.check(rng, message)
                checker.check_broken(rng, message)
            except Differs as e:
                sys.exit("codec: message %d of seed %d, %s\n%s\nbinary: %s\n%s" % (
                    i, options.seed, message.DESCRIPTOR.full_name, shown, data.hex(), e))
        print("codec: %d messages of %d types ok in %.1f s, seed %d" % (
            options.messages, len(types) + len(known), time.time() - started, options.seed))


if __name__ == "__main__":
    main()
