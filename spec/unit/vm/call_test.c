// SPDX-License-Identifier: Apache-2.0
// Calls that a service makes, and streams on both sides, with back-pressure.
#include "vm/vm_testing.h"

// A body of `n` bytes of text in a message Rsp or Req.
static struct blob *large(size_t n) {
    char *text = malloc(n + 1);
    memset(text, 'x', n);
    text[n] = '\0';
    struct blob *b = encoded(text, 0);
    free(text);
    return b;
}

static void expect_item(struct keeper *k, uint64_t call, struct blob *body) {
    struct message *m = keeper_take(k, MSG_ITEM);
    assert_int_equal(m->call, call);
    assert_int_equal(m->body->n, body->n);
    assert_memory_equal(m->body->p, body->p, body->n);
    blob_drop(body);
    message_delete(m);
}

static void expect_ok(struct world *w, uint64_t call) {
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    if (m->status != 0)
        fail_msg("%s: %.*s", status_name(m->status), (int)m->fault->text->n, m->fault->text->p);
    assert_int_equal(m->call, call);
    assert_null(m->body);
    message_delete(m);
}

// ---- the server's side

static void test_server_stream(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Server = function(ctx, req, stream)\n"
                 "  core.set_header(ctx, 'x-a', '1')\n"
                 "  for i = 1, req.n do check(core.send(stream, { text = req.text, n = i })) end\n"
                 "  assert(not pcall(core.set_header, ctx, 'x-b', '1'))\n"
                 "  local ok, err = pcall(core.recv, stream)\n"
                 "  assert(not ok and err:find 'sends no stream')\n"
                 "end }");
    vm_receive(w->vm, request(w, "Server", 1, encoded("a", 2)));
    struct message *m = keeper_take(w->caller, MSG_HEADERS);
    struct str value;
    assert_true(metadata_get(m->metadata, str_of("x-a"), &value));
    message_delete(m);
    expect_item(w->caller, 1, encoded("a", 1));
    expect_item(w->caller, 1, encoded("a", 2));
    expect_ok(w, 1);
    world_end(w);
}

static void test_sender_waits_for_credit(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Server = function(ctx, req, stream)\n"
                 "  for i = 1, 6 do check(core.send(stream, { text = ('x'):rep(12500) })) end\n"
                 "end }");
    vm_receive(w->vm, request(w, "Server", 1, NULL));
    assert_int_equal(keeper_waiting(w->caller), 3); // 32,768 bytes are passed by the third
    follow(w, MSG_CREDIT, 1, NULL, 1250);
    assert_int_equal(keeper_waiting(w->caller), 3); // still over the window
    follow(w, MSG_CREDIT, 1, NULL, 12500);
    assert_int_equal(keeper_waiting(w->caller), 4);
    follow(w, MSG_CREDIT, 1, NULL, 37500);
    for (int i = 0; i < 6; i++) expect_item(w->caller, 1, large(12500));
    expect_ok(w, 1);
    vm_receive(w->vm, request(w, "Server", 2, NULL));
    assert_int_equal(keeper_waiting(w->caller), 3);
    follow(w, MSG_CANCEL, 2, NULL, 0); // while the sender waits
    run(w);
    assert_int_equal(vm_open_requests(w->vm), 0);
    assert_int_equal(keeper_waiting(w->caller), 3);
    world_end(w);
}

static void test_client_stream(void **state) {
    (void)state;
    struct world *w = world_of("return { Client = function(ctx, stream)\n"
                               "  local n, all = 0, {}\n"
                               "  while true do\n"
                               "    local m = check(core.recv(stream))\n"
                               "    if not m then break end\n"
                               "    n = n + m.n all[#all + 1] = m.text:sub(1, 3)\n"
                               "  end\n"
                               "  assert(check(core.recv(stream)) == nil)\n" // again and again
                               "  assert(not pcall(core.send, stream, {}))\n"
                               "  return { text = table.concat(all, ','), n = n }\n"
                               "end }");
    vm_receive(w->vm, request(w, "Client", 1, NULL));
    follow(w, MSG_ITEM, 1, encoded("one", 1), 0);
    follow(w, MSG_ITEM, 1, encoded("two", 2), 0);
    assert_int_equal(keeper_waiting(w->caller), 0);
    follow(w, MSG_ITEM, 1, large(17500), 0); // more than half a window has been read
    struct message *m = keeper_take(w->caller, MSG_CREDIT);
    assert_true(m->credit > 17500 + MSG_ITEM_OVERHEAD);
    assert_true(m->credit < 17540 + 4 * MSG_ITEM_OVERHEAD);
    message_delete(m);
    follow(w, MSG_END, 1, NULL, 0);
    expect_answer(w, 1, encoded("one,two,xxx", 3));
    follow(w, MSG_ITEM, 1, encoded("late", 1), 0); // is dropped
    world_end(w);
}

