// SPDX-License-Identifier: Apache-2.0
// What callers of one version of a contract would miss in another. Pure; any thread.
#pragma once

#include "vm/source.h"

struct contract_changes {
    char **texts; // by name: "posts.Posts.Save: removed"
    size_t count;
    bool failed; // memory ended
};

// Services that both sources own, and the messages that they use. New things break nobody and are
// not listed.
void contract_compare(const struct source *before, const struct source *after,
                      struct contract_changes *out);
void contract_changes_free(struct contract_changes *c);
