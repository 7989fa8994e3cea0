// SPDX-License-Identifier: Apache-2.0
// Encoding what a service says (metadata, faults) as HTTP headers, and reading it back at the client side.
//
// Room for all encoded values is reserved at the beginning, so that their slices stay where they are. Peers refuse header
// lists over 8 to 16 KB as a whole, and with them the answer: long texts are cut and long details left out.
#include "rpc/headers.h"

#include "base/encode.h"
#include "msg/metadata.h"

#include <stdio.h>

#define TEXT_MAX 2048    // bytes of a message before encoding
#define DETAILS_MAX 4096 // bytes of details before encoding
#define NUMBERS_ROOM 256

static const char *const CODES[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                    "9", "10", "11", "12", "13", "14", "15", "16"};

static size_t fault_room(const struct msg_fault *fault) {
    if (fault == NULL) return 0;
    return 3 * (TEXT_MAX + blob_str(fault->id).n) + 2 * DETAILS_MAX;
}

bool headers_begin(struct headers *h, const struct blob *a, const struct blob *b,
                   const struct msg_fault *fault) {
    h->n = 0;
    h->text.n = 0;
    if (h->text.failed) buf_free(&h->text);
    // A pair has six bytes of lengths in its blob, so twice the blob holds base64 with its padding.
    size_t room = 2 * (blob_str(a).n + blob_str(b).n) + fault_room(fault) + NUMBERS_ROOM;
    return buf_reserve(&h->text, room);
}

void headers_free(struct headers *h) { buf_free(&h->text); }

void headers_add_pair(struct headers *h, struct str name, struct str value) {
    if (h->n < HEADERS_MAX) h->items[h->n++] = (struct http_header){name, value};
}

void headers_add(struct headers *h, const char *name, struct str value) {
    headers_add_pair(h, str_of(name), value);
}

// Adds what was appended to `text` since `from`.
static void add_text(struct headers *h, struct str name, size_t from) {
    headers_add_pair(h, name, (struct str){buf_p(&h->text) + from, h->text.n - from});
}

void headers_add_number(struct headers *h, const char *name, size_t value) {
    char digits[DECIMAL_MAX];
    size_t from = h->text.n;
    buf_append(&h->text, digits, decimal_put(digits, value));
    add_text(h, str_of(name), from);
}

void headers_add_hex(struct headers *h, const char *name, uint64_t value) {
    char digits[17];
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)value);
    size_t from = h->text.n;
    buf_append(&h->text, digits, 16);
    add_text(h, str_of(name), from);
}

static void add_base64(struct headers *h, struct str name, struct str bytes) {
    size_t from = h->text.n;
    base64_encode(&h->text, bytes);
    while (h->text.n > from && buf_p(&h->text)[h->text.n - 1] == '=') h->text.n--;
    add_text(h, name, from);
}

static bool printable(struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7F) return false;
    }
    return true;
}

static bool is_binary(struct str key) {
    return key.n > 4 && memcmp(key.p + key.n - 4, "-bin", 4) == 0;
}

void headers_add_metadata(struct headers *h, const struct blob *metadata) {
    struct metadata_pair pair;
    for (size_t at = 0; metadata_next(metadata, &at, &pair);) {
        if (!metadata_key_allowed(pair.key)) continue;
        if (is_binary(pair.key)) {
            add_base64(h, pair.key, pair.value);
        } else if (printable(pair.value)) {
            headers_add_pair(h, pair.key, pair.value);
        }
    }
}

// The longest beginning of at most `max` bytes that does not end within a character.
static struct str cut(struct str text, size_t max) {
    if (text.n <= max) return text;
    while (max > 0 && ((unsigned char)text.p[max] & 0xC0) == 0x80) max--;
    return (struct str){text.p, max};
}

static void add_percent(struct headers *h, const char *name, struct str text) {
    size_t from = h->text.n;
    percent_encode_message(&h->text, text);
    add_text(h, str_of(name), from);
}

void headers_add_status(struct headers *h, int status, const struct msg_fault *fault) {
    bool known = status >= 0 && status <= STATUS_UNAUTHENTICATED;
    headers_add(h, "grpc-status", str_of(CODES[known ? status : STATUS_UNKNOWN]));
    if (fault == NULL) return;
    if (fault->text != NULL && fault->text->n > 0)
        add_percent(h, "grpc-message", cut(blob_str(fault->text), TEXT_MAX));
    if (fault->details != NULL && fault->details->n <= DETAILS_MAX)
        add_base64(h, str_of("grpc-status-details-bin"), blob_str(fault->details));
    if (fault->id != NULL && fault->id->n > 0) add_percent(h, "mica-error-id", blob_str(fault->id));
}

// ---- reading back

bool headers_list_has(struct str list, const char *word) {
    size_t n = strlen(word);
    for (size_t at = 0; at <= list.n;) {
        size_t end = at;
        while (end < list.n && list.p[end] != ',') end++;
        size_t from = at, to = end;
        while (from < to && list.p[from] == ' ') from++;
        while (to > from && list.p[to - 1] == ' ') to--;
        if (to - from == n && memcmp(list.p + from, word, n) == 0) return true;
        at = end + 1;
    }
    return false;
}

static bool read_code(struct str text, int *status) {
    if (text.n == 0 || text.n > 2) return false;
    int code = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return false;
        code = code * 10 + (text.p[i] - '0');
    }
    *status = code <= STATUS_UNAUTHENTICATED ? code : STATUS_UNKNOWN;
    return true;
}

// grpc-retry-pushback-ms: a number, or anything else to say "do not" (gRFC A6).
static uint32_t read_pushback(const struct http_header *headers, size_t count) {
    struct str text;
    uint32_t n = 0;
    if (!http_header_get(headers, count, "grpc-retry-pushback-ms", &text)) return 0;
    if (text.n == 0 || text.n > 9) return MSG_NEVER;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') return MSG_NEVER;
        n = n * 10 + (uint32_t)(text.p[i] - '0');
    }
    return n + 1;
}

bool grpc_status_read(const struct http_header *headers, size_t count, int *status,
                      struct msg_fault **fault) {
    struct str code;
    struct str text = {"", 0};
    struct str id = {"", 0};
    struct str details = {"", 0};
    *fault = NULL;
    if (!http_header_get(headers, count, "grpc-status", &code) || !read_code(code, status))
        return false;
    http_header_get(headers, count, "grpc-message", &text);
    http_header_get(headers, count, "mica-error-id", &id);
    http_header_get(headers, count, "grpc-status-details-bin", &details);
    if (*status == STATUS_OK) return true;
    struct buf message = {0};
    struct buf whose = {0};
    struct buf bytes = {0};
    percent_decode(&message, text, false);
    percent_decode(&whose, id, false);
    bool detailed = details.n > 0 && base64_decode(&bytes, details);
    *fault = msg_fault_new(buf_str(&message), buf_str(&whose), detailed ? buf_take(&bytes) : NULL);
    if (*fault != NULL) (*fault)->pushback = read_pushback(headers, count);
    buf_free(&message);
    buf_free(&whose);
    buf_free(&bytes);
    return true;
}
