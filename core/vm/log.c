// SPDX-License-Identifier: Apache-2.0
// What a VM says to the log: who it is, and on behalf of which request and trace. The VM's thread;
// nothing here calls Lua.
#include "vm/vm_internal.h"

// What a bare VM says goes to standard error only: there is no service yet to keep it for.
void vm_log_fields(struct vm *vm, enum log_level level, const struct request *r, struct str text,
                   const struct log_pair *fields, size_t count) {
    static const unsigned char NO_TRACE[16];
    const struct vm_config *c = &vm->config;
    struct log_entry e = {.level = level,
                          .source = vm->log_source,
                          .ns = str_of(c->ns),
                          .service = str_of(c->bare ? "" : c->service),
                          .version = str_of(c->version),
                          .instance = c->instance,
                          .text = text,
                          .fields = fields,
                          .field_count = count};
    if (r != NULL) {
        e.request = r->context->request_id;
        bool traced = memcmp(r->context->trace_id, NO_TRACE, sizeof NO_TRACE) != 0;
        e.trace = traced ? r->context->trace_id : NULL;
    }
    log_write(&e);
}

void vm_log(struct vm *vm, enum log_level level, const struct request *r, struct str text) {
    vm_log_fields(vm, level, r, text, NULL, 0);
}
