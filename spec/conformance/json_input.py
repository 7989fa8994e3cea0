# SPDX-License-Identifier: Apache-2.0
"""The ProtoJSON document (https://protobuf.dev/programming-guides/json/) and RFC 8259: what is read, and what is not."""

from rows import ANYTHING, REFUSED, Table

table = Table("JSON input")
parse, section = table.parse, table.section

SCALARS, OPTIONALS, LISTS, MAPS = "codec3.Scalars", "codec3.Optionals", "codec3.Lists", "codec3.Maps"
CHOICE, TREE, NAMES, MIXED = "codec3.Choice", "codec3.Tree", "conform3.Names", "conform3.Mixed"

ENUM_NAMES = "Python 3.21 ignores unknown names of fields only; the conformance suite wants those of enums ignored, too"
ITERATES = "Python walks over whatever it is given"
FLOAT_FIRST = "Python reads such numbers as doubles first"

# ----------------------------------------------------------------------------------------------------------------------
section("names")
NAMED = ["fieldname1", "fieldName2", "FieldName3", "fieldName4", "field0name5", "field0Name6", "fieldName7", "FieldName8",
         "fieldName9", "FieldName10", "FIELDNAME11", "FIELDName12", "FieldName13", "FieldName14", "fieldName15", "fieldName16",
         "fieldName17", "FieldName18"]
ORIGINAL = ["fieldname1", "field_name2", "_field_name3", "field__name4_", "field0name5", "field_0_name6", "fieldName7",
            "FieldName8", "field_Name9", "Field_Name10", "FIELD_NAME11", "FIELD_name12", "__field_name13", "__Field_name14",
            "field__name15", "field__Name16", "field_name17__", "Field_name18__"]
for name, original in zip(NAMED, ORIGINAL):
    parse("%s is accepted as %s" % (original, name), NAMES, '{"%s":1}' % name, "%s: 1" % original)
    if name != original:
        parse("%s is accepted as it is" % original, NAMES, '{"%s":1}' % original, "%s: 1" % original)
parse("json_name", NAMES, '{"@other.Name":1}', "renamed: 1")
parse("json_name, the original too", NAMES, '{"renamed":1}', "renamed: 1")
parse("json_name in snake case", NAMES, '{"snake_json":1}', "swapped: 1")
parse("json_name replaces the camel form", NAMES, '{"snakeJson":1}', REFUSED)
parse("json_name with a hyphen", SCALARS, '{"other-name":"x"}', 'renamed: "x"')
parse("another case is another name", SCALARS, '{"anint32":1}', REFUSED)
parse("an empty name", SCALARS, '{"":1}', REFUSED)
parse("a name with an escape is the name", SCALARS, r'{"an\u0049nt32":1}', "an_int32: 1")
parse("a name with a zero byte behind it", SCALARS, r'{"anInt32\u0000":1}', REFUSED)
parse("an unknown name", SCALARS, '{"nobody":1}', REFUSED)
parse("an unknown name in a message", TREE, '{"next":{"nobody":1}}', REFUSED)
parse("an unknown name in an element", TREE, '{"children":[{"nobody":1}]}', REFUSED)
parse("an unknown name in a map", TREE, '{"named":{"k":{"nobody":1}}}', REFUSED)
parse("a field number as the name", SCALARS, '{"3":1}', REFUSED)

section("unknown fields, ignored on request")
for name, value in (("null", "null"), ("number", "1"), ("string", '"x"'), ("bool", "true"), ("object", '{"a":{"b":[]}}'),
                    ("array", "[1,[2],{}]")):
    parse("%s" % name, TREE, '{"nobody":%s,"name":"x"}' % value, 'name: "x"', lenient=True)
parse("malformed values are faults still", TREE, '{"nobody":[1,],"name":"x"}', REFUSED, lenient=True)
parse("an unknown enum name", SCALARS, '{"color":"PURPLE","anInt32":1}', "an_int32: 1", lenient=True,
      python=REFUSED, why=ENUM_NAMES)
parse("an unknown enum name in an optional field", OPTIONALS, '{"color":"PURPLE"}', "", lenient=True, python=REFUSED, why=ENUM_NAMES)
parse("an unknown enum name in a list", LISTS, '{"colors":["RED","PURPLE","GREEN"]}', "colors: RED colors: GREEN", lenient=True,
      python=ANYTHING, why="Python 3.21 appends a zero or fails; the conformance suite wants the element to be left out")
