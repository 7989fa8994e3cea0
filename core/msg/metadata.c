// SPDX-License-Identifier: Apache-2.0
#include "msg/metadata.h"

void metadata_add(struct buf *b, struct str key, struct str value) {
    uint16_t key_n = (uint16_t)key.n;
    uint32_t value_n = (uint32_t)value.n;
    if (key.n > UINT16_MAX || value.n > UINT32_MAX)
        return; // beyond any header limit: cannot come from a peer
    if (!buf_reserve(b, sizeof key_n + sizeof value_n + key.n + value.n)) return;
    buf_append(b, &key_n, sizeof key_n);
    buf_append(b, &value_n, sizeof value_n);
    buf_append_str(b, key);
    buf_append_str(b, value);
}

bool metadata_next(const struct blob *blob, size_t *at, struct metadata_pair *pair) {
    uint16_t key_n;
    uint32_t value_n;
    if (blob == NULL || blob->n - *at < sizeof key_n + sizeof value_n) return false;
    const char *p = blob->p + *at;
    memcpy(&key_n, p, sizeof key_n);
    memcpy(&value_n, p + sizeof key_n, sizeof value_n);
    p += sizeof key_n + sizeof value_n;
    pair->key = (struct str){p, key_n};
    pair->value = (struct str){p + key_n, value_n};
    *at = (size_t)(p - blob->p) + key_n + value_n;
    return true;
}

bool metadata_get(const struct blob *blob, struct str key, struct str *value) {
    struct metadata_pair pair;
    size_t at = 0;
    while (metadata_next(blob, &at, &pair)) {
        if (str_equal(pair.key, key)) {
            *value = pair.value;
            return true;
        }
    }
    return false;
}

// Headers of HTTP itself, and those that the context has in fields of its own.
static bool reserved(struct str key) {
    switch (key.n) {
    case 2: return str_is(key, "te");
    case 4: return str_is(key, "host");
    case 7: return str_is(key, "upgrade");
    case 10:
        return str_is(key, "user-agent") || str_is(key, "connection") || str_is(key, "keep-alive");
    case 12: return str_is(key, "content-type");
    case 14:
        return str_is(key, "content-length") || str_is(key, "mica-namespace") ||
               str_is(key, "http2-settings");
    case 15: return str_is(key, "accept-encoding");
    case 16: return str_is(key, "content-encoding") || str_is(key, "proxy-connection");
    case 17: return str_is(key, "transfer-encoding");
    default: return false;
    }
}

bool metadata_key_allowed(struct str key) {
    if (key.n == 0 || key.n > 256 || reserved(key) || str_starts(key, "grpc-") ||
        str_starts(key, "access-control-"))
        return false;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool ok =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        if (!ok) return false;
    }
    return true;
}
