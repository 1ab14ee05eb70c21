/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the store does (libtmemcore/src/evict.c), with the store's own duel: 32
 * shards, each a queue of leaves with the new ones, on probation, before the
 * old ones; eviction by batches, shard after shard. "store" goes the way that
 * the duel says; the others go one way all the time. "store-sieve" is what the
 * store did before: a hand that goes through the queue and clears marks.
 */
#include "duel.h"
#include "list.h"
#include "policy.h"

#define BATCH_PARTS 256u
#define BATCH_MIN   32u
#define BATCH_MAX   1024u
#define HOLD_PAGES  64u
#define HOLD_LEAVES 512u
#define LAP_PARTS   16u
#define GHOST_MIN   16u

enum way_of { WAY_SIEVE = -2, WAY_DUEL = -1 };

struct part {
	struct list queue;
	uint32_t old; /* the freshest old leaf; SIEVE: the hand */
	uint32_t fresh;
	struct tmem_ghost ghost;
	uint32_t due, stale; /* as of libtmemcore/src/state.h */
	bool adopts;
};

struct state {
	const struct trace *trace;
	struct lists lists;
	struct part part[SHARDS];
	uint32_t most, pages, cursor;
	uint8_t *held, *visited;
	bool *fresh;
	bool exclusive;
	int way;
	const struct tmem_way *last; /* at the last sweep */
	struct tmem_budget budget;
	struct tmem_duel duel;
};

static void *init(const struct trace *trace, uint32_t pages, bool exclusive,
		  int way)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s || !(s->held = calloc(trace->leaf_end, 1)) ||
	    !(s->visited = calloc(trace->leaf_end, 1)) ||
	    !(s->fresh = calloc(trace->leaf_end, sizeof(bool))))
		abort();
	s->trace = trace;
	s->most = pages;
	s->exclusive = exclusive;
	s->way = way;
	lists_init(&s->lists, trace->leaf_end);
	tmem_budget_init(&s->budget, UINT64_MAX);
	if (tmem_duel_init(&s->duel))
		abort();
	s->last = tmem_duel_way(&s->duel);
	return s;
}

static void deinit(void *state)
{
	struct state *s = state;

	tmem_duel_deinit(&s->duel, &s->budget);
	for (unsigned i = 0; i < SHARDS; i++)
		free(s->part[i].ghost.slot);
	lists_deinit(&s->lists);
	free(s->held);
	free(s->visited);
	free(s->fresh);
	free(s);
}

static const struct tmem_way *way_of(const struct state *s)
{
	return s->way == WAY_DUEL ? tmem_duel_way(&s->duel) : &tmem_way[s->way];
}

static struct part *part_of(struct state *s, uint32_t leaf)
{
	return &s->part[s->trace->leaves[leaf].shard];
}

static unsigned bit(const struct state *s, uint32_t page)
{
	return 1u << s->trace->pages[page].index % LEAF_PAGES;
}

static void leave(struct state *s, struct part *part, uint32_t leaf)
{
	if (part->old == leaf)
		part->old = s->way == WAY_SIEVE ? s->lists.link[leaf].prev
						: s->lists.link[leaf].next;
	part->fresh -= s->fresh[leaf];
	lists_remove(&s->lists, &part->queue, leaf);
}

static void enter(struct state *s, struct part *part, uint32_t leaf)
{
	lists_push(&s->lists, &part->queue, leaf);
	s->fresh[leaf] = true;
	part->fresh++;
}

static void make_old(struct state *s, struct part *part, uint32_t leaf)
{
	leave(s, part, leaf);
	lists_insert(&s->lists, &part->queue, leaf, part->old);
	s->fresh[leaf] = false;
	part->old = leaf;
}

static unsigned take_pages(struct state *s, uint32_t leaf, unsigned pages)
{
	unsigned taken = s->held[leaf] & pages;

	s->held[leaf] &= (uint8_t)~taken;
	s->visited[leaf] &= (uint8_t)~taken;
	if (taken && !s->held[leaf])
		leave(s, part_of(s, leaf), leaf);
	s->pages -= (unsigned)__builtin_popcount(taken);
	return (unsigned)__builtin_popcount(taken);
}

/* Try one leaf; returns pages taken. */
static unsigned try_leaf(struct state *s, struct part *part, bool fresh)
{
	uint32_t leaf = part->queue.tail;
	unsigned gone;

	if (s->way == WAY_SIEVE) {
		leaf = part->old ? part->old : leaf;
		part->old = s->lists.link[leaf].prev;
	} else if (fresh && part->old) {
		leaf = s->lists.link[part->old].prev;
	}
	gone = s->held[leaf] & ~s->visited[leaf] & 0xffu;
	s->visited[leaf] = 0;
	if (s->way != WAY_SIEVE) {
		if (s->fresh[leaf] && gone)
			tmem_ghost_note(&part->ghost,
					s->trace->leaves[leaf].name, gone);
		make_old(s, part, leaf);
	}
	return take_pages(s, leaf, gone);
}

