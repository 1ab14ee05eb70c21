/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making room (evict.h):
 *
 *   full -> spare slabs, compaction -> (enough?) -> evict a batch -> compaction
 *             ^                                                         |
 *             +-------------------- still full -------------------------+
 *
 * Pages go in batches, since one page frees one slot, and only a whole slab
 * gives memory to who needs another kind or class of it.
 */
#include "charge.h"
#include "cool.h"
#include "evict-priv.h"
#include "puncher.h"
#include "settle.h"
#include "upkeep.h"

/* A part of the budget goes at a time. A larger one would take young leaves
 * before they had their time on probation. */
#define BATCH_PARTS 256
#define BATCH_MIN   (INT64_C(128) << 10)
#define BATCH_MAX   (INT64_C(4) << 20)

/* Who asks for bytes has pages evicted that were charged with up to so many
 * times as much: in sparse slabs, or shared with others, they free less. */
#define RECLAIM_PARTS 4

/* Who gives back more than this has a thread to punch it out: starting one
 * takes 0.1 ms, and punching so much 10. */
#define PUNCHER_LEAST (INT64_C(32) << 20)

/* At its cap, a client that puts more loses this part of it at a time, so that
 * not every put of it makes room. */
#define CAP_PARTS 64

static uint64_t batch_bytes(const struct tmem_store *store)
{
	uint64_t bytes = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed) /
			 BATCH_PARTS;

	if (bytes < BATCH_MIN)
		return BATCH_MIN;
	return bytes < BATCH_MAX ? bytes : BATCH_MAX;
}

static uint64_t used(const struct tmem_store *store)
{
	return atomic_load_explicit(&store->budget.used, memory_order_relaxed);
}

/* Under the compact lock. Slabs that fall empty are kept for puts, or go back
 * to the kernel. */
static uint64_t compact(struct tmem_store *store, uint64_t bytes, bool keep)
{
	uint64_t moved;

	tmem_lock_assert_held(&store->compact);
	return tmem_slab_compact(store->slabs, TMEM_KINDS, bytes, keep,
				 tmem_content_move, &store->contents, &moved);
}

/* The same, beginning with slabs that are empty. */
static uint64_t give_back(struct tmem_store *store, uint64_t bytes, bool keep)
{
	uint64_t freed = tmem_slab_trim(store->slabs, bytes);

	if (freed < bytes)
		freed += compact(store, bytes - freed, keep);
	return freed;
}

/* Evict a batch; what it comes to is added to sum. Returns whether there was
 * anything. */
static bool evict_batch(struct tmem_store *store, uint64_t bytes,
			struct evict_sweep *sum, struct tmem_slab_ends *ends)
{
	struct tmem_pool_state *pool = evict_pick(store);
	struct evict_sweep sweep;

	if (!pool)
		return false;
	sweep = evict_pool(store, pool, (int64_t)bytes, 1, ends);
	tmem_pool_unref(store, pool);
	sum->pages += sweep.pages;
	sum->bytes += sweep.bytes;
	return sweep.pages;
}

/* Whether a put gives nothing back to the kernel: neither can it take anything
 * (tmem_store_set_reserve()). */
static bool keeps(const struct tmem_store *store)
{
	return tmem_arena_is_strict(&store->arena);
}

/* Young pages take up less room once they are settled. Returns bytes of pages
 * settled. */
static uint64_t settle(struct tmem_store *store, uint64_t want, bool keep)
{
	uint64_t settled;

	if (!tmem_nursery_pages(store))
		return 0;
	settled = tmem_settle_room(store, want);
	give_back(store, want, keep);
	return settled;
}

/* That needs some room first: what puts leave alone, which has to be there
 * again before it is enough. */
static uint64_t settle_full(struct tmem_store *store, uint64_t want)
{
	uint64_t settled = 0, some;

	do {
		some = settle(store, want, keeps(store));
		settled += some;
	} while (some && tmem_budget_full(&store->budget,
					  tmem_slab_spare(store->slabs)));
	return settled;
}

/* Spare slabs are room for a page's bytes as they are. Where there is some, it
 * was for a record that there was none. Returns bytes. */
static uint64_t spares_for_records(struct tmem_store *store, unsigned made)
{
	if (tmem_budget_full(&store->budget, tmem_slab_spare(store->slabs)))
		return 0;
	return tmem_slab_trim(store->slabs,
			      BATCH_MIN << (made < 24 ? made : 24));
}

/* At first, a slab that compaction can give, or else the slots of the pages in
 * a batch, which are of the sizes that are put: moving contents until whole
 * slabs are free would cost more than the pages that come. Where that was not
 * enough, whole slabs, and more each time. */
