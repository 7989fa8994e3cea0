// SPDX-License-Identifier: Apache-2.0
// A VM from outside: requests in, answers out, and what becomes of everything that a request starts.
#include "vm/vm_testing.h"

// ---- unary

static void test_unary(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req) return { text = 'hello ' .. req.text } end }");
    ask(w, "Unary", 5, "ada");
    expect_answer(w, 5, encoded("hello ada", 0));
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

static void test_unary_json(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req) return { text = req.text, n = req.n + 1 } end }");
    struct message *m = request(w, "Unary", 1, blob_new("{\"text\":\"x\",\"n\":\"41\"}", 21));
    m->form.encoding = MSG_JSON;
    vm_receive(w->vm, m);
    m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, 0);
    assert_int_equal(m->form.encoding, MSG_JSON);
    expect_text(m->body, "{\"text\":\"x\",\"n\":\"42\"}");
    message_delete(m);
    m = request(w, "Unary", 2, NULL); // no body is an empty message
    m->form.encoding = MSG_JSON;
    vm_receive(w->vm, m);
    m = keeper_take(w->caller, MSG_RESPONSE);
    expect_text(m->body, "{\"text\":\"\",\"n\":\"1\"}");
    message_delete(m);
    world_end(w);
}

static void test_another_pool(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req) return { text = req.text } end }");
    struct message *m = request(w, "Unary", 1, encoded("x", 0));
    pb_pool_drop(m->contract);
    m->contract = pb_pool_hold(w->other_pool);
    m->method = pb_find_path(w->other_pool, str_of("/t.T/Unary"));
    vm_receive(w->vm, m);
    expect_answer(w, 1, encoded("x", 0));
    world_end(w);
}

static void test_wrong_requests(void **state) {
    (void)state;
    struct world *w = world_of("return { Unary = function(ctx, req) return {} end }");
    vm_receive(w->vm, request(w, "Unary", 1, blob_new("\xFF", 1)));
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_INVALID_ARGUMENT);
    expect_text(m->fault->id, "t.T.Unary");
    message_delete(m);
    ask(w, "Missing", 2, "");
    expect_fault(w, 2, STATUS_UNIMPLEMENTED,
                 "service t declares T.Missing, but has no handler for it");
    m = request(w, "Unary", 3, NULL);
    m->method = NULL;
    vm_receive(w->vm, m);
    expect_fault(w, 3, STATUS_UNIMPLEMENTED, "the request names no method");
    m = request(w, "Unary", 4, NULL);
    m->context->deadline = clock_now() - 1;
    vm_receive(w->vm, m);
    expect_fault(w, 4, STATUS_DEADLINE_EXCEEDED,
                 "the deadline had passed before the service began");
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
}

static void test_wrong_answers(void **state) {
    (void)state;
    struct world *w = world_of("return { Unary = function(ctx, req) if req.text == 'wrong' then "
                               "return { txt = 1 } end end,\n"
                               "  Nothing = function() end }");
    ask(w, "Unary", 1, "");
    expect_fault(w, 1, STATUS_INTERNAL, "internal error");
    ask(w, "Unary", 2, "wrong");
    expect_fault(w, 2, STATUS_INTERNAL, "internal error");
    ask(w, "Nothing", 3, "");
    expect_answer(w, 3, encoded("", 0));
    world_end(w);
}

static void test_errors(void **state) {
    (void)state;
    struct world *w = world_of("return { Unary = function(ctx, req)\n"
                               "  if req.text == 'bug' then local x = nil; return x.y end\n"
                               "  if req.text == 'fault' then core.on_error = function() "
                               "error('worse') end error('x') end\n"
                               "  error({ code = 'NOT_FOUND', message = 'no post', id = req.text "
                               "~= '' and 'a.B.C' or nil, details = 'd' })\n"
                               "end }");
    ask(w, "Unary", 1, "");
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, STATUS_NOT_FOUND);
    expect_text(m->fault->text, "no post");
    expect_text(m->fault->id, "t.T.Unary");
    expect_text(m->fault->details, "d");
    message_delete(m);
    ask(w, "Unary", 2, "id");
    m = keeper_take(w->caller, MSG_RESPONSE);
    expect_text(m->fault->id, "a.B.C");
    message_delete(m);
    ask(w, "Unary", 3, "bug");
    expect_fault(w, 3, STATUS_INTERNAL, "internal error");
    ask(w, "Unary", 4, "fault");
    expect_fault(w, 4, STATUS_INTERNAL, "internal error");
    world_end(w);
}

