// SPDX-License-Identifier: Apache-2.0
// Raw HTTP: requests for the functions that main.lua declares under `http`, and core.web() for their answers.
//
// Such a request names no method. Its context's metadata holds the request's headers, and before them, under keys that no
// header can have, what the request line said:
//
//   :handler   the key of the function as the author wrote it, "GET /{id}"
//   :method    "GET" (of a HEAD for a GET handler: "HEAD")      :url     path and query as received
//   :path      cleaned and decoded, below the base              :base    where the service is mounted, "/posts"
//   :host      Host or :authority                               :scheme  "https" or "http"
//   :param     "name=value", for each variable of the path
//
// A short body comes whole, in the REQUEST, any other as ITEMs, then END (`streams` of the REQUEST). The answer's head is ":status" and headers, as leading metadata; its body is
// bytes: the RESPONSE's body, or ITEMs. For a file the body is the source's own blob, which is not copied, and ":piece" in
// the head (u64 from, u64 n, then a text that goes before) says which parts of it are sent; none: all of it.
//
// Whoever answers (lua/mica/web_serve.lua) says the head once, with the body or before it.
#include "base/clock.h"
#include "msg/metadata.h"
#include "vm/vm_internal.h"

#include <stdio.h>

#define HEADERS_MOST 60 // of an answer: what rpc/headers.h holds, less its own
#define HEADER_BYTES (16 * 1024)
#define PIECES_MOST 16
#define DEFAULT_BODY ((size_t)100 << 20)
#define MEMORY_SHARE 4 // of a VM's memory: one body that is read as a whole may be a quarter

struct str web_handler(const struct message *m) {
    struct str key = {NULL, 0};
    if (m->method == NULL && m->context != NULL)
        metadata_get(m->context->metadata, str_of(":handler"), &key);
    return key;
}

int64_t web_deadline(const struct vm *vm, const struct message *m, int64_t now) {
    int64_t own = now + (int64_t)(vm->config.limits.deadline * NS_PER_SECOND);
    int64_t given = m->context->deadline;
    return given != 0 && given < own ? given : own;
}

void web_begin(struct vm *vm, lua_State *L, struct request *r, const struct blob *body,
               struct err *err) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->http);
    if (lua_istable(L, -1)) {
        bind_push_str(L, r->handler);
        lua_rawget(L, -2);
    }
    if (!lua_isfunction(L, -1)) {
        err_set(err, STATUS_UNIMPLEMENTED, "service %s has no handler for %.*s", vm->config.service,
                (int)(r->handler.n < 200 ? r->handler.n : 200), r->handler.p);
        return;
    }
    request_push_ctx(vm, L, r);
    if (body != NULL) {
        bind_push_str(L, blob_str(body));
    } else {
        lua_pushnil(L);
    }
    if (r->stream != NULL) {
        handle_push(L, &r->stream->handle, vm->stream_mt);
    } else {
        lua_pushnil(L);
    }
    r->main = task_new(vm, L, r, ROLE_MAIN, 3);
}

bool web_encode(struct vm *vm, struct request *r) {
    if (!r->answer_said) return false;
    vm->outcome.body = r->answer;
    r->answer = NULL;
    return true;
}

// ---- the head of an answer

static bool name_sound(struct str name) {
    static const char OTHERS[] = "!#$%&'*+-.^_`|~"; // RFC 9110 section 5.6.2
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  (c != '\0' && strchr(OTHERS, c) != NULL);
        if (!ok) return false;
    }
    return name.n > 0 && name.n <= 256;
}

static bool value_sound(struct str value) {
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F) return false;
    }
    return true;
}

// The name and value at `index` and behind it in the list; raises when they cannot be sent.
static void check_header(lua_State *L, int index, struct str *name, struct str *value) {
    lua_rawgeti(L, 3, index);
    lua_rawgeti(L, 3, index + 1);
    *name = bind_str(L, -2);
    *value = bind_str(L, -1);
    lua_pop(L, 2); // the list keeps them
    if (!name_sound(*name))
        luaL_error(L, "\"%s\" is no name of a header: lower-case letters, digits and '-'", name->p);
    if (!value_sound(*value))
        luaL_error(L, "the header \"%s\" holds a line break or another control character", name->p);
}

static struct request *answering(struct vm *vm, lua_State *L) {
    struct request *r = handle_check(vm, L, 1, HANDLE_REQUEST, "ctx");
    if (r == NULL || r->handler.n == 0 || r->kind != REQUEST_RPC)
        luaL_error(L, "only a request over HTTP is answered so");
    else if (r->answer_said)
        luaL_error(L, "the request is answered already");
    return r;
}

