/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading and writing slots of an overflow file. All segments of a request are
 * given to the kernel at once (up to the ring's depth); what comes back short
 * is continued.
 */
#include "overflow.h"
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/** Segments under way at a time, and entries of the submission queue: one is
 * always free for a segment that has to be continued. */
#define DEPTH 64u

void nbd_overflow_io_init(struct nbd_overflow_io *io, bool use_ring)
{
	io->has_ring = use_ring && !io_uring_queue_init(DEPTH, &io->ring, 0);
}

void nbd_overflow_io_deinit(struct nbd_overflow_io *io)
{
	if (io->has_ring)
		io_uring_queue_exit(&io->ring);
	io->has_ring = false;
}

static uint32_t left_of(const struct nbd_segment *segment)
{
	return segment->count * TMEM_PAGE_SIZE - segment->done;
}

static off_t place_of(const struct nbd_segment *segment)
{
	return (off_t)(segment->page * TMEM_PAGE_SIZE + segment->done);
}

/** Note what the kernel says of a segment. Returns whether to go on. */
static bool advance(struct nbd_segment *segment, ssize_t result)
{
	if (result == -EINTR || result == -EAGAIN)
		return true;
	if (result <= 0) {
		/* Nothing read: somebody has truncated the file. */
		segment->error = result ? (int)result : -EIO;
		return false;
	}
	segment->done += (uint32_t)result;
	return left_of(segment);
}

static void transfer_plain(const struct nbd_overflow *overflow, bool write,
			   struct nbd_segment *segment)
{
	uint8_t *memory;
	ssize_t n;

	do {
		memory = segment->memory + segment->done;
		n = write ? pwrite(overflow->fd, memory, left_of(segment),
				   place_of(segment))
			  : pread(overflow->fd, memory, left_of(segment),
				  place_of(segment));
	} while (advance(segment, n < 0 ? -errno : n));
}

static void queue(const struct nbd_overflow *overflow,
		  struct nbd_overflow_io *io, bool write,
		  struct nbd_segment *segment)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
	uint8_t *memory = segment->memory + segment->done;

	assert(sqe);
	if (write)
		io_uring_prep_write(sqe, overflow->fd, memory, left_of(segment),
				    (uint64_t)place_of(segment));
	else
		io_uring_prep_read(sqe, overflow->fd, memory, left_of(segment),
				   (uint64_t)place_of(segment));
	io_uring_sqe_set_data(sqe, segment);
}

static void transfer_ring(const struct nbd_overflow *overflow,
			  struct nbd_overflow_io *io, bool write,
			  struct nbd_segment *segments, unsigned count)
{
	unsigned next = 0, under_way = 0;
	struct nbd_segment *segment;
	struct io_uring_cqe *cqe;
	int r;

	while (next < count || under_way) {
		for (; next < count && under_way < DEPTH; next++, under_way++)
			queue(overflow, io, write, &segments[next]);
		r = io_uring_submit_and_wait(&io->ring, 1);
		/* These pass; others mean that the ring is not ours. */
		assert(r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY);
		while (!io_uring_peek_cqe(&io->ring, &cqe)) {
			segment = io_uring_cqe_get_data(cqe);
			r = cqe->res;
			io_uring_cqe_seen(&io->ring, cqe);
			if (advance(segment, r))
				queue(overflow, io, write, segment);
			else
				under_way--;
		}
	}
}

/** Whether nobody has truncated the file. Its end is the header's, which no
 * slot reaches, so that a file that was cut stays too short: slots it has lost
 * are never taken for holes that a later write made. */
static bool is_whole(const struct nbd_overflow *overflow)
{
	struct stat st;

	return !fstat(overflow->fd, &st) &&
	       (uint64_t)st.st_size >= overflow->end + TMEM_PAGE_SIZE;
}

static void transfer(const struct nbd_overflow *overflow,
		     struct nbd_overflow_io *io, bool write,
		     struct nbd_segment *segments, unsigned count)
{
	int error = is_whole(overflow) ? 0 : -ESTALE;
	unsigned i;

	for (i = 0; i < count; i++) {
		segments[i].done = 0;
		segments[i].error = error;
	}
	if (error)
		return;
	/* One alone gains nothing from the ring. */
	if (io->has_ring && count > 1) {
		transfer_ring(overflow, io, write, segments, count);
		return;
	}
	for (i = 0; i < count; i++)
		transfer_plain(overflow, write, &segments[i]);
}

void nbd_overflow_read(struct nbd_overflow *overflow,
		       struct nbd_overflow_io *io, struct nbd_segment *segments,
		       unsigned count)
{
	transfer(overflow, io, false, segments, count);
}

void nbd_overflow_write(struct nbd_overflow *overflow,
			struct nbd_overflow_io *io,
			struct nbd_segment *segments, unsigned count)
{
	atomic_store(&overflow->dirty, true);
	transfer(overflow, io, true, segments, count);
	/* Again: a sync that began meanwhile may have missed some. */
	atomic_store(&overflow->dirty, true);
}