static void test_ctx(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  local function get(key) return core.ctx(ctx, key) end\n"
        "  assert(rawequal(core.context(), ctx))\n"
        "  assert(get 'service' == 't' and get 'endpoint' == 'T.Unary' and get 'kind' == 'rpc' and "
        "get 'version' == 'v1')\n"
        "  assert(get 'instance' == 0 and get 'id' == '0000000000000abc' and get 'namespace' == "
        "'mica')\n"
        "  assert(get 'caller' == nil and get 'account' == nil and get 'cancelled' == false and "
        "#get 'trace' == 32)\n"
        "  assert(get 'remaining' > 29 and get 'remaining' <= 30 and get 'deadline' > 1e9)\n"
        "  assert(core.metadata(ctx, 'b') == '2' and core.metadata(ctx, 'c') == nil)\n"
        "  assert(table.concat(core.metadata_keys(ctx), ',') == 'a,b,d')\n"
        "  assert(table.concat(core.metadata_all(ctx, 'd'), ',') == '4,5')\n"
        "  assert(not pcall(core.ctx, ctx, 'nonsense') and not pcall(core.ctx, {}, 'id'))\n"
        "  core.set_header(ctx, 'x-h', '1') core.set_trailer(ctx, 'x-t', '2')\n"
        "  assert(not pcall(core.set_header, ctx, 'grpc-status', '1') and not "
        "pcall(core.set_header, ctx, 'x', 'a\\nb'))\n"
        "  return {}\n"
        "end }");
    struct message *m = request(w, "Unary", 1, NULL);
    struct buf b = {0};
    metadata_add(&b, str_of("d"), str_of("4"));
    metadata_add(&b, str_of("b"), str_of("2"));
    metadata_add(&b, str_of("d"), str_of("5"));
    metadata_add(&b, str_of("a"), str_of("1"));
    m->context->metadata = buf_take(&b);
    vm_receive(w->vm, m);
    m = keeper_take(w->caller, MSG_RESPONSE);
    struct str value;
    assert_int_equal(m->status, 0);
    assert_true(metadata_get(m->leading, str_of("x-h"), &value) && str_is(value, "1"));
    assert_true(metadata_get(m->metadata, str_of("x-t"), &value) && str_is(value, "2"));
    message_delete(m);
    world_end(w);
}

// ---- tasks

static void test_spawn_park_wake(void **state) {
    (void)state;
    struct world *w = world_of("return { Unary = function()\n"
                               "  local main, log = core.current(), {}\n"
                               "  for i = 1, 3 do core.spawn(function(a) check(core.sleep(a)) "
                               "core.wake(main, a, nil, 'x') end, i) end\n"
                               "  for i = 1, 3 do local a, none, x = check(core.park()) "
                               "assert(none == nil and x == 'x') log[i] = a end\n"
                               "  assert(core.wake(main) == false and core.wake(12345) == false)\n"
                               "  return { text = table.concat(log, ',') }\n"
                               "end }");
    ask(w, "Unary", 1, "");
    assert_int_equal(keeper_waiting(w->caller), 0);
    assert_true(vm_next_timer(w->vm) <= clock_now() + NS_PER_SECOND);
    advance(w, 1.5);
    advance(w, 2.5);
    advance(w, 3.5);
    expect_answer(w, 1, encoded("1,2,3", 0));
    assert_true(vm_next_timer(w->vm) == INT64_MAX);
    world_end(w);
}

