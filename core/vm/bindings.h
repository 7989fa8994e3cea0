// SPDX-License-Identifier: Apache-2.0
// The table `core`: what C gives to the Lua library (lua/mica). Library chunks get it as their first argument; a
// service's code never sees it. All names of the platform that authors use are made in Lua on top of it.
//
// Waiting. A function marked (w) may suspend the running task. Whether it waits or not it returns
//   true, values...                              done
//   false, code, message, id, details            failed: code is "NOT_FOUND" and so on; id (whose error), details (encoded
//                                                google.rpc.Status) or nil
// The library raises the second form as an error. When the request is cancelled or late, or the task was cancelled, every (w)
// function fails at once with CANCELLED or DEADLINE_EXCEEDED, again and again. Called where Lua cannot yield (a sort
// comparator, a gsub callback, module loading) they raise a text that says so. In a bare VM, and while main.lua loads, they
// raise "main.lua declares, handlers act: ...".
// Suspending yields core.TAG as the first value; coroutine.resume and wrap are replaced in Lua so that an author's own
// coroutines pass such yields on.
//
//   Identity      service, version, namespace, release (of Mica): strings; instance: number; bare: boolean; TAG
//   Files         file(path) -> string, nil      of the service's folder
//                 library(name) -> function, nil a chunk of the embedded library ("mica.errors"); call it with core
//                 compile(text, chunkname) -> function | nil, message    text only, never bytecode
//   Tasks         spawn(fn, ...) -> task         a number; runs beside the caller, belongs to the same request
//                 background(fn, ...) -> task    in a request of its own: kind "background", deadline 30 s, same account and
//                                                trace; kept alive by drain; a failure is logged
//                 current() -> task, nil
//                 park() (w)                     until wake; its values
//                 wake(task, ...) -> boolean     false when it was not parked
//                 cancel(task)
//                 sleep(seconds) (w)
//                 fail(error)                    ends the current request with this error value; its tasks are cancelled
//                 deadline(seconds, fn, ...) (w) runs fn in the current task with a nearer deadline for its waits: results
//   Requests      context() -> ctx, nil          of the running task
//                 ctx(ctx, key) -> value         service endpoint kind version instance id trace peer namespace caller
//                                                account (decoded mica.core.v1.Account or nil) deadline (unix seconds or nil)
//                                                remaining (seconds or nil) cancelled
//                 metadata(ctx, key) -> string, nil; metadata_all(ctx, key) -> list; metadata_keys(ctx) -> list, sorted
//                 set_header(ctx, k, v), set_trailer(ctx, k, v)    raise on a key that is not allowed, or when too late
//                 defer(ctx, fn)                 fn() runs when the request has ended, last first, with 5 s of its own
//   Calls         resolve(service, endpoint, version or nil) -> target, shape | nil, code, message
//                                                target: a number, good until the service changes; shape "unary" "server"
//                                                "client" "bidi"
//                 native(capability, method) -> target, shape | nil, code, message
//                 dial(address, path) -> target  JSON bodies as strings, both ways (the CLI's way to call)
//                 call(target, request, options) (w) -> response      options: timeout (seconds), namespace (dialled targets only), metadata (table of strings or
//                                                lists of strings), as_service (boolean), nil. For dialled targets the response is
//                                                JSON text
//                 open(target, request or nil, options) (w) -> stream
//   Streams       send(stream, message) (w)      also the third argument of handlers (second where the client streams)
//                 recv(stream) (w) -> message or nil at the end
//                 close_send(stream), cancel_stream(stream)
//                 header(stream) (w) -> table, trailer(stream) -> table
//   Contract      contract() -> list of { name, full_name, comment, methods = list of { name, index, path, comment,
//                                                client_streaming, server_streaming, input, output, idempotency } }
//                 fields(type) -> list of { name, json_name, number, type ("string", "message", "enum"...), repeated, map,
//                                                presence, oneof (name or nil), message (full name or nil), enum, comment },
//                                                nil for an unknown type
//                 enum_values(enum) -> list of names, nil
//   Proto         encode(type, t) -> bytes; decode(type, bytes) -> t; json(type, t, options) -> string;
//                 from_json(type, s) -> t; new(type, t or nil) -> message; complete(message) -> message;
//                 type(message) -> name or nil          all raise texts for people; types of the service's own contract, and
//                                                of the platform's for names beginning with "mica." or "google."
//                 proto                          the table of pb_lua_open: int64 compare null array is_array unknown
//                                                json_encode json_decode
//   Time          now() -> unix seconds with fraction; monotonic() -> seconds; format_time(seconds, strftime) -> string (UTC)
//   Random        random(n) -> n random bytes
//   Crypto        sha256(s) -> bytes; hmac(key, s) -> bytes (SHA-256); equal(a, b) -> boolean, constant time;
//                 hex unhex base64 unbase64      unhex and unbase64 return nil for what they cannot read
//   Log           log(level, text, fields or nil)   level "trace" .. "error"; fields: table of plain values
//   Metrics       metric(kind, name, value, tags or nil)  kind "count" "gauge" "timing"; tags: table of strings
//   Error pages   error_mt                       set by the library: core.error_mt = metatable of error values
//
// The library sets, while it is loaded, what C calls back:
//   core.on_error(err, traceback) -> code, message, id, details    for any value that was raised; a bug is INTERNAL with the
//                                                message "internal error" and has been logged
//   core.definition(value) -> table                              checks what main.lua returned (raises a text for people) and
//                                                gives { handlers = { [method.index] = function }, deadlines = { [method.index]
//                                                = seconds }, limits = {...}, on_start =, on_stop =, describe = function() ->
//                                                encoded mica.core.v1.Definition }
// Handlers are called handler(ctx, request) | (ctx, request, stream) | (ctx, stream) by the kind of method.
#pragma once

#include <lua.h>

struct vm;

// Pushes the table; once, when the VM is made.
void bindings_push(struct vm *vm, lua_State *L);
