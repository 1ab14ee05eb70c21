/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nursery (nursery.h): its rings, who may enter, and when its pages are
 * settled.
 *
 *   empty --put--> awake: ageing, a tick a second --half full--> hurry
 *     ^                |   ^                                      |
 *     +----no pages----+   +-----------a quarter full-------------+
 *
 * A put enters only where that needs no room made. A budget that is nearly used
 * up leaves a quarter of the nursery, since what is compressed sooner holds
 * more, and closes it while there is a hurry: who puts on and on into a full
 * store gains nothing by a copy that somebody must settle right away.
 */
#include "nursery.h"
#include "cool.h"
#include "ring.h"
#include "settle.h"
#include "worker.h"

/* Twice this is how old a page gets at most where threads keep up. Most pages
 * that are put and flushed again, a compiler's temporary files, live shorter.
 */
#define TICK_MS 1000

/* Who finds others at work looks again so much later. */
#define RETRY_MS 20

#define RING_MIN 64u

/* The chain of a young content's meta record. */
#define YOUNG_LEFT    0u
#define YOUNG_ENTERED 1u

/* Parts where the store chooses: of the budget, or of what pages that are no
 * longer young leave of it. */
#define AUTO_PART 8u
#define FREE_PART 2u

/* Nobody waits for pages that are merely of age. One thread at a time settles
 * them for a slice, and then rests so many times as long as that took by the
 * clock: a quarter of a processor at most, and less where others want it. */
#define SLICE_NS UINT64_C(1000000)
#define REST	 3u
#define REST_NS	 UINT64_C(20000000) /* at most */

uint64_t tmem_nursery_pages(const struct tmem_store *store)
{
	return atomic_load(&store->contents.held[TMEM_CODEC_YOUNG]);
}

/* TMEM_NURSERY_AUTO, bytes. */
static uint64_t choose_limit(const struct tmem_store *store)
{
	uint64_t limit = atomic_load_explicit(&store->budget.limit,
					      memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&store->budget.used, memory_order_relaxed);
	uint64_t young = tmem_nursery_pages(store) * TMEM_PAGE_SIZE;
	uint64_t old = used > young ? used - young : 0;
	uint64_t free = limit > old ? limit - old : 0;

	return free / FREE_PART > limit / AUTO_PART ? free / FREE_PART
						    : limit / AUTO_PART;
}

/* Young pages at most. */
static uint64_t most_pages(const struct tmem_store *store)
{
	uint64_t bytes = store->nursery.limit;

	if (bytes == TMEM_NURSERY_AUTO)
		bytes = choose_limit(store);
	if (tmem_cool_tight(store))
		bytes /= 4;
	return bytes / TMEM_PAGE_SIZE;
}

bool tmem_nursery_has_room(const struct tmem_store *store)
{
	if (tmem_cool_tight(store) &&
	    atomic_load_explicit(&store->nursery.hurry, memory_order_relaxed))
		return false;
	return tmem_nursery_pages(store) < most_pages(store);
}

/* Rings -------------------------------------------------------------------- */

static struct tmem_young *entry_at(const struct tmem_young_ring *ring,
				   uint32_t position)
{
	return &ring->entry[position & (ring->size - 1)];
}

/* Close the gaps; the positions of ticks move along. */
static void squeeze(struct tmem_store *store, struct tmem_young_ring *ring)
{
	uint32_t next = ring->head, mark = ring->head, of_age = ring->head;

	for (uint32_t at = ring->head; at != ring->tail; at++) {
		struct tmem_young young = *entry_at(ring, at);

		if (!young.content)
			continue;
		tmem_content_meta(&store->contents, young.content)->hash = next;
		*entry_at(ring, next++) = young;
		if ((int32_t)(at - ring->mark) < 0)
			mark = next;
		if ((int32_t)(at - ring->of_age) < 0)
			of_age = next;
	}
	ring->tail = next;
	ring->mark = mark;
	ring->of_age = of_age;
}

/* Entries keep their positions in a larger ring, so that their meta records,
 * each of which is a miss, need not be told. */
static void spread(const struct tmem_young_ring *ring, struct tmem_young *to,
		   uint32_t size)
{
	for (uint32_t at = ring->head; at != ring->tail; at++)
		to[at & (size - 1)] = *entry_at(ring, at);
}

/* Room for an entry: at first where others have gone. */
static bool make_entry(struct tmem_store *store, struct tmem_young_ring *ring)
{
	uint32_t size = ring->size ? 2 * ring->size : RING_MIN;
	struct tmem_young *entry;

	if (ring->tail - ring->head < ring->size)
		return true;
	if (ring->live < ring->size / 2) {
		squeeze(store, ring);
		return true;
	}
	entry = tmem_budget_alloc(&store->budget, size * sizeof(*entry));
	if (!entry)
		return false;
	spread(ring, entry, size);
	tmem_budget_free(&store->budget, ring->entry,
			 ring->size * sizeof(*entry));
	ring->entry = entry;
	ring->size = size;
	return true;
}

