/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kinds of pages that are written (BENCHMARKS.md, "Data"). One thread. */
#ifndef BENCH_KINDS_H
#define BENCH_KINDS_H

#include "pageset.h"

enum bench_kind {
	BENCH_TEXT,
	BENCH_ELF,
	BENCH_PROCESS,
	BENCH_ALL,  /**< those before, together */
	BENCH_HALF, /**< of these, some that LZ4 makes a half of all told */
	BENCH_KINDS
};

struct bench_kinds {
	struct bench_pages set[BENCH_KINDS];
};

const char *bench_kind_name(enum bench_kind kind);

/** Where they come from. */
struct bench_kinds_config {
	size_t pages;	  /**< of each kind */
	const char *tree; /**< whose files are text */
	pid_t pid;	  /**< whose memory to take; 0: a compiler's */
};

/** Load them. Says how many there are. */
void bench_kinds_init(struct bench_kinds *kinds,
		      const struct bench_kinds_config *config);
void bench_kinds_deinit(struct bench_kinds *kinds);

#endif
