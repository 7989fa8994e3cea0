#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Services called as if they were commands: every type of field as a flag, and what is wrong with flags, found before sending."""

import base64
import json
import os
import re
import subprocess
import unittest

import harness
from harness import BINARY, EXAMPLES, SERVICES

BYTES = base64.b64encode(b"\0\1\xff\n").decode()

# flags -> what the answer holds
VALUES = [
    ("--f-double 1.5", {"f_double": 1.5}),
    ("--f-double -1.5e300", {"f_double": -1.5e300}),
    ("--f-double NaN", {"f_double": "NaN"}),
    ("--f-double -Infinity", {"f_double": "-Infinity"}),
    ("--f-double 0.1", {"f_double": 0.1}),
    ("--f-float 0.5", {"f_float": 0.5}),
    ("--f-int32 -2147483648", {"f_int32": -2147483648}),
    ("--f-int32 2147483647", {"f_int32": 2147483647}),
    ("--f-int32=-5", {"f_int32": -5}),
    ("--f-int32 007", {"f_int32": 7}),
    ("--f-int32 -0", {"f_int32": 0}),
    ("--f-int64 9223372036854775807", {"f_int64": "9223372036854775807"}),
    ("--f-int64 -9223372036854775808", {"f_int64": "-9223372036854775808"}),
    ("--f-uint32 4294967295", {"f_uint32": 4294967295}),
    ("--f-uint64 18446744073709551615", {"f_uint64": "18446744073709551615"}),
    ("--f-sint32 -3 --f-sint64 -4", {"f_sint32": -3, "f_sint64": "-4"}),
    ("--f-fixed32 5 --f-fixed64 6", {"f_fixed32": 5, "f_fixed64": "6"}),
    ("--f-sfixed32 -7 --f-sfixed64 -8", {"f_sfixed32": -7, "f_sfixed64": "-8"}),
    ("--f-bool", {"f_bool": True}),
    ("--f-bool=true", {"f_bool": True}),
    ("--f-bool=false", {"f_bool": False}),
    ("--f-bool --f-int32 1", {"f_bool": True, "f_int32": 1}),
    ("--f-string plain", {"f_string": "plain"}),
    (["--f-string", "two words"], {"f_string": "two words"}),
    (["--f-string", "a=b=c"], {"f_string": "a=b=c"}),
    (["--f-string=a=b=c"], {"f_string": "a=b=c"}),
    (["--f-string", "=x"], {"f_string": "=x"}),
    (["--f-string", ""], {"f_string": ""}),
    (["--f-string="], {"f_string": ""}),
    (["--f-string", "'\"\\ \n\t`$x"], {"f_string": "'\"\\ \n\t`$x"}),
    (["--f-string", "Grüße 😀 日本"], {"f_string": "Grüße 😀 日本"}),
    (["--f-string=--f-int32"], {"f_string": "--f-int32"}),
    (["--f-string", "-x"], {"f_string": "-x"}),
    (["--f-string", "-"], {"f_string": "-"}),
    (["--f-string", "@file"], {"f_string": "@file"}),
    (["--f-string", "%s %d %"], {"f_string": "%s %d %"}),
    (["--f_string", "underscores"], {"f_string": "underscores"}),
    (["--fString", "json name"], {"f_string": "json name"}),
    (f"--f-bytes {BYTES}", {"f_bytes": BYTES}),
    ("--f-bytes AAH_Cg", {"f_bytes": BYTES}),
    ("--f-bytes=", {"f_bytes": ""}),
    ("--f-enum RED", {"f_enum": "RED"}),
    ("--f-enum BELOW", {"f_enum": "BELOW"}),
    ("--f-enum 5", {"f_enum": "GREEN"}),
    ("--f-message.x 1 --f-message.y -2", {"f_message": {"x": 1, "y": -2}}),
    (["--f-message", '{"x": 1}', "--f-message.y", "2"], {"f_message": {"x": 1, "y": 2}}),
    (["--f-message.x", "9", "--f-message", '{"x": 1, "y": 2}'], {"f_message": {"x": 9, "y": 2}}),
    ("--person.address.city Rome --person.name Ada --person.address.at.x 3 --person.phones 1 --person.phones 2",
     {"person": {"name": "Ada", "address": {"city": "Rome", "at": {"x": 3, "y": 0}}, "phones": ["1", "2"]}}),
    ("--o-int32 0", {"o_int32": 0}),
    ("--o-string=", {"o_string": ""}),
    ("--o-bool=false --o-enum NONE", {"o_bool": False, "o_enum": "NONE"}),
    ("--r-int32 1 --r-int32 -2 --r-int32=3", {"r_int32": [1, -2, 3]}),
    (["--r-string", "a,b", "--r-string", "[c]"], {"r_string": ["a,b", "[c]"]}),
    (["--r-message", '{"x":1}', "--r-message", '{"x":2,"y":3}'], {"r_message": [{"x": 1, "y": 0}, {"x": 2, "y": 3}]}),
    ("--r-double 1.5 --r-double 2", {"r_double": [1.5, 2]}),
    ("--r-enum RED --r-enum NONE", {"r_enum": ["RED", "NONE"]}),
    ("--r-bool true --r-bool=false", {"r_bool": [True, False]}),
    (f"--r-bytes {BYTES} --r-bytes=", {"r_bytes": [BYTES, ""]}),
    ("--r-int64 9223372036854775807", {"r_int64": ["9223372036854775807"]}),
    ("--r-duration 1s --r-duration 90m", {"r_duration": ["1s", "5400s"]}),
    ("--m-string.lang=en --m-string.a.b=c", {"m_string": {"lang": "en", "a.b": "c"}}),
    (["--m-string.key", "x=y z"], {"m_string": {"key": "x=y z"}}),
    (["--m-string", '{"a":"1"}', "--m-string.b=2"], {"m_string": {"a": "1", "b": "2"}}),
    (["--m-message.7.x", "1", "--m-message.7.y", "2", "--m-message.-8", '{"x":3}'],
     {"m_message": {"7": {"x": 1, "y": 2}, "-8": {"x": 3, "y": 0}}}),
    ("--m-bool.true 1 --m-bool.false 2", {"m_bool": {"true": "1", "false": "2"}}),
    ("--m-enum.18446744073709551615 GREEN", {"m_enum": {"18446744073709551615": "GREEN"}}),
    ("--email a@b.c", {"email": "a@b.c"}),
    ("--phone 123", {"phone": "123"}),
    ("--place.x 1 --place.y 2", {"place": {"x": 1, "y": 2}}),
    ("--w-timestamp 2026-11-22T10:00:00Z", {"w_timestamp": "2026-11-22T10:00:00Z"}),
    ("--w-timestamp 2026-11-22T10:00:00.123456789Z", {"w_timestamp": "2026-11-22T10:00:00.123456789Z"}),
    ("--w-timestamp 2026-11-22T12:00:00+02:00", {"w_timestamp": "2026-11-22T10:00:00Z"}),
    (["--w-timestamp", "2026-11-22 10:00:00z"], {"w_timestamp": "2026-11-22T10:00:00Z"}),
    ("--w-timestamp 2026-11-22", {"w_timestamp": "2026-11-22T00:00:00Z"}),
    ("--w-duration 2s", {"w_duration": "2s"}),
    ("--w-duration 1h30m", {"w_duration": "5400s"}),
    ("--w-duration 250ms", {"w_duration": "0.250s"}),
    ("--w-duration -1.5s", {"w_duration": "-1.500s"}),
    (["--w-struct", '{"a":[1,null,{"b":true}]}'], {"w_struct": {"a": [1, None, {"b": True}]}}),
    (["--w-struct.name", "Ada", "--w-struct.n=3", "--w-struct.l=[1]"], {"w_struct": {"name": "Ada", "n": 3, "l": [1]}}),
    (["--w-value", "[1,2]"], {"w_value": [1, 2]}),
    (["--w-value", "just text"], {"w_value": "just text"}),
    (["--w-value", "null"], {"w_value": None}),
    (["--w-list", '[1,"a"]'], {"w_list": [1, "a"]}),
    ("--w-string=", {"w_string": ""}),
    ("--w-int64 -9223372036854775808", {"w_int64": "-9223372036854775808"}),
    ("--w-bool", {"w_bool": True}),
    ("--w-bool=false", {"w_bool": False}),
    (f"--w-bytes {BYTES}", {"w_bytes": BYTES}),
    ("--w-mask f_int32,person.name", {"w_mask": "fInt32,person.name"}),
    ("--w-empty", {"w_empty": {}}),
    (["--w-any", '{"@type":"type.googleapis.com/fields.Point","x":4}'],
     {"w_any": {"@type": "type.googleapis.com/fields.Point", "x": 4, "y": 0}}),
    ("--w-double 2.5 --w-float 0.5", {"w_double": 2.5, "w_float": 0.5}),
    ("--w-int32 -1 --w-uint32 1 --w-uint64 18446744073709551615", {"w_int32": -1, "w_uint32": 1,
                                                                  "w_uint64": "18446744073709551615"}),
    ("--w-null", {"w_null": None}),
    # bodies
    (["--json", '{"f_int32":1,"fString":"b"}'], {"f_int32": 1, "f_string": "b"}),
    (["--json", '{"f_int32":1,"f_string":"b"}', "--f-int32", "2"], {"f_int32": 2, "f_string": "b"}),
    (["--json", '{"fString":"b","r_int32":[1,2]}', "--f-string=c", "--r-int32", "3"], {"f_string": "c", "r_int32": [3]}),
    (["--json", '{"f_int64":9223372036854775807,"f_uint64":18446744073709551615}', "--f-int32", "2"],
     {"f_int64": "9223372036854775807", "f_uint64": "18446744073709551615"}),
    (["--json", '{"person":{"name":"A","address":{"city":"B"}}}', "--person.address.city=C"],
     {"person": {"name": "A", "address": {"city": "C"}, "phones": []}}),
    (["--json", '{"m_string":{"a":"1"},"email":"x"}', "--m-string.b=2", "--phone", "5"],
     {"m_string": {"a": "1", "b": "2"}, "phone": "5"}),
    (["--json", '{"f_message":null}', "--f-message.x=2"], {"f_message": {"x": 2, "y": 0}}),
    (["--json", '{"person":{},"r_int32":[],"m_string":{},"w_list":[],"w_struct":{}}', "--f-int32=1"],
     {"person": {"name": "", "phones": []}, "r_int32": [], "m_string": {}, "w_list": [], "w_struct": {}}),
    (["--json", '{"w_value":null,"w_list":[null]}', "--f-int32=1"], {"w_value": None, "w_list": [None]}),
    (["--json", '{"f_double":1e300,"f_int64":"-5","f_string":"99999999999999999999"}', "--f-int32=1"],
     {"f_double": 1e300, "f_int64": "-5", "f_string": "99999999999999999999"}),
]

