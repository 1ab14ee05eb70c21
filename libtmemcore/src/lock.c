/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranked mutexes (lock.h). In debug builds every thread keeps a bit for each
 * class that it holds: a lock may be taken only when no bit of its own rank or
 * a higher one is set, which makes a deadlock by order impossible.
 */
#include "lock.h"

#include <assert.h>
#include <stddef.h>

static const char *const class_names[TMEM_LOCK_CLASSES] = {
	[TMEM_LOCK_BUDGET] = "budget", [TMEM_LOCK_RECOUNT] = "recount",
	[TMEM_LOCK_ADMIN] = "admin",   [TMEM_LOCK_COMPACT] = "compact",
	[TMEM_LOCK_COOL] = "cool",     [TMEM_LOCK_SHARD] = "shard",
	[TMEM_LOCK_DUEL] = "duel",     [TMEM_LOCK_DEDUP] = "dedup",
	[TMEM_LOCK_SLAB] = "slab",     [TMEM_LOCK_TABLE] = "table",
	[TMEM_LOCK_ARENA] = "arena",   [TMEM_LOCK_CODEC] = "codec",
};

/* Relaxed: these are statistics, they order nothing. */
static _Atomic(uint64_t) contended[TMEM_LOCK_CLASSES];

#ifdef TMEM_DEBUG_LOCKS
static _Thread_local unsigned held; /* one bit a class */

/* The address of a thread's own variable names the thread. */
static uint64_t self(void)
{
	return (uintptr_t)&held;
}

static void before_acquire(const struct tmem_lock *lock)
{
	assert(held >> lock->class == 0 && "lock taken against its rank");
}

/* Relaxed: only the holder's own thread compares owner with itself. */
static void after_acquire(struct tmem_lock *lock)
{
	held |= 1u << lock->class;
	atomic_store_explicit(&lock->owner, self(), memory_order_relaxed);
}

static void before_release(struct tmem_lock *lock)
{
	tmem_lock_assert_held(lock);
	atomic_store_explicit(&lock->owner, 0, memory_order_relaxed);
	held &= ~(1u << lock->class);
}

TMEM_TSA(no_thread_safety_analysis)
void tmem_lock_assert_held(const struct tmem_lock *lock)
{
	assert(atomic_load_explicit(&lock->owner, memory_order_relaxed) ==
		       self() &&
	       "lock not held by this thread");
}
#else
static void before_acquire(const struct tmem_lock *lock)
{
}

static void after_acquire(struct tmem_lock *lock)
{
}

static void before_release(struct tmem_lock *lock)
{
}
#endif

int tmem_lock_init(struct tmem_lock *lock, enum tmem_lock_class class)
{
	lock->class = class;
	atomic_init(&lock->owner, 0);
	return -pthread_mutex_init(&lock->mutex, NULL);
}

void tmem_lock_deinit(struct tmem_lock *lock)
{
	int r = pthread_mutex_destroy(&lock->mutex);

	assert(r == 0 && "lock freed while held");
	(void)r;
}

TMEM_TSA(no_thread_safety_analysis)
void tmem_lock_acquire(struct tmem_lock *lock)
{
	before_acquire(lock);
	if (pthread_mutex_trylock(&lock->mutex) != 0) {
		atomic_fetch_add_explicit(&contended[lock->class], 1,
					  memory_order_relaxed);
		pthread_mutex_lock(&lock->mutex);
	}
	after_acquire(lock);
}

TMEM_TSA(no_thread_safety_analysis)
bool tmem_lock_try(struct tmem_lock *lock)
{
	before_acquire(lock);
	if (pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	after_acquire(lock);
	return true;
}

TMEM_TSA(no_thread_safety_analysis)
void tmem_lock_release(struct tmem_lock *lock)
{
	before_release(lock);
	pthread_mutex_unlock(&lock->mutex);
}

uint64_t tmem_lock_contended(enum tmem_lock_class class)
{
	return atomic_load_explicit(&contended[class], memory_order_relaxed);
}

const char *tmem_lock_class_name(enum tmem_lock_class class)
{
	return class_names[class];
}