static void free_ring(struct tmem_store *store, struct tmem_young_ring *ring)
{
	tmem_budget_free(&store->budget, ring->entry,
			 ring->size * sizeof(*ring->entry));
	ring->entry = NULL;
	ring->size = 0;
}

static void free_empty_rings(struct tmem_store *store)
{
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		struct tmem_young_ring *ring = &store->nursery.ring[s];

		tmem_lock_acquire(&store->index.shard[s].lock);
		if (ring->head == ring->tail)
			free_ring(store, ring);
		tmem_lock_release(&store->index.shard[s].lock);
	}
}

static void count_young(struct tmem_store *store, uint32_t leaf, uint32_t more)
{
	atomic_fetch_add_explicit(&tmem_store_leaf_pool(store, leaf)->young,
				  more, memory_order_relaxed);
}

void tmem_nursery_enter(struct tmem_store *store, unsigned s, uint32_t leaf,
			unsigned page, uint32_t content, unsigned codec)
{
	struct tmem_young_ring *ring = &store->nursery.ring[s];
	struct tmem_meta *meta = tmem_content_meta(&store->contents, content);

	tmem_lock_assert_held(&store->index.shard[s].lock);
	if (!make_entry(store, ring)) {
		tmem_content_pin(&store->contents, content);
		tmem_content_ripen(&store->contents, content, TMEM_DOMAIN_NONE,
				   0);
		tmem_content_unpin(&store->contents, content);
		return;
	}
	meta->hash = ring->tail;
	meta->chain = YOUNG_ENTERED;
	*entry_at(ring, ring->tail++) = (struct tmem_young){
		.content = content,
		.leaf = leaf,
		.page = (uint8_t)page,
		.codec = (uint8_t)codec,
	};
	ring->live++;
	count_young(store, leaf, 1);
}

/* Take an entry out; what is gone at the front makes room. */
static struct tmem_young take_entry(struct tmem_store *store, unsigned s,
				    uint32_t content)
{
	struct tmem_young_ring *ring = &store->nursery.ring[s];
	struct tmem_meta *meta = tmem_content_meta(&store->contents, content);
	struct tmem_young *entry = entry_at(ring, meta->hash), young = *entry;

	tmem_lock_assert_held(&store->index.shard[s].lock);
	entry->content = 0;
	meta->chain = YOUNG_LEFT;
	ring->live--;
	count_young(store, young.leaf, UINT32_MAX);
	while (ring->head != ring->tail && !entry_at(ring, ring->head)->content)
		ring->head++;
	return young;
}

void tmem_nursery_leave(struct tmem_store *store, unsigned s, uint32_t content)
{
	if (tmem_content_load(&store->contents, content).codec !=
	    TMEM_CODEC_YOUNG)
		return;
	take_entry(store, s, content);
	store->nursery.ring[s].died++;
}

void tmem_nursery_prefetch(const struct tmem_store *store, unsigned s,
			   uint32_t content)
{
	const struct tmem_meta *meta =
		tmem_content_meta(&store->contents, content);

	tmem_lock_assert_held(&store->index.shard[s].lock);
	if (tmem_content_load(&store->contents, content).codec ==
	    TMEM_CODEC_YOUNG)
		__builtin_prefetch(
			entry_at(&store->nursery.ring[s], meta->hash), 1);
}

uint64_t tmem_nursery_charged(struct tmem_store *store,
			      const struct tmem_client_state *client,
			      const struct tmem_pool_state *pool)
{
	uint64_t pages = 0;

	if (pool->owner != client)
		pages = atomic_load_explicit(&pool->young,
					     memory_order_relaxed);
	tmem_lock_acquire(&store->admin);
	for (uint32_t i = 0; i < store->pool_end; i++) {
		pool = tmem_store_pool(store, i);
		if (pool && pool->owner == client)
			pages += atomic_load_explicit(&pool->young,
						      memory_order_relaxed);
	}
	tmem_lock_release(&store->admin);
	return pages;
}

bool tmem_nursery_has(const struct tmem_store *store, uint32_t content)
{
	return tmem_content_meta(&store->contents, content)->chain ==
	       YOUNG_ENTERED;
}

void tmem_nursery_settled(struct tmem_store *store, unsigned s,
			  uint32_t content)
{
	take_entry(store, s, content);
	store->nursery.ring[s].settled++;
}