static void test_wrong_item(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Client = function(ctx, stream) check(core.recv(stream)) return {} end }");
    vm_receive(w->vm, request(w, "Client", 1, NULL));
    follow(w, MSG_ITEM, 1, blob_new("\xFF", 1), 0);
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_INVALID_ARGUMENT);
    expect_text(m->fault->id, "t.T.Client");
    message_delete(m);
    world_end(w);
}

static void test_two_way(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Bidi = function(ctx, stream)\n"
                 "  core.spawn(function() check(core.sleep(1)) check(core.send(stream, { text = "
                 "'tick' })) end)\n"
                 "  while true do\n"
                 "    local m = check(core.recv(stream))\n"
                 "    if not m then check(core.sleep(2)) return end\n"
                 "    if m.text == 'fail' then error { code = 'ABORTED', message = 'told' } end\n"
                 "    check(core.send(stream, m))\n"
                 "  end\n"
                 "end }");
    vm_receive(w->vm, request(w, "Bidi", 1, NULL));
    follow(w, MSG_ITEM, 1, encoded("a", 1), 0);
    expect_item(w->caller, 1, encoded("a", 1));
    follow(w, MSG_END, 1, NULL, 0);
    advance(w, 1.5);
    expect_item(w->caller, 1, encoded("tick", 0));
    advance(w, 5);
    expect_ok(w, 1);
    vm_receive(w->vm, request(w, "Bidi", 2, NULL));
    follow(w, MSG_ITEM, 2, encoded("fail", 1), 0);
    expect_fault(w, 2, STATUS_ABORTED, "told");
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

// A task of one request sends to the streams of others, as a chat room does.
static void test_streams_of_others(void **state) {
    (void)state;
    struct world *w =
        world_of("local room = {}\n"
                 "return { Bidi = function(ctx, stream)\n"
                 "  room[#room + 1] = stream check(core.park())\n"
                 "end, Unary = function(ctx, req)\n"
                 "  local codes = {}\n"
                 "  for i, s in ipairs(room) do local _, code = core.send(s, { text = req.text })\n"
                 "    codes[i] = code or 'sent' end\n"
                 "  return { text = table.concat(codes, ',') }\n"
                 "end }");
    vm_receive(w->vm, request(w, "Bidi", 1, NULL));
    vm_receive(w->vm, request(w, "Bidi", 2, NULL));
    follow(w, MSG_CANCEL, 1, NULL, 0);
    run(w);
    ask(w, "Unary", 3, "hi");
    expect_item(w->caller, 2, encoded("hi", 0));
    expect_answer(w, 3, encoded("CANCELLED,sent", 0));
    world_end(w);
}

// ---- calls

static const char CALLER[] =
    "local target, shape\n"
    "return { Unary = function(ctx, req)\n"
    "  if not target then target, shape = core.resolve('other', 'T.Unary') end\n"
    "  assert(shape == 'unary')\n"
    "  local options = { metadata = { ['x-b'] = { '1', '2' }, ['x-a'] = '3' } }\n"
    "  if req.n > 0 then options.timeout = req.n end\n"
    "  local rsp = check(core.call(target, { text = 'ask ' .. req.text }, options))\n"
    "  return { text = 'got ' .. rsp.text }\n"
    "end }";

static void test_call(void **state) {
    (void)state;
    struct world *w = world_of(CALLER);
    struct message *m = request(w, "Unary", 1, encoded("x", 0));
    m->context->chain = 3;
    m->context->trace_id[0] = 9;
    m->context->account = blob_new("", 0);
    vm_receive(w->vm, m);
    m = keeper_take(w->other, MSG_REQUEST);
    assert_ptr_equal(m->reply, &w->self->port);
    assert_ptr_equal(m->method, pb_find_path(w->other_pool, str_of("/t.T/Unary")));
    assert_int_equal(m->context->chain, 4);
    assert_int_equal(m->context->trace_id[0], 9);
    assert_int_equal(m->context->request_id, 0xABC);
    assert_non_null(m->context->account);
    expect_text(m->context->caller, "t");
    assert_true(m->context->deadline > clock_now() &&
                m->context->deadline <= clock_now() + 30 * NS_PER_SECOND);
    struct metadata_pair pair;
    size_t at = 0;
    assert_true(metadata_next(m->context->metadata, &at, &pair) &&
                str_is(pair.key, "x-a")); // sorted
    assert_true(metadata_next(m->context->metadata, &at, &pair) && str_is(pair.value, "1"));
    assert_true(metadata_next(m->context->metadata, &at, &pair) && str_is(pair.value, "2"));
    answer(w, MSG_RESPONSE, m->call + 1, encoded("wrong", 0), 0, NULL); // nobody's
    answer(w, MSG_RESPONSE, m->call, encoded("y", 0), 0, NULL);
    expect_answer(w, 1, encoded("got y", 0));
    answer(w, MSG_RESPONSE, m->call, encoded("again", 0), 0, NULL);
    assert_int_equal(keeper_waiting(w->caller), 0);
    message_delete(m);
    world_end(w);
}

static void test_call_that_fails(void **state) {
    (void)state;
    struct world *w = world_of(CALLER);
    ask(w, "Unary", 1, "");
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    answer(w, MSG_RESPONSE, m->call, NULL, STATUS_NOT_FOUND, "nothing there");
    message_delete(m);
    m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_NOT_FOUND);
    expect_text(m->fault->id, "other.T.Unary");
    message_delete(m);
    ask(w, "Unary", 2, "");
    m = keeper_take(w->other, MSG_REQUEST);
    answer(w, MSG_RESPONSE, m->call, blob_new("\xFF", 1), 0, NULL);
    message_delete(m);
    m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_INTERNAL); // it is not the caller's fault
    message_delete(m);
    w->other->refuse = -STATUS_RESOURCE_EXHAUSTED;
    ask(w, "Unary", 3, "");
    expect_fault(w, 3, STATUS_RESOURCE_EXHAUSTED, "service other is busy: its queue is full");
    w->other->refuse = -STATUS_UNAVAILABLE;
    ask(w, "Unary", 4, "");
    expect_fault(w, 4, STATUS_UNAVAILABLE, "service other is not running");
    w->other_gone = true; // and the VM hears of it
    w->epoch++;
    ask(w, "Unary", 5, "");
    expect_fault(w, 5, STATUS_UNAVAILABLE, "no service \"other\" is running");
    w->other_gone = false;
    w->other->refuse = 0;
    w->epoch++;
    m = request(w, "Unary", 6, NULL);
    m->context->chain = MSG_MAX_CHAIN;
    vm_receive(w->vm, m);
    expect_fault(w, 6, STATUS_RESOURCE_EXHAUSTED,
                 "calls are 32 deep: do services call each other in a circle?");
    world_end(w);
}

