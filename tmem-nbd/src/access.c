/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes to pages: locking, partial pages, extents. */
#include "access.h"
#include <assert.h>
#include "pages.h"

/** An access cut at page boundaries: a partial page, whole pages, and a
 * partial page, each of them perhaps empty. */
struct cut {
	struct nbd_range range; /* pages touched */
	uint32_t head_skip;	/* bytes of the first page before offset */
	uint32_t head;		/* bytes in the first page if partial */
	uint64_t middle;	/* first whole page */
	uint32_t pages;		/* whole pages */
	uint32_t tail;		/* bytes in the last page if partial */
};

static struct cut cut(uint64_t offset, uint32_t length)
{
	uint64_t first = offset / TMEM_PAGE_SIZE;
	uint64_t last = (offset + length - 1) / TMEM_PAGE_SIZE;
	uint32_t skip = offset % TMEM_PAGE_SIZE;
	struct cut c = {.range = {.first = first, .count = last - first + 1},
			.head_skip = skip,
			.middle = first};

	if (skip || length < TMEM_PAGE_SIZE) {
		c.head = TMEM_PAGE_SIZE - skip;
		if (c.head > length)
			c.head = length;
		c.middle++;
		length -= c.head;
	}
	c.pages = length / TMEM_PAGE_SIZE;
	c.tail = length % TMEM_PAGE_SIZE;
	return c;
}

/* Reading ----------------------------------------------------------------- */

bool nbd_access_get(struct nbd_device *device, uint64_t offset, uint32_t length,
		    uint8_t *to)
{
	struct nbd_range range = {.first = offset / TMEM_PAGE_SIZE,
				  .count = length / TMEM_PAGE_SIZE};
	bool held;

	assert(length && length <= NBD_ACCESS_MAX);
	if ((offset | length) % TMEM_PAGE_SIZE)
		return false;
	/* One page needs no lock: what the store has of it is the device's, at
	 * every instant. */
	if (range.count == 1)
		return nbd_pages_get(device, &range, to);
	/* The thread may hold others (task.h). */
	if (!nbd_range_try_lock(&device->range_lock, &range, false))
		return false;
	held = nbd_pages_get(device, &range, to);
	nbd_range_unlock(&device->range_lock, &range);
	return held;
}

static int read_part(struct nbd_device *device, struct nbd_io *io,
		     uint64_t page, uint32_t skip, uint32_t length, uint8_t *to,
		     uint64_t *bad)
{
	int r = nbd_pages_read(device, io, page, 1, io->page, bad);

	if (!r)
		memcpy(to, io->page + skip, length);
	return r;
}

static int read_cut(struct nbd_device *device, struct nbd_io *io,
		    const struct cut *c, uint8_t *to, uint64_t *bad)
{
	int r = 0;

	if (c->head)
		r = read_part(device, io, c->range.first, c->head_skip, c->head,
			      to, bad);
	to += c->head;
	if (!r && c->pages)
		r = nbd_pages_read(device, io, c->middle, c->pages, to, bad);
	to += (size_t)c->pages * TMEM_PAGE_SIZE;
	if (!r && c->tail)
		r = read_part(device, io, c->middle + c->pages, 0, c->tail, to,
			      bad);
	return r;
}

int nbd_access_read(struct nbd_device *device, struct nbd_io *io,
		    uint64_t offset, uint32_t length, uint8_t *to,
		    uint64_t *bad)
{
	struct cut c = cut(offset, length);
	uint64_t page;
	int r;

	assert(length && length <= NBD_ACCESS_MAX);
	nbd_range_lock_shared(&device->range_lock, &c.range);
	r = read_cut(device, io, &c, to, &page);
	nbd_range_unlock(&device->range_lock, &c.range);
	if (r < 0) {
		*bad = page * TMEM_PAGE_SIZE;
		if (*bad < offset)
			*bad = offset;
	}
	return r;
}

/* Writing ----------------------------------------------------------------- */

/** Change some bytes of a page. from NULL writes zeros. */
static int write_part(struct nbd_device *device, struct nbd_io *io,
		      uint64_t page, uint32_t skip, uint32_t length,
		      const uint8_t *from)
{
	uint64_t bad;
	int r = nbd_pages_read(device, io, page, 1, io->page, &bad);

	if (r < 0)
		return r;
	nbd_io_count(io, TMEM_NBD_STAT_partial_writes, 1);
	if (from)
		memcpy(io->page + skip, from, length);
	else
		memset(io->page + skip, 0, length);
	return nbd_pages_write(device, io, page, 1, io->page, false);
}

static int write_cut(struct nbd_device *device, struct nbd_io *io,
		     const struct cut *c, const uint8_t *from)
{
	int r = 0;

	if (c->head)
		r = write_part(device, io, c->range.first, c->head_skip,
			       c->head, from);
	from += c->head;
	if (!r && c->pages)
		r = nbd_pages_write(device, io, c->middle, c->pages, from,
				    false);
	from += (size_t)c->pages * TMEM_PAGE_SIZE;
	if (!r && c->tail)
		r = write_part(device, io, c->middle + c->pages, 0, c->tail,
			       from);
	return r;
}

int nbd_access_write(struct nbd_device *device, struct nbd_io *io,
		     uint64_t offset, uint32_t length, const uint8_t *from)
{
	struct cut c = cut(offset, length);
	int r;

	assert(length && length <= NBD_ACCESS_MAX);
	nbd_range_lock_exclusive(&device->range_lock, &c.range);
	r = write_cut(device, io, &c, from);
	nbd_range_unlock(&device->range_lock, &c.range);
	return r;
}

