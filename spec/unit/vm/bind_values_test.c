// SPDX-License-Identifier: Apache-2.0
// core/vm/bind_values.c: time, randomness, digests, encodings, the log, metrics, as Lua sees them.
#include "bind_testing.h"

#include "base/metrics.h"

#include <fcntl.h>

static void test_time(void **state) {
    (void)state;
    lua_true("local t = core.now() return t > 1.7e9 and t < 1e11 and math.abs(t - os.time()) < 5");
    lua_true("local a = core.monotonic() return core.monotonic() >= a and a > 0");
    lua_true("return core.format_time(0, '%Y-%m-%dT%H:%M:%S') == '1970-01-01T00:00:00'");
    lua_true("return core.format_time(-0.5, '%Y %S') == '1969 59'");
    lua_true("return core.format_time(951782400, '%d.%m.') == '29.02.'");
    lua_true("return core.format_time(0, '') == ''");
    lua_raises("is no time", "core.format_time(1e300, '%Y')");
    lua_raises("is no time", "core.format_time(0/0, '%Y')");
    lua_raises("at most 200", "core.format_time(0, ('x'):rep(201))");
    lua_raises("zero byte", "core.format_time(0, 'a\\0b')");
}

static void test_random(void **state) {
    (void)state;
    lua_true("return #core.random(0) == 0 and #core.random(65536) == 65536");
    lua_true("return core.random(16) ~= core.random(16)");
    lua_raises("0 to 65536", "core.random(65537)");
    lua_raises("0 to 65536", "core.random(-1)");
    lua_raises("0 to 65536", "core.random(1.5)");
    lua_raises("0 to 65536", "core.random(0/0)");
}

static void test_digests(void **state) {
    (void)state;
    lua_true("return core.hex(core.sha256 'abc') == "
             "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'");
    lua_true(
        "return core.hex(core.hmac('Jefe', 'what do ya want for nothing?')) == "
        "'5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'"); // RFC 4231, case 2
    lua_true("return #core.hmac(('k'):rep(1000), '') == 32");
    lua_true("return core.equal('a', 'a') and core.equal('', '') and not core.equal('a', 'b') and "
             "not core.equal('a', 'ab')");
    lua_raises("string expected", "core.sha256(nil)");
}

static void test_encodings(void **state) {
    (void)state;
    lua_true("return core.hex '\\0\\255a' == '00ff61' and core.unhex '00FF61' == '\\0\\255a'");
    lua_true("return core.unhex 'x' == nil and core.unhex '0' == nil and core.unhex '' == ''");
    lua_true("return core.base64 'any carnal pleas' == 'YW55IGNhcm5hbCBwbGVhcw=='");
    lua_true("return core.unbase64 'YW55IGNhcm5hbCBwbGVhcw' == 'any carnal pleas'");
    lua_true("return core.unbase64 '-_8=' == core.unbase64 '+/8=' and core.unbase64 '*' == nil");
    lua_true("local s = core.random(60000) return core.unbase64(core.base64(s)) == s and "
             "core.unhex(core.hex(s)) == s");
}

// What the text writes to standard error.
static char *logged(const char *text) {
    static char out[8192];
    char name[] = "/tmp/bind-test-XXXXXX";
    int file = mkstemp(name), before = dup(STDERR_FILENO);
    assert_true(file >= 0 && before >= 0);
    unlink(name);
    dup2(file, STDERR_FILENO);
    int failed = luaL_dostring(VM.L, text);
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t n = pread(file, out, sizeof out - 1, 0);
    close(file);
    if (failed) fail_msg("%s", lua_tostring(VM.L, -1));
    lua_settop(VM.L, 0);
    out[n < 0 ? 0 : n] = '\0';
    return out;
}

static void test_log(void **state) {
    (void)state;
    const char *line =
        logged("core.log('info', 'saved it', { b = 2, a = 'x y', c = true, d = 1.5 })");
    assert_non_null(strstr(line, "Z INFO posts@v1/0 saved it a=\"x y\" b=2 c=true d=1.5\n"));
    assert_string_equal(logged("core.log('debug', 'not wanted', { [1] = 'is not looked at' })"),
                        "");
    line = logged("core.log('error', 'two\\nlines')");
    assert_non_null(strstr(line, "ERROR posts@v1/0 two\\nlines\n"));
    line = logged(
        "core.log('warn', '', { e = setmetatable({}, { __tostring = function() return 'told' end "
        "}), "
        "t = {}, f = print, bad = setmetatable({}, { __tostring = function() return 5 end }) })");
    assert_non_null(strstr(line, "bad=5 e=told f=(function) t=(table)\n"));
}

