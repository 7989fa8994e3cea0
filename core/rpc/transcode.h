// SPDX-License-Identifier: Apache-2.0
// JSON to wire and back for callers of outside services, which speak wire only: on the loop's thread, without a VM, as strict as
// for services here.
#pragma once

#include "msg/message.h"
#include "pb/desc.h"

// Takes the body. NULL: `err` tells what is wrong with it (-STATUS_INVALID_ARGUMENT names the field).
struct blob *transcode_to_wire(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_json, struct err *err);
// The JSON that `form` asks for, at most `max` bytes of it: a few bytes of wire can be much JSON, since defaults are printed.
struct blob *transcode_to_json(const struct pb_pool *pool, const struct pb_message *type,
                               struct blob *take_wire, struct msg_form form, size_t max,
                               struct err *err);
