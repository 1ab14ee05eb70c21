/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What reading a file leaves in the page cache (BENCHMARKS.md). One thread. */
#ifndef BENCH_FS_GROWTH_H
#define BENCH_FS_GROWTH_H

#include "../report.h"
#include "mounts.h"
#include "options.h"

/** growth/MOUNT: bytes in the page cache, of the mount's file and of the lower
 * one, a byte that was read once. Nothing before Linux 6.5. */
void bench_growth(const struct bench_options *options,
		  const struct bench_ground *ground,
		  const struct bench_pages *set, json_t *report);

#endif
