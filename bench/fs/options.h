/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line asks bench/fs for. */
#ifndef BENCH_FS_OPTIONS_H
#define BENCH_FS_OPTIONS_H

#include <stdbool.h>

/** Parts of the benchmark; bits of bench_options.parts. */
enum bench_part { BENCH_RATES, BENCH_NAMES, BENCH_GROWTH, BENCH_PARTS };

struct bench_options {
	unsigned parts;	      /**< bits of enum bench_part */
	unsigned mounts;      /**< bits of enum bench_mount_kind */
	unsigned loads;	      /**< bits of bench_rates_load_name() */
	unsigned long rounds; /**< of turns of all mounts */
	unsigned long mib;    /**< of a file; a power of two */
	unsigned long files;  /**< of names and of the archive */
	unsigned long pages;  /**< of each kind */
	double seconds;	      /**< of a turn */
	double ramp;	      /**< s, not counted, before */
	bool check;
	const char *dir;  /**< where the lower file system's file is made */
	const char *json; /**< or NULL */
	const char *tree; /**< of text */
};

/** Exits, having said why, where the arguments are wrong or ask for help. */
struct bench_options bench_options_parse(int argc, char **argv);

#endif
