/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's side of a ring.
 *
 * One worker at a time is the leader: it waits for the bell, at first spinning
 * and then asleep. A short request it carries out itself and goes on leading,
 * since waking another thread costs as much as the request. Before a longer
 * one, when the client lately had several calls under way, it lets another
 * worker lead (slots are taken lowest first, so a slot above 0 says that the
 * client called from several threads); before one that may take very long, the
 * flush of an object or of many pages, it always does.
 *
 *   follow -> lead: spin -> (sleep) -> take a slot -> serve -> spin ...
 *                                                 \-> follow, serve, follow
 *
 * What is where, against a client that overwrites its ring at any moment:
 *  - a request is copied, then checked, then acted upon, and never read again;
 *  - a put's pages are copied before the store sees them, since it looks at a
 *    page several times (equal words? hash, compare, compress) and must see
 *    the same bytes each time;
 *  - a get is written straight into the ring, which spares a copy: no codec
 *    decides anything by what it has written, and the bytes are the client's;
 *  - which slots are being served, which pools are open and whether to stop is
 *    in private memory. A bell that lies costs a look at a slot. Sleeping on
 *    the bell is safe from lost wake-ups only if the client plays by the
 *    rules; whoever stops a worker wakes it until it is gone.
 *
 * A page of a ring is allocated when it is touched first, which for a get's is
 * by us. So the store is charged for a slot's buffer, as far as requests ever
 * reached into it, and makes room for it: else clients that do nothing wrong,
 * but much at once, would take tmemd past its memory cgroup's limit.
 *
 * Known limit: a page of the ring that is touched first, or was punched out by
 * the client, is allocated on touch; where the kernel refuses memory for it
 * (vm.overcommit_memory=2 with the limit reached) that is a SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "evict.h"
#include "ring-server.h"

/* Threads of a ring: as many as our machines have cores to spare for one. */
#define WORKERS 2u

/* Turns of a spinning loop, about 1 us, between looks at the clock. */
#define SPINS_A_LOOK 32u

/* Requests for which one slot above 0 counts as calls from several threads. */
#define CROWD 64u

/* A get or flush of this many pages is long; puts always are. */
#define LONG_GET   8u
#define LONG_FLUSH 64u
/* A flush of more than this many may be very long. */
#define HUGE_FLUSH 65536u

struct worker {
	struct tmem_ring_server *server;
	pthread_t thread;
	struct tmem_ring_work work;
};

struct tmem_ring_server {
	struct tmem_ring *ring;
	struct tmem_store *store; /* which pays for the ring, or NULL */
	uint64_t charged;	  /* bytes, but for buffers */
	int fd;
	bool alone; /* one processor: spinning would only be in the way */
	_Atomic(bool) stop;
	/* How many workers have not ended. */
	_Atomic(unsigned) running;
	struct worker *worker;
	unsigned workers;

	/* Pages of each slot's buffer that are charged: of who serves it. */
	uint32_t reach[TMEM_RING_SLOTS];

	/* Slots that are served by workers that do not lead. */
	_Atomic(uint32_t) busy;

	/* Held by the worker that leads; guards those below. */
	pthread_mutex_t leader;
	unsigned last;	     /* slot served last */
	unsigned crowd;	     /* requests to go until it counts as one thread */
	uint64_t gap_ns;     /* how long requests make it wait, on average */
	uint64_t idle_since; /* when it began to wait, 0 when it had not to */

	/* Held for reading while a request uses a pool. */
	pthread_rwlock_t pools_lock;
	struct tmem_pool *pool[TMEM_RING_POOLS];
	uint64_t pools; /* bits of those that are there */
};

/* Whether the wait for a request is over: there is one, or it is time to
 * stop. */
static bool is_rung(struct tmem_ring_server *server)
{
	return (atomic_load_explicit(&server->ring->header.bell,
				     memory_order_acquire) &
		TMEM_RING_SLOT_BITS) ||
	       atomic_load_explicit(&server->stop, memory_order_relaxed);
}

/* Spin for the next request if it is likely to come soon. */
static bool spin(struct tmem_ring_server *server)
{
	unsigned i;

	if (server->alone || server->gap_ns > TMEM_RING_SPIN_NS)
		return is_rung(server);
	do {
		for (i = 0; i < SPINS_A_LOOK; i++) {
			if (is_rung(server))
				return true;
			tmem_ring_pause();
		}
		/* Our client may be waiting for this processor. */
		sched_yield();
	} while (tmem_ring_now() - server->idle_since < TMEM_RING_SPIN_NS);
	return false;
}