static bool make_room(struct tmem_store *store, unsigned made)
{
	uint64_t want = batch_bytes(store) << (made < 24 ? made : 24);
	uint64_t freed = spares_for_records(store, made), evicted = 0;
	struct evict_sweep sum = {0};
	struct tmem_slab_ends ends;

	if (freed < want)
		freed += compact(store, made ? want - freed : 1, true);
	if (freed && made == 0)
		return true;
	tmem_slab_ends_init(&ends, true);
	while (freed + ends.bytes < want && evicted < want) {
		uint64_t batch = batch_bytes(store);

		if (!evict_batch(store, batch, &sum, &ends))
			break;
		tmem_slab_end_all(store->slabs, &ends);
		evicted += batch;
		if (made)
			freed += compact(store, want, true);
	}
	freed += ends.bytes;
	/* Nothing ephemeral is left, or it did not help. */
	if (freed < want && (evicted < want || made))
		freed += settle_full(store, want);
	return freed || evicted;
}

bool tmem_evict_room(struct tmem_store *store, uint64_t rooms, unsigned *made)
{
	bool more = true;

	if (tmem_upkeep_rests(store))
		return false;
	tmem_lock_acquire(&store->compact);
	if (rooms == tmem_evict_rooms(store)) {
		more = make_room(store, (*made)++);
		/* Release: who sees the number may use the room. */
		if (more)
			atomic_fetch_add_explicit(&store->rooms, 1,
						  memory_order_release);
	}
	tmem_lock_release(&store->compact);
	if (!more || *made > 1)
		tmem_upkeep_rest(store);
	return more;
}

bool tmem_evict_cool(struct tmem_store *store)
{
	uint64_t gained, freed;

	tmem_lock_acquire(&store->compact);
	do {
		gained = tmem_cool_now(store, BATCH_MIN);
		freed = give_back(store, BATCH_MIN, keeps(store));
	} while (gained && !freed);
	if (freed)
		atomic_fetch_add_explicit(&store->rooms, 1,
					  memory_order_release);
	tmem_lock_release(&store->compact);
	return freed;
}

/* What follows may have much to do, and goes by batches: others wait for the
 * lock. */
static int64_t at_most(int64_t value, int64_t most)
{
	return value < most ? value : most;
}

static int64_t ephemeral_pages(struct tmem_store *store)
{
	int64_t pages = 0;

	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		const struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (evict_evictable(pool))
			pages += evict_pages_of(pool);
	}
	tmem_lock_release(&store->admin);
	return pages;
}

/* The way down to a limit. */
struct descent {
	uint64_t limit;
	int64_t most;	/* bytes to give back */
	int64_t pages;	/* that were there to evict */
	int64_t young;	/* bytes that were, less what was settled */
	uint64_t other; /* given back, other than by ends */
	struct evict_sweep sum;
	struct tmem_slab_ends ends;
	struct tmem_puncher puncher;
};

static uint64_t given(const struct descent *down)
{
	uint64_t bytes = down->other + down->ends.bytes;

	return down->ends.puncher ? bytes + atomic_load(&down->puncher.bytes)
				  : bytes;
}

/* What waits to be given back is as good as gone. */
static uint64_t waiting(const struct descent *down)
{
	return down->ends.puncher ? down->ends.waiting +
					    atomic_load(&down->puncher.waiting)
				  : down->ends.waiting;
}

/* How far it is; 0 or less at its end. It may seem nearer by the slabs that the
 * puncher is at. */
static int64_t to_go(const struct tmem_store *store, const struct descent *down)
{
	if ((int64_t)given(down) >= down->most ||
	    down->sum.pages > down->pages ||
	    (down->sum.bytes - BATCH_MAX) / RECLAIM_PARTS >= down->most)
		return 0;
	return (int64_t)(used(store) - down->limit) - (int64_t)waiting(down);
}

/* Spare slabs, and then compaction. */
static uint64_t give_more(struct tmem_store *store, uint64_t bytes,
			  struct descent *down)
{
	uint64_t some = tmem_slab_trim(store->slabs, bytes);

	down->other += some;
	if (some < bytes)
		some += tmem_slab_compact_to(store->slabs, bytes - some,
					     tmem_content_move,
					     &store->contents, &down->ends);
	return some;
}

/* A batch on the way down: compaction, if that is enough, since it costs no
 * page; else eviction, without compacting what the next batch empties anyway.
 * Returns whether there was anything. */
static bool go_down(struct tmem_store *store, int64_t over,
		    struct descent *down)
{
	uint64_t batch = (uint64_t)at_most(over, BATCH_MAX);
	bool more = false;

	tmem_lock_acquire(&store->compact);
	if (tmem_slab_loose(store->slabs) >= (uint64_t)over)
		more = give_more(store, batch, down);
	more = more || evict_batch(store, batch, &down->sum, &down->ends) ||
	       give_more(store, batch, down);
	tmem_lock_release(&store->compact);
	return more;
}

/* Nothing else is left: so much of what was young at first. A batch at a time,
 * with the lock free between: a budget is over its limit until the last. */
static bool settle_down(struct tmem_store *store, int64_t over,
			struct descent *down)
{
	uint64_t settled;

