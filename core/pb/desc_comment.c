// SPDX-License-Identifier: Apache-2.0
// Comments: source_code_info lists places by path (4, 0, 2, 1: message 0, field 1). The places that
// have a comment are sorted once a file, then found by binary search while the pool is built. A
// comment loses the space after its slashes and the blanks at both ends. What stands above counts;
// where nothing does, what stands behind on the same line.
#include "base/encode.h"
#include "desc_internal.h"

#include <stdlib.h>

static int compare_paths(const int32_t *a, size_t a_n, const int32_t *b, size_t b_n) {
    for (size_t i = 0; i < a_n && i < b_n; i++) {
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    }
    return (a_n > b_n) - (a_n < b_n);
}

static int by_path(const void *a, const void *b) {
    const LocationProto *x = *(const LocationProto *const *)a,
                        *y = *(const LocationProto *const *)b;
    return compare_paths(x->path, x->n_path, y->path, y->n_path);
}

int desc_index_comments(struct desc_build *b, struct desc_file *file) {
    const Google__Protobuf__SourceCodeInfo *info = file->proto->source_code_info;
    if (info == NULL || info->n_location == 0) return 0;
    file->comments = desc_arena_alloc(b->scratch, info->n_location, sizeof *file->comments);
    if (file->comments == NULL) return desc_no_memory(b);
    for (size_t i = 0; i < info->n_location; i++) {
        const LocationProto *at = info->location[i];
        if (at->leading_comments != NULL || at->trailing_comments != NULL)
            file->comments[file->comment_count++] = at;
    }
    qsort(file->comments, file->comment_count, sizeof *file->comments, by_path);
    return 0;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static struct str trim(struct desc_build *b, const char *text) {
    size_t n = strlen(text), used = 0;
    if (!utf8_valid((struct str){text, n})) return (struct str){"", 0};
    while (n > 0 && is_blank(text[n - 1])) n--;
    size_t i = 0;
    while (i < n && is_blank(text[i])) i++;
    char *out = n == i ? NULL : desc_arena_alloc(b->arena, n - i + 1, 1);
    if (out == NULL) return (struct str){"", 0};
    for (; i < n; i++) {
        bool line_start = used > 0 && out[used - 1] == '\n';
        if (line_start && text[i] == ' ' && text[i - 1] == '\n') continue;
        out[used++] = text[i];
    }
    return (struct str){out, used};
}

struct str desc_comment(struct desc_build *b, const struct desc_file *file,
                        const struct desc_path *path) {
    int32_t numbers[256];
    size_t n = 0;
    for (const struct desc_path *p = path; p != NULL; p = p->up) n += 2;
    if (n > sizeof numbers / sizeof *numbers) return (struct str){"", 0};
    size_t at = n;
    for (const struct desc_path *p = path; p != NULL; p = p->up) {
        numbers[--at] = p->index;
        numbers[--at] = p->field;
    }
    size_t low = 0, high = file->comment_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const LocationProto *found = file->comments[middle];
        int order = compare_paths(found->path, found->n_path, numbers, n);
        if (order == 0)
            return trim(b, found->leading_comments != NULL ? found->leading_comments
                                                           : found->trailing_comments);
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (struct str){"", 0};
}