static void wait_for_request(struct tmem_ring_server *server)
{
	_Atomic(uint32_t) *bell = &server->ring->header.bell;
	uint32_t old;

	server->idle_since = 0;
	if (is_rung(server))
		return;
	server->idle_since = tmem_ring_now();
	while (!spin(server)) {
		/* Bits that are no slot's are the client's nonsense. */
		old = atomic_load(bell);
		if (old & TMEM_RING_SLOT_BITS)
			break;
		if (!atomic_compare_exchange_strong(bell, &old,
						    TMEM_RING_ASLEEP))
			continue;
		tmem_ring_sleep(bell, TMEM_RING_ASLEEP, -1);
	}
}

/* Learn from when a request came how long to wait for the next: not from when
 * it was seen, since waking up may have taken longer than it would have taken
 * to wait for it. */
static void learn_gap(struct tmem_ring_server *server, uint64_t rung_at)
{
	uint64_t gap = 0;

	if (server->idle_since && rung_at > server->idle_since)
		gap = rung_at - server->idle_since;
	if (gap > 2 * TMEM_RING_SPIN_NS)
		gap = 2 * TMEM_RING_SPIN_NS; /* so that it is soon forgotten */
	server->gap_ns = (server->gap_ns * 7 + gap) / 8;
}

/* Take the next slot whose bit is set, in turn. Returns it, or -1. */
static int take_slot(struct tmem_ring_server *server)
{
	_Atomic(uint32_t) *bell = &server->ring->header.bell;
	uint32_t bits = atomic_load(bell) & TMEM_RING_SLOT_BITS;
	uint32_t after = bits & ~((2u << server->last) - 1);
	uint32_t state;
	unsigned slot;

	if (!bits)
		return -1;
	slot = (unsigned)__builtin_ctz(after ? after : bits);
	/* Acquires what the client wrote before it set the bit. */
	atomic_fetch_and(bell, ~(1u << slot | TMEM_RING_ASLEEP));
	server->last = slot;
	/* A client that plays by the rules rings for a slot once, and not
	 * before the last reply in it. */
	if (atomic_load(&server->busy) & 1u << slot)
		return -1;
	state = atomic_load(&server->ring->slot[slot].state);
	if (state != TMEM_RING_REQUEST && state != TMEM_RING_SLEEPING)
		return -1;
	learn_gap(server, server->ring->slot[slot].rung_at);
	if (slot > 0)
		server->crowd = CROWD;
	else if (server->crowd > 0)
		server->crowd--;
	return (int)slot;
}

static int execute_put(struct tmem_pool *pool, struct tmem_ring_work *work,
		       const uint8_t *buffer)
{
	const struct tmem_ring_request *request = &work->request;
	uint32_t done, count;
	int r, stored = 0;

	for (done = 0; done < request->count; done += count) {
		count = (uint32_t)request->count - done;
		if (count > TMEM_RING_BATCH)
			count = TMEM_RING_BATCH;
		memcpy(work->pages, buffer + (size_t)done * TMEM_PAGE_SIZE,
		       (size_t)count * TMEM_PAGE_SIZE);
		r = tmem_put_run(pool, &request->oid, request->index + done,
				 count, work->pages, work->outcome + done);
		if (r < 0)
			return r;
		stored += r;
	}
	return stored;
}

static int execute_checked(struct tmem_pool *pool, struct tmem_ring_work *work,
			   uint8_t *buffer)
{
	const struct tmem_ring_request *request = &work->request;
	int r;

	switch ((enum tmem_ring_op)request->op) {
	case TMEM_RING_PUT:
		return execute_put(pool, work, buffer);
	case TMEM_RING_GET:
		return tmem_get_run(pool, &request->oid, request->index,
				    (uint32_t)request->count, buffer,
				    work->outcome);
	case TMEM_RING_FLUSH:
		return tmem_flush_run(pool, &request->oid, request->index,
				      request->count);
	case TMEM_RING_FLUSH_OBJECT:
		r = tmem_flush_object(pool, &request->oid);
		return r < 0 ? r : r == TMEM_OK;
	}
	return -EINVAL;
}

int tmem_ring_server_execute(struct tmem_ring_server *server,
			     struct tmem_ring_work *work, uint8_t *buffer)
{
	int r;