	if (down->young <= 0)
		return false;
	tmem_lock_acquire(&store->compact);
	settled = settle(store, (uint64_t)at_most(over, BATCH_MAX), false);
	tmem_lock_release(&store->compact);
	down->young -= (int64_t)settled;
	return settled;
}

/* Who has no thread in the background gets none for this either. */
static void start_puncher(struct tmem_store *store, struct descent *down)
{
	if (store->workers && to_go(store, down) >= PUNCHER_LEAST &&
	    tmem_puncher_start(&down->puncher, store->slabs) == 0)
		down->ends.puncher = &down->puncher;
}

/* Returns whether all that is empty was given back before it came to that. */
static bool end_slabs(struct tmem_store *store, struct descent *down)
{
	tmem_slab_end_all(store->slabs, &down->ends);
	if (down->ends.puncher)
		tmem_puncher_drain(&down->puncher);
	return !down->ends.puncher;
}

void tmem_evict_down_to(struct tmem_store *store, uint64_t limit, int64_t most)
{
	struct descent down = {
		.limit = limit,
		.most = most,
		.pages = ephemeral_pages(store),
		.young = (int64_t)tmem_nursery_pages(store) * TMEM_PAGE_SIZE,
	};
	bool more = true, last;
	int64_t over;

	/* Upkeep would pack what is about to go, and keep what that empties. */
	atomic_fetch_add_explicit(&store->downs, 1, memory_order_relaxed);
	tmem_slab_ends_init(&down.ends, false);
	start_puncher(store, &down);
	do {
		while (more && (over = to_go(store, &down)) > 0)
			more = go_down(store, over, &down) ||
			       settle_down(store, over, &down);
		last = end_slabs(store, &down);
	} while (!last && more && to_go(store, &down) > 0);
	if (down.ends.puncher)
		tmem_puncher_stop(&down.puncher);
	atomic_fetch_sub_explicit(&store->downs, 1, memory_order_relaxed);
	tmem_budget_trim(&store->budget);
}

uint64_t tmem_evict_compact(struct tmem_store *store)
{
	uint64_t freed = 0, some;

	do {
		tmem_lock_acquire(&store->compact);
		some = give_back(store, BATCH_MAX, false);
		tmem_lock_release(&store->compact);
		freed += some;
	} while (some);
	tmem_budget_trim(&store->budget);
	return freed;
}

/* How far a client is above what it may have, were it to get bytes and pages
 * more. Admin lock. */
static bool client_excess(struct tmem_store *store,
			  const struct tmem_client_state *client,
			  int64_t *bytes, int64_t *pages)
{
	int64_t cap = (int64_t)atomic_load_explicit(&client->record->cap,
						    memory_order_relaxed);
	int64_t most = (int64_t)atomic_load_explicit(&client->record->maxmem,
						     memory_order_relaxed);
	bool more = *bytes || *pages;

	*bytes += tmem_charge_of(store, client) - cap;
	*pages += tmem_charge_pages_of(store, client) - most / TMEM_PAGE_SIZE;
	if (!cap || *bytes <= 0)
		*bytes = 0;
	else if (more)
		*bytes += cap / CAP_PARTS;
	if (!most || *pages <= 0)
		*pages = 0;
	else if (more)
		*pages += most / TMEM_PAGE_SIZE / CAP_PARTS;
	return *bytes || *pages;
}

/* A pool to take from when a client is above what it may have; NULL when it is
 * not, or has nothing ephemeral. Referenced. */
static struct tmem_pool_state *pick_of(struct tmem_store *store, uint32_t id,
				       int64_t *bytes, int64_t *pages)
{
	struct tmem_client_state *client;
	struct tmem_pool_state *pool = NULL;

	tmem_charge_step(store, 4);
	tmem_lock_acquire(&store->admin);
	client = store->client[tmem_client_slot(id)];
	if (client && client->id == id &&
	    client_excess(store, client, bytes, pages))
		pool = evict_pick_pool(store, client);
	tmem_lock_release(&store->admin);
	return pool;
}

bool tmem_evict_client(struct tmem_store *store, uint32_t client_id,
		       int64_t bytes, int64_t pages)
{
	struct tmem_slab_ends ends;
	struct evict_sweep sweep;
	bool any = false;

	tmem_slab_ends_init(&ends, true);
	do {
		int64_t over = bytes, pages_over = pages;
		struct tmem_pool_state *pool;

		sweep.pages = 0;
		tmem_lock_acquire(&store->compact);
		pool = pick_of(store, client_id, &over, &pages_over);
		if (pool) {
			sweep = evict_pool(
				store, pool, at_most(over, BATCH_MAX),
				at_most(pages_over, BATCH_MAX / TMEM_PAGE_SIZE),
				&ends);
			tmem_pool_unref(store, pool);
		}
		tmem_lock_release(&store->compact);
		any |= sweep.pages != 0;
	} while (sweep.pages);
	tmem_slab_end_all(store->slabs, &ends);
	return any;
}
