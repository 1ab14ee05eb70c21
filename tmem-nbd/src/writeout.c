/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing out (writeout.h), a batch of the pool's coldest pages at a time:
 *
 *                      no lock       which pages, in rising order; published
 *   block after block, shared lock   their bytes, from the pool
 *                      no lock       neighbours in one write, all under way
 *                                    together; wait for them
 *   block after block, exclusive     flush what was written from the pool
 *                      no lock       withdrawn
 *
 * No page is locked while the file is written, however slow it is: reads find
 * it in the pool, and writes replace it there. Whoever changes a page that is
 * published says so, and it is not flushed then: the pool has the newer page,
 * and the slot is stale. Only who is to write or punch a slot that is being
 * written waits for that.
 *
 * So at every instant the page is in the pool, or its slot is complete.
 *
 *   asleep --told by the store--> batches --room again--> asleep
 *                                    | none could be written
 *                                  pause, longer each time
 */
#include "writeout.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "pages.h"
#include "thread.h"

/* Goes on until this part of the room is free. */
#define FREE_PART 32

/* The pause when nothing could be written: a disk that is full or bad stays so
 * for a while. */
#define PAUSE_MIN_MS 250
#define PAUSE_MAX_MS 8000

struct nbd_writeout {
	struct nbd_device *device;
	pthread_t thread;
	int bell; /* eventfd: the store's, and to stop */
	atomic_bool stopping;
	struct nbd_io io;

	/* The batch. count is read without the lock by who changes a page:
	 * it holds that page's lock, which was held shared after count was
	 * set, before the page's bytes were read. */
	pthread_mutex_t lock;
	pthread_cond_t written;
	atomic_uint count;
	uint64_t under_way; /* number of the batch whose slots are
			     * being written, or 0 */
	uint64_t batches;
	uint32_t page[TMEM_RUN_MAX]; /* rising */
	bool changed[TMEM_RUN_MAX];
};

/* For those who change pages ---------------------------------------------- */

/** The first place in the batch whose page is not below page. Under the lock.
 */