static void test_failing_tasks(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req)\n"
                 "  local fail = { code = 'ABORTED', message = 'over' }\n"
                 "  if req.text == 'raise' then core.spawn(function() error(fail) end)\n"
                 "  else core.spawn(function() check(core.sleep(0)) core.fail(fail) _G.after = "
                 "select(2, core.sleep(1)) end) end\n"
                 "  check(core.park())\n"
                 "end, Nothing = function() assert(_G.after == 'CANCELLED') return {} end }");
    ask(w, "Unary", 1, "raise");
    expect_fault(w, 1, STATUS_ABORTED, "over");
    ask(w, "Unary", 2, "fail");
    run(w);
    expect_fault(w, 2, STATUS_ABORTED, "over");
    assert_int_equal(vm_open_requests(w->vm), 0);
    ask(w, "Nothing", 3, "");
    expect_answer(w, 3, encoded("", 0));
    world_end(w);
}

static void test_tasks_end_with_their_request(void **state) {
    (void)state;
    struct world *w = world_of(
        "local log = {}\n"
        "return { Unary = function(ctx, req)\n"
        "  if req.text == 'look' then return { text = table.concat(log, ',') } end\n"
        "  core.spawn(function() local _, code = core.park() log[#log + 1] = code end)\n"
        "  core.spawn(function() local ok, err = pcall(check, core.sleep(100)) log[#log + 1] = "
        "err.code end)\n"
        "  core.spawn(function() while true do core.sleep(1) end end)\n" // never ends by itself
        "  core.spawn(function() coroutine.yield() end)\n"
        "  check(core.sleep(0))\n"
        "  core.spawn(function() log[#log + 1] = 'never begun' end)\n"
        "  return {}\n"
        "end }");
    ask(w, "Unary", 1, "");
    run(w);
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(
        m->status,
        STATUS_INTERNAL); // the plain yield is a bug of its task, which fails the request
    message_delete(m);
    assert_int_equal(vm_open_requests(w->vm), 0);
    ask(w, "Unary", 2, "look");
    m = keeper_take(w->caller, MSG_RESPONSE);
    assert_int_equal(m->status, 0);
    struct blob *wanted = encoded("CANCELLED,CANCELLED", 0);
    assert_int_equal(m->body->n, wanted->n);
    assert_memory_equal(m->body->p, wanted->p, wanted->n);
    blob_drop(wanted);
    message_delete(m);
    world_end(w);
}

static void test_cancel_and_deadline_of_a_task(void **state) {
    (void)state;
    struct world *w = world_of("return { Unary = function(ctx, req)\n"
                               "  local log = {}\n"
                               "  local t = core.spawn(function() for i = 1, 2 do log[#log + 1] = "
                               "select(2, core.sleep(9)) end end)\n"
                               "  check(core.sleep(0)) core.cancel(t) check(core.sleep(0))\n"
                               "  local a, b = check(core.deadline(1, function(x, y) "
                               "check(core.sleep(0.5)) return x, y end, 1, 2))\n"
                               "  assert(a == 1 and b == 2)\n"
                               "  local ok, err = pcall(core.deadline, 0.01, function() "
                               "check(core.sleep(0.001)) check(core.park()) end)\n"
                               "  log[#log + 1] = tostring(ok) .. ' ' .. err.code\n"
                               "  check(core.sleep(0.001))\n" // outside of it nothing is late
                               "  ok, err = pcall(core.deadline, 1, error, 'mine')\n"
                               "  log[#log + 1] = tostring(err)\n"
                               "  return { text = table.concat(log, ',') }\n"
                               "end }");
    ask(w, "Unary", 1, "");
    for (int i = 0; i < 400 && keeper_waiting(w->caller) == 0; i++) {
        run(w);
        usleep(5000);
    }
    expect_answer(w, 1, encoded("CANCELLED,CANCELLED,false DEADLINE_EXCEEDED,mine", 0));
    world_end(w);
}