static void test_timeouts_of_calls(void **state) {
    (void)state;
    struct world *w = world_of(CALLER);
    vm_receive(w->vm, request(w, "Unary", 1, encoded("", 2)));
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    assert_true(m->context->deadline <= clock_now() + 2 * NS_PER_SECOND);
    message_delete(m);
    advance(w, 3);
    expect_fault(w, 1, STATUS_DEADLINE_EXCEEDED, "the call took longer than its timeout");
    m = keeper_take(w->other, MSG_CANCEL);
    assert_int_equal(m->status, STATUS_DEADLINE_EXCEEDED);
    assert_ptr_equal(m->reply, &w->self->port);
    message_delete(m);
    ask(w, "Unary", 2, "");
    message_delete(keeper_take(w->other, MSG_REQUEST));
    follow(w, MSG_CANCEL, 2, NULL, 0); // our caller goes, so our call ends
    run(w);
    m = keeper_take(w->other, MSG_CANCEL);
    assert_int_equal(m->status, STATUS_CANCELLED);
    message_delete(m);
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

static void test_misuse(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  local t = core.resolve('other', 'T.Unary')\n"
        "  local function fails(text, ...) local ok, err = pcall(...) assert(not ok and "
        "err:find(text, 1, true), err) end\n"
        "  fails('no target', core.call, 99, {})\n"
        "  fails('t.Req has no field \"txt\"', core.call, t, { txt = 1 })\n"
        "  fails('is not allowed', core.call, t, {}, { metadata = { [':path'] = 'x' } })\n"
        "  fails('must be a string', core.call, t, {}, { metadata = { x = 1 } })\n"
        "  fails('positive number', core.call, t, {}, { timeout = 0 })\n"
        "  fails('open it', core.call, core.resolve('other', 'T.Server'), {})\n"
        "  fails('stream expected', core.recv, ctx == nil)\n"
        "  local n, code, message = core.resolve('none', 'T.Unary')\n"
        "  assert(n == nil and code == 'UNAVAILABLE' and message:find 'none')\n"
        "  assert(select(2, core.native('deploy', 'Start')) == 'PERMISSION_DENIED')\n"
        "  assert(core.native('routes', 'Install') and core.native('crypto', 'HashPassword'))\n"
        "  assert(select(2, core.dial('away:1', '/t.T/Unary')) == 'UNAVAILABLE')\n"
        "  return {}\n"
        "end }");
    ask(w, "Unary", 1, "");
    expect_answer(w, 1, encoded("", 0));
    assert_int_equal(keeper_waiting(w->other), 0);
    world_end(w);
}

static void test_dial(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  local t = core.dial('there:1', '/a.B/C')\n"
        "  return { text = check(core.call(t, '{\"x\":1}', { metadata = { a = 'b' } })) }\n"
        "end }");
    ask(w, "Unary", 1, "");
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    struct str path;
    assert_int_equal(m->form.encoding, MSG_JSON);
    assert_null(m->method);
    expect_text(m->body, "{\"x\":1}");
    assert_true(metadata_get(m->context->metadata, str_of(":path"), &path) &&
                str_is(path, "/a.B/C"));
    answer(w, MSG_RESPONSE, m->call, blob_new("{}", 2), 0, NULL);
    message_delete(m);
    expect_answer(w, 1, encoded("{}", 0));
    world_end(w);
}

// A dialled server with a contract: the method is one of our own pool.
static void test_dial_contract(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  local t, shape, repeatable = core.dial('there:1', '/t.T/Unary', nil, true)\n"
        "  assert(shape == 'unary' and repeatable == false)\n"
        "  assert(select(2, core.dial('there:1', '/t.T/Server', nil, true)) == 'server')\n"
        "  local none, code, text = core.dial('there:1', '/t.T/None', nil, true)\n"
        "  assert(none == nil and code == 'UNIMPLEMENTED' and text:find '/t.T/None')\n"
        "  local ok, err = pcall(core.call, t, { txt = 1 })\n"
        "  assert(not ok and err:find('has no field \"txt\"', 1, true), err)\n"
        "  return { text = check(core.call(t, { text = 'hi' }, { namespace = 'n' })).text }\n"
        "end }");
    ask(w, "Unary", 1, "");
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    assert_int_equal(m->form.encoding, MSG_PROTO);
    assert_non_null(m->method);
    assert_ptr_equal(m->contract, w->source->pool);
    assert_int_equal(m->most, VM_LIMITS.message);
    assert_int_equal(m->attempts, 1);
    assert_true(str_is(blob_str(m->context->ns), "n"));
    assert_null(m->context->metadata);
    answer(w, MSG_RESPONSE, m->call, encoded("back", 0), 0, NULL);
    message_delete(m);
    expect_answer(w, 1, encoded("back", 0));
    world_end(w);
}

static struct blob *pair_of(const char *key, const char *value) {
    struct buf b = {0};
    metadata_add(&b, str_of(key), str_of(value));
    return buf_take(&b);
}

