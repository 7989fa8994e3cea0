# SPDX-License-Identifier: Apache-2.0
"""The well-known types of the ProtoJSON document: what is read, and what they look like."""

from rows import ANYTHING, REFUSED, Table, b, v

table = Table("JSON types")
parse, write, section = table.parse, table.write, table.section

KNOWN, MIXED = "codec3.Known", "conform3.Mixed"
TIME, DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"


def quoted(text):
    return '"%s"' % text


# ----------------------------------------------------------------------------------------------------------------------
section("Timestamp")
for name, text, seconds, nanos in (
        ("the epoch", "1970-01-01T00:00:00Z", 0, 0), ("before the epoch", "1969-12-31T23:59:59Z", -1, 0),
        ("three digits", "1972-01-01T10:00:20.021Z", 63108020, 21000000),
        ("six digits", "1970-01-01T00:00:00.000001Z", 0, 1000), ("nine digits", "1970-01-01T00:00:00.000000001Z", 0, 1),
        ("nanos before the epoch", "1969-12-31T23:59:59.999999999Z", -1, 999999999),
        ("the first", "0001-01-01T00:00:00Z", -62135596800, 0), ("the last", "9999-12-31T23:59:59.999999999Z", 253402300799, 999999999),
        ("a leap day", "2024-02-29T00:00:00Z", 1709164800, 0), ("a leap day of a 400th year", "2000-02-29T12:00:00Z", 951825600, 0)):
    wanted = "seconds: %d nanos: %d" % (seconds, nanos)
    parse(name, TIME, quoted(text), wanted)
    write(name, TIME, wanted, quoted(text))
for name, text, seconds, nanos in (
        ("one digit", "1970-01-01T00:00:00.5Z", 0, 500000000), ("two digits", "1970-01-01T00:00:00.05Z", 0, 50000000),
        ("zeros at the end", "1970-01-01T00:00:00.100000000Z", 0, 100000000), ("an offset to the east", "1970-01-01T08:00:01+08:00", 1, 0),
        ("an offset to the west", "1969-12-31T16:00:01-08:00", 1, 0), ("an offset of minutes", "1970-01-01T05:30:00+05:30", 0, 0),
        ("offset +00:00", "1970-01-01T00:00:00+00:00", 0, 0), ("a fraction and an offset", "1970-01-01T01:00:00.5+01:00", 0, 500000000),
        ("offset -00:00", "1970-01-01T00:00:00-00:00", 0, 0)):
    parse(name, TIME, quoted(text), "seconds: %d nanos: %d" % (seconds, nanos))
LOOSE_TIME = "Python's strptime reads it"
for name, text, python in (
        ("year 0", "0000-01-01T00:00:00Z", None), ("year 10000", "10000-01-01T00:00:00Z", None), ("month 0", "1970-00-01T00:00:00Z", None),
        ("month 13", "1970-13-01T00:00:00Z", None), ("day 0", "1970-01-00T00:00:00Z", None), ("day 32", "1970-01-32T00:00:00Z", None),
        ("no leap year", "2023-02-29T00:00:00Z", None), ("no leap year, a 100th", "1900-02-29T00:00:00Z", None),
        ("April 31", "1970-04-31T00:00:00Z", None), ("hour 24", "1970-01-01T24:00:00Z", None), ("minute 60", "1970-01-01T00:60:00Z", None),
        ("a leap second, which the type does not know", "2016-12-31T23:59:60Z", None), ("second 61", "1970-01-01T00:00:61Z", None),
        ("no zone", "1970-01-01T00:00:00", None), ("lower case t", "1970-01-01t00:00:00Z", None), ("lower case z", "1970-01-01T00:00:00z", None),
        ("a space for the T", "1970-01-01 00:00:00Z", None), ("ten digits", "1970-01-01T00:00:00.0000000001Z", None),
        ("a point without digits", "1970-01-01T00:00:00.Z", ANYTHING), ("a comma for the point", "1970-01-01T00:00:00,5Z", None),
        ("a month of one digit", "1970-1-01T00:00:00Z", ANYTHING), ("an hour of one digit", "1970-01-01T0:00:00Z", ANYTHING),
        ("a year of three digits", "970-01-01T00:00:00Z", None), ("no seconds", "1970-01-01T00:00Z", None), ("a date alone", "1970-01-01", None),
        ("an offset without a colon", "1970-01-01T00:00:00+0800", None), ("an offset of hours alone", "1970-01-01T00:00:00+08", None),
        ("offset +24:00", "1970-01-01T00:00:00+24:00", ANYTHING), ("offset +00:60", "1970-01-01T00:00:00+00:60", ANYTHING),
        ("something behind", "1970-01-01T00:00:00Zx", None), ("a space behind", "1970-01-01T00:00:00Z ", None), ("a space before", " 1970-01-01T00:00:00Z", None),
        ("a sign before the year", "-970-01-01T00:00:00Z", None), ("an offset that leads before the first", "0001-01-01T00:00:00+00:01", ANYTHING),
        ("an offset that leads behind the last", "9999-12-31T23:59:59-00:01", ANYTHING), ("a word", "now", None), ("empty", "", None)):
    parse("refused: %s" % name, TIME, quoted(text), REFUSED, **({"python": python, "why": LOOSE_TIME} if python else {}))
