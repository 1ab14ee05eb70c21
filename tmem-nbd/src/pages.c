/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages between pool and overflow file, in the order that device.h draws. */
#include "pages.h"
#include <assert.h>
#include <errno.h>

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

/** Neighbouring pages that overflow holds become one segment; their memory is
 * in the bounce buffer, at the page's place in the request. */
static unsigned add_segment(struct nbd_io *io, unsigned segments,
			    uint64_t first, unsigned i)
{
	struct nbd_segment *last;

	if (segments) {
		last = &io->segments[segments - 1];
		if (last->page + last->count == first + i) {
			last->count++;
			return segments;
		}
	}
	io->segments[segments] = (struct nbd_segment){
		.page = first + i,
		.count = 1,
		.memory = io->bounce + (size_t)i * TMEM_PAGE_SIZE,
	};
	return segments + 1;
}

/** Read segments and copy them to where they belong. Returns the first page
 * that could not be read, or UINT64_MAX. */
static uint64_t read_overflow(struct nbd_device *device, struct nbd_io *io,
			      unsigned segments, uint64_t first, uint8_t *to)
{
	uint64_t failed = UINT64_MAX;
	const struct nbd_segment *segment;

	nbd_overflow_read(&device->overflow, &io->overflow, io->segments,
			  segments);
	for (segment = io->segments; segment < io->segments + segments;
	     segment++) {
		if (!segment->error) {
			memcpy(to + (segment->page - first) * TMEM_PAGE_SIZE,
			       segment->memory,
			       (size_t)segment->count * TMEM_PAGE_SIZE);
			nbd_io_count(io, TMEM_NBD_STAT_overflow_reads,
				     segment->count);
			continue;
		}
		nbd_io_count(io, TMEM_NBD_STAT_overflow_errors, segment->count);
		nbd_device_report(
			device,
			"reading %u pages at page %llu of the overflow file failed: %s",
			segment->count, (unsigned long long)segment->page,
			strerror(-segment->error));
		if (failed == UINT64_MAX)
			failed = segment->page;
	}
	return failed;
}

/** Whether somebody has flushed the whole pool: the device's record went too.
 */
static bool is_flushed(struct nbd_device *device)
{
	uint8_t record[TMEM_PAGE_SIZE];

	return tmem_get(device->pool, &nbd_device_record_oid, 0, record) !=
	       TMEM_OK;
}

/** The pool should hold page and does not. Returns whether that is a loss. */
static bool is_lost(struct nbd_device *device, struct nbd_io *io, uint64_t page)
{
	if (!nbd_page_map_test(&device->held, page))
		return false;
	if (!device->exact && !is_flushed(device)) {
		/* The lock is shared, but nobody else sets this bit now. */
		nbd_page_map_clear(&device->held, page, 1);
		return false;
	}
	nbd_io_count(io, TMEM_NBD_STAT_lost, 1);
	nbd_device_report(
		device,
		"page %llu is gone from the store: has its pool been flushed?",
		(unsigned long long)page);
	return true;
}

int nbd_pages_read(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   unsigned count, uint8_t *to, uint64_t *bad)
{
	uint64_t lost = UINT64_MAX, failed = UINT64_MAX;
	unsigned i, segments = 0;
	int r;

	assert(count && count <= TMEM_RUN_MAX);
	r = read_pool(device, io, first, count, to);
	if (r < 0) {
		*bad = first;
		return -EIO;
	}
	for (i = 0; i < count; i++) {
		if (io->outcome[i] == TMEM_OK)
			continue;
		if (is_lost(device, io, first + i)) {
			if (lost == UINT64_MAX)
				lost = first + i;
		} else if (nbd_page_map_test(&device->spilled, first + i)) {
			segments = add_segment(io, segments, first, i);
		} else {
			memset(to + (size_t)i * TMEM_PAGE_SIZE, 0,
			       TMEM_PAGE_SIZE);
		}
	}
	if (segments)
		failed = read_overflow(device, io, segments, first, to);
	if (lost == UINT64_MAX && failed == UINT64_MAX)
		return 0;
	*bad = lost < failed ? lost : failed;
	return -EIO;
}

/* Writing ----------------------------------------------------------------- */

/** Write what the store refused to its slots, and only then flush what the
 * pool still holds of these pages. */
