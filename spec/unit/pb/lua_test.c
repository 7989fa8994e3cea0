// SPDX-License-Identifier: Apache-2.0
// The Lua ends. Most tests are Lua: `encode(type, value)` gives bytes, or nil and the error's text;
// `decode(type, bytes)` likewise; `fails(text, f, ...)` wants an error that ends with the text.
#include "pb/pb_testing.h"

#include "pb/lua.h"

#include <lauxlib.h>
#include <lualib.h>

static const char PROTO[] =
    "syntax = \"proto3\"; package posts;\n"
    "import \"google/protobuf/timestamp.proto\"; import \"google/protobuf/duration.proto\";\n"
    "import \"google/protobuf/struct.proto\"; import \"google/protobuf/wrappers.proto\";\n"
    "import \"google/protobuf/any.proto\"; import \"google/protobuf/empty.proto\";\n"
    "import \"google/protobuf/field_mask.proto\";\n"
    "enum Language { UNSET = 0; ENGLISH = 1; FRENCH = 2; }\n"
    "message Post { string title = 1; repeated string tags = 2; map<string, int32> counts = 3; "
    "Post parent = 4;\n"
    "  oneof contact { string email = 5; Post person = 6; int32 phone = 7; } Language language = "
    "8;\n"
    "  optional int32 stars = 9; repeated Post replies = 10; bool draft = 11; bytes body = 12;\n"
    "  repeated Language languages = 13; map<int64, string> by_id = 14; map<bool, Post> by_flag = "
    "15;\n"
    "  int64 views = 16; uint64 big = 17; int64 id = 18 [jstype = JS_STRING]; int64 count = 19 "
    "[jstype = JS_NUMBER];\n"
    "  int32 small = 20; uint32 usmall = 21; double real = 22; float single = 23; sint64 zig = "
    "24;\n"
    "  fixed64 fix = 25; repeated int64 ids = 26; repeated int64 exact = 27 [jstype = JS_NUMBER]; "
    "}\n"
    "message Known { google.protobuf.Timestamp at = 1; google.protobuf.Duration lasts = 2;\n"
    "  google.protobuf.Struct data = 3; google.protobuf.Value any_value = 4; "
    "google.protobuf.ListValue list = 5;\n"
    "  google.protobuf.StringValue text = 6; google.protobuf.Int64Value number = 7; "
    "google.protobuf.BoolValue flag = 8;\n"
    "  google.protobuf.Any any = 9; google.protobuf.Empty empty = 10; google.protobuf.FieldMask "
    "mask = 11;\n"
    "  repeated google.protobuf.Timestamp times = 12; map<string, google.protobuf.Value> values = "
    "13;\n"
    "  repeated google.protobuf.StringValue texts = 14; repeated google.protobuf.Value items = "
    "15;\n"
    "  google.protobuf.NullValue nothing = 16; }\n"
    "message Narrow { string title = 1; }\n";

static const char PROTO2[] =
    "syntax = \"proto2\"; package old;\n"
    "message M { required int32 id = 1; optional string name = 2 [default = \"x\"]; optional Kind "
    "kind = 3;\n"
    "  optional group Part = 4 { optional int32 n = 1; } extensions 100 to 200; optional bytes raw "
    "= 5\n"
    "  [default = \"a\\001\\n\\\"\"]; optional int64 far = 6 [default = -9007199254740993]; "
    "optional Kind def = 7\n"
    "  [default = B]; optional double inf = 8 [default = -inf]; optional bool yes = 9 [default = "
    "true]; }\n"
    "enum Kind { A = 1; B = 2; } extend M { optional string note = 100; }\n";

static const char PRELUDE[] =
    "function fails(text, f, ...)\n"
    "  local ok, message = pcall(f, ...)\n"
    "  assert(not ok, 'no error, wanted: ' .. text)\n"
    "  if message:sub(-#text) ~= text then error('wanted: ' .. text .. '\\n   got: ' .. message, "
    "2) end\n"
    "end\n"
    "function same(a, b) if a ~= b then\n"
    "  error('wanted ' .. tostring(b) .. ', got ' .. tostring(a), 2) end end\n"
    "function refuses(type, value, text)\n"
    "  local bytes, message = encode(type, value)\n"
    "  if bytes then error('accepted, wanted: ' .. text, 2) end\n"
    "  if message ~= text then error('wanted: ' .. text .. '\\n   got: ' .. message, 2) end\n"
    "end\n"
    "function trip(type, value) return assert(decode(type, assert(encode(type, value)))) end\n"
    "function hex(s) return (s:gsub('.', function(c) return ('%02x'):format(c:byte()) end)) end\n"
    "function unhex(s) return (s:gsub('%x%x', function(h) return string.char(tonumber(h, 16)) "
    "end)) end\n";

static struct pb_pool *pool, *pool2;
static struct pb_lua *ends, *ends2;

static struct pb_lua *ends_of(const char *name) {
    return strncmp(name, "old.", 4) == 0 ? ends2 : ends;
}

static const struct pb_message *type_of(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const struct pb_message *type = pb_find_message(pb_lua_pool(ends_of(name)), str_of(name));
    if (type == NULL) luaL_error(L, "no message %s", name);
    return type;
}

