/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Putting pages into a local store. The way of a block:
 *
 *   per page, no lock: fill page? -> room in the nursery: new young content
 *             else -> equal content in the domain? -> compress -> new content;
 *             without room, make some, try again
 *   shard's lock: the leaf names the new contents
 *   no lock:  drop the old contents
 *   refused:  shard's lock: take the old pages out (rule 2)
 *
 * A young page that would pass the client's limit is tried compressed before it
 * is refused.
 */
#include <errno.h>
#include "block.h"
#include "charge.h"
#include "cool.h"
#include "dedup-auto.h"
#include "evict.h"
#include "op.h"
#include "pool.h"
#include "room.h"
#include "settle.h"
#include "upkeep.h"

/* An ephemeral page is not worth emptying the store for. */
#define EPHEMERAL_TRIES 4u

/* How often a put makes room in its client's cap. */
#define CAP_TRIES 4u

/* What is being put. */
struct put {
	struct tmem_block *b;
	enum tmem_codec codec;
	uint32_t domain;
	enum tmem_dedup dedup;
	uint32_t content[TMEM_LEAF_PAGES]; /* prepared, ours; 0: refused */
	unsigned looked;		   /* TMEM_FLAG(i): for its equal */
	unsigned stored;		   /* TMEM_FLAG(i): committed */
	unsigned shared;		   /* TMEM_FLAG(i): found by dedup */
	unsigned young;			   /* TMEM_FLAG(i): for the nursery */
	const uint8_t *pages;		   /* of the block */
	bool nursery;			   /* may be young */
	bool replace; /* what is refused leaves the old page */
	enum tmem_refusal why;
};

static bool frozen(const struct tmem_block *b)
{
	return atomic_load_explicit(&b->store->frozen, memory_order_relaxed) ||
	       atomic_load_explicit(&b->use->client->record->frozen,
				    memory_order_relaxed);
}

/* How pages are to be held: the client's setting, else the pool's, else the
 * store's. */
static void put_init(struct put *put, struct tmem_block *b)
{
	struct tmem_client_record *client = b->use->client->record;

	memset(put, 0, sizeof(*put));
	put->b = b;
	put->codec = (enum tmem_codec)atomic_load_explicit(
		&client->codec, memory_order_relaxed);
	if (put->codec == TMEM_CODEC_NONE)
		put->codec = (enum tmem_codec)atomic_load_explicit(
			&b->pool->codec, memory_order_relaxed);
	if (put->codec == TMEM_CODEC_NONE)
		put->codec = b->store->codec;
	put->dedup = tmem_dedup_auto_setting(client, b->pool);
	/* In a shared pool of another domain nothing is shared. */
	if (put->dedup != TMEM_DEDUP_OFF && client->domain == b->pool->domain)
		put->domain = b->pool->domain;
	put->nursery = b->store->nursery.limit;
}

static enum tmem_refusal refusal_of(int r)
{
	return r == -ENOMEM || r == -ENOSPC ? TMEM_REFUSAL_NOMEM
					    : TMEM_REFUSAL_FAULT;
}

/* One try. A full store takes what finds a slot: who evicts a batch of pages
 * makes slots of the sizes that are put. Over its budget it takes nothing. */
static int new_content(struct put *put, const struct tmem_content_spec *page,
		       uint32_t *id)
{
	struct tmem_store *store = put->b->store;
	struct tmem_content_spec spec = *page;

	if (tmem_budget_full(&store->budget, tmem_slab_spare(store->slabs))) {
		if (spec.codec == TMEM_CODEC_FILL ||
		    tmem_budget_excess(&store->budget))
			return -ENOMEM;
		spec.how |= TMEM_SLAB_NO_NEW;
	}
	return tmem_content_new(&store->contents, &spec, id);
}

static unsigned most_tries(const struct put *put)
{
	return put->b->pool->kind == TMEM_PERSISTENT ? TMEM_ROOM_TRIES
						     : EPHEMERAL_TRIES;
}

/* After an allocation that failed. A persistent page is worth the time that it
 * takes to hold others tighter. */
static bool make_room(struct put *put, uint64_t rooms, unsigned *made)
{
	struct tmem_store *store = put->b->store;

	return tmem_evict_room(store, rooms, made) ||
	       (put->b->pool->kind == TMEM_PERSISTENT &&
		tmem_evict_cool(store));
}