# flags -> what standard error says; nothing is sent
FAULTS = [
    ("--f-strin x", r'unknown field --f-strin \(did you mean --f-string\?\)'),
    ("--person.adress.city x", r'unknown field --person\.adress \(did you mean --person\.address\?\)'),
    ("--nothing-like-it x", "unknown field --nothing-like-it"),
    ("--f-string", "--f-string needs a value"),
    ("--f-string --f-bool", "--f-string needs a value"),
    ("--f-int32 x", '--f-int32: expected int32, got "x"'),
    ("--f-int32 1.5", '--f-int32: expected int32, got "1.5"'),
    ("--f-int32 2147483648", "--f-int32: 2147483648 is out of range"),
    ("--f-int32 -2147483649", "out of range"),
    ("--f-uint32 -1", "out of range"),
    ("--f-uint64 18446744073709551616", "out of range"),
    ("--f-int64 9223372036854775808", "out of range"),
    ("--f-int64=", "expected int64"),
    ("--f-double 0x10", "expected double"),
    ("--f-double 1e999", "out of range"),
    ("--f-float 1e39", "out of range"),
    ("--f-bool=maybe", "expected true or false"),
    ("--f-bool false", 'unexpected "false": write --f-bool=false'),
    ("--f-enum READ", r'expected one of NONE, RED, GREEN, BELOW, got "READ" \(did you mean "RED"\?\)'),
    ("--f-bytes a!", "expected base64 or @file"),
    ("--f-bytes a", "expected base64 or @file"),
    ("--f-bytes @/nowhere/at/all", "no file"),
    ("--f-message x", "expected a JSON object"),
    (["--f-message", '{"z":1}'], 'fields.Point has no field "z"'),
    (["--f-message", '{"x":'], "expected JSON"),
    ("--f-string.x 1", "--f-string has no fields: it is of type string"),
    ("--r-message.x 1", "--r-message is a list"),
    ("--m-string x", "expected a JSON object"),
    ("--m-string.=x", "needs a key"),
    ("--m-message.a.x=1", "the key: expected int32"),
    ("--m-bool.yes=1", "the key: expected true or false"),
    ("--m-enum.1=BLUE", "expected one of"),
    ("--f-string a --f-string b", "--f-string was given twice"),
    ("--person.name a --person.name b", "--person.name was given twice"),
    ("--email a --phone 1", "--email and --phone exclude each other: only one of contact"),
    ("--w-timestamp yesterday", "expected a time such as"),
    ("--w-timestamp 2026-02-30T10:00:00Z", "expected a time such as"),
    ("--w-duration 2", "expected a duration such as"),
    ("--w-duration soon", "expected a duration such as"),
    ("--w-struct x", "expected a JSON object"),
    ("--w-list {}", "expected a JSON list"),
    ("--w-int64 x", "expected int64"),
    (["--w-any", "{}"], "expected the type of the message too"),
    (["--w-mask", "a b"], "expected names of fields"),
    (["--w-empty=x"], "it holds nothing"),
    (["--w-null=x"], "expected null"),
    (["--json", "{malformed"], "expected JSON"),
    (["--json", "[]"], "expected a JSON object"),
    (["--json", '{"f_strin":"x"}'], r'fields\.Everything has no field "f_strin" \(did you mean "f_string"\?\)'),
    (["--json", '{"person":{"address":{"zip":1}}}'], 'has no field "person.address.zip"'),
    (["--json", '{"r_message":[{"x":1},{"q":1}]}'], r'has no field "r_message\[1\]\.q"'),
    (["--json", "{}", "--json", "{}"], "--json was given twice"),
    (["--json"], "--json needs a value"),
    (["--json", "@/nowhere/at/all"], "no file"),
    (["x"], 'unexpected "x"'),
    (["--f-string", "two", "words"], 'unexpected "words"'),
]