static void test_log_of_a_request(void **state) {
    (void)state;
    struct msg_context context = {.request_id = 0xABC};
    REQUEST.context = &context;
    request_is_running = true;
    assert_non_null(strstr(logged("core.log('info', 'x')"), " x request=0000000000000abc\n"));
    context.trace_id[0] = 0x12;
    context.trace_id[15] = 0x34;
    assert_non_null(
        strstr(logged("core.log('info', 'x', { k = 1 })"),
               " x k=1 request=0000000000000abc trace=12000000000000000000000000000034\n"));
    request_is_running = false;
}

static void test_log_misuse(void **state) {
    (void)state;
    lua_raises("no log level", "core.log('loud', 'x')");
    lua_raises("log fields have names", "core.log('info', 'x', { 'a' })");
    lua_raises("table expected", "core.log('info', 'x', 'y')");
    lua_raises("at most 100 log fields",
               "local t = {} for i = 1, 101 do t['k' .. i] = i end core.log('info', 'x', t)");
    lua_true(
        "local t = {} for i = 1, 100 do t['k' .. i] = i end core.log('trace', 'x', t) return true");
}

static bool rendered(const char *piece) {
    struct buf out = {0};
    metrics_render(&out);
    bool found = strstr(buf_cstr(&out), piece) != NULL;
    if (!found) printf("not found: %s in\n%s\n", piece, buf_cstr(&out));
    buf_free(&out);
    return found;
}

static void test_metrics(void **state) {
    (void)state;
    lua_true("core.metric('count', 'saved', 2, { b = 'x', a = 1 }) core.metric('count', 'saved', "
             "1, { a = 1, b = 'x' }) return true");
    assert_true(rendered("saved_total{namespace=\"mica\",service=\"posts\",a=\"1\",b=\"x\"} 3\n"));
    lua_true("core.metric('gauge', 'depth', -1) core.metric('timing', 'took', 0.2) return true");
    assert_true(rendered("depth{namespace=\"mica\",service=\"posts\"} -1\n"));
    assert_true(rendered("took_seconds_count{namespace=\"mica\",service=\"posts\"} 1\n"));
    lua_true("core.metric('count', 'jobs_total', 1) core.metric('timing', 'wait_seconds', 1) "
             "return true");
    assert_true(rendered("\njobs_total{"));
    assert_true(rendered("\nwait_seconds_count{"));
    lua_true("core.metric('gauge', 'tagged', 1, { t = 'a\"b\\\\c\\nd\\255' }) return true");
    assert_true(rendered("t=\"a\\\"b\\\\c\\nd?\""));
    lua_raises("is no name of a metric", "core.metric('count', 'a-b', 1)");
    lua_raises("only grows", "core.metric('count', 'x', -1)");
    lua_raises("0 or more", "core.metric('timing', 'x', -1)");
    lua_raises("the platform's", "core.metric('count', 'mica_calls', 1)");
    lua_raises("is no name of a tag", "core.metric('count', 'x', 1, { ['a-b'] = 1 })");
    lua_raises("set by the platform", "core.metric('count', 'x', 1, { service = 'other' })");
    lua_raises("set by the platform", "core.metric('timing', 'x', 1, { le = '1' })");
    lua_raises("invalid option", "core.metric('histogram', 'x', 1)");
}

static int set_up(void **state) {
    (void)state;
    if (random_start() < 0) return -1;
    VM.config = (struct vm_config){.ns = "mica", .service = "posts", .version = "v1"};
    VM.log_source = "posts@v1/0";
    open_core(bind_values);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lua_close(VM.L);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),       cmocka_unit_test(test_random),
        cmocka_unit_test(test_digests),    cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_log),        cmocka_unit_test(test_log_of_a_request),
        cmocka_unit_test(test_log_misuse), cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