static unsigned place_of(const struct nbd_writeout *w, uint64_t page)
{
	unsigned low = 0, high = w->count, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (w->page[middle] < page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void nbd_writeout_forestall(struct nbd_device *device, uint64_t first,
			    uint64_t count, bool slots)
{
	struct nbd_writeout *w = device->writeout;
	uint64_t batch;
	bool any = false;
	unsigned i;

	if (!w || !atomic_load_explicit(&w->count, memory_order_relaxed))
		return;
	pthread_mutex_lock(&w->lock);
	for (i = place_of(w, first); i < w->count && w->page[i] < first + count;
	     i++) {
		w->changed[i] = true;
		any = true;
	}
	/* A later batch has none of these pages: they are locked. */
	batch = any && slots ? w->under_way : 0;
	while (batch && w->under_way == batch)
		pthread_cond_wait(&w->written, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

/* A batch ----------------------------------------------------------------- */

static int rising(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void publish(struct nbd_writeout *w, unsigned count)
{
	qsort(w->page, count, sizeof(w->page[0]), rising);
	pthread_mutex_lock(&w->lock);
	memset(w->changed, 0, sizeof(w->changed));
	w->count = count;
	pthread_mutex_unlock(&w->lock);
}

static void withdraw(struct nbd_writeout *w)
{
	pthread_mutex_lock(&w->lock);
	w->count = 0;
	pthread_mutex_unlock(&w->lock);
}

/** The pages from i on that one lock is for. */
static struct nbd_range range_of(const struct nbd_writeout *w, unsigned i,
				 unsigned *end)
{
	uint64_t block = w->page[i] >> NBD_RANGE_BLOCK_SHIFT;

	for (*end = i + 1; *end < w->count; ++*end)
		if (w->page[*end] >> NBD_RANGE_BLOCK_SHIFT != block)
			break;
	return (struct nbd_range){.first = w->page[i],
				  .count = w->page[*end - 1] - w->page[i] + 1};
}

static void read_pages(struct nbd_writeout *w)
{
	struct nbd_device *device = w->device;
	struct nbd_range range;
	unsigned i = 0, end;

	for (; i < w->count; i = end) {
		range = range_of(w, i, &end);
		nbd_range_lock_shared(&device->range_lock, &range);
		for (unsigned at = i; at < end; at++)
			w->io.outcome[at] = (uint8_t)tmem_get(
				device->pool, &nbd_device_oid, w->page[at],
				w->io.transfer.memory +
					(size_t)at * TMEM_PAGE_SIZE);
		nbd_range_unlock(&device->range_lock, &range);
	}
}

/** What is to be written, neighbours together; from here on nobody else touches
 * these slots. Returns segments. */
static unsigned begin_writing(struct nbd_writeout *w)
{
	struct nbd_segment *last = NULL;
	unsigned segments = 0;

	pthread_mutex_lock(&w->lock);
	for (unsigned i = 0; i < w->count; i++) {
		uint8_t *memory =
			w->io.transfer.memory + (size_t)i * TMEM_PAGE_SIZE;

		if (w->changed[i] || w->io.outcome[i] != TMEM_OK) {
			w->changed[i] = true;
			continue;
		}
		/* Before, as a write that fails may leave something. */
		nbd_page_map_set(&w->device->spilled, w->page[i], 1);
		if (last && last->page + last->count == w->page[i] &&
		    last->memory + (size_t)last->count * TMEM_PAGE_SIZE ==
			    memory) {
			last->count++;
			continue;
		}
		last = &w->io.transfer.segments[segments++];
		*last = (struct nbd_segment){
			.page = w->page[i], .count = 1, .memory = memory};
	}
	w->under_way = ++w->batches;
	pthread_mutex_unlock(&w->lock);
	return segments;
}

/** Returns the pages that are in their slots; the others are marked changed. */
static unsigned end_writing(struct nbd_writeout *w, unsigned segments)
{
	unsigned written = 0;

	pthread_mutex_lock(&w->lock);
	for (unsigned s = 0; s < segments; s++) {
		const struct nbd_segment *segment = &w->io.transfer.segments[s];

		unsigned done = segment->done / TMEM_PAGE_SIZE;

		written += done;
		for (unsigned at = place_of(w, segment->page);
		     done < segment->count; done++)
			w->changed[at + done] = true;
	}
	w->under_way = 0;
	pthread_cond_broadcast(&w->written);
	pthread_mutex_unlock(&w->lock);
	return written;
}

static void report(struct nbd_writeout *w, unsigned segments)
{
	for (unsigned s = 0; s < segments; s++) {
		const struct nbd_segment *segment = &w->io.transfer.segments[s];

		if (!segment->error)
			continue;
		nbd_io_count(&w->io, TMEM_NBD_STAT_overflow_errors,
			     segment->count);
		nbd_device_report(
			w->device,
			"writing %u cold pages at page %llu of the overflow file failed: %s; they stay in memory",
			segment->count, (unsigned long long)segment->page,
			strerror(-segment->error));
	}
}

/** Flush from the pool what is in its slot, unless it has changed. */
static void flush_pages(struct nbd_writeout *w)
{
	struct nbd_device *device = w->device;
	struct nbd_range range;
	unsigned i = 0, end;

	for (; i < w->count; i = end) {
		range = range_of(w, i, &end);
		nbd_range_lock_exclusive(&device->range_lock, &range);
		for (unsigned at = i; at < end; at++) {
			if (w->changed[at])
				continue;
			if (tmem_flush(device->pool, &nbd_device_oid,
				       w->page[at]) >= 0)
				nbd_page_map_clear(&device->held, w->page[at],
						   1);
		}
		nbd_range_unlock(&device->range_lock, &range);
	}
}

/** Returns whether any page was written. */
static bool write_batch(struct nbd_writeout *w)
{
	struct nbd_device *device = w->device;
	unsigned segments, written;
	int count;

	count = tmem_pool_coldest(device->pool, &nbd_device_oid, w->page,
				  TMEM_RUN_MAX);
	if (count <= 0)
		return false;
	publish(w, (unsigned)count);
	read_pages(w);
	segments = begin_writing(w);
	nbd_overflow_write(&device->overflow, &w->io.overflow,
			   w->io.transfer.segments, segments);
	written = end_writing(w, segments);
	report(w, segments);
	flush_pages(w);
	withdraw(w);
	nbd_io_count(&w->io, TMEM_NBD_STAT_written_out, written);
	return written || !segments;
}

/* The thread -------------------------------------------------------------- */

static bool room_is_wanted(const struct nbd_writeout *w)
{
	struct tmem_room room;

	return !tmem_pool_room(w->device->pool, &room) &&
	       room.free < (int64_t)(room.limit / FREE_PART);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** Until stopped, or for so long. */
static void rest(struct nbd_writeout *w, int pause)
{
	struct pollfd p = {.fd = w->bell, .events = POLLIN};
	int64_t end = now_ms() + pause, left = pause;
	eventfd_t value;

	for (; left > 0 && !atomic_load(&w->stopping); left = end - now_ms()) {
		poll(&p, 1, (int)left);
		(void)eventfd_read(w->bell, &value);
	}
}

static void *write_out(void *arg)
{
	struct nbd_writeout *w = arg;
	struct pollfd p = {.fd = w->bell, .events = POLLIN};
	int pause = PAUSE_MIN_MS;
	eventfd_t value;

	while (!atomic_load(&w->stopping)) {
		if (!room_is_wanted(w)) {
			poll(&p, 1, -1);
			(void)eventfd_read(w->bell, &value);
		} else if (write_batch(w)) {
			pause = PAUSE_MIN_MS;
		} else {
			rest(w, pause);
			if (pause < PAUSE_MAX_MS)
				pause *= 2;
		}
	}
	return NULL;
}

static int start(struct nbd_writeout *w)
{
	int r;

	w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->bell < 0)
		return -errno;
	r = nbd_io_init(&w->io, w->device);
	if (r < 0)
		goto err1;
	r = tmem_pool_watch(w->device->pool, w->bell);
	if (r < 0)
		goto err2;
	r = tmem_thread_start(&w->thread, write_out, w);
	if (!r)
		return 0;
	tmem_pool_watch(w->device->pool, -1);
err2:
	nbd_io_deinit(&w->io);
err1:
	close(w->bell);
	return r;
}

int nbd_writeout_start(struct nbd_device *device)
{
	struct nbd_writeout *w;
	int r;

	if (device->overflow.fd < 0)
		return 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->device = device;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->written, NULL);
	device->writeout = w;
	r = start(w);
	if (!r)
		return 0;
	device->writeout = NULL;
	pthread_cond_destroy(&w->written);
	pthread_mutex_destroy(&w->lock);
	free(w);
	return r;
}

void nbd_writeout_stop(struct nbd_device *device)
{
	struct nbd_writeout *w = device->writeout;

	if (!w)
		return;
	tmem_pool_watch(device->pool, -1);
	atomic_store(&w->stopping, true);
	(void)eventfd_write(w->bell, 1);
	pthread_join(w->thread, NULL);
	device->writeout = NULL;
	nbd_io_deinit(&w->io);
	close(w->bell);
	pthread_cond_destroy(&w->written);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void nbd_writeout_add_stats(const struct nbd_device *device, uint64_t *values)
{
	const struct nbd_writeout *w = device->writeout;

	for (unsigned i = 0; w && i < TMEM_NBD_STAT_COUNT; i++)
		values[i] += atomic_load_explicit(&w->io.stats[i],
						  memory_order_relaxed);
}