def words(flags):
    return flags.split() if isinstance(flags, str) else flags


class Case(harness.Case):
    services = [SERVICES / "fields", EXAMPLES / "helloworld"]

    def check(self, done, code, out=None, err=None):
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        if out is not None:
            self.assertEqual(done.stdout, out)
        if err is not None:
            self.assertRegex(done.stderr, err)

    def answer(self, *args, **options):
        done = self.server.mica(*args, **options)
        self.check(done, 0, err="^$")
        return json.loads(done.stdout)

    def called(self):
        """How many calls have reached the service."""
        return len(re.findall(r"\bcalled\b", self.server.log()))


class Values(Case):
    def test_values(self):
        for flags, wanted in VALUES:
            with self.subTest(flags=flags):
                got = self.answer("fields", "echo", *words(flags))
                self.assertEqual({key: got.get(key) for key in wanted}, wanted)

    def test_members_of_a_oneof_that_are_not_given_are_absent(self):
        got = self.answer("fields", "echo", "--json", '{"email":"x"}', "--phone", "5")
        self.assertEqual((got["phone"], "email" in got, "place" in got), ("5", False, False))
        self.assertNotIn("o_int32", self.answer("fields", "echo"))

    def test_bytes_and_bodies_from_files_and_standard_input(self):
        folder = harness.work_folder("flags")
        (folder / "raw").write_bytes(b"\0\1\xff\n")
        (folder / "body.json").write_text('{"f_int32": 7,\n "f_string": "x"}')
        got = self.answer("fields", "echo", "--f-bytes", "@raw", "--json", "@body.json", cwd=folder)
        self.assertEqual((got["f_bytes"], got["f_int32"], got["f_string"]), (BYTES, 7, "x"))
        got = self.answer("fields", "echo", "--json", "-", "--f-int32", "8", input='{"f_string":"y"}')
        self.assertEqual((got["f_int32"], got["f_string"]), (8, "y"))
        got = self.answer("fields", "echo", "--f-bytes", "-", input="abc")
        self.assertEqual(got["f_bytes"], "YWJj")

    def test_fields_with_the_names_of_flags(self):
        flags = ["--json", "1", "--help", "2", "--timeout", "3", "--address", "4", "--old-password", "5", "--camelCase", "6",
                 "--output", "7"]
        got = self.answer("fields", "names", *flags)
        self.assertEqual(got, {"json": "1", "help": "2", "timeout": "3", "address": "4", "old_password": "5", "camelCase": "6",
                               "output": "7"})

    def test_a_message_that_holds_itself(self):
        got = self.answer("fields", "plant", "--left.left.left.name", "deep", "--branches", '{"left":{"name":"x"}}')
        self.assertEqual(got["left"]["left"]["left"]["name"], "deep")
        self.assertEqual(got["branches"][0]["left"]["name"], "x")
        self.check(self.server.mica("fields", "plant", "--help"), 0, err="^$")


