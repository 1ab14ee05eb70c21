/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which way of eviction suits a pool, by trying. A way says how long a new leaf
 * is on probation, and whether a page that comes back soon after it was
 * evicted is spared that. No way is best for all work (bench/BENCHMARKS.md),
 * and what is lost by the wrong one is large; so each is tried out on a sample
 * of the pool's leaves, in a miniature of the pool that holds names and no
 * pages, and the pool goes the way whose miniature has more hits.
 *
 * Threading: a duel has a lock, which gets do not wait for. A ghost is its
 * owner's.
 */
#ifndef TMEM_DUEL_H
#define TMEM_DUEL_H

#include "budget.h"
#include "lock.h"

struct tmem_way {
	uint8_t fresh; /* percent of the leaves that are on probation */
	/* Who comes back is not put on probation again. So a pool that turns
	 * to this way may take the leaves that it holds for old ones: what
	 * comes back takes their place. Without a ghost nothing might, and old
	 * leaves are tried once first. */
	bool ghost;
};

#define TMEM_WAYS 3u
/** Of pools that are too small, or too new, to try. */
#define TMEM_WAY_FIRST 1u

extern const struct tmem_way tmem_way[TMEM_WAYS];

/** Leaves that lost pages on probation. Each has its slot, where the next one
 * takes its place. */
struct tmem_ghost {
	uint32_t *slot; /* part of the name, 24 bits; pages, 8 bits */
	uint32_t slots;
};

/** How many slots suit so many leaves. With more of them, work that goes round
 * through more than fits would have all of it spared, and keep none; with a
 * part of that remembered, a part stays. */
static inline uint32_t tmem_ghost_slots_for(uint32_t leaves)
{
	return leaves / 16 * 5;
}

/** Whether a ghost has about the slots that it should. */
static inline bool tmem_ghost_fits(const struct tmem_ghost *ghost,
				   uint32_t slots)
{
	return slots <= ghost->slots + ghost->slots / 4 &&
	       slots >= ghost->slots / 4;
}

static inline uint32_t *tmem_ghost_slot(const struct tmem_ghost *ghost,
					uint64_t name)
{
	return &ghost->slot[(name & UINT32_MAX) * ghost->slots >> 32];
}

/** Remember that pages of the leaf called name were evicted. */
static inline void tmem_ghost_note(struct tmem_ghost *ghost, uint64_t name,
				   unsigned pages)
{
	uint32_t tag = (uint32_t)(name >> 32) << 8, *slot;

	if (!ghost->slots)
		return;
	slot = tmem_ghost_slot(ghost, name);
	*slot = (*slot & ~0xffu) == tag ? *slot | pages : tag | pages;
}

/** Pages of a leaf that are remembered. */
static inline unsigned tmem_ghost_of(const struct tmem_ghost *ghost,
				     uint64_t name)
{
	uint32_t tag = (uint32_t)(name >> 32) << 8, slot;

	if (!ghost->slots)
		return 0;
	slot = *tmem_ghost_slot(ghost, name);
	return (slot & ~0xffu) == tag ? slot & 0xffu : 0;
}

struct tmem_mini;

struct tmem_duel {
	struct tmem_lock lock;
	struct tmem_mini *mini[TMEM_WAYS]; /* all, or none */
	uint32_t room;			   /* pages that a miniature may hold */
	uint32_t seen;			   /* pages since the last judgement */
	uint32_t score[TMEM_WAYS];
	_Atomic(uint32_t) sample; /* see tmem_duel_samples() */
	_Atomic(uint8_t) way;
};

/** Returns 0 or -errno. */
int tmem_duel_init(struct tmem_duel *duel);
void tmem_duel_deinit(struct tmem_duel *duel, struct tmem_budget *budget);

/** Fit the miniatures to a pool of so many pages, of which some are about to be
 * evicted. Without memory they stay as they are. */
void tmem_duel_fit(struct tmem_duel *duel, struct tmem_budget *budget,
		   uint64_t pages);

/** Whether gets of the leaf called name are to be told to tmem_duel_note(). */
static inline bool tmem_duel_samples(const struct tmem_duel *duel,
				     uint64_t name)
{
	return !((uint32_t)(name >> 32) &
		 atomic_load_explicit(&duel->sample, memory_order_relaxed));
}

/** Pages (a bit each) of the leaf called name were asked for; those that are
 * not held are put after that. */
void tmem_duel_note(struct tmem_duel *duel, uint64_t name, unsigned pages);

/** The way to go. */
static inline const struct tmem_way *tmem_duel_way(const struct tmem_duel *duel)
{
	return &tmem_way[atomic_load_explicit(&duel->way,
					      memory_order_relaxed)];
}

#endif
