/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A histogram of latencies; see latency.h. */
#include "latency.h"

#include <stddef.h>

#define STEPS	   BENCH_LATENCY_STEPS
#define STEPS_LOG2 4u
#define BUCKETS	   ((size_t)64 * STEPS)

/* Up to STEPS every ns has a bucket; above, the top bits choose it. */
static size_t bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < STEPS)
		return (size_t)ns;
	shift = 63 - (unsigned)__builtin_clzll(ns) - STEPS_LOG2;
	return (size_t)(shift + 1) * STEPS + (size_t)(ns >> shift) % STEPS;
}

static double upper_end(size_t bucket)
{
	size_t shift = bucket / STEPS;

	if (shift == 0)
		return (double)bucket;
	return (double)((STEPS + bucket % STEPS + 1) << (shift - 1));
}

void bench_latency_add(struct bench_latency *latency, uint64_t ns)
{
	latency->count[bucket_of(ns)]++;
}

void bench_latency_merge(struct bench_latency *to,
			 const struct bench_latency *from)
{
	for (size_t i = 0; i < BUCKETS; i++)
		to->count[i] += from->count[i];
}

double bench_latency_quantile(const struct bench_latency *latency, double part)
{
	uint64_t all = 0, below = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		all += latency->count[i];
	for (size_t i = 0; i < BUCKETS; i++) {
		below += latency->count[i];
		if (below && (double)below >= part * (double)all)
			return upper_end(i);
	}
	return 0;
}
