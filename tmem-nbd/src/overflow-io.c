/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading, writing and punching slots of an overflow file, and syncs of it:
 *
 *   begin --> under way --> reap: all of it? --> ended
 *                 ^               | came back short, or failed in the middle
 *                 +---------------+
 *
 * A segment of several pages that fails goes on page by page, so that its error
 * is that of one page and those before it are done. Punches and syncs are done
 * as a whole, or not.
 */
#include "overflow.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/** What the kernel's block devices take at once without allocating, since Linux
 * 4.10: DIO_INLINE_BIO_VECS in its block/fops.c. */
#define DISK_PIECE (4 * TMEM_PAGE_SIZE)

/** Entries of the submission queue; more may be under way. */
#define DEPTH 64u

#define PUNCH_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

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

int nbd_overflow_io_fd(const struct nbd_overflow_io *io)
{
	return io->has_ring ? io->ring.ring_fd : -1;
}

static uint32_t left_of(const struct nbd_segment *segment)
{
	return segment->count * TMEM_PAGE_SIZE - segment->done;
}

/** Bytes to go on with, in a ring. */
static uint32_t next_of(const struct nbd_segment *segment)
{
	return segment->narrow ? TMEM_PAGE_SIZE - segment->done % TMEM_PAGE_SIZE
			       : left_of(segment);
}

/** NULL where there is none. */
static uint8_t *memory_of(const struct nbd_segment *segment)
{
	return segment->memory ? segment->memory + segment->done : NULL;
}

static off_t place_of(const struct nbd_segment *segment)
{
	return (off_t)(segment->page * TMEM_PAGE_SIZE + segment->done);
}

static void raise_to(_Atomic(uint64_t) *value, uint64_t to)
{
	uint64_t old = atomic_load(value);

	while (old < to && !atomic_compare_exchange_weak(value, &old, to))
		;
}

/** Note what the kernel says of a segment. Returns whether to go on. */
static bool advance(struct nbd_overflow *overflow, struct nbd_segment *segment,
		    ssize_t result)
{
	if (result == -EINTR || result == -EAGAIN)
		return true;
	if (segment->kind == NBD_PUNCH || segment->kind == NBD_SYNC) {
		segment->error = (int)result;
		if (!result && segment->kind == NBD_SYNC)
			raise_to(&overflow->synced, segment->page);
		return false;
	}
	if (result <= 0 && !segment->narrow &&
	    left_of(segment) > TMEM_PAGE_SIZE) {
		segment->narrow = true;
		return true;
	}
	if (result <= 0) {
		/* Nothing read: somebody has truncated the file. */
		segment->error = result ? (int)result : -EIO;
		return false;
	}
	segment->done += (uint32_t)result;
	return left_of(segment);
}

static bool is_change(enum nbd_transfer_kind kind)
{
	return kind == NBD_WRITE || kind == NBD_PUNCH;
}

static void end(struct nbd_overflow *overflow, struct nbd_segment *segment)
{
	/* Once more: a sync that began meanwhile may have missed it. */
	if (is_change(segment->kind))
		atomic_fetch_add(&overflow->changes, 1);
	--*segment->left;
}

static ssize_t call(const struct nbd_overflow *overflow,
		    const struct nbd_segment *segment)
{
	uint8_t *memory = memory_of(segment);
	uint32_t next = next_of(segment);
	off_t place = place_of(segment);
	int fd = overflow->fd;

	if (overflow->disk && next > DISK_PIECE)
		next = DISK_PIECE;
	switch (segment->kind) {
	case NBD_READ:
		return pread(fd, memory, next, place);
	case NBD_WRITE:
		return pwrite(fd, memory, next, place);
	case NBD_PUNCH:
		return fallocate(fd, PUNCH_MODE, place, next);
	default:
		return fdatasync(fd);
	}
}

static void carry_out(struct nbd_overflow *overflow,
		      struct nbd_segment *segment)
{
	ssize_t n;

	do {
		n = call(overflow, segment);
	} while (advance(overflow, segment, n < 0 ? -errno : n));
	end(overflow, segment);
}

/** Also while the kernel is short of memory and takes none, or not all: who
 * polls would wait for what was never begun. Returns false when it takes none
 * before results are taken. */
static bool submit(struct nbd_overflow_io *io, unsigned wait)
{
	int r;

	do {
		r = io_uring_submit_and_wait(&io->ring, wait);
		/* These pass; others mean that the ring is not ours. */
		assert(r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY);
		/* -EBUSY: results are to be taken first. */
	} while (r != -EBUSY && io_uring_sq_ready(&io->ring));
	return r != -EBUSY;
}

static void queue(struct nbd_overflow *overflow, struct nbd_overflow_io *io,
		  struct nbd_segment *segment)
{
	struct io_uring_sqe *sqe;
	uint8_t *memory = memory_of(segment);
	off_t place = place_of(segment);
	int fd = overflow->fd;

