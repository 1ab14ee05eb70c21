/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads that all servers bear in turn (BENCHMARKS.md). One thread. */
#ifndef BENCH_NBD_RATES_H
#define BENCH_NBD_RATES_H

#include "../report.h"
#include "options.h"
#include "load.h"

#define BENCH_LOADS 14

const char *bench_rates_load_name(int load);

/** Measure one part (BENCH_RATES, BENCH_FIO or BENCH_QEMU_IMG) with servers
 * started for it:
 * PART/LOAD/SERVER/{iops,cpu_ns,later_cpu_ns,all_cpu_ns,p50_ns,p99_ns,p999_ns}.
 */
void bench_rates(enum bench_part part, const struct bench_options *options,
		 const struct bench_server_config *config,
		 struct bench_pages *set, json_t *report);

#endif
