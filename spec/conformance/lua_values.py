# SPDX-License-Identifier: Apache-2.0
"""What a message is in Lua, decoded and encoded: a section for every line of the table of values that the library promises
(docs/writing-a-service.md has the same for authors). `again(type, value)` encodes and decodes."""

from rows import Table

table = Table("Lua values")
section = table.section

S, O, L, M = "codec3.Scalars", "codec3.Optionals", "codec3.Lists", "codec3.Maps"
C, T, K, X, D = "codec3.Choice", "codec3.Tree", "codec3.Known", "conform3.Mixed", "codec2.Defaults"

PRELUDE = "local function again(t, v) return decode(t, encode(t, v)) end\n"


def lua(rule, script, wanted):
    lines = script.strip().splitlines()
    if not any(line.strip().startswith("return ") for line in lines):
        lines[-1] = "return " + lines[-1]
    table.lua(rule, PRELUDE + "\n".join(lines), wanted)


def back(rule, message_type, value, wanted):
    """What comes back of a table."""
    lua(rule, "show(again('%s', %s))" % (message_type, value), wanted)


def refused(rule, message_type, value, text):
    lua(rule, "encode('%s', %s)" % (message_type, value), "error: " + text)


# ----------------------------------------------------------------------------------------------------------------------
section("numbers of 32 bits and floating point")
NUMBERS = [("an_int32", -(2**31), 2**31 - 1), ("a_uint32", 0, 2**32 - 1), ("a_sint32", -(2**31), 2**31 - 1),
           ("a_fixed32", 0, 2**32 - 1), ("an_sfixed32", -(2**31), 2**31 - 1)]
for field, low, high in NUMBERS:
    back("%s is a number: the largest" % field, S, "{ %s = %d }" % (field, high), "{%s=%s}" % (field, high))
    if low:
        back("%s is a number: the lowest" % field, S, "{ %s = %d }" % (field, low), "{%s=%d}" % (field, low))
    kind = "int32" if low else "uint32"
    for name, value, text in (("beyond the largest", high + 1, "%d is out of range for %s" % (high + 1, kind)),
                              ("below the lowest", low - 1, "%d is out of range for %s" % (low - 1, kind)),
                              ("a fraction", 1.5, "expected an integer, got 1.5 (write math.floor(...))"),
                              ("NaN", "0/0", "expected an integer, got NaN"), ("infinity", "1/0", "expected an integer, got infinity"),
                              ("a string", "'1'", "expected number, got string (write tonumber(...))"),
                              ("a boolean", "true", "expected number, got boolean")):
        refused("%s refuses %s" % (field, name), S, "{ %s = %s }" % (field, value), "codec3.Scalars.%s: %s" % (field, text))
back("double is a number", S, "{ a_double = 1.5 }", "{a_double=1.5}")
back("double: an infinity", S, "{ a_double = 1/0 }", "{a_double=inf}")
lua("double: NaN", "local v = again('%s', { a_double = 0/0 }).a_double\nreturn v ~= v" % S, "true")
lua("double: -0.0", "1 / again('%s', { a_double = -0.0 }).a_double" % S, "-inf")
back("float is the nearest float", S, "{ a_float = 16777217 }", "{a_float=16777216}")
back("float: an infinity", S, "{ a_float = -1/0 }", "{a_float=-inf}")
refused("float refuses what is beyond the largest", S, "{ a_float = 1e39 }", "codec3.Scalars.a_float: 1e+39 is out of range for float")
refused("double refuses a string", S, "{ a_double = '1.5' }", "codec3.Scalars.a_double: expected number, got string (write tonumber(...))")