static void test_own_coroutines(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function()\n"
                 "  local co = coroutine.create(function(a) check(core.sleep(0.001)) local b = "
                 "coroutine.yield(a + 1)\n"
                 "    check(core.sleep(0.001)) return b + 1 end)\n"
                 "  local _, x = coroutine.resume(co, 1)\n"
                 "  local _, y = coroutine.resume(co, 10)\n"
                 "  local ok, err = pcall(table.sort, { 2, 1 }, function() core.sleep(1) end)\n"
                 "  assert(not ok and err:find('sort comparator'), err)\n"
                 "  return { text = x .. ' ' .. y }\n"
                 "end }");
    ask(w, "Unary", 1, "");
    advance(w, 1);
    advance(w, 1);
    expect_answer(w, 1, encoded("2 11", 0));
    world_end(w);
}

static void test_background(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  if req.text == 'look' then return { text = _G.seen } end\n"
        "  core.background(function(x) check(core.sleep(1))\n"
        "    rawset(_G, 'seen', x .. core.ctx(core.context(), 'kind') .. core.ctx(ctx, 'id')) end, "
        "'x')\n"
        "  core.background(function() error { code = 'ABORTED', message = 'nobody hears' } end)\n"
        "  return {}\n"
        "end }");
    ask(w, "Unary", 1, "");
    expect_answer(w, 1, encoded("", 0));
    assert_int_equal(vm_open_requests(w->vm), 1);
    advance(w, 2);
    assert_int_equal(vm_open_requests(w->vm), 0);
    ask(w, "Unary", 2, "look");
    expect_answer(w, 2, encoded("xbackground0000000000000abc", 0));
    world_end(w);
}

static void test_defers(void **state) {
    (void)state;
    struct world *w = world_of(
        "local log = {}\n"
        "return { Unary = function(ctx, req)\n"
        "  if req.text == 'look' then return { text = table.concat(log, ',') } end\n"
        "  core.defer(ctx, function() check(core.sleep(0.001)) log[#log + 1] = 'first' end)\n"
        "  core.defer(ctx, function() error 'broken' end)\n"
        "  core.defer(ctx, function() core.spawn(function() log[#log + 1] = select(2, core.park()) "
        "end)\n"
        "    check(core.sleep(0.001)) log[#log + 1] = 'last' end)\n"
        "  core.defer(ctx, function() log[#log + 1] = select(2, core.park()) end)\n"
        "  core.spawn(function() core.park() log[#log + 1] = 'task' end)\n"
        "  check(core.sleep(0))\n"
        "  error { code = 'ABORTED', message = 'x' }\n"
        "end }");
    ask(w, "Unary", 1, "");
    run(w);
    expect_fault(w, 1, STATUS_ABORTED, "x"); // before the deferred functions have run
    assert_int_equal(vm_open_requests(w->vm), 1);
    advance(w, 6); // one of them waits for ever, and is stopped after 5 s; then the others are late
    assert_int_equal(vm_open_requests(w->vm), 0);
    ask(w, "Unary", 2, "look");
    struct message *m = keeper_take(w->caller, MSG_RESPONSE);
    struct blob *wanted = encoded("task,DEADLINE_EXCEEDED", 0);
    assert_int_equal(m->body->n, wanted->n);
    assert_memory_equal(m->body->p, wanted->p, wanted->n);
    blob_drop(wanted);
    message_delete(m);
    world_end(w);
}

static void test_defers_in_order(void **state) {
    (void)state;
    struct world *w =
        world_of("local log = {}\n"
                 "return { Unary = function(ctx, req)\n"
                 "  if req.text == 'look' then return { text = table.concat(log, ',') } end\n"
                 "  for i = 1, 3 do core.defer(ctx, function() check(core.sleep(0)) log[#log + 1] "
                 "= i end) end\n"
                 "  return {}\n"
                 "end }");
    ask(w, "Unary", 1, "");
    run(w);
    expect_answer(w, 1, encoded("", 0));
    run(w);
    ask(w, "Unary", 2, "look");
    expect_answer(w, 2, encoded("3,2,1", 0));
    world_end(w);
}

// ---- the end of requests

