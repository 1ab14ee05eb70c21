/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A naive model of a store, and a workload that keeps a store and its model
 * side by side. The model holds no pages, only what each handle may hold:
 *
 *  exact pages    each belongs to one thread, which therefore knows what a get
 *                 must return (exact.c);
 *  stamped pages  are put, got and flushed by all threads at once. Each page
 *                 carries the tick at which its put started, and the rules of
 *                 linearizability say which ticks a get may return
 *                 (stamped.c).
 *
 * The model lies in memory shared with child processes, and each operation is
 * noted before it starts (intent) and after it returns. So when a process that
 * runs the workload is killed, its parent knows what had been acknowledged and
 * what was under way.
 *
 * A violation prints what happened and aborts.
 */
#ifndef MODEL_H
#define MODEL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tmem/client.h>
#include <tmem/store.h>
#include "attach-server.h"
#include "random.h"

#define MODEL_THREADS_MAX 8

/* The pools every thread has open, by kind. The two shared ones are the same
 * for all; the private ones are the thread's own client's. */
enum model_kind {
	MODEL_EPHEMERAL,
	MODEL_EXCLUSIVE,
	MODEL_PERSISTENT,
	MODEL_SHARED_EPHEMERAL,
	MODEL_SHARED_PERSISTENT,
	MODEL_KINDS,
};

static inline bool model_is_persistent(enum model_kind kind)
{
	return kind == MODEL_PERSISTENT || kind == MODEL_SHARED_PERSISTENT;
}

static inline bool model_is_shared(enum model_kind kind)
{
	return kind >= MODEL_SHARED_EPHEMERAL;
}

/* Exact pages: OBJECTS x INDEXES a thread and kind. An object spans shards. */
#define EXACT_OBJECTS 6
#define EXACT_INDEXES 160

struct exact_page {
	/* Seed of the page held, 0 for none; ephemeral: held or evicted. */
	_Atomic(uint64_t) seed;
	/* What an operation under way will leave: EXACT_NO_INTENT,
	 * EXACT_GONE, or a seed. */
	_Atomic(uint64_t) intent;
};
#define EXACT_NO_INTENT 0
#define EXACT_GONE	1
#define EXACT_SEED_MIN	2

/* Stamped pages: few, so that threads meet on them. */
#define STAMPED_OBJECTS 2
#define STAMPED_INDEXES 24
#define STAMPED_SLOTS	64

struct stamped_page {
	_Atomic(uint32_t) clock;     /* ticks: starts and ends of operations */
	_Atomic(uint32_t) dead;	     /* puts that ended before it are dead */
	_Atomic(uint32_t) put_start; /* latest start of a put that stored */
	_Atomic(uint32_t) removed;   /* latest end of a flush or a refusal */
	_Atomic(uint32_t) in_flight; /* puts and flushes under way */
	/* For recent puts, at start tick % STAMPED_SLOTS: start << 32 | end,
	 * where end may be STAMPED_RUNS or STAMPED_DEAD. */
	_Atomic(uint64_t) slot[STAMPED_SLOTS];
};

struct model {
	uint64_t seed;
	unsigned threads;
	_Atomic(uint64_t) operations; /* calls made by all threads */
	_Atomic(uint64_t) budgets;    /* budget changes */
	_Atomic(bool) running;	      /* threads work (killing may start) */
	struct exact_page exact[MODEL_THREADS_MAX][MODEL_KINDS][EXACT_OBJECTS]
			       [EXACT_INDEXES];
	struct stamped_page stamped[MODEL_KINDS][STAMPED_OBJECTS]
				   [STAMPED_INDEXES];
};

/** A model in memory shared with children; aborts on failure. */
struct model *model_new(uint64_t seed, unsigned threads);
void model_free(struct model *model);

