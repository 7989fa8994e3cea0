-- The library's types, made of the annotations in lua/mica by spec/e2e/library_types.py.

return {
  ["mica.lua"] = [==[
---@meta

---@class mica
---@field errors mica.errors
---@field client mica.client
---@field log mica.log
---@field json mica.json
---@field time mica.time
---@field id mica.id
---@field proto mica.proto
---@field crypto mica.crypto
---@field metrics mica.metrics
---@field web mica.web
---@field version string of Mica itself
---@field null userdata the value of JSON null
---@field secret table in `config`: a value that is set by whoever runs the service, and kept secret
---@field service fun(def: mica.Definition): mica.Service
---@field context fun(): mica.Context?
---@field try fun(fn: function, ...): any ...
---@field spawn fun(fn: function, ...): mica.Task
---@field all fun(fns: table<any, function>): table
---@field race fun(fns: table<any, function>): any, any
---@field timeout fun(d: mica.Duration, fn: function, ...): any ...
---@field sleep fun(d: mica.Duration)
---@field after fun(d: mica.Duration, fn: function, ...): mica.Task
---@field every fun(d: mica.Duration, fn: function, ...): mica.Task
---@field background fun(fn: function, ...): mica.Task
---@field channel fun(capacity?: integer): mica.Channel
---@field sorted fun(t: table): fun(): any, any
---@field native fun(capability: string): table
---@field required fun(kind: string): table

---@alias mica.Duration number|string seconds, or "250ms", "2s", "1h30m", "7d"

---@class mica.Definition what main.lua declares
---@field name? string
---@field handlers? table<string, table<string, function>>
---@field http? table<string, mica.web.Handler> by "GET /{id}"
---@field public? true|string[]
---@field endpoints? table<string, table>
---@field uses? table
---@field json? { names?: "camel", defaults?: boolean, int64?: "number" }
---@field limits? table
---@field wrap? (fun(ctx: mica.Context, req: table?, next: function): any)[]
---@field on_start? fun(ctx: mica.Context)
---@field on_stop? fun(ctx: mica.Context)

---@class mica.Service

---@class mica
---@field int64 fun(x: number|string|mica.int64): mica.int64

---@class mica.int64 a whole number beyond 2^53
---@operator add(integer|mica.int64): mica.int64
---@operator sub(integer|mica.int64): mica.int64
---@operator mul(integer|mica.int64): mica.int64
---@operator div(integer|mica.int64): mica.int64
---@operator mod(integer|mica.int64): mica.int64
---@operator unm: mica.int64

---@type mica
local mica = {}

return mica
]==],
  ["mica/client.lua"] = [==[
---@meta

---@class mica.client
---@overload fun(service: string, group?: string): table<string, function>
local M = {}

---@class mica.CallOptions
---@field timeout? mica.Duration
---@field retries? integer 2: again when the service is UNAVAILABLE and the call did not begin, or may be repeated
---@field metadata? table<string, string|string[]>
---@field version? string
---@field as? "service" leave the user's account behind
---@field compress? boolean what is sent, where it leaves this server
---@field wait? true|mica.Duration for an instance when none runs, for a server that cannot be reached
---@field info? table of a unary call: gets `header` and `trailer`, the response metadata, also when the call fails

--- A stub for one of the core's own services; the service needs the capability.
---@param capability string
---@return table<string, function>
function M.native(capability) end

--- A call of a unary method by names known at run time.
---@param service string
---@param name string "Posts.Read"
---@param request? table
---@param opts? mica.CallOptions
---@return table
function M.call(service, name, request, opts) end

--- Opens a stream by names known at run time. `request` is left out where the method takes a stream.
---@param service string
---@param name string
---@param request? table
---@param opts? mica.CallOptions
---@return mica.Stream
function M.stream(service, name, request, opts) end

---@class mica.DialOptions
---@field proto? string the server's proto service ("weather.Weather"), or the file in proto/ that holds it
---@field json? true instead of a contract: messages are JSON texts
---@field metadata? table<string, string|string[]> of all calls
---@field namespace? string of another Mica
---@field tls? true|mica.DialTls

---@class mica.DialTls how the server is known, and who calls; PEM texts
---@field ca? string who vouches for the server; default: those whom the system trusts
---@field cert? string the caller's certificate, with its chain
---@field key? string its private key
---@field name? string whom the server's certificate must be for; default: the address's host

--- gRPC servers elsewhere; the addresses stand in uses.dial. With `proto` it gives a stub, as mica.client does.
---@param addresses string|string[] "weather:50051"; calls are spread over several
---@param opts mica.DialOptions
---@return table<string, function>|mica.Dialled
function M.dial(addresses, opts) end

return M
]==],
  ["mica/context.lua"] = [==[
---@meta

---@class mica.Context
---@field service string
---@field endpoint string "Posts.Save"
---@field kind "rpc"|"http"|"event"|"schedule"|"start"|"stop"|"background"
---@field version string
---@field instance integer
---@field id string the request id: in every error and log line
---@field trace string W3C trace id
---@field peer string? address at the front door
---@field namespace string
---@field caller string? the service that called; nil at the front door
---@field account { id: string, name: string, type: string, issuer: string, scopes: string[], metadata: table }?
---@field tenant string? "issuer/owner" of the account
---@field deadline number? unix seconds
---@field compressed boolean the request's message came compressed
---@field metadata table<string, string> request metadata by lower-case key
---@field values table yours, for this request
local Context = {}

--- Seconds until the deadline; nil when there is none.
---@return number?
function Context:remaining() end

--- Is the caller gone, or the deadline past?
---@return boolean
function Context:cancelled() end

--- All values of a repeated metadata key.
---@param key string
---@return string[]
function Context:metadata_all(key) end

--- The account, when there is one (and it has the scope); raises UNAUTHENTICATED or PERMISSION_DENIED otherwise.
---@param scope? string
function Context:authorize(scope) end

--- Response metadata, before the first message.
---@param key string
---@param value string
function Context:set_header(key, value) end

--- Response metadata at the end.
---@param key string
---@param value string
function Context:set_trailer(key, value) end

--- Are the messages of the answer compressed from now on? Only where the caller accepts it. The first time before the first
--- message; later it goes on and off.
---@param on boolean
function Context:compress(on) end

--- Runs fn when the request ends, however it does; the last one first, with 5 seconds of its own.
---@param fn function
function Context:defer(fn, ...) end

return Context
]==],
  ["mica/crypto.lua"] = [==[
---@meta

---@class mica.crypto
local crypto = {}

--- Random bytes, fit for secrets.
---@param n integer
---@return string
function crypto.random(n) end

---@param s string
---@return string bytes
function crypto.sha256(s) end

--- HMAC with SHA-256.
---@param key string
---@param s string
---@return string bytes
function crypto.hmac(key, s) end

--- Compares secrets in a time that does not depend on where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end

--- A password as argon2id text; takes its time, elsewhere.
---@param password string
---@return string
function crypto.hash_password(password) end

---@param password string
---@param hash string made by hash_password
---@return boolean
function crypto.check_password(password, hash) end

return crypto
]==],
  ["mica/dial.lua"] = [==[
---@meta

---@class mica.Dialled a gRPC server at an address; requests and answers are JSON texts
local Dialled = {}

--- A unary call.
---@param path string "/posts.Posts/Read"
---@param json string
---@param opts? mica.CallOptions
---@return string
function Dialled:call(path, json, opts) end

--- Opens a stream; the messages are JSON texts. `json` is nil where the method takes a stream. With `kind` ("unary",
--- "server", "client", "bidi") it may be a call of any kind, also one that answers once or never.
---@param path string
---@param json? string
---@param opts? mica.CallOptions
---@return mica.Stream
function Dialled:stream(path, json, opts) end
]==],
  ["mica/errors.lua"] = [==[
---@meta

---@class mica.errors
---@field cancelled fun(fmt: string, ...): mica.Error
---@field unknown fun(fmt: string, ...): mica.Error
---@field invalid_argument fun(fmt: string, ...): mica.Error
---@field deadline_exceeded fun(fmt: string, ...): mica.Error
---@field not_found fun(fmt: string, ...): mica.Error
---@field already_exists fun(fmt: string, ...): mica.Error
---@field permission_denied fun(fmt: string, ...): mica.Error
---@field resource_exhausted fun(fmt: string, ...): mica.Error
---@field failed_precondition fun(fmt: string, ...): mica.Error
---@field aborted fun(fmt: string, ...): mica.Error
---@field out_of_range fun(fmt: string, ...): mica.Error
---@field unimplemented fun(fmt: string, ...): mica.Error
---@field internal fun(fmt: string, ...): mica.Error
---@field unavailable fun(fmt: string, ...): mica.Error
---@field data_loss fun(fmt: string, ...): mica.Error
---@field unauthenticated fun(fmt: string, ...): mica.Error
local errors = {}

---@class mica.Error
---@field code string "NOT_FOUND"
---@field message string
---@field id string? whose error it is: "posts.Posts.Read"
---@field http integer the HTTP status at the gateway
---@field details table[] google.rpc messages
---@field reason string? of the google.rpc.ErrorInfo among the details
---@field retry_after number? seconds, of the google.rpc.RetryInfo among the details

--- An error with a code that is known at run time, and details.
---@param code string "NOT_FOUND"
---@param message string
---@param details? table[] messages made by mica.proto.new, or tables with their type under "@type"
---@return mica.Error
function errors.new(code, message, details) end

--- INVALID_ARGUMENT that names the faulty fields: errors.invalid_fields { title = "is required" }.
---@param fields table<string, string>
---@return mica.Error
function errors.invalid_fields(fields) end

--- Is it an error with a code, or with this one?
---@param e any
---@param code? string
---@return boolean
function errors.is(e, code) end

--- Calls fn: its results, or `nil, err` for an error with a code. Bugs and the end of the own request pass through.
---@param fn function
---@return any ...
function errors.try(fn, ...) end

return errors
]==],
  ["mica/id.lua"] = [==[
---@meta

---@class mica.id
local id = {}

--- A random UUID (version 4).
---@return string
function id:uuid() end

--- A UUID whose text sorts by the time it was made (version 7).
---@return string
function id:sortable() end

--- A short random name of small letters and digits, 5 bits a character.
---@param n? integer default 12
---@return string
function id.short(n) end

return id
]==],
  ["mica/json.lua"] = [==[
---@meta

---@class mica.json
local json = {}

--- Keys are sorted, so that equal values are equal texts.
---@param value any
---@param opts? { pretty?: boolean }
---@return string
function json.encode(value, opts) end

--- null becomes mica.null; lists are marked, so that an empty one stays a list. A text that is no JSON is INVALID_ARGUMENT.
---@param text string
---@return any
function json.decode(text) end

--- Marks a table as a list, so that an empty one is written as [].
---@param t? table
---@return table
function json.array(t) end

return json
]==],
  ["mica/log.lua"] = [==[
---@meta

---@class mica.log
---@field trace fun(text: string, fields?: table)
---@field debug fun(text: string, fields?: table)
---@field info fun(text: string, fields?: table)
---@field warn fun(text: string, fields?: table)
---@field error fun(text: string, fields?: table)
local log = {}

--- A logger that adds these fields to every line.
---@param fields table
---@return mica.log
function log.with(fields) end

return log
]==],
  ["mica/metrics.lua"] = [==[
---@meta

---@class mica.metrics
local metrics = {}

--- Adds to a counter; it is shown as NAME_total.
---@param name string
---@param n? number default 1
---@param tags? table<string, any>
function metrics.count(name, n, tags) end

--- Sets a value that rises and falls.
---@param name string
---@param value number
---@param tags? table<string, any>
function metrics.gauge(name, value, tags) end

--- Observes how long something took, in a histogram; it is shown as NAME_seconds.
---@param name string
---@param seconds number
---@param tags? table<string, any>
function metrics.timing(name, seconds, tags) end

return metrics
]==],
  ["mica/proto.lua"] = [==[
---@meta

---@class mica.proto
---@field unknown any the key under which a message keeps fields that its contract lacks
local proto = {}

--- The wire form.
---@param name string
---@param t table
---@return string
function proto.encode(name, t) end

---@param name string
---@param bytes string
---@return table
function proto.decode(name, bytes) end

--- The JSON form.
---@param name string
---@param t table
---@param opts? { names?: "camel", defaults?: boolean, int64?: "number", pretty?: boolean }
---@return string
function proto.json(name, t, opts) end

---@param name string
---@param text string
---@return table
function proto.from_json(name, text) end

--- A message, as a handler gets it: checked, and strict when it is read.
---@param name string
---@param t? table
---@return table
function proto.new(name, t) end

--- Fills in every field that is not set, so that `pairs` visits all.
---@param message table
---@return table
function proto.complete(message) end

--- The name of a message's type; nil for what is no message.
---@param message any
---@return string?
function proto.type(message) end

--- The names of an enum's values, as declared; nil for an unknown enum.
---@param enum string
---@return string[]?
function proto.values(enum) end

--- A google.protobuf.Any of a message; `name` is needed for a plain table.
---@param message table
---@param name? string
---@return { type_url: string, value: string }
function proto.pack(message, name) end

--- The message in a google.protobuf.Any.
---@param any { type_url: string, value: string }
---@return table
function proto.unpack(any) end

return proto
]==],
  ["mica/stream.lua"] = [==[
---@meta

---@class mica.Stream
local Stream = {}

--- Sends a message; waits while the other side's window is full. CANCELLED when it has gone.
---@param message table
---@param opts? { compress?: boolean } of this message; else as ctx:compress, or the call's options, say
function Stream:send(message, opts) end

--- Did the message that was received last come compressed?
---@return boolean
function Stream:compressed() end

--- The next message; nil when the other side has finished.
---@return table?
function Stream:recv() end

--- Iterates over what is received: for message in stream:messages() do ... end
---@return fun(): table?
function Stream:messages() end

--- No more messages from this side.
function Stream:close_send() end

--- Breaks the call off.
function Stream:cancel() end

--- The leading response metadata; waits for it.
---@return table<string, string|string[]>
function Stream:header() end

--- The trailing response metadata; waits for the end of the stream.
---@return table<string, string|string[]>
function Stream:trailer() end
]==],
  ["mica/task.lua"] = [==[
---@meta

---@class mica.Task
local Task = {}

--- Waits for the end of the task: its results, or its error raised here.
---@return any ...
function Task:join() end

--- Ends the task with CANCELLED at its next wait.
function Task:cancel() end

---@class mica.Channel
local Channel = {}

--- Sends a value; waits while the channel is full.
---@param value any not nil
function Channel:send(value) end

--- The next value; nil when the channel is closed and empty.
---@return any
function Channel:recv() end

--- Iterates over what is received until the channel is closed.
---@return fun(): any
function Channel:messages() end

--- No more values: receivers get what is left, then nil, or `err` raised.
---@param err? any
function Channel:close(err) end
]==],
  ["mica/time.lua"] = [==[
---@meta

---@class mica.time
local time = {}

--- Seconds since 1970, with a fraction.
---@return number
function time.now() end

--- Whole seconds since 1970.
---@return integer
function time:unix() end

--- Reads RFC 3339 ("2026-11-22T10:00:00Z", "2026-11-22"); raises INVALID_ARGUMENT for anything else.
---@param text string
---@return number
function time.parse(text) end

--- Seconds of a Timestamp or Duration ({ seconds, nanos }), of a number, of RFC 3339 text, or of a duration such as "2s".
---@param x any
---@return number
function time.seconds(x) end

--- Writes a time: "rfc3339", or a format of strftime.
---@param t number
---@param layout? string default "rfc3339"
---@param zone? string "UTC", or a fixed offset such as "+02:00"
---@return string
function time.format(t, layout, zone) end

return time
]==],
  ["mica/web.lua"] = [==[
---@meta

---@class mica.web.Request
---@field method string "GET"
---@field path string cleaned and decoded, below `base`; it begins with "/"
---@field url string path and query as the client wrote them
---@field base string where the service is mounted: "/site"; links begin with it
---@field params table<string, string> the variables of the key: {id} is params.id
---@field query table<string, string> the first value of each name
---@field headers table<string, string> by lower-case name; several of a name are joined by ", "
---@field cookies table<string, string>
---@field host string
---@field scheme "http"|"https"
---@field text fun(req: mica.web.Request): string the body as it came
---@field json fun(req: mica.web.Request): any the body as JSON
--- the fields of a form, and its files: the first of each name
---@field form fun(req: mica.web.Request): table<string, string>, table<string, mica.web.File>
---@field form_all fun(req: mica.web.Request, name: string): (string|mica.web.File)[] all of a name, in order
---@field query_all fun(req: mica.web.Request, name: string): string[] all values of a name, in order
---@field chunks fun(req: mica.web.Request): fun(): string? the body in pieces, as they come
---@field parts fun(req: mica.web.Request): fun(): mica.web.Part? the parts of a multipart body, as they come

---@class mica.web.File
---@field name string the file's name as the client says it: never a path to write to
---@field type string
---@field content string

---@class mica.web.Part
---@field field string the name of the form's field
---@field name string? of a file
---@field type string
---@field text fun(part: mica.web.Part): string
---@field chunks fun(part: mica.web.Part): fun(): string?

---@class mica.web.Answer
---@field status? integer default 200
---@field headers? table<string, string|number|string[]>
---@field body? string|(fun(): string?)|mica.web.Body a text, or an iterator whose pieces are sent as they come

---@class mica.web.CookieOptions
---@field path? string default: where the service is mounted
---@field domain? string
---@field max_age? mica.Duration without it, until the browser is closed
---@field secure? boolean only over TLS; default: as the request came
---@field http_only? boolean scripts cannot read it; default true
---@field same_site? "Lax"|"Strict"|"None" default "Lax"

---@class mica.web.Body a file
---@alias mica.web.Handler fun(ctx: mica.Context, req: mica.web.Request): mica.web.Answer|string|nil

---@class mica.web
local web = {}

--- A page. Text from elsewhere belongs through web.escape.
---@param text string
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.html(text, status, headers) end

---@param text string
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.text(text, status, headers) end

---@param value any
---@param status? integer
---@param headers? table
---@return mica.web.Answer
function web.json(value, status, headers) end

--- Sends the client elsewhere: a path of this server (begin it with req.base), or a URL.
---@param to string
---@param status? integer 301, 302 (the default), 303, 307 or 308
---@param headers? table
---@return mica.web.Answer
function web.redirect(to, status, headers) end

--- Text for HTML, between tags and in quoted attributes.
---@param text any
---@return string
function web.escape(text) end

--- The value of a set-cookie header. By default scripts cannot read the cookie, other sites' forms do not send it, it is for
--- this service only, and where the request came over TLS it never goes out without. A value of nil removes the cookie.
---@param name string
---@param value string?
---@param opts? mica.web.CookieOptions
---@return string
function web.cookie(name, value, opts) end

--- A file of the service's folder public/: web.file "public/logo.png". NOT_FOUND when there is none.
---@param path string
---@param headers? table
---@return mica.web.Answer
function web.file(path, headers) end

--- A handler for the files below public/, or below a folder in it; its key ends in a variable for the rest:
--- ["GET /static/*path"] = web.files "public".
---@param folder? string default "public"
---@param opts? { index?: string|false, max_age?: mica.Duration, missing?: mica.web.Handler }
---@return mica.web.Handler
function web.files(folder, opts) end

return web
]==],
}