/* Zeroing ----------------------------------------------------------------- */

const uint8_t nbd_access_zeros[NBD_ACCESS_MAX];

static int zero_part(struct nbd_device *device, struct nbd_io *io,
		     uint64_t offset, uint32_t length)
{
	struct nbd_range range = {.first = offset / TMEM_PAGE_SIZE, .count = 1};
	int r;

	nbd_range_lock_exclusive(&device->range_lock, &range);
	r = write_part(device, io, range.first, offset % TMEM_PAGE_SIZE, length,
		       NULL);
	nbd_range_unlock(&device->range_lock, &range);
	return r;
}

static int zero_pages(struct nbd_device *device, struct nbd_io *io,
		      uint64_t first, uint64_t end, enum nbd_zero how)
{
	uint64_t max = how == NBD_ZERO_ALLOCATE ? TMEM_RUN_MAX : NBD_DROP_MAX;
	struct nbd_range range;
	int r = 0;

	for (; first < end && !r; first += range.count) {
		range.first = first;
		range.count = end - first < max ? end - first : max;
		nbd_range_lock_exclusive(&device->range_lock, &range);
		if (how == NBD_ZERO_ALLOCATE)
			r = nbd_pages_write(device, io, first,
					    (unsigned)range.count,
					    nbd_access_zeros, true);
		else
			r = nbd_pages_drop(device, io, first, range.count);
		nbd_range_unlock(&device->range_lock, &range);
	}
	return r;
}

/** The end of the whole pages that zeroing up to end does away with. */
static uint64_t whole_end(const struct nbd_device *device, uint64_t end)
{
	/* Behind the device's end there is nothing to keep. */
	return end == device->size ? device->pages : end / TMEM_PAGE_SIZE;
}

bool nbd_access_zero_range(const struct nbd_device *device, uint64_t offset,
			   uint64_t length, enum nbd_zero how,
			   struct nbd_range *range)
{
	uint64_t end = offset + length, last = whole_end(device, end);

	range->first = (offset + TMEM_PAGE_SIZE - 1) / TMEM_PAGE_SIZE;
	range->count = last > range->first ? last - range->first : 0;
	return how == NBD_ZERO_TRIM ||
	       (offset % TMEM_PAGE_SIZE == 0 && last * TMEM_PAGE_SIZE >= end);
}

int nbd_access_zero(struct nbd_device *device, struct nbd_io *io,
		    uint64_t offset, uint64_t length, enum nbd_zero how)
{
	const uint64_t mask = TMEM_PAGE_SIZE - 1;
	uint64_t end = offset + length;
	uint64_t first = (offset + mask) & ~mask;
	uint64_t last = whole_end(device, end) * TMEM_PAGE_SIZE;
	int r = 0;

	if (first > last) {
		/* Within one page. */
		return how == NBD_ZERO_TRIM ? 0
					    : zero_part(device, io, offset,
							(uint32_t)length);
	}
	if (how != NBD_ZERO_TRIM && offset < first)
		r = zero_part(device, io, offset, (uint32_t)(first - offset));
	if (!r)
		r = zero_pages(device, io, first / TMEM_PAGE_SIZE,
			       last / TMEM_PAGE_SIZE, how);
	if (!r && how != NBD_ZERO_TRIM && last < end)
		r = zero_part(device, io, last, (uint32_t)(end - last));
	return r;
}

bool nbd_access_zero_is_fast(const struct nbd_device *device, uint64_t offset,
			     uint64_t length, enum nbd_zero how)
{
	uint64_t first = offset / TMEM_PAGE_SIZE;
	uint64_t end = (offset + length - 1) / TMEM_PAGE_SIZE + 1;

	if (how == NBD_ZERO_ALLOCATE)
		return false;
	return device->overflow.fd < 0 || device->overflow.can_punch ||
	       nbd_page_map_find(&device->spilled, first, end, true) == end;
}

int nbd_access_sync(struct nbd_device *device, struct nbd_io *io)
{
	int r;

	if (device->overflow.fd < 0)
		return 0;
	r = nbd_overflow_sync(&device->overflow, &io->overflow);
	if (r < 0) {
		nbd_device_report(device,
				  "flushing the overflow file failed: %s",
				  strerror(-r));
		return r;
	}
	nbd_io_count(io, TMEM_NBD_STAT_overflow_syncs, (uint64_t)r);
	return 0;
}

unsigned nbd_access_extents(const struct nbd_device *device, uint64_t offset,
			    uint64_t length, struct nbd_extent *extents,
			    unsigned max)
{
	uint64_t end = offset + length, until;
	uint64_t page = offset / TMEM_PAGE_SIZE;
	uint64_t last = (end - 1) / TMEM_PAGE_SIZE + 1;
	unsigned count = 0;
	bool present;

	assert(length && max);
	while (offset < end && count < max) {
		present = nbd_pages_present(device, page);
		page = nbd_pages_find(device, page, last, !present);
		until = page * TMEM_PAGE_SIZE;
		if (until > end)
			until = end;
		/* A page that changed under our eyes: look again. */
		if (until <= offset)
			continue;
		extents[count++] = (struct nbd_extent){.length = until - offset,
						       .present = present};
		offset = until;
	}
	return count;
}
