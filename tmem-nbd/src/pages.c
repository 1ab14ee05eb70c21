/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages between pool and overflow file, in the order that device.h draws. */
#include "pages.h"
#include <assert.h>
#include <errno.h>
#include "writeout.h"

/** Pages come back from the file while more than this part of the room is free;
 * half of what writing out makes. */
#define ROOM_PART 64

bool nbd_is_zero(const uint8_t *bytes, size_t length)
{
	uint64_t word[4];

	for (; length >= sizeof(word); length -= sizeof(word)) {
		memcpy(word, bytes, sizeof(word));
		if (word[0] | word[1] | word[2] | word[3])
			return false;
		bytes += sizeof(word);
	}
	while (length)
		if (bytes[--length])
			return false;
	return true;
}

bool nbd_pages_present(const struct nbd_device *device, uint64_t page)
{
	return nbd_page_map_test(&device->held, page) ||
	       nbd_page_map_test(&device->spilled, page);
}

uint64_t nbd_pages_find(const struct nbd_device *device, uint64_t first,
			uint64_t end, bool value)
{
	const struct nbd_page_map *held = &device->held;
	const struct nbd_page_map *spilled = &device->spilled;
	uint64_t page = first;

	if (value) {
		page = nbd_page_map_find(held, first, end, true);
		return nbd_page_map_find(spilled, first, page, true);
	}
	while (page < end) {
		if (nbd_page_map_test(held, page))
			page = nbd_page_map_find(held, page, end, false);
		else if (nbd_page_map_test(spilled, page))
			page = nbd_page_map_find(spilled, page, end, false);
		else
			break;
	}
	return page;
}

void nbd_pages_ahead(struct nbd_device *device, const uint32_t *pages,
		     unsigned count, bool put)
{
	tmem_ahead(device->pool, &nbd_device_oid, pages, count, put);
}

/* Reading ----------------------------------------------------------------- */

bool nbd_pages_get(struct nbd_device *device, const struct nbd_range *range,
		   uint8_t *to)
{
	unsigned count = (unsigned)range->count;
	uint64_t end = range->first + count;

	assert(count && count <= TMEM_RUN_MAX);
	/* Others are told from the map: a call that misses costs more. */
	return nbd_page_map_find(&device->held, range->first, end, false) ==
		       end &&
	       tmem_get_run(device->pool, &nbd_device_oid,
			    (uint32_t)range->first, count, to,
			    NULL) == (int)count;
}

/** Ask the pool for what it may hold; outcome tells what it did. */
static int read_pool(struct nbd_device *device, struct nbd_io *io,
		     uint64_t first, unsigned count, uint8_t *to)
{
	uint64_t page = first, end = first + count, next;
	unsigned i, n;
	int r;

	for (; page < end; page = next) {
		i = (unsigned)(page - first);
		next = nbd_page_map_find(&device->held, page, end, true);
		memset(io->outcome + i, TMEM_MISS, (size_t)(next - page));
		if (next > page)
			continue;
		next = nbd_page_map_find(&device->held, page, end, false);
		n = (unsigned)(next - page);
		r = tmem_get_run(device->pool, &nbd_device_oid, (uint32_t)page,
				 n, to + (size_t)i * TMEM_PAGE_SIZE,
				 io->outcome + i);
		if (r < 0)
			return r;
	}
	return 0;
}

static void begin(struct nbd_transfer *x, uint64_t first)
{
	x->base = first - first % NBD_READ_AHEAD;
	x->count = x->wanted = x->left = 0;
	x->lost = UINT64_MAX;
}

static uint8_t *place_of(const struct nbd_transfer *x, uint64_t page)
{
	return x->memory + (size_t)(page - x->base) * TMEM_PAGE_SIZE;
}

/** Neighbouring pages that the file holds become one segment. */
static void add_segment(struct nbd_transfer *x, unsigned from, uint64_t page)
{
	struct nbd_segment *last;

	if (x->count > from) {
		last = &x->segments[x->count - 1];
		if (last->page + last->count == page) {
			last->count++;
			return;
		}
	}
	x->segments[x->count++] = (struct nbd_segment){
		.page = page, .count = 1, .memory = place_of(x, page)};
}

/** Whether there is room in the pool for what is read from the file, without
 * another page having to go. */
static bool has_room(const struct nbd_device *device)
{
	struct tmem_room room;

	return !tmem_pool_room(device->pool, &room) &&
	       room.free > (int64_t)(room.limit / ROOM_PART);
}

/** Add slots beside [first, end) that are likely to be read next. The lock of a
 * page is that of its block, of which these are part. */
