/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A miniature is what evict.c makes of a pool, in one queue instead of 32:
 *
 *   head  new leaves: on probation | old leaves  tail
 *                                  ^ boundary
 *
 * While there are more new leaves than the way allows, the last one before the
 * boundary is tried: what was not asked for again goes, what was stays, and
 * the boundary passes it. Else the leaf at the tail is tried, and what stays of
 * it is put before the other old leaves.
 *
 * One leaf in 2^n is sampled, by its name, and a miniature holds one in 2^n of
 * the pool's pages: so it has the pool's hit ratio, about, if there are enough
 * of them.
 */
#include "duel.h"
#include <string.h>

const struct tmem_way tmem_way[TMEM_WAYS] = {
	/* What was read again stays, come what may: random reads. */
	{.fresh = 1, .ghost = false},
	/* Near to S3-FIFO: what comes back stays. */
	{.fresh = 5, .ghost = true},
	/* FIFO: what is new is read next, or all that is read just fits. An old
	 * leaf is the next one to be tried again. */
	{.fresh = 100, .ghost = false},
};

/* Pages that a miniature holds at most: a 16th of the pool's, within these. */
#define PART	  16u
#define ROOM_MIN  64u
#define ROOM_MAX  2048u
#define NO_SAMPLE UINT32_MAX

/* Pages between two judgements, each of which forgets a part of what was
 * seen; and how far another way must be ahead, in pages. */
#define PERIOD 256u
#define FORGET 8u
#define AHEAD  24u
#define FIFO   (TMEM_WAYS - 1)

struct leaf {
	uint64_t name;
	uint16_t next, prev; /* in the queue: towards the tail, the head */
	uint16_t chain;
	uint8_t held, visited; /* a bit a page */
	bool fresh;
};

struct tmem_mini {
	const struct tmem_way *way;
	uint32_t room;
	uint32_t most; /* pages */
	uint32_t pages, leaves, fresh;
	uint16_t head, tail, old, unused; /* leaves, from 1 on; or 0 */
	struct tmem_ghost ghost;
	uint16_t *bucket; /* room of them */
	struct leaf leaf[];
};

static size_t mini_bytes(uint32_t room)
{
	return sizeof(struct tmem_mini) + (room + 1) * sizeof(struct leaf) +
	       room * (sizeof(uint32_t) + sizeof(uint16_t));
}

static struct tmem_mini *mini_new(struct tmem_budget *budget, uint32_t room,
				  const struct tmem_way *way)
{
	struct tmem_mini *m = tmem_budget_alloc(budget, mini_bytes(room));

	if (!m)
		return NULL;
	m->way = way;
	m->room = room;
	m->ghost.slot = (uint32_t *)&m->leaf[room + 1];
	m->bucket = (uint16_t *)(m->ghost.slot + room);
	for (uint32_t i = 1; i < room; i++)
		m->leaf[i].next = (uint16_t)(i + 1);
	m->unused = 1;
	return m;
}

static uint16_t *bucket(struct tmem_mini *m, uint64_t name)
{
	return &m->bucket[name & (m->room - 1)];
}

static uint16_t find(struct tmem_mini *m, uint64_t name)
{
	uint16_t at = *bucket(m, name);

	while (at && m->leaf[at].name != name)
		at = m->leaf[at].chain;
	return at;
}

/* Into the queue before another leaf, or at the tail (0). */
static void enqueue(struct tmem_mini *m, uint16_t at, uint16_t before)
{
	struct leaf *leaf = &m->leaf[at];

	leaf->next = before;
	leaf->prev = before ? m->leaf[before].prev : m->tail;
	*(leaf->prev ? &m->leaf[leaf->prev].next : &m->head) = at;
	*(before ? &m->leaf[before].prev : &m->tail) = at;
}

static void dequeue(struct tmem_mini *m, uint16_t at)
{
	struct leaf *leaf = &m->leaf[at];

	if (m->old == at)
		m->old = leaf->next;
	*(leaf->prev ? &m->leaf[leaf->prev].next : &m->head) = leaf->next;
	*(leaf->next ? &m->leaf[leaf->next].prev : &m->tail) = leaf->prev;
}

/* Put a leaf first among the old ones. */
static void make_old(struct tmem_mini *m, uint16_t at)
{
	dequeue(m, at);
	enqueue(m, at, m->old);
	m->old = at;
	m->fresh -= m->leaf[at].fresh;
	m->leaf[at].fresh = false;
}

static uint16_t make_leaf(struct tmem_mini *m, uint64_t name)
{
	uint16_t at = m->unused;
	struct leaf *leaf = &m->leaf[at];

	m->unused = leaf->next;
	*leaf = (struct leaf){
		.name = name,
		.chain = *bucket(m, name),
		.fresh = true,
	};
	*bucket(m, name) = at;
	enqueue(m, at, m->head);
	m->leaves++;
	m->fresh++;
	return at;
}

static void drop_leaf(struct tmem_mini *m, uint16_t at)
{
	struct leaf *leaf = &m->leaf[at];
	uint16_t *link = bucket(m, leaf->name);

	while (*link != at)
		link = &m->leaf[*link].chain;
	*link = leaf->chain;
	dequeue(m, at);
	m->fresh -= leaf->fresh;
	m->leaves--;
	leaf->next = m->unused;
	m->unused = at;
}

/* As of evict.c, but that there is room for any. */
static void fit_ghost(struct tmem_mini *m)
{
	uint32_t slots = tmem_ghost_slots_for(m->leaves);

	if (!m->way->ghost || tmem_ghost_fits(&m->ghost, slots))
		return;
	m->ghost.slots = slots;
	memset(m->ghost.slot, 0, slots * sizeof(*m->ghost.slot));
}

