// SPDX-License-Identifier: Apache-2.0
// Forms with files: the first bytes choose where the body is cut, a line the boundary, the rest is the body. However it is cut,
// the same is read.
#include "fuzz.h"

#include "base/encode.h"
#include "net/multipart.h"

// Everything that is told, as one text.
static void read(struct str boundary, struct str body, uint8_t cuts, struct buf *out) {
    struct multipart m;
    bool failed = false;
    multipart_create(&m, boundary);
    while (body.n > 0 && !failed) {
        size_t n = cuts == 0 || cuts > body.n ? body.n : cuts;
        char *copy = input_copy((struct str){body.p, n});
        struct str piece = {copy, n};
        enum multipart_event event;
        while ((event = multipart_next(&m, &piece)) != MULTIPART_MORE && !failed) {
            failed = event == MULTIPART_ERROR;
            if (event == MULTIPART_PART) {
                must(m.name.n > 0 && utf8_valid(m.name) && utf8_valid(m.filename));
                buf_append_byte(out, '(');
                buf_append_str(out, m.name);
                buf_append_byte(out, m.has_filename ? 1 : 2);
                buf_append_str(out, m.filename);
                buf_append_byte(out, 3);
                buf_append_str(out, m.content_type);
                buf_append_byte(out, ')');
            }
            if (event == MULTIPART_DATA) must(m.data.n > 0);
            if (event == MULTIPART_DATA) buf_append_str(out, m.data);
            if (event == MULTIPART_PART_END) buf_append_byte(out, 4);
            if (failed) must(m.error != NULL);
            if (failed) buf_append_text(out, m.error);
        }
        must(failed || piece.n == 0);
        free(copy);
        body = (struct str){body.p + n, body.n - n};
    }
    buf_append_byte(out, multipart_ended(&m) ? 5 : 6);
    multipart_destroy(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    uint8_t cuts = input_byte(&in);
    const uint8_t *lf = memchr(in.p, '\n', in.n);
    struct str type = input_take(&in, lf == NULL ? in.n : (size_t)(lf - in.p) + 1);
    char boundary[MULTIPART_BOUNDARY_MAX];
    size_t n = 0;
    if (type.n > 0) type.n--;
    if (!multipart_boundary(type, boundary, &n)) return 0;
    must(n > 0 && n <= MULTIPART_BOUNDARY_MAX);
    struct str body = input_rest(&in);
    struct buf whole = {0}, cut = {0};
    read((struct str){boundary, n}, body, 0, &whole);
    read((struct str){boundary, n}, body, cuts, &cut);
    must(str_equal(buf_str(&whole), buf_str(&cut)));
    buf_free(&whole);
    buf_free(&cut);
    return 0;
}
