/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ring: the memory that tmemd shares with one attached client, and the
 * only thing page calls cross. tmem-ring(7) describes it for people.
 *
 *   0       header, with the bell
 *   4096    TMEM_RING_SLOTS slots of 512 bytes: a request and its reply
 *   16384   TMEM_RING_SLOTS page buffers of 1 MiB
 *
 * It is a memfd of a fixed size, sealed against growing and shrinking, made by
 * tmemd. A call takes a slot, writes a request (and a put's pages), sets the
 * slot's bit in the bell, and waits for the slot's state:
 *
 *   IDLE -> REQUEST -> DONE -> IDLE              reply came while spinning
 *           REQUEST -> SLEEPING -> DONE -> IDLE  the caller sleeps on the state
 *
 * Which slots are free is known to the client alone. There are two wake-ups,
 * both futexes: the bell, on which tmemd sleeps, with TMEM_RING_ASLEEP set in
 * it so that it takes a system call only then; and a slot's state, on which
 * that slot's caller sleeps.
 *
 * Everything here may be overwritten by the client at any moment, for whatever
 * reason. So tmemd keeps nothing in it that it needs: it copies a request out,
 * checks the copy, and only then acts.
 *
 * Threading: the bell and states are atomics; all else in a slot belongs to
 * the client until its bit is set and then to tmemd until the state is DONE.
 */
#ifndef TMEM_RING_H
#define TMEM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tmem/types.h>

#define TMEM_RING_MAGIC	  UINT64_C(0x676e69726d656d74) /* "tmemring" */
#define TMEM_RING_VERSION 1u

/** Calls that can be under way at a time. */
#define TMEM_RING_SLOTS 16u
/** Pools that a client can have open at a time. */
#define TMEM_RING_POOLS 64u

/** In the bell: tmemd sleeps on it. The lowest bits are the slots'. */
#define TMEM_RING_ASLEEP    (1u << 31)
#define TMEM_RING_SLOT_BITS ((1u << TMEM_RING_SLOTS) - 1)

enum tmem_ring_op {
	TMEM_RING_PUT = 1,	    /**< count pages, 1 to TMEM_RUN_MAX */
	TMEM_RING_GET = 2,	    /**< count pages, 1 to TMEM_RUN_MAX */
	TMEM_RING_FLUSH = 3,	    /**< count pages, 1 to 2^32 - index */
	TMEM_RING_FLUSH_OBJECT = 4, /**< index and count are 0 */
};

enum tmem_ring_state {
	TMEM_RING_IDLE = 0,
	TMEM_RING_REQUEST = 1,
	TMEM_RING_SLEEPING = 2,
	TMEM_RING_DONE = 3,
};

struct tmem_ring_request {
	uint32_t op;
	uint32_t pool; /**< as tmemd numbered it when it was opened */
	struct tmem_oid oid;
	uint32_t index;
	uint32_t zero;
	uint64_t count;
};

/** State, request and result share a cache line: a single page's request
 * costs one line each way, and its page. */
struct tmem_ring_slot {
	_Atomic(uint32_t) state;
	/** What tmem/client.h says the call returns: pages stored, hit or
	 * found, or -errno. An object's flush: 1 when it held pages. */
	int32_t result;
	struct tmem_ring_request request;
	/** When the bell was rung, ns of CLOCK_MONOTONIC: a hint for how long
	 * to spin for the next. */
	uint64_t rung_at;
	/** Of a put or get of several pages: one enum tmem_outcome a page. */
	uint8_t outcome[TMEM_RUN_MAX];
	uint8_t unused[192];
};

struct tmem_ring_header {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint32_t slot_offset;
	uint32_t slot_size;
	uint32_t buffer_offset;
	uint32_t buffer_size;
	uint8_t unused[32];
	_Atomic(uint32_t) bell; /**< on a cache line of its own */
	uint8_t unused2[4028];
};

/** The whole of it, as both sides map it. */
struct tmem_ring {
	struct tmem_ring_header header;
	struct tmem_ring_slot slot[TMEM_RING_SLOTS];
	uint8_t unused[4096];
	uint8_t buffer[TMEM_RING_SLOTS][TMEM_RUN_MAX * TMEM_PAGE_SIZE];
};

/** Write the header of a fresh ring. */
void tmem_ring_init(struct tmem_ring *ring);

/** Whether a header is one that this version understands. */
bool tmem_ring_header_valid(const struct tmem_ring_header *header);

/**
 * The one check of what a client controls: request is tmemd's own copy, pools
 * has the bit of each open pool set. Returns 0; -EINVAL; -EBADF for a pool
 * that is not open.
 */
int tmem_ring_request_check(const struct tmem_ring_request *request,
			    uint64_t pools);

/** Wait while *word is value, at most ms; wakes early for any reason. */
void tmem_ring_sleep(_Atomic(uint32_t) *word, uint32_t value, int ms);
/** Wake up to count threads that sleep on word, of any process. */
void tmem_ring_wake(_Atomic(uint32_t) *word, int count);

/**
 * How long either side spins before it sleeps, ns: what waking a thread costs
 * where it costs most, on a virtual machine whose other processors are idle.
 * Spinning for that long at most doubles the cost of a wait (Karlin et al.,
 * "Competitive randomized algorithms for nonuniform problems", 1994), and
 * neither side does it when it has lately been in vain.
 */
#define TMEM_RING_SPIN_NS UINT64_C(50000)

/** Nanoseconds of a steady clock. */
uint64_t tmem_ring_now(void);
/** Tell the processor that this is a spinning loop. */
static inline void tmem_ring_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif
