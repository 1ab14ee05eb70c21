/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load of a server's device by libnbd: pages of the set, written and read at
 * random. Each job is a thread with a connection of its own and so many
 * requests under way. The last word of a page says where on the device it
 * belongs and is looked at whenever one is read: a wrong page ends the
 * benchmark.
 */
#ifndef BENCH_NBD_LOAD_H
#define BENCH_NBD_LOAD_H

#include "../latency.h"
#include "../pageset.h"
#include "server.h"

#define BENCH_LOAD_DEPTH_MOST 128u

struct bench_load {
	unsigned read_percent; /**< of the requests; others write */
	unsigned depth, jobs;
	double ramp;	/**< s, not counted, before */
	double seconds; /**< that are counted */
};

struct bench_loaded {
	uint64_t requests;	      /**< with those of the ramp */
	double iops;		      /**< of the seconds that count */
	struct bench_latency latency; /**< the same, of a request */
};

/** Numbers are written into pages of the set. */
void bench_load_run(const struct bench_server *server,
		    const struct bench_load *load, struct bench_pages *set,
		    struct bench_loaded *loaded);

/** Write all of the device once, in order, by larger requests. */
void bench_load_fill(const struct bench_server *server,
		     struct bench_pages *set);

#endif