static void test_deadline(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  if req.text == 'look' then return { text = _G.seen } end\n"
        "  local _, a = core.park()\n"
        "  local _, b = core.sleep(1)\n"
        "  rawset(_G, 'seen', a .. ',' .. b .. ',' .. tostring(core.ctx(ctx, 'cancelled')))\n"
        "  return { text = 'too late' }\n"
        "end, deadlines = { [0] = 2 } }");
    ask(w, "Unary", 1, "");
    advance(w, 1);
    assert_int_equal(keeper_waiting(w->caller), 0);
    advance(w, 3);
    expect_fault(w, 1, STATUS_DEADLINE_EXCEEDED, "the deadline has passed");
    assert_int_equal(keeper_waiting(w->caller), 0);
    assert_int_equal(vm_open_requests(w->vm), 0);
    ask(w, "Unary", 2, "look");
    expect_answer(w, 2, encoded("DEADLINE_EXCEEDED,DEADLINE_EXCEEDED,true", 0));
    world_end(w);
}

static void test_cancel(void **state) {
    (void)state;
    struct world *w =
        world_of("return { Unary = function(ctx, req)\n"
                 "  if req.text == 'look' then return { text = _G.seen } end\n"
                 "  core.defer(ctx, function() rawset(_G, 'seen', _G.seen .. '!') end)\n"
                 "  local _, a = core.park()\n"
                 "  rawset(_G, 'seen', a)\n"
                 "  while true do core.park() end\n" // left there
                 "end }");
    ask(w, "Unary", 1, "");
    follow(w, MSG_CANCEL, 99, NULL, 0); // of nobody
    assert_int_equal(vm_open_requests(w->vm), 1);
    follow(w, MSG_CANCEL, 1, NULL, 0);
    run(w);
    assert_int_equal(vm_open_requests(w->vm), 0);
    assert_int_equal(keeper_waiting(w->caller), 0);
    ask(w, "Unary", 2, "look");
    expect_answer(w, 2, encoded("CANCELLED!", 0));
    world_end(w);
}

static void test_cancel_all_and_delete(void **state) {
    (void)state;
    static const char MAIN[] =
        "return { Unary = function(ctx)\n"
        "  core.defer(ctx, function() core.sleep(1) end)\n"
        "  core.spawn(function() core.park() end)\n"
        "  core.background(function() core.park() end)\n"
        "  check(core.call(core.resolve('other', 'T.Unary'), { text = 'x' }))\n"
        "end, Bidi = function(ctx, stream) core.park() end }";
    struct world *w = world_of(MAIN);
    ask(w, "Unary", 1, "");
    vm_cancel_all(w->vm, STATUS_UNAVAILABLE, "stopping");
    expect_fault(w, 1, STATUS_UNAVAILABLE, "stopping");
    message_delete(keeper_take(w->other, MSG_REQUEST));
    message_delete(keeper_take(w->other, MSG_CANCEL));
    advance(w, 2);
    assert_int_equal(vm_open_requests(w->vm), 0);
    world_end(w);
    w = world_of(MAIN);
    ask(w, "Unary", 1, "");
    vm_receive(w->vm, request(w, "Bidi", 2, NULL));
    follow(w, MSG_ITEM, 2, encoded("unread", 0), 0);
    vm_delete(w->vm);
    w->vm = NULL;
    expect_fault(w, 2, STATUS_UNAVAILABLE, "the instance has stopped");
    expect_fault(w, 1, STATUS_UNAVAILABLE, "the instance has stopped");
    message_delete(keeper_take(w->other, MSG_REQUEST));
    message_delete(keeper_take(w->other, MSG_CANCEL));
    world_end(w);
}

// ---- memory