for text in ("0", "true", "{}", '{"seconds":1}', "[]"):
    parse("%s is no Timestamp" % text, TIME, text, REFUSED)
for name, text in (("before the first", "seconds: -62135596801"), ("behind the last", "seconds: 253402300800"), ("nanos -1", "nanos: -1"),
                   ("nanos of a second", "nanos: 1000000000"), ("far away", "seconds: 9223372036854775807")):
    write("cannot be written: %s" % name, TIME, text, REFUSED,
          **({"python": ANYTHING, "why": "Python carries nanos over"} if name.startswith("nanos") else {}))
write("in a message, a list and as null", KNOWN, "time { seconds: 1 } times {} times { nanos: 5000000 }",
      '{"time":"1970-01-01T00:00:01Z","times":["1970-01-01T00:00:00Z","1970-01-01T00:00:00.005Z"]}')
parse("in a message, a list and as null", KNOWN, '{"time":null,"times":["1970-01-01T00:00:00Z","1970-01-01T00:00:00.005Z"]}',
      "times {} times { nanos: 5000000 }")

# ----------------------------------------------------------------------------------------------------------------------
section("Duration")
for name, text, seconds, nanos in (
        ("zero", "0s", 0, 0), ("one", "1s", 1, 0), ("negative", "-1s", -1, 0), ("three digits", "1.500s", 1, 500000000),
        ("six digits", "1.000340s", 1, 340000), ("nine digits", "1.000340012s", 1, 340012), ("nanos alone", "0.000000001s", 0, 1),
        ("negative nanos alone", "-0.500s", 0, -500000000), ("negative with nanos", "-1.500s", -1, -500000000),
        ("the longest", "315576000000.999999999s", 315576000000, 999999999), ("the most negative", "-315576000000.999999999s", -315576000000, -999999999)):
    wanted = "seconds: %d nanos: %d" % (seconds, nanos)
    parse(name, DURATION, quoted(text), wanted)
    write(name, DURATION, wanted, quoted(text))
for name, text, seconds, nanos in (("one digit", "1.5s", 1, 500000000), ("leading zeros", "001s", 1, 0), ("-0", "-0s", 0, 0),
                                   ("zeros behind the point", "1.000s", 1, 0)):
    parse(name, DURATION, quoted(text), "seconds: %d nanos: %d" % (seconds, nanos))
LOOSE_DURATION = "Python's int() and round() read it"
for name, text, python in (
        ("no unit", "1", None), ("another unit", "1m", None), ("upper case", "1S", None), ("a space", "1 s", ANYTHING), ("two units", "1ss", None),
        ("two points", "1.2.3s", None), ("a point without digits", "1.s", ANYTHING), ("a point alone", ".s", None), ("no integer", ".5s", None),
        ("ten digits", "1.0000000001s", ANYTHING), ("an exponent", "1e3s", None), ("a plus sign", "+1s", ANYTHING), ("two signs", "--1s", None),
        ("a sign alone", "-s", None), ("the unit alone", "s", None), ("empty", "", None), ("too long", "315576000001s", None),
        ("too negative", "-315576000001s", None), ("far too long", "99999999999999999999s", None), ("hours", "1h1s", None),
        ("infinity", "Infinitys", None), ("a sign in the fraction", "1.-5s", None)):
    parse("refused: %s" % name, DURATION, quoted(text), REFUSED, **({"python": python, "why": LOOSE_DURATION} if python else {}))