static uint32_t make_content(struct put *put, struct tmem_content_spec *spec)
{
	struct tmem_store *store = put->b->store;
	uint32_t id = 0;
	unsigned made = 0;
	bool last = false;
	int r;

	for (unsigned tries = 1;; tries++) {
		uint64_t rooms = tmem_evict_rooms(store);

		r = new_content(put, spec, &id);
		if (r == 0)
			return id;
		put->why = refusal_of(r);
		if (last || put->why != TMEM_REFUSAL_NOMEM)
			return 0;
		/* Once there is no room left to make, a larger slot will do. */
		spec->how = TMEM_SLAB_STRETCH;
		last = tries == most_tries(put) ||
		       !make_room(put, rooms, &made);
	}
}

static uint32_t prepare_fill(struct put *put, unsigned i, uint64_t fill)
{
	struct tmem_store *store = put->b->store;
	struct tmem_content_spec spec = {
		.kind = put->b->pool->kind,
		.domain = put->domain,
		.codec = TMEM_CODEC_FILL,
		.fill = fill,
	};
	uint32_t id = 0;

	if (spec.domain != TMEM_DOMAIN_NONE)
		id = tmem_dedup_find_fill(&store->contents, fill, spec.kind,
					  spec.domain);
	if (id)
		put->shared |= TMEM_FLAG(i);
	return id ? id : make_content(put, &spec);
}

/* A young content for a page, if that needs no room made; else 0. Of what needs
 * neither codec nor dedup, nothing would become. */
static uint32_t prepare_young(struct put *put, unsigned i,
			      const struct tmem_content_spec *page)
{
	struct tmem_store *store = put->b->store;
	struct tmem_content_spec spec = *page;
	uint32_t id = 0;

	if (!put->nursery ||
	    (spec.codec == TMEM_CODEC_RAW && spec.domain == TMEM_DOMAIN_NONE))
		return 0;
	spec.codec = TMEM_CODEC_YOUNG;
	if (tmem_nursery_has_room(store) && new_content(put, &spec, &id) == 0)
		put->young |= TMEM_FLAG(i);
	else
		atomic_fetch_add_explicit(&store->nursery.full, 1,
					  memory_order_relaxed);
	return id;
}

/* Get a content for a page: 0 when it is refused. */
static uint32_t prepare(struct put *put, unsigned i)
{
	struct tmem_store *store = put->b->store;
	const void *page =
		put->pages + (size_t)(i - put->b->first) * TMEM_PAGE_SIZE;
	_Alignas(64) uint8_t out[TMEM_PAGE_SIZE];
	struct tmem_content_spec spec = {
		.kind = put->b->pool->kind,
		.domain = put->domain,
		.codec = put->codec,
		.bytes = page,
		.size = TMEM_PAGE_SIZE,
	};
	uint64_t fill;
	uint32_t id;

	if (tmem_page_is_fill(page, &fill))
		return prepare_fill(put, i, fill);
	if (put->dedup == TMEM_DEDUP_AUTO &&
	    !tmem_dedup_auto_wants(store, put->b->pool, page))
		spec.domain = TMEM_DOMAIN_NONE;
	id = prepare_young(put, i, &spec);
	if (id)
		return id;
	if (spec.domain != TMEM_DOMAIN_NONE) {
		put->looked |= TMEM_FLAG(i);
		spec.hash = tmem_dedup_hash(&store->contents.dedup, page,
					    spec.kind, spec.domain);
		id = tmem_dedup_find(&store->contents, page, spec.hash,
				     spec.kind, spec.domain);
		if (id) {
			put->shared |= TMEM_FLAG(i);
			return id;
		}
	}
	if (spec.codec != TMEM_CODEC_RAW) {
		spec.size = (uint32_t)tmem_codec_compress(
			store->codecs, spec.codec, page, out);
		spec.bytes = out;
	}
	if (!spec.size || spec.size == TMEM_PAGE_SIZE) {
		spec.codec = TMEM_CODEC_RAW;
		spec.size = TMEM_PAGE_SIZE;
		spec.bytes = page;
	}
	return make_content(put, &spec);
}

static unsigned prepared(const struct put *put)
{
	unsigned mask = 0;

	for (unsigned i = put->b->first; i < put->b->first + put->b->count; i++)
		if (put->content[i])
			mask |= TMEM_FLAG(i);
	return mask;
}

/* Under the shard's lock: let the leaf name what was prepared. Pages that are
 * done leave put->content. Returns 0; -ENOMEM or -ENOSPC without room for the
 * leaf; -EDQUOT when some would pass the client's limit. */