void tmem_nursery_again(struct tmem_store *store, unsigned s, uint32_t content)
{
	struct tmem_young young = take_entry(store, s, content);

	/* There is room: claimed entries are the oldest. */
	tmem_nursery_enter(store, s, young.leaf, young.page, content,
			   young.codec);
}

unsigned tmem_nursery_claim(struct tmem_store *store, unsigned s, bool of_age,
			    struct tmem_young young[static TMEM_YOUNG_BATCH],
			    bool *busy)
{
	struct tmem_young_ring *ring = &store->nursery.ring[s];
	uint32_t end = of_age ? ring->of_age : ring->tail;
	unsigned count = 0;

	tmem_lock_assert_held(&store->index.shard[s].lock);
	*busy = ring->settling && (int32_t)(end - ring->head) > 0;
	if (ring->settling)
		return 0;
	for (uint32_t at = ring->head;
	     (int32_t)(end - at) > 0 && count < TMEM_YOUNG_BATCH; at++) {
		if (!entry_at(ring, at)->content)
			continue;
		young[count] = *entry_at(ring, at);
		tmem_content_pin(&store->contents, young[count++].content);
	}
	ring->settling = count;
	return count;
}

void tmem_nursery_unclaim(struct tmem_store *store, unsigned s)
{
	tmem_lock_assert_held(&store->index.shard[s].lock);
	store->nursery.ring[s].settling = false;
}

void tmem_nursery_deinit(struct tmem_store *store)
{
	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		free_ring(store, &store->nursery.ring[s]);
}

/* When -------------------------------------------------------------------- */

void tmem_nursery_came(struct tmem_store *store)
{
	struct tmem_nursery *nursery = &store->nursery;
	bool wake = false;

	/* Both are nearly always set already. One order (seq_cst) of counting
	 * the page, looking at awake, and of the other two in doze(). */
	if (!atomic_load(&nursery->awake) &&
	    !atomic_exchange(&nursery->awake, true)) {
		atomic_store(&nursery->stuck, 0);
		wake = true;
	}
	if (!atomic_load_explicit(&nursery->hurry, memory_order_relaxed) &&
	    tmem_nursery_pages(store) > most_pages(store) / 2)
		wake |= !atomic_exchange(&nursery->hurry, true);
	if (wake)
		tmem_worker_wake(store);
}

/* No pages: nothing to do until one comes, and no tick that frees rings. */
static bool doze(struct tmem_store *store)
{
	struct tmem_nursery *nursery = &store->nursery;

	atomic_store(&nursery->hurry, false);
	if (atomic_exchange(&nursery->awake, false))
		free_empty_rings(store);
	if (!tmem_nursery_pages(store))
		return true;
	atomic_store(&nursery->awake, true);
	return false;
}

static bool in_hurry(struct tmem_store *store)
{
	struct tmem_nursery *nursery = &store->nursery;
	uint64_t pages = tmem_nursery_pages(store), most = most_pages(store);

	if (pages > most / 2)
		atomic_store(&nursery->hurry, true);
	else if (pages <= most / 4)
		atomic_store(&nursery->hurry, false);
	return atomic_load(&nursery->hurry);
}

static void tick_shard(struct tmem_store *store, unsigned s)
{
	struct tmem_young_ring *ring = &store->nursery.ring[s];

	tmem_lock_acquire(&store->index.shard[s].lock);
	ring->of_age = ring->mark;
	ring->mark = ring->tail;
	if (ring->head == ring->tail) {
		ring->of_age = ring->tail;
		free_ring(store, ring);
	}
	tmem_lock_release(&store->index.shard[s].lock);
}

/* Ms until the next tick. */
static int tick(struct tmem_store *store)
{
	_Atomic(uint64_t) *tick = &store->nursery.tick;
	uint64_t now = tmem_ring_now();
	uint64_t due = atomic_load_explicit(tick, memory_order_relaxed);

	if (now < due)
		return 1 + (int)((due - now) / 1000000);
	/* One of the threads that see it due. */
	if (atomic_compare_exchange_strong_explicit(
		    tick, &due, now + TICK_MS * UINT64_C(1000000),
		    memory_order_relaxed, memory_order_relaxed))
		for (unsigned s = 0; s < TMEM_SHARDS; s++)
			tick_shard(store, s);
	return TICK_MS;
}

/* Settle pages of age for a slice. *rest, ns: what to do after it. */
static enum tmem_settle settle_slice(struct tmem_store *store, uint64_t *rest)
{
	uint64_t begin = tmem_ring_now(), took;
	enum tmem_settle r;

	do {
		r = tmem_settle_some(store, true);
		took = tmem_ring_now() - begin;
	} while (r == TMEM_SETTLE_SOME && took < SLICE_NS);
	*rest = REST * took < REST_NS ? REST * took : REST_NS;
	return r;
}

