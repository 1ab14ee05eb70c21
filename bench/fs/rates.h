/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads that all mounts bear in turn (BENCHMARKS.md). One thread. */
#ifndef BENCH_FS_RATES_H
#define BENCH_FS_RATES_H

#include "../report.h"
#include "mounts.h"
#include "options.h"

#define BENCH_LOADS 8

const char *bench_rates_load_name(int load);

/** Measure all mounts:
 * rates/LOAD/MOUNT/{iops,gbps,cpu_us,below,p50_us,p99_us}, and of the best of
 * libfuse's examples rates/LOAD/passthrough/iops. */
void bench_rates(const struct bench_options *options,
		 const struct bench_ground *ground,
		 const struct bench_pages *set, json_t *report);

#endif