static void add_neighbours(const struct nbd_device *device,
			   struct nbd_transfer *x, uint64_t first, uint64_t end)
{
	uint64_t page = x->base, last = end + NBD_READ_AHEAD - 1;

	last -= last % NBD_READ_AHEAD;
	if (last > device->pages)
		last = device->pages;
	for (; page < last; page++) {
		if (page == first)
			page = end;
		if (page < last && nbd_page_map_test(&device->spilled, page) &&
		    !nbd_page_map_test(&device->held, page))
			add_segment(x, x->wanted, page);
	}
}

/** Put what came from the file back into the pool. The lock may be shared: two
 * who do so with a page have the same bytes. */
static void take_back(struct nbd_device *device, struct nbd_io *io,
		      const struct nbd_segment *segment)
{
	uint32_t i;
	int r;

	r = tmem_replace_run(device->pool, &nbd_device_oid,
			     (uint32_t)segment->page, segment->count,
			     segment->memory, io->outcome);
	for (i = 0; r > 0 && i < segment->count; i++)
		if (io->outcome[i] == TMEM_OK)
			nbd_page_map_set(&device->held, segment->page + i, 1);
	if (r > 0)
		nbd_io_count(io, TMEM_NBD_STAT_taken_back, (uint64_t)r);
}

/** A segment that was wanted has been read. Returns the page that could not be,
 * or UINT64_MAX. */
static uint64_t end_segment(struct nbd_device *device, struct nbd_io *io,
			    const struct nbd_segment *segment, uint8_t *to)
{
	uint64_t bad = segment->page + segment->done / TMEM_PAGE_SIZE;

	if (!segment->error) {
		if (to != segment->memory)
			memcpy(to, segment->memory,
			       (size_t)segment->count * TMEM_PAGE_SIZE);
		nbd_io_count(io, TMEM_NBD_STAT_overflow_reads, segment->count);
		return UINT64_MAX;
	}
	nbd_io_count(io, TMEM_NBD_STAT_overflow_errors, 1);
	nbd_device_report(device,
			  "reading page %llu of the overflow file failed: %s",
			  (unsigned long long)bad, strerror(-segment->error));
	return bad;
}

/** Whether somebody has flushed the whole pool: the device's record went too.
 */
static bool is_flushed(struct nbd_device *device)
{
	uint8_t record[TMEM_PAGE_SIZE];

	return tmem_get(device->pool, &nbd_device_record_oid, 0, record) !=
	       TMEM_OK;
}

static bool is_there(struct nbd_device *device, uint64_t page)
{
	uint8_t copy[TMEM_PAGE_SIZE];

	return tmem_get(device->pool, &nbd_device_oid, (uint32_t)page, copy) ==
	       TMEM_OK;
}

/** The pool did not give page. Returns whether it should have, and that is a
 * loss. The lock is shared: somebody else may have read the page from the file
 * and taken it back since. */
static bool is_lost(struct nbd_device *device, struct nbd_io *io, uint64_t page)
{
	if (!nbd_page_map_test(&device->held, page))
		return false;
	if (!device->exact && !is_flushed(device)) {
		nbd_page_map_clear(&device->held, page, 1);
		if (is_there(device, page))
			nbd_page_map_set(&device->held, page, 1);
		return false;
	}
	if (is_there(device, page))
		return false;
	nbd_io_count(io, TMEM_NBD_STAT_lost, 1);
	nbd_device_report(
		device,
		"page %llu is gone from the store: has its pool been flushed?",
		(unsigned long long)page);
	return true;
}

void nbd_pages_begin_read(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *x, uint64_t first,
			  unsigned count, uint8_t *to)
{
	unsigned i;

	assert(count && count <= TMEM_RUN_MAX);
	begin(x, first);
	if (read_pool(device, io, first, count, to) < 0) {
		x->lost = first;
		return;
	}
	for (i = 0; i < count; i++) {
		if (io->outcome[i] == TMEM_OK)
			continue;
		if (is_lost(device, io, first + i)) {
			if (x->lost == UINT64_MAX)
				x->lost = first + i;
		} else if (nbd_page_map_test(&device->spilled, first + i)) {
			add_segment(x, 0, first + i);
		} else {
			memset(to + (size_t)i * TMEM_PAGE_SIZE, 0,
			       TMEM_PAGE_SIZE);
		}
	}
	if (!x->count)
		return;
	x->wanted = x->count;
	x->back = has_room(device);
	if (x->back)
		add_neighbours(device, x, first, first + count);
	nbd_overflow_begin(&device->overflow, &io->overflow, NBD_READ,
			   x->segments, x->count, &x->left);
}

