// SPDX-License-Identifier: Apache-2.0
// How near two names are, for "did you mean".
#pragma once

#include "base/buf.h"

// Edit distance (swapped neighbours count as one edit); SIZE_MAX for names that are too long to be
// meant.
size_t desc_distance(struct str a, struct str b);