# ----------------------------------------------------------------------------------------------------------------------
section("integers of 64 bits")
for field in ("an_int64", "a_sint64", "an_sfixed64", "a_uint64", "a_fixed64"):
    lua("%s up to 2^53 is a number" % field, "local v = again('%s', { %s = 9007199254740992 }).%s\nreturn type(v) .. ' ' .. string.format('%%d', v)"
        % (S, field, field), "number 9007199254740992")
    lua("%s beyond 2^53 is an int64, not rounded" % field,
        "local v = again('%s', { %s = '9007199254740993' }).%s\nreturn type(v) .. ' ' .. tostring(v)" % (S, field, field), "userdata 9007199254740993")
    back("%s takes a number" % field, S, "{ %s = 7 }" % field, "{%s=7}" % field)
    back("%s takes an int64" % field, S, "{ %s = pb.int64('7') }" % field, "{%s=7}" % field)
    back("%s takes a decimal string" % field, S, "{ %s = '7' }" % field, "{%s=7}" % field)
    kind = "uint64" if field in ("a_uint64", "a_fixed64") else "int64"
    refused("%s refuses a fraction" % field, S, "{ %s = 0.5 }" % field, field + ": expected an integer, got 0.5 (write math.floor(...))")
    refused("%s refuses a string that is no integer" % field, S, "{ %s = '1e3x' }" % field, field + ': "1e3x" is no decimal ' + kind)
    refused("%s refuses a number out of range" % field, S, "{ %s = 2^64 }" % field,
            field + ": 1.8446744073709552e+19 is out of range for " + kind)
lua("the lowest int64", "tostring(again('%s', { an_int64 = '-9223372036854775808' }).an_int64)" % S, "-9223372036854775808")
lua("the largest uint64", "tostring(again('%s', { a_uint64 = '18446744073709551615' }).a_uint64)" % S, "18446744073709551615")
refused("int64 beyond the largest", S, "{ an_int64 = '9223372036854775808' }", 'an_int64: 9223372036854775808 is out of range for int64')
refused("uint64 below zero", S, "{ a_uint64 = -1 }", "a_uint64: -1 is out of range for uint64")
section("[jstype = JS_STRING]")
back("is a string", S, "{ id = 7 }", '{id="7"}')
back("takes an int64", S, "{ id = pb.int64('9223372036854775807') }", '{id="9223372036854775807"}')
back("takes a string", S, "{ id = '-5' }", '{id="-5"}')
lua("absent is \"0\"", "decode('%s', '').id" % S, "0")
section("[jstype = JS_NUMBER]")
back("is a number", S, "{ small = 7 }", "{small=7}")
lua("beyond 2^53 the message is refused", "decode('%s', '\\144\\1' .. encode('%s', { an_int64 = '9007199254740993' }):sub(2))" % (S, S),
    "error: small: is beyond 2^53, which the contract excludes (JS_NUMBER)")
section("bool")
back("is a boolean", S, "{ a_bool = true }", "{a_bool=true}")
refused("refuses a number", S, "{ a_bool = 1 }", "codec3.Scalars.a_bool: expected boolean, got number (write x ~= 0)")
refused("refuses a string", S, "{ a_bool = 'true' }", 'codec3.Scalars.a_bool: expected boolean, got string (write x == "true")')

# ----------------------------------------------------------------------------------------------------------------------
section("string and bytes")
back("a string", S, "{ a_string = 'caf\u00e9' }", '{a_string="caf\u00e9"}')
refused("a string is valid UTF-8", S, "{ a_string = '\\255' }", "a_string: is not valid UTF-8 (other bytes want a field of type bytes)")
refused("a string refuses a number", S, "{ a_string = 5 }", "a_string: expected string, got number (write tostring(...))")
lua("bytes are a string, any", "#again('%s', { some_bytes = '\\0\\255' }).some_bytes" % S, "2")
refused("bytes refuse a number", S, "{ some_bytes = 5 }", "some_bytes: expected string, got number (write tostring(...))")

