/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of pages as runs of an array of locks. */
#include "range-lock.h"
#include <assert.h>
#include <errno.h>

/** Which locks a range needs: [0, low_end) and [high, high_end). */
struct span {
	unsigned low_end, high, high_end;
};

static struct span span_of(const struct nbd_range *range)
{
	uint64_t first = range->first >> NBD_RANGE_BLOCK_SHIFT;
	uint64_t last =
		(range->first + range->count - 1) >> NBD_RANGE_BLOCK_SHIFT;
	unsigned from = first % NBD_RANGE_LOCKS, to = last % NBD_RANGE_LOCKS;

	if (last - first >= NBD_RANGE_LOCKS - 1)
		return (struct span){.high_end = NBD_RANGE_LOCKS};
	if (from <= to)
		return (struct span){.high = from, .high_end = to + 1};
	return (struct span){
		.low_end = to + 1, .high = from, .high_end = NBD_RANGE_LOCKS};
}

int nbd_range_lock_init(struct nbd_range_lock *lock)
{
	pthread_rwlockattr_t attr;
	unsigned i = 0;
	int r;

	r = pthread_rwlockattr_init(&attr);
	if (r)
		return -r;
	/* Readers that keep coming must not starve a writer. */
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	for (i = 0; i < NBD_RANGE_LOCKS && !r; i++)
		r = pthread_rwlock_init(&lock->locks[i], &attr);
	pthread_rwlockattr_destroy(&attr);
	if (!r)
		return 0;
	for (i--; i; i--)
		pthread_rwlock_destroy(&lock->locks[i - 1]);
	return -r;
}

void nbd_range_lock_deinit(struct nbd_range_lock *lock)
{
	unsigned i;

	for (i = 0; i < NBD_RANGE_LOCKS; i++)
		pthread_rwlock_destroy(&lock->locks[i]);
}

static void take(struct nbd_range_lock *lock, const struct nbd_range *range,
		 int (*how)(pthread_rwlock_t *))
{
	struct span span = span_of(range);
	unsigned i;
	int r = 0;

	for (i = 0; i < span.low_end; i++)
		r |= how(&lock->locks[i]);
	for (i = span.high; i < span.high_end; i++)
		r |= how(&lock->locks[i]);
	assert(!r);
}

void nbd_range_lock_shared(struct nbd_range_lock *lock,
			   const struct nbd_range *range)
{
	take(lock, range, pthread_rwlock_rdlock);
}

void nbd_range_lock_exclusive(struct nbd_range_lock *lock,
			      const struct nbd_range *range)
{
	take(lock, range, pthread_rwlock_wrlock);
}

/** The n-th lock of a span, in the order in which they are taken. */
static unsigned nth(const struct span *span, unsigned n)
{
	return n < span->low_end ? n : span->high + n - span->low_end;
}

bool nbd_range_try_lock(struct nbd_range_lock *lock,
			const struct nbd_range *range, bool exclusive)
{
	struct span span = span_of(range);
	unsigned count = span.low_end + span.high_end - span.high, n;
	int r;

	for (n = 0; n < count; n++) {
		pthread_rwlock_t *one = &lock->locks[nth(&span, n)];

		r = exclusive ? pthread_rwlock_trywrlock(one)
			      : pthread_rwlock_tryrdlock(one);
		if (r)
			break;
	}
	if (n == count)
		return true;
	while (n--)
		pthread_rwlock_unlock(&lock->locks[nth(&span, n)]);
	return false;
}

void nbd_range_unlock(struct nbd_range_lock *lock,
		      const struct nbd_range *range)
{
	take(lock, range, pthread_rwlock_unlock);
}
