// SPDX-License-Identifier: Apache-2.0
// core/vm/bind_proto.c: the contract and conversions of single messages, as Lua sees them.
#include "bind_testing.h"

#include "pb/protoc.h"

static const char OWN[] =
    "syntax = \"proto3\";\n"
    "package posts;\n"
    "// Blog posts.\n"
    "service Posts {\n"
    "  // Read finds one.\n"
    "  rpc Read(ReadRequest) returns (Post) { option idempotency_level = NO_SIDE_EFFECTS; }\n"
    "  rpc Watch(ReadRequest) returns (stream Post);\n"
    "}\n"
    "enum State { NEW = 0; OLD = 1; }\n"
    "message ReadRequest { string id = 1; }\n"
    "message Post {\n"
    "  string id = 1;\n"
    "  // what it is called\n"
    "  optional string title = 2;\n"
    "  repeated string tags = 3;\n"
    "  map<string, Post> linked = 4;\n"
    "  State state = 5;\n"
    "  int64 made_at = 6;\n"
    "  oneof where { string url = 7; string path = 8; }\n"
    "}\n";
static const char PLATFORM[] = "syntax = \"proto3\";\n"
                               "package mica.test.v1;\n"
                               "enum Level { LOW = 0; HIGH = 1; }\n"
                               "message Thing { string name = 1; }\n";

static struct source SOURCE;

// Stands for source.c: only "t.proto" is the service's own.
static bool disowned;
bool source_owns_proto(const struct source *s, struct str proto_file) {
    return s == &SOURCE && str_is(proto_file, "t.proto") && !disowned;
}
void source_disown_proto(const struct source *s, struct str proto_file) {
    disowned = s == &SOURCE && str_is(proto_file, "t.proto");
}

static struct pb_pool *compile_pool(const char *text) {
    char folder[] = "/tmp/bind-test-XXXXXX", path[100];
    const char *const files[] = {"t.proto"};
    struct blob *set = NULL;
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/t.proto", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    if (protoc_compile(folder, files, 1, &set, &err) < 0) fail_msg("%s", err.text);
    unlink(path);
    rmdir(folder);
    struct pb_pool *pool = pb_pool_new(set, &err);
    blob_drop(set);
    if (pool == NULL) fail_msg("%s", err.text);
    return pool;
}

static void test_contract(void **state) {
    (void)state;
    lua_true("local c = core.contract() return #c == 1 and c[1].name == 'Posts' and c[1].full_name "
             "== 'posts.Posts' and "
             "c[1].comment == 'Blog posts.' and #c[1].methods == 2");
    lua_true("local m = core.contract()[1].methods[1] return m.name == 'Read' and m.index == 0 and "
             "m.path == "
             "'/posts.Posts/Read' and m.comment == 'Read finds one.' and m.input == "
             "'posts.ReadRequest' and m.output == "
             "'posts.Post' and m.idempotency == 1 and m.client_streaming == false and "
             "m.server_streaming == false");
    lua_true("local m = core.contract()[1].methods[2] return m.index == 1 and m.server_streaming "
             "and m.idempotency == 0");
}

static void test_services_of_others(void **state) {
    (void)state;
    lua_true(
        "local s = core.services() return #s == 1 and s[1].file == 't.proto' and s[1].full_name == "
        "'posts.Posts'");
    lua_true("core.disown 'other.proto' return #core.contract() == 1");
    lua_true("core.disown 't.proto' return #core.contract() == 0 and #core.services() == 1");
    disowned = false;
}

static void test_fields(void **state) {
    (void)state;
    lua_true("local f = core.fields 'posts.Post' return #f == 8 and f[1].name == 'id' and "
             "f[1].type == 'string' and "
             "f[1].number == 1 and not f[1].presence and not f[1].repeated and f[1].oneof == nil "
             "and f[1].message == nil");
    lua_true("local f = core.fields 'posts.Post' return f[2].presence and f[2].oneof == nil and "
             "f[2].comment == 'what it is called'");
    lua_true(
        "local f = core.fields 'posts.Post' return f[3].repeated and not f[3].map and f[4].map and "
        "f[4].message == 'posts.Post.LinkedEntry' and core.fields(f[4].message)[2].message == "
        "'posts.Post'");
    lua_true("local f = core.fields 'posts.Post' return f[5].type == 'enum' and f[5].enum == "
             "'posts.State' and "
             "f[6].type == 'int64' and f[6].json_name == 'madeAt' and f[7].oneof == 'where' and "
             "f[7].presence");
    lua_true("return core.fields 'posts.None' == nil and core.fields 'mica.test.v1.Thing'[1].name "
             "== 'name'");
    lua_true("return table.concat(core.enum_values 'posts.State', ' ') == 'NEW OLD' and "
             "core.enum_values 'x' == nil and "
             "core.enum_values 'mica.test.v1.Level'[2] == 'HIGH'");
}