/* Try a leaf. */
static void evict(struct tmem_mini *m)
{
	bool fresh = !m->old || m->fresh * 100 > m->leaves * m->way->fresh;
	uint16_t at = fresh && m->old ? m->leaf[m->old].prev : m->tail;
	struct leaf *leaf = &m->leaf[at];
	unsigned gone = leaf->held & ~leaf->visited;

	fit_ghost(m);
	if (leaf->fresh && gone)
		tmem_ghost_note(&m->ghost, leaf->name, gone);
	make_old(m, at);
	leaf->visited = 0;
	leaf->held &= (uint8_t)~gone;
	m->pages -= (unsigned)__builtin_popcount(gone);
	if (!leaf->held)
		drop_leaf(m, at);
}

/* Returns how many of the pages it held; from here on it holds all. */
static unsigned mini_get(struct tmem_mini *m, uint64_t name, unsigned pages)
{
	uint16_t at = find(m, name);
	unsigned held = at ? m->leaf[at].held & pages : 0;
	unsigned new = pages & ~held;

	if (at)
		m->leaf[at].visited |= (uint8_t)held;
	while (new && (m->pages + (unsigned)__builtin_popcount(new) > m->most ||
		       (!at && !m->unused))) {
		evict(m);
		at = find(m, name);
	}
	if (new && !at)
		at = make_leaf(m, name);
	if (new && m->leaf[at].fresh && tmem_ghost_of(&m->ghost, name) & new)
		make_old(m, at);
	m->leaf[at].held |= (uint8_t) new;
	m->pages += (unsigned)__builtin_popcount(new);
	return (unsigned)__builtin_popcount(held);
}

int tmem_duel_init(struct tmem_duel *duel)
{
	memset(duel, 0, sizeof(*duel));
	atomic_init(&duel->sample, NO_SAMPLE);
	atomic_init(&duel->way, TMEM_WAY_FIRST);
	return tmem_lock_init(&duel->lock, TMEM_LOCK_DUEL);
}

static void free_minis(struct tmem_duel *duel, struct tmem_budget *budget)
{
	for (unsigned i = 0; i < TMEM_WAYS; i++) {
		tmem_budget_free(budget, duel->mini[i], mini_bytes(duel->room));
		duel->mini[i] = NULL;
	}
	duel->room = 0;
}

void tmem_duel_deinit(struct tmem_duel *duel, struct tmem_budget *budget)
{
	free_minis(duel, budget);
	tmem_lock_deinit(&duel->lock);
}

static uint32_t room_for(uint64_t pages)
{
	uint32_t room = ROOM_MIN;

	if (pages / PART < ROOM_MIN)
		return 0;
	/* A pool holds somewhat less than what it has memory for: a power of
	 * two of it is not to have half as much. */
	while (room < ROOM_MAX && room < pages / PART / 8 * 7)
		room *= 2;
	return room;
}

static void make_minis(struct tmem_duel *duel, struct tmem_budget *budget,
		       uint32_t room)
{
	bool all = true;

	free_minis(duel, budget);
	duel->room = room;
	for (unsigned i = 0; i < TMEM_WAYS && room && all; i++) {
		duel->mini[i] = mini_new(budget, room, &tmem_way[i]);
		all = duel->mini[i];
	}
	if (!all)
		free_minis(duel, budget);
}

void tmem_duel_fit(struct tmem_duel *duel, struct tmem_budget *budget,
		   uint64_t pages)
{
	uint32_t room = room_for(pages), sample = 0;

	tmem_lock_acquire(&duel->lock);
	/* Small changes need no others. */
	if (room > duel->room || room < duel->room / 4)
		make_minis(duel, budget, room);
	if (duel->room) {
		while (pages / (sample + 1) > duel->room)
			sample = 2 * sample + 1;
		for (unsigned i = 0; i < TMEM_WAYS; i++)
			duel->mini[i]->most = (uint32_t)(pages / (sample + 1));
	}
	atomic_store_explicit(&duel->sample, duel->room ? sample : NO_SAMPLE,
			      memory_order_relaxed);
	tmem_lock_release(&duel->lock);
}

/* Go the way that is ahead, or FIFO, if that is about as far ahead: where what
 * is gone through just fits, and the first way and FIFO are alike, a pool that
 * turned to the first way did not become like its miniature (7 points of hits
 * in BENCHMARKS.md's largest store for git). Let what was seen count less from
 * now on. */
static void judge(struct tmem_duel *duel)
{
	unsigned way = atomic_load_explicit(&duel->way, memory_order_relaxed);
	unsigned best = way;

	for (unsigned i = 0; i < TMEM_WAYS; i++)
		if (duel->score[i] > duel->score[best])
			best = i;
	if (best != way && duel->score[FIFO] + AHEAD >= duel->score[best] &&
	    duel->score[FIFO] > duel->score[way] + AHEAD)
		best = FIFO;
	if (duel->score[best] > duel->score[way] + AHEAD)
		atomic_store_explicit(&duel->way, (uint8_t)best,
				      memory_order_relaxed);
	for (unsigned i = 0; i < TMEM_WAYS; i++)
		duel->score[i] -= duel->score[i] / FORGET;
	duel->seen = 0;
}

void tmem_duel_note(struct tmem_duel *duel, uint64_t name, unsigned pages)
{
	if (!tmem_lock_try(&duel->lock))
		return;
	if (duel->room && pages) {
		for (unsigned i = 0; i < TMEM_WAYS; i++)
			duel->score[i] += mini_get(duel->mini[i], name, pages);
		duel->seen += (unsigned)__builtin_popcount(pages);
		if (duel->seen >= PERIOD)
			judge(duel);
	}
	tmem_lock_release(&duel->lock);
}
