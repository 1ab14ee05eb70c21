/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Timing many kinds of calls so that their medians can be compared, though the
 * machine is noisy and a page that was just touched is quick to touch again.
 *
 * The set is cut into slices. In each round every kind of call (a lane) works
 * on one slice, by one thread, then all of them by two, so that whatever slows
 * the machine down slows all lanes. Lanes follow each other around the set at
 * equal distances, so that a page was last touched about a whole set ago.
 * Within a slice the order is random, unless asked for in order: no prefetcher
 * guesses the next page.
 *
 * Threads: two workers, each pinned to a processor; the caller waits. Where
 * both work, they start a slice together, spinning for each other.
 */
#ifndef BENCH_LANES_H
#define BENCH_LANES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tmem/types.h>
#include "pageset.h"

#define BENCH_THREADS 2

struct bench_data;
struct tmem_codecs;

/** What a call may use: one a thread. */
struct bench_worker {
	struct bench_data *data;
	struct tmem_codecs *codecs;
	unsigned number;  /**< which thread */
	unsigned threads; /**< how many are at work in this slice */
	int which;	  /**< the lane's */
	struct bench_pages hot;
	uint8_t *page;	/**< a hot page to write to */
	uint8_t *other; /**< and one to read from */
	uint64_t sink;
};

/** One call: page is a number in the set; index is the same, or, in a lane with
 * a lag, a running number that another lane has met lag rounds before. */
typedef void bench_call(struct bench_worker *worker, size_t page,
			uint32_t index);

struct bench_lane {
	const char *name;
	bench_call *call;
	bench_call *after; /**< for each page when a slice is done; untimed */
	int which;	   /**< of several codecs or devices, for call */
	/** Whether there is one; NULL: always. */
	bool (*available)(const struct bench_data *data, int which);
	bool running; /**< index is a running number */
	unsigned lag; /**< and that many rounds behind */
};

/** Run all lanes for so many rounds, the first few not counted, over pages
 * pages. The first lane is an empty call: what the clock itself takes, and is
 * taken off all others. Notes calls/THREADS/NAME/{p50,p99,p999}_ns and
 * calls_per_second, and prints them as a table. */
void bench_lanes_run(const struct bench_lane *lanes, size_t count,
		     struct bench_data *data, size_t pages, unsigned rounds,
		     bool in_order, json_t *report);

/** Pages in a slice of a set of so many. */
size_t bench_lanes_slice(size_t pages);

#endif