/** Report a violation and abort. */
_Noreturn void model_fail(const struct model *model, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* exact.c ------------------------------------------------------------------ */

/** Index, within its object, of exact page i of object o. */
uint32_t exact_index(unsigned object, unsigned i);

/** Whether outcome and page (after a get of an exact page) are right; notes
 * what follows from them. */
void exact_got(struct model *model, enum model_kind kind,
	       struct exact_page *page, int outcome, const void *bytes);
void exact_put_starts(struct exact_page *page, uint64_t seed);
void exact_put_ends(struct model *model, struct exact_page *page, int outcome);
/** The same of a replacement, which leaves the old page when refused. */
void exact_replace_ends(struct model *model, struct exact_page *page,
			int outcome);
void exact_flush_starts(struct exact_page *page);
/** A flush ended. Returns how many pages it may have found, in *least and
 * *most (added up). */
void exact_flush_ends(enum model_kind kind, struct exact_page *page,
		      uint64_t *least, uint64_t *most);

/** After a kill: bytes and outcome of the first get, in the reopened store.
 * The model then agrees with the store. */
void exact_recovered(struct model *model, enum model_kind kind,
		     struct exact_page *page, int outcome, const void *bytes);

/* stamped.c ---------------------------------------------------------------- */

/** Make the page that a put of start tick stamp writes. */
void stamped_make(void *bytes, enum model_kind kind, unsigned object,
		  unsigned i, uint32_t stamp);

/** Start a put; returns its stamp, or 0 when it must not start just now. */
uint32_t stamped_put_starts(struct stamped_page *page);
void stamped_put_ends(struct model *model, struct stamped_page *page,
		      uint32_t stamp, int outcome);
uint32_t stamped_flush_starts(struct stamped_page *page);
void stamped_flush_ends(struct stamped_page *page, uint32_t start);

struct stamped_get {
	uint32_t start;
	uint32_t dead;
	uint32_t put_start;
};
struct stamped_get stamped_get_starts(struct stamped_page *page);
/** A get of stamped page (kind, object, i) returned outcome and bytes. */
void stamped_got(struct model *model, enum model_kind kind, unsigned object,
		 unsigned i, struct stamped_get get, int outcome,
		 const void *bytes);

/** After a kill, after a stamped_got(): nothing is under way any more. */
void stamped_recovered(struct stamped_page *page, int outcome,
		       const void *bytes);

/* world.c ------------------------------------------------------------------ */

/** The store and everyone's clients and pools. The last client's pools are
 * for stamped pages. */
struct world {
	struct model *model;
	struct tmem_store *store;
	int fd;	       /* the arena's */
	bool attached; /* clients reach the store through the door, by rings */
	struct test_attach_door door;
	struct tmem_client *client[MODEL_THREADS_MAX + 1];
	struct tmem_pool *pool[MODEL_THREADS_MAX + 1][MODEL_KINDS];
};

struct world_config {
	uint64_t budget;
	uint64_t capacity;
	unsigned hash_bits;
	bool attached;
	uint64_t nursery;
	unsigned threads; /* of the store, in the background */
};

/** Open a store on the arena in fd (which the caller keeps). */
void world_open(struct world *world, struct model *model, int fd,
		const struct world_config *config);
void world_close(struct world *world);

/** Open or free the client and the pools of thread who (threads: the common
 * client). Freeing ends private ephemeral pages: the caller notes that. */
void world_join(struct world *world, unsigned who);
void world_leave(struct world *world, unsigned who);
/** Destroy one private pool and make it anew. */
void world_renew_pool(struct world *world, unsigned who, enum model_kind kind);
/** Every client's settings as they were at first. */
void world_reset_settings(struct world *world);

/** Object id of an exact (who < threads) or stamped (who = threads) page. */
struct tmem_oid world_oid(const struct world *world, unsigned who,
			  unsigned object);

/* verify.c ----------------------------------------------------------------- */

/** Get every page and hold it against the model; quiet. recovered: after a
 * kill, so that ephemeral pages must be gone, and what was under way may or
 * may not have happened. Also runs tmem_store_check(). */
void world_verify(struct world *world, bool recovered);

/* workload.c --------------------------------------------------------------- */

struct workload {
	struct world *world;
	const struct world_config *config;
	uint64_t operations; /* a thread and phase; 0: until stopped */
	sem_t chaos_due;     /* posted by threads now and then */
	_Atomic(unsigned) working;
	uint64_t phase;
};

/** Run one phase: all threads work, chaos too; returns when all have met
 * again. */
void workload_phase(struct workload *workload);

/** What must not happen while others work: clients leave, shared pools are
 * destroyed, everything is verified. */
void workload_between(struct workload *workload, struct test_random *random);

/* worker.c, chaos.c: the two kinds of threads. */
struct worker {
	struct workload *workload;
	unsigned who;
	struct test_random random;
	uint8_t *bytes; /* TMEM_RUN_MAX pages */
};
void worker_step(struct worker *worker);
void stamped_step(struct worker *worker);
void chaos_step(struct workload *workload, struct test_random *random);

#endif