for text in ("1", "1.5", "true", "{}", '{"seconds":1}'):
    parse("%s is no Duration" % text, DURATION, text, REFUSED)
for name, text in (("too long", "seconds: 315576000001"), ("too negative", "seconds: -315576000001"), ("nanos of a second", "nanos: 1000000000"),
                   ("signs that differ", "seconds: 1 nanos: -1"), ("signs that differ, the other way", "seconds: -1 nanos: 1")):
    write("cannot be written: %s" % name, DURATION, text, REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("FieldMask")
MASK = "google.protobuf.FieldMask"
for name, text, wanted in (("one path", "foo", 'paths: "foo"'), ("two paths", "foo,barBaz", 'paths: "foo" paths: "bar_baz"'),
                           ("a path of several names", "foo.barBaz", 'paths: "foo.bar_baz"'), ("empty", "", ""),
                           ("digits", "x1.y2", 'paths: "x1.y2"')):
    parse(name, MASK, quoted(text), wanted)
    write(name, MASK, wanted, quoted(text))
parse("a capital at the beginning", MASK, '"Foo"', 'paths: "_foo"')
parse("an underscore", MASK, '"foo_bar"', REFUSED)
parse("an empty path between commas", MASK, '"foo,,bar"', REFUSED, python=ANYTHING, why="Python keeps an empty path")
parse("a comma at the end", MASK, '"foo,"', REFUSED, python=ANYTHING, why="Python keeps an empty path")
parse("an array", MASK, '["foo"]', REFUSED)
parse("an object", MASK, '{"paths":["foo"]}', REFUSED)
for name, path in (("camel case", "fooBar"), ("a digit behind an underscore", "foo_3_bar"), ("two underscores", "foo__bar"),
                   ("an underscore at the end", "foo_"), ("a capital behind an underscore", "foo_B")):
    write("cannot be written: %s" % name, MASK, 'paths: "%s"' % path, REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("wrappers")
for kind, name, value, text, zero in (
        ("DoubleValue", "double_value", "1.5", "1.5", "0"), ("FloatValue", "float_value", "1.5", "1.5", "0"),
        ("Int64Value", "int64_value", '"9223372036854775807"', "9223372036854775807", '"0"'),
        ("UInt64Value", "uint64_value", '"18446744073709551615"', "18446744073709551615", '"0"'),
        ("Int32Value", "int32_value", "-2147483648", "-2147483648", "0"), ("UInt32Value", "uint32_value", "4294967295", "4294967295", "0"),
        ("BoolValue", "bool_value", "true", "true", "false"), ("StringValue", "string_value", '"a\\n"', '"a\\n"', '""'),
        ("BytesValue", "bytes_value", '"AQI="', '"\\001\\002"', '""')):
    camel = name.split("_")[0] + "Value"
    parse("%s is its value" % kind, KNOWN, '{"%s":%s}' % (camel, value), "%s { value: %s }" % (name, text))
    write("%s is its value" % kind, KNOWN, "%s { value: %s }" % (name, text), '{"%s":%s}' % (camel, value))
    parse("%s of zero is there" % kind, KNOWN, '{"%s":%s}' % (camel, zero), "%s {}" % name)
    write("%s of zero is there" % kind, KNOWN, "%s {}" % name, '{"%s":%s}' % (camel, zero))
    parse("%s null is not there" % kind, KNOWN, '{"%s":null}' % camel, "")
    parse("%s as an object" % kind, KNOWN, '{"%s":{"value":%s}}' % (camel, value), REFUSED)
    parse("%s as the root" % kind, "google.protobuf." + kind, value, "value: %s" % text)
parse("in a list", KNOWN, '{"strings":["a",""]}', 'strings { value: "a" } strings {}')
parse("in a list, null", KNOWN, '{"strings":[null]}', REFUSED)
parse("in a map", KNOWN, '{"numbers":{"a":"5"}}', 'numbers { key: "a" value { value: 5 } }')
parse("in a oneof", MIXED, '{"text":""}', "text {}")
parse("in a oneof, null", MIXED, '{"text":null}', "")
parse("out of range", KNOWN, '{"int32Value":2147483648}', REFUSED)
parse("of another type", KNOWN, '{"boolValue":"true"}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("Struct, Value and ListValue")
for name, text, wanted in (
        ("null", "null", "null_value: NULL_VALUE"), ("a number", "1.5", "number_value: 1.5"), ("zero", "0", "number_value: 0"),
        ("a string", '"a"', 'string_value: "a"'), ("an empty string", '""', 'string_value: ""'), ("true", "true", "bool_value: true"),
        ("false", "false", "bool_value: false"), ("an empty object", "{}", "struct_value {}"), ("an empty list", "[]", "list_value {}"),
        ("an object", '{"a":1}', 'struct_value { fields { key: "a" value { number_value: 1 } } }'),
        ("a list", '[null,"x"]', 'list_value { values { null_value: NULL_VALUE } values { string_value: "x" } }'),
        ("nested", '{"a":[{"b":null}]}', 'struct_value { fields { key: "a" value { list_value { values { struct_value { fields { '
         'key: "b" value { null_value: NULL_VALUE } } } } } } } }')):
    parse("Value: %s" % name, "google.protobuf.Value", text, wanted)
    write("Value: %s" % name, "google.protobuf.Value", wanted, text)
    parse("Value in a message: %s" % name, KNOWN, '{"value":%s}' % text, "value { %s }" % wanted)
    parse("Value in a list: %s" % name, KNOWN, '{"values":[%s]}' % text, "values { %s }" % wanted)
parse("Value: \"NaN\" is a string", "google.protobuf.Value", '"NaN"', 'string_value: "NaN"')
parse("Value: a number as a string is a string", "google.protobuf.Value", '"1"', 'string_value: "1"')
parse("Value: beyond a double", "google.protobuf.Value", "1e999", REFUSED, python=ANYTHING, why="Python makes an infinity of it")
parse("Value: -0.0", "google.protobuf.Value", "-0.0", "number_value: -0.0")
for name, text in (("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")):
    write("Value: %s cannot be written" % name, "google.protobuf.Value", "number_value: %s" % text, REFUSED, python=ANYTHING,
          why="struct.proto says that it is an error; Python 3.21 writes a string")
write("Value: none of its kinds", "google.protobuf.Value", "", "null")
parse("Value: null in a oneof", MIXED, '{"value":null}', "value { null_value: NULL_VALUE }")
parse("Struct: any object", "google.protobuf.Struct", '{"":1,"a b":{},"\\u0000":[]}',
      'fields { key: "" value { number_value: 1 } } fields { key: "a b" value { struct_value {} } } '
      'fields { key: "\\000" value { list_value {} } }')
write("Struct: keys in order", "google.protobuf.Struct",
      'fields { key: "b" value { number_value: 1 } } fields { key: "a" value { bool_value: true } }', '{"a":true,"b":1}')
write("Struct: empty", KNOWN, "struct {}", '{"struct":{}}')
parse("Struct: null is not there", KNOWN, '{"struct":null}', "")
parse("Struct: a key twice", "google.protobuf.Struct", '{"a":1,"a":2}', REFUSED)
for text in ("[]", "1", '"x"', "true"):
    parse("Struct: %s" % text, KNOWN, '{"struct":%s}' % text, REFUSED)
parse("ListValue: a list", "google.protobuf.ListValue", '[1,[2]]',
      "values { number_value: 1 } values { list_value { values { number_value: 2 } } }")
parse("ListValue: null is not there", KNOWN, '{"list":null}', "")
for text in ("{}", "1", '"x"'):
    parse("ListValue: %s" % text, KNOWN, '{"list":%s}' % text, REFUSED)
parse("nested 30 deep", "google.protobuf.Value", "[" * 30 + "]" * 30, "list_value { values { " * 29 + "list_value {}" + " } }" * 29)
parse("nested 1,000 deep", "google.protobuf.Value", "[" * 1000 + "]" * 1000, REFUSED)
parse("nested 1,000 deep, objects", "google.protobuf.Struct", '{"a":' * 1000 + "1" + "}" * 1000, REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("NullValue")
write("is null", MIXED, "maybe_null: NULL_VALUE null: NULL_VALUE nulls: NULL_VALUE", '{"nulls":[null],"null":null,"maybeNull":null}')
write("a number that it lacks is a number, as of every enum", MIXED, "maybe_null: 72", '{"maybeNull":72}', python=ANYTHING,
      why="Python writes null, which would be read as another number")
parse("a number that it lacks", MIXED, '{"maybeNull":72}', "maybe_null: 72")
parse("null sets a member of a oneof", MIXED, '{"null":null}', "null: NULL_VALUE")
parse("null sets an optional field", MIXED, '{"maybeNull":null}', "maybe_null: NULL_VALUE")
parse("null is an element of a list", MIXED, '{"nulls":[null,null]}', "nulls: NULL_VALUE nulls: NULL_VALUE", json=False,
      python=REFUSED, why="Python takes null for no element of any list")
parse("the name", MIXED, '{"null":"NULL_VALUE"}', "null: NULL_VALUE")
parse("the number", MIXED, '{"null":0}', "null: NULL_VALUE")
parse("another name", MIXED, '{"null":"null"}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("Empty")
parse("an object without members", KNOWN, '{"empty":{}}', "empty {}")
write("an object without members", KNOWN, "empty {}", '{"empty":{}}')
parse("a member", KNOWN, '{"empty":{"a":1}}', REFUSED)
parse("null is not there", KNOWN, '{"empty":null}', "")
parse("an array", KNOWN, '{"empty":[]}', REFUSED, python=ANYTHING, why="Python walks over whatever it is given")

# ----------------------------------------------------------------------------------------------------------------------
section("Any")
ANY, URL = "google.protobuf.Any", "type.googleapis.com/"


def packed(name, value, host=URL):
    escaped = "".join("\\%03o" % c for c in value)
    return 'type_url: "%s%s" value: "%s"' % (host, name, escaped)


for name, type_name, value, text in (
        ("a message", "codec3.Scalars", v(3, 7), '"anInt32":7'), ("a message without fields", "codec3.Scalars", b"", ""),
        ("a message in a message", "codec3.Tree", b(3, b(1, "x")), '"next":{"name":"x"}'),
        ("Timestamp", TIME, v(1, 5), '"value":"1970-01-01T00:00:05Z"'), ("Duration", DURATION, v(1, 5), '"value":"5s"'),
        ("FieldMask", "google.protobuf.FieldMask", b(1, "a_b"), '"value":"aB"'), ("Int32Value", "google.protobuf.Int32Value", v(1, 7), '"value":7'),
        ("Int64Value", "google.protobuf.Int64Value", v(1, 7), '"value":"7"'), ("StringValue", "google.protobuf.StringValue", b(1, "x"), '"value":"x"'),
        ("BoolValue of zero", "google.protobuf.BoolValue", b"", '"value":false'),
        ("Struct", "google.protobuf.Struct", b(1, b(1, "a"), b(2, v(4, 1))), '"value":{"a":true}'),
        ("Value", "google.protobuf.Value", b(3, "x"), '"value":"x"'), ("Value null", "google.protobuf.Value", v(1, 0), '"value":null'),
        ("ListValue", "google.protobuf.ListValue", b(1, v(4, 1)), '"value":[true]'),
        ("Any", ANY, b(1, URL + "codec3.Scalars") + b(2, v(3, 7)), '"value":{"@type":"%scodec3.Scalars","anInt32":7}' % URL)):
    whole = '{"@type":"%s%s"%s%s}' % (URL, type_name, "," if text else "", text)
    parse(name, ANY, whole, packed(type_name, value))
    write(name, ANY, packed(type_name, value), whole)
parse("Empty is an ordinary message", ANY, '{"@type":"%sgoogle.protobuf.Empty"}' % URL, packed("google.protobuf.Empty", b""))
write("Empty is an ordinary message", ANY, packed("google.protobuf.Empty", b""), '{"@type":"%sgoogle.protobuf.Empty"}' % URL)
parse("\"@type\" comes last", ANY, '{"anInt32":7,"@type":"%scodec3.Scalars"}' % URL, packed("codec3.Scalars", v(3, 7)))
parse("\"@type\" comes last, of a well-known type", ANY, '{"value":"5s","@type":"%sgoogle.protobuf.Duration"}' % URL,
      packed(DURATION, v(1, 5)))
parse("\"@type\" in the middle", ANY, '{"anInt32":7,"@type":"%scodec3.Scalars","aBool":true}' % URL, packed("codec3.Scalars", v(3, 7) + v(13, 1)))
parse("another host", ANY, '{"@type":"example.com/a/codec3.Scalars"}', packed("codec3.Scalars", b"", "example.com/a/"))
parse("no members at all", ANY, "{}", "")
parse("null is not there", KNOWN, '{"any":null}', "")
write("empty", KNOWN, "any {}", '{"any":{}}')
parse("in a list", KNOWN, '{"anys":[{"@type":"%scodec3.Nothing"},{}]}' % URL, "anys { type_url: \"%scodec3.Nothing\" } anys {}" % URL)
for name, text in (("no \"@type\"", '{"anInt32":7}'), ("an unknown type", '{"@type":"%scodec3.Nobody"}' % URL),
                   ("no slash", '{"@type":"codec3.Scalars"}'), ("an empty type", '{"@type":""}'), ("a slash alone", '{"@type":"/"}'),
                   ("no name behind the slash", '{"@type":"%s"}' % URL), ("a \"@type\" that is no string", '{"@type":1}'),
                   ("\"@type\" twice", '{"@type":"%scodec3.Scalars","@type":"%scodec3.Scalars"}' % (URL, URL)),
                   ("a field that the type lacks", '{"@type":"%scodec3.Scalars","nobody":1}' % URL),
                   ("a value of another type", '{"@type":"%scodec3.Scalars","anInt32":"x"}' % URL),
                   ("no \"value\" of a well-known type", '{"@type":"%sgoogle.protobuf.Duration"}' % URL),
                   ("more than \"value\"", '{"@type":"%sgoogle.protobuf.Duration","value":"1s","x":1}' % URL),
                   ("a malformed value", '{"@type":"%sgoogle.protobuf.Duration","value":"1"}' % URL),
                   ("a list", "[]"), ("a string", '"x"'), ("type_url and value by name", '{"type_url":"%scodec3.Scalars","value":""}' % URL)):
    parse("refused: %s" % name, ANY, text, REFUSED,
          **({"python": ANYTHING, "why": "Python does not look at other members"} if name.startswith("more than") else {}),
          **({"python": ANYTHING, "why": "Python looks for the last slash and takes what it finds"} if name == "no slash" else {}))
parse("unknown members are ignored on request", ANY, '{"@type":"%scodec3.Scalars","nobody":1,"anInt32":7}' % URL,
      packed("codec3.Scalars", v(3, 7)), lenient=True)
for name, text in (("an unknown type", packed("codec3.Nobody", b"")), ("a malformed value", packed("codec3.Scalars", b"\x18")),
                   ("a value without a type", 'value: "x"')):
    write("cannot be written: %s" % name, ANY, text, REFUSED)
deep_value, deep_text = b"", "{}"
for _ in range(300):
    deep_value = b(1, URL + ANY) + b(2, deep_value)
    deep_text = '{"@type":"%s%s","value":%s}' % (URL, ANY, deep_text)
DEEP = "how deep is an implementation's choice: Mica goes 100 deep, whatever is nested in what"
write("nested 300 deep cannot be written", ANY, deep_value, REFUSED, python=ANYTHING, why=DEEP)
parse("nested 300 deep cannot be read", ANY, deep_text, REFUSED)
