/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line asks bench/nbd for. */
#ifndef BENCH_NBD_OPTIONS_H
#define BENCH_NBD_OPTIONS_H

#include <stdbool.h>

/** Parts of the benchmark; bits of bench_options.parts. */
enum bench_part {
	BENCH_RATES,
	BENCH_FIO,
	BENCH_QEMU_IMG,
	BENCH_OVERWRITTEN,
	BENCH_MEMORY,
	BENCH_SWAP,
	BENCH_PARTS
};

struct bench_options {
	unsigned parts;	      /**< bits of enum bench_part */
	unsigned servers;     /**< bits of enum bench_server_kind */
	unsigned loads;	      /**< bits of bench_rates_load_name() */
	unsigned long rounds; /**< of turns of all servers */
	unsigned long mib;    /**< of a device */
	unsigned long pages;  /**< of each kind */
	unsigned long pid;    /**< whose memory to take; 0: a compiler's */
	double seconds;	      /**< of a turn */
	double overwrite;     /**< s, of overwrites */
	double rest;	      /**< s, until memory counts */
	unsigned long swap;   /**< MiB of the program that swaps */
	double ramp;	      /**< s, not counted, before */
	bool check;
	const char *json; /**< or NULL */
	const char *tree; /**< of text */
};

/** Exits, having said why, where the arguments are wrong or ask for help. */
struct bench_options bench_options_parse(int argc, char **argv);

#endif
