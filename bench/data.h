/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the lanes of calls work on: the set in several shapes, and stores that
 * hold it. Made once, before the workers start.
 */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <tmem/client.h>
#include <tmem/store.h>
#include "lanes.h"
#include "pageset.h"
#include "zram.h"

/** The set as one codec makes it, page after page without gaps. */
struct bench_packed {
	struct bench_pages room;
	size_t *start; /**< of each page; one more for the end */
	bool *raw;     /**< did not compress: as it was */
};

/** Pools that hold the whole set, and one for what comes and goes. */
struct bench_store {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *held[TMEM_CODEC_COUNT]; /**< by codec; or NULL */
	struct tmem_pool *fresh;		  /**< dedup off */
	struct tmem_pool *sharing; /**< dedup on; holds the set as well */
};

struct bench_data {
	struct bench_pages set;
	struct bench_pages fresh; /**< the set; no page equals one held */
	struct bench_pages cold;  /**< a copy of the set, to write to */
	struct bench_packed packed[TMEM_CODEC_COUNT];
	enum tmem_codec codec;	    /**< of the pools fresh and sharing */
	struct bench_store settled; /**< no nursery, no threads */
	struct bench_store young;   /**< as by default; only fresh */
	int zram[BENCH_ZRAMS];	    /**< a device that holds the set, or -1 */
};

/** Make all of it (but zram) of set, which stays the caller's. */
void bench_data_init(struct bench_data *data, struct bench_pages set,
		     enum tmem_codec codec);
void bench_data_deinit(struct bench_data *data);

/** Number a page of data->fresh, so that it equals no other again. */
void bench_data_renew(struct bench_data *data, size_t page);

/** Write the set to all devices, note what they hold, and let data's lanes have
 * them. NULL is fine. A device that fails is left out, which is said. */
void bench_zrams_fill(struct bench_zrams *zrams, struct bench_data *data,
		      json_t *report);

extern const struct bench_lane bench_primitive_lanes[];
extern const size_t bench_primitive_count;
extern const struct bench_lane bench_store_lanes[];
extern const size_t bench_store_count;
extern const struct bench_lane bench_zram_lanes[];
extern const size_t bench_zram_count;

#endif