/* Settle pages of age, unless it is time to rest. *wait, ms, is made shorter
 * where there are more. */
static enum tmem_settle settle_at_ease(struct tmem_store *store, int *wait)
{
	_Atomic(uint64_t) *until = &store->nursery.rest;
	uint64_t due = atomic_load_explicit(until, memory_order_relaxed);
	uint64_t now = tmem_ring_now(), rest;
	enum tmem_settle r;

	/* One of the threads that see it over; the others rest meanwhile. */
	if (now >= due && atomic_compare_exchange_strong_explicit(
				  until, &due, now + REST * SLICE_NS,
				  memory_order_relaxed, memory_order_relaxed)) {
		r = settle_slice(store, &rest);
		now = tmem_ring_now();
		due = now + rest;
		atomic_store_explicit(until, due, memory_order_relaxed);
		if (r != TMEM_SETTLE_SOME)
			return r;
	}
	if (due > now && (due - now) / 1000000 < (uint64_t)*wait)
		*wait = (int)((due - now) / 1000000) + 1;
	return TMEM_SETTLE_NONE;
}

/* No room for them to get smaller: until somebody puts again, or makes room,
 * they may as well stay, once all there are were tried. Then nobody is in a
 * hurry either, which keeps cooling from making that room. */
static bool all_stuck(struct tmem_store *store)
{
	if (atomic_load(&store->nursery.stuck) < tmem_nursery_pages(store))
		return false;
	atomic_store(&store->nursery.hurry, false);
	return true;
}

void tmem_nursery_unstick(struct tmem_store *store)
{
	/* Elsewhere nobody would wake up for it. */
	if (atomic_exchange(&store->nursery.stuck, 0))
		tmem_worker_wake(store);
}

int tmem_nursery_job(struct tmem_store *store)
{
	enum tmem_settle r;
	bool hurry;
	int wait;

	if (!tmem_nursery_pages(store) && doze(store))
		return TMEM_WORKER_NEVER;
	if (!atomic_load(&store->nursery.awake) && all_stuck(store))
		return TMEM_WORKER_NEVER;
	hurry = in_hurry(store);
	wait = tick(store);
	r = hurry ? tmem_settle_some(store, false)
		  : settle_at_ease(store, &wait);
	switch (r) {
	case TMEM_SETTLE_SOME:
		return 0;
	case TMEM_SETTLE_BUSY:
		return wait < RETRY_MS ? wait : RETRY_MS;
	case TMEM_SETTLE_STUCK:
		atomic_store(&store->nursery.awake, false);
		if (all_stuck(store))
			return TMEM_WORKER_NEVER;
		return wait < RETRY_MS ? wait : RETRY_MS;
	default:
		return wait;
	}
}

void tmem_nursery_stats(struct tmem_store *store, uint64_t *settled,
			uint64_t *died, uint64_t *full)
{
	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		tmem_lock_acquire(&store->index.shard[s].lock);
		*settled += store->nursery.ring[s].settled;
		*died += store->nursery.ring[s].died;
		tmem_lock_release(&store->index.shard[s].lock);
	}
	*full = atomic_load_explicit(&store->nursery.full,
				     memory_order_relaxed);
}

/* Check -------------------------------------------------------------------- */

static bool entry_good(const struct tmem_store *store,
		       const struct tmem_young_ring *ring, uint32_t position)
{
	const struct tmem_young *young = entry_at(ring, position);
	const struct tmem_leaf *leaf =
		tmem_index_leaf(&store->index, young->leaf);

	return tmem_content_load(&store->contents, young->content).codec ==
		       TMEM_CODEC_YOUNG &&
	       tmem_content_meta(&store->contents, young->content)->hash ==
		       position &&
	       tmem_nursery_has(store, young->content) &&
	       atomic_load(&leaf->content[young->page]) == young->content;
}

unsigned tmem_nursery_check(const struct tmem_store *store)
{
	uint64_t pages = 0, counted = 0;
	unsigned bad = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		const struct tmem_young_ring *ring = &store->nursery.ring[s];
		uint32_t live = 0;

		for (uint32_t at = ring->head; at != ring->tail; at++) {
			if (!entry_at(ring, at)->content)
				continue;
			live++;
			bad += !entry_good(store, ring, at);
		}
		bad += live != ring->live || ring->settling;
		pages += live;
	}
	for (uint32_t i = 0; i < store->pool_end; i++) {
		const struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (pool)
			counted += atomic_load(&pool->young);
	}
	return bad + (pages != tmem_nursery_pages(store)) + (pages != counted);
}