static int encode(lua_State *L) {
    struct buf out = {0};
    struct err err = {0};
    const struct pb_message *type = type_of(L);
    int top = lua_gettop(L);
    int rc = pb_lua_to_wire(ends_of(lua_tostring(L, 1)), L, 2, type, &out, &err);
    assert_int_equal(lua_gettop(L), top);
    if (rc < 0) {
        buf_free(&out);
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    lua_pushlstring(L, buf_str(&out).p, out.n);
    buf_free(&out);
    return 1;
}

static int answer(lua_State *L, int rc, const struct err *err, int top) {
    assert_int_equal(lua_gettop(L), rc < 0 ? top : top + 1);
    if (rc == 0) return 1;
    assert_int_equal(rc, -(int)err->code);
    lua_pushnil(L);
    lua_pushstring(L, err->text);
    return 2;
}

static int decode(lua_State *L) {
    struct str bytes;
    struct err err = {0};
    bytes.p = luaL_checklstring(L, 2, &bytes.n);
    int top = lua_gettop(L);
    int rc = pb_lua_from_wire(ends_of(lua_tostring(L, 1)), L, type_of(L), bytes, &err);
    return answer(L, rc, &err, top);
}

static int from_json(lua_State *L) {
    struct str bytes;
    struct err err = {0};
    bytes.p = luaL_checklstring(L, 2, &bytes.n);
    int top = lua_gettop(L);
    int rc = pb_lua_from_json(ends_of(lua_tostring(L, 1)), L, type_of(L), bytes, &err);
    return answer(L, rc, &err, top);
}

static int to_json(lua_State *L) {
    struct err err = {0};
    struct buf out = {0};
    const struct pb_message *type = type_of(L);
    int rc = pb_lua_to_json(ends_of(lua_tostring(L, 1)), L, 2, type, &PB_JSON_PROTO, &out, &err);
    lua_pushlstring(L, rc < 0 ? err.text : buf_str(&out).p, rc < 0 ? strlen(err.text) : out.n);
    buf_free(&out);
    return 1;
}

static int complete(lua_State *L) {
    struct err err = {0};
    if (pb_lua_complete(ends_of(luaL_checkstring(L, 1)), L, 2, type_of(L), &err) < 0)
        return luaL_error(L, "%s", err.text);
    return 0;
}

static int new_message(lua_State *L) {
    pb_lua_push_new(ends_of(luaL_checkstring(L, 1)), L, type_of(L));
    return 1;
}

static int type_name(lua_State *L) {
    const struct pb_message *type = pb_lua_type(ends, L, 1);
    if (type == NULL) return 0;
    lua_pushlstring(L, type->full_name.p, type->full_name.n);
    return 1;
}

static void open_vm(lua_State *L) {
    luaL_openlibs(L);
    pb_lua_open(L);
    lua_setglobal(L, "lib");
    lua_register(L, "encode", encode);
    lua_register(L, "decode", decode);
    lua_register(L, "from_json", from_json);
    lua_register(L, "to_json", to_json);
    lua_register(L, "complete", complete);
    lua_register(L, "new", new_message);
    lua_register(L, "type_name", type_name);
}

static void run(const char *code) {
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    open_vm(L);
    ends = pb_lua_new(L, pool);
    ends2 = pb_lua_new(L, pool2);
    assert_true(ends != NULL && ends2 != NULL);
    if (luaL_dostring(L, PRELUDE) != 0 || luaL_dostring(L, code) != 0) {
        char text[1000];
        snprintf(text, sizeof text, "%s", lua_tostring(L, -1));
        fail_msg("%s", text);
    }
    lua_close(L);
    pb_lua_delete(ends);
    pb_lua_delete(ends2);
}

static int set_up(void **state) {
    (void)state;
    pool = compile_pool(PROTO);
    pool2 = compile_pool(PROTO2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_pool_drop(pool);
    pb_pool_drop(pool2);
    return 0;
}

// ---- decoding

static void decodes_what_was_set(void **state) {
    (void)state;
    run("local p = trip('posts.Post', { title = 'x', tags = { 'a', 'b' }, counts = { k = 1, l = 0 "
        "}, draft = true,\n"
        "  parent = { title = 'y' }, language = 'FRENCH', replies = { {}, { title = 'z' } }, body "
        "= '\\255\\0',\n"
        "  languages = { 'UNSET', 2, 77 }, by_flag = { [true] = { title = 't' }, [false] = {} }, "
        "stars = 0,\n"
        "  small = -5, usmall = 4294967295, real = 1.5, single = 0.5, zig = -1, fix = 3 })\n"
        "same(p.title, 'x') same(#p.tags, 2) same(p.tags[2], 'b') same(p.counts.k, 1) "
        "same(p.counts.l, 0)\n"
        "same(p.draft, true) same(p.parent.title, 'y') same(p.language, 'FRENCH') same(#p.replies, "
        "2)\n"
        "same(p.replies[2].title, 'z') same(p.body, '\\255\\0') same(p.languages[1], 'UNSET')\n"
        "same(p.languages[2], 'FRENCH') same(p.languages[3], 77) same(p.by_flag[true].title, 't')\n"
        "same(p.by_flag[false].title, '') same(p.stars, 0) same(p.small, -5) same(p.usmall, "
        "4294967295)\n"
        "same(p.real, 1.5) same(p.single, 0.5) same(p.zig, -1) same(p.fix, 3)\n"
        "local keys = 0 for _ in pairs(trip('posts.Post', { title = 'x', small = 0, tags = {} })) "
        "do keys = keys + 1 end\n"
        "same(keys, 1)\n"
        "same(type_name(p), 'posts.Post') same(type_name(p.parent), 'posts.Post') "
        "same(type_name({}), nil)\n");
}

static void reading_is_strict(void **state) {
    (void)state;
    run("local p = decode('posts.Post', '')\n"
        "same(p.title, '') same(p.draft, false) same(p.small, 0) same(p.real, 0) same(p.language, "
        "'UNSET')\n"
        "same(p.views, 0) same(p.id, '0') same(p.stars, nil) same(p.parent, nil) same(p.email, "
        "nil)\n"
        "same(p.contact, nil) same(p.phone, nil) same(p.body, '') same(p[lib.unknown], nil)\n"
        "same(type(p.tags), 'table') same(next(p.tags), nil) same(type(p.counts), 'table')\n"
        "assert(p.tags ~= p.tags) same(next(p), nil)\n"
        "fails('posts.Post has no field \"titel\" (did you mean \"title\"?)', function() return "
        "p.titel end)\n"
        "fails('posts.Post has no field \"wholly_else\"', function() return p.wholly_else end)\n"
        "fails('posts.Post has no field 1', function() return p[1] end)\n"
        "fails('posts.Post has no field boolean', function() return p[true] end)\n"
        "fails('posts.Post has no field null', function() return p[lib.null] end)\n"
        "same(getmetatable(p), 'posts.Post')\n"
        "fails('cannot change a protected metatable', setmetatable, p, nil)\n"
        "local n = new('posts.Narrow') same(n.title, '') same(type_name(n), 'posts.Narrow')\n"
        "fails('posts.Narrow has no field \"tags\"', function() return n.tags end)\n"
        "same(type_name(setmetatable({}, { lib.unknown, __index = p })), nil)\n");
}

static void oneofs(void **state) {
    (void)state;
    run("local p = trip('posts.Post', { email = 'a@b' })\n"
        "same(p.contact, 'email') same(p.email, 'a@b') same(p.phone, nil) same(p.person, nil)\n"
        "p = trip('posts.Post', { phone = 0 }) same(p.contact, 'phone') same(p.phone, 0)\n"
        "p = trip('posts.Post', p) same(p.contact, 'phone')\n"
        "p = decode('posts.Post', unhex('2a0161' .. '3805'))\n" // email, then phone
        "same(p.contact, 'phone') same(p.phone, 5) same(rawget(p, 'email'), nil)\n"
        "p = decode('posts.Post', unhex('32030a0161' .. '3805' .. '320412026869'))\n" // 6, 7, 6
        "same(p.contact, 'person') same(p.person.title, '') same(p.person.tags[1], 'hi') "
        "same(rawget(p, 'phone'), nil)\n"
        "p = decode('posts.Post', unhex('32030a0161' .. '320412026869'))\n" // person twice: merged
        "same(p.person.title, 'a') same(p.person.tags[1], 'hi')\n"
        "refuses('posts.Post', { email = 'a', phone = 1 },\n"
        "  'posts.Post: of the oneof contact, both \"email\" and \"phone\" are set')\n"
        "refuses('posts.Post', { contact = 'title' },\n"
        "  'posts.Post: contact is a oneof: it holds the name of the member that is set')\n"
        "refuses('posts.Post', { contact = 5 },\n"
        "  'posts.Post: contact is a oneof: it holds the name of the member that is set')\n"
        "assert(encode('posts.Post', { contact = 'email', email = 'x' }))\n");
}

static void pieces_merge(void **state) {
    (void)state;
    run("local p = decode('posts.Post', unhex('120161' .. '0a0178' .. '120162'))\n" // 2, 1, 2
        "same(#p.tags, 2) same(p.tags[1], 'a') same(p.tags[2], 'b')\n"
        "p = decode('posts.Post', unhex('22030a0161' .. '2203120162'))\n"
        "same(p.parent.title, 'a') same(p.parent.tags[1], 'b')\n"
        "p = decode('posts.Post', unhex('a00105' .. 'a00100')) same(p.small, 0)\n" // a zero wins
        "p = decode('posts.Post', unhex('1a050a016b1001' .. '0a0178' .. '1a050a016b1002'))\n"
        "same(p.counts.k, 2)\n"
        "p = decode('posts.Post', unhex('1a00' .. '1a021007')) same(p.counts[''], 7)\n"
        "p = decode('posts.Post', unhex('7a020801')) same(p.by_flag[true].title, '')\n");
}

static void unknown_fields_are_kept(void **state) {
    (void)state;
    run("local bytes = assert(encode('posts.Post', { title = 'x', stars = 3, draft = true, tags = "
        "{ 'a' } }))\n"
        "local n = decode('posts.Narrow', bytes)\n"
        "same(n.title, 'x') same(hex(n[lib.unknown]), '120161' .. '4803' .. '5801')\n"
        "local p = decode('posts.Post', encode('posts.Narrow', n)) same(p.stars, 3) same(p.draft, "
        "true)\n"
        "local many = {} for i = 1, 2000 do many[i] = unhex('0a0178' .. 'f80601') end\n"
        "n = decode('posts.Narrow', table.concat(many)) same(#n[lib.unknown], 6000)\n"
        "n = decode('posts.Post', unhex('2203f80601' .. '2203f80602'))\n"
        "same(hex(n.parent[lib.unknown]), 'f80601f80602')\n"
        "local text = 'posts.Narrow: the value under proto.unknown must be the bytes of whole "
        "fields'\n"
        "refuses('posts.Narrow', { [lib.unknown] = '\\8' }, text)\n"
        "refuses('posts.Narrow', { [lib.unknown] = 5 }, text)\n"
        "same(tostring(lib.unknown), 'proto.unknown') same(tostring(lib.null), 'null')\n");
}

static void faults_of_the_wire(void **state) {
    (void)state;
    run("local _, e = decode('posts.Post', unhex('52030a01ff')) same(e, 'replies[0].title: is not "
        "valid UTF-8')\n"
        "local whole = encode('posts.Post', { title = 'x', replies = { { tags = { 'a' } } }, "
        "counts = { a = 1 },\n"
        "  ids = { 1, 2, 3 }, email = 'x', by_flag = { [true] = { title = 'y' } } })\n"
        "for i = 0, #whole do decode('posts.Post', whole:sub(1, i)) decode('posts.Known', "
        "whole:sub(1, i)) end\n"
        "for i = 1, #whole do for bit = 0, 7 do\n"
        "  local c = whole:byte(i) c = c + ((math.floor(c / 2 ^ bit) % 2 == 0) and 2 ^ bit or -2 ^ "
        "bit)\n"
        "  local turned = whole:sub(1, i - 1) .. string.char(c) .. whole:sub(i + 1)\n"
        "  local p = decode('posts.Post', turned) if p then assert(encode('posts.Post', p)) end\n"
        "  decode('posts.Known', turned)\n"
        "end end\n"
        "local deep = {} for i = 1, 100 do deep = { parent = deep } end\n"
        "local bytes = assert(encode('posts.Post', deep)) assert(decode('posts.Post', bytes))\n"
        "bytes = '\\34' .. string.char(#bytes % 128 + 128, math.floor(#bytes / 128)) .. bytes\n"
        "_, e = decode('posts.Post', bytes) same(e, 'parent: nested more than 100 deep')\n");
}

// ---- encoding

static void error_texts(void **state) {
    (void)state;
    run("local function r(value, text) refuses('posts.Post', value, 'posts.Post' .. text) end\n"
        "r({ title = 5 }, '.title: expected string, got number (write tostring(...))')\n"
        "r({ title = lib.int64(5) }, '.title: expected string, got int64 (write tostring(...))')\n"
        "r({ title = {} }, '.title: expected string, got table')\n"
        "r({ title = lib.null }, '.title: expected string, got null')\n"
        "r({ small = '5' }, '.small: expected number, got string (write tonumber(...))')\n"
        "r({ draft = 1 }, '.draft: expected boolean, got number (write x ~= 0)')\n"
        "r({ small = 1.5 }, '.small: expected an integer, got 1.5 (write math.floor(...))')\n"
        "r({ small = 0/0 }, '.small: expected an integer, got NaN')\n"
        "r({ small = 2147483648 }, '.small: 2147483648 is out of range for int32')\n"
        "r({ usmall = -1 }, '.usmall: -1 is out of range for uint32')\n"
        "r({ views = 1e30 }, '.views: 1e+30 is out of range for int64')\n"
        "r({ views = 'x' }, '.views: \"x\" is no decimal int64')\n"
        "r({ views = {} }, '.views: expected number, int64 or decimal string, got table')\n"
        "r({ big = -1 }, '.big: -1 is out of range for uint64')\n"
        "r({ count = 2^53 + 2 }, '.count: 9007199254740994 is out of range for JS_NUMBER (2^53)')\n"
        "r({ count = '5' }, '.count: expected number, got string (write tonumber(...))')\n"
        "r({ single = 1e300 }, '.single: 1e+300 is out of range for float')\n"
        "r({ title = '\\255' }, '.title: is not valid UTF-8 (other bytes want a field of type "
        "bytes)')\n"
        "r({ language = 'FRENHC' }, '.language: \"FRENHC\" is no value of posts.Language (did you "
        "mean \"FRENCH\"?)')\n"
        "r({ language = 'X' }, '.language: \"X\" is no value of posts.Language')\n"
        "r({ language = 1.5 }, '.language: 1.5 is no number of an enum value')\n"
        "r({ language = true }, '.language: expected the name of an enum value, got boolean')\n"
        "r({ parent = 'x' }, '.parent: expected table, got string')\n"
        "r({ parent = { parent = { title = 1 } } },\n"
        "  '.parent.parent.title: expected string, got number (write tostring(...))')\n"
        "r({ replies = { {}, {}, { title = true } } },\n"
        "  '.replies[3].title: expected string, got boolean (write tostring(...))')\n"
        "r({ counts = { k = 'x' } }, '.counts[\"k\"]: expected number, got string (write "
        "tonumber(...))')\n"
        "r({ counts = { 5 } }, '.counts: expected string, got number (write tostring(...))')\n"
        "r({ by_id = { x = 'a' } }, '.by_id[\"x\"]: \"x\" is no decimal int64')\n"
        "r({ by_id = { [5] = 5 } }, '.by_id[5]: expected string, got number (write "
        "tostring(...))')\n"
        "r({ by_id = { [5] = 'a', ['5'] = 'b' } }, (select(2, encode('posts.Post',\n"
        "  { by_id = { [5] = 'a', ['5'] = 'b' } })):gsub('^posts.Post', '')))\n"
        "assert(select(2, encode('posts.Post', { by_id = { [5] = 'a', ['5'] = 'b' } })):find('the "
        "key is there twice'))\n"
        "r({ tags = 'x' }, '.tags: expected table (a list), got string')\n"
        "r({ tags = { 'a', nil, 'c' } }, '.tags[2]: is nil, but later elements are not (a list has "
        "no holes)')\n"
        "r({ tags = { [2] = 'b' } }, '.tags[1]: is nil, but later elements are not (a list has no "
        "holes)')\n"
        "r({ tags = { 'a', x = 'b' } }, '.tags: a list has no key \"x\"')\n"
        "r({ tags = { 'a', [0] = 'b' } }, '.tags: a list has only the keys 1, 2, 3 ...')\n"
        "r({ tags = { 'a', [1.5] = 'b' } }, '.tags: a list has only the keys 1, 2, 3 ...')\n"
        "r({ tags = { 'a', 5 } }, '.tags[2]: expected string, got number (write tostring(...))')\n"
        "r(5, ': expected table, got number')\n"
        "r(nil, ': expected table, got nil')\n"
        "r({ titel = 'x' }, ' has no field \"titel\" (did you mean \"title\"?)')\n"
        "r({ title = 'x', [1] = 'y' }, ' has no field 1')\n"
        "r({ [true] = 1 }, ' has no field that is a boolean')\n"
        "r({ replies = { { titel = 1 } } }, '.replies[1]: posts.Post has no field \"titel\" (did "
        "you mean \"title\"?)')\n");
}

static void equal_messages_have_equal_bytes(void **state) {
    (void)state;
    run("local a = encode('posts.Post', { counts = { b = 2, a = 1, c = 3, aa = 4 }, title = 'x' "
        "})\n"
        "same(hex(a), '0a0178' .. '1a050a01611001' .. '1a060a0261611004' .. '1a050a01621002' .. "
        "'1a050a01631003')\n"
        "local b = encode('posts.Post', { by_id = { [10] = '', [9] = '', [-1] = '', "
        "['9007199254740993'] = '' } })\n"
        "local keys = {} for id in b:gmatch('\\114.\\8(.-)\\18%z') do keys[#keys + 1] = hex(id) "
        "end\n"
        "same(table.concat(keys, ' '), 'ffffffffffffffffff01 09 0a 8180808080808010')\n"
        "same(hex(encode('posts.Post', { by_flag = { [true] = {}, [false] = {} } })), "
        "'7a0408001200' .. '7a0408011200')\n");
}

static void no_metamethod_runs(void **state) {
    (void)state;
    run("local trap = setmetatable({ title = 'x' }, { __index = function() error 'ran' end,\n"
        "  __len = function() error 'ran' end, __pairs = function() error 'ran' end })\n"
        "same(hex(encode('posts.Post', trap)), '0a0178')\n"
        "local loop = {} loop.parent = loop\n"
        "local _, e = encode('posts.Post', loop)\n"
        "assert(e:find('nested more than 100 deep (a table that contains itself?)', 1, true))\n"
        "local wide = {} wide.replies = { wide }\n"
        "_, e = encode('posts.Post', wide) assert(e:find('nested more than 100 deep', 1, true))\n"
        "local kept = {} for i = 1, 1e5 do kept = { parent = kept } end\n"
        "_, e = encode('posts.Post', kept) assert(e:find('nested more than 100 deep', 1, true))\n");
}

static void complete_fills_in(void **state) {
    (void)state;
    run("local p = decode('posts.Post', unhex('22030a0161'))\n"
        "complete('posts.Post', p)\n"
        "same(rawget(p, 'title'), '') same(type(rawget(p, 'tags')), 'table') same(rawget(p, "
        "'stars'), nil)\n"
        "same(rawget(p, 'id'), '0') same(rawget(p, 'language'), 'UNSET') same(rawget(p, 'email'), "
        "nil)\n"
        "same(rawget(p.parent, 'draft'), false) same(rawget(p, 'views'), 0)\n"
        "same(hex(encode('posts.Post', p)), '22030a0161')\n"
        "local m = { id = 1 } complete('old.M', m)\n"
        "same(m.name, 'x') same(m.raw, 'a\\1\\n\"') same(tostring(m.far), '-9007199254740993') "
        "same(m.def, 'B')\n"
        "same(m.inf, -math.huge) same(m.yes, true) same(m.kind, nil) same(m.part, nil)\n"
        "local loop = {} loop.parent = loop\n"
        "fails('posts.Post: nested more than 100 deep', complete, 'posts.Post', loop)\n");
}

static void proto2(void **state) {
    (void)state;
    run("refuses('old.M', {}, 'old.M.id: is required')\n"
        "local m = trip('old.M', { id = 0, part = { n = 5 }, ['[old.note]'] = 'n', kind = 'B' })\n"
        "same(m.id, 0) same(m.part.n, 5) same(m['[old.note]'], 'n') same(m.kind, 'B') same(m.name, "
        "nil)\n"
        "same(hex(encode('old.M', { id = 1, part = { n = 5 } })), '0801' .. '23080524')\n"
        "refuses('old.M', { id = 1, kind = 9 }, 'old.M.kind: 9 is no value of old.Kind')\n"
        "m = decode('old.M', unhex('0801' .. '1809')) same(m.kind, nil) same(hex(m[lib.unknown]), "
        "'1809')\n"
        "fails('old.M has no field \"note\"', function() return m.note end)\n");
}

// ---- 64-bit integers

static void wide_integers_in_messages(void **state) {
    (void)state;
    run("local i = lib.int64\n"
        "local p = trip('posts.Post', { views = 2^53, big = 5, id = 7, count = -2^53 })\n"
        "same(p.views, 2^53) same(p.big, 5) same(p.id, '7') same(p.count, -2^53)\n"
        "p = trip('posts.Post', { views = i '-9223372036854775808', big = '18446744073709551615',\n"
        "  id = i '9223372036854775807', zig = '-9007199254740993', ids = { 1, '9007199254740993' "
        "} })\n"
        "same(p.views, i '-9223372036854775808') same(p.big, i '18446744073709551615')\n"
        "same(p.id, '9223372036854775807') same(tostring(p.zig), '-9007199254740993')\n"
        "same(p.ids[1], 1) same(p.ids[2], i '9007199254740993')\n"
        "refuses('posts.Post', { views = i '9223372036854775808' },\n"
        "  'posts.Post.views: 9223372036854775808 is out of range for int64')\n"
        "p = trip('posts.Post', { by_id = { [5] = 'a', ['9007199254740993'] = 'b', [i "
        "'9007199254740995'] = 'c' } })\n"
        "same(p.by_id[5], 'a') same(p.by_id['9007199254740993'], 'b') "
        "same(p.by_id['9007199254740995'], 'c')\n"
        "local _, e = decode('posts.Post', unhex('980181808080808080' .. '10'))\n"
        "same(e, 'count: is beyond 2^53, which the contract excludes (JS_NUMBER)')\n"
        "_, e = decode('posts.Post', unhex('5200' .. '520d' .. 'da010a01' .. "
        "'ffffffffffffffff7f'))\n"
        "same(e, 'replies[1].exact[1]: is beyond 2^53, which the contract excludes "
        "(JS_NUMBER)')\n");
}

static void int64_arithmetic(void **state) {
    (void)state;
    run("local i = lib.int64\n"
        "same(i(5), i '5') same(i(i(5)), i(5)) assert(i(5) ~= i(6)) same(tostring(i '-12'), "
        "'-12')\n"
        "same(i(2^53) + 1, i '9007199254740993') same(1 + i(1), i(2)) same(i(1) - 2, i(-1)) same(3 "
        "* i(4), i(12))\n"
        "same(i(7) / 2, i(3)) same(i(-7) / 2, i(-3)) same(i(-7) % 2, i(-1)) same(i(7) % -2, i(1)) "
        "same(-i(5), i(-5))\n"
        "same(i '18446744073709551615' - i '18446744073709551614', i(1))\n"
        "assert(i(1) < i(2)) assert(i(2) <= i(2)) assert(not (i(2) < i(1))) assert(i(-1) < i "
        "'18446744073709551615')\n"
        "same('id ' .. i(5) .. '!', 'id 5!')\n"
        "local t = { [i '9007199254740993'] = 'x' } collectgarbage() same(t[i '9007199254740993'], "
        "'x')\n"
        "fails('int64: overflow', function() return i '18446744073709551615' + 1 end)\n"
        "fails('int64: overflow', function() return i '18446744073709551615' * i "
        "'18446744073709551615' end)\n"
        "fails('int64: overflow', function() return i '-9223372036854775808' - 1 end)\n"
        "fails('int64: overflow', function() return -i '18446744073709551615' end)\n"
        "fails('int64: division by zero', function() return i(1) / 0 end)\n"
        "fails('int64: division by zero', function() return i(1) % i(0) end)\n"
        "fails('int64: the number 1.5 is not integral or beyond 64 bits', function() return i(1) + "
        "1.5 end)\n"
        "fails('int64: arithmetic with a string (write mica.int64(...))', function() return i(1) + "
        "'1' end)\n"
        "fails('int64: \"x\" is no decimal number of 64 bits', i, 'x')\n"
        "fails('int64: \"\" is no decimal number of 64 bits', i, '')\n"
        "fails('int64: \"18446744073709551616\" is no decimal number of 64 bits', i, "
        "'18446744073709551616')\n"
        "fails('int64: \"-9223372036854775809\" is no decimal number of 64 bits', i, "
        "'-9223372036854775809')\n"
        "fails('int64: expected an integral number, a decimal string or an int64, got table', i, "
        "{})\n"
        "fails('int64: expected an integral number, a decimal string or an int64, got nothing', "
        "i)\n"
        "same(lib.compare(i(5), 5), 0) same(lib.compare(4, i(5)), -1) same(lib.compare(i "
        "'9007199254740993', 2^53), 1)\n"
        "same(lib.compare(i(5), 5.5), -1) same(lib.compare(i(5), -math.huge), 1) "
        "same(lib.compare(1, 2), -1)\n"
        "same(lib.compare(i '-9223372036854775808', i '18446744073709551615'), -1)\n"
        "fails('compare: expected a number or an int64, got string', lib.compare, 1, '2')\n"
        "same(getmetatable(i(1)), 'int64')\n"
        "for n = 1, 300 do local _ = i(n) + 2^53 end collectgarbage() same(i(5), i(5))\n");
}

// ---- well-known types

static void times(void **state) {
    (void)state;
    run("local k = trip('posts.Known', { at = { seconds = 5, nanos = 7 }, lasts = { seconds = -1 } "
        "})\n"
        "same(k.at.seconds, 5) same(k.at.nanos, 7) same(rawget(k.lasts, 'seconds'), -1) "
        "same(rawget(k.lasts, 'nanos'), 0)\n"
        "k = trip('posts.Known', { at = 1700000000.25, lasts = -1.5, times = { 0, 1, "
        "'1970-01-01T00:00:02Z' } })\n"
        "same(k.at.seconds, 1700000000) same(k.at.nanos, 250000000)\n"
        "same(k.lasts.seconds, -1) same(k.lasts.nanos, -500000000) same(#k.times, 3) "
        "same(k.times[3].seconds, 2)\n"
        "same(rawget(k.times[1], 'seconds'), 0)\n"
        "k = trip('posts.Known', { at = '2024-02-29T12:00:00.5Z', lasts = '1h30m' })\n"
        "same(k.at.seconds, 1709208000) same(k.at.nanos, 500000000) same(k.lasts.seconds, 5400)\n"
        "same(trip('posts.Known', { lasts = '2s' }).lasts.seconds, 2)\n"
        "same(trip('posts.Known', { lasts = '250ms' }).lasts.nanos, 250000000)\n"
        "same(trip('posts.Known', { lasts = '-1.5s' }).lasts.nanos, -500000000)\n"
        "same(trip('posts.Known', { at = -0.5 }).at.seconds, -1)\n"
        "local function r(value, text) refuses('posts.Known', value, 'posts.Known.' .. text) end\n"
        "r({ at = 'soon' }, 'at: \"soon\" is no time (write \"2026-01-31T12:00:00Z\")')\n"
        "r({ lasts = 'long' }, 'lasts: \"long\" is no duration (write \"1.5s\")')\n"
        "r({ at = 1e300 }, 'at: 1e+300 is out of range for a Timestamp')\n"
        "r({ lasts = 0/0 }, 'lasts: NaN is out of range for a Duration')\n"
        "r({ at = true }, 'at: expected table { seconds, nanos }, number of seconds or string, got "
        "boolean')\n"
        "r({ at = { secs = 1 } }, 'at: google.protobuf.Timestamp has no field \"secs\"')\n"
        "same(decode('google.protobuf.Timestamp', '').seconds, 0)\n");
}

static void wrappers(void **state) {
    (void)state;
    run("local k = trip('posts.Known', { text = '', number = 5, flag = false, texts = { 'a', '' } "
        "})\n"
        "same(k.text, '') same(k.number, 5) same(k.flag, false) same(#k.texts, 2) same(k.texts[2], "
        "'')\n"
        "same(decode('posts.Known', '').text, nil)\n"
        "same(trip('posts.Known', { number = '9007199254740993' }).number, lib.int64 "
        "'9007199254740993')\n"
        "same(trip('google.protobuf.StringValue', 'x'), 'x') "
        "same(decode('google.protobuf.Int64Value', ''), 0)\n"
        "refuses('posts.Known', { text = { value = 'x' } }, 'posts.Known.text: expected string, "
        "got table')\n"
        "k = decode('posts.Known', unhex('32030a0161' .. '3200')) same(k.text, 'a')\n"); // merged
}

static void plain_data(void **state) {
    (void)state;
    run("local d = { a = 1, b = 'x', c = true, d = lib.null, e = {}, f = lib.array {}, g = { 1, { "
        "h = 2 } } }\n"
        "local k = trip('posts.Known', { data = d, any_value = 5, list = { 'x', lib.null }, values "
        "= { v = false },\n"
        "  items = { 1, 'a', {}, lib.array {}, lib.null } })\n"
        "same(k.data.a, 1) same(k.data.b, 'x') same(k.data.c, true) same(k.data.d, lib.null)\n"
        "same(next(k.data.e), nil) same(lib.is_array(k.data.e), false) "
        "same(lib.is_array(k.data.f), true)\n"
        "same(k.data.g[1], 1) same(k.data.g[2].h, 2) same(lib.is_array(k.data.g), true) "
        "same(getmetatable(k.data), nil)\n"
        "same(k.any_value, 5) same(k.list[1], 'x') same(k.list[2], lib.null) same(k.values.v, "
        "false)\n"
        "same(#k.items, 5) same(lib.is_array(k.items[4]), true) same(k.items[5], lib.null) "
        "same(k.data.zzz, nil)\n"
        "same(trip('posts.Known', { any_value = lib.null }).any_value, lib.null)\n"
        "same(trip('posts.Known', { nothing = lib.null }).nothing, 'NULL_VALUE')\n"
        "same(trip('google.protobuf.Value', 'x'), 'x') same(trip('google.protobuf.Struct', { a = 1 "
        "}).a, 1)\n"
        "same(lib.is_array(trip('google.protobuf.ListValue', {})), true)\n"
        "same(trip('google.protobuf.Value', lib.int64 '9007199254740993'), '9007199254740993')\n"
        "same(decode('posts.Known', unhex('2200')).any_value, lib.null)\n"
        "local function r(value, text) refuses('posts.Known', value, 'posts.Known.' .. text) end\n"
        "r({ data = { a = print } }, 'data[\"a\"]: a function has no JSON form')\n"
        "r({ data = { a = { 1, x = 2 } } }, (select(2, encode('posts.Known', { data = { a = { 1, x "
        "= 2 } } }))):sub(13))\n"
        "assert(select(2, encode('posts.Known', { data = { a = { 1, x = 2 } } })):find "
        "'data%[\"a\"%]')\n"
        "r({ data = { 1 } }, 'data: the keys of an object are strings, but one is a number')\n"
        "r({ any_value = 0/0 }, 'any_value: NaN has no JSON form')\n"
        "r({ any_value = '\\255' }, 'any_value: is not valid UTF-8')\n"
        "r({ any_value = { { 1, print } } }, 'any_value[1][2]: a function has no JSON form')\n"
        "r({ data = 5 }, 'data: expected table, got number')\n"
        "local loop = {} loop[1] = loop\n"
        "assert(select(2, encode('posts.Known', { any_value = loop })):find 'nested more than 100 "
        "deep')\n"
        "loop = {} loop.x = loop\n"
        "assert(select(2, encode('posts.Known', { data = loop })):find 'nested more than 100 "
        "deep')\n");
}

static void the_other_known(void **state) {
    (void)state;
    run("local k = trip('posts.Known', { any = { type_url = 'x/posts.Post', value = 'abc' }, empty "
        "= {},\n"
        "  mask = { paths = { 'a', 'b.c' } } })\n"
        "same(k.any.type_url, 'x/posts.Post') same(k.any.value, 'abc') same(next(k.empty), nil) "
        "same(k.mask.paths[2], 'b.c')\n"
        "refuses('posts.Known', { empty = { x = 1 } }, 'posts.Known.empty: google.protobuf.Empty "
        "has no field \"x\"')\n");
}

// ---- JSON

static void json_of_messages(void **state) {
    (void)state;
    run("same(to_json('posts.Post', { title = 'x', views = 5, by_id = { [7] = 'a' }, draft = true "
        "}),\n"
        "  '{\"title\":\"x\",\"draft\":true,\"byId\":{\"7\":\"a\"},\"views\":\"5\"}')\n"
        "local p = assert(from_json('posts.Post', "
        "'{\"title\":\"x\",\"byId\":{\"7\":\"a\"},\"views\":\"9007199254740993\"}'))\n"
        "same(p.title, 'x') same(p.by_id[7], 'a') same(tostring(p.views), '9007199254740993')\n"
        "assert(not from_json('posts.Post', '{\"titel\":1}'))\n"
        "same(to_json('posts.Post', { title = 1 }), 'posts.Post.title: expected string, got number "
        "(write tostring(...))')\n");
}

static void json_of_plain_data(void **state) {
    (void)state;
    run("local e, d, a = lib.json_encode, lib.json_decode, lib.array\n"
        "same(e { b = 1, a = { 1, 2.5, 'x' }, c = a {}, d = {}, e = lib.null, f = true },\n"
        "  '{\"a\":[1,2.5,\"x\"],\"b\":1,\"c\":[],\"d\":{},\"e\":null,\"f\":true}')\n"
        "same(e(2^53), '9007199254740992') same(e(lib.int64 '9007199254740993'), "
        "'\"9007199254740993\"')\n"
        "same(e '\\n\"', '\"\\\\n\\\\\"\"') same(e(0.1), '0.1') same(e(1e300), '1e+300') "
        "same(e(-0.0), '-0.0')\n"
        "same(e({ x = { 1, { y = 2 } }, z = a {} }, true),\n"
        "  '{\\n  \"x\": [\\n    1,\\n    {\\n      \"y\": 2\\n    }\\n  ],\\n  \"z\": []\\n}')\n"
        "fails('json: NaN has no JSON form', e, 0/0) fails('json: a.b[2]: an infinity has no JSON "
        "form', e,\n"
        "  { a = { b = { 1, math.huge } } })\n"
        "fails('json: x: a function has no JSON form', e, { x = print })\n"
        "fails('json: is neither a list (1, 2, 3 ... without holes) nor an object (all strings)', "
        "e, { 1, x = 2 })\n"
        "fails('json: mixes a list and an object', e, { x = 2, [true] = 1 })\n"
        "fails('json: x: is not valid UTF-8 (encode bytes as base64)', e, { x = '\\255' })\n"
        "local loop = {} loop.a = loop\n"
        "fails('nested more than 100 deep (a table that contains itself?)', e, loop)\n"
        "local v = d '{\"a\":[1,null,{\"b\":\"\\\\u00e9\"}],\"c\":{},\"d\":-1.5e3}'\n"
        "same(v.a[1], 1) same(v.a[2], lib.null) same(v.a[3].b, '\\195\\169') same(v.d, -1500)\n"
        "same(lib.is_array(v.a), true) same(lib.is_array(v.c), false)\n"
        "same(e(d '{\"a\":[],\"b\":{}}'), '{\"a\":[],\"b\":{}}')\n"
        "same(d ' null ', lib.null) same(d '\"x\"', 'x')\n"
        "for _, bad in ipairs { '', '{', '[1,]', '{\"a\":1,}', '01', 'nul', '[1] 2', '\"\\255\"', "
        "'{1:2}' } do\n"
        "  local ok, text = pcall(d, bad) assert(not ok) assert(text:find 'at offset %d+', text)\n"
        "end\n"
        "fails('at offset 4 (line 2, column 1)', d, '[1,\\n}')\n"
        "fails('the number is out of range at offset 0 (line 1, column 1)', d, '1e999')\n"
        "assert(d(('['):rep(100) .. (']'):rep(100)))\n"
        "fails('(line 1, column 101)', d, ('['):rep(101) .. (']'):rep(101))\n"
        "fails('array: the table has a metatable of its own', a, setmetatable({}, {}))\n"
        "same(getmetatable(a {}), 'array') same(lib.is_array(5), false) same(lib.is_array(), "
        "false)\n");
}

// ---- memory that ends

struct account {
    long left; // allocations until one fails; below 0: none does
};

static void *limited(void *ud, void *p, size_t old, size_t size) {
    struct account *account = ud;
    (void)old;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (account->left >= 0 && account->left-- <= 0) return NULL;
    return realloc(p, size);
}

static int work(lua_State *L) {
    const char *code =
        "for i = 1, 3 do local p = decode('posts.Post', encode('posts.Post', { title = 'x', tags = "
        "{ 'a' },\n"
        "  counts = { k = i }, replies = { { views = '9007199254740993' } }, [lib.unknown] = "
        "'\\248\\7\\1' }))\n"
        "  decode('posts.Known', encode('posts.Known', { data = { a = { 1, 2 }, b = {} }, at = i "
        "}))\n"
        "  lib.json_decode(lib.json_encode { a = { 1, 2, 'x' }, b = lib.int64(i) })\n"
        "  to_json('posts.Post', from_json('posts.Post', '{\"title\":\"x\"}')) end";
    if (luaL_loadstring(L, code) != 0) return lua_error(L);
    lua_call(L, 0, 0);
    return 0;
}

// A memory error at any allocation leaves the VM usable and leaks nothing (which the sanitizer
// sees). The buffer of `encode` above is the test's: a longjmp over it would leak, so this `encode`
// uses one that outlives the error.
static struct buf kept;

static int encode_kept(lua_State *L) {
    struct err err = {0};
    kept.n = 0;
    int rc = pb_lua_to_wire(ends, L, 2, type_of(L), &kept, &err);
    if (rc < 0) return luaL_error(L, "%s", err.text);
    lua_pushlstring(L, buf_str(&kept).p, kept.n);
    return 1;
}

static int to_json_kept(lua_State *L) {
    struct err err = {0};
    kept.n = 0;
    if (pb_lua_to_json(ends, L, 2, type_of(L), &PB_JSON_MICRO, &kept, &err) < 0)
        return luaL_error(L, "%s", err.text);
    return 0;
}

static int open_protected(lua_State *L) {
    open_vm(L);
    lua_register(L, "encode", encode_kept);
    lua_register(L, "to_json", to_json_kept);
    return 0;
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    long done = 0;
    for (long n = 0; n < 4000 && done == 0; n += 3) {
        struct account account = {-1};
        lua_State *L = lua_newstate(limited, &account);
        assert_non_null(L);
        assert_int_equal(lua_cpcall(L, open_protected, NULL), 0);
        account.left = n;
        ends = pb_lua_new(L, pool);
        int rc = ends == NULL ? LUA_ERRMEM : lua_cpcall(L, work, NULL);
        bool memory = rc == LUA_ERRMEM ||
                      (rc != 0 && strstr(lua_tostring(L, -1), "not enough memory") != NULL);
        if (rc != 0 && !memory) fail_msg("%s", lua_tostring(L, -1));
        if (rc == 0) done = n;
        account.left = -1;
        if (ends != NULL) { // the same VM goes on
            lua_settop(L, 0);
            rc = lua_cpcall(L, work, NULL);
            if (rc != 0) fail_msg("%s", lua_tostring(L, -1));
        }
        lua_close(L);
        pb_lua_delete(ends);
    }
    assert_true(done > 100); // the loop reached the end of the work
    buf_free(&kept);
}

static void the_pool_lives_as_long_as_the_vm(void **state) {
    (void)state;
    struct pb_pool *own = compile_pool("syntax = \"proto3\"; message M { int32 a = 1; }");
    lua_State *L = luaL_newstate();
    open_vm(L);
    struct pb_lua *p = pb_lua_new(L, own);
    pb_lua_push_new(p, L, message_of(own, "M"));
    lua_setglobal(L, "m");
    pb_lua_delete(p);
    pb_pool_drop(own);
    assert_int_equal(luaL_dostring(L, "return m.b"), 1);
    assert_non_null(strstr(lua_tostring(L, -1), "M has no field \"b\""));
    lua_close(L);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_was_set),
        cmocka_unit_test(reading_is_strict),
        cmocka_unit_test(oneofs),
        cmocka_unit_test(pieces_merge),
        cmocka_unit_test(unknown_fields_are_kept),
        cmocka_unit_test(faults_of_the_wire),
        cmocka_unit_test(error_texts),
        cmocka_unit_test(equal_messages_have_equal_bytes),
        cmocka_unit_test(no_metamethod_runs),
        cmocka_unit_test(complete_fills_in),
        cmocka_unit_test(proto2),
        cmocka_unit_test(wide_integers_in_messages),
        cmocka_unit_test(int64_arithmetic),
        cmocka_unit_test(times),
        cmocka_unit_test(wrappers),
        cmocka_unit_test(plain_data),
        cmocka_unit_test(the_other_known),
        cmocka_unit_test(json_of_messages),
        cmocka_unit_test(json_of_plain_data),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(the_pool_lives_as_long_as_the_vm),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