int nbd_pages_end_read(struct nbd_device *device, struct nbd_io *io,
		       struct nbd_transfer *x, uint64_t first, uint8_t *to,
		       uint64_t *bad)
{
	uint64_t failed = UINT64_MAX, page;
	const struct nbd_segment *segment;
	unsigned i;

	for (i = 0; i < x->count; i++) {
		segment = &x->segments[i];
		if (i < x->wanted) {
			page = end_segment(
				device, io, segment,
				to + (size_t)(segment->page - first) *
						TMEM_PAGE_SIZE);
			if (page < failed)
				failed = page;
		} else if (!segment->error) {
			nbd_io_count(io, TMEM_NBD_STAT_read_ahead,
				     segment->count);
		}
		if (x->back && !segment->error)
			take_back(device, io, segment);
	}
	if (x->lost == UINT64_MAX && failed == UINT64_MAX)
		return 0;
	*bad = x->lost < failed ? x->lost : failed;
	return -EIO;
}

static void wait_for(struct nbd_device *device, struct nbd_io *io,
		     const struct nbd_transfer *x)
{
	while (x->left)
		nbd_overflow_reap(&device->overflow, &io->overflow, true);
}

int nbd_pages_read(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   unsigned count, uint8_t *to, uint64_t *bad)
{
	struct nbd_transfer *x = &io->transfer;

	nbd_pages_begin_read(device, io, x, first, count, to);
	wait_for(device, io, x);
	return nbd_pages_end_read(device, io, x, first, to, bad);
}

/* Writing ----------------------------------------------------------------- */

/** Write what the store refused to its slots. */
static void begin_overflow(struct nbd_device *device, struct nbd_io *io,
			   struct nbd_transfer *x)
{
	const struct nbd_segment *segment;

	for (segment = x->segments; segment < x->segments + x->count;
	     segment++) {
		nbd_writeout_forestall(device, segment->page, segment->count,
				       true);
		/* Before, as a write that fails may leave something. */
		nbd_page_map_set(&device->spilled, segment->page,
				 segment->count);
	}
	nbd_overflow_begin(&device->overflow, &io->overflow, NBD_WRITE,
			   x->segments, x->count, &x->left);
}

/** Only now flush what the pool still holds of these pages. */
int nbd_pages_end_write(struct nbd_device *device, struct nbd_io *io,
			struct nbd_transfer *x)
{
	const struct nbd_segment *segment;
	int r = 0;

	for (segment = x->segments; segment < x->segments + x->count;
	     segment++) {
		if (segment->error) {
			nbd_io_count(io, TMEM_NBD_STAT_overflow_errors,
				     segment->count);
			nbd_device_report(
				device,
				"writing %u pages at page %llu of the overflow file failed: %s",
				segment->count,
				(unsigned long long)segment->page,
				strerror(-segment->error));
			r = r ? r : segment->error;
			continue;
		}
		nbd_io_count(io, TMEM_NBD_STAT_overflow_writes, segment->count);
		if (tmem_flush_run(device->pool, &nbd_device_oid,
				   (uint32_t)segment->page,
				   segment->count) < 0) {
			r = r ? r : -EIO;
			continue;
		}
		nbd_page_map_clear(&device->held, segment->page,
				   segment->count);
	}
	return r;
}

