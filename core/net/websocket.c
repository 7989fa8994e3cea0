// SPDX-License-Identifier: Apache-2.0
// WebSocket frames, with libwslay's frame interface for what comes in.
//
// libwslay asks for bytes by a callback and reads ahead into a buffer of its own, 4 KB a context. Two things follow. A context
// is made when a frame begins and freed when the input ends between two frames: ten thousand idle sockets have none. And
// the callback gives it no byte that is not the frame's (within a head one at a time, since only libwslay knows its length; within
// a payload what is left of it), so that whoever feeds can stop between two messages: that is the back-pressure.
//
// libwslay checks the lengths of frames and that control frames are whole. The rest is checked here: masks, reserved bits,
// opcodes, the order of fragments, the size of messages before memory is taken, UTF-8, close codes. Its event interface would do
// that as well, for 8 KB a connection, and would not stop between messages.
#include "net/websocket.h"

#include "base/encode.h"

#include <openssl/sha.h>
#include <wslay/wslay.h>

#define CONTINUATION 0
#define CONTROL_BIT 8
#define KEY_BYTES 16
#define KEY_TEXT 24

void websocket_create(struct websocket *w, size_t max) { *w = (struct websocket){.max = max}; }

static void let_go(struct websocket *w) {
    if (w->frames != NULL) wslay_frame_context_free(w->frames);
    w->frames = NULL;
}

void websocket_destroy(struct websocket *w) {
    let_go(w);
    buf_free(&w->message);
}

static ssize_t give(uint8_t *to, size_t room, int flags, void *user) {
    struct websocket *w = user;
    (void)flags;
    size_t n = w->in_payload ? w->left : 1;
    if (n > room) n = room;
    if (n > w->from->n) n = w->from->n;
    if (n == 0) return -1;
    w->begun = true;
    memcpy(to, w->from->p, n);
    w->from->p += n;
    w->from->n -= n;
    return (ssize_t)n;
}

static bool begin(struct websocket *w) {
    static const struct wslay_frame_callbacks CALLBACKS = {.recv_callback = give};
    return w->frames != NULL || wslay_frame_context_init(&w->frames, &CALLBACKS, w) == 0;
}

static int fail(struct websocket *w, enum websocket_code code, const char *why) {
    w->fault = why;
    return -(int)code;
}

// ---- frames in

static bool is_control(const struct websocket *w) { return (w->opcode & CONTROL_BIT) != 0; }

static int begin_frame(struct websocket *w, const struct wslay_frame_iocb *f) {
    bool data = f->opcode == WEBSOCKET_TEXT || f->opcode == WEBSOCKET_BINARY;
    w->opcode = f->opcode;
    w->last = f->fin;
    w->left = f->payload_length;
    w->in_payload = true;
    if (!f->mask) return fail(w, WEBSOCKET_BROKEN, "a frame from a client must be masked");
    if (f->rsv != 0) return fail(w, WEBSOCKET_BROKEN, "a reserved bit is set");
    if (f->opcode > WEBSOCKET_PONG || (!data && f->opcode != CONTINUATION && !is_control(w)))
        return fail(w, WEBSOCKET_BROKEN, "the opcode of a frame is not known");
    if (is_control(w)) {
        w->control_n = 0;
        return 0;
    }
    if (data && w->kind != 0)
        return fail(w, WEBSOCKET_BROKEN, "a message begins within another one");
    if (!data && w->kind == 0) return fail(w, WEBSOCKET_BROKEN, "a fragment continues no message");
    if (f->payload_length > w->max || w->message.n > w->max - f->payload_length)
        return fail(w, WEBSOCKET_TOO_BIG, "the message is too long");
    if (data) w->kind = f->opcode;
    if (!f->fin && f->payload_length < WEBSOCKET_CROWDED) w->crumbs++;
    return 0;
}

static int take_payload(struct websocket *w, const struct wslay_frame_iocb *f) {
    w->left -= f->data_length;
    if (f->data_length == 0) return 0;
    if (is_control(w)) { // at most 125 bytes, says libwslay
        memcpy(w->control + w->control_n, f->data, f->data_length);
        w->control_n += (uint8_t)f->data_length;
        return 0;
    }
    buf_append(&w->message, f->data, f->data_length);
    return w->message.failed ? fail(w, WEBSOCKET_TOO_BIG, "no memory for the message") : 0;
}

bool websocket_code_valid(unsigned code) {
    bool known = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
    return known || (code >= 3000 && code <= 4999);
}

