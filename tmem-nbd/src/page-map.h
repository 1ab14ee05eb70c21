/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One bit a page of a device: whether a place may hold the page. A clear bit
 * is certain, a set bit is a hint. A device has two maps, of its pool and of
 * its overflow file; both only save work and can be made again from what they
 * describe.
 *
 * Threading: any thread. A page's bit changes under the page's range lock;
 * words are atomic because neighbours in one word have other locks. The order
 * between a bit and the page it tells of comes from that lock, so relaxed
 * operations suffice; who reads without the lock (block status, statistics)
 * gets a bit as it was at some time during the call.
 */
#ifndef NBD_PAGE_MAP_H
#define NBD_PAGE_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nbd_page_map {
	_Atomic(uint64_t) *words;
	/* All ones in a map that began full: words are inverted, so that
	 * memory that was never touched has all bits set. */
	uint64_t flip;
	uint64_t pages;
	size_t bytes;
};

/** All bits clear, or set if full. The memory is only touched where bits
 * change. Returns 0 or -ENOMEM. */
int nbd_page_map_init(struct nbd_page_map *map, uint64_t pages, bool full);
void nbd_page_map_deinit(struct nbd_page_map *map);

void nbd_page_map_set(struct nbd_page_map *map, uint64_t first, uint64_t count);
void nbd_page_map_clear(struct nbd_page_map *map, uint64_t first,
			uint64_t count);
bool nbd_page_map_test(const struct nbd_page_map *map, uint64_t page);

/** First page in [first, end) whose bit is value, else end. */
uint64_t nbd_page_map_find(const struct nbd_page_map *map, uint64_t first,
			   uint64_t end, bool value);

/** How many bits are set. */
uint64_t nbd_page_map_count(const struct nbd_page_map *map);

#endif
