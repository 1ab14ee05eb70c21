/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutexes with a named class and a rank. A thread takes locks in rising rank
 * only, at most one of a class; debug builds (TMEM_DEBUG_LOCKS) verify that and
 * the owner, and abort. Each class counts contention. Clang's thread-safety
 * analysis reads the annotations.
 */
#ifndef TMEM_LOCK_H
#define TMEM_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define TMEM_TSA(x) __attribute__((x))
#else
#define TMEM_TSA(x)
#endif
/** After a function's declaration: its caller holds l. */
#define TMEM_REQUIRES(l) TMEM_TSA(requires_capability(l))

/** Lock classes in rank order, outermost first. What each guards is written
 * where the lock is declared. */
enum tmem_lock_class {
	TMEM_LOCK_BUDGET,  /**< one change of the budget at a time */
	TMEM_LOCK_COMPACT, /**< one compaction or eviction sweep at a time */
	TMEM_LOCK_COOL,	   /**< one thread that cools at a time */
	TMEM_LOCK_RECOUNT, /**< one recount of charges at a time */
	TMEM_LOCK_ADMIN,   /**< client and pool records, authorisations */
	TMEM_LOCK_SHARD,   /**< part of the index */
	TMEM_LOCK_DUEL,	   /**< one pool's ways of eviction under trial */
	TMEM_LOCK_DEDUP,   /**< part of the dedup table */
	TMEM_LOCK_SLAB,	   /**< one size class */
	TMEM_LOCK_TABLE,   /**< one record table */
	TMEM_LOCK_ARENA,   /**< chunk allocation */
	TMEM_LOCK_CODEC,   /**< one codec workspace */
	TMEM_LOCK_CLASSES,
};

struct TMEM_TSA(capability("mutex")) tmem_lock {
	pthread_mutex_t mutex;
	enum tmem_lock_class class;
	_Atomic(uint64_t) owner; /* debug: thread id of the holder, or 0 */
};

/** Returns 0 or -errno. */
int tmem_lock_init(struct tmem_lock *lock, enum tmem_lock_class class);
void tmem_lock_deinit(struct tmem_lock *lock);
void tmem_lock_acquire(struct tmem_lock *lock)
	TMEM_TSA(acquire_capability(lock));
/** Take the lock if that needs no waiting. Returns whether it was taken. */
bool tmem_lock_try(struct tmem_lock *lock)
	TMEM_TSA(try_acquire_capability(true, lock));
void tmem_lock_release(struct tmem_lock *lock)
	TMEM_TSA(release_capability(lock));
/** Assert that this thread holds lock (debug builds). */
#ifdef TMEM_DEBUG_LOCKS
void tmem_lock_assert_held(const struct tmem_lock *lock)
	TMEM_TSA(assert_capability(lock));
#else
static inline void tmem_lock_assert_held(const struct tmem_lock *lock)
	TMEM_TSA(assert_capability(lock));
static inline void tmem_lock_assert_held(const struct tmem_lock *lock)
{
	(void)lock;
}
#endif
/** Times a thread had to wait for a lock of this class, since start. */
uint64_t tmem_lock_contended(enum tmem_lock_class class);
const char *tmem_lock_class_name(enum tmem_lock_class class);

#endif
