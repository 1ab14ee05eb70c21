/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's side of a ring.
 *
 *   claim a slot -> write the request (and a put's pages) -> set its bit in
 *   the bell, waking tmemd if it sleeps -> spin -> (sleep on the slot's state)
 *   -> copy the reply (and a get's pages) out -> release the slot
 *
 * How long to wait. A call ends with its reply, or with -ENOTCONN as soon as
 * the control connection hangs up (looked at before sleeping and every SLICE
 * ms), or when tmemd has not answered within the timeout: stopped, or stuck.
 * In that case nobody knows whether the request is still to be carried out, so
 * the session is given up for good: the connection is shut down, no slot that
 * was waiting is used again, and with the session its private ephemeral pools
 * end before another session of the same name can begin. So no page that the
 * unanswered request leaves behind can be read later. (What cannot end with
 * the session, persistent and shared pools, attach.c repairs.)
 *
 * How to wait. On a virtual machine of two processors (bench/ring, idle; p50
 * of one call, us):
 *
 *                                     local  attached
 *   get 4 KiB raw, both spinning       0.26      0.96
 *   the same, 10 us between calls      0.55      1.55
 *   the same, 1 ms between calls       1.6      27-50  tmemd had to be woken
 *   get 4 KiB, a miss                  0.06      0.26
 *   get 128 KiB raw                    3.8       20
 *   get 128 KiB LZ4                   47        114    the client slept
 *
 * So a change of cache lines costs 0.2 us, the copies of a page 0.5 us, and
 * waking a thread on an idle processor 25 to 50 us, far more than a page. What
 * follows from it:
 *  - spin as long as a wake-up costs, also when tmemd had to be woken: going to
 *    sleep at once then made the third line 48-52 us instead of 27-32;
 *  - never learn from a wait that contains a wake-up: both sides, once asleep,
 *    took wake-ups for slow requests and never spun again (p50 70 us);
 *  - yield while spinning: with four other threads on the two processors, both
 *    sides often share one, and a page took 8 us at p50 and 60 at p90; with
 *    sched_yield() 5 and 7.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ring-client.h"

/* Turns of a spinning loop, about 1 us, between looks at the clock. */
#define SPINS_A_LOOK 32u

/* Of calls that are expected to take too long to spin, one in so many spins
 * all the same, to learn whether that is still so. */
#define PROBE 16u

/* How often a sleeper looks whether tmemd is there, ms. */
#define SLICE 20

/* A flush of so many pages, or of an object, may take FLUSH_PATIENCE times as
 * long as other calls: there is much to do. */
#define FLUSH_MANY     65536u
#define FLUSH_PATIENCE 10

/* Requests are expected to take as long as others of their kind and size. */
#define SIZES 10u

struct tmem_ring_client {
	struct tmem_ring *ring;
	int conn;
	int timeout;
	bool alone; /* one processor: spinning would only be in the way */
	_Atomic(bool) abandoned;
	_Atomic(uint32_t) free_slots; /* bits; a futex while there is none */
	_Atomic(uint32_t) sleepers;   /* threads without a slot */
	/* By operation and size: average time until the reply, ns, and calls
	 * since the last probe. Threads overwrite each other's; it is only a
	 * guess. */
	_Atomic(uint32_t) calls;
	_Atomic(uint32_t) expected[TMEM_RING_FLUSH_OBJECT + 1][SIZES];
};

static int map_ring(struct tmem_ring_client *ring, int fd)
{
	struct stat st;
	int seals;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 ||
	    st.st_size < (off_t)sizeof(struct tmem_ring))
		return -EPROTO;
	ring->ring = mmap(NULL, sizeof(struct tmem_ring),
			  PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring->ring == MAP_FAILED) {
		ring->ring = NULL;
		return -errno;
	}
	return tmem_ring_header_valid(&ring->ring->header) ? 0 : -EPROTO;
}

int tmem_ring_client_new(int fd, int conn, int timeout,
			 struct tmem_ring_client **out)
{
	struct tmem_ring_client *ring = calloc(1, sizeof(*ring));
	int r;

	if (!ring)
		return -ENOMEM;
	ring->conn = conn;
	ring->timeout = timeout;
	ring->alone = sysconf(_SC_NPROCESSORS_ONLN) == 1;
	atomic_init(&ring->free_slots, TMEM_RING_SLOT_BITS);
	r = map_ring(ring, fd);
	if (r < 0) {
		tmem_ring_client_free(ring);
		return r;
	}
	*out = ring;
	return 0;
}

struct tmem_ring_client *tmem_ring_client_free(struct tmem_ring_client *ring)
{
	if (!ring)
		return NULL;
	if (ring->ring)
		munmap(ring->ring, sizeof(*ring->ring));
	free(ring);
	return NULL;
}

void tmem_ring_client_abandon(struct tmem_ring_client *ring)
{
	if (atomic_exchange(&ring->abandoned, true))
		return;
	shutdown(ring->conn, SHUT_RDWR);
	tmem_ring_wake(&ring->free_slots, INT_MAX);
}

bool tmem_ring_client_alive(struct tmem_ring_client *ring)
{
	struct pollfd pfd = {.fd = ring->conn, .events = POLLRDHUP};

	if (atomic_load(&ring->abandoned))
		return false;
	/* Anything but silence: hung up. */
	if (poll(&pfd, 1, 0) <= 0)
		return true;
	tmem_ring_client_abandon(ring);
	return false;
}

/* Whether to go on waiting, since a time, for what may take limit ms. */
static bool may_wait(struct tmem_ring_client *ring, uint64_t since, int limit)
{
	if (tmem_ring_now() - since > (uint64_t)limit * 1000000u)
		tmem_ring_client_abandon(ring);
	return tmem_ring_client_alive(ring);
}

/* Take the lowest free slot: its memory is the likeliest to be in a cache.
 * Returns it, or -ENOTCONN. */
static int claim_slot(struct tmem_ring_client *ring)
{
	uint32_t bits = atomic_load(&ring->free_slots);
	uint64_t since = 0;

	for (;;) {
		if (atomic_load(&ring->abandoned))
			return -ENOTCONN;
		if (bits) {
			/* Acquires what its last owner did to the slot. */
			if (atomic_compare_exchange_weak(&ring->free_slots,
							 &bits,
							 bits & (bits - 1)))
				return __builtin_ctz(bits);
			continue;
		}
		if (!since)
			since = tmem_ring_now();
		if (!may_wait(ring, since, ring->timeout * FLUSH_PATIENCE))
			return -ENOTCONN;
		atomic_fetch_add(&ring->sleepers, 1);
		tmem_ring_sleep(&ring->free_slots, 0, SLICE);
		atomic_fetch_sub(&ring->sleepers, 1);
		bits = atomic_load(&ring->free_slots);
	}
}

static void release_slot(struct tmem_ring_client *ring, unsigned i)
{
	atomic_fetch_or(&ring->free_slots, 1u << i);
	if (atomic_load(&ring->sleepers) > 0)
		tmem_ring_wake(&ring->free_slots, 1);
}

/* Ring for a slot. Returns whether tmemd had to be woken. */
static bool post(struct tmem_ring_client *ring, unsigned i, uint64_t now)
{
	_Atomic(uint32_t) *bell = &ring->ring->header.bell;

	ring->ring->slot[i].rung_at = now;
	atomic_store_explicit(&ring->ring->slot[i].state, TMEM_RING_REQUEST,
			      memory_order_relaxed);
	/* Releases the request. */
	if (!(atomic_fetch_or(bell, 1u << i) & TMEM_RING_ASLEEP))
		return false;
	tmem_ring_wake(bell, 1);
	return true;
}

static bool is_done(struct tmem_ring_slot *slot)
{
	return atomic_load_explicit(&slot->state, memory_order_acquire) ==
	       TMEM_RING_DONE;
}

static bool spin(struct tmem_ring_slot *slot, uint64_t since)
{
	unsigned i;

	do {
		for (i = 0; i < SPINS_A_LOOK; i++) {
			if (is_done(slot))
				return true;
			tmem_ring_pause();
		}
		/* Whom we wait for may be waiting for our processor. */
		sched_yield();
	} while (tmem_ring_now() - since < TMEM_RING_SPIN_NS);
	return false;
}

/* The guess for requests of this kind and size. */
static _Atomic(uint32_t) *guess_of(struct tmem_ring_client *ring,
				   const struct tmem_ring_request *request)
{
	unsigned size = 0;

	if (request->count > 1)
		size = 64u - (unsigned)__builtin_clzll(request->count - 1);
	return &ring->expected[request->op][size < SIZES ? size : SIZES - 1];
}

/* Whether replies to such requests come soon enough to spin for them. */
static bool is_worth_spinning(struct tmem_ring_client *ring,
			      const _Atomic(uint32_t) *guess)
{
	uint32_t calls;

	if (ring->alone)
		return false;
	if (atomic_load_explicit(guess, memory_order_relaxed) <=
	    TMEM_RING_SPIN_NS)
		return true;
	calls = atomic_load_explicit(&ring->calls, memory_order_relaxed) + 1;
	atomic_store_explicit(&ring->calls, calls, memory_order_relaxed);
	return calls % PROBE == 0;
}

static void learn(_Atomic(uint32_t) *guess, uint64_t took)
{
	uint64_t old = atomic_load_explicit(guess, memory_order_relaxed);

	atomic_store_explicit(guess, (uint32_t)((old * 7 + took) / 8),
			      memory_order_relaxed);
}

/* Wait, spinning. Returns whether the reply is there. What is learnt from it
 * must not be how long tmemd took to wake up. */
static bool spin_for_reply(struct tmem_ring_client *ring, unsigned i,
			   const struct tmem_ring_request *request,
			   uint64_t since, bool woken)
{
	_Atomic(uint32_t) *guess = guess_of(ring, request);
	bool done;

	if (!is_worth_spinning(ring, guess))
		return false;
	done = spin(&ring->ring->slot[i], since);
	if (!woken)
		learn(guess,
		      done ? tmem_ring_now() - since : 2 * TMEM_RING_SPIN_NS);
	return done;
}

/* Wait, asleep. Returns 0 or -ENOTCONN. */
static int sleep_for_reply(struct tmem_ring_client *ring, unsigned i,
			   const struct tmem_ring_request *request,
			   uint64_t since)
{
	struct tmem_ring_slot *slot = &ring->ring->slot[i];
	int limit = ring->timeout;
	uint32_t state;

	if (request->op == TMEM_RING_FLUSH_OBJECT ||
	    request->count > FLUSH_MANY)
		limit *= FLUSH_PATIENCE;
	for (;;) {
		state = TMEM_RING_REQUEST;
		atomic_compare_exchange_strong(&slot->state, &state,
					       TMEM_RING_SLEEPING);
		if (is_done(slot))
			return 0;
		if (!may_wait(ring, since, limit))
			return -ENOTCONN;
		tmem_ring_sleep(&slot->state, TMEM_RING_SLEEPING, SLICE);
	}
}

/* Copy the reply out. Returns its result, or -ENOTCONN when it makes no
 * sense. */
static int collect(struct tmem_ring_client *ring, unsigned i,
		   const struct tmem_ring_request *request, void *out,
		   uint8_t *outcome)
{
	const struct tmem_ring_slot *slot = &ring->ring->slot[i];
	bool get = request->op == TMEM_RING_GET;
	bool put = request->op == TMEM_RING_PUT;
	int result = slot->result;
	uint8_t other = get ? TMEM_MISS : TMEM_REFUSED;

	if (result < 0 || ((get || put) && (uint64_t)result > request->count)) {
		tmem_ring_client_abandon(ring);
		return -ENOTCONN;
	}
	if (get && result > 0)
		memcpy(out, ring->ring->buffer[i],
		       (size_t)request->count * TMEM_PAGE_SIZE);
	if (!outcome || !(get || put))
		return result;
	if (request->count > 1)
		memcpy(outcome, slot->outcome, (size_t)request->count);
	else
		outcome[0] = result > 0 ? TMEM_OK : other;
	return result;
}

int tmem_ring_client_call(struct tmem_ring_client *ring,
			  const struct tmem_ring_request *request,
			  const void *in, void *out, uint8_t *outcome)
{
	uint64_t since;
	int i, r = 0;
	bool woken;

	i = claim_slot(ring);
	if (i < 0)
		return i;
	ring->ring->slot[i].request = *request;
	if (request->op == TMEM_RING_PUT)
		memcpy(ring->ring->buffer[i], in,
		       (size_t)request->count * TMEM_PAGE_SIZE);
	since = tmem_ring_now();
	woken = post(ring, (unsigned)i, since);
	if (!spin_for_reply(ring, (unsigned)i, request, since, woken))
		r = sleep_for_reply(ring, (unsigned)i, request, since);
	if (r == 0)
		r = collect(ring, (unsigned)i, request, out, outcome);
	/* A slot whose request was not answered stays taken: tmemd may still
	 * read it. */
	if (r >= 0)
		release_slot(ring, (unsigned)i);
	return r;
}