# ----------------------------------------------------------------------------------------------------------------------
section("enum")
back("is its name", S, "{ color = 'GREEN' }", '{color="GREEN"}')
back("takes a number", S, "{ color = 2 }", '{color="GREEN"}')
back("a number that it lacks stays a number", S, "{ color = 77 }", "{color=77}")
refused("refuses a name that it lacks", S, "{ color = 'GREN' }", 'color: "GREN" is no value of codec3.Color (did you mean "GREEN"?)')
lua("absent is the name of zero", "decode('%s', '').color" % S, "COLOR_NONE")
refused("a closed enum refuses a number that it lacks", D, "{ shape = 99 }", "shape: 99 is no value of codec2.Shape")
section("message")
back("is a table", T, "{ next = { name = 'x' } }", '{next={name="x"}}')
back("an empty one is there", T, "{ next = {} }", "{next={}}")
lua("absent is nil", "decode('%s', '').next" % T, "nil")
refused("refuses a string", T, "{ next = 'x' }", "codec3.Tree.next: expected table, got string")
section("repeated")
back("is a sequence", L, "{ int32s = { 3, 1 } }", "{int32s={3, 1}}")
lua("absent is an empty sequence, never nil", "#decode('%s', '').int32s" % L, "0")
refused("refuses holes", L, "{ int32s = { 1, nil, 3 } }", "int32s[2]: is nil, but later elements are not (a list has no holes)")
refused("refuses other keys", L, "{ int32s = { 1, x = 2 } }", 'int32s: a list has no key "x"')
refused("names the element at fault", L, "{ int32s = { 1, 'x' } }", "codec3.Lists.int32s[2]: expected number, got string (write tonumber(...))")
back("of messages", T, "{ children = { { name = 'a' }, {} } }", '{children={{name="a"}, {}}}')
section("map")
back("is a table", M, "{ by_string = { a = 'x' } }", '{by_string={a="x"}}')
back("number keys", M, "{ by_int32 = { [-1] = 'x' } }", '{by_int32={[-1]="x"}}')
back("boolean keys", M, "{ by_bool = { [true] = 'x' } }", '{by_bool={[true]="x"}}')
lua("64-bit keys up to 2^53 are numbers", "type(next(again('%s', { by_int64 = { [5] = 1 } }).by_int64))" % M, "number")
lua("64-bit keys beyond 2^53 are decimal strings", "next(again('%s', { by_int64 = { ['9007199254740993'] = 1 } }).by_int64)" % M, "9007199254740993")
lua("absent is an empty table, never nil", "type(decode('%s', '').by_string)" % M, "table")
lua("written in key order", "(encode('%s', { by_string = { y = '', x = '', Z = '' } }):gsub('[^xyZ]', ''))" % M, "Zxy")
refused("refuses a key of another type", M, "{ by_int32 = { x = 'x' } }", 'by_int32["x"]: expected number, got string (write tonumber(...))')
refused("refuses a value of another type", M, "{ by_string = { a = 1 } }", 'by_string["a"]: expected string, got number (write tostring(...))')
refused("one key in two spellings", M, "{ by_int64 = { [5] = 1, ['5'] = 2 } }", 'by_int64["5"]: the key is there twice')

# ----------------------------------------------------------------------------------------------------------------------
section("oneof")
lua("its name holds the name of the member", "again('%s', { email = 'a' }).contact" % C, "email")
lua("the member is in its field", "again('%s', { email = 'a' }).email" % C, "a")
lua("nothing set: its name is nil", "decode('%s', '').contact" % C, "nil")
lua("members that are not set are nil", "again('%s', { email = 'a' }).phone" % C, "nil")
lua("a zero is set", "again('%s', { phone = 0 }).contact" % C, "phone")
refused("refuses two members", C, "{ email = 'a', phone = 5 }", 'of the oneof contact, both "email" and "phone" are set')
back("the name beside the member is accepted", C, "{ contact = 'email', email = 'a' }", '{contact="email", email="a"}')
back("the member decides, not the name", C, "{ contact = 'phone', email = 'a' }", '{contact="email", email="a"}')
section("fields without presence")
lua("absent is zero", "local m = decode('%s', '')\nreturn show { m.an_int32, m.a_double, m.a_bool, m.a_string, m.some_bytes }" % S, '{0, 0, false, "", ""}')
lua("nil is zero", "#encode('%s', { an_int32 = nil })" % S, "0")
lua("a zero is not written", "#encode('%s', { an_int32 = 0, a_string = '', a_bool = false, color = 'COLOR_NONE' })" % S, "0")
lua("pairs visits what is set", "show(again('%s', { an_int32 = 0, a_bool = true }))" % S, "{a_bool=true}")
section("fields with presence")
lua("absent is nil", "decode('%s', '').an_int32" % O, "nil")
lua("a zero is there", "again('%s', { an_int32 = 0 }).an_int32" % O, "0")
lua("proto2: absent is nil, where it has a default too", "decode('%s', '').an_int32" % D, "nil")

