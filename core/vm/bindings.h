// SPDX-License-Identifier: Apache-2.0
// The table `core`: what C gives to the Lua library (lua/mica). Library chunks get it as their
// first argument; a service's code never sees it. All names of the platform that authors use are
// made in Lua on top of it.
//
// Waiting. A function marked (w) may suspend the running task. Whether it waits or not it returns
//   true, values...                    done
//   false, code, message, id, details  failed: code is "NOT_FOUND" and so on; id (whose error it
//                                      is) and details (an encoded google.rpc.Status) or nil
// The library raises the second form as an error. When the request is cancelled or late, or the
// task was cancelled, every (w) function fails at once with CANCELLED or DEADLINE_EXCEEDED, again
// and again. Called where Lua cannot yield (a sort comparator, a gsub callback, module loading)
// they raise a text that says so; in a bare VM, and while main.lua loads, one that says "main.lua
// declares, handlers act". Suspending yields core.TAG as the first value; coroutine.resume and
// wrap are replaced in Lua so that an author's own coroutines pass such yields on.
//
// clang-format off
// Identity
//   service, version, namespace, release    strings; release: the version of Mica
//   instance, bare, TAG                     a number, a boolean, a light userdata
// Files
//   file(path)                  text of a file in the service's folder, or nil
//   library(name)               a chunk of the embedded library ("mica.errors") or nil; call it with core
//   web()                       a table for answers to raw HTTP requests: answer, answer_file, answer_stream, file (web.c)
//   compile(text, chunkname)    function | nil, message; text only, never bytecode
// Tasks
//   spawn(fn, ...)              a task (number) beside the caller that belongs to the same request
//   background(fn, ...)         a task in a request of its own: kind "background", deadline 30 s, same
//                               account and trace; drain waits for it; a failure is logged
//   current()                   the running task, or nil
//   park() (w)                  until wake; its values
//   wake(task, ...)             false when it was not parked
//   cancel(task)
//   sleep(seconds) (w)
//   fail(error)                 ends the current request with this error; its tasks are cancelled
//   deadline(seconds, fn, ...) (w)   runs fn in the current task with a nearer deadline for its waits
// Requests
//   context()                   the ctx of the running task, or nil
//   ctx(ctx, key)               service endpoint kind version instance id trace peer namespace caller;
//                               account (decoded mica.core.v1.Account or nil); deadline (unix seconds or
//                               nil), remaining (seconds or nil), cancelled, compressed (its message came so)
//   metadata(ctx, key)          the first value or nil; metadata_all(ctx, key): a list;
//                               metadata_keys(ctx): a list, sorted
//   set_header(ctx, k, v), set_trailer(ctx, k, v)   raise on a key that is not allowed, or too late
//   compress(ctx, on)           its messages from now on; raises when the headers went out without it
//   defer(ctx, fn)              fn() runs when the request has ended, last first, within 5 s of its own
// Calls
//   resolve(service, endpoint, version or nil), native(capability, method)
//                               target (a number, good until the service changes), shape ("unary"
//                               "server" "client" "bidi"), repeatable | nil, code, message
//   dial(addresses, path, tls or nil, contract)   as resolve; addresses: "a:1,b:2". Unless `contract` says that
//                               the method is one of the service's own .proto files, bodies are JSON texts, both ways
//   tls({ ca =, cert =, key =, name = })   what dial takes as tls: a text that stands for these settings (PEM and the
//                               server's name; all may be nil)
//   call(target, request, options) (w)        the response. options or nil: timeout (seconds), metadata
//                               (strings or lists of strings), as_service, compress, info (booleans),
//                               namespace and kind ("unary" "server" "client" "bidi"; only of dialled targets).
//                               With info its results are filled up to seven, then come leading and trailing metadata
//   open(target, request or nil, options) (w)   a stream
//   reopen(stream, target, request or nil, options) (w)   begins a stream again that failed with a 6th value;
//                               nothing when it is none that can be
//   A failed call may have two more values behind `details`: "unbegun" (the callee has not begun) or "unseen" (a
//   stream that nothing came from or was sent on), and how long to wait before another attempt: seconds, or false: never
// Streams; also the third argument of handlers (the second where the client streams)
//   send(stream, message, compress or nil) (w)   nil: as all of the call
//   compressed(stream)          did the message that was read last come so?
//   recv(stream) (w)            a message, or nil at the end
//   close_send(stream), cancel_stream(stream)
//   header(stream) (w), trailer(stream) (w)   tables
// Contract
//   contract()                  list of { name, full_name, file, comment, methods = list of { name, index, path,
//                               comment, client_streaming, server_streaming, input, output, idempotency, http (list
//                               of rules), line (of these in the .proto; 0: not known) } }
//   check_http(path, rule)      nil, or what is wrong with { method =, template =, body =, response_body = } (strings)
//                               as a google.api.http rule of the own method "/package.Service/Method"
//   services()                  the same of all proto services that the .proto files know
//   disown(file)                it is another server's contract: contract() leaves it out from now on
//   fields(type)                list of { name, json_name, number, type ("string", "message", "enum" ...),
//                               repeated, map, presence, oneof (name or nil), message (full name or nil),
//                               enum, comment }; nil for an unknown type
//   enum_values(enum)           list of names, or nil
// Proto: types of the service's own contract, and of the platform's for names that begin with "mica." or
// "google."; all raise texts for people
//   encode(type, t), decode(type, bytes), json(type, t, options), from_json(type, s), new(type, t or nil),
//   complete(message), type(message) (name or nil)
//   proto                       the table of pb_lua_open
// Values
//   now(), monotonic()          unix seconds with a fraction; seconds
//   format_time(seconds, strftime)   in UTC
//   random(n)                   n random bytes
//   sha256(s), hmac(key, s)     bytes (HMAC-SHA-256); equal(a, b): in constant time
//   hex, unhex, base64, unbase64   the un- ones return nil for what they cannot read
//   log_wants(level) -> boolean           is a line of it written at all?
//   log(level, text, fields or nil)       level "trace" .. "error"; fields: a table of plain values
//   metric(kind, name, value, tags or nil)   kind "count" "gauge" "timing"; tags: a table of strings
//
// The library sets, while it is loaded, what C calls back or gives to values:
//   error_mt, ctx_mt, stream_mt   metatables
//   on_error(err, traceback)    code, message, id, details, HTTP status (nil: that of the code) for any value that was
//                               raised; a bug is INTERNAL "internal error" and has been logged
//   definition(value)           checks what main.lua returned (raises a text for people) and gives
//                               { handlers = { [method.index] = function }, deadlines = { [method.index] =
//                               seconds }, limits, http = { [key] = function(ctx, body or nil, stream or nil) },
//                               on_start, on_stop, describe = function() -> encoded
//                               mica.core.v1.Definition }
// Handlers are called handler(ctx, request) | (ctx, request, stream) | (ctx, stream) by the kind of method.
// clang-format on
#pragma once

#include <lua.h>

struct vm;

// Pushes the table; once, when the VM is made.
void bindings_push(struct vm *vm, lua_State *L);
