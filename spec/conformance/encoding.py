# SPDX-License-Identifier: Apache-2.0
"""The encoding document (https://protobuf.dev/programming-guides/encoding/), proto3: what each sequence of bytes means."""

from rows import (END_GROUP, FIXED32, FIXED64, GROUP, LENGTH, REFUSED, VARINT, Table, b, f32, f64, group, nested, tag, v,
                  varint, z)

table = Table("encoding")
read, section = table.read, table.section

SCALARS, OPTIONALS, LISTS, MAPS = "codec3.Scalars", "codec3.Optionals", "codec3.Lists", "codec3.Maps"
CHOICE, TREE, MIXED, ALL = "codec3.Choice", "codec3.Tree", "conform3.Mixed", "codec3.All"

# ----------------------------------------------------------------------------------------------------------------------
section("base 128 varints")
read("no bytes are an empty message", SCALARS, b"", "")
read("150 is 96 01", SCALARS, b"\x18\x96\x01", "an_int32: 150")
read("the least significant group comes first", SCALARS, b"\x18\x80\x01", "an_int32: 128")
read("zeros in front are allowed: two bytes", SCALARS, v(3, 1, size=2), "an_int32: 1", wire=v(3, 1))
read("zeros in front are allowed: ten bytes", SCALARS, v(3, 1, size=10), "an_int32: 1", wire=v(3, 1))
read("zeros in front of a zero", OPTIONALS, v(3, 0, size=5), "an_int32: 0", wire=v(3, 0))
read("eleven bytes are too many", SCALARS, tag(3, VARINT) + b"\x80" * 10 + b"\x01", REFUSED)
read("ten bytes that all go on", SCALARS, tag(3, VARINT) + b"\xff" * 10, REFUSED)
read("of the tenth byte only the lowest bit counts", SCALARS, tag(6, VARINT) + b"\x80" * 9 + b"\x03",
     "a_uint64: 9223372036854775808")
read("of the tenth byte the higher bits are dropped", SCALARS, tag(6, VARINT) + b"\xff" * 9 + b"\x7f",
     "a_uint64: 18446744073709551615")
for size in range(1, 11):
    value = 1 << 7 * (size - 1)
    read("the smallest value of %d bytes" % size, SCALARS, v(6, value), "a_uint64: %d" % value, wire=v(6, value))
