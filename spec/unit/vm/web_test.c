// SPDX-License-Identifier: Apache-2.0
// Raw HTTP in a VM: how a request begins, bodies both ways, answers whole, in pieces and streamed, and what may not be said.
#include "vm_testing.h"

// main.lua returns { http = { ["GET /"] = function(ctx, body, stream) ... end } }, with core.web() at hand.
static struct world *serving(const char *body) {
    char text[2000];
    snprintf(text, sizeof text,
             "local web = core.web()\nreturn { http = { ['GET /'] = function(ctx, body, stream) %s "
             "end } }",
             body);
    return world_of(text);
}

static void get(struct world *w, uint64_t call, const char *key, struct blob *body, bool streams) {
    struct buf head = {0};
    struct message *m = message_new(MSG_REQUEST, call);
    metadata_add(&head, str_of(":handler"), str_of(key));
    metadata_add(&head, str_of(":path"), str_of("/x"));
    metadata_add(&head, str_of("x-y"), str_of("1"));
    m->reply = port_hold(&w->caller->port);
    m->context = msg_context_new();
    m->context->ns = blob_new("mica", 4);
    m->context->metadata = buf_take(&head);
    m->body = body;
    m->streams = streams;
    vm_receive(w->vm, m);
    run(w);
}

// The pairs of a head, and how the body looks: "200 a=b / body".
static void expect_head(const struct blob *metadata, const char *wanted) {
    struct buf text = {0};
    struct metadata_pair pair;
    for (size_t at = 0; metadata_next(metadata, &at, &pair);) {
        if (text.n > 0) buf_append_byte(&text, ' ');
        buf_append_str(&text, pair.key);
        buf_append_byte(&text, '=');
        buf_append_str(&text, pair.value);
    }
    assert_string_equal(buf_cstr(&text), wanted);
    buf_free(&text);
}

static void expect_whole(struct world *w, const char *head, const char *body) {
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    if (m->status != 0)
        fail_msg("%s: %.*s", status_name(m->status), (int)m->fault->text->n, m->fault->text->p);
    expect_head(m->leading, head);
    expect_text(m->body, body);
    message_delete(m);
}

static void test_whole(void **state) {
    (void)state;
    struct world *w =
        serving("web.answer(ctx, 201, { 'a', 'b', 'c', '' }, body .. core.ctx(ctx, 'kind') .. "
                "core.ctx(ctx, 'endpoint') .. core.metadata(ctx, ':path') .. "
                "table.concat(core.metadata_keys(ctx), ',') .. tostring(stream))");
    get(w, 1, "GET /", blob_new("body ", 5), false);
    expect_whole(w, ":status=201 a=b c=", "body httpGET //xx-ynil");
    get(w, 2, "GET /other", NULL, false);
    expect_fault(w, 2, STATUS_UNIMPLEMENTED, "service t has no handler for GET /other");
    get(w, 3, "GET /", NULL, false); // its body is nil
    expect_fault(w, 3, STATUS_INTERNAL, "internal error");
    world_end(w);
}

static void test_headers_of_ctx_come_along(void **state) {
    (void)state;
    struct world *w = serving("core.set_header(ctx, 'x', '1') core.set_trailer(ctx, 't', '2') "
                              "web.answer(ctx, 200, {})");
    get(w, 1, "GET /", NULL, false);
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    expect_head(m->leading, "x=1 :status=200");
    expect_head(m->metadata, "t=2");
    assert_null(m->body);
    message_delete(m);
    world_end(w);
}

static void test_body_streams_in(void **state) {
    (void)state;
    struct world *w =
        serving("local n, all = 0, {} while true do local _, piece = core.recv(stream) "
                "if not piece then break end n = n + #piece all[#all + 1] = piece:sub(1, 1) end "
                "web.answer(ctx, 200, {}, n .. table.concat(all))");
    get(w, 1, "GET /", NULL, true);
    char *big = malloc(20000);
    memset(big, 'b', 20000);
    follow(w, MSG_ITEM, 1, blob_new("a", 1), 0);
    follow(w, MSG_ITEM, 1, blob_new(big, 20000), 0);
    run(w);
    struct message *credit = keeper_take(w->caller, MSG_CREDIT); // half a window was read
    assert_int_equal(credit->credit, 20001 + 2 * MSG_ITEM_OVERHEAD);
    message_delete(credit);
    follow(w, MSG_END, 1, NULL, 0);
    run(w);
    expect_whole(w, ":status=200", "20001ab");
    free(big);
    world_end(w);
}

static void test_answer_streams_out(void **state) {
    (void)state;
    struct world *w = serving("local s = web.answer_stream(ctx, 200, { 'a', 'b' }) "
                              "for i = 1, 3 do assert(core.send(s, ('x'):rep(20000))) end");
    get(w, 1, "GET /", NULL, false);
    struct message *m = keeper_take(w->caller, MSG_HEADERS);
    expect_head(m->metadata, ":status=200 a=b");
    message_delete(m);
    for (int i = 0; i < 2; i++) { // a window: the third waits
        m = keeper_take(w->caller, MSG_ITEM);
        assert_int_equal(m->body->n, 20000);
        message_delete(m);
    }
    assert_int_equal(keeper_waiting(w->caller), 0);
    follow(w, MSG_CREDIT, 1, NULL, 40000);
    run(w);
    message_delete(keeper_take(w->caller, MSG_ITEM));
    m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, 0);
    assert_null(m->leading);
    message_delete(m);
    world_end(w);
}