static void test_info(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  local t = core.resolve('other', 'T.Unary')\n"
        "  local r = { core.call(t, {}, { info = true }) }\n"
        "  local last = req.text == 'fails' and r[2] == 'NOT_FOUND' and r[3] == 'no' and r[6] == "
        "'unbegun' and r[7] == 0.25 or r[2].text == 'a'\n"
        "  assert(last and r[8].h == '1' and r[9].t == '2')\n"
        "  return {}\n"
        "end }");
    for (uint64_t call = 1; call <= 2; call++) {
        ask(w, "Unary", call, call == 1 ? "works" : "fails");
        struct message *request = keeper_take(w->other, MSG_REQUEST);
        struct message *m = message_new(MSG_RESPONSE, request->call);
        message_delete(request);
        m->leading = pair_of("h", "1");
        m->metadata = pair_of("t", "2");
        if (call == 1) {
            m->body = encoded("a", 0);
        } else {
            m->status = STATUS_NOT_FOUND;
            m->fault = msg_fault_new(str_of("no"), (struct str){"", 0}, NULL);
            m->fault->again = MSG_AGAIN_UNBEGUN;
            m->fault->pushback = 251;
        }
        vm_receive(w->vm, m);
        expect_answer(w, call, encoded("", 0));
    }
    world_end(w);
}

// ---- the client's side of streams

static uint64_t opened(struct world *w) {
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    uint64_t call = m->call;
    message_delete(m);
    return call;
}

static void fail_call(struct world *w, uint64_t call, enum msg_again again) {
    struct message *m = message_new(MSG_RESPONSE, call);
    m->status = STATUS_UNAVAILABLE;
    m->fault = msg_fault_new(str_of("gone"), (struct str){"", 0}, NULL);
    m->fault->again = (uint8_t)again;
    vm_receive(w->vm, m);
    run(w);
}

// A stream that came to nothing is begun again; one that something was seen of is not.
static void test_begun_again(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req)\n"
                 "  local t = core.resolve('other', 'T.Server')\n"
                 "  local s = check(core.open(t, { text = 'go' }))\n"
                 "  local op = req.text == 'header' and core.header or core.recv\n"
                 "  local seen = {}\n"
                 "  while true do\n"
                 "    local r = { op(s) }\n"
                 "    if r[1] and r[2] == nil then break end\n"
                 "    seen[#seen + 1] = r[1] and (r[2].text or 'headers') or tostring(r[6])\n"
                 "    if r[1] == false then assert(core.reopen(s, t, { text = 'go' })) end\n"
                 "    op = core.recv\n"
                 "  end\n"
                 "  return { text = table.concat(seen, ',') }\n"
                 "end }");
    static const char *const HOW[] = {"recv", "header"};
    for (uint64_t call = 1; call <= 2; call++) {
        ask(w, "Unary", call, HOW[call - 1]);
        fail_call(w, opened(w), MSG_AGAIN_UNBEGUN);
        fail_call(w, opened(w), MSG_AGAIN_NO); // nothing was seen of it
        uint64_t third = opened(w);
        answer(w, MSG_ITEM, third, encoded("one", 0), 0, NULL);
        answer(w, MSG_RESPONSE, third, NULL, 0, NULL);
        expect_answer(w, call, encoded("unbegun,unseen,one", 0));
    }
    assert_int_equal(keeper_waiting(w->other), 0);
    world_end(w);
}

static const char READER[] =
    "return { Unary = function(ctx, req)\n"
    "  local s = check(core.open(core.resolve('other', 'T.Server'), { text = 'go' }, { timeout = "
    "20 }))\n"
    "  assert(not pcall(core.send, s, {}))\n"
    "  local all = {}\n"
    "  if req.text == 'header' then all[1] = check(core.header(s))['x-h'] end\n"
    "  if req.text == 'leave' then return {} end\n"
    "  while true do\n"
    "    local m = check(core.recv(s))\n"
    "    if not m then break end\n"
    "    all[#all + 1] = m.text:sub(1, 3)\n"
    "    if req.text == 'cancel' then core.cancel_stream(s) end\n"
    "  end\n"
    "  all[#all + 1] = check(core.trailer(s))['x-t']\n"
    "  return { text = table.concat(all, ',') }\n"
    "end }";

static void answer_metadata(struct world *w, enum msg_kind kind, uint64_t call, const char *key,
                            const char *value) {
    struct message *m = message_new(kind, call);
    struct buf b = {0};
    metadata_add(&b, str_of(key), str_of(value));
    m->metadata = buf_take(&b);
    vm_receive(w->vm, m);
}