static int commit(struct put *put, const struct tmem_limit *limit,
		  struct tmem_drops *drops)
{
	struct tmem_block *b = put->b;
	struct tmem_pool_shard *part = &b->pool->shard[b->s];
	uint64_t *stat = tmem_block_stats(b);
	uint32_t id = tmem_index_find_leaf(&b->store->index,
					   tmem_block_shard(b), &b->key);
	unsigned named = 0, looked = 0, found = 0;
	struct tmem_leaf *leaf;
	int r = 0;

	if (!id) {
		r = tmem_index_make_leaf(&b->store->index, tmem_block_shard(b),
					 &b->key, &part->queue, &part->objects,
					 &id);
		if (r < 0)
			return r;
	}
	leaf = tmem_index_leaf(&b->store->index, id);
	tmem_evict_note_put(b->store, b->pool, b->s, &b->key, id,
			    prepared(put));
	for (unsigned i = b->first; i < b->first + b->count; i++) {
		uint32_t new = put->content[i], old;

		if (!new)
			continue;
		old = atomic_load_explicit(&leaf->content[i],
					   memory_order_relaxed);
		if (!tmem_charge_swap(b->store, b->pool, b->s, leaf, old, new,
				      limit)) {
			r = -EDQUOT;
			continue;
		}
		/* Release: the commit; the content is complete. */
		atomic_store_explicit(&leaf->content[i], new,
				      memory_order_release);
		put->content[i] = 0;
		leaf->tried &= (uint8_t)~TMEM_FLAG(i);
		put->stored |= TMEM_FLAG(i);
		named++;
		looked += put->looked >> i & 1;
		found += (put->looked & put->shared) >> i & 1;
		if (old) {
			/* What is written again is in use (room.h). */
			if (b->pool->kind == TMEM_PERSISTENT)
				leaf->visited |= (uint8_t)TMEM_FLAG(i);
			tmem_nursery_leave(b->store, b->s, old);
			drops->id[drops->count++] = old;
		}
		if (put->young & TMEM_FLAG(i))
			tmem_nursery_enter(b->store, b->s, id, i, new,
					   put->codec);
		stat[TMEM_POOL_STAT_puts]++;
		stat[TMEM_POOL_STAT_puts_stored]++;
		stat[TMEM_POOL_STAT_puts_replaced] += old != 0;
		stat[TMEM_POOL_STAT_puts_dedup] += put->shared >> i & 1;
	}
	tmem_dedup_auto_count(b->pool, b->s, looked, found);
	if (!named && tmem_index_leaf_empty(leaf))
		tmem_index_drop_leaf(&b->store->index, tmem_block_shard(b),
				     &part->queue, &part->objects, id);
	return r;
}

/* Young, they do not fit in the client's limit: do with them what settling
 * would do. */
static void prepare_again(struct put *put)
{
	put->nursery = false;
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		if (!put->content[i] || !(put->young & TMEM_FLAG(i)))
			continue;
		tmem_content_drop(&put->b->store->contents, put->content[i]);
		put->young &= ~TMEM_FLAG(i);
		put->content[i] = prepare(put, i);
	}
}

/* Make room in the client's cap or maxmem for what is left to commit. */
static bool make_cap_room(struct put *put)
{
	struct tmem_block *b = put->b;
	int64_t pages = __builtin_popcount(prepared(put));
	uint64_t young;

	if (tmem_evict_client(b->store, b->use->client->id,
			      pages * (TMEM_PAGE_SIZE + TMEM_PAGE_OVERHEAD),
			      pages))
		return true;
	/* What it has in the nursery is charged as it came; what others have
	 * there is none of its business. */
	young = tmem_nursery_charged(b->store, b->use->client, b->pool);
	if (!young)
		return false;
	/* Some may be stuck, its own or others'. */
	return tmem_settle_all(b->store) == 0 ||
	       tmem_nursery_charged(b->store, b->use->client, b->pool) < young;
}

/* Commit what was prepared, making room as needed. What is left in
 * put->content could not be. */