static void test_deadline_ends_with_the_head(void **state) {
    (void)state;
    struct world *w =
        serving("local s = web.answer_stream(ctx, 200, {}) core.sleep(40) core.send(s, 'x')");
    get(w, 1, "GET /", NULL, false);
    message_delete(keeper_take(w->caller, MSG_HEADERS));
    advance(w, 50);
    message_delete(keeper_take(w->caller, MSG_ITEM));
    message_delete(keeper_take(w->caller, MSG_RESPONSE));
    world_end(w);
    w = serving("core.sleep(40) web.answer(ctx, 200, {})"); // without a head, 30 s
    get(w, 1, "GET /", NULL, false);
    advance(w, 50);
    expect_fault(w, 1, STATUS_DEADLINE_EXCEEDED, "the deadline has passed");
    world_end(w);
}

static void test_file(void **state) {
    (void)state;
    struct world *w =
        serving("local size, tag = web.file('public/f') assert(not web.file('main.lua')) "
                "web.answer_file(ctx, 206, { 'tag', tag, 'n', tostring(size) }, 'public/f', "
                "{ 'before', 2, 3, 'end', 0, 0 })");
    struct source *s = w->source; // not shared yet, but by this VM
    s->files = realloc(s->files, 2 * sizeof *s->files);
    s->files[1] =
        (struct source_file){str_of(strdup("public/f")), blob_new("0123456789", 10), "tag"};
    s->file_count = 2;
    get(w, 1, "GET /", NULL, false);
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, 0);
    assert_ptr_equal(m->body, s->files[1].content); // not copied
    struct metadata_pair pair;
    size_t at = 0, pieces = 0;
    while (metadata_next(m->leading, &at, &pair)) {
        if (!str_is(pair.key, ":piece")) continue;
        uint64_t range[2];
        memcpy(range, pair.value.p, sizeof range);
        assert_int_equal(range[0], pieces == 0 ? 2 : 0);
        assert_int_equal(range[1], pieces == 0 ? 3 : 0);
        assert_int_equal(pair.value.n - sizeof range, pieces == 0 ? 6 : 3);
        pieces++;
    }
    assert_int_equal(pieces, 2);
    message_delete(m);
    world_end(w);
}

// What of an answer is a bug of the service ends INTERNAL, and nothing of its head goes out.
static void test_bad_answers(void **state) {
    (void)state;
    static const char *const BAD[] = {
        "web.answer(ctx, 200, { 'a', 'x\\r\\nset-cookie: y' })",
        "web.answer(ctx, 200, { 'a', 'x\\n' })",
        "web.answer(ctx, 200, { 'a', '\\0' })",
        "web.answer(ctx, 200, { 'A', 'x' })",
        "web.answer(ctx, 200, { 'a b', 'x' })",
        "web.answer(ctx, 200, { 'a:', 'x' })",
        "web.answer(ctx, 200, { '', 'x' })",
        "web.answer(ctx, 200, { ':status', '500' })",
        "web.answer(ctx, 200, { 'a' })",
        "web.answer(ctx, 200, { 'a', 5 })",
        "web.answer(ctx, 100, {})",
        "web.answer(ctx, 600, {})",
        "web.answer(ctx, 200, {}, {})",
        "web.answer(nil, 200, {})",
        "local t = {} for i = 1, 122 do t[i] = 'x' end web.answer(ctx, 200, t)",
        "web.answer(ctx, 200, { 'a', ('x'):rep(17000) })",
        "web.answer_file(ctx, 200, {}, 'main.lua')",
        "web.answer_file(ctx, 200, {}, 'public/none')",
        "local x = 1",
        "core.set_header(ctx, 'x', '1') web.answer(ctx, 200, { 'a', '\\n' })",
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct world *w = serving(BAD[i]);
        get(w, 1, "GET /", NULL, false);
        struct message *m = keeper_take(w->caller, MSG_RESPONSE);
        if (m->status != STATUS_INTERNAL) fail_msg("%s: %s", BAD[i], status_name(m->status));
        struct str none;
        assert_false(metadata_get(m->leading, str_of(":status"), &none));
        assert_false(metadata_get(m->leading, str_of("a"), &none));
        assert_null(m->body);
        message_delete(m);
        world_end(w);
    }
}

static void test_an_answer_is_said_once(void **state) {
    (void)state;
    struct world *w = serving("web.answer(ctx, 200, {}, 'one') web.answer(ctx, 201, {}, 'two')");
    get(w, 1, "GET /", NULL, false);
    expect_fault(w, 1, STATUS_INTERNAL, "internal error");
    world_end(w);
    w = world_of("return { Unary = function(ctx) core.web().answer(ctx, 200, {}) end }");
    ask(w, "Unary", 2, "");
    run(w);
    expect_fault(w, 2, STATUS_INTERNAL, "internal error");
    world_end(w);
}

static void test_fault_says_a_status(void **state) {
    (void)state;
    struct world *w =
        serving("error { code = 'RESOURCE_EXHAUSTED', message = 'long', http = 413 }");
    get(w, 1, "GET /", NULL, false);
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(m->fault->http, 413);
    expect_text(m->fault->id, "t.GET /");
    message_delete(m);
    world_end(w);
}

static void test_caller_goes(void **state) {
    (void)state;
    struct world *w =
        serving("local ok, code = core.recv(stream) error { code = code, message = 'gone' }");
    get(w, 1, "GET /", NULL, true);
    follow(w, MSG_CANCEL, 1, NULL, 0);
    run(w);
    assert_int_equal(keeper_waiting(w->caller), 0);
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

int main(void) {
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_headers_of_ctx_come_along),
        cmocka_unit_test(test_body_streams_in),
        cmocka_unit_test(test_answer_streams_out),
        cmocka_unit_test(test_deadline_ends_with_the_head),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_bad_answers),
        cmocka_unit_test(test_an_answer_is_said_once),
        cmocka_unit_test(test_fault_says_a_status),
        cmocka_unit_test(test_caller_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
