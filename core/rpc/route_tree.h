// SPDX-License-Identifier: Apache-2.0
// The path templates of one namespace, compiled into a tree of segments. Built by one thread, then read by any.
#pragma once

#include "rpc/route.h"

struct route_tree;

struct route_tree *route_tree_new(void);
void route_tree_delete(struct route_tree *tree); // the routes are the caller's
// In place of one of the same template, method, host and version (which stays the caller's). The route's own texts
// (verb, variables) are filled already. 0, or -STATUS_RESOURCE_EXHAUSTED.
int route_tree_add(struct route_tree *tree, const struct path_template *t, struct route *route);

// NULL: nothing there.
const struct route *route_tree_literal(const struct route_tree *tree, const struct route_query *q);
const struct route *route_tree_find(const struct route_tree *tree, const struct route_query *q,
                                    struct route_param *params, size_t *param_count);
// Appends the methods of every template that fits the path, each once: "GET, HEAD".
void route_tree_methods(const struct route_tree *tree, const struct route_query *q,
                        struct buf *allow);