	pthread_rwlock_rdlock(&server->pools_lock);
	r = tmem_ring_request_check(&work->request, server->pools);
	if (r == 0)
		r = execute_checked(server->pool[work->request.pool], work,
				    buffer);
	pthread_rwlock_unlock(&server->pools_lock);
	return r;
}

/* Charge memory that the ring takes in any case: within the budget, if room can
 * be made there. */
static void charge(struct tmem_store *store, uint64_t bytes)
{
	unsigned tries = 1, made = 0;
	uint64_t rooms = tmem_evict_rooms(store);

	while (!tmem_budget_try_charge_private(&store->budget, bytes)) {
		if (tries++ == TMEM_ROOM_TRIES ||
		    !tmem_evict_room(store, rooms, &made)) {
			tmem_budget_charge_private(&store->budget, bytes);
			return;
		}
		rooms = tmem_evict_rooms(store);
	}
}

/* Charge the pages of a slot's buffer that a request is the first to use. */
static void charge_buffer(struct tmem_ring_server *server, unsigned i,
			  uint64_t count)
{
	uint32_t pages = count < TMEM_RUN_MAX ? (uint32_t)count : TMEM_RUN_MAX;

	if (!server->store || pages <= server->reach[i])
		return;
	charge(server->store,
	       (uint64_t)(pages - server->reach[i]) * TMEM_PAGE_SIZE);
	server->reach[i] = pages;
}

/* Carry out the request in a slot (already copied) and reply. */
static void serve(struct tmem_ring_server *server, unsigned i,
		  struct tmem_ring_work *work)
{
	struct tmem_ring_slot *slot = &server->ring->slot[i];
	bool paged = work->request.op == TMEM_RING_PUT ||
		     work->request.op == TMEM_RING_GET;
	int r;

	if (paged)
		charge_buffer(server, i, work->request.count);
	r = tmem_ring_server_execute(server, work, server->ring->buffer[i]);
	/* Accepted, so count is what it may be. */
	if (r >= 0 && paged && work->request.count > 1)
		memcpy(slot->outcome, work->outcome, work->request.count);
	slot->result = r;
	atomic_fetch_and(&server->busy, ~(1u << i));
	/* Releases the reply. */
	if (atomic_exchange(&slot->state, TMEM_RING_DONE) == TMEM_RING_SLEEPING)
		tmem_ring_wake(&slot->state, 1);
}

/* Whether a request is worth a change of the leader. */
static bool is_long(const struct tmem_ring_server *server,
		    const struct tmem_ring_request *request)
{
	switch (request->op) {
	case TMEM_RING_PUT:
		return server->crowd > 0;
	case TMEM_RING_GET:
		return server->crowd > 0 && request->count >= LONG_GET;
	case TMEM_RING_FLUSH:
		return request->count >= HUGE_FLUSH ||
		       (server->crowd > 0 && request->count >= LONG_FLUSH);
	default:
		return true;
	}
}

static void *run_worker(void *arg)
{
	struct worker *worker = arg;
	struct tmem_ring_server *server = worker->server;
	struct tmem_ring_work *work = &worker->work;
	int slot;

	pthread_mutex_lock(&server->leader);
	while (!atomic_load(&server->stop)) {
		wait_for_request(server);
		slot = take_slot(server);
		if (slot < 0)
			continue;
		memcpy(&work->request, &server->ring->slot[slot].request,
		       sizeof(work->request));
		/* From here on the compiler, too, must take the ring for
		 * changed, and cannot read the request there again. */
		atomic_signal_fence(memory_order_seq_cst);
		if (!is_long(server, &work->request)) {
			serve(server, (unsigned)slot, work);
			continue;
		}
		atomic_fetch_or(&server->busy, 1u << slot);
		pthread_mutex_unlock(&server->leader);
		serve(server, (unsigned)slot, work);
		pthread_mutex_lock(&server->leader);
	}
	pthread_mutex_unlock(&server->leader);
	atomic_fetch_sub(&server->running, 1);
	return NULL;
}

