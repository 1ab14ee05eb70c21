/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store's background threads. What they do is in one table of jobs
 * (worker.c), each a function that does a little of its work and says when it
 * has more. Without work they sleep, without a timer, until woken.
 *
 * Threading: tmem_worker_wake() from any thread and with any lock held; the
 * rest by who opens, closes and checks the store. A job holds no lock when it
 * is called, and may be called by several threads at once.
 *
 * Lifetime: from the end of opening the store to the beginning of closing it.
 * Threads do not survive fork(): whoever wants to be a daemon becomes one
 * before opening a store.
 */
#ifndef TMEM_WORKER_H
#define TMEM_WORKER_H

#include <limits.h>
#include "state.h"

/** Most threads of a store. */
#define TMEM_WORKERS_MAX 64u

/** A job that has nothing to do until it is woken. */
#define TMEM_WORKER_NEVER INT_MAX

/** Do a little, some 100 us at most. Returns after how many ms there will be
 * more to do: 0 at once, or TMEM_WORKER_NEVER. */
typedef int tmem_worker_fn(struct tmem_store *store);

/** Start so many threads, or as many as the system grants; store->workers stays
 * NULL where that is none. Returns 0 or -ENOMEM. */
int tmem_workers_start(struct tmem_store *store, unsigned threads);
/** Stop and join them; store->workers is NULL afterwards. */
void tmem_workers_stop(struct tmem_store *store);

/** Something has come up: at least one thread goes through the jobs after
 * this. A system call only where a thread sleeps. */
void tmem_worker_wake(struct tmem_store *store);

/** Keep the threads from their jobs, once they have ended what they are at,
 * and let them go on: for who needs the store quiet. */
void tmem_workers_pause(struct tmem_store *store);
void tmem_workers_resume(struct tmem_store *store);

#endif
