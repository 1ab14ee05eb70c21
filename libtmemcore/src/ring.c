/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ring's layout, its one check, and sleeping: see ring.h. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "ring.h"

/* Both sides, perhaps of different builds, must agree on these. */
_Static_assert(sizeof(struct tmem_ring_request) == 48, "request");
_Static_assert(sizeof(struct tmem_ring_slot) == 512, "slot");
_Static_assert(offsetof(struct tmem_ring_slot, request) == 8, "request");
_Static_assert(offsetof(struct tmem_ring_slot, outcome) == 64, "outcome");
_Static_assert(offsetof(struct tmem_ring_header, bell) == 64, "bell");
_Static_assert(offsetof(struct tmem_ring, slot) == 4096, "slots");
_Static_assert(offsetof(struct tmem_ring, buffer) == 16384, "buffers");
_Static_assert(TMEM_RING_SLOTS < 31, "slots and ASLEEP share a word");
_Static_assert(TMEM_RING_POOLS == 64, "open pools are bits of a word");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "atomics must work across processes");

void tmem_ring_init(struct tmem_ring *ring)
{
	struct tmem_ring_header *header = &ring->header;

	header->magic = TMEM_RING_MAGIC;
	header->version = TMEM_RING_VERSION;
	header->slots = TMEM_RING_SLOTS;
	header->slot_offset = offsetof(struct tmem_ring, slot);
	header->slot_size = sizeof(struct tmem_ring_slot);
	header->buffer_offset = offsetof(struct tmem_ring, buffer);
	header->buffer_size = sizeof(ring->buffer[0]);
}

bool tmem_ring_header_valid(const struct tmem_ring_header *header)
{
	return header->magic == TMEM_RING_MAGIC &&
	       header->version == TMEM_RING_VERSION &&
	       header->slots == TMEM_RING_SLOTS &&
	       header->slot_offset == offsetof(struct tmem_ring, slot) &&
	       header->slot_size == sizeof(struct tmem_ring_slot) &&
	       header->buffer_offset == offsetof(struct tmem_ring, buffer) &&
	       header->buffer_size == TMEM_RUN_MAX * TMEM_PAGE_SIZE;
}

int tmem_ring_request_check(const struct tmem_ring_request *request,
			    uint64_t pools)
{
	const uint64_t indices = (UINT64_C(1) << 32) - request->index;

	if (request->zero != 0)
		return -EINVAL;
	switch (request->op) {
	case TMEM_RING_PUT:
	case TMEM_RING_GET:
		if (request->count < 1 || request->count > TMEM_RUN_MAX ||
		    request->count > indices)
			return -EINVAL;
		break;
	case TMEM_RING_FLUSH:
		if (request->count < 1 || request->count > indices)
			return -EINVAL;
		break;
	case TMEM_RING_FLUSH_OBJECT:
		if (request->index != 0 || request->count != 0)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (request->pool >= TMEM_RING_POOLS || !(pools >> request->pool & 1))
		return -EBADF;
	return 0;
}

void tmem_ring_sleep(_Atomic(uint32_t) *word, uint32_t value, int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	syscall(SYS_futex, word, FUTEX_WAIT, value, ms < 0 ? NULL : &ts, NULL,
		0);
}

void tmem_ring_wake(_Atomic(uint32_t) *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

uint64_t tmem_ring_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