/** Put a run of pages; what the store refuses becomes segments. */
static int put_run(struct nbd_device *device, struct nbd_io *io,
		   struct nbd_transfer *x, uint64_t first, unsigned count,
		   const uint8_t *from)
{
	unsigned i, refused = 0;
	int r;

	nbd_writeout_forestall(device, first, count, false);
	r = tmem_replace_run(device->pool, &nbd_device_oid, (uint32_t)first,
			     count, from, io->outcome);
	if (r < 0)
		return -EIO;
	if ((unsigned)r == count) {
		nbd_page_map_set(&device->held, first, count);
		return 0;
	}
	for (i = 0; i < count; i++) {
		if (io->outcome[i] == TMEM_OK) {
			nbd_page_map_set(&device->held, first + i, 1);
			continue;
		}
		refused++;
		if (device->overflow.fd < 0)
			continue;
		add_segment(x, 0, first + i);
		memcpy(place_of(x, first + i),
		       from + (size_t)i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
	}
	nbd_io_count(io, TMEM_NBD_STAT_refused, refused);
	if (device->overflow.fd >= 0)
		return 0;
	nbd_device_report(
		device,
		"the store has no room and there is no overflow file: writes fail");
	return -ENOSPC;
}

int nbd_pages_begin_write(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *x, uint64_t first,
			  unsigned count, const uint8_t *from, bool allocate)
{
	unsigned i = 0, start;
	int r = 0;

	assert(count && count <= TMEM_RUN_MAX);
	begin(x, first);
	while (i < count && !r) {
		for (start = i; i < count; i++)
			if (!allocate &&
			    !nbd_pages_present(device, first + i) &&
			    nbd_is_zero(from + (size_t)i * TMEM_PAGE_SIZE,
					TMEM_PAGE_SIZE))
				break;
		if (i > start)
			r = put_run(device, io, x, first + start, i - start,
				    from + (size_t)start * TMEM_PAGE_SIZE);
		i++;
	}
	if (r)
		x->count = 0;
	else if (x->count)
		begin_overflow(device, io, x);
	return r;
}

int nbd_pages_write(struct nbd_device *device, struct nbd_io *io,
		    uint64_t first, unsigned count, const uint8_t *from,
		    bool allocate)
{
	struct nbd_transfer *x = &io->transfer;
	int r = nbd_pages_begin_write(device, io, x, first, count, from,
				      allocate);

	if (r < 0)
		return r;
	wait_for(device, io, x);
	return nbd_pages_end_write(device, io, x);
}

/* Dropping ---------------------------------------------------------------- */

/** Slots of zeros where the file system has no holes. They stay marked. */
static void add_zeros(struct nbd_transfer *x, uint64_t first, uint64_t end)
{
	struct nbd_segment *segment;

	memset(x->memory, 0, (size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	for (; first < end; first += segment->count) {
		segment = &x->segments[x->count++];
		*segment = (struct nbd_segment){.page = first,
						.count = TMEM_RUN_MAX,
						.memory = x->memory};
		if (end - first < TMEM_RUN_MAX)
			segment->count = (uint32_t)(end - first);
	}
}

void nbd_pages_begin_drop(struct nbd_device *device, struct nbd_io *io,
			  struct nbd_transfer *x, uint64_t first,
			  uint64_t count)
{
	enum nbd_transfer_kind kind = NBD_WRITE;
	uint64_t page, end = first + count;

	assert(count && count <= NBD_DROP_MAX);
	begin(x, first);
	/* The file first: a slot under a page of the pool may be stale and
	 * must not come to light. Both in one go, whatever lies between: to
	 * drop an absent page costs little, a call more. */
	nbd_writeout_forestall(device, first, count, true);
	page = nbd_page_map_find(&device->spilled, first, end, true);
	if (page == end)
		return;
	if (device->overflow.can_punch) {
		kind = NBD_PUNCH;
		x->segments[x->count++] =
			(struct nbd_segment){.page = page,
					     .memory = x->memory,
					     .count = (uint32_t)(end - page)};
	} else {
		add_zeros(x, page, end);
	}
	nbd_overflow_begin(&device->overflow, &io->overflow, kind, x->segments,
			   x->count, &x->left);
}

/** The slots are done with. */
static int end_slots(struct nbd_device *device, struct nbd_io *io,
		     const struct nbd_transfer *x)
{
	const struct nbd_segment *segment;

	for (segment = x->segments; segment < x->segments + x->count;
	     segment++) {
		if (segment->error) {
			nbd_io_count(io, TMEM_NBD_STAT_overflow_errors, 1);
			nbd_device_report(
				device,
				"dropping pages from the overflow file failed: %s",
				strerror(-segment->error));
			return segment->error;
		}
		if (segment->kind == NBD_PUNCH)
			nbd_page_map_clear(&device->spilled, segment->page,
					   segment->count);
	}
	return 0;
}

int nbd_pages_end_drop(struct nbd_device *device, struct nbd_io *io,
		       const struct nbd_transfer *x, uint64_t first,
		       uint64_t count)
{
	uint64_t page, end = first + count;
	int r = end_slots(device, io, x);

	if (r < 0)
		return r;
	page = nbd_page_map_find(&device->held, first, end, true);
	if (page == end)
		return 0;
	if (tmem_flush_run(device->pool, &nbd_device_oid, (uint32_t)page,
			   end - page) < 0)
		return -EIO;
	nbd_page_map_clear(&device->held, page, end - page);
	return 0;
}

int nbd_pages_drop(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   uint64_t count)
{
	struct nbd_transfer *x = &io->transfer;

	nbd_pages_begin_drop(device, io, x, first, count);
	wait_for(device, io, x);
	return nbd_pages_end_drop(device, io, x, first, count);
}