static void test_reading_a_stream(void **state) {
    (void)state;
    struct world *w = world_of(READER);
    ask(w, "Unary", 1, "header");
    uint64_t call = opened(w);
    answer(w, MSG_ITEM, call, encoded("one", 0), 0, NULL); // before the headers are asked for
    answer_metadata(w, MSG_HEADERS, call, "x-h", "head");
    answer(w, MSG_ITEM, call, large(200000), 0, NULL);
    struct message *m = keeper_take(w->other, MSG_CREDIT);
    assert_int_equal(m->call, call);
    assert_ptr_equal(m->reply, &w->self->port);
    message_delete(m);
    answer(w, MSG_ITEM, call, encoded("two", 0), 0, NULL);
    answer_metadata(w, MSG_RESPONSE, call, "x-t", "tail");
    expect_answer(w, 1, encoded("head,one,xxx,two,tail", 0));
    assert_int_equal(keeper_waiting(w->other), 0);
    world_end(w);
}

static void test_streams_that_break_off(void **state) {
    (void)state;
    struct world *w = world_of(READER);
    ask(w, "Unary", 1, "");
    answer(w, MSG_RESPONSE, opened(w), NULL, STATUS_ABORTED, "broken");
    expect_fault(w, 1, STATUS_ABORTED, "broken");
    ask(w, "Unary", 2, "leave"); // left behind: cancelled with its request
    opened(w);
    expect_answer(w, 2, encoded("", 0));
    message_delete(keeper_take(w->other, MSG_CANCEL));
    ask(w, "Unary", 3, "cancel");
    answer(w, MSG_ITEM, opened(w), encoded("one", 0), 0, NULL);
    message_delete(keeper_take(w->other, MSG_CANCEL));
    expect_fault(w, 3, STATUS_CANCELLED, "the stream was cancelled");
    ask(w, "Unary", 4, "");
    opened(w);
    advance(w, 21);
    message_delete(keeper_take(w->other, MSG_CANCEL));
    expect_fault(w, 4, STATUS_DEADLINE_EXCEEDED, "the call took longer than its timeout");
    world_end(w);
}

static void test_writing_a_stream(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req)\n"
                 "  local s = check(core.open(core.resolve('other', 'T.Client'), nil))\n"
                 "  for i = 1, 4 do check(core.send(s, { text = ('x'):rep(12500) })) end\n"
                 "  core.close_send(s) core.close_send(s)\n"
                 "  assert(not pcall(core.send, s, {}))\n"
                 "  local rsp = check(core.recv(s))\n"
                 "  assert(check(core.recv(s)) == nil)\n"
                 "  return { text = rsp.text }\n"
                 "end }");
    ask(w, "Unary", 1, "");
    uint64_t call = opened(w);
    for (int i = 0; i < 3; i++) expect_item(w->other, call, large(12500));
    assert_int_equal(keeper_waiting(w->other), 0);
    struct message *m = message_new(MSG_CREDIT, call);
    m->credit = 25000;
    vm_receive(w->vm, m);
    expect_item(w->other, call, large(12500));
    message_delete(keeper_take(w->other, MSG_END));
    answer(w, MSG_RESPONSE, call, encoded("sum", 0), 0, NULL);
    expect_answer(w, 1, encoded("sum", 0));
    world_end(w);
}

static void test_sender_hears_of_the_end(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req)\n"
                 "  local s = check(core.open(core.resolve('other', 'T.Bidi'), nil))\n"
                 "  while true do check(core.send(s, { text = ('x'):rep(100000) })) end\n"
                 "end }");
    ask(w, "Unary", 1, "");
    answer(w, MSG_RESPONSE, opened(w), NULL, STATUS_NOT_FOUND, "no room");
    expect_fault(w, 1, STATUS_NOT_FOUND, "no room");
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_stream),
        cmocka_unit_test(test_sender_waits_for_credit),
        cmocka_unit_test(test_client_stream),
        cmocka_unit_test(test_wrong_item),
        cmocka_unit_test(test_two_way),
        cmocka_unit_test(test_streams_of_others),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_call_that_fails),
        cmocka_unit_test(test_timeouts_of_calls),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_dial),
        cmocka_unit_test(test_dial_contract),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_begun_again),
        cmocka_unit_test(test_reading_a_stream),
        cmocka_unit_test(test_streams_that_break_off),
        cmocka_unit_test(test_writing_a_stream),
        cmocka_unit_test(test_sender_hears_of_the_end),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
