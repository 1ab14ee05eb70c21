/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Background threads (worker.h). A thread goes through the jobs, in the order
 * of the table, until none has more to do, and sleeps on the bell:
 *
 *   look at the bell -> jobs -> (more?) -> jobs ... -> sleep unless it was rung
 *
 * A wake-up rings the bell and then looks whether anyone sleeps; a thread
 * counts itself asleep and then looks at the bell: one of them sees the other,
 * as all four accesses are in one order (seq_cst). A wake-up gets one thread
 * up, and a thread that finds more than a little to do gets up another.
 *
 * Whoever puts faster than the threads settle does the work himself. They have
 * the priority of the program's other threads, as they hold locks that those
 * wait for: at nice 19, beside four busy loops on two processors, puts and gets
 * stood still for half of the time, one of them for 3.7 s; so for a tenth, and
 * 0.17 s, about as long as who is put off the processor himself.
 */
#include "worker.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include "cool.h"
#include "ring.h"
#include "thread.h"
#include "upkeep.h"

struct tmem_workers {
	struct tmem_store *store;
	_Atomic(uint32_t) bell;	  /* times it was rung */
	_Atomic(uint32_t) asleep; /* threads */
	_Atomic(bool) stop;
	/* Held for reading by who is at a job. */
	pthread_rwlock_t quiet;
	unsigned count;
	pthread_t thread[TMEM_WORKERS_MAX];
};

/* In the order in which they are looked at; NULL ends them. */
static tmem_worker_fn *const jobs[] = {
	tmem_upkeep_reserve, tmem_nursery_job, tmem_upkeep_compact,
	tmem_cool_job,	     tmem_upkeep_tidy, NULL,
};

/* Go through the jobs. Returns as a job does. */
static int run_jobs(struct tmem_workers *workers)
{
	int wait = TMEM_WORKER_NEVER;

	for (tmem_worker_fn *const *job = jobs; *job; job++) {
		int ms;

		pthread_rwlock_rdlock(&workers->quiet);
		ms = (*job)(workers->store);
		pthread_rwlock_unlock(&workers->quiet);
		if (ms < wait)
			wait = ms;
	}
	return wait;
}

static void wake_one(struct tmem_workers *workers)
{
	if (atomic_load(&workers->asleep))
		tmem_ring_wake(&workers->bell, 1);
}

/* Nobody is put off the processor when it wakes up. */
static void be_humble(void)
{
	const struct sched_param param = {0};

	/* Refused, the thread is as any other. */
	(void)sched_setscheduler(0, SCHED_BATCH, &param);
}

static void *work(void *arg)
{
	struct tmem_workers *workers = arg;

	pthread_setname_np(pthread_self(), "tmem-store");
	be_humble();
	while (!atomic_load(&workers->stop)) {
		uint32_t seen = atomic_load(&workers->bell);
		int wait = run_jobs(workers);

		if (wait == 0) {
			wake_one(workers);
			continue;
		}
		atomic_fetch_add(&workers->asleep, 1);
		if (atomic_load(&workers->bell) == seen)
			tmem_ring_sleep(&workers->bell, seen,
					wait == TMEM_WORKER_NEVER ? -1 : wait);
		atomic_fetch_sub(&workers->asleep, 1);
	}
	return NULL;
}

void tmem_worker_wake(struct tmem_store *store)
{
	if (!store->workers)
		return;
	atomic_fetch_add(&store->workers->bell, 1);
	wake_one(store->workers);
}

static int init_quiet(pthread_rwlock_t *quiet)
{
	pthread_rwlockattr_t attr;
	int r = pthread_rwlockattr_init(&attr);

	if (r)
		return -r;
	/* Else threads that are always at a job would keep others out. */
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	r = pthread_rwlock_init(quiet, &attr);
	pthread_rwlockattr_destroy(&attr);
	return -r;
}

int tmem_workers_start(struct tmem_store *store, unsigned threads)
{
	struct tmem_workers *workers;
	int r;

	if (!threads)
		return 0;
	workers = tmem_budget_alloc_always(&store->budget, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	workers->store = store;
	r = init_quiet(&workers->quiet);
	if (r < 0) {
		tmem_budget_free(&store->budget, workers, sizeof(*workers));
		return r;
	}
	store->workers = workers;
	/* Callers do what there are no threads for. */
	while (workers->count < threads &&
	       tmem_thread_start(&workers->thread[workers->count], work,
				 workers) == 0) {
		workers->count++;
		tmem_budget_charge_private(&store->budget, TMEM_THREAD_CHARGE);
	}
	if (!workers->count)
		tmem_workers_stop(store);
	return 0;
}

void tmem_workers_stop(struct tmem_store *store)
{
	struct tmem_workers *workers = store->workers;

	if (!workers)
		return;
	atomic_store(&workers->stop, true);
	atomic_fetch_add(&workers->bell, 1);
	tmem_ring_wake(&workers->bell, INT_MAX);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->thread[i], NULL);
	tmem_budget_uncharge_private(&store->budget,
				     workers->count * TMEM_THREAD_CHARGE);
	pthread_rwlock_destroy(&workers->quiet);
	tmem_budget_free(&store->budget, workers, sizeof(*workers));
	store->workers = NULL;
}

void tmem_workers_pause(struct tmem_store *store)
{
	if (store->workers)
		pthread_rwlock_wrlock(&store->workers->quiet);
}

void tmem_workers_resume(struct tmem_store *store)
{
	if (store->workers)
		pthread_rwlock_unlock(&store->workers->quiet);
}