/* Make the memfd and map it. */
static int make_ring(struct tmem_ring_server *server)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	server->fd = memfd_create("tmem-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (server->fd < 0)
		return -errno;
	if (ftruncate(server->fd, sizeof(struct tmem_ring)) < 0 ||
	    fcntl(server->fd, F_ADD_SEALS, seals) < 0)
		return -errno;
	server->ring = mmap(NULL, sizeof(struct tmem_ring),
			    PROT_READ | PROT_WRITE, MAP_SHARED, server->fd, 0);
	if (server->ring == MAP_FAILED) {
		server->ring = NULL;
		return -errno;
	}
	tmem_ring_init(server->ring);
	if (server->store) {
		server->charged = offsetof(struct tmem_ring, buffer);
		charge(server->store, server->charged);
	}
	return 0;
}

static int start_workers(struct tmem_ring_server *server)
{
	struct worker *worker;
	int r;

	server->worker = aligned_alloc(_Alignof(struct worker),
				       WORKERS * sizeof(*worker));
	if (!server->worker)
		return -ENOMEM;
	for (; server->workers < WORKERS; server->workers++) {
		worker = &server->worker[server->workers];
		worker->server = server;
		atomic_fetch_add(&server->running, 1);
		r = pthread_create(&worker->thread, NULL, run_worker, worker);
		if (r > 0) {
			atomic_fetch_sub(&server->running, 1);
			return -r;
		}
	}
	return 0;
}

int tmem_ring_server_new(struct tmem_store *store,
			 struct tmem_ring_server **out)
{
	struct tmem_ring_server *server = calloc(1, sizeof(*server));
	pthread_rwlockattr_t attr;
	int r;

	if (!server)
		return -ENOMEM;
	server->store = store;
	server->fd = -1;
	server->alone = sysconf(_SC_NPROCESSORS_ONLN) == 1;
	pthread_mutex_init(&server->leader, NULL);
	pthread_rwlockattr_init(&attr);
	/* A pool's closing must not starve behind requests. */
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&server->pools_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	r = make_ring(server);
	if (r == 0)
		r = start_workers(server);
	if (r < 0) {
		tmem_ring_server_free(server);
		return r;
	}
	*out = server;
	return 0;
}

struct tmem_ring_server *tmem_ring_server_free(struct tmem_ring_server *server)
{
	const struct timespec ms = {0, 1000000};
	unsigned i;

	if (!server)
		return NULL;
	atomic_store(&server->stop, true);
	while (atomic_load(&server->running) > 0) {
		tmem_ring_wake(&server->ring->header.bell, INT_MAX);
		nanosleep(&ms, NULL);
	}
	for (i = 0; i < server->workers; i++)
		pthread_join(server->worker[i].thread, NULL);
	free(server->worker);
	for (i = 0; i < TMEM_RING_SLOTS; i++)
		server->charged += (uint64_t)server->reach[i] * TMEM_PAGE_SIZE;
	if (server->charged)
		tmem_budget_uncharge_private(&server->store->budget,
					     server->charged);
	if (server->ring)
		munmap(server->ring, sizeof(*server->ring));
	if (server->fd >= 0)
		close(server->fd);
	pthread_rwlock_destroy(&server->pools_lock);
	pthread_mutex_destroy(&server->leader);
	free(server);
	return NULL;
}

int tmem_ring_server_fd(const struct tmem_ring_server *server)
{
	return server->fd;
}

int tmem_ring_server_add(struct tmem_ring_server *server,
			 struct tmem_pool *pool)
{
	int id = -ENOSPC;

	pthread_rwlock_wrlock(&server->pools_lock);
	if (~server->pools) {
		id = __builtin_ctzll(~server->pools);
		server->pool[id] = pool;
		server->pools |= UINT64_C(1) << id;
	}
	pthread_rwlock_unlock(&server->pools_lock);
	return id;
}

struct tmem_pool *tmem_ring_server_pool(struct tmem_ring_server *server,
					unsigned id)
{
	struct tmem_pool *pool = NULL;

	pthread_rwlock_rdlock(&server->pools_lock);
	if (id < TMEM_RING_POOLS)
		pool = server->pool[id];
	pthread_rwlock_unlock(&server->pools_lock);
	return pool;
}

struct tmem_pool *tmem_ring_server_take(struct tmem_ring_server *server,
					unsigned id)
{
	struct tmem_pool *pool = NULL;

	pthread_rwlock_wrlock(&server->pools_lock);
	if (id < TMEM_RING_POOLS) {
		pool = server->pool[id];
		server->pool[id] = NULL;
		server->pools &= ~(UINT64_C(1) << id);
	}
	pthread_rwlock_unlock(&server->pools_lock);
	return pool;
}
