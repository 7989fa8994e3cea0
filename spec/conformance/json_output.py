# SPDX-License-Identifier: Apache-2.0
"""The ProtoJSON document: what is written. The texts are compared as they are; with Google's, as values."""

from rows import ANYTHING, Table, b, v

table = Table("JSON output")
write, section = table.write, table.section

SCALARS, OPTIONALS, LISTS, MAPS = "codec3.Scalars", "codec3.Optionals", "codec3.Lists", "codec3.Maps"
CHOICE, TREE, NAMES, MIXED = "codec3.Choice", "codec3.Tree", "conform3.Names", "conform3.Mixed"

# ----------------------------------------------------------------------------------------------------------------------
section("names")
for original, name in (("fieldname1", "fieldname1"), ("field_name2", "fieldName2"), ("_field_name3", "FieldName3"),
                       ("field__name4_", "fieldName4"), ("field0name5", "field0name5"), ("field_0_name6", "field0Name6"),
                       ("fieldName7", "fieldName7"), ("FieldName8", "FieldName8"), ("field_Name9", "fieldName9"),
                       ("Field_Name10", "FieldName10"), ("FIELD_NAME11", "FIELDNAME11"), ("FIELD_name12", "FIELDName12"),
                       ("__field_name13", "FieldName13"), ("__Field_name14", "FieldName14"), ("field__name15", "fieldName15"),
                       ("field__Name16", "fieldName16"), ("field_name17__", "fieldName17"), ("Field_name18__", "FieldName18"),
                       ("renamed", "@other.Name"), ("swapped", "snake_json")):
    write("%s is written as %s" % (original, name), NAMES, "%s: 1" % original, '{"%s":1}' % name)
write("a json_name with a hyphen", SCALARS, 'renamed: "x"', '{"other-name":"x"}')
write("members in the order of their numbers", SCALARS, 'far: "z" a_bool: true an_int32: 1', '{"anInt32":1,"aBool":true,"far":"z"}')

# ----------------------------------------------------------------------------------------------------------------------
section("presence and default values")
EMPTY = ('{"a_double":0,"a_float":0,"an_int32":0,"an_int64":"0","a_uint32":0,"a_uint64":"0","a_sint32":0,"a_sint64":"0",'
         '"a_fixed32":0,"a_fixed64":"0","an_sfixed32":0,"an_sfixed64":"0","a_bool":false,"a_string":"","some_bytes":"",'
         '"color":"COLOR_NONE","id":"0","small":"0","renamed":"","far":""}')
write("defaults without presence are left out; Micro's form has them", SCALARS, "", "{}", micro=EMPTY)
for name, text, json in (("double", "a_double: 0", '"aDouble":0'), ("int32", "an_int32: 0", '"anInt32":0'), ("int64", "an_int64: 0", '"anInt64":"0"'),
                         ("bool", "a_bool: false", '"aBool":false'), ("string", 'a_string: ""', '"aString":""'),
                         ("bytes", 'some_bytes: ""', '"someBytes":""'), ("enum", "color: COLOR_NONE", '"color":"COLOR_NONE"'),
                         ("message", "scalars {}", '"scalars":{}')):
    write("optional %s: a default that is set is written" % name, OPTIONALS, text, "{%s}" % json)
write("optional fields that are not set are left out in both forms", OPTIONALS, "", "{}", micro="{}")
write("empty lists are left out; Micro's form has them", TREE, "", "{}", micro='{"name":"","children":[],"named":{}}')
write("an empty packed list on the wire is left out", LISTS, b(3) + b(14, "x"), '{"strings":["x"]}')
write("an empty packed list after another member", LISTS, b(1, bytes(8)) + b(3), '{"doubles":[0]}')
write("a member of a oneof with its default is written", CHOICE, "phone: 0", '{"phone":"0"}', micro='{"before":"","phone":"0","after":""}')
write("-0.0 is no default", SCALARS, "a_double: -0.0 a_float: -0.0", '{"aDouble":-0.0,"aFloat":-0.0}')
write("unknown fields are left out", TREE, b(1, "x") + v(77, 1), '{"name":"x"}')

# ----------------------------------------------------------------------------------------------------------------------
section("numbers")
for kind, field, name in (("int32", "an_int32", "anInt32"), ("sint32", "a_sint32", "aSint32"), ("sfixed32", "an_sfixed32", "anSfixed32")):
    for value in (2**31 - 1, -(2**31)):
        write("%s %d is a number" % (kind, value), SCALARS, "%s: %d" % (field, value), '{"%s":%d}' % (name, value))
for kind, field, name in (("uint32", "a_uint32", "aUint32"), ("fixed32", "a_fixed32", "aFixed32")):
    write("%s 4294967295 is a number" % kind, SCALARS, "%s: 4294967295" % field, '{"%s":4294967295}' % name)
for kind, field, name in (("int64", "an_int64", "anInt64"), ("sint64", "a_sint64", "aSint64"), ("sfixed64", "an_sfixed64", "anSfixed64")):
    for value in (1, 2**63 - 1, -(2**63)):
        write("%s %d is a string" % (kind, value), SCALARS, "%s: %d" % (field, value), '{"%s":"%d"}' % (name, value))
for kind, field, name in (("uint64", "a_uint64", "aUint64"), ("fixed64", "a_fixed64", "aFixed64")):
    write("%s 18446744073709551615 is a string" % kind, SCALARS, "%s: 18446744073709551615" % field, '{"%s":"18446744073709551615"}' % name)