static void commit_all(struct put *put)
{
	struct tmem_block *b = put->b;
	struct tmem_drops drops;
	struct tmem_limit limit;
	unsigned tries = 0, cap_tries = 0, made = 0;
	bool more = prepared(put);
	int r;

	drops.count = 0;
	while (more) {
		bool limited = tmem_charge_limit(b->use, &limit);
		uint64_t rooms = tmem_evict_rooms(b->store);

		tmem_lock_acquire(&tmem_block_shard(b)->lock);
		r = commit(put, limited ? &limit : NULL, &drops);
		tmem_lock_release(&tmem_block_shard(b)->lock);
		tmem_drops_drop(b->store, &drops);
		tmem_cool_wake(b->store);
		if (r == -EDQUOT && put->nursery) {
			prepare_again(put);
			more = prepared(put);
		} else if (r == -EDQUOT) {
			put->why = TMEM_REFUSAL_CAP;
			more = cap_tries++ < CAP_TRIES && make_cap_room(put);
		} else if (r < 0) {
			put->why = refusal_of(r);
			more = put->why == TMEM_REFUSAL_NOMEM &&
			       tries++ < most_tries(put) &&
			       make_room(put, rooms, &made);
		} else {
			more = false;
		}
	}
	if (put->young)
		tmem_nursery_came(b->store);
}

/* Rule 2: what is refused leaves nothing of the old page, unless whoever put
 * it asked for tmem_replace_run(). */
static void refuse(struct put *put, unsigned mask)
{
	struct tmem_block *b = put->b;
	struct tmem_drops drops;
	unsigned count = (unsigned)__builtin_popcount(mask);
	uint32_t leaf = 0;

	drops.count = 0;
	tmem_lock_acquire(&tmem_block_shard(b)->lock);
	if (!put->replace)
		leaf = tmem_index_find_leaf(&b->store->index,
					    tmem_block_shard(b), &b->key);
	if (leaf)
		tmem_pool_take(b->store, b->pool, b->s, leaf, mask, &drops);
	tmem_block_stats(b)[TMEM_POOL_STAT_puts] += count;
	tmem_block_stats(b)[TMEM_POOL_STAT_puts_refused] += count;
	tmem_lock_release(&tmem_block_shard(b)->lock);
	tmem_drops_drop(b->store, &drops);
	atomic_fetch_add_explicit(&b->store->refused[put->why], count,
				  memory_order_relaxed);
	tmem_room_refused(b->use, put->why);
	tmem_upkeep_refused(b->store);
}

static unsigned put_block(struct tmem_block *b, const uint8_t *pages,
			  bool replace, uint8_t *outcome)
{
	unsigned refused;
	struct put put;

	put_init(&put, b);
	put.pages = pages;
	put.replace = replace;
	if (frozen(b)) {
		put.why = TMEM_REFUSAL_FROZEN;
	} else {
		for (unsigned i = b->first; i < b->first + b->count; i++)
			put.content[i] = prepare(&put, i);
		commit_all(&put);
	}
	refused = tmem_block_mask(b) & ~put.stored;
	for (unsigned i = 0; i < b->count && outcome; i++)
		outcome[i] =
			refused >> (b->first + i) & 1 ? TMEM_REFUSED : TMEM_OK;
	if (!refused)
		return b->count;
	for (unsigned i = b->first; i < b->first + b->count; i++)
		if (put.content[i])
			tmem_content_drop(&b->store->contents, put.content[i]);
	refuse(&put, refused);
	return b->count - (unsigned)__builtin_popcount(refused);
}

static int put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		   uint32_t index, uint32_t count, const void *pages,
		   bool replace, uint8_t *outcome)
{
	struct tmem_block b;
	unsigned stored = 0;

	tmem_block_init(&b, pool, oid);
	for (uint32_t at = 0; at < count; at += b.count) {
		tmem_block_cut(&b, index + at, count - at);
		stored += put_block(&b,
				    (const uint8_t *)pages +
					    (size_t)at * TMEM_PAGE_SIZE,
				    replace, outcome ? outcome + at : NULL);
	}
	return (int)stored;
}

int tmem_op_put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, const void *pages,
		    uint8_t *outcome)
{
	return put_run(pool, oid, index, count, pages, false, outcome);
}

int tmem_op_replace_run(struct tmem_pool *pool, const struct tmem_oid *oid,
			uint32_t index, uint32_t count, const void *pages,
			uint8_t *outcome)
{
	const uint32_t kind = TMEM_POOL_SHARED | TMEM_POOL_PERSISTENT;
	const struct tmem_use *use = (const struct tmem_use *)pool;

	if ((use->pool->flags & kind) != TMEM_POOL_PERSISTENT)
		return -EOPNOTSUPP;
	return put_run(pool, oid, index, count, pages, true, outcome);
}
