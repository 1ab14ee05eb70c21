/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long requests took, counted in steps of a sixteenth of a power of two.
 * A histogram is one thread's; those of several are added up at the end.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#define BENCH_LATENCY_STEPS 16u

struct bench_latency {
	uint64_t count[64 * BENCH_LATENCY_STEPS];
};

void bench_latency_add(struct bench_latency *latency, uint64_t ns);
void bench_latency_merge(struct bench_latency *to,
			 const struct bench_latency *from);

/** What the given part of the requests took at most, ns; 0 when there are
 * none. */
double bench_latency_quantile(const struct bench_latency *latency, double part);

#endif