for size in range(1, 10):
    value = (1 << 7 * size) - 1
    read("the largest value of %d bytes" % size, SCALARS, v(6, value), "a_uint64: %d" % value, wire=v(6, value))
    read("a varint cut off after %d bytes" % size, SCALARS, tag(6, VARINT) + b"\xff" * size, REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("message structure")
read("a tag without its value", SCALARS, tag(3, VARINT), REFUSED)
read("a tag cut off", SCALARS, b"\xfa\xff", REFUSED)
read("field number 0, varint", SCALARS, b"\x00\x01", REFUSED)
read("field number 0, fixed64", SCALARS, b"\x01" + bytes(8), REFUSED)
read("field number 0, length-delimited", SCALARS, b"\x02\x00", REFUSED)
read("field number 0, group", SCALARS, b"\x03\x04", REFUSED)
read("field number 0, fixed32", SCALARS, b"\x05" + bytes(4), REFUSED)
read("field number 0 in an overlong tag", SCALARS, b"\x80\x00\x01", REFUSED)
read("field number 0 inside of a message", TREE, b(3, b"\x00\x01"), REFUSED)
read("field number 0 inside of an unknown group", TREE, group(900, b"\x00\x01"), REFUSED)
for wire_type in (6, 7):
    read("wire type %d of a known field" % wire_type, SCALARS, tag(3, wire_type) + b"\x01", REFUSED)
    read("wire type %d of an unknown field" % wire_type, SCALARS, tag(900, wire_type) + b"\x01", REFUSED)
    read("wire type %d inside of an unknown group" % wire_type, SCALARS, group(900, tag(1, wire_type) + b"\x01"), REFUSED)
read("the largest field number", SCALARS, b(2**29 - 1, "far"), 'far: "far"', wire=b(2**29 - 1, "far"))
read("the largest field number, unknown", TREE, v(2**29 - 1, 1), "", unknown=v(2**29 - 1, 1))
read("the largest field number, six bytes", TREE, varint((2**29 - 1) << 3) + b"\x01", "", unknown=v(2**29 - 1, 1))
read("a field number of 30 bits", SCALARS, varint(2**29 << 3) + b"\x01", REFUSED)
read("a tag of 64 bits", SCALARS, b"\xf8" + b"\xff" * 8 + b"\x01\x01", REFUSED)
read("an overlong tag of two bytes", SCALARS, b"\x98\x00\x07", "an_int32: 7", wire=v(3, 7))
read("an overlong tag of five bytes", SCALARS, b"\x98\x80\x80\x80\x00\x07", "an_int32: 7", wire=v(3, 7))
read("an overlong tag of six bytes", SCALARS, b"\x98\x80\x80\x80\x80\x00\x07", "an_int32: 7", python=REFUSED,
     why="the document lets a varint have ten bytes; Google's readers take at most five for a tag")
read("numbers reserved for implementations are unknown fields", TREE, v(19000, 1), "", unknown=v(19000, 1))

# A known field of every type whose value has another wire type than its own is unknown, and kept as it came.
WIRE_TYPES = {VARINT: lambda n: v(n, 1), FIXED64: lambda n: f64(n, 1), LENGTH: lambda n: b(n, "ab"),
              GROUP: lambda n: group(n, v(1, 1)), FIXED32: lambda n: f32(n, 1)}
WIRE_NAMES = {VARINT: "varint", FIXED64: "fixed64", LENGTH: "length-delimited", GROUP: "group", FIXED32: "fixed32"}
SINGULAR = [("double", 1, FIXED64), ("float", 2, FIXED32), ("int32", 3, VARINT), ("int64", 4, VARINT),
            ("uint32", 5, VARINT), ("uint64", 6, VARINT), ("sint32", 7, VARINT), ("sint64", 8, VARINT),
            ("fixed32", 9, FIXED32), ("fixed64", 10, FIXED64), ("sfixed32", 11, FIXED32), ("sfixed64", 12, FIXED64),
            ("bool", 13, VARINT), ("string", 14, LENGTH), ("bytes", 15, LENGTH), ("enum", 16, VARINT)]
for name, number, own in SINGULAR:
    for wire_type, make in WIRE_TYPES.items():
        if wire_type != own:
            read("%s as %s is an unknown field" % (name, WIRE_NAMES[wire_type]), SCALARS, make(number), "",
                 unknown=make(number), wire=make(number))
for wire_type in (VARINT, FIXED64, GROUP, FIXED32):
    read("a message as %s is an unknown field" % WIRE_NAMES[wire_type], TREE, WIRE_TYPES[wire_type](3), "",
         unknown=WIRE_TYPES[wire_type](3))
    read("a map as %s is an unknown field" % WIRE_NAMES[wire_type], TREE, WIRE_TYPES[wire_type](4), "",
         unknown=WIRE_TYPES[wire_type](4))
read("a repeated string as varint is an unknown field", LISTS, v(14, 1), "", unknown=v(14, 1))
read("a repeated int32 as fixed32 is an unknown field", LISTS, f32(3, 1), "", unknown=f32(3, 1))

# ----------------------------------------------------------------------------------------------------------------------
section("unknown fields")
for wire_type, make in WIRE_TYPES.items():
    read("%s is kept and written again" % WIRE_NAMES[wire_type], "codec3.Nothing", make(77), "", unknown=make(77),
         wire=make(77))
    read("%s beside known fields" % WIRE_NAMES[wire_type], TREE, b(1, "x") + make(77), 'name: "x"', unknown=make(77))
    read("%s inside of a message" % WIRE_NAMES[wire_type], TREE, b(3, make(77)), "next {}", wire=b(3, make(77)),
         unknown=b(3, make(77)))
    read("%s in an element of a list" % WIRE_NAMES[wire_type], TREE, b(2, make(77)), "", unknown=b(2, make(77)),
         wire=b(2, make(77)), json=False)
read("many of one number keep their order", "codec3.Nothing", v(77, 2) + v(77, 1) + v(77, 2), "",
     unknown=v(77, 2) + v(77, 1) + v(77, 2), wire=v(77, 2) + v(77, 1) + v(77, 2))
read("an unknown group with everything in it", "codec3.Nothing",
     group(77, v(1, 1), f64(2, 2), b(3, "x"), group(4, f32(5, 5))), "",
     unknown=group(77, v(1, 1), f64(2, 2), b(3, "x"), group(4, f32(5, 5))))
read("an empty unknown group", "codec3.Nothing", group(77), "", unknown=group(77), wire=group(77))
read("an unknown group is not closed", "codec3.Nothing", tag(77, GROUP) + v(1, 1), REFUSED)
read("an unknown group is closed by another number", "codec3.Nothing", tag(77, GROUP) + tag(78, END_GROUP), REFUSED)
read("an unknown group inside is not closed", "codec3.Nothing", tag(77, GROUP) + tag(1, GROUP) + tag(77, END_GROUP), REFUSED)
read("the end of a group without its beginning", "codec3.Nothing", tag(77, END_GROUP), REFUSED)
read("the end of a group without its beginning, of a known field", TREE, tag(3, END_GROUP), REFUSED)
read("the end of a group inside of a message", TREE, b(3, tag(3, END_GROUP)), REFUSED)
read("unknown groups nested 90 deep", "codec3.Nothing",
     tag(77, GROUP) * 90 + tag(77, END_GROUP) * 90, "", unknown=tag(77, GROUP) * 90 + tag(77, END_GROUP) * 90)
read("unknown groups nested 2,000 deep", "codec3.Nothing", tag(77, GROUP) * 2000 + tag(77, END_GROUP) * 2000, REFUSED)
read("a length beyond the end, unknown", "codec3.Nothing", tag(77, LENGTH) + b"\x05ab", REFUSED)
read("a length of 2 GiB, unknown", "codec3.Nothing", tag(77, LENGTH) + varint(2**31) + b"ab", REFUSED)
read("a length of 2^64-1, unknown", "codec3.Nothing", tag(77, LENGTH) + varint(2**64 - 1) + b"ab", REFUSED)
read("fixed32 cut off, unknown", "codec3.Nothing", f32(77, 1)[:-1], REFUSED)
read("fixed64 cut off, unknown", "codec3.Nothing", f64(77, 1)[:-1], REFUSED)
read("varint cut off, unknown", "codec3.Nothing", tag(77, VARINT) + b"\x80", REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("integers")
TOP32, TOP64 = 2**31 - 1, 2**63 - 1
EDGES = [
    ("int32", "an_int32", 3, v, [1, -1, 2**31 - 1, -(2**31)]),
    ("int64", "an_int64", 4, v, [1, -1, TOP64, -(2**63), 2**53, 2**53 + 1, -(2**53) - 1]),
    ("uint32", "a_uint32", 5, v, [1, 2**31, 2**32 - 1]),
    ("uint64", "a_uint64", 6, v, [1, 2**53 + 1, 2**63, 2**64 - 1]),
    ("sint32", "a_sint32", 7, z, [1, -1, 2**31 - 1, -(2**31)]),
    ("sint64", "a_sint64", 8, z, [1, -1, TOP64, -(2**63)]),
    ("fixed32", "a_fixed32", 9, f32, [1, 2**31, 2**32 - 1]),
    ("fixed64", "a_fixed64", 10, f64, [1, 2**63, 2**64 - 1]),
    ("sfixed32", "an_sfixed32", 11, lambda n, x: f32(n, x, "<i"), [1, -1, 2**31 - 1, -(2**31)]),
    ("sfixed64", "an_sfixed64", 12, lambda n, x: f64(n, x, "<q"), [1, -1, TOP64, -(2**63)]),
]
for name, field, number, make, values in EDGES:
    for value in values:
        read("%s %d" % (name, value), SCALARS, make(number, value), "%s: %d" % (field, value), wire=make(number, value))
    read("%s 0 without presence is not written" % name, SCALARS, make(number, 0), "", wire=b"")
    read("%s: the last one wins" % name, SCALARS, make(number, 5) + make(number, 6), "%s: 6" % field, wire=make(number, 6))
    read("%s: the last one wins, a zero too" % name, SCALARS, make(number, 5) + make(number, 0), "", json=True)
read("a negative int32 takes ten bytes", SCALARS, v(3, -2), "an_int32: -2", wire=b"\x18\xfe" + b"\xff" * 8 + b"\x01")
read("a negative int32 of five bytes", SCALARS, tag(3, VARINT) + b"\xfe\xff\xff\xff\x0f", "an_int32: -2", wire=v(3, -2))
read("int32 keeps the low 32 bits", SCALARS, v(3, 2**33 + 7), "an_int32: 7", wire=v(3, 7))
read("int32 keeps the low 32 bits, sign included", SCALARS, v(3, 2**32 + 2**31), "an_int32: -2147483648")
read("int32 of high bits alone is zero", SCALARS, v(3, 2**40), "", wire=b"")
read("uint32 keeps the low 32 bits", SCALARS, v(5, 2**40 + 7), "a_uint32: 7", wire=v(5, 7))
read("uint32 of -1", SCALARS, v(5, -1), "a_uint32: 4294967295")
read("uint64 of -1", SCALARS, v(6, -1), "a_uint64: 18446744073709551615")
read("sint32 keeps the low 32 bits before the zigzag", SCALARS, v(7, 2**33 + 3), "a_sint32: -2", wire=z(7, -2))
read("sint32: 4294967294 is 2147483647", SCALARS, v(7, 4294967294), "a_sint32: 2147483647")
read("enum keeps the low 32 bits", SCALARS, v(16, 2**32 + 1), "color: RED", wire=v(16, 1))
read("enum, a number that it lacks is kept (proto3)", SCALARS, v(16, 77), "color: 77", wire=v(16, 77))
read("enum, negative", SCALARS, v(16, -3), "color: BELOW_ZERO", wire=v(16, -3))
read("enum, negative and unknown", SCALARS, v(16, -2147483648), "color: -2147483648")
read("enum, largest", SCALARS, v(16, 2147483647), "color: HUGE")
read("enum: the last one wins", SCALARS, v(16, 1) + v(16, 2), "color: GREEN")
read("enum zero is not written", SCALARS, v(16, 0), "", wire=b"")
read("bool 1", SCALARS, v(13, 1), "a_bool: true", wire=v(13, 1))
read("bool 0", SCALARS, v(13, 0), "", wire=b"")
read("bool 2 is true", SCALARS, v(13, 2), "a_bool: true", wire=v(13, 1))
read("bool: any bit of 64 makes it true", SCALARS, v(13, 2**63), "a_bool: true", wire=v(13, 1))
read("bool: 2^32 is true", SCALARS, v(13, 2**32), "a_bool: true", wire=v(13, 1))
read("bool of ten bytes, false", OPTIONALS, v(7, 0, size=10), "a_bool: false", wire=v(7, 0))
read("bool: the last one wins", SCALARS, v(13, 1) + v(13, 0), "")

# ----------------------------------------------------------------------------------------------------------------------
section("non-varint numbers")
DOUBLES = [("1.5", 0x3ff8000000000000), ("-1.5", 0xbff8000000000000), ("1.7976931348623157e308", 0x7fefffffffffffff),
           ("2.2250738585072014e-308", 0x0010000000000000), ("5e-324", 1), ("inf", 0x7ff0000000000000),
           ("-inf", 0xfff0000000000000), ("nan", 0x7ff8000000000000)]
FLOATS = [("1.5", 0x3fc00000), ("-1.5", 0xbfc00000), ("3.40282347e38", 0x7f7fffff), ("1.17549435e-38", 0x00800000),
          ("1.40129846e-45", 1), ("inf", 0x7f800000), ("-inf", 0xff800000), ("nan", 0x7fc00000)]
for text, bits in DOUBLES:
    read("double %s" % text, SCALARS, f64(1, bits), "a_double: %s" % text)
for text, bits in FLOATS:  # of the largest, Python prints a JSON that it then refuses
    read("float %s" % text, SCALARS, f32(2, bits), "a_float: %s" % text, json=bits != 0x7f7fffff)
read("double -0.0 is no zero: it is kept", SCALARS, f64(1, 1 << 63), "a_double: -0.0", wire=f64(1, 1 << 63))
read("float -0.0 is no zero: it is kept", SCALARS, f32(2, 1 << 31), "a_float: -0.0", wire=f32(2, 1 << 31))
read("double 0.0 is not written", SCALARS, f64(1, 0), "", wire=b"")
read("float 0.0 is not written", SCALARS, f32(2, 0), "", wire=b"")
read("double NaN with a payload is a NaN", SCALARS, f64(1, 0x7ff0000000000001), "a_double: nan")
read("double NaN, negative", SCALARS, f64(1, 0xfff8000000000000), "a_double: nan")
read("float NaN with a payload is a NaN", SCALARS, f32(2, 0x7fa00001), "a_float: nan")
read("double: the last one wins", SCALARS, f64(1, 0x3ff8000000000000) + f64(1, 0), "")
for name, number, make in (("double", 1, f64), ("float", 2, f32), ("fixed32", 9, f32), ("fixed64", 10, f64),
                           ("sfixed32", 11, f32), ("sfixed64", 12, f64)):
    read("%s cut off" % name, SCALARS, make(number, 1)[:-1], REFUSED)
    read("%s without bytes" % name, SCALARS, make(number, 1)[:1], REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("length-delimited records")
read("a string", SCALARS, b(14, "testing"), 'a_string: "testing"', wire=b(14, "testing"))
read("an empty string is not written", SCALARS, b(14, ""), "", wire=b"")
read("a string of 127 bytes", SCALARS, b(14, "x" * 127), 'a_string: "%s"' % ("x" * 127), wire=b(14, "x" * 127))
read("a string of 128 bytes", SCALARS, b(14, "x" * 128), 'a_string: "%s"' % ("x" * 128), wire=b(14, "x" * 128))
read("an overlong length", SCALARS, tag(14, LENGTH) + varint(2, size=4) + b"ab", 'a_string: "ab"', wire=b(14, "ab"))
read("a length beyond the end", SCALARS, tag(14, LENGTH) + b"\x05ab", REFUSED)
read("a length without bytes", SCALARS, tag(14, LENGTH) + b"\x01", REFUSED)
read("a length cut off", SCALARS, tag(14, LENGTH) + b"\x80", REFUSED)
read("a length of 2 GiB", SCALARS, tag(14, LENGTH) + varint(2**31) + b"x", REFUSED)
read("a length of 2^63", SCALARS, tag(15, LENGTH) + varint(2**63) + b"x", REFUSED)
read("a string with a zero byte", SCALARS, b(14, "a\0b"), 'a_string: "a\\000b"', wire=b(14, "a\0b"))
read("a string: the last one wins", SCALARS, b(14, "a") + b(14, "b"), 'a_string: "b"')
read("a string: the last one wins, an empty one too", SCALARS, b(14, "a") + b(14, ""), "")
for name, text in (("two bytes", "\u00e9"), ("three bytes", "\u65e5"), ("four bytes", "\U0001f600"),
                   ("the last code point", "\U0010ffff"), ("the last before the surrogates", "\ud7ff"),
                   ("the first after the surrogates", "\ue000"), ("a byte order mark", "\ufeff"), ("DEL", "\x7f")):
    read("UTF-8: %s" % name, SCALARS, b(14, text), 'a_string: "%s"' % text, wire=b(14, text))
BAD_UTF8 = [("a byte of no sequence", b"\xff"), ("a continuation alone", b"\x80"), ("cut off, two", b"\xc3"),
            ("cut off, three", b"\xe6\x97"), ("cut off, four", b"\xf0\x9f\x98"), ("overlong, two", b"\xc0\x80"),
            ("overlong, three", b"\xe0\x80\x80"), ("overlong, four", b"\xf0\x80\x80\x80"),
            ("a high surrogate", b"\xed\xa0\x80"), ("a low surrogate", b"\xed\xbf\xbf"),
            ("beyond the last code point", b"\xf4\x90\x80\x80"), ("five bytes", b"\xf8\x88\x80\x80\x80"),
            ("a sequence broken by ASCII", b"\xe6\x41\xa5")]
for name, data in BAD_UTF8:
    read("no UTF-8: %s" % name, SCALARS, b(14, data), REFUSED)
    read("bytes may be anything: %s" % name, SCALARS, b(15, data),
         'some_bytes: "%s"' % "".join("\\%03o" % c for c in data), wire=b(15, data))
read("no UTF-8 after eight good bytes", SCALARS, b(14, b"12345678\xff"), REFUSED)
read("no UTF-8 in a repeated string", LISTS, b(14, "a") + b(14, b"\xff"), REFUSED)
read("no UTF-8 in the key of a map", MAPS, b(12, b(1, b"\xff"), b(2, "x")), REFUSED)
read("no UTF-8 in the value of a map", MAPS, b(12, b(1, "x"), b(2, b"\xff")), REFUSED)
read("no UTF-8 in a oneof", CHOICE, b(2, b"\xff"), REFUSED)
read("no UTF-8 in a wrapper", "codec3.Known", b(16, b(1, b"\xff")), REFUSED)
read("all bytes", SCALARS, b(15, bytes(range(256))),
     'some_bytes: "%s"' % "".join("\\%03o" % c for c in range(256)), wire=b(15, bytes(range(256))))

# ----------------------------------------------------------------------------------------------------------------------
section("submessages")
read("an empty one is there", TREE, b(3), "next {}", wire=b(3))
read("one in another", TREE, b(3, b(3, b(1, "x"))), 'next { next { name: "x" } }', wire=b(3, b(3, b(1, "x"))))
read("cut off", TREE, tag(3, LENGTH) + b"\x03" + b(1, "x")[:2], REFUSED)
read("a field inside is longer than the message", TREE, b(3, tag(1, LENGTH) + b"\x05ab") + b"cde", REFUSED)
read("a varint inside goes beyond the message", "codec3.All", b(1, tag(3, VARINT) + b"\x80") + b"\x01", REFUSED)
read("several merge: fields of both", OPTIONALS, b(11, v(3, 1)) + b(11, v(5, 2)), "scalars { an_int32: 1 a_uint32: 2 }")
read("several merge: the last scalar wins", OPTIONALS, b(11, v(3, 1)) + b(11, v(3, 2)), "scalars { an_int32: 2 }")
read("several merge: a zero overwrites", OPTIONALS, b(11, v(3, 1)) + b(11, v(3, 0)), "scalars {}")
read("several merge: an empty one changes nothing", OPTIONALS, b(11, v(3, 1)) + b(11), "scalars { an_int32: 1 }")
read("several merge: lists are appended", TREE, b(3, b(2, b(1, "a"))) + b(3, b(2, b(1, "b"))),
     'next { children { name: "a" } children { name: "b" } }')
read("several merge: deeper messages merge", TREE, b(3, b(3, b(1, "a"))) + b(3, b(3, b(3))), 'next { next { name: "a" next {} } }')
read("several merge: maps are united", TREE, b(3, b(4, b(1, "a"), b(2))) + b(3, b(4, b(1, "b"), b(2))),
     'next { named { key: "a" value {} } named { key: "b" value {} } }')
read("several merge: with other fields between", TREE, b(3, b(1, "a")) + b(1, "x") + b(3, b(2)),
     'name: "x" next { name: "a" children {} }')
read("several merge: unknown fields of both", TREE, b(3, v(77, 1)) + b(3, v(78, 2)), "next {}",
     unknown=b(3, v(77, 1)) + b(3, v(78, 2)))
read("nested 99 deep", TREE, nested(3, 99), "next { " * 99 + "}" * 99, json=False)
read("nested 101 deep", TREE, nested(3, 101), REFUSED)
read("nested 10,000 deep", TREE, nested(3, 10000), REFUSED)
read("nested 101 deep in lists", TREE, nested(2, 101), REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("missing elements and presence")
PRESENCE = [("double", 1, f64, 0, "a_double: 0"), ("float", 2, f32, 0, "a_float: 0"), ("int32", 3, v, 0, "an_int32: 0"),
            ("int64", 4, v, 0, "an_int64: 0"), ("uint32", 5, v, 0, "a_uint32: 0"), ("uint64", 6, v, 0, "a_uint64: 0"),
            ("bool", 7, v, 0, "a_bool: false"), ("string", 8, b, "", 'a_string: ""'), ("bytes", 9, b, "", 'some_bytes: ""'),
            ("enum", 10, v, 0, "color: COLOR_NONE")]
for name, number, make, zero, text in PRESENCE:
    read("optional %s: a zero is there and written" % name, OPTIONALS, make(number, zero), text, wire=make(number, zero))
read("optional: the last one wins", OPTIONALS, v(3, 5) + v(3, 0), "an_int32: 0", wire=v(3, 0))
ONEOF = [("string", b(2), 'email: ""'), ("int64", v(3, 0), "phone: 0"), ("bytes", b(4), 'key: ""'),
         ("enum", v(5, 0), "color: COLOR_NONE"), ("message", b(6), "tree {}"), ("well-known type", b(7), "wait {}"),
         ("NullValue", v(8, 0), "nothing: NULL_VALUE"), ("bool", v(9, 0), "flag: false")]

# ----------------------------------------------------------------------------------------------------------------------
section("oneofs")
for name, data, text in ONEOF:
    read("%s: a zero is there and written" % name, CHOICE, data, text, wire=data)
    read("%s after another member wins" % name, CHOICE, b(10, "z") + b(2, "a") + v(3, 4) + data, 'after: "z" %s' % text)
read("the last member wins", CHOICE, b(2, "a") + v(3, 7), "phone: 7", wire=v(3, 7))
read("the last member wins, in the order of the bytes", CHOICE, v(3, 7) + b(2, "a"), 'email: "a"', wire=b(2, "a"))
read("the same member twice: the last wins", CHOICE, b(2, "a") + b(2, "b"), 'email: "b"')
read("a message member twice: they merge", CHOICE, b(6, b(1, "a")) + b(6, b(3)), 'tree { name: "a" next {} }')
read("a message member with another between: only the last remains", CHOICE, b(6, b(1, "a")) + v(3, 1) + b(6, b(3)),
     "tree { next {} }")
read("two oneofs do not touch each other", CHOICE, b(2, "a") + v(11, 5), 'email: "a" left: 5')
read("a member of a wrong wire type sets nothing", CHOICE, b(2, "a") + f32(3, 1), 'email: "a"', unknown=f32(3, 1))

# ----------------------------------------------------------------------------------------------------------------------
section("repeated fields")
PACKABLE = [
    ("int32", "int32s", 3, v, [1, -1, 2**31 - 1]), ("int64", "int64s", 4, v, [1, -1, TOP64]),
    ("uint32", "uint32s", 5, v, [0, 1, 2**32 - 1]), ("uint64", "uint64s", 6, v, [0, 1, 2**64 - 1]),
    ("sint32", "sint32s", 7, z, [0, -1, 2**31 - 1]), ("sint64", "sint64s", 8, z, [0, -1, TOP64]),
    ("fixed32", "fixed32s", 9, f32, [0, 1, 2**32 - 1]), ("fixed64", "fixed64s", 10, f64, [0, 1, 2**64 - 1]),
    ("sfixed32", "sfixed32s", 11, lambda n, x: f32(n, x, "<i"), [0, -1, 2**31 - 1]),
    ("sfixed64", "sfixed64s", 12, lambda n, x: f64(n, x, "<q"), [0, -1, TOP64]),
    ("double", "doubles", 1, lambda n, x: f64(n, x, "<d"), [0.0, -1.5, 1e300]),
    ("float", "floats", 2, lambda n, x: f32(n, x, "<f"), [0.0, -1.5, 0.5]),
    ("bool", "bools", 13, v, [True, False, True]), ("enum", "colors", 16, v, [0, 1, -3]),
]
for name, field, number, make, values in PACKABLE:
    packed = b(number, *[make(number, x)[len(tag(number, 0)):] for x in values])
    loose = b"".join(make(number, x) for x in values)
    shown = lambda xs, field=field: " ".join("%s: %s" % (field, str(x).lower()) for x in xs)  # noqa: E731
    read("%s, packed, is written packed" % name, LISTS, packed, shown(values), wire=packed)
    read("%s, one by one, is read where packed is declared" % name, LISTS, loose, shown(values), wire=packed)
    read("%s, both forms in one message" % name, LISTS, packed + loose, shown(values * 2))
    read("%s, packed in two runs" % name, LISTS, packed + packed, shown(values * 2))
    read("%s, an empty run is no element" % name, LISTS, b(number), "", wire=b"")
    read("%s, packed and cut off" % name, LISTS, packed[:-1], REFUSED)
read("packed fixed32 with a remainder", LISTS, b(9, bytes(6)), REFUSED)
read("packed fixed64 with a remainder", LISTS, b(10, bytes(12)), REFUSED)
read("packed double with a remainder", LISTS, b(1, bytes(7)), REFUSED)
read("packed int32 with a varint cut off", LISTS, b(3, b"\x01\x80"), REFUSED)
read("packed int32 with a varint of eleven bytes", LISTS, b(3, b"\x80" * 10 + b"\x01"), REFUSED)
read("packed int32, overlong varints", LISTS, b(3, varint(1, size=3), varint(2, size=10)), "int32s: 1 int32s: 2",
     wire=b(3, b"\x01\x02"))
read("packed bool, every varint but 0 is true", LISTS, b(13, b"\x02\x80\x01\x00"), "bools: true bools: true bools: false",
     wire=b(13, b"\x01\x01\x00"))
read("packed int32 keeps the low 32 bits", LISTS, b(3, varint(2**33 + 7)), "int32s: 7")
read("[packed = false], one by one, is written so", LISTS, v(18, 1) + v(18, 2), "loose_ints: 1 loose_ints: 2",
     wire=v(18, 1) + v(18, 2))
read("[packed = false], packed, is read", LISTS, b(18, b"\x01\x02"), "loose_ints: 1 loose_ints: 2", wire=v(18, 1) + v(18, 2))
read("[packed = false], packed doubles", LISTS, b(20, bytes(16)), "loose_doubles: 0 loose_doubles: 0",
     wire=f64(20, 0) + f64(20, 0))
read("[packed = false], packed enums", LISTS, b(19, b"\x01\x02"), "loose_colors: RED loose_colors: GREEN",
     wire=v(19, 1) + v(19, 2))
read("strings, empty ones too", LISTS, b(14, "a") + b(14) + b(14, "b"), 'strings: "a" strings: "" strings: "b"',
     wire=b(14, "a") + b(14) + b(14, "b"))
read("bytes, empty ones too", LISTS, b(15, b"\xff") + b(15), 'bytes_list: "\\377" bytes_list: ""')
read("messages, empty ones too", LISTS, b(17, v(3, 1)) + b(17), "messages { an_int32: 1 } messages {}",
     wire=b(17, v(3, 1)) + b(17))
read("messages do not merge", LISTS, b(17, v(3, 1)) + b(17, v(5, 2)), "messages { an_int32: 1 } messages { a_uint32: 2 }")
read("elements keep their order with other fields between", LISTS, b(14, "a") + v(18, 1) + b(14, "b"),
     'strings: "a" strings: "b" loose_ints: 1')
read("a thousand elements", LISTS, b(3, b"\x01" * 1000), "int32s: 1 " * 1000, wire=b(3, b"\x01" * 1000))

# ----------------------------------------------------------------------------------------------------------------------
section("maps")
KEYS = [("int32", 1, "by_int32", v(1, -1), "-1", b(2, "x"), '"x"'), ("int64", 2, "by_int64", v(1, -(2**63)), str(-(2**63)), v(2, 3), "3"),
        ("uint32", 3, "by_uint32", v(1, 2**32 - 1), str(2**32 - 1), v(2, 3), "3"),
        ("uint64", 4, "by_uint64", v(1, 2**64 - 1), str(2**64 - 1), v(2, 3), "3"),
        ("sint32", 5, "by_sint32", z(1, -2), "-2", z(2, -3), "-3"), ("sint64", 6, "by_sint64", z(1, -2), "-2", b(2, "\1"), '"\\001"'),
        ("fixed32", 7, "by_fixed32", f32(1, 9), "9", f32(2, 0x3fc00000), "1.5"),
        ("fixed64", 8, "by_fixed64", f64(1, 9), "9", f64(2, 0x3ff8000000000000), "1.5"),
        ("sfixed32", 9, "by_sfixed32", f32(1, -9, "<i"), "-9", v(2, 1), "true"),
        ("sfixed64", 10, "by_sfixed64", f64(1, -9, "<q"), "-9", v(2, 1), "RED"),
        ("bool", 11, "by_bool", v(1, 1), "true", b(2, "x"), '"x"'), ("string", 12, "by_string", b(1, "k"), '"k"', b(2, "x"), '"x"')]
ZERO = {"string": '""', "bool": "false"}
for name, number, field, key, key_text, value, value_text in KEYS:
    shown = "%s { key: %s value: %s }" % (field, key_text, value_text)
    read("%s keys" % name, MAPS, b(number, key, value), shown, wire=b(number, key, value))
    read("%s keys: the value before the key" % name, MAPS, b(number, value, key), shown, wire=b(number, key, value))
    read("%s keys: no key means zero" % name, MAPS, b(number, value),
         "%s { key: %s value: %s }" % (field, ZERO.get(name, "0"), value_text))
    read("%s keys: no value means zero" % name, MAPS, b(number, key), "%s { key: %s }" % (field, key_text))
    read("%s keys: an empty entry" % name, MAPS, b(number), "%s {}" % field)
    read("%s keys: of equal keys the last entry wins" % name, MAPS, b(number, key) + b(number, key, value), shown)
read("of equal keys the last entry wins, without its value too", MAPS, b(12, b(1, "k"), b(2, "x")) + b(12, b(1, "k")),
     'by_string { key: "k" value: "" }')
read("a key twice in one entry: the last wins", MAPS, b(12, b(1, "a"), b(1, "b"), b(2, "x")), 'by_string { key: "b" value: "x" }')
read("a value twice in one entry: the last wins", MAPS, b(12, b(1, "a"), b(2, "x"), b(2, "y")), 'by_string { key: "a" value: "y" }')
read("a message value twice in one entry: they merge", MAPS, b(13, b(1, "a"), b(2, b(1, "n")), b(2, b(3))),
     'trees { key: "a" value { name: "n" next {} } }')
read("messages of equal keys do not merge", MAPS, b(13, b(1, "a"), b(2, b(1, "n"))) + b(13, b(1, "a"), b(2, b(3))),
     'trees { key: "a" value { next {} } }')
read("a message value that is missing is empty", MAPS, b(13, b(1, "a")), 'trees { key: "a" value {} }')
read("an enum value that is missing is the first", MAPS, b(10, f64(1, 1)), "by_sfixed64 { key: 1 value: COLOR_NONE }")
read("an enum value that proto3 lacks", MAPS, b(10, f64(1, 1), v(2, 77)), "by_sfixed64 { key: 1 value: 77 }")
read("unknown fields in an entry are dropped", MAPS, b(12, b(1, "k"), v(7, 1), b(2, "x")), 'by_string { key: "k" value: "x" }')
read("a key of another wire type is an unknown field of the entry", MAPS, b(12, v(1, 5), b(2, "x")),
     'by_string { key: "" value: "x" }')
read("a value of another wire type is an unknown field of the entry", MAPS, b(12, b(1, "k"), v(2, 5)),
     'by_string { key: "k" value: "" }')
read("an entry cut off", MAPS, b(12, b(1, "k"), b(2, "x"))[:-1], REFUSED)
read("a field in an entry is longer than the entry", MAPS, b(12, tag(1, LENGTH) + b"\x05k"), REFUSED)
read("a tag 0 in an entry", MAPS, b(12, b"\x00\x01"), REFUSED)
read("a wire type 6 in an entry", MAPS, b(12, tag(3, 6) + b"\x01"), REFUSED)
read("a bool key 2 is true", MAPS, b(11, v(1, 2), b(2, "x")), 'by_bool { key: true value: "x" }')
read("bool keys 1 and 2 are one", MAPS, b(11, v(1, 1), b(2, "x")) + b(11, v(1, 2), b(2, "y")), 'by_bool { key: true value: "y" }')
read("an int32 key keeps the low 32 bits", MAPS, b(1, v(1, 2**32 + 1), b(2, "x")), 'by_int32 { key: 1 value: "x" }')
read("entries are written in the order of the keys", MAPS, b(12, b(1, "b"), b(2)) + b(12, b(1, "a"), b(2)),
     'by_string { key: "a" value: "" } by_string { key: "b" value: "" }',
     wire=b(12, b(1, "a"), b(2)) + b(12, b(1, "b"), b(2)))
read("a hundred entries", MAPS, b"".join(b(3, v(1, i), v(2, i)) for i in reversed(range(1, 101))),
     " ".join("by_uint32 { key: %d value: %d }" % (i, i) for i in range(1, 101)))

# ----------------------------------------------------------------------------------------------------------------------
section("field order")
read("fields in any order", SCALARS, v(13, 1) + b(14, "x") + v(3, 1), 'an_int32: 1 a_bool: true a_string: "x"',
     wire=v(3, 1) + v(13, 1) + b(14, "x"))
read("fields of one number are not neighbours", SCALARS, v(3, 1) + v(13, 1) + v(3, 2), "an_int32: 2 a_bool: true")
read("unknown fields between", SCALARS, v(900, 1) + v(3, 1) + v(901, 1), "an_int32: 1", unknown=v(900, 1) + v(901, 1))
read("two serialized messages after another are their merge", TREE, b(1, "a") + b(2, b(1, "c")) + b(1, "b") + b(2),
     'name: "b" children { name: "c" } children {}')
read("trailing bytes that are no field", SCALARS, v(3, 1) + b"\x18", REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("early ends")
WHOLE = b(3, b(2, b(1, "abc"), b(4, b(1, "k"), b(2, b(1, "v"))))) + b(4, b(1, "z"), b(2)) + group(77, v(1, 300)) + f64(78, 1)
HOLDS = (len(b(3, b(2, b(1, "abc"), b(4, b(1, "k"), b(2, b(1, "v")))))),
         len(b(3, b(2, b(1, "abc"), b(4, b(1, "k"), b(2, b(1, "v"))))) + b(4, b(1, "z"), b(2))),
         len(WHOLE) - len(f64(78, 1)))
for n in range(1, len(WHOLE)):
    if n not in HOLDS:
        read("a message cut off after %d of %d bytes" % (n, len(WHOLE)), TREE, WHOLE[:n], REFUSED)
