// SPDX-License-Identifier: Apache-2.0
// What services count themselves (mica.metrics): named series of numbers, for /metrics. Any thread (a mutex; what the core
// counts of its own is in counters.h and rpc/stats.h). Bounded: METRICS_MAX series, METRICS_OWNER_MAX of one service; what is
// beyond is dropped and counted.
#pragma once

#include "base/buf.h"

#define METRICS_MAX 20000
#define METRICS_OWNER_MAX 1000

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_TIMING };

// `owner` is whose series it is, any bytes. `name` is [a-zA-Z_:][a-zA-Z0-9_:]*; `labels` is Prometheus' inner form (see
// exposition_label), or empty. COUNTER adds value (not negative), GAUGE sets, TIMING observes seconds in a histogram. False:
// it was not recorded: the name is malformed or means something else already, or there are too many series.
bool metrics_record(enum metric_kind kind, struct str owner, struct str name, struct str labels,
                    double value);
// The owner that a service is, which is also how the labels of its series begin: appends to `out`.
void metrics_owner(struct buf *out, const char *ns, const char *service);
void metrics_forget(struct str owner); // its series end
void metrics_render(struct buf *out);
