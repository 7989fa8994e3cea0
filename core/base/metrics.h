// SPDX-License-Identifier: Apache-2.0
// Named series of numbers, and their rendering in Prometheus' text format. Any thread (a mutex; the hot path of the core
// keeps its own counters). At most METRICS_MAX series, then new ones are dropped and counted.
#pragma once

#include "base/buf.h"

#define METRICS_MAX 20000

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMING };

// `name` is [a-zA-Z_:][a-zA-Z0-9_:]*; `labels` is Prometheus' inner form, `service="posts",tag="x"`, or empty. COUNTER adds
// value (not negative), GAUGE sets, TIMING observes seconds in a histogram. False: the name is malformed or the table full.
bool metrics_record(enum metric_kind kind, struct str name, struct str labels, double value);
void metrics_render(struct buf *out);
void metrics_label(struct buf *labels, struct str key,
                   struct str value); // appends key="value", escaped
