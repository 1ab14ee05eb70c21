/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line asks bench/store for. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <tmem/types.h>

/** Parts of the benchmark; bits of bench_options.parts. */
enum bench_part {
	BENCH_CODECS,
	BENCH_CALLS,
	BENCH_BURST,
	BENCH_SUSTAINED,
	BENCH_FOOTPRINT,
	BENCH_PEAK,
	BENCH_RECLAIM,
	BENCH_DENSITY,
	BENCH_PARTS
};

struct bench_options {
	unsigned long pages;	  /**< of each kind */
	unsigned long tree_pages; /**< of each tree, for the density */
	unsigned long copies;	  /**< of the set, for the memory */
	unsigned long slices;	  /**< of sustained puts */
	unsigned long reclaim;	  /**< MiB */
	unsigned long rounds;	  /**< 0: the set, twice */
	unsigned long pid;	  /**< 0: a compiler's */
	enum tmem_codec codec;
	bool in_order, check;
	unsigned parts;
	const char *json; /**< or NULL */
	char *const *trees;
};

/** Fewest pages that a run makes sense with. */
#define BENCH_PAGES_LEAST 16u

/** Exits, having said why, where the arguments are wrong or ask for help. */
struct bench_options bench_options_parse(int argc, char **argv);

bool bench_wanted(const struct bench_options *options, enum bench_part part);

#endif