static int end_control(struct websocket *w, struct websocket_message *out) {
    *out = (struct websocket_message){.kind = w->opcode, .control = {w->control, w->control_n}};
    if (w->opcode != WEBSOCKET_CLOSE) return 1;
    out->code = WEBSOCKET_NO_CODE;
    if (w->control_n == 0) return 1;
    const unsigned char *p = (const unsigned char *)w->control;
    if (w->control_n == 1) return fail(w, WEBSOCKET_BROKEN, "a close frame has half a code");
    out->code = (unsigned)p[0] << 8 | p[1];
    out->control = (struct str){w->control + 2, w->control_n - 2};
    if (!websocket_code_valid(out->code))
        return fail(w, WEBSOCKET_BROKEN, "a close frame has a code that may not be sent");
    if (!utf8_valid(out->control))
        return fail(w, WEBSOCKET_BROKEN_TEXT, "the reason of a close frame is no UTF-8");
    return 1;
}

static int end_message(struct websocket *w, struct websocket_message *out) {
    if (w->kind == WEBSOCKET_TEXT && !utf8_valid(buf_str(&w->message)))
        return fail(w, WEBSOCKET_BROKEN_TEXT, "a text message is no UTF-8");
    *out = (struct websocket_message){.kind = w->kind, .body = buf_take(&w->message)};
    w->kind = 0;
    return out->body == NULL ? fail(w, WEBSOCKET_TOO_BIG, "no memory for the message") : 1;
}

static int end_frame(struct websocket *w, struct websocket_message *out) {
    w->in_payload = w->begun = false;
    if (is_control(w)) return end_control(w, out);
    return w->last ? end_message(w, out) : 0;
}

// A piece of a frame: 1, 0 or negative as websocket_feed, and it may be that no byte was left for it.
static int step(struct websocket *w, struct websocket_message *out) {
    struct wslay_frame_iocb f = {0};
    ssize_t n = wslay_frame_recv(w->frames, &f);
    if (n == WSLAY_ERR_WANT_READ) return 0;
    if (n < 0) return fail(w, WEBSOCKET_BROKEN, "the head of a frame is malformed");
    int rc = w->in_payload ? 0 : begin_frame(w, &f);
    if (rc == 0) rc = take_payload(w, &f);
    if (rc == 0 && w->left == 0) rc = end_frame(w, out);
    return rc;
}

int websocket_feed(struct websocket *w, struct str *bytes, struct websocket_message *out) {
    int rc = 0;
    w->from = bytes;
    while (bytes->n > 0 && rc == 0) {
        if (!begin(w)) return fail(w, WEBSOCKET_TOO_BIG, "no memory for a frame");
        rc = step(w, out);
    }
    w->from = NULL;
    if (bytes->n == 0 && !w->begun) let_go(w);
    return rc;
}

// ---- frames out

size_t websocket_head(char out[WEBSOCKET_HEAD_MAX], enum websocket_kind kind, size_t n) {
    unsigned char *p = (unsigned char *)out;
    size_t bytes = n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8;
    p[0] = (unsigned char)(0x80 | kind);
    p[1] = (unsigned char)(bytes == 0 ? n : bytes == 2 ? 126 : 127);
    for (size_t i = 0; i < bytes; i++) p[2 + i] = (unsigned char)(n >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

size_t websocket_close(char out[WEBSOCKET_CLOSE_MAX], unsigned code, struct str reason) {
    size_t n = reason.n < WEBSOCKET_CONTROL_MAX - 2 ? reason.n : WEBSOCKET_CONTROL_MAX - 2;
    while (n > 0 && n < reason.n && (reason.p[n] & 0xC0) == 0x80) n--; // not within a character
    size_t head = websocket_head(out, WEBSOCKET_CLOSE, code == WEBSOCKET_NO_CODE ? 0 : n + 2);
    if (code == WEBSOCKET_NO_CODE) return head;
    out[head] = (char)(code >> 8);
    out[head + 1] = (char)code;
    memcpy(out + head + 2, reason.p, n);
    return head + 2 + n;
}

// ---- the handshake

bool websocket_accept(char out[WEBSOCKET_ACCEPT + 1], struct str key) {
    static const char GUID[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // section 1.3
    struct buf bytes = {0};
    bool sound = key.n == KEY_TEXT && base64_decode(&bytes, key) && bytes.n == KEY_BYTES;
    bytes.n = 0;
    char text[KEY_TEXT + sizeof GUID];
    unsigned char digest[SHA_DIGEST_LENGTH];
    if (sound) {
        memcpy(text, key.p, KEY_TEXT);
        memcpy(text + KEY_TEXT, GUID, sizeof GUID - 1);
        SHA1((const unsigned char *)text, sizeof text - 1, digest);
        base64_encode(&bytes, (struct str){(const char *)digest, sizeof digest});
        sound = bytes.n == WEBSOCKET_ACCEPT && !bytes.failed;
        if (sound) memcpy(out, buf_p(&bytes), WEBSOCKET_ACCEPT);
        out[WEBSOCKET_ACCEPT] = '\0';
    }
    buf_free(&bytes);
    return sound;
}