parse("an unknown enum name in a map", MAPS, '{"bySfixed64":{"1":"PURPLE","2":"RED"}}', "by_sfixed64 { key: 2 value: RED }",
      lenient=True, python=ANYTHING, why="Python 3.21 keeps the key; the conformance suite wants the entry to be left out")
parse("wrong types are faults still", SCALARS, '{"anInt32":"x"}', REFUSED, lenient=True)

# ----------------------------------------------------------------------------------------------------------------------
section("integers")
INTEGERS = [("int32", "anInt32", "an_int32", -(2**31), 2**31 - 1), ("int64", "anInt64", "an_int64", -(2**63), 2**63 - 1),
            ("uint32", "aUint32", "a_uint32", 0, 2**32 - 1), ("uint64", "aUint64", "a_uint64", 0, 2**64 - 1),
            ("sint32", "aSint32", "a_sint32", -(2**31), 2**31 - 1), ("sint64", "aSint64", "a_sint64", -(2**63), 2**63 - 1),
            ("fixed32", "aFixed32", "a_fixed32", 0, 2**32 - 1), ("fixed64", "aFixed64", "a_fixed64", 0, 2**64 - 1),
            ("sfixed32", "anSfixed32", "an_sfixed32", -(2**31), 2**31 - 1),
            ("sfixed64", "anSfixed64", "an_sfixed64", -(2**63), 2**63 - 1)]
for kind, name, field, low, high in INTEGERS:
    for value in {low, high}:
        parse("%s %d" % (kind, value), SCALARS, '{"%s":%d}' % (name, value), "%s: %d" % (field, value))
        parse("%s %d as a string" % (kind, value), SCALARS, '{"%s":"%d"}' % (name, value), "%s: %d" % (field, value))
    for value in (low - 1, high + 1):
        parse("%s %d is out of range" % (kind, value), SCALARS, '{"%s":%d}' % (name, value), REFUSED)
        parse("%s %d as a string is out of range" % (kind, value), SCALARS, '{"%s":"%d"}' % (name, value), REFUSED)
    for text, value in (("1.0", 1), ("1e2", 100), ("100e-2", 1), ("1.5e1", 15), ("1E+2", 100)):
        parse("%s %s is an integer" % (kind, text), SCALARS, '{"%s":%s}' % (name, text), "%s: %d" % (field, value))
    for text in ("0.5", "1e-1", "1.00000000000001"):
        parse("%s %s is no integer" % (kind, text), SCALARS, '{"%s":%s}' % (name, text), REFUSED)
parse("0 in the spelling -0", OPTIONALS, '{"anInt32":-0}', "an_int32: 0")
parse("unsigned 0 in the spelling -0", OPTIONALS, '{"aUint32":-0}', "an_uint32: 0".replace("an_u", "a_u"))
parse("int64: 2^53+1 as a number is exact", SCALARS, '{"anInt64":9007199254740993}', "an_int64: 9007199254740993")
parse("int64: 2^53+1 with a fraction of zeros is exact", SCALARS, '{"anInt64":9007199254740993.0}', "an_int64: 9007199254740993",
      python="an_int64: 9007199254740992", why=FLOAT_FIRST)
parse("int64: the largest as an exponent", SCALARS, '{"anInt64":9.223372036854775807e18}', "an_int64: 9223372036854775807",
      python=REFUSED, why=FLOAT_FIRST)
parse("int32: an exponent of a thousand digits", SCALARS, '{"anInt32":1e%s}' % ("9" * 1000), REFUSED)
parse("int32: a negative exponent of a thousand digits", SCALARS, '{"anInt32":1e-%s}' % ("9" * 1000), REFUSED,
      python="", why=FLOAT_FIRST)
parse("int32: zero with a great exponent is zero", OPTIONALS, '{"anInt32":0e999999}', "an_int32: 0")
parse("int32: 1000 zeros and an exponent that takes them back", SCALARS, '{"anInt32":1%se-1000}' % ("0" * 1000), "an_int32: 1")
parse("int32: true", SCALARS, '{"anInt32":true}', REFUSED)
parse("int32: an object", SCALARS, '{"anInt32":{}}', REFUSED)
parse("int32: an array", SCALARS, '{"anInt32":[1]}', REFUSED)
for name, text in (("an empty string", ""), ("a space before", " 1"), ("a space behind", "1 "), ("a plus sign", "+1"),
                   ("a letter behind", "1x"), ("hexadecimal", "0x1"), ("two signs", "--1"), ("a sign alone", "-"),
                   ("an underscore", "1_0"), ("digits of another script", "\u0661"), ("a zero byte", "1\\u0000"),
                   ("a fraction without digits", "1."), ("a fraction without an integer", ".5"), ("NaN", "NaN"),
                   ("an exponent without digits", "1e"), ("a comma", "1,0"), ("a leading zero", "01"), ("minus and a leading zero", "-01")):
    loose = name in ("a plus sign", "an underscore", "digits of another script",
                     "a leading zero", "minus and a leading zero")
    parse("int32 as a string with %s" % name, SCALARS, '{"anInt32":"%s"}' % text, REFUSED,
          **({"python": ANYTHING, "why": "Python's int() reads more than JSON's numbers"} if loose else {}))
