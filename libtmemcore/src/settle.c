/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Settling (settle.h). The way of a batch, some of the oldest young pages of a
 * shard:
 *
 *   shard's lock: claim, pin
 *   no lock:      hash -> equal content? else compress -> new content
 *   shard's lock: is the page still named? then the leaf names what was found
 *                 or made, or the content is no longer young
 *   no lock:      into the dedup table; drop the old content; unpin
 *
 * Each handle is committed as by a put of the same page: a process that dies
 * anywhere in between leaves the old content or the new one, and at most a
 * content that nobody names.
 *
 * Compressed, a page must get a smaller slot than it has, else nothing would be
 * gained; without one it stays young and goes to the end of the ring.
 */
#include "settle.h"
#include <errno.h>
#include "charge.h"
#include "cool.h"
#include "dedup-auto.h"
#include "pool.h"
#include "ring.h"

/* How long who waits for another's batch sleeps at most, ms. */
#define WAIT_MS 10

/* A young page on its way. */
struct coming {
	struct tmem_content_word word;
	struct tmem_young young;
	uint32_t hash;
	uint32_t to; /* the content that the leaf is to name; 0: none */
	bool shared; /* found by dedup */
	bool raw;    /* does not compress */
};

static const void *page_of(const struct tmem_store *store,
			   const struct coming *c)
{
	return tmem_slab_at(store->slabs, c->word.place);
}

static void make_compressed(struct tmem_store *store, struct coming *c)
{
	_Alignas(64) uint8_t out[TMEM_PAGE_SIZE];
	struct tmem_content_spec spec = {
		.kind = c->word.kind,
		.domain = c->word.domain,
		.hash = c->hash,
		.codec = (enum tmem_codec)c->young.codec,
		.bytes = out,
		.how = TMEM_SLAB_STRETCH,
	};
	uint64_t place;

	if (spec.codec != TMEM_CODEC_RAW)
		spec.size = (uint32_t)tmem_codec_compress(
			store->codecs, spec.codec, page_of(store, c), out);
	c->raw = !spec.size || spec.size == TMEM_PAGE_SIZE;
	if (c->raw || tmem_content_new(&store->contents, &spec, &c->to) < 0)
		return;
	place = tmem_content_load(&store->contents, c->to).place;
	if (tmem_slab_bytes_at(store->slabs, place) < TMEM_PAGE_SIZE)
		return;
	tmem_content_drop(&store->contents, c->to);
	c->to = 0;
}

/* No locks held. */
static void prepare(struct tmem_store *store, struct coming *c)
{
	struct tmem_contents *contents = &store->contents;

	/* Pinned, it stays where it is. */
	c->word = tmem_content_load(contents, c->young.content);
	if (c->word.domain != TMEM_DOMAIN_NONE) {
		c->hash = tmem_dedup_hash(&contents->dedup, page_of(store, c),
					  c->word.kind, c->word.domain);
		c->to = tmem_dedup_find(contents, page_of(store, c), c->hash,
					c->word.kind, c->word.domain);
		c->shared = c->to;
	}
	if (!c->to)
		make_compressed(store, c);
}

/* Let the leaf name the content that was found or made. */
static void swap(struct tmem_store *store, struct tmem_pool_state *pool,
		 unsigned s, struct coming *c, struct tmem_drops *drops)
{
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, c->young.leaf);

	tmem_charge_swap(store, pool, s, leaf, c->young.content, c->to, NULL);
	/* Release: the commit; the content is complete. */
	atomic_store_explicit(&leaf->content[c->young.page], c->to,
			      memory_order_release);
	pool->shard[s].shared += c->shared;
	drops->id[drops->count++] = c->young.content;
}

/* Under the shard's lock. Returns whether the page is no longer young. What is
 * not to be dropped is no longer c->to. */
static bool commit(struct tmem_store *store, unsigned s, struct coming *c,
		   struct tmem_drops *drops)
{
	struct tmem_pool_state *pool;

	if (!tmem_nursery_has(store, c->young.content)) {
		c->raw = false;
		return true;
	}
	if (!c->to && !c->raw) {
		tmem_nursery_again(store, s, c->young.content);
		return false;
	}
	tmem_nursery_settled(store, s, c->young.content);
	pool = tmem_store_leaf_pool(store, c->young.leaf);
	tmem_dedup_auto_count(pool, s, c->word.domain != TMEM_DOMAIN_NONE,
			      c->shared);
	if (c->to)
		swap(store, pool, s, c, drops);
	else
		tmem_content_ripen(&store->contents, c->young.content,
				   c->word.domain, c->hash);
	c->to = 0;
	return true;
}