/* Leaves on probation beyond what the way allows. */
static int64_t excess(const struct state *s)
{
	int64_t fresh = 0, all = 0;

	for (unsigned i = 0; i < SHARDS; i++) {
		if (s->part[i].adopts)
			continue;
		fresh += s->part[i].fresh;
		all += s->part[i].queue.count;
	}
	if (fresh == all)
		return fresh;
	return fresh - all * way_of(s)->fresh / 100;
}

/* What is held suits the former way; see evict.c. */
static void turn(struct state *s, const struct tmem_way *way)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct part *part = &s->part[i];

		part->adopts = way->ghost;
		part->stale = way->ghost ? 0 : part->queue.count - part->fresh;
	}
	s->last = way;
}

static void adopt(struct state *s, struct part *part)
{
	for (unsigned i = 0; i < HOLD_LEAVES && part->adopts; i++) {
		part->adopts =
			part->fresh * 100 > part->queue.count * s->last->fresh;
		if (part->adopts)
			make_old(s, part,
				 part->old ? s->lists.link[part->old].prev
					   : part->queue.tail);
	}
}

static void evict_shard(struct state *s)
{
	struct part *part = &s->part[s->cursor++ % SHARDS];
	uint32_t left = part->due + part->queue.count, taken = 0;
	int64_t over = s->way == WAY_SIEVE ? 0 : excess(s);

	adopt(s, part);
	part->due = left % LAP_PARTS;
	left /= LAP_PARTS;
	left = left > HOLD_LEAVES ? HOLD_LEAVES : left;
	for (; left && taken < HOLD_PAGES && part->queue.count;
	     left--, over--) {
		bool stale = over > 0 && part->old && part->stale;

		if (over > 0 && !stale && !part->fresh)
			break;
		part->stale -= stale;
		taken += try_leaf(s, part, over > 0 && !stale);
	}
}

static void fit_ghosts(struct state *s)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct part *part = &s->part[i];
		uint32_t slots = tmem_ghost_slots_for(part->queue.count);

		if (slots < GHOST_MIN)
			slots = GHOST_MIN;
		if (tmem_ghost_fits(&part->ghost, slots))
			continue;
		free(part->ghost.slot);
		part->ghost.slots = slots;
		part->ghost.slot = calloc(slots, sizeof(uint32_t));
		if (!part->ghost.slot)
			abort();
	}
}

static void make_room(struct state *s)
{
	uint32_t batch = s->most / BATCH_PARTS;

	batch = batch < BATCH_MIN   ? BATCH_MIN
		: batch > BATCH_MAX ? BATCH_MAX
				    : batch;
	/* What was got is gone: nothing tells one page from another. */
	if (!s->exclusive) {
		tmem_duel_fit(&s->duel, &s->budget, s->pages);
		fit_ghosts(s);
	}
	if (s->way == WAY_DUEL && s->last != way_of(s))
		turn(s, way_of(s));
	while (s->pages && s->pages + batch >= s->most)
		evict_shard(s);
}

static bool get(void *state, uint32_t page)
{
	struct state *s = state;
	uint32_t leaf = s->trace->pages[page].leaf;
	uint64_t name = s->trace->leaves[leaf].name;
	bool hit = s->held[leaf] & bit(s, page);

	if (s->way == WAY_DUEL && tmem_duel_samples(&s->duel, name))
		tmem_duel_note(&s->duel, name, bit(s, page));
	if (hit)
		s->visited[leaf] |= (uint8_t)bit(s, page);
	return hit;
}

static void put(void *state, uint32_t page)
{
	struct state *s = state;
	uint32_t leaf = s->trace->pages[page].leaf;
	struct part *part = part_of(s, leaf);
	uint64_t name = s->trace->leaves[leaf].name;

	if (s->pages >= s->most)
		make_room(s);
	if (s->exclusive && s->held[leaf])
		leave(s, part, leaf);
	if (s->exclusive || !s->held[leaf])
		enter(s, part, leaf);
	if (s->way != WAY_SIEVE && s->fresh[leaf] && way_of(s)->ghost &&
	    tmem_ghost_of(&part->ghost, name) & bit(s, page))
		make_old(s, part, leaf);
	s->held[leaf] |= (uint8_t)bit(s, page);
	s->pages++;
}

static void take(void *state, uint32_t page, bool hit)
{
	struct state *s = state;

	(void)hit;
	take_pages(s, s->trace->pages[page].leaf, bit(s, page));
}

#define POLICY(id, text, way)                                                  \
	static void *init_##id(const struct trace *trace, uint32_t pages,      \
			       bool exclusive)                                 \
	{                                                                      \
		return init(trace, pages, exclusive, (way));                   \
	}                                                                      \
	const struct policy policy_##id = {                                    \
		.name = (text),                                                \
		.init = init_##id,                                             \
		.deinit = deinit,                                              \
		.get = get,                                                    \
		.put = put,                                                    \
		.take = take,                                                  \
	}

POLICY(store_sieve, "store-sieve", WAY_SIEVE);
POLICY(store_way0, "store-way0", 0);
POLICY(store_way1, "store-way1", 1);
POLICY(store_way2, "store-way2", 2);
POLICY(store, "store", WAY_DUEL);