static void test_memory_limit(void **state) {
    (void)state;
    struct world *w = world_new("return { Unary = function(ctx, req)\n"
                                "  if req.text == 'fine' then return {} end\n"
                                "  local t = {}\n"
                                "  while true do t[#t + 1] = ('x'):rep(1000) .. #t end\n"
                                "end }");
    struct vm_config config = world_config(w);
    config.limits.memory = 4 << 20;
    w->vm = vm_new(&config, NULL);
    assert_non_null(w->vm);
    assert_int_equal(vm_load(w->vm, NULL), 0);
    ask(w, "Unary", 1, "fine");
    expect_answer(w, 1, encoded("", 0));
    assert_false(vm_condemned(w->vm));
    ask(w, "Unary", 2, "");
    expect_fault(w, 2, STATUS_RESOURCE_EXHAUSTED, "memory limit of 4 MB reached");
    assert_true(vm_condemned(w->vm));
    assert_int_equal(vm_open_requests(w->vm), 0);
    vm_collect(w->vm);
    assert_true(vm_memory(w->vm) < 2 << 20);
    ask(w, "Unary", 3, "fine"); // usable until it is replaced
    expect_answer(w, 3, encoded("", 0));
    world_end(w);
}

// Whatever the line, an allocation that fails ends the request or the VM, and nothing else.
static void test_every_memory_limit(void **state) {
    (void)state;
    static const char MAIN[] =
        "return { Unary = function(ctx, req)\n"
        "  core.defer(ctx, function() core.sleep(0) end)\n"
        "  core.spawn(function() core.park() end)\n"
        "  core.background(function() core.sleep(0) end)\n"
        "  local _, t = pcall(function() return check(core.call(core.resolve('other', 'T.Unary'), "
        "{ text = 'x' })) end)\n"
        "  local list = {} for i = 1, req.n do list[i] = { i } end\n"
        "  error { code = 'ABORTED', message = tostring(list) }\n"
        "end }";
    unsigned made = 0, answers = 0;
    log_set_level(LOG_OFF);
    for (size_t limit = 20000; limit < 400000; limit += 1777) {
        struct world *w = world_new(MAIN);
        struct vm_config config = world_config(w);
        config.limits.memory = limit;
        w->vm = vm_new(&config, NULL);
        if (w->vm != NULL && vm_load(w->vm, NULL) == 0) {
            made++;
            vm_receive(w->vm, request(w, "Unary", 1, encoded("a", 1000)));
            if (keeper_waiting(w->other) > 0) {
                struct message *m = keeper_take(w->other, MSG_REQUEST);
                answer(w, MSG_RESPONSE, m->call, encoded("y", 1), 0, NULL);
                message_delete(m);
            }
            run(w);
            advance(w, 40);
            assert_int_equal(keeper_waiting(w->caller), 1);
            struct message *m = keeper_take(w->caller, MSG_RESPONSE);
            answers += m->status == STATUS_ABORTED;
            if (m->status != STATUS_ABORTED) assert_true(vm_condemned(w->vm));
            message_delete(m);
        }
        world_end(w);
    }
    log_set_level(LOG_INFO);
    assert_true(made > answers && answers > 0);
}

// ---- life

static void test_hooks(void **state) {
    (void)state;
    struct world *w = world_of(
        "local ticks = 0\n"
        "return { on_start = function(ctx)\n"
        "  assert(core.ctx(ctx, 'kind') == 'start')\n"
        "  core.spawn(function() while true do check(core.sleep(1)) ticks = ticks + 1 end end)\n"
        "  check(core.sleep(1)) end,\n"
        "  on_stop = function(ctx) error { code = 'ABORTED', message = 'stopped ' .. ticks } end "
        "}");
    vm_start(w->vm, hook_done, w);
    assert_int_equal(w->hook_status, 99);
    advance(w, 1.5);
    assert_int_equal(w->hook_status, 0);
    advance(w, 20); // no deadline for what lives with the instance
    assert_int_equal(vm_open_requests(w->vm), 0);
    assert_false(vm_condemned(w->vm));
    w->hook_status = 99;
    vm_stop(w->vm, hook_done, w);
    run(w);
    assert_int_equal(w->hook_status, -STATUS_ABORTED);
    assert_true(strncmp(w->hook_text, "stopped ", 8) == 0);
    assert_true(vm_next_timer(w->vm) == INT64_MAX);
    world_end(w);
}

