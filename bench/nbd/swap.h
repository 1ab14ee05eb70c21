/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A program that swaps to servers' devices (BENCHMARKS.md). One thread. */
#ifndef BENCH_NBD_SWAP_H
#define BENCH_NBD_SWAP_H

#include "../report.h"
#include "options.h"
#include "../pageset.h"

/** swap/SERVER/{seconds,fill_seconds,check_seconds,memory}, the last in bytes a
 * byte that the program has in swap. Nothing where this host or user cannot
 * swap, having said why. */
void bench_swap(const struct bench_options *options,
		const struct bench_pages *set, const char *folder,
		json_t *report);

#endif
