# SPDX-License-Identifier: Apache-2.0
"""What only proto2 has: presence and defaults, required fields, closed enums, groups, extensions."""

from rows import ANYTHING, END_GROUP, GROUP, LENGTH, REFUSED, Table, b, f32, f64, group, tag, v, varint, z

table = Table("proto2")
read, parse, write, section = table.read, table.parse, table.write, table.section

DEFAULTS, STRICT, GROUPED, EXTENDABLE = "codec2.Defaults", "codec2.Strict", "codec2.Grouped", "codec2.Extendable"
REQUIRED, AROUND, TEXT = "conform2.Required", "conform2.Around", "conform2.Text"

PYTHON_EXTENSIONS = "Python looks for repeated extensions among the plain fields, and fails"

# ----------------------------------------------------------------------------------------------------------------------
section("presence and defaults")
read("nothing is set", DEFAULTS, b"", "", wire=b"")
PRESENT = [("double", f64(1, 0), "a_double: 0"), ("float", f32(2, 0), "a_float: 0"), ("int32", v(3, 0), "an_int32: 0"),
           ("int64", v(4, 0), "an_int64: 0"), ("uint64", v(5, 0), "a_uint64: 0"), ("bool", v(6, 0), "a_bool: false"),
           ("string", b(7), 'a_string: ""'), ("bytes", b(8), 'some_bytes: ""'), ("sint32", z(10, 0), "a_sint32: 0"),
           ("fixed32", f32(11, 0), "a_fixed32: 0"), ("sfixed64", f64(12, 0), "an_sfixed64: 0")]
for name, data, text in PRESENT:
    read("%s: a zero is there and written" % name, DEFAULTS, data, text, wire=data)
read("the default itself is there and written", DEFAULTS, v(6, 1), "a_bool: true", wire=v(6, 1))
write("defaults are not printed, they are not set", DEFAULTS, "", "{}",
      micro='{"shapes":[],"packed_shapes":[],"packed_ints":[],"loose_fixed":[],"switches":{},"nested":{}}')
write("a zero that is set is printed", DEFAULTS, "an_int32: 0", '{"anInt32":0}')
parse("null leaves it unset", DEFAULTS, '{"anInt32":null}', "")
parse("a zero is set", DEFAULTS, '{"anInt32":0}', "an_int32: 0")
parse("the default itself is set", DEFAULTS, '{"aBool":true}', "a_bool: true")

# ----------------------------------------------------------------------------------------------------------------------
section("repeated fields")
read("not packed unless it is asked for", DEFAULTS, f32(16, 1) + f32(16, 2), "loose_fixed: 1 loose_fixed: 2",
     wire=f32(16, 1) + f32(16, 2))
read("packed is read where it is not declared", DEFAULTS, b(16, f32(16, 1)[2:], f32(16, 2)[2:]),
     "loose_fixed: 1 loose_fixed: 2", wire=f32(16, 1) + f32(16, 2))
read("[packed = true] is written packed", DEFAULTS, z(15, -1) + z(15, 5), "packed_ints: -1 packed_ints: 5",
     wire=b(15, b"\x01\x0a"))

# ----------------------------------------------------------------------------------------------------------------------
section("closed enums")
read("a known number", DEFAULTS, v(9, -7), "shape: FLAT", wire=v(9, -7))
read("a number that it lacks is an unknown field", DEFAULTS, v(9, 99), "", unknown=v(9, 99), wire=v(9, 99))
read("a number that it lacks does not unset a known one", DEFAULTS, v(9, 1) + v(9, 99), "shape: ROUND", unknown=v(9, 99))
read("a number that it lacks, before a known one", DEFAULTS, v(9, 99) + v(9, 1), "shape: ROUND", unknown=v(9, 99))
read("zero, which it lacks", DEFAULTS, v(9, 0), "", unknown=v(9, 0))
read("in a list, known and unknown", DEFAULTS, v(13, 1) + v(13, 99) + v(13, 2), "shapes: ROUND shapes: SQUARE", unknown=v(13, 99))
read("in a packed list, known and unknown", DEFAULTS, b(14, varint(1), varint(99), varint(2)),
     "packed_shapes: ROUND packed_shapes: SQUARE", unknown=v(14, 99))
read("in a packed list, all unknown", DEFAULTS, b(14, varint(98), varint(99)), "", unknown=v(14, 98) + v(14, 99))
read("in a oneof", DEFAULTS, v(19, 1), "one_shape: ROUND")
read("in a oneof, a number that it lacks leaves the other member", DEFAULTS, b(20, "a") + v(19, 99), 'one_text: "a"',
     unknown=v(19, 99))