/* Returns how many pages of the batch are no longer young. */
static unsigned settle_batch(struct tmem_store *store, unsigned s,
			     const struct tmem_young young[], unsigned count)
{
	struct coming coming[TMEM_YOUNG_BATCH];
	struct tmem_drops drops;
	unsigned done = 0;

	drops.count = 0;
	for (unsigned i = 0; i < count; i++) {
		coming[i] = (struct coming){.young = young[i]};
		prepare(store, &coming[i]);
	}
	tmem_lock_acquire(&store->index.shard[s].lock);
	for (unsigned i = 0; i < count; i++)
		done += commit(store, s, &coming[i], &drops);
	tmem_nursery_unclaim(store, s);
	tmem_lock_release(&store->index.shard[s].lock);
	for (unsigned i = 0; i < count; i++) {
		struct coming *c = &coming[i];

		if (c->raw && c->word.domain != TMEM_DOMAIN_NONE)
			tmem_dedup_add(&store->contents, c->young.content);
		if (c->to)
			tmem_content_drop(&store->contents, c->to);
		tmem_content_unpin(&store->contents, c->young.content);
	}
	tmem_drops_drop(store, &drops);
	if (done)
		tmem_cool_wake(store);
	return done;
}

/* *stuck counts the pages that stay young for lack of room. */
static enum tmem_settle settle_shard(struct tmem_store *store, unsigned s,
				     bool of_age, unsigned *stuck)
{
	struct tmem_nursery *nursery = &store->nursery;
	struct tmem_young young[TMEM_YOUNG_BATCH];
	unsigned count, done;
	bool busy;

	tmem_lock_acquire(&store->index.shard[s].lock);
	count = tmem_nursery_claim(store, s, of_age, young, &busy);
	tmem_lock_release(&store->index.shard[s].lock);
	if (!count)
		return busy ? TMEM_SETTLE_BUSY : TMEM_SETTLE_NONE;
	done = settle_batch(store, s, young, count);
	*stuck += count - done;
	atomic_fetch_add(&nursery->batches, 1);
	if (atomic_load(&nursery->waiting))
		tmem_ring_wake(&nursery->batches, INT_MAX);
	return done ? TMEM_SETTLE_SOME : TMEM_SETTLE_STUCK;
}

static void wait_for_batch(struct tmem_nursery *nursery, uint32_t seen)
{
	atomic_fetch_add(&nursery->waiting, 1);
	tmem_ring_sleep(&nursery->batches, seen, WAIT_MS);
	atomic_fetch_sub(&nursery->waiting, 1);
}

enum tmem_settle tmem_settle_some(struct tmem_store *store, bool of_age)
{
	enum tmem_settle all = TMEM_SETTLE_NONE;
	unsigned stuck = 0;

	for (unsigned i = 0; i < TMEM_SHARDS; i++) {
		unsigned s =
			atomic_fetch_add_explicit(&store->nursery.cursor, 1,
						  memory_order_relaxed) %
			TMEM_SHARDS;
		enum tmem_settle one = settle_shard(store, s, of_age, &stuck);

		if (one == TMEM_SETTLE_SOME) {
			atomic_store(&store->nursery.stuck, 0);
			return one;
		}
		if (one > all)
			all = one;
	}
	atomic_fetch_add(&store->nursery.stuck, stuck);
	return all;
}

uint64_t tmem_settle_room(struct tmem_store *store, uint64_t bytes)
{
	struct tmem_nursery *nursery = &store->nursery;
	enum tmem_settle r = TMEM_SETTLE_SOME;
	uint64_t done = 0;

	tmem_lock_assert_held(&store->compact);
	while (done < bytes &&
	       (r == TMEM_SETTLE_SOME || r == TMEM_SETTLE_BUSY)) {
		uint32_t seen = atomic_load(&nursery->batches);

		r = tmem_settle_some(store, false);
		if (r == TMEM_SETTLE_SOME)
			done += (uint64_t)TMEM_YOUNG_BATCH * TMEM_PAGE_SIZE;
		else if (r == TMEM_SETTLE_BUSY)
			wait_for_batch(nursery, seen);
	}
	return done;
}

/* As many batches as hold what is young now. */
static unsigned settle_all_of(struct tmem_store *store, unsigned s)
{
	struct tmem_nursery *nursery = &store->nursery;
	unsigned stuck = 0;
	uint32_t left;

	tmem_lock_acquire(&store->index.shard[s].lock);
	left = nursery->ring[s].live / TMEM_YOUNG_BATCH + 1;
	tmem_lock_release(&store->index.shard[s].lock);
	while (left) {
		uint32_t seen = atomic_load(&nursery->batches);
		enum tmem_settle r = settle_shard(store, s, false, &stuck);

		if (r == TMEM_SETTLE_NONE)
			break;
		if (r == TMEM_SETTLE_BUSY)
			wait_for_batch(nursery, seen);
		else
			left--;
	}
	return stuck;
}

int tmem_settle_all(struct tmem_store *store)
{
	unsigned stuck = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		stuck += settle_all_of(store, s);
	return stuck ? -ENOMEM : 0;
}