class Faults(Case):
    def test_faults(self):
        before = self.called()
        for flags, wanted in FAULTS:
            with self.subTest(flags=flags):
                self.check(self.server.mica("fields", "echo", *words(flags)), 2, "", "^mica: .*" + wanted)
        self.assertEqual(self.called(), before)

    def test_text_that_is_not_utf8(self):
        done = subprocess.run([*harness.launcher(), BINARY, "fields", "echo", "--f-string", b"\xff\xfe"], capture_output=True,
                              env=harness.environment({"MICA_ADDRESS": self.server.proxy}), timeout=30 * harness.SLOW)
        self.assertEqual(done.returncode, 2, done)
        self.assertIn(b"UTF-8", done.stderr)


class Endpoints(Case):
    def test_names_of_endpoints(self):
        for args in (["call"], ["Call"], ["fields", "call"], ["Fields.Call"], ["fields.Fields.Call"], []):
            with self.subTest(args=args):
                self.assertEqual(self.answer("fields", *args, "--name", "Ada")["name"], "Ada")
        for args in (["admin", "reset"], ["fieldsadmin", "reset"], ["FieldsAdmin", "Reset"], ["FieldsAdmin.Reset"],
                     ["fields-admin", "reset"], ["reset"]):
            with self.subTest(args=args):
                self.assertEqual(self.answer("fields", *args), {})

    def test_a_service_alone_lists_its_endpoints(self):
        for args in ([], ["--help"], ["-h"]):
            with self.subTest(args=args):
                done = self.server.mica("fields", *args)
                self.check(done, 0, err="^$")
                for word in ("call", "echo", "sum", "admin reset", "Call answers what it was sent."):
                    self.assertIn(word, done.stdout)
        done = self.server.mica("fields", "admin")
        self.check(done, 0, err="^$")
        self.assertIn("admin reset", done.stdout)
        self.assertNotIn("echo", done.stdout)

    def test_unknown_endpoints(self):
        self.check(self.server.mica("fields", "ecko"), 2, "", r'^mica: service fields has no endpoint "ecko".*[Ee]cho')
        self.check(self.server.mica("fields", "admin", "reste"), 2, "", r"has no endpoint")
        self.check(self.server.mica("fields", "call", "now", "--name", "x"), 2, "", 'unexpected "now"')

    def test_platform_services(self):
        got = self.answer("registry", "get-service", "--name", "fields")
        self.assertEqual(got["services"][0]["name"], "fields")

    def test_words_that_are_no_service(self):
        self.check(self.server.mica("feilds", "echo"), 2, "", "(?s)^mica: unknown command or service \"feilds\".*fields")
        self.check(self.server.mica("servcie"), 2, "", "^mica: ")

    def test_programs_on_the_path(self):
        folder = harness.work_folder("bin")
        program = folder / "mica-greet"
        program.write_text('#!/bin/sh\necho "greets $1 $2"\nexit 7\n')
        program.chmod(0o755)
        for address in (self.server.proxy, "127.0.0.1:1"):
            env = {"MICA_ADDRESS": address, "PATH": f"{folder}:{os.environ['PATH']}"}
            done = harness.mica("greet", "Ada", "two words", env=env)
            self.check(done, 7, "greets Ada two words\n")

    def test_streams(self):
        done = self.server.mica("fields", "count", "--n", "3")
        self.check(done, 0, '{"n":"1"}\n{"n":"2"}\n{"n":"3"}\n', "^$")
        self.assertEqual(self.answer("fields", "sum", "--n", "3"), {"n": "3"})
        self.assertEqual(self.answer("fields", "sum", input='{"n":3}\n{"n":4}\n'), {"n": "7"})


