/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What servers need in memory for what clients wrote (BENCHMARKS.md). */
#ifndef BENCH_NBD_MEMORY_H
#define BENCH_NBD_MEMORY_H

#include "../report.h"
#include "../kinds.h"
#include "options.h"
#include "server.h"

/** overwritten/SERVER/{memory,write_iops,read_iops}: overwrites of pages that
 * compress to a half, and bytes in memory then a byte of the device. */
void bench_overwritten(const struct bench_options *options,
		       const struct bench_kinds *kinds,
		       const struct bench_server_config *config,
		       json_t *report);

/** memory/KIND/SERVER: the same where the device was filled once. */
void bench_memory(const struct bench_options *options,
		  const struct bench_kinds *kinds,
		  const struct bench_server_config *config, json_t *report);

#endif
