// SPDX-License-Identifier: Apache-2.0
// The option google.api.http: that authors may import it, what is read of it, and which rules fit a method.
#include "pb_testing.h"

#define PROTO                                                                                      \
    "syntax = \"proto3\";\n"                                                                       \
    "package t;\n"                                                                                 \
    "import \"google/api/annotations.proto\";\n"                                                   \
    "import \"google/protobuf/timestamp.proto\";\n"                                                \
    "import \"google/protobuf/struct.proto\";\n"                                                   \
    "import \"google/rpc/status.proto\";\n"                                                        \
    "service S {\n"                                                                                \
    "  rpc Plain(A) returns (A) { option deprecated = true; }\n"                                   \
    "  rpc One(A) returns (A) {\n"                                                                 \
    "    option (google.api.http) = {\n"                                                           \
    "      post: \"/one/{id}\" body: \"*\" response_body: \"b\"\n"                                 \
    "      additional_bindings { get: \"/uno/{b.name}\" }\n"                                       \
    "      additional_bindings { custom { kind: \"LINK\" path: \"/un\" } body: \"b\" }\n"          \
    "    };\n"                                                                                     \
    "  }\n"                                                                                        \
    "  rpc Two(A) returns (A) { option (google.api.http).put = \"/two\"; }\n"                      \
    "  rpc Three(A) returns (A) { option (google.api.http) = { delete: \"/{\" }; }\n"              \
    "  rpc Four(A) returns (A) { option (google.api.http) = { body: \"*\" }; }\n"                  \
    "  rpc Five(A) returns (A) { option (google.api.http) = { patch: \"/five\" }; }\n"             \
    "}\n"                                                                                          \
    "message A {\n"                                                                                \
    "  string id = 1; B b = 2; repeated string tags = 3; map<string, string> labels = 4;\n"        \
    "  google.protobuf.Timestamp at = 5; google.protobuf.Struct extra = 6; bytes data = 7;\n"      \
    "  string camel_case = 8; google.rpc.Status status = 9; repeated B list = 10;\n"               \
    "}\n"                                                                                          \
    "message B { string name = 1; B b = 2; }\n"

static struct pb_pool *pool;

static int set_up(void **state) {
    (void)state;
    pool = compile_pool(PROTO);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    pb_pool_drop(pool);
    return 0;
}

static struct pb_method *method(const char *path) {
    struct pb_method *m = pb_find_path(pool, str_of(path));
    if (m == NULL) fail_msg("no %s", path);
    return m;
}

static void expect(const struct pb_http_rule *rule, const char *verb, const char *template,
                   const char *body, const char *response_body) {
    assert_true(str_is(rule->method, verb));
    assert_true(str_is(rule->template, template));
    assert_true(str_is(rule->body, body));
    assert_true(str_is(rule->response_body, response_body));
}

static void test_reading(void **state) {
    (void)state;
    assert_int_equal(method("/t.S/Plain")->http_count, 0);
    assert_int_equal(method("/t.S/Plain")->line, 8);
    const struct pb_method *one = method("/t.S/One");
    assert_int_equal(one->http_count, 3);
    assert_int_equal(one->line, 10);
    expect(&one->http[0], "POST", "/one/{id}", "*", "b");
    expect(&one->http[1], "GET", "/uno/{b.name}", "", "");
    expect(&one->http[2], "LINK", "/un", "b", "");
    assert_int_equal(method("/t.S/Two")->http_count, 1);
    expect(method("/t.S/Two")->http, "PUT", "/two", "", "");
    assert_int_equal(method("/t.S/Two")->line, 16);
    expect(method("/t.S/Three")->http, "DELETE", "/{", "", "");
    expect(method("/t.S/Four")->http, "", "", "*", "");
    expect(method("/t.S/Five")->http, "PATCH", "/five", "", "");
}

static struct pb_http_rule rule(const char *verb, const char *template, const char *body,
                                const char *response_body) {
    return (struct pb_http_rule){str_of(verb), str_of(template), str_of(body),
                                 str_of(response_body)};
}

static void accepted(const char *verb, const char *template, const char *body,
                     const char *response_body) {
    struct pb_http_rule r = rule(verb, template, body, response_body);
    struct err err = {0};
    if (pb_http_rule_check(method("/t.S/One"), &r, &err) < 0) fail_msg("%s", err.text);
}

static void refused(const char *verb, const char *template, const char *body,
                    const char *response_body, const char *why) {
    struct pb_http_rule r = rule(verb, template, body, response_body);
    struct err err = {0};
    assert_int_equal(pb_http_rule_check(method("/t.S/One"), &r, &err), -STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.text, why);
}

static void test_checks(void **state) {
    (void)state;
    accepted("GET", "/{id}/{b.name}/{b.b.b.name}/{at}/{data}/{camelCase}", "", "");
    accepted("POST", "/{camel_case=x/**}:go", "b", "list");
    accepted("*", "/", "*", "tags");
    accepted("M-SEARCH", "/x", "labels", "extra");
    refused("GET", "/{idd}", "", "",
            "variable {idd}: t.A has no field \"idd\" (did you mean \"id\"?)");
    refused("GET", "/{b.nam}", "", "",
            "variable {b.nam}: t.B has no field \"nam\" (did you mean \"name\"?)");
    refused("GET", "/{id.x}", "", "", "variable {id.x}: id is a single value and has no fields");
    refused("GET", "/{list.name}", "", "",
            "variable {list.name}: list is a list and has no fields");
    refused("GET", "/{at.seconds}", "", "",
            "variable {at.seconds}: at is a single value and has no fields");
    refused("GET", "/{b}", "", "", "variable {b}: a message cannot be written in a path");
    refused("GET", "/{extra}", "", "", "variable {extra}: a message cannot be written in a path");
    refused("GET", "/{tags}", "", "", "variable {tags}: a list cannot be written in a path");
    refused("GET", "/{labels}", "", "", "variable {labels}: a list cannot be written in a path");
    refused("get", "/", "", "", "\"get\" is no method of HTTP: GET is one");
    refused("", "/", "", "", "\"\" is no method of HTTP: GET is one");
    refused("GET", "/", "*", "", "body: a GET has none");
    refused("POST", "/", "bb", "", "body: t.A has no field \"bb\" (did you mean \"b\"?)");
    refused("POST", "/", "b.name", "", "body \"b.name\": a field of t.A itself is wanted");
    refused("POST", "/", "*", "*", "response_body: t.A has no field \"*\"");
    refused("POST", "x", "", "", "path template \"x\": it must begin with \"/\"");
    refused("", "", "", "",
            "a rule without a path: say get: \"/path\", or put, post, delete, patch, custom");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