// core.web().X(ctx, status, { name, value, name, value }, ...): the head to r->headers, once all of it is known to be good.
static struct request *take_head(struct vm *vm, lua_State *L) {
    struct request *r = answering(vm, L);
    int status = luaL_checkint(L, 2);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (status < 200 || status > 599)
        luaL_error(L, "%d is no status of an answer: 200 to 599", status);
    int count = (int)lua_objlen(L, 3);
    if (count % 2 != 0) luaL_error(L, "headers are pairs of a name and a value");
    if (count > 2 * HEADERS_MOST)
        luaL_error(L, "an answer has at most %d headers, not %d", HEADERS_MOST, count / 2);
    struct str name, value;
    size_t bytes = 0;
    for (int i = 1; i < count; i += 2) {
        check_header(L, i, &name, &value);
        bytes += name.n + value.n;
    }
    if (bytes > HEADER_BYTES)
        luaL_error(L, "the headers of an answer have at most %d bytes together", HEADER_BYTES);
    char text[8];
    snprintf(text, sizeof text, "%d", status);
    metadata_add(&r->headers, str_of(":status"), str_of(text));
    for (int i = 1; i < count; i += 2) {
        check_header(L, i, &name, &value);
        metadata_add(&r->headers, name, value);
    }
    r->answer_said = true;
    return r;
}

// ---- core.web()

// answer(ctx, status, headers, body or nil)
static int answer(lua_State *L) {
    struct vm *vm = bind_vm(L);
    lua_settop(L, 4);
    if (lua_isnil(L, 4)) {
        take_head(vm, L);
        return 0;
    }
    struct str body = bind_str(L, 4);
    struct blob *bytes = blob_new(body.p, body.n);
    if (bytes == NULL) return luaL_error(L, "not enough memory");
    vm->outcome.body = bytes; // there it is not lost when the next line raises
    struct request *r = take_head(vm, L);
    vm->outcome.body = NULL;
    r->answer = bytes;
    return 0;
}

static const struct source_file *public_file(struct vm *vm, struct str path) {
    return str_starts(path, "public/") ? source_file(vm->config.source, path) : NULL;
}

static double piece_number(lua_State *L, int index, double most) {
    lua_rawgeti(L, 5, index);
    double n = luaL_checknumber(L, -1);
    lua_pop(L, 1);
    if (!(n >= 0 && n <= most)) luaL_error(L, "a piece lies outside of its file");
    return n;
}

// { text, from, n, ... }
static void take_pieces(lua_State *L, struct request *r, const struct blob *content) {
    int count = (int)lua_objlen(L, 5);
    if (count % 3 != 0 || count > 3 * PIECES_MOST) luaL_error(L, "pieces are texts and ranges");
    for (int i = 1; i <= count; i += 3) {
        double from = piece_number(L, i + 1, (double)content->n);
        uint64_t range[2] = {(uint64_t)from,
                             (uint64_t)piece_number(L, i + 2, (double)content->n - from)};
        struct buf value = {0};
        lua_rawgeti(L, 5, i);
        struct str text = bind_str(L, -1);
        buf_append(&value, range, sizeof range);
        buf_append_str(&value, text);
        metadata_add(&r->headers, str_of(":piece"), buf_str(&value));
        bool failed = value.failed;
        buf_free(&value);
        if (failed) luaL_error(L, "not enough memory");
        lua_pop(L, 1);
    }
}

// answer_file(ctx, status, headers, path, pieces or nil)
static int answer_file(lua_State *L) {
    struct vm *vm = bind_vm(L);
    lua_settop(L, 5);
    const struct source_file *file = public_file(vm, bind_str(L, 4));
    if (file == NULL) return luaL_error(L, "no file %s", lua_tostring(L, 4));
    struct request *r = take_head(vm, L);
    if (!lua_isnil(L, 5)) take_pieces(L, r, file->content);
    r->answer = blob_hold(file->content);
    return 0;
}

// answer_stream(ctx, status, headers): what core.send(stream, bytes) is given is the body. The head goes out now, and from here
// on the request has no deadline.
static int answer_stream(lua_State *L) {
    struct vm *vm = bind_vm(L);
    struct request *r = take_head(vm, L);
    if (r->stream == NULL) {
        r->stream = stream_new(vm, r, NULL);
        if (r->stream == NULL) return luaL_error(L, "not enough memory");
        r->stream->in_end = true;
    }
    vm_timer_clear(vm, &r->timer);
    r->deadline = 0;
    if (!r->answered) request_send_headers(vm, r);
    handle_push(L, &r->stream->handle, vm->stream_mt);
    return 1;
}

// file(path): its size and its tag, the same for the same content; nothing when there is none.
static int file(lua_State *L) {
    const struct source_file *f = public_file(bind_vm(L), bind_str(L, 1));
    if (f == NULL) return 0;
    lua_pushnumber(L, (double)f->content->n);
    lua_pushstring(L, f->tag);
    return 2;
}

// web(): the table of these functions, and body_most: bytes of a body that is read as a whole.
int bind_web(lua_State *L) {
    static const luaL_Reg FUNCTIONS[] = {{"answer", answer},
                                         {"answer_file", answer_file},
                                         {"answer_stream", answer_stream},
                                         {"file", file},
                                         {NULL, NULL}};
    struct vm *vm = bind_vm(L);
    size_t most = vm->config.host->max_body;
    if (most == 0) most = DEFAULT_BODY;
    if (most > vm->config.limits.memory / MEMORY_SHARE)
        most = vm->config.limits.memory / MEMORY_SHARE;
    lua_newtable(L);
    bind_functions(vm, L, FUNCTIONS);
    lua_pushnumber(L, (double)most);
    lua_setfield(L, -2, "body_most");
    return 1;
}