static void test_hooks_that_fail(void **state) {
    (void)state;
    struct world *w = world_of("return {}");
    vm_start(w->vm, hook_done, w);
    assert_int_equal(w->hook_status, 0);
    w->hook_status = 99;
    vm_stop(w->vm, hook_done, w);
    assert_int_equal(w->hook_status, 0);
    world_end(w);
    w = world_of("return { on_start = function() core.park() end }");
    vm_start(w->vm, hook_done, w);
    advance(w, 11);
    assert_int_equal(w->hook_status, -STATUS_DEADLINE_EXCEEDED);
    world_end(w);
    w = world_of("return { on_start = function() core.spawn(function() check(core.sleep(1)) error "
                 "'x' end) end }");
    vm_start(w->vm, hook_done, w);
    assert_int_equal(w->hook_status, 0);
    assert_false(vm_condemned(w->vm));
    advance(w, 2);
    assert_true(vm_condemned(w->vm));
    world_end(w);
}

static void expect_load_fault(const char *main, bool bare, const char *text) {
    struct world *w = world_new(main);
    struct vm_config config = world_config(w);
    struct err err = {0};
    config.bare = bare;
    w->vm = vm_new(&config, &err);
    assert_non_null(w->vm);
    assert_int_equal(vm_load(w->vm, &err), -STATUS_INVALID_ARGUMENT);
    if (strcmp(err.text, text) != 0) fail_msg("got \"%s\", wanted \"%s\"", err.text, text);
    world_end(w);
}

static void test_load_faults(void **state) {
    (void)state;
    expect_load_fault("return {", false, "main.lua:1: unexpected symbol near '<eof>'");
    expect_load_fault("\nerror 'mine'", false, "main.lua:2: mine");
    expect_load_fault("error(setmetatable({}, { __tostring = function() return 'shown' end }))",
                      false, "shown");
    expect_load_fault("return 1", false, "main.lua:1: return a table");
    expect_load_fault("\x1bLJ", false, "attempt to load chunk with wrong mode");
    expect_load_fault(
        "core.sleep(1)", false,
        "main.lua:1: main.lua declares, handlers act: sleep cannot be used while it is loaded");
    expect_load_fault(
        "core.spawn(print)", true,
        "main.lua:1: main.lua declares, handlers act: spawn cannot be used while it is loaded");
    expect_load_fault(
        "core.resolve('other', 'T.Unary')", true,
        "main.lua:1: main.lua declares, handlers act: it calls nothing while it is loaded");
}

static void test_bare_limits(void **state) {
    (void)state;
    static const char SLOW[] =
        "main.lua ran longer than 100 ms while loading: it declares, handlers act";
    expect_load_fault("while true do end", true, SLOW);
    expect_load_fault("while true do pcall(function() while true do end end) end", true, SLOW);
    // In a few steps: under a sanitizer many small ones may take longer than the 100 ms.
    expect_load_fault("local s = 'x' while true do s = s .. s end", true,
                      "main.lua: memory limit of 16 MB reached while loading");
    struct world *w = world_new("return { on_start = print }");
    struct vm_config config = world_config(w);
    struct buf out = {0};
    config.bare = true;
    w->vm = vm_new(&config, NULL);
    assert_int_equal(vm_load(w->vm, NULL), 0);
    assert_int_equal(vm_describe(w->vm, &out, NULL), 0);
    assert_true(str_is(buf_str(&out), "described"));
    buf_free(&out);
    world_end(w);
}

