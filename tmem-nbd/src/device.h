/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A block device whose pages are in a pool of a store and, where the store
 * refuses them, in an overflow file.
 *
 *            write                        read
 *   put --OK--> answer             get --hit--> answer
 *     | refused, old page kept       | miss
 *   write the slot                 read the slot, or zeros where the map
 *     |                              says that it is a hole
 *   flush the pool's old page      answer
 *     |
 *   answer
 *
 * Where pool and file both hold a page, the pool wins; a slot may be stale
 * then. So a page is dropped (TRIM) from the file first and from the pool
 * second, and at every instant a reader, or a server that is started after
 * this one was killed, finds the old page or the new one.
 *
 * Object {0, 0, 0} of the pool holds the device's pages, index = page of the
 * device; the store spreads an object over its shards by index. Object
 * {1, 0, 0}, index 0, is the device's record: what its overflow file's header
 * must agree with.
 *
 * Threading: a device is shared by all connections of an export; each has an
 * nbd_io of its own. nbd_pages_* want the range locked by the caller;
 * nbd_access_* lock it.
 */
#ifndef NBD_DEVICE_H
#define NBD_DEVICE_H

#include <stdatomic.h>
#include <tmem/client.h>
#include "export.h"
#include "overflow.h"
#include "page-map.h"
#include "range-lock.h"

struct nbd_device {
	struct tmem_pool *pool;
	uint64_t size;	/* bytes */
	uint64_t pages; /* the last one may be partly behind size */
	struct tmem_uuid id;
	struct nbd_overflow overflow;
	struct nbd_page_map held;    /* in the pool */
	struct nbd_page_map spilled; /* in the overflow file */
	/* Whether held is exact: then a miss of a held page is a loss. After
	 * a restart all bits are set, and misses clear them, as long as the
	 * device's record is there. */
	bool exact;
	/* The overflow file is read and written by plain calls: io_uring
	 * allocates for each request, and as a thread first uses it. */
	bool host_swap;
	struct nbd_range_lock range_lock;
	struct nbd_writeout *writeout; /* NULL: nothing is written out */
	/* Of nbd_device_report(). */
	pthread_mutex_t report_lock;
	int64_t report_next; /* seconds */
	unsigned reports_skipped;
	const char *name;
};

/** Slots around one that is read: neighbours of a block of so many are read
 * ahead. Linux swaps in as many by default. */
#define NBD_READ_AHEAD 8u

/** Pages on their way to or from the overflow file, of one access. */
struct nbd_transfer {
	/* O_DIRECT wants it aligned: TMEM_RUN_MAX pages, and what is read ahead
	 * on both sides. NULL without an overflow file. */
	uint8_t *memory;
	uint64_t base; /* page whose place is at the beginning of memory */
	struct nbd_segment segments[TMEM_RUN_MAX + 2 * NBD_READ_AHEAD];
	unsigned count;	 /* segments */
	unsigned wanted; /* of them; the others are read ahead */
	unsigned left;	 /* under way */
	bool back;	 /* READ: pages come back to the pool */
	uint64_t lost;	 /* READ: a page, or UINT64_MAX */
};

/** What a thread needs to access a device. */
struct nbd_io {
	struct nbd_overflow_io overflow;
	struct nbd_transfer transfer;
	uint8_t outcome[TMEM_RUN_MAX];
	uint8_t page[TMEM_PAGE_SIZE]; /* one that is partly accessed */
	/* Written by the owner alone. */
	_Atomic(uint64_t) stats[TMEM_NBD_STAT_COUNT];
};

/** The device's data and its record, as objects of its pool. */
extern const struct tmem_oid nbd_device_oid;
extern const struct tmem_oid nbd_device_record_oid;

/**
 * Begin a device, or take up the one that pool and overflow file hold. pool
 * and config's descriptors stay the caller's; config's store is not looked at,
 * generation is its arena's. Returns and errors as tmem_nbd_export_start().
 */
int nbd_device_open(const struct tmem_nbd_export_config *config,
		    struct tmem_pool *pool, uint64_t generation,
		    struct nbd_device **out, char *why, size_t why_size);

/** Nobody uses the device any more. NULL is fine. Always returns NULL. */
struct nbd_device *nbd_device_close(struct nbd_device *device);

/** Log an error of the device: at most one line in 5 s, which says how many
 * were left out. */
void nbd_device_report(struct nbd_device *device, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Returns 0 or -ENOMEM. */
int nbd_transfer_init(struct nbd_transfer *transfer);
void nbd_transfer_deinit(struct nbd_transfer *transfer);

/** Returns 0 or -ENOMEM. */
int nbd_io_init(struct nbd_io *io, const struct nbd_device *device);
void nbd_io_deinit(struct nbd_io *io);

static inline void nbd_io_count(struct nbd_io *io, enum tmem_nbd_stat stat,
				uint64_t n)
{
	/* One writer: no read-modify-write needed; readers only look. */
	atomic_store_explicit(
		&io->stats[stat],
		atomic_load_explicit(&io->stats[stat], memory_order_relaxed) +
			n,
		memory_order_relaxed);
}

#endif
