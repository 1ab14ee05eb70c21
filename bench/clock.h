/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time, and giving up, for benchmarks. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t bench_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_now(void)
{
	return bench_clock(CLOCK_MONOTONIC);
}

/** What processors have worked for this process, the store's threads too. */
static inline uint64_t bench_process_ns(void)
{
	return bench_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/** A benchmark that failed has no result: end it unless r is 0. */
static inline void bench_must(int r, const char *what)
{
	if (r) {
		fprintf(stderr, "%s: %s failed: %d\n",
			program_invocation_short_name, what, r);
		exit(1);
	}
}

#endif
