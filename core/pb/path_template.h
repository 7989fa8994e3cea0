// SPDX-License-Identifier: Apache-2.0
// Path templates of google.api.http (https://google.aip.dev/127; the grammar is in google/api/http.proto).
//
//   Template = "/" [ Segments ] [ ":" LITERAL ]        Segment  = "*" | "**" | LITERAL | Variable
//   Segments = Segment { "/" Segment }                 Variable = "{" FieldPath [ "=" Segments ] "}"
//
// "*" is one segment of a path, "**" is what is left of it, be it nothing, and stands last. A template is written as
// people read it: without percent-encoding. Pure, any thread.
#pragma once

#include "base/buf.h"
#include "base/status.h"

#define TEMPLATE_SEGMENTS_MAX 32
#define TEMPLATE_VARIABLES_MAX 16
#define TEMPLATE_LENGTH_MAX 1000 // bytes

enum template_kind { SEGMENT_LITERAL, SEGMENT_ONE, SEGMENT_REST };

struct template_segment {
    enum template_kind kind;
    struct str text; // of a literal
};

struct template_variable {
    struct str name; // "shelf", "book.name"
    uint8_t from;    // its first segment
    uint8_t count;   // of segments
    bool rest;       // its last segment is "**": it takes all that is left, be it nothing
};

struct path_template { // texts are slices of what was parsed
    struct template_segment segments[TEMPLATE_SEGMENTS_MAX];
    size_t segment_count;
    struct template_variable variables[TEMPLATE_VARIABLES_MAX];
    size_t variable_count;
    struct str verb; // without ":"; empty: none
    bool literal;    // every segment is one: it stands for one path
};

// 0, or -STATUS_INVALID_ARGUMENT with a text that says what is wrong and quotes the template.
int template_parse(struct str text, struct path_template *out, struct err *err);
