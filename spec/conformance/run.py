#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tries the conformance tables of this folder on Mica's codec and on Google's (python3-protobuf).

Every row is one test, in TAP: what the document wants, what Mica makes of it by each of its ways, and what Google's makes:
  read    binary -> message    by: wire -> wire, wire -> Lua -> wire, wire -> ProtoJSON (the ordered reader), -> Micro's JSON
  parse   JSON -> message      by: JSON -> wire, JSON -> Lua -> wire, JSON -> JSON
  write   message -> JSON      by: wire -> ProtoJSON, text for text; wire -> Micro's JSON; Google's as values
  lua     a script             through the codec's Lua ends

usage: run.py [--driver PATH] [--list] [PATTERN]     a PATTERN leaves out the rows whose names do not match
"""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings

from google.protobuf import json_format, text_format

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(SPEC, "e2e"))

from codec_differential import Driver, Refused  # noqa: E402
from rows import ANYTHING, GROUP, REFUSED  # noqa: E402

TABLES = ["encoding", "proto2", "json_input", "json_types", "json_output", "lua_values"]
PROTOS = [os.path.join(SPEC, "unit", "pb", "fixtures"), os.path.join(HERE, "proto")]
KNOWN = ["any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"]


class Types:
    def __init__(self, folder):
        files = [f for p in PROTOS for f in sorted(os.listdir(p)) if f.endswith(".proto")]
        self.path = os.path.join(folder, "tables.pb")
        subprocess.run(["protoc", *("-I" + p for p in PROTOS), "--python_out", folder, "--include_imports",
                        "--descriptor_set_out", self.path, *files], check=True)
        sys.path.insert(0, folder)
        self.by_name = {}
        for module in [f[:-6] + "_pb2" for f in files] + ["google.protobuf.%s_pb2" % k for k in KNOWN]:
            loaded = importlib.import_module(module)
            for name in loaded.DESCRIPTOR.message_types_by_name:
                kind = getattr(loaded, name)
                self.by_name[kind.DESCRIPTOR.full_name] = kind


def plain(value):
    """A message as Python values that are equal when the messages are; all NaNs are one, and -0.0 is not 0.0."""
    if isinstance(value, float):
        return repr(value)
    if not hasattr(value, "ListFields"):
        return value
    out = {}
    for field, content in value.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            out[field.full_name] = {key: plain(content[key]) for key in content}
        elif field.label == field.LABEL_REPEATED:
            out[field.full_name] = [plain(element) for element in content]
        else:
            out[field.full_name] = plain(content)
    unknown = plain_unknown(value.UnknownFields())
    return (out, unknown) if unknown else out


def plain_unknown(fields):
    return [(f.field_number, f.wire_type, plain_unknown(f.data) if f.wire_type == GROUP else f.data) for f in fields]


def message_of(kind, text, unknown=b""):
    message = kind()
    text_format.Parse(text, message)
    if unknown:
        message.MergeFromString(unknown)
    return message


def without_unknown(message):
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return copy


class Tried:
    """One row: collects what is wrong with it."""

    def __init__(self, row, types, driver):
        self.row, self.driver, self.faults = row, driver, []
        self.kind = types.by_name[row.message_type] if row.message_type else None

    def ask(self, op, data):
        return self.driver.ask("%s %s %s" % (op, self.row.message_type, data.hex() or "-"))

    def fault(self, who, text):
        self.faults.append("%s: %s" % (who, text))

    def expect(self, who, wanted, make):
        """`make` gives a message, or raises; `wanted` is a message, or REFUSED."""
        try:
            got = make()
        except Exception as e:  # whatever the readers raise
            if str(e) == "the driver ended":
                raise
            if wanted != REFUSED:
                self.fault(who, "refused: %s" % e)
            return
        if wanted == REFUSED:
            self.fault(who, "accepted: %s" % text_format.MessageToString(got, as_one_line=True))
        elif plain(got) != plain(wanted):
            self.fault(who, "is %s\n  and not %s" % (text_format.MessageToString(got, as_one_line=True),
                                                   text_format.MessageToString(wanted, as_one_line=True)))

    def expect_google(self, make, unknown=b""):
        row = self.row
        if row.python != ANYTHING:
            self.expect("Google's", self.wanted(row.wanted if row.python is None else row.python, unknown), make)
            return
        before, self.faults = self.faults, []
        self.expect("Google's", self.wanted(row.wanted, unknown), make)
        same, self.faults = not self.faults, before
        if same:
            self.fault("the row", "says that Google's differs, and it does not")

    def wanted(self, text, unknown=b""):
        return REFUSED if text == REFUSED else message_of(self.kind, text, unknown)

    def parsed(self, data):
        message = self.kind()
        with warnings.catch_warnings(record=True) as told:  # Google's reader warns where it stops reading too early
            warnings.simplefilter("always")
            message.MergeFromString(data)
        if told:
            raise ValueError(told[0].message)
        return message

    def from_json(self, data):
        return json_format.Parse(data.decode(), self.kind())

    def read(self):
        row = self.row
        unknown = row.more.get("unknown", b"")
        ours = self.wanted(row.wanted if row.mica is None else row.mica, unknown)
        for op in ("wire", "lua"):
            self.expect("Mica, " + op, ours, lambda op=op: self.parsed(self.ask(op, row.given)))
        if row.more.get("json", True):
            known = ours if ours == REFUSED else without_unknown(ours)
            for op in ("proto", "micro"):
                self.expect("Mica, " + op, known, lambda op=op: self.from_json(self.ask(op, row.given)))
        if "wire" in row.more:
            got = self.ask("lua", row.given)
            if got != row.more["wire"]:
                self.fault("Mica", "writes %s and not %s" % (got.hex(), row.more["wire"].hex()))
        self.expect_google(lambda: self.parsed(row.given), unknown)

    def parse(self):
        row = self.row
        given = row.given if isinstance(row.given, bytes) else row.given.encode()
        ours = self.wanted(row.wanted if row.mica is None else row.mica)
        lenient = row.more.get("lenient", False)
        ops = ["lenient"] if lenient else ["read", "lua_read"]
        for op in ops:
            self.expect("Mica, " + op, ours, lambda op=op: self.parsed(self.ask(op, given)))
        if not lenient and row.more.get("json", True):
            for op in ("json", "lua_json"):
                self.expect("Mica, " + op, ours, lambda op=op: self.from_json(self.ask(op, given)))
        self.expect_google(lambda: json_format.Parse(given, self.kind(), ignore_unknown_fields=lenient))

    def text(self, who, wanted, op, data):
        try:
            got = self.ask(op, data).decode()
        except Refused as e:
            if wanted != REFUSED:
                self.fault(who, "refused: %s" % e)
            return
        if got != wanted:
            self.fault(who, "writes %s\n  and not %s" % (got, wanted))

    def write(self):
        row = self.row
        if isinstance(row.given, bytes):
            message = self.kind()
            message.MergeFromString(row.given)
        else:
            message = message_of(self.kind, row.given)
        data = message.SerializePartialToString()
        self.text("Mica", row.wanted if row.mica is None else row.mica, "proto", data)
        if "micro" in row.more:
            self.text("Mica, Micro's form", row.more["micro"], "micro", data)
        try:
            got = json_format.MessageToJson(message, indent=None)
        except Exception:  # whatever its writer raises
            got = REFUSED
        wanted = row.wanted if row.python in (None, ANYTHING) else row.python
        same = got == wanted or REFUSED not in (got, wanted) and json.loads(got) == json.loads(wanted)
        if row.python == ANYTHING and same:
            self.fault("the row", "says that Google's differs, and it does not")
        elif row.python != ANYTHING and not same:
            self.fault("Google's", "writes %s and not %s" % (got, wanted))

    def lua(self):
        got = self.driver.ask("script - %s" % self.row.given.encode().hex()).decode(errors="backslashreplace")
        wanted = self.row.wanted
        matches = got == wanted
        if wanted.startswith("error: "):  # the path in front is the message's
            matches = got.startswith("error: ") and got.endswith(wanted[len("error: "):])
        if not matches:
            self.fault("Mica", "gives %s\n  and not %s" % (got, wanted))


def quiet_libraries():
    """Google's library writes what it refuses to the standard error as well; only Python keeps it."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--driver", default=os.path.join(SPEC, "..", "build", "unit", "pb_codec_driver"))
    parser.add_argument("--list", action="store_true", help="the rows that differ from the document, and why")
    parser.add_argument("pattern", nargs="?", default="")
    options = parser.parse_args()
    quiet_libraries()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        types = Types(folder)
        driver = Driver(options.driver)
        driver.ask("load %s" % types.path)
        tables = [importlib.import_module(name).table for name in TABLES]
        rows = [(t, r) for t in tables for r in t.rows]
        rows = [(t, r) for t, r in rows if re.search(options.pattern, "%s, %s: %s" % (t.document, r.section, r.rule))]
        print("1..%d" % len(rows))
        for number, (table, row) in enumerate(rows, 1):
            tried = Tried(row, types, driver)
            getattr(tried, row.kind)()
            failed += bool(tried.faults)
            print("%s %d - %s, %s: %s" % ("not ok" if tried.faults else "ok", number, table.document, row.section, row.rule))
            for fault in tried.faults:
                print("\n".join("# " + line for line in fault.splitlines()))
            if options.list and row.why:
                print("# %s" % row.why)
        print("# %d rows, %d failed; %d where Google's differs from the document, %d where Mica does on purpose" % (
            len(rows), failed, sum(r.python is not None for _, r in rows), sum(r.mica is not None for _, r in rows)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
