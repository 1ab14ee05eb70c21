/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load of a file: reads and writes of one size, at random or in order, by one
 * thread, at depth 1 by pread and pwrite, else with so many requests under way
 * by the kernel's own AIO (io_submit), which is what does not wait for FUSE. A
 * page's last word is its number and is looked at whenever one is read: a wrong
 * page ends the benchmark.
 */
#ifndef BENCH_FS_LOAD_H
#define BENCH_FS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include "../latency.h"
#include "../pageset.h"

#define BENCH_LOAD_DEPTH_MOST 64u

struct bench_load {
	size_t size;	       /**< of a request, bytes */
	unsigned depth;	       /**< 1 with buffered */
	unsigned read_percent; /**< of the requests; others write */
	bool in_order;
	bool buffered;	/**< else O_DIRECT */
	bool once;	/**< ends when each place was read */
	double ramp;	/**< s, not counted, before */
	double seconds; /**< that are counted */
};

struct bench_loaded {
	uint64_t requests;	      /**< with those of the ramp */
	double iops;		      /**< of the time that counts */
	struct bench_latency latency; /**< the same, of a request */
};

/** The file is of a power of two of requests, made of pages of the set. Returns
 * its descriptor, still open. */
int bench_load_run(const char *path, const struct bench_load *load,
		   const struct bench_pages *set, struct bench_loaded *loaded);

#endif