static void test_conversions(void **state) {
    (void)state;
    lua_true("local p = core.decode('posts.Post', core.encode('posts.Post', { id = '1', tags = { "
             "'a' }, state = 'OLD' })) "
             "return p.id == '1' and p.tags[1] == 'a' and p.state == 'OLD' and p.title == nil and "
             "p.made_at == 0");
    lua_true("return core.encode('mica.test.v1.Thing', { name = 'x' }) == '\\10\\1x'");
    lua_true("return core.json('mica.test.v1.Thing', { name = 'x' }) == '{\"name\":\"x\"}'");
    lua_true("return core.from_json('posts.Post', '{\"madeAt\": \"5\", \"title\": \"t\"}').made_at "
             "== 5");
    lua_true("local s = core.json('posts.Post', { made_at = 7 }, { names = 'camel', defaults = "
             "false, int64 = 'number' }) "
             "return s == '{\"madeAt\":7}'");
    lua_true("local s = core.json('posts.Post', { made_at = 7 }) return "
             "s:find('\"made_at\":\"7\"', 1, true) and "
             "s:find('\"tags\":[]', 1, true)");
    lua_true("return core.json('mica.test.v1.Thing', { name = 'x' }, { pretty = true "
             "}):find('\\n', 1, true)");
}

static void test_messages(void **state) {
    (void)state;
    lua_true("local p = core.new 'posts.Post' return core.type(p) == 'posts.Post' and p.id == '' "
             "and #p.tags == 0");
    lua_true("local p = core.new('posts.Post', { title = 'x' }) return core.type(p) == "
             "'posts.Post' and p.title == 'x'");
    lua_true("return core.type {} == nil and core.type 'x' == nil and core.type(core.new "
             "'mica.test.v1.Thing') == "
             "'mica.test.v1.Thing'");
    lua_true("local p = core.complete(core.new('posts.Post', { id = '1' })) return rawget(p, "
             "'made_at') == 0 and "
             "rawget(p, 'title') == nil");
    lua_raises("has no field \"titel\" (did you mean \"title\"?)",
               "return core.new('posts.Post').titel");
    lua_raises("complete wants a message", "core.complete {}");
}

static void test_faults(void **state) {
    (void)state;
    lua_raises("no message type \"posts.None\"", "core.encode('posts.None', {})");
    lua_raises("no message type \"google.rpc.None\"", "core.encode('google.rpc.None', {})");
    lua_raises("posts.Post.id", "core.encode('posts.Post', { id = 5 })");
    lua_raises("posts.Post", "core.encode('posts.Post', { nothing = 5 })");
    lua_raises("posts.Post.id", "core.new('posts.Post', { id = 5 })");
    lua_raises("", "core.decode('posts.Post', '\\255')");
    lua_raises("", "core.from_json('posts.Post', '{')");
    lua_raises("string expected", "core.decode('posts.Post', nil)");
    lua_raises("table expected", "core.new('posts.Post', 5)");
    lua_raises("value expected", "core.encode('posts.Post')");
}

static void test_the_codec_s_values(void **state) {
    (void)state;
    lua_true("return core.proto.json_encode({ b = 1, a = core.proto.array {} }) == "
             "'{\"a\":[],\"b\":1}'");
    lua_true("return core.proto.json_decode('null') == core.proto.null and core.proto.compare(1, "
             "core.proto.int64 '2') == -1");
}

// The memory of a VM may end at any allocation; no bytes outside of it may be lost (the sanitizer tells).
static void test_memory_may_end_anywhere(void **state) {
    (void)state;
    static const char TEXT[] =
        "local p = core.decode('posts.Post', core.encode('posts.Post', { id = ('x'):rep(3000) })) "
        "return core.json('posts.Post', p), core.new('posts.Post', p), core.complete(p)";
    lua_State *L = VM.L;
    bool ended = false;
    for (size_t n = 0; n < 5000 && !ended; n++) {
        assert_int_equal(luaL_loadstring(L, TEXT), 0);
        allocations_left = n;
        int status = lua_pcall(L, 0, 3, 0);
        allocations_left = SIZE_MAX;
        if (status != 0) assert_non_null(strstr(lua_tostring(L, -1), "memory"));
        ended = status == 0;
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT, 0);
    }
    assert_true(ended);
}

static int set_up(void **state) {
    (void)state;
    if (random_start() < 0) return -1;
    struct pb_pool *own = compile_pool(OWN), *platform = compile_pool(PLATFORM);
    SOURCE.pool = own;
    VM.config =
        (struct vm_config){.ns = "mica", .service = "posts", .version = "v1", .source = &SOURCE};
    open_core(bind_proto);
    VM.own = pb_lua_new(VM.L, own);
    VM.platform = pb_lua_new(VM.L, platform);
    pb_pool_drop(platform);
    return VM.own == NULL || VM.platform == NULL ? -1 : 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_lua_delete(VM.own);
    pb_lua_delete(VM.platform);
    pb_pool_drop(SOURCE.pool);
    lua_close(VM.L);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_services_of_others),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_the_codec_s_values),
        cmocka_unit_test(test_memory_may_end_anywhere),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
