// SPDX-License-Identifier: Apache-2.0
#include "base/exposition.h"

#include "base/encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void exposition_family(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void exposition_label(struct buf *labels, const char *key, struct str value) {
    bool sound = utf8_valid(value);
    if (labels->n > 0) buf_append_byte(labels, ',');
    buf_append_text(labels, key);
    buf_append_text(labels, "=\"");
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n') {
            buf_append_text(labels, "\\n");
            continue;
        }
        if (c == '"' || c == '\\') buf_append_byte(labels, '\\');
        buf_append_byte(labels, !sound && (c & 0x80) != 0 ? '?' : c);
    }
    buf_append_byte(labels, '"');
}

void exposition_number(struct buf *out, double v) {
    if (isnan(v)) {
        buf_append_text(out, "NaN");
    } else if (isinf(v)) {
        buf_append_text(out, v > 0 ? "+Inf" : "-Inf");
    } else {
        char text[40]; // as short as it can be without being another number
        snprintf(text, sizeof text, "%.15g", v);
        if (strtod(text, NULL) != v) snprintf(text, sizeof text, "%.17g", v);
        buf_append_text(out, text);
    }
}

// name suffix { labels, extra } and a space
static void sample_begin(struct buf *out, const char *name, const char *suffix, struct str labels,
                         const char *extra) {
    buf_append_text(out, name);
    buf_append_text(out, suffix);
    if (labels.n > 0 || extra != NULL) {
        buf_append_byte(out, '{');
        buf_append_str(out, labels);
        if (labels.n > 0 && extra != NULL) buf_append_byte(out, ',');
        if (extra != NULL) buf_append_text(out, extra);
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ' ');
}

void exposition_sample(struct buf *out, const char *name, struct str labels, double value) {
    sample_begin(out, name, "", labels, NULL);
    exposition_number(out, value);
    buf_append_byte(out, '\n');
}

void exposition_histogram(struct buf *out, const char *name, struct str labels,
                          const struct histogram_sum *h) {
    uint64_t total = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        char le[32];
        snprintf(le, sizeof le, "le=\"%s\"", i < HISTOGRAM_BOUNDS ? HISTOGRAM_TEXT[i] : "+Inf");
        total += h->buckets[i];
        sample_begin(out, name, "_bucket", labels, le);
        buf_printf(out, "%" PRIu64 "\n", total);
    }
    sample_begin(out, name, "_sum", labels, NULL);
    exposition_number(out, (double)h->sum / 1e9);
    buf_append_byte(out, '\n');
    sample_begin(out, name, "_count", labels, NULL);
    buf_printf(out, "%" PRIu64 "\n", total);
}