	while (!(sqe = io_uring_get_sqe(&io->ring))) {
		if (submit(io, 0))
			continue;
		/* Nobody takes results here: without the ring, then. */
		carry_out(overflow, segment);
		return;
	}
	switch (segment->kind) {
	case NBD_READ:
		io_uring_prep_read(sqe, fd, memory, next_of(segment),
				   (uint64_t)place);
		break;
	case NBD_WRITE:
		io_uring_prep_write(sqe, fd, memory, next_of(segment),
				    (uint64_t)place);
		break;
	case NBD_PUNCH:
		io_uring_prep_fallocate(sqe, fd, PUNCH_MODE, place,
					next_of(segment));
		break;
	case NBD_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	}
	io_uring_sqe_set_data(sqe, segment);
}

void nbd_overflow_reap(struct nbd_overflow *overflow,
		       struct nbd_overflow_io *io, bool wait)
{
	struct nbd_segment *segment;
	struct io_uring_cqe *cqe;
	int r;

	if (!io->has_ring)
		return;
	if (wait)
		submit(io, 1);
	while (!io_uring_peek_cqe(&io->ring, &cqe)) {
		segment = io_uring_cqe_get_data(cqe);
		r = cqe->res;
		io_uring_cqe_seen(&io->ring, cqe);
		if (advance(overflow, segment, r))
			queue(overflow, io, segment);
		else
			end(overflow, segment);
	}
	if (io_uring_sq_ready(&io->ring))
		submit(io, 0);
}

/** Whether nobody has truncated the file. Its end is the header's, which no
 * slot reaches, so that a file that was cut stays too short: slots it has lost
 * are never taken for holes that a later write made. */
static bool is_whole(const struct nbd_overflow *overflow)
{
	struct stat st;

	return overflow->disk ||
	       (!fstat(overflow->fd, &st) &&
		(uint64_t)st.st_size >= overflow->end + TMEM_PAGE_SIZE);
}

void nbd_overflow_begin(struct nbd_overflow *overflow,
			struct nbd_overflow_io *io, enum nbd_transfer_kind kind,
			struct nbd_segment *segments, unsigned count,
			unsigned *left)
{
	int error = 0;
	unsigned i;

	if (!count)
		return;
	/* A slot that is lost is as good as punched. */
	if (kind != NBD_PUNCH && !is_whole(overflow))
		error = -ESTALE;
	if (is_change(kind))
		atomic_fetch_add(&overflow->changes, 1);
	for (i = 0; i < count; i++) {
		segments[i].done = 0;
		segments[i].error = error;
		segments[i].kind = kind;
		segments[i].narrow = false;
		segments[i].left = left;
		if (error)
			continue;
		++*left;
		if (io->has_ring)
			queue(overflow, io, &segments[i]);
		else
			carry_out(overflow, &segments[i]);
	}
	if (io->has_ring && !error)
		submit(io, 0);
}

bool nbd_overflow_is_dirty(const struct nbd_overflow *overflow)
{
	return atomic_load(&overflow->changes) !=
	       atomic_load(&overflow->synced);
}

void nbd_overflow_begin_sync(struct nbd_overflow *overflow,
			     struct nbd_overflow_io *io,
			     struct nbd_segment *segment, unsigned *left)
{
	*segment = (struct nbd_segment){.page = atomic_load(&overflow->changes),
					.kind = NBD_SYNC,
					.left = left};
	if (segment->page == atomic_load(&overflow->synced))
		return;
	++*left;
	if (!io->has_ring) {
		carry_out(overflow, segment);
		return;
	}
	queue(overflow, io, segment);
	submit(io, 0);
}

static void transfer(struct nbd_overflow *overflow, struct nbd_overflow_io *io,
		     enum nbd_transfer_kind kind, struct nbd_segment *segments,
		     unsigned count)
{
	unsigned left = 0;

	nbd_overflow_begin(overflow, io, kind, segments, count, &left);
	while (left)
		nbd_overflow_reap(overflow, io, true);
}

void nbd_overflow_read(struct nbd_overflow *overflow,
		       struct nbd_overflow_io *io, struct nbd_segment *segments,
		       unsigned count)
{
	transfer(overflow, io, NBD_READ, segments, count);
}

void nbd_overflow_write(struct nbd_overflow *overflow,
			struct nbd_overflow_io *io,
			struct nbd_segment *segments, unsigned count)
{
	transfer(overflow, io, NBD_WRITE, segments, count);
}

int nbd_overflow_sync(struct nbd_overflow *overflow, struct nbd_overflow_io *io)
{
	struct nbd_segment segment;
	bool dirty = nbd_overflow_is_dirty(overflow);
	unsigned left = 0;

	nbd_overflow_begin_sync(overflow, io, &segment, &left);
	while (left)
		nbd_overflow_reap(overflow, io, true);
	return segment.error ? segment.error : dirty;
}
