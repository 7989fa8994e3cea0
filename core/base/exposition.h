// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/), written piece by piece. The
// caller keeps the samples of a family together. Pure; any thread.
#pragma once

#include "base/buf.h"
#include "base/histogram.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

// "# HELP" and "# TYPE"; `type` is "counter", "gauge" or "histogram", `help` one line.
void exposition_family(struct buf *out, const char *name, const char *type, const char *help);
// Appends key="value" to a list of labels, escaped, with a comma where one is needed. What is no UTF-8 becomes '?'.
void exposition_label(struct buf *labels, const char *key, struct str value);
// name{labels} value; `labels` may be empty.
void exposition_sample(struct buf *out, const char *name, struct str labels, double value);
// The buckets, the sum and the count of a histogram.
void exposition_histogram(struct buf *out, const char *name, struct str labels,
                          const struct histogram_sum *h);
void exposition_number(struct buf *out, double value);