static int write_overflow(struct nbd_device *device, struct nbd_io *io,
			  unsigned segments)
{
	const struct nbd_segment *segment;
	int r = 0;

	for (segment = io->segments; segment < io->segments + segments;
	     segment++)
		/* Before, as a write that fails may leave something. */
		nbd_page_map_set(&device->spilled, segment->page,
				 segment->count);
	nbd_overflow_write(&device->overflow, &io->overflow, io->segments,
			   segments);
	for (segment = io->segments; segment < io->segments + segments;
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

/** Write a run of pages: what the store takes to the pool, the rest to the
 * overflow file. */
static int write_run(struct nbd_device *device, struct nbd_io *io,
		     uint64_t first, unsigned count, const uint8_t *from)
{
	unsigned i, segments = 0, refused = 0;
	int r;

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
		memcpy(io->bounce + (size_t)i * TMEM_PAGE_SIZE,
		       from + (size_t)i * TMEM_PAGE_SIZE, TMEM_PAGE_SIZE);
		segments = add_segment(io, segments, first, i);
	}
	nbd_io_count(io, TMEM_NBD_STAT_refused, refused);
	if (device->overflow.fd >= 0)
		return write_overflow(device, io, segments);
	nbd_device_report(
		device,
		"the store has no room and there is no overflow file: writes fail");
	return -ENOSPC;
}

int nbd_pages_write(struct nbd_device *device, struct nbd_io *io,
		    uint64_t first, unsigned count, const uint8_t *from,
		    bool allocate)
{
	unsigned i = 0, begin;
	int r;

	assert(count && count <= TMEM_RUN_MAX);
	while (i < count) {
		for (begin = i; i < count; i++)
			if (!allocate &&
			    !nbd_pages_present(device, first + i) &&
			    nbd_is_zero(from + (size_t)i * TMEM_PAGE_SIZE,
					TMEM_PAGE_SIZE))
				break;
		if (i > begin) {
			r = write_run(device, io, first + begin, i - begin,
				      from + (size_t)begin * TMEM_PAGE_SIZE);
			if (r < 0)
				return r;
		}
		i++;
	}
	return 0;
}

/* Dropping ---------------------------------------------------------------- */

/** Zero slots where the file system has no holes. They stay marked. */
static int zero_slots(struct nbd_device *device, struct nbd_io *io,
		      uint64_t first, uint64_t count)
{
	struct nbd_segment segment = {.memory = io->bounce};

	memset(io->bounce, 0, (size_t)TMEM_RUN_MAX * TMEM_PAGE_SIZE);
	for (; count; count -= segment.count, first += segment.count) {
		segment.page = first;
		segment.count =
			count < TMEM_RUN_MAX ? (uint32_t)count : TMEM_RUN_MAX;
		nbd_overflow_write(&device->overflow, &io->overflow, &segment,
				   1);
		if (segment.error)
			return segment.error;
	}
	return 0;
}

static int drop_slots(struct nbd_device *device, struct nbd_io *io,
		      uint64_t first, uint64_t count)
{
	int r;

	if (!device->overflow.can_punch)
		return zero_slots(device, io, first, count);
	r = nbd_overflow_punch(&device->overflow, first, count);
	if (!r)
		nbd_page_map_clear(&device->spilled, first, count);
	return r;
}

int nbd_pages_drop(struct nbd_device *device, struct nbd_io *io, uint64_t first,
		   uint64_t count)
{
	uint64_t page, end = first + count;
	int r;

	/* The file first: a slot under a page of the pool may be stale and
	 * must not come to light. Both in one go, whatever lies between: to
	 * drop an absent page costs little, a call more. */
	page = nbd_page_map_find(&device->spilled, first, end, true);
	if (page < end) {
		r = drop_slots(device, io, page, end - page);
		if (r < 0) {
			nbd_io_count(io, TMEM_NBD_STAT_overflow_errors, 1);
			nbd_device_report(
				device,
				"dropping pages from the overflow file failed: %s",
				strerror(-r));
			return r;
		}
	}
	page = nbd_page_map_find(&device->held, first, end, true);
	if (page == end)
		return 0;
	if (tmem_flush_run(device->pool, &nbd_device_oid, (uint32_t)page,
			   end - page) < 0)
		return -EIO;
	nbd_page_map_clear(&device->held, page, end - page);
	return 0;
}