read("a number whose low 32 bits it has", DEFAULTS, v(9, 2**32 + 1), "shape: ROUND", wire=v(9, 1))
read("as the value of a map", DEFAULTS, b(17, v(1, 5), v(2, 1)), "switches { key: 5 value: ON }")
read("as the value of a map, a number that it lacks makes the entry an unknown field", DEFAULTS, b(17, v(1, 5), v(2, 99)), "",
     unknown=b(17, v(1, 5), v(2, 99)), wire=b(17, v(1, 5), v(2, 99)), json=False)
write("JSON: an entry whose value the enum lacks is not printed", DEFAULTS, b(17, v(1, 5), v(2, 99)), "{}",
      python='{"switches":{"5":"OFF"}}', why="Python keeps the entry, with the first value of the enum")
read("as the value of a map, missing: the first of the enum", DEFAULTS, b(17, v(1, 5)), "switches { key: 5 value: OFF }")
parse("JSON: a name", DEFAULTS, '{"shape":"FLAT"}', "shape: FLAT")
parse("JSON: a known number", DEFAULTS, '{"shape":2}', "shape: SQUARE")
parse("JSON: a number that it lacks", DEFAULTS, '{"shape":99}', REFUSED)
parse("JSON: a name that it lacks", DEFAULTS, '{"shape":"OVAL"}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("groups")
read("a group", GROUPED, group(1, v(1, 5), b(2, "x")), 'Single { a: 5 b: "x" }', wire=group(1, v(1, 5), b(2, "x")))
read("an empty group", GROUPED, group(1), "Single {}", wire=group(1))
read("a group in a group", GROUPED, group(1, group(3, v(1, 1))), "Single { Deeper { c: true } }")
read("a list of groups", GROUPED, group(4, v(1, 1)) + group(4) + group(4, b(2, b"\1\2")), "Many { d: 1 } Many {} Many { e: 1 e: 2 }",
     wire=group(4, v(1, 1)) + group(4) + group(4, b(2, b"\1\2")))
read("several merge", GROUPED, group(1, v(1, 5)) + group(1, b(2, "x")), 'Single { a: 5 b: "x" }')
read("unknown fields in a group", GROUPED, group(1, v(77, 1)), "Single {}", wire=group(1, v(77, 1)), unknown=group(1, v(77, 1)))
read("a field after a group", GROUPED, group(1, v(1, 5)) + b(5, "x"), 'Single { a: 5 } after: "x"')
read("not closed", GROUPED, tag(1, GROUP) + v(1, 5), REFUSED)
read("closed by another number", GROUPED, tag(1, GROUP) + v(1, 5) + tag(2, END_GROUP), REFUSED)
read("closed twice", GROUPED, group(1) + tag(1, END_GROUP), REFUSED)
read("an inner group is closed by the outer", GROUPED, tag(1, GROUP) + tag(3, GROUP) + tag(1, END_GROUP), REFUSED)
read("length-delimited where a group is declared is an unknown field", GROUPED, b(1, v(1, 5)), "", unknown=b(1, v(1, 5)))
read("a field in a group goes beyond its end", GROUPED, tag(1, GROUP) + tag(2, LENGTH) + b"\x09" + tag(1, END_GROUP), REFUSED)
write("JSON: under the name of the field", GROUPED, "Single { a: 5 } Many { d: 1 }", '{"single":{"a":5},"many":[{"d":"1"}]}')
parse("JSON: under the name of the field", GROUPED, '{"single":{"a":5},"many":[{"d":"1"},{}]}', "Single { a: 5 } Many { d: 1 } Many {}")

# ----------------------------------------------------------------------------------------------------------------------
section("extensions")
read("a scalar", EXTENDABLE, v(100, 7), "[codec2.number]: 7", wire=v(100, 7))
read("a list", EXTENDABLE, b(101, "a") + b(101, "b"), '[codec2.texts]: "a" [codec2.texts]: "b"', json=False)
read("a packed list", EXTENDABLE, b(104, b"\1\2"), "[codec2.packed_extension]: -1 [codec2.packed_extension]: 1", json=False)
read("a message", EXTENDABLE, b(102, b(1, "x")), '[codec2.nested] { name: "x" }')
read("messages merge", EXTENDABLE, b(102, b(1, "x")) + b(102, v(100, 1)), '[codec2.nested] { name: "x" [codec2.number]: 1 }')
read("an enum", EXTENDABLE, v(103, 2), "[codec2.shape_extension]: SQUARE")
read("an enum, a number that it lacks", EXTENDABLE, v(103, 99), "", unknown=v(103, 99))
read("declared inside of a message", EXTENDABLE, v(105, 1), "[codec2.Scope.scoped]: true")
read("a well-known type", EXTENDABLE, b(1000, v(1, 5)), "[codec2.when] { seconds: 5 }")
read("a number in the range that nobody has taken", EXTENDABLE, v(150, 1), "", unknown=v(150, 1))
write("JSON: under the full name in brackets", EXTENDABLE, "[codec2.number]: 7 [codec2.Scope.scoped]: true",
      '{"[codec2.number]":7,"[codec2.Scope.scoped]":true}')
parse("JSON: under the full name in brackets", EXTENDABLE, '{"[codec2.number]":7,"[codec2.nested]":{"name":"x"}}',
      '[codec2.number]: 7 [codec2.nested] { name: "x" }')
parse("JSON: a list", EXTENDABLE, '{"[codec2.texts]":["a","b"]}', '[codec2.texts]: "a" [codec2.texts]: "b"', python=REFUSED,
      json=False, why=PYTHON_EXTENSIONS)
parse("JSON: a name that nobody has", EXTENDABLE, '{"[codec2.nobody]":7}', REFUSED)
parse("JSON: the name without brackets", EXTENDABLE, '{"codec2.number":7}', REFUSED)
parse("JSON: an extension of another message", DEFAULTS, '{"[codec2.number]":7}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("required fields")
UNCHECKED = "Python's MergeFromString and json_format leave the check to the caller; the document wants parsing to fail"
read("all there", STRICT, b(1, "x") + v(2, 5), 'id: "x" count: 5')
read("a zero is there", STRICT, b(1) + v(2, 0), 'id: "" count: 0', wire=b(1) + v(2, 0))
MISSING = [("all missing", STRICT, b"", ""), ("one missing", STRICT, b(1, "x"), 'id: "x"'),
           ("missing in a message", REQUIRED, v(1, 5) + b(2), "number: 5 inner {}"),
           ("missing in an element of a list", REQUIRED, v(1, 5) + b(3, v(1, 1)) + b(3), "number: 5 many { number: 1 } many {}"),
           ("missing in the value of a map", REQUIRED, v(1, 5) + b(4, b(1, "k")), 'number: 5 named { key: "k" value {} }'),
           ("missing in a oneof", REQUIRED, v(1, 5) + b(5), "number: 5 one {}"),
           ("missing in a message without required fields of its own", AROUND, b(1), "required {}")]
for name, message_type, data, text in MISSING:
    read(name, message_type, data, REFUSED, python=text, why=UNCHECKED)
read("given by the second of two that merge", AROUND, b(1) + b(1, v(1, 5)), "required { number: 5 }")
read("given by the first of two that merge", AROUND, b(1, v(1, 5)) + b(1), "required { number: 5 }")
read("missing in a member of a oneof that another replaced", REQUIRED, v(1, 5) + b(5) + v(6, 1), "number: 5 other: 1")
read("missing in an entry that another of the same key replaced", REQUIRED,
     v(1, 5) + b(4, b(1, "k"), b(2)) + b(4, b(1, "k"), b(2, v(1, 7))), 'number: 5 named { key: "k" value { number: 7 } }')
parse("JSON: missing", STRICT, '{"id":"x"}', REFUSED, python='id: "x"', why=UNCHECKED)
parse("JSON: null is missing", STRICT, '{"id":"x","count":null}', REFUSED, python='id: "x"', why=UNCHECKED)
parse("JSON: missing in a message", AROUND, '{"required":{}}', REFUSED, python="required {}", why=UNCHECKED)
parse("JSON: all there", STRICT, '{"id":"","count":0}', 'id: "" count: 0')

# ----------------------------------------------------------------------------------------------------------------------
section("strings")
NOT_CHECKED = "Google's C++ checks UTF-8 only for proto3; the document says that a string is UTF-8, so Mica refuses"
read("UTF-8", TEXT, b(1, "caf\u00e9"), 'text: "caf\u00e9"')
read("no UTF-8", TEXT, b(1, b"\xff"), REFUSED, python=ANYTHING, why=NOT_CHECKED)
read("no UTF-8 in a list", TEXT, b(2, b"\xff"), REFUSED, python=ANYTHING, why=NOT_CHECKED)
read("bytes may be anything", TEXT, b(4, b"\xff"), 'raw: "\\377"')