class Help(Case):
    def test_help_shows_types_values_comments_and_an_example(self):
        done = self.server.mica("fields", "echo", "--help")
        self.check(done, 0, err="^$")
        for text in ("Echo answers what it was sent, field by field.", "--f-int32 int32", "--person.address.city string",
                     "--person.address.at.x int32", "to the right", "any text", "--f-enum NONE|RED|GREEN|BELOW", "RED: as blood",
                     "--m-string.KEY string", "--r-message JSON", "may repeat", "one of contact", "--w-timestamp time",
                     "--w-duration duration", "--f-bytes bytes", "--json JSON|@file|-", "mica fields echo --"):
            self.assertIn(text, done.stdout)

    def test_help_shows_the_rules_of_validate(self):
        out = self.server.mica("fields", "call", "--help").stdout
        self.assertRegex(out, r"--name string +who is greeted \(at most 50; like \^\[\^%d\]\*\$\)")
        self.assertRegex(out, r"--times int32 +\(from 0 to 1000\)")

    def test_every_flag_that_help_shows_is_read(self):
        samples = {"time": "2026-11-22T10:00:00Z", "duration": "2s", "bool": None, "empty": None, "null": None, "bytes": "AA==",
                   "string": "text", "fields": "a", "NONE|RED|GREEN|BELOW": "RED"}
        special = {"w-list": "[]", "w-any": '{"@type":"type.googleapis.com/fields.Point"}', "m-message.KEY": "{}"}
        keys = {"m-message": "1", "m-bool": "true", "m-enum": "1"}
        shown = re.findall(r"^  --(\S+) (\S+)", self.server.mica("fields", "echo", "--help").stdout, re.M)
        fields = [(flag, label) for flag, label in shown if flag != "json"]
        self.assertGreater(len(fields), 55)
        for flag, label in fields:
            with self.subTest(flag=flag):
                value = special.get(flag, samples.get(label, "{}" if label == "JSON" else "1"))
                if flag.startswith("r-") and label == "bool":
                    value = "true"
                name = flag.replace("KEY", keys.get(flag.split(".")[0], "key"))
                args = [f"--{name}"] if value is None else [f"--{name}={value}"]
                self.answer("fields", "echo", *args)


class Alone(unittest.TestCase):
    def test_nobody_answers(self):
        done = harness.mica("--address", "127.0.0.1:1", "posts", "save", "--id", "1")
        self.assertEqual((done.returncode, done.stdout), (3, ""), done.stderr)
        self.assertRegex(done.stderr, r"^mica: UNAVAILABLE .*127\.0\.0\.1:1")

    def test_a_misspelled_command_needs_no_server(self):
        done = harness.mica("--address", "127.0.0.1:1", "srever")
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertRegex(done.stderr, "mica server")


if __name__ == "__main__":
    harness.main()