write("[jstype] changes nothing in JSON", SCALARS, "id: 5 small: 6", '{"id":"5","small":"6"}')
for text, json in (("1.5", "1.5"), ("-1.5", "-1.5"), ("1", "1"), ("0.1", "0.1"), ("100", "100"), ("1e300", "1e+300"), ("1.7976931348623157e308", "1.7976931348623157e+308"),
                   ("5e-324", "5e-324"), ("2.2250738585072014e-308", "2.2250738585072014e-308"), ("123456789.125", "123456789.125"),
                   ("0.30000000000000004", "0.30000000000000004"), ("9007199254740993", "9007199254740992"), ("1e23", "1e+23"),
                   ("nan", '"NaN"'), ("inf", '"Infinity"'), ("-inf", '"-Infinity"')):
    write("double %s: the shortest that reads back" % text, SCALARS, "a_double: %s" % text, '{"aDouble":%s}' % json)
for text, json in (("1.5", "1.5"), ("0.1", "0.1"), ("16777216", "16777216"), ("3.4028234663852886e38", "3.4028235e+38"), ("1e-45", "1e-45"),
                   ("1.17549435e-38", "1.1754944e-38"), ("0.3", "0.3"), ("nan", '"NaN"'), ("inf", '"Infinity"'), ("-inf", '"-Infinity"')):
    write("float %s: the shortest that reads back" % text, SCALARS, "a_float: %s" % text, '{"aFloat":%s}' % json,
          **({"python": ANYTHING, "why": "the document leaves the digits to the writer; Python prints up to eight, as doubles"}
             if text == "1e-45" else {}))

# ----------------------------------------------------------------------------------------------------------------------
section("other scalars")
write("bool", SCALARS, "a_bool: true", '{"aBool":true}')
write("string", SCALARS, r'a_string: "\"\\/\010\014\n\r\t"', r'{"aString":"\"\\/\b\f\n\r\t"}')
write("string: other control characters", SCALARS, r'a_string: "\000\001\037"', r'{"aString":"\u0000\u0001\u001f"}')
write("string: all else as it is", SCALARS, 'a_string: "\u00e9\u65e5\U0001f600\u2028\x7f<&>"', '{"aString":"\u00e9\u65e5\U0001f600\u2028\x7f<&>"}')
for name, text, json in (("none", OPTIONALS, '""'), ("one", SCALARS, '"AQ=="'), ("two", SCALARS, '"AQI="'), ("three", SCALARS, '"AQID"')):
    count = ("none", "one", "two", "three").index(name)
    write("bytes: %s, standard base64 with padding" % name, text, 'some_bytes: "%s"' % "".join("\\%03o" % i for i in range(1, count + 1)),
          '{"someBytes":%s}' % json)
write("bytes: the standard alphabet", SCALARS, r'some_bytes: "\373\377\277"', '{"someBytes":"+/+/"}')
write("enum: the name", SCALARS, "color: GREEN", '{"color":"GREEN"}')
write("enum: negative", SCALARS, "color: BELOW_ZERO", '{"color":"BELOW_ZERO"}')
write("enum: a number that it lacks", SCALARS, "color: 77", '{"color":77}')
write("enum: the first of two aliases", MIXED, "alias: ALIAS_SECOND", '{"alias":"ALIAS_FIRST"}')
write("enum: lower case", MIXED, "alias: alias_lower", '{"alias":"alias_lower"}')

# ----------------------------------------------------------------------------------------------------------------------
section("messages, lists and maps")
write("a message", TREE, 'next { name: "x" }', '{"next":{"name":"x"}}')
write("an empty message", TREE, "next {}", '{"next":{}}')
write("a list", LISTS, "int32s: [3, 1]", '{"int32s":[3,1]}')
write("a list of 64 bits", LISTS, "int64s: [3, -1]", '{"int64s":["3","-1"]}')
write("a list of messages", TREE, 'children { name: "a" } children {}', '{"children":[{"name":"a"},{}]}')
write("a list of enums", LISTS, "colors: [RED, 77]", '{"colors":["RED",77]}')
for field, name, key, value, json in (
        ("by_int32", "byInt32", "-1", '"x"', '"-1":"x"'), ("by_int64", "byInt64", "-9223372036854775808", "1", '"-9223372036854775808":"1"'),
        ("by_uint64", "byUint64", "18446744073709551615", "1", '"18446744073709551615":"1"'), ("by_bool", "byBool", "true", '"x"', '"true":"x"'),
        ("by_string", "byString", '"a\\"b"', '"x"', '"a\\"b":"x"'), ("trees", "trees", '"k"', "{}", '"k":{}'),
        ("by_sfixed64", "bySfixed64", "1", "RED", '"1":"RED"'), ("by_fixed64", "byFixed64", "1", "inf", '"1":"Infinity"')):
    write("%s: keys are strings" % field, MAPS, "%s { key: %s value: %s }" % (field, key, value), '{"%s":{%s}}' % (name, json))
write("a value that is the default is written", MAPS, 'by_string { key: "" value: "" }', '{"byString":{"":""}}')
write("keys in order: numbers as numbers", MAPS, 'by_int32 { key: 10 value: "b" } by_int32 { key: 9 value: "a" } by_int32 { key: -1 value: "c" }',
      '{"byInt32":{"-1":"c","9":"a","10":"b"}}')
write("keys in order: false before true", MAPS, 'by_bool { key: true value: "a" } by_bool { key: false value: "b" }', '{"byBool":{"false":"b","true":"a"}}')
write("keys in order: texts by their bytes", MAPS, 'by_string { key: "b" value: "" } by_string { key: "a" value: "" } by_string { key: "Z" value: "" }',
      '{"byString":{"Z":"","a":"","b":""}}')
