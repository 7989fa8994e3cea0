// SPDX-License-Identifier: Apache-2.0
// Contracts of services that run elsewhere: which services are its own, and what is refused.
#include "vm/source_contract.h"
#include "vm/vm_testing.h"

#include "pb/protoc.h"

static struct blob *compile(const char *first, const char *second) {
    struct err err = {0};
    struct blob *set = NULL;
    char *folder = temporary_folder();
    const char *const names[] = {"a.proto", "b.proto"};
    write_file(folder, "a.proto", first);
    if (second != NULL) write_file(folder, "b.proto", second);
    if (protoc_compile(folder, names, second == NULL ? 1 : 2, &set, &err) != 0)
        fail_msg("%s", err.text);
    remove_folder(folder);
    return set;
}

#define OWN "syntax = \"proto3\"; package a; message M {} service S { rpc Call(M) returns (M); }"
#define HEALTH                                                                                     \
    "syntax = \"proto3\"; package grpc.health.v1; message M {} service Health { rpc Check(M) "     \
    "returns (M); }"

static char *name(const char *text) { return (char *)(uintptr_t)text; }

static void test_own_services(void **state) {
    (void)state;
    struct err err = {0};
    struct blob *set = compile(OWN, HEALTH);
    struct source *s = source_of_contract("a", set, NULL, 0, false, &err);
    if (s == NULL) fail_msg("%s", err.text);
    assert_int_equal(s->proto_count, 1);
    assert_true(source_owns_proto(s, str_of("a.proto")));
    assert_non_null(source_file(s, str_of("main.lua")));
    assert_non_null(s->folder); // so that no bytecode is taken from it
    source_drop(s);
    char *named[] = {name("a.proto"), name("a.proto")};
    s = source_of_contract("a", set, named, 2, true, &err);
    if (s == NULL) fail_msg("%s", err.text);
    assert_int_equal(s->proto_count, 1);
    source_drop(s);
    assert_int_equal(atomic_load(&set->refs), 1);
    blob_drop(set);
}

static void refused(struct blob *set, char **protos, size_t count, const char *part) {
    struct err err = {0};
    assert_null(source_of_contract("a", set, protos, count, false, &err));
    assert_int_equal(err.code, STATUS_INVALID_ARGUMENT);
    if (strstr(err.text, part) == NULL) fail_msg("got \"%s\", wanted \"%s\"", err.text, part);
}

static void test_refused(void **state) {
    (void)state;
    struct blob *set = compile(OWN, HEALTH);
    char *theirs[] = {name("b.proto")};
    char *missing[] = {name("c.proto")};
    refused(set, theirs, 1, "cannot be a service's own");
    refused(set, missing, 1, "no file c.proto");
    blob_drop(set);
    set = compile(HEALTH, NULL);
    refused(set, NULL, 0, "no service of its own");
    blob_drop(set);
    set = blob_new("\xff\xff", 2);
    refused(set, NULL, 0, "the contract");
    blob_drop(set);
    set = blob_new(NULL, CONTRACT_BYTES + 1);
    memset(set->p, 0, set->n);
    refused(set, NULL, 0, "longer than");
    blob_drop(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_services),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
