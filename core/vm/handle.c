// SPDX-License-Identifier: Apache-2.0
// Numbers for what Lua and other ports refer to.
//
// A handle is a place in the VM's table and the generation of that place: when a thing goes, its place gets the next
// generation, so a number that somebody kept finds nothing instead of something else. Lua sees a number
// (generation * 2^20 + index, exact in a double) or a userdata that holds both; on the wire it is index | generation << 32.
// Nothing depends on finalizers. Only the thread that runs the VM.
#include "base/random.h"
#include "vm/vm_internal.h"

#include <assert.h>

#define INDEX_BITS 20
#define USERDATA_MARK 0x6d6963612e68646cULL

struct userdata {
    uint64_t mark;
    uint32_t index;
    uint32_t generation;
};

static int grow(struct vm *vm) {
    uint32_t cap = vm->slot_cap == 0 ? 64 : vm->slot_cap * 2;
    if (cap > 1u << INDEX_BITS) return -STATUS_RESOURCE_EXHAUSTED;
    struct slot *slots = vm_grow(vm, vm->slots, vm->slot_cap * sizeof *slots, cap * sizeof *slots);
    if (slots == NULL) return -STATUS_RESOURCE_EXHAUSTED;
    vm->slots = slots;
    vm->slot_cap = cap;
    return 0;
}

int handle_add(struct vm *vm, struct handle *h, enum handle_kind kind) {
    uint32_t index = vm->slot_free;
    if (index != 0) {
        vm->slot_free = vm->slots[index].next_free;
    } else {
        if (vm->slot_count == 0) vm->slot_count = 1; // 0 means none
        if (vm->slot_count >= vm->slot_cap && grow(vm) != 0) return -STATUS_RESOURCE_EXHAUSTED;
        index = vm->slot_count++;
        // Not 1: the port outlives the VM, and a late answer to its predecessor's call must not be taken
        // for one of ours.
        vm->slots[index].generation = (uint32_t)random_u64();
    }
    vm->slots[index].handle = h;
    h->index = index;
    h->generation = vm->slots[index].generation;
    h->kind = (uint8_t)kind;
    return 0;
}

void handle_renew(struct vm *vm, struct handle *h) {
    assert(vm->slots[h->index].handle == h);
    h->generation = ++vm->slots[h->index].generation;
}

void handle_remove(struct vm *vm, struct handle *h) {
    struct slot *slot = &vm->slots[h->index];
    assert(slot->handle == h);
    slot->handle = NULL;
    slot->generation++;
    slot->next_free = vm->slot_free;
    vm->slot_free = h->index;
}

void *handle_find(struct vm *vm, uint32_t index, uint32_t generation, enum handle_kind kind) {
    if (index == 0 || index >= vm->slot_count) return NULL;
    const struct slot *slot = &vm->slots[index];
    if (slot->handle == NULL || slot->generation != generation) return NULL;
    return slot->handle->kind == (uint8_t)kind ? slot->handle : NULL;
}

void handle_push(lua_State *L, const struct handle *h, int mt) {
    struct userdata *u = lua_newuserdata(L, sizeof *u);
    *u = (struct userdata){USERDATA_MARK, h->index, h->generation};
    lua_rawgeti(L, LUA_REGISTRYINDEX, mt);
    lua_setmetatable(L, -2);
}

void *handle_check(struct vm *vm, lua_State *L, int arg, enum handle_kind kind, const char *what) {
    const struct userdata *u = lua_touserdata(L, arg);
    bool ours = lua_type(L, arg) == LUA_TUSERDATA && lua_objlen(L, arg) == sizeof *u &&
                u->mark == USERDATA_MARK;
    if (!ours) luaL_typerror(L, arg, what);
    return handle_find(vm, u->index, u->generation, kind);
}

void handle_push_number(lua_State *L, const struct handle *h) {
    lua_pushnumber(L, (double)((uint64_t)h->generation << INDEX_BITS | h->index));
}

void *handle_check_number(struct vm *vm, lua_State *L, int arg, enum handle_kind kind) {
    double number = luaL_checknumber(L, arg);
    if (!(number >= 0 && number < 4503599627370496.0)) return NULL; // 2^52
    uint64_t n = (uint64_t)number;
    return handle_find(vm, (uint32_t)(n & ((1u << INDEX_BITS) - 1)), (uint32_t)(n >> INDEX_BITS),
                       kind);
}