# ----------------------------------------------------------------------------------------------------------------------
section("Timestamp and Duration")
back("are seconds and nanos", K, "{ time = { seconds = 5, nanos = 7 } }", "{time={nanos=7, seconds=5}}")
back("a number of seconds", K, "{ time = 1.5 }", "{time={nanos=500000000, seconds=1}}")
back("a number of seconds before the epoch", K, "{ time = -1.5 }", "{time={nanos=500000000, seconds=-2}}")
back("RFC 3339", K, "{ time = '1970-01-01T00:00:05Z' }", "{time={nanos=0, seconds=5}}")
back("Duration as a text", K, "{ duration = '2s' }", "{duration={nanos=0, seconds=2}}")
back("Duration as a number", K, "{ duration = -0.5 }", "{duration={nanos=-500000000, seconds=0}}")
refused("a Timestamp that is none", K, "{ time = 'now' }", 'time: "now" is no time (write "2026-01-31T12:00:00Z")')
refused("a Duration that is none", K, "{ duration = '2' }", 'duration: "2" is no duration (write "1.5s")')
section("wrappers")
back("are bare values", K, "{ string_value = 'x' }", '{string_value="x"}')
back("zero is there", K, "{ int32_value = 0 }", "{int32_value=0}")
lua("absent is nil", "decode('%s', '').string_value" % K, "nil")
refused("refuse a table", K, "{ string_value = { value = 'x' } }", "string_value: expected string, got table")
section("Struct, Value and ListValue")
back("Struct is a table", K, "{ struct = { a = 1, b = { c = true } } }", "{struct={a=1, b={c=true}}}")
lua("null is mica.null", "again('%s', { value = pb.null }).value == pb.null" % K, "true")
lua("an empty list stays a list", "pb.is_array(again('%s', { value = pb.array {} }).value)" % K, "true")
lua("an empty table is an object", "pb.is_array(again('%s', { value = {} }).value)" % K, "false")
back("ListValue is a sequence", K, "{ list = { 1, 'x' } }", '{list={1, "x"}}')
refused("Value refuses a function", K, "{ value = print }", "value: a function has no JSON form")
refused("Value refuses NaN", K, "{ value = 0/0 }", "value: NaN has no JSON form")
section("Any, FieldMask and Empty")
back("Any is type_url and value", K, "{ any = { type_url = 'a/b', value = 'x' } }", '{any={type_url="a/b", value="x"}}')
back("FieldMask is paths", K, "{ mask = { paths = { 'a', 'b_c' } } }", '{mask={paths={"a", "b_c"}}}')
back("Empty is an empty table", K, "{ empty = {} }", "{empty={}}")
refused("Empty has no fields", K, "{ empty = { a = 1 } }", 'empty: google.protobuf.Empty has no field "a"')
section("groups, extensions and unknown fields")
back("a group is a message", "codec2.Grouped", "{ single = { a = 5 } }", "{single={a=5}}")
back("an extension is under its name in brackets", "codec2.Extendable", "{ ['[codec2.number]'] = 7 }", "{[codec2.number]=7}")
lua("unknown fields are raw bytes under proto.unknown", "#decode('codec3.Nothing', '\\8\\1')[pb.unknown]", "2")
lua("unknown fields are written again", "encode('codec3.Nothing', decode('codec3.Nothing', '\\8\\1')) == '\\8\\1'", "true")
refused("unknown fields that are no fields", "codec3.Nothing", "{ [pb.unknown] = '\\8' }", "the value under proto.unknown must be the bytes of whole fields")

# ----------------------------------------------------------------------------------------------------------------------
section("strictness")
lua("reading a field that does not exist", "decode('%s', '').a_strin" % S, 'error: codec3.Scalars has no field "a_strin" (did you mean "a_string"?)')
refused("writing a field that does not exist", S, "{ a_strin = 'x' }", 'codec3.Scalars has no field "a_strin" (did you mean "a_string"?)')
lua("complete fills in the rest", "local m = complete('%s', decode('%s', ''))\nreturn rawget(m, 'an_int32') .. rawget(m, 'a_string')" % (S, S), "0")
refused("a required field is missing", "codec2.Strict", "{ id = 'x' }", "count: is required")
lua("a required field is missing in what is decoded", "decode('codec2.Strict', '\\10\\1x')", "error: count: is required")
refused("the path of the fault", T, "{ children = { {}, { next = { name = 5 } } } }",
        "codec3.Tree.children[2].next.name: expected string, got number (write tostring(...))")