static void test_room(void **state) {
    (void)state;
    struct world *w = world_of(
        "return { Unary = function(ctx, req)\n"
        "  if req.text == 'call' then check(core.call(core.resolve('other', 'T.Unary'), {})) end\n"
        "  check(core.park())\n"
        "end, limits = { concurrency = 2 } }");
    ask(w, "Unary", 1, "");
    assert_true(vm_has_room(w->vm));
    ask(w, "Unary", 2, "call");
    assert_true(vm_has_room(w->vm)); // who waits for a call does not count
    ask(w, "Unary", 3, "");
    assert_false(vm_has_room(w->vm));
    follow(w, MSG_CANCEL, 3, NULL, 0);
    run(w);
    assert_true(vm_has_room(w->vm));
    struct message *m = keeper_take(w->other, MSG_REQUEST);
    answer(w, MSG_RESPONSE, m->call, NULL, 0, NULL);
    message_delete(m);
    run(w);
    assert_false(vm_has_room(w->vm));
    world_end(w);
}

// ---- the sandbox

static void test_sandbox(void **state) {
    (void)state;
    struct world *w = world_of(
        "local gone = { 'dofile', 'loadfile', 'newproxy', 'getfenv', 'setfenv', 'gcinfo', "
        "'module', 'package', 'jit',\n"
        "  'io', 'ffi', 'require' }\n"
        "for _, name in ipairs(gone) do assert(rawget(_G, name) == nil, name) end\n"
        "assert(string.dump == nil and debug.getregistry == nil and debug.sethook == nil and "
        "os.execute == nil)\n"
        "assert(os.getenv == nil and os.exit == nil and os.remove == nil)\n"
        "assert(getmetatable('') == 'protected')\n"
        "assert(load('\\27LJ') == nil and loadstring('\\27LJ') == nil and select(2, "
        "load('\\27')):find 'bytecode')\n"
        "assert(load('return ...', '=x', 'b')(5) == 5)\n" // the mode is ours
        "local parts = { 'return ', '7', nil }\n"
        "local i = 0\n"
        "assert(load(function() i = i + 1 return parts[i] end)() == 7)\n"
        "assert(load('return x', '=x', 't', { x = 3 })() == 3)\n"
        "assert(not load('x x') and select(2, load('x x', '=chunk')):find '^chunk:1:')\n"
        "assert(collectgarbage 'count' > 0 and not pcall(collectgarbage) and not "
        "pcall(collectgarbage, 'stop'))\n"
        "assert(os.time { year = 1970, month = 1, day = 2, hour = 0 } == 86400)\n"
        "assert(os.date('!%Y-%m-%d', 86400) == '1970-01-02' and os.date('*t', 0).year == 1970)\n"
        "assert(math.abs(os.time() - core.now()) < 5 and os.clock() > 0)\n"
        "assert(debug.traceback('here'):find '^here\\nstack traceback:')\n"
        "local big = 1LL\n" // puts the FFI into the registry, and nowhere else
        "assert(core.library 'ffi' == nil and rawget(_G, 'ffi') == nil)\n"
        "assert(core.library 'mica.extra' and core.library '../x' == nil and core.library 'a..b' "
        "== nil)\n"
        "local word, given = core.library('mica.extra')(core)\n"
        "assert(word == 'extra' and given == core)\n"
        "assert(core.file 'main.lua' and core.file 'other.lua' == nil)\n"
        "assert(core.compile('return 1', '@x.lua')() == 1 and core.compile('\\27LJ', '@x') == "
        "nil)\n"
        "assert(select(2, core.compile('x x', '@x.lua')):find '^x.lua:1:')\n"
        "print('from', 'main')\n"
        "return {}");
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unary),
        cmocka_unit_test(test_unary_json),
        cmocka_unit_test(test_another_pool),
        cmocka_unit_test(test_wrong_requests),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_ctx),
        cmocka_unit_test(test_spawn_park_wake),
        cmocka_unit_test(test_failing_tasks),
        cmocka_unit_test(test_tasks_end_with_their_request),
        cmocka_unit_test(test_cancel_and_deadline_of_a_task),
        cmocka_unit_test(test_own_coroutines),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_defers),
        cmocka_unit_test(test_defers_in_order),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_cancel_all_and_delete),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_every_memory_limit),
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_hooks_that_fail),
        cmocka_unit_test(test_load_faults),
        cmocka_unit_test(test_bare_limits),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_sandbox),
    };
    random_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
