// SPDX-License-Identifier: Apache-2.0
// What native_deploy.c, native_build.c and native_find.c share.
#pragma once

#include "native_deploy.h"

// The context is a struct deploy.
void native_deploy_read(void *context, struct message *take_request);
void native_deploy_describe(void *context, struct message *take_request);
void native_contracts_find(void *context, struct message *take_request); // native_find.c
void native_deploy_release(void *context, struct message *take_request);