parse("int32 as a string with an exponent", SCALARS, '{"anInt32":"1e2"}', "an_int32: 100", python=ANYTHING,
      why="accepted by the document (exponents); Python's int() does not know them in texts")
parse("int32 as a string 1.0", SCALARS, '{"anInt32":"1.0"}', "an_int32: 1", python=ANYTHING,
      why="accepted by the document; Python's int() does not know it in texts")
parse("int32 as a string 0.5", SCALARS, '{"anInt32":"0.5"}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("floating point")
for kind, name, field in (("double", "aDouble", "a_double"), ("float", "aFloat", "a_float")):
    for text, value in (("1.5", "1.5"), ("-1.5", "-1.5"), ("1", "1"), ("1e1", "10"), ("15e-1", "1.5"), ("0.1", "0.1"),
                        ("-0.0", "-0.0"), ("1E+3", "1000")):
        parse("%s %s" % (kind, text), SCALARS, '{"%s":%s}' % (name, text), "%s: %s" % (field, value))
        parse("%s %s as a string" % (kind, text), SCALARS, '{"%s":"%s"}' % (name, text), "%s: %s" % (field, value))
    parse("%s -0 is -0.0" % kind, SCALARS, '{"%s":-0}' % name, "%s: -0.0" % field, python="",
          why="Python reads -0 as an integer, which has no sign of zero")
    for text, value in (("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")):
        parse("%s \"%s\"" % (kind, text), SCALARS, '{"%s":"%s"}' % (name, text), "%s: %s" % (field, value))
        parse("%s %s without quotes" % (kind, text), SCALARS, '{"%s":%s}' % (name, text), REFUSED)
    for text in ("nan", "inf", "infinity", "-nan", "+Infinity", "-NaN", "INFINITY", "Infinit"):
        parse("%s \"%s\" is no number" % (kind, text), SCALARS, '{"%s":"%s"}' % (name, text), REFUSED,
              **({} if text in ("Infinit", "nan") else {"python": ANYTHING, "why": "Python's float() reads more than JSON's numbers"}))
    for text in ("", " 1", "1 ", "0x1p3", "1_0", "+1"):
        parse("%s \"%s\" is no number" % (kind, text), SCALARS, '{"%s":"%s"}' % (name, text), REFUSED,
              **({"python": ANYTHING, "why": "Python's float() reads more than JSON's numbers"} if text not in ("", "0x1p3") else {}))
    parse("%s true" % kind, SCALARS, '{"%s":true}' % name, REFUSED,
          python=ANYTHING, why="Python takes a bool for a number")
parse("double: the largest", SCALARS, '{"aDouble":1.7976931348623157e308}', "a_double: 1.7976931348623157e308")
parse("double: the lowest", SCALARS, '{"aDouble":-1.7976931348623157e308}', "a_double: -1.7976931348623157e308")
parse("double: beyond the largest", SCALARS, '{"aDouble":1.89769e308}', REFUSED)
parse("double: below the lowest", SCALARS, '{"aDouble":-1.89769e308}', REFUSED)
parse("double: beyond the largest, as a string", SCALARS, '{"aDouble":"1e309"}', REFUSED,
      python=ANYTHING, why="Python's float() makes an infinity of it")
parse("double: the smallest", SCALARS, '{"aDouble":5e-324}', "a_double: 5e-324")
parse("double: too small is zero", OPTIONALS, '{"aDouble":1e-400}', "a_double: 0")
parse("double: rounded to even at a tie", SCALARS, '{"aDouble":9007199254740993}', "a_double: 9007199254740992")
parse("double: a thousand digits", SCALARS, '{"aDouble":1.%s}' % ("3" * 1000), "a_double: 1.3333333333333333")
parse("float: the largest", SCALARS, '{"aFloat":3.4028234e38}', "a_float: 3.4028234e38", json=False)
parse("float: the lowest", SCALARS, '{"aFloat":-3.4028234e38}', "a_float: -3.4028234e38", json=False)
parse("float: beyond the largest", SCALARS, '{"aFloat":3.502823e38}', REFUSED)
parse("float: below the lowest", SCALARS, '{"aFloat":-3.502823e38}', REFUSED)
parse("float: the shortest text of the largest", SCALARS, '{"aFloat":3.4028235e38}', "a_float: 3.4028234663852886e38", json=False,
      python=REFUSED, why="Python compares as doubles: 3.4028235e38 is what its own writer prints for the largest float")
parse("float: the smallest", SCALARS, '{"aFloat":1.17549e-38}', "a_float: 1.17549e-38")
parse("float: rounded once, not by way of a double", SCALARS, '{"aFloat":1.00000017881393432617187499}', "a_float: 1.0000001",
      python=ANYTHING, why="Python reads a double first and rounds twice")

# ----------------------------------------------------------------------------------------------------------------------
section("bool")
parse("true", SCALARS, '{"aBool":true}', "a_bool: true")
parse("false", OPTIONALS, '{"aBool":false}', "a_bool: false")
for text in ('"true"', '"false"', "1", "0", "TRUE", "True", "tru", "truex", '""', "[]", "{}"):
    parse("%s is no bool" % text, SCALARS, '{"aBool":%s}' % text, REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("strings")
parse("a text", SCALARS, '{"aString":"Hello world"}', 'a_string: "Hello world"')
parse("every short escape", SCALARS, r'{"aString":"\"\\\/\b\f\n\r\t"}', r'a_string: "\"\\/\b\f\n\r\t"'.replace(r"\b\f", r"\010\014"))
parse("\\u0000", SCALARS, r'{"aString":"a\u0000b"}', 'a_string: "a\\000b"')
parse("\\u in both cases", SCALARS, r'{"aString":"\u00e9\u00E9"}', 'a_string: "\u00e9\u00e9"')
parse("UTF-8 as it is", SCALARS, '{"aString":"\u8c37\u6b4c\U0001f600"}', 'a_string: "\u8c37\u6b4c\U0001f600"')
parse("a surrogate pair", SCALARS, r'{"aString":"\ud83d\ude01"}', 'a_string: "\U0001f601"')
parse("a surrogate pair in upper case", SCALARS, r'{"aString":"\uD83D\uDE01"}', 'a_string: "\U0001f601"')
parse("the last surrogate pair", SCALARS, r'{"aString":"\udbff\udfff"}', 'a_string: "\U0010ffff"')
for name, text in (("a high surrogate alone", r"\ud800"), ("a low surrogate alone", r"\udc00"),
                   ("a high surrogate and text", r"\ud800x"), ("surrogates in the wrong order", r"\udc00\ud800"),
                   ("two high surrogates", r"\ud800\ud800"), ("a high surrogate and another escape", r"\ud800\n"),
                   ("a high surrogate and a character", r"\ud800\u0041")):
    parse(name, SCALARS, '{"aString":"%s"}' % text, REFUSED)
for name, text in (("\\u with three digits", r"\u123"), ("\\u with a letter beyond F", r"\u00eg"), ("\\u with a sign", r"\u+123"),
                   ("\\x", r"\x41"), ("\\'", r"\'"), ("\\0", r"\0"), ("\\U", r"\U0001F601"), ("a backslash at the end", "\\"),
                   ("\\v", r"\v"), ("\\a", r"\a")):
    parse("no escape: %s" % name, SCALARS, '{"aString":"%s"}' % text, REFUSED)
for name, char in (("newline", "\n"), ("tab", "\t"), ("zero", "\0"), ("escape", "\x1b"), ("carriage return", "\r")):
    parse("a control character: %s" % name, SCALARS, '{"aString":"a%sb"}' % char, REFUSED)
parse("DEL is no control character for JSON", SCALARS, '{"aString":"\x7f"}', 'a_string: "\x7f"')
parse("U+2028 as it is", SCALARS, '{"aString":"\u2028"}', 'a_string: "\u2028"')
parse("a number is no string", SCALARS, '{"aString":1}', REFUSED)
parse("true is no string", SCALARS, '{"aString":true}', REFUSED)
parse("an object is no string", SCALARS, '{"aString":{}}', REFUSED)
for name, data in (("a byte of no sequence", b"\xff"), ("overlong", b"\xc0\x80"), ("a surrogate", b"\xed\xa0\x80"), ("cut off", b"\xe6\x97")):
    parse("no UTF-8: %s" % name, SCALARS, b'{"aString":"' + data + b'"}', REFUSED)
    parse("no UTF-8 in a name: %s" % name, SCALARS, b'{"aString' + data + b'":"x"}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("bytes")
parse("base64", SCALARS, '{"someBytes":"AQI="}', 'some_bytes: "\\001\\002"')
parse("base64 without padding", SCALARS, '{"someBytes":"AQI"}', 'some_bytes: "\\001\\002"')
parse("one byte, padded", SCALARS, '{"someBytes":"AQ=="}', 'some_bytes: "\\001"')
parse("one byte, not padded", SCALARS, '{"someBytes":"AQ"}', 'some_bytes: "\\001"')
parse("three bytes", SCALARS, '{"someBytes":"AQID"}', 'some_bytes: "\\001\\002\\003"')
parse("the standard alphabet", SCALARS, '{"someBytes":"+/+/"}', 'some_bytes: "\\373\\377\\277"')
parse("the URL-safe alphabet", SCALARS, '{"someBytes":"-_-_"}', 'some_bytes: "\\373\\377\\277"')
parse("the URL-safe alphabet without padding", SCALARS, '{"someBytes":"-_"}', 'some_bytes: "\\373"')
parse("the URL-safe alphabet with padding", SCALARS, '{"someBytes":"-_8="}', 'some_bytes: "\\373\\377"')
parse("empty", OPTIONALS, '{"someBytes":""}', 'some_bytes: ""')
NO_BASE64 = "Python's decoder skips what it does not know"
for name, text in (("a length that no bytes have", "A"), ("five characters", "AQIDA"), ("a character of no alphabet", "A!=="),
                   ("padding alone", "=="), ("padding too early", "A=QI"), ("too much padding", "AQI=="), ("a space", "AQ I"),
                   ("a line break", "AQ\\nI"), ("no ASCII", "\u00e9\u00e9\u00e9\u00e9")):
    strict = name in ("a length that no bytes have", "five characters", "a character of no alphabet")
    parse("no base64: %s" % name, SCALARS, '{"someBytes":"%s"}' % text, REFUSED,
          **({} if strict else {"python": ANYTHING, "why": NO_BASE64}))
parse("a number is no base64", SCALARS, '{"someBytes":1}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("enums")
parse("a name", SCALARS, '{"color":"GREEN"}', "color: GREEN")
parse("a number", SCALARS, '{"color":2}', "color: GREEN")
parse("a negative number", SCALARS, '{"color":-3}', "color: BELOW_ZERO")
parse("zero by name", OPTIONALS, '{"color":"COLOR_NONE"}', "color: COLOR_NONE")
parse("a number that it lacks", SCALARS, '{"color":77}', "color: 77")
parse("a number with an exponent", SCALARS, '{"color":2e0}', "color: GREEN")
parse("a name that it lacks", SCALARS, '{"color":"PURPLE"}', REFUSED)
parse("a name in another case", SCALARS, '{"color":"green"}', REFUSED)
parse("a name of lower case in another case", MIXED, '{"alias":"ALIAS_LOWER"}', REFUSED)
parse("an empty name", SCALARS, '{"color":""}', REFUSED)
parse("a number as a string", SCALARS, '{"color":"2"}', REFUSED, python="color: GREEN",
      why="the document knows names and integers; Python reads the text as a number when it is no name")
parse("a fraction", SCALARS, '{"color":1.5}', REFUSED, python="color: RED", why="Python cuts the fraction off")
parse("beyond 32 bits", SCALARS, '{"color":4294967297}', REFUSED, python="color: RED", why="Python keeps the low 32 bits")
parse("true", SCALARS, '{"color":true}', REFUSED, python=ANYTHING, why="Python takes a bool for a number")
parse("an alias", MIXED, '{"alias":"ALIAS_SECOND"}', "alias: ALIAS_FIRST")
parse("the first of two aliases", MIXED, '{"alias":"ALIAS_FIRST"}', "alias: ALIAS_FIRST")
parse("a name of lower case", MIXED, '{"alias":"alias_lower"}', "alias: alias_lower")

# ----------------------------------------------------------------------------------------------------------------------
section("null")
for name in ("aDouble", "aFloat", "anInt32", "anInt64", "aUint32", "aUint64", "aSint32", "aSint64", "aFixed32", "aFixed64",
             "anSfixed32", "anSfixed64", "aBool", "aString", "someBytes", "color"):
    parse("null is the default of %s" % name, SCALARS, '{"%s":null}' % name, "")
for name in ("aDouble", "anInt32", "aBool", "aString", "someBytes", "color", "scalars"):
    parse("null leaves optional %s unset" % name, OPTIONALS, '{"%s":null}' % name, "")
parse("null is an empty list", LISTS, '{"int32s":null}', "")
parse("null is an empty list of messages", LISTS, '{"messages":null}', "")
parse("null is an empty map", MAPS, '{"byString":null}', "")
parse("null leaves a message unset", TREE, '{"next":null}', "")
parse("null leaves a oneof unset", CHOICE, '{"email":null}', "")
parse("null beside another member of the oneof", CHOICE, '{"email":null,"phone":"5"}', "phone: 5")
parse("null behind another member of the oneof", CHOICE, '{"phone":"5","email":null}', "phone: 5")
parse("null of all members but one", MIXED, '{"text":null,"struct":null,"mixed":null,"number":7,"flag":null}', "number: 7")
parse("null as the root", SCALARS, "null", REFUSED)
for name, message_type, text in (("int32", LISTS, '{"int32s":[1,null]}'), ("string", LISTS, '{"strings":["a",null]}'),
                                 ("enum", LISTS, '{"colors":[null]}'), ("message", LISTS, '{"messages":[null]}'),
                                 ("bool", LISTS, '{"bools":[null]}'), ("bytes", LISTS, '{"bytesList":[null]}')):
    parse("null is no element of a list: %s" % name, message_type, text, REFUSED)
for name, text in (("string", '{"byString":{"k":null}}'), ("message", '{"trees":{"k":null}}'), ("int64", '{"byInt64":{"1":null}}'),
                   ("enum", '{"bySfixed64":{"1":null}}')):
    parse("null is no value of a map: %s" % name, MAPS, text, REFUSED)
parse("null is no key of a map", MAPS, '{"byString":{null:"x"}}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("lists")
parse("elements in order", LISTS, '{"int32s":[3,1,2]}', "int32s: 3 int32s: 1 int32s: 2")
parse("empty", LISTS, '{"int32s":[]}', "")
parse("messages", LISTS, '{"messages":[{"anInt32":1},{}]}', "messages { an_int32: 1 } messages {}")
parse("mixed spellings of numbers", LISTS, '{"int32s":[1,"2",3.0,4e0]}', "int32s: 1 int32s: 2 int32s: 3 int32s: 4")
parse("mixed spellings of enums", LISTS, '{"colors":["RED",2,-3]}', "colors: RED colors: GREEN colors: BELOW_ZERO")
parse("a value that is no array", LISTS, '{"int32s":1}', REFUSED)
parse("an object", LISTS, '{"int32s":{}}', REFUSED)
parse("a string", LISTS, '{"strings":"ab"}', REFUSED)
parse("an array in an array", LISTS, '{"int32s":[[1]]}', REFUSED)
parse("an element of another type", LISTS, '{"int32s":[1,true]}', REFUSED)
parse("an element of another type: a string among messages", LISTS, '{"messages":["x"]}', REFUSED)
parse("a trailing comma", LISTS, '{"int32s":[1,2,]}', REFUSED)
parse("a comma too many", LISTS, '{"int32s":[1,,2]}', REFUSED)
parse("no comma", LISTS, '{"int32s":[1 2]}', REFUSED)
parse("not closed", LISTS, '{"int32s":[1,2}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("maps")
KEYED = [("int32", "byInt32", "by_int32", "-1", '"x"', '"x"'), ("int64", "byInt64", "by_int64", "-9223372036854775808", "1", "1"),
         ("uint32", "byUint32", "by_uint32", "4294967295", "1", "1"), ("uint64", "byUint64", "by_uint64", "18446744073709551615", "1", "1"),
         ("sint32", "bySint32", "by_sint32", "-1", "1", "1"), ("sint64", "bySint64", "by_sint64", "-1", '"AQ=="', '"\\001"'),
         ("fixed32", "byFixed32", "by_fixed32", "1", "1.5", "1.5"), ("fixed64", "byFixed64", "by_fixed64", "1", "1.5", "1.5"),
         ("sfixed32", "bySfixed32", "by_sfixed32", "-1", "true", "true"), ("sfixed64", "bySfixed64", "by_sfixed64", "-1", '"RED"', "RED")]
for kind, name, field, key, value, text in KEYED:
    parse("%s keys are strings" % kind, MAPS, '{"%s":{"%s":%s}}' % (name, key, value), "%s { key: %s value: %s }" % (field, key, text))
    parse("%s key without quotes" % kind, MAPS, '{"%s":{%s:%s}}' % (name, key, value), REFUSED)
    parse("%s key that is no number" % kind, MAPS, '{"%s":{"x":%s}}' % (name, value), REFUSED)
    parse("%s key out of range" % kind, MAPS, '{"%s":{"99999999999999999999":%s}}' % (name, value), REFUSED)
parse("bool keys", MAPS, '{"byBool":{"true":"a","false":"b"}}', 'by_bool { key: true value: "a" } by_bool { key: false value: "b" }')
for key in ('"1"', '"True"', "true", '""'):
    parse("%s is no bool key" % key, MAPS, '{"byBool":{%s:"a"}}' % key, REFUSED)
parse("string keys, an empty one too", MAPS, '{"byString":{"":"a","b":""}}',
      'by_string { key: "" value: "a" } by_string { key: "b" value: "" }')
parse("string keys with escapes", MAPS, r'{"byString":{"\u0000\"":"a"}}', r'by_string { key: "\000\"" value: "a" }')
parse("messages", MAPS, '{"trees":{"a":{"name":"x"},"b":{}}}', 'trees { key: "a" value { name: "x" } } trees { key: "b" value {} }')
parse("a key twice", MAPS, '{"byString":{"k":"a","k":"b"}}', REFUSED)
parse("a key twice, escaped once", MAPS, r'{"byString":{"k":"a","\u006b":"b"}}', REFUSED)
parse("a number as a key in two spellings", MAPS, '{"byInt32":{"1":"a","1.0":"b"}}', REFUSED)
parse("a list", MAPS, '{"byString":[]}', REFUSED)
parse("a list of entries", MAPS, '{"byString":[{"key":"k","value":"x"}]}', REFUSED)
parse("a value of another type", MAPS, '{"byString":{"k":1}}', REFUSED)

# ----------------------------------------------------------------------------------------------------------------------
section("oneofs")
for name, text, wanted in (("string", '"email":""', 'email: ""'), ("int64", '"phone":"0"', "phone: 0"), ("bytes", '"key":""', 'key: ""'),
                           ("enum", '"color":"COLOR_NONE"', "color: COLOR_NONE"), ("message", '"tree":{}', "tree {}"),
                           ("duration", '"wait":"0s"', "wait {}"), ("bool", '"flag":false', "flag: false"),
                           ("NullValue", '"nothing":null', "nothing: NULL_VALUE")):
    parse("%s: a zero is set" % name, CHOICE, "{%s}" % text, wanted)
parse("two members", CHOICE, '{"email":"a","phone":"5"}', REFUSED)
parse("two members of zero", CHOICE, '{"email":"","phone":"0"}', REFUSED)
parse("a NullValue and another member", CHOICE, '{"nothing":null,"email":"a"}', REFUSED, python=ANYTHING,
      why="Python passes over null when the member is another")
parse("members of two oneofs", CHOICE, '{"email":"a","left":5}', 'email: "a" left: 5')

# ----------------------------------------------------------------------------------------------------------------------
section("duplicates")
TWICE = ("the document accepts duplicates (the last counts) and allows readers to refuse them, which the conformance suite "
         "recommends. Mica refuses: two readers of one text must not see two messages")
SPELLINGS = TWICE + "; Python refuses only equal spellings"
parse("a name twice", SCALARS, '{"anInt32":1,"anInt32":2}', "an_int32: 2", mica=REFUSED, python=REFUSED, why=TWICE)
parse("a name twice, once escaped", SCALARS, r'{"anInt32":1,"an\u0049nt32":2}', "an_int32: 2", mica=REFUSED, python=REFUSED, why=TWICE)
parse("a message twice", TREE, '{"next":{},"next":{}}', "next {}", mica=REFUSED, python=REFUSED, why=TWICE)
parse("a list twice", LISTS, '{"int32s":[1],"int32s":[2]}', "int32s: 2", mica=REFUSED, python=REFUSED, why=TWICE)
parse("a map twice", MAPS, '{"byString":{},"byString":{}}', "", mica=REFUSED, python=REFUSED, why=TWICE)
parse("null and a value", SCALARS, '{"anInt32":null,"anInt32":2}', "an_int32: 2", mica=REFUSED, python=REFUSED, why=TWICE)
parse("in a message", TREE, '{"next":{"name":"a","name":"b"}}', 'next { name: "b" }', mica=REFUSED, python=REFUSED, why=TWICE)
parse("both spellings of a name", SCALARS, '{"anInt32":1,"an_int32":2}', "an_int32: 2", mica=REFUSED, why=SPELLINGS)
parse("json_name and the original", NAMES, '{"@other.Name":1,"renamed":2}', "renamed: 2", mica=REFUSED, why=SPELLINGS)

# ----------------------------------------------------------------------------------------------------------------------
section("messages")
parse("an empty object", SCALARS, "{}", "")
parse("an empty message is there", TREE, '{"next":{}}', "next {}")
parse("members in any order", SCALARS, '{"aBool":true,"anInt32":1}', "an_int32: 1 a_bool: true")
for text in ("[]", '"x"', "1", "true"):
    parse("the root is an object, not %s" % text, SCALARS, text, REFUSED,
          **({"python": ANYTHING, "why": ITERATES} if text == "[]" else {}))
    parse("a message is an object, not %s" % text, TREE, '{"next":%s}' % text, REFUSED,
          **({"python": ANYTHING, "why": ITERATES} if text == "[]" else {}))
parse("nested 99 deep", TREE, '{"next":' * 98 + "{}" + "}" * 98, "next { " * 98 + "}" * 98, json=False)
parse("nested 101 deep", TREE, '{"next":' * 101 + "{}" + "}" * 101, REFUSED)
parse("nested 100,000 deep", TREE, '{"next":' * 100000 + "{}" + "}" * 100000, REFUSED)
parse("arrays nested 100,000 deep", LISTS, '{"int32s":' + "[" * 100000 + "]" * 100000 + "}", REFUSED)
parse("an unknown member nested 100,000 deep", TREE, '{"nobody":' + "[" * 100000 + "]" * 100000 + "}", REFUSED, lenient=True)

# ----------------------------------------------------------------------------------------------------------------------
section("grammar")
parse("white space everywhere", SCALARS, ' \t\r\n{ \t\r\n"anInt32" \t\r\n: \t\r\n1 \t\r\n, "aBool" : true }\r\n\t ',
      "an_int32: 1 a_bool: true")
for name, text in (("nothing", ""), ("white space alone", " \n"), ("not closed", '{"anInt32":1'), ("not opened", '"anInt32":1}'),
                   ("closed twice", '{"anInt32":1}}'), ("closed by another bracket", '{"anInt32":1]'),
                   ("something behind", '{"anInt32":1}x'), ("a second value behind", '{"anInt32":1}{}'),
                   ("a comma behind", '{"anInt32":1},'), ("a trailing comma", '{"anInt32":1,}'), ("a leading comma", '{,"anInt32":1}'),
                   ("two commas", '{"anInt32":1,,"aBool":true}'), ("no comma", '{"anInt32":1 "aBool":true}'), ("no colon", '{"anInt32" 1}'),
                   ("an equals sign", '{"anInt32"=1}'), ("two colons", '{"anInt32"::1}'), ("a key without value", '{"anInt32"}'),
                   ("a value without key", '{1}'), ("a key without quotes", "{anInt32:1}"), ("single quotes around a key", "{'anInt32':1}"),
                   ("single quotes around a value", "{\"aString\":'x'}"), ("single quotes around all", "{'aString':'x'}"),
                   ("a string that is not closed", '{"aString":"x}'), ("a line comment", '{"anInt32":1} // one'),
                   ("a block comment", '{"anInt32":/* one */1}'), ("a hash comment", '{"anInt32":1} # one'),
                   ("a number as a key", '{1:1}'), ("undefined", '{"anInt32":undefined}'), ("a form feed as white space", '{\f"anInt32":1}'),
                   ("a no-break space", '{\u00a0"anInt32":1}'), ("a vertical tab", '{\v"anInt32":1}'), ("a zero byte behind", '{"anInt32":1}\0'),
                   ("a zero byte inside", '{\0"anInt32":1}'), ("Null", '{"anInt32":Null}'), ("nul", '{"anInt32":nul}'),
                   ("nullx", '{"anInt32":nullx}')):
    parse(name, SCALARS, text, REFUSED)
for text in ("01", "-01", "00", "1.", ".5", "-", "+1", "1e", "1e+", "0x1", "1_0", "--1", "1.e1", "1e1.5", "\u0661", "- 1", "1 0"):
    parse("%s is no number" % text, SCALARS, '{"aDouble":%s}' % text, REFUSED)
parse("a byte order mark", SCALARS, b'\xef\xbb\xbf{"anInt32":1}', REFUSED)
parse("UTF-16", SCALARS, '{"anInt32":1}'.encode("utf-16"), REFUSED)
parse("UTF-16 without a mark", SCALARS, '{"anInt32":1}'.encode("utf-16-le"), REFUSED)
