/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages in and out of a local store. A run is cut into blocks, the pages that
 * share a leaf; each goes its way at once:
 *
 *   put:    per page, no lock: fill? -> equal content in the domain? ->
 *           compress -> new content (make room and try again when there is
 * none) shard lock: the leaf names the new contents no lock: drop the old ones
 *           what was refused: shard lock: take the old pages out (rule 2)
 *   get:    shard lock: pin -> no lock: read, unpin
 *   flush:  shard lock: take out -> no lock: drop
 *
 * The shard's lock makes operations on one handle linearizable (rule 10): each
 * takes effect when it is held.
 */
#include "op.h"
#include <errno.h>
#include <limits.h>
#include "charge.h"
#include "evict.h"
#include "pool.h"

/* A flush of more blocks than this walks the object's leaves instead. */
#define WALK_BLOCKS 1024u

/* An ephemeral page is not worth emptying the store for. */
#define EPHEMERAL_TRIES 4u

/* How often a put makes room in its client's cap. */
#define CAP_TRIES 4u

#define FLAG(i) (1u << (i))

/* Pages of one leaf on their way. */
struct block {
	struct tmem_use *use;
	struct tmem_store *store;
	struct tmem_pool_state *pool;
	struct tmem_key key;
	unsigned s;	/* its shard */
	unsigned first; /* page in the leaf */
	unsigned count;
};

/* What is being put. */
struct put {
	struct block *b;
	const uint8_t *pages;
	enum tmem_codec codec;
	uint32_t domain;
	uint32_t content[TMEM_LEAF_PAGES]; /* prepared, ours; 0: refused */
	unsigned shared;		   /* FLAG(i): found by dedup */
	bool replace; /* what is refused leaves the old page */
	enum tmem_refusal why;
};

static struct tmem_shard *shard_of(const struct block *b)
{
	return &b->store->index.shard[b->s];
}

static uint64_t *stats_of(const struct block *b)
{
	return b->use->stat[b->s];
}

static unsigned mask_of(const struct block *b)
{
	return ((1u << b->count) - 1) << b->first;
}

static void block_init(struct block *b, struct tmem_pool *pool,
		       const struct tmem_oid *oid)
{
	b->use = (struct tmem_use *)pool;
	b->store = b->use->store;
	b->pool = b->use->pool;
	b->key.pool = b->pool->id;
	b->key.oid = oid;
	b->key.hash = tmem_index_hash(b->pool->id, oid);
}

/* Cut the next block off a run. Returns its pages. */
static unsigned block_cut(struct block *b, uint32_t index, uint64_t left)
{
	b->key.block = index / TMEM_LEAF_PAGES;
	b->s = tmem_index_shard_of(&b->key);
	b->first = index % TMEM_LEAF_PAGES;
	b->count = TMEM_LEAF_PAGES - b->first;
	if (b->count > left)
		b->count = (unsigned)left;
	return b->count;
}

/* Put ---------------------------------------------------------------------- */

static bool frozen(const struct block *b)
{
	return atomic_load_explicit(&b->store->frozen, memory_order_relaxed) ||
	       atomic_load_explicit(&b->use->client->record->frozen,
				    memory_order_relaxed);
}

/* How pages are to be held: the client's setting, else the pool's, else the
 * store's. */
static void put_init(struct put *put, struct block *b, const void *pages)
{
	struct tmem_client_record *client = b->use->client->record;
	unsigned dedup =
		atomic_load_explicit(&client->dedup, memory_order_relaxed);

	memset(put, 0, sizeof(*put));
	put->b = b;
	put->pages = pages;
	put->codec = (enum tmem_codec)atomic_load_explicit(
		&client->codec, memory_order_relaxed);
	if (put->codec == TMEM_CODEC_NONE)
		put->codec = (enum tmem_codec)atomic_load_explicit(
			&b->pool->codec, memory_order_relaxed);
	if (put->codec == TMEM_CODEC_NONE)
		put->codec = b->store->codec;
	if (dedup == TMEM_DEDUP_AUTO)
		dedup = atomic_load_explicit(&b->pool->dedup,
					     memory_order_relaxed);
	if (dedup == TMEM_DEDUP_AUTO)
		dedup = b->pool->kind == TMEM_EPHEMERAL ? TMEM_DEDUP_ON
							: TMEM_DEDUP_OFF;
	/* In a shared pool of another domain nothing is shared. */
	if (dedup == TMEM_DEDUP_ON && client->domain == b->pool->domain)
		put->domain = b->pool->domain;
}

static enum tmem_refusal refusal_of(int r)
{
	return r == -ENOMEM || r == -ENOSPC ? TMEM_REFUSAL_NOMEM
					    : TMEM_REFUSAL_FAULT;
}

/* One try; over its budget, a store takes no page even where it has slots. */
static int new_content(struct put *put, const struct tmem_content_spec *spec,
		       uint32_t *id)
{
	struct tmem_store *store = put->b->store;

	if (tmem_budget_excess(&store->budget))
		return -ENOMEM;
	return tmem_content_new(&store->contents, spec, id);
}

static unsigned tries(const struct put *put)
{
	return put->b->pool->kind == TMEM_PERSISTENT ? TMEM_ROOM_TRIES
						     : EPHEMERAL_TRIES;
}

static uint32_t make_content(struct put *put, struct tmem_content_spec *spec)
{
	struct tmem_store *store = put->b->store;
	uint32_t id = 0;
	bool last = false;
	int r;

	for (unsigned attempt = 0;; attempt++) {
		uint64_t rooms = tmem_evict_rooms(store);

		r = new_content(put, spec, &id);
		if (r == 0)
			return id;
		if (last)
			break;
		/* Once there is no room left to make, a larger slot will do. */
		spec->stretch = true;
		last = attempt + 1 == tries(put) ||
		       !tmem_evict_room(store, attempt, rooms);
	}
	put->why = refusal_of(r);
	return 0;
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
		put->shared |= FLAG(i);
	return id ? id : make_content(put, &spec);
}

/* Get a content for a page: 0 when it is refused. */
static uint32_t prepare(struct put *put, unsigned i, const void *page)
{
	struct tmem_store *store = put->b->store;
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
	if (spec.domain != TMEM_DOMAIN_NONE) {
		spec.hash = tmem_dedup_hash(&store->contents.dedup, page,
					    spec.kind, spec.domain);
		id = tmem_dedup_find(&store->contents, page, spec.hash,
				     spec.kind, spec.domain);
		if (id) {
			put->shared |= FLAG(i);
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

/* Under the shard's lock: let the leaf name what was prepared. Pages that are
 * done leave put->content. Returns 0; -ENOMEM or -ENOSPC without room for the
 * leaf; -EDQUOT when some would pass the client's limit. */
static int commit(struct put *put, const struct tmem_limit *limit,
		  struct tmem_drops *drops)
{
	struct block *b = put->b;
	struct tmem_pool_shard *part = &b->pool->shard[b->s];
	uint64_t *stat = stats_of(b);
	uint32_t id =
		tmem_index_find_leaf(&b->store->index, shard_of(b), &b->key);
	struct tmem_leaf *leaf;
	int r = 0;

	if (!id) {
		r = tmem_index_make_leaf(&b->store->index, shard_of(b), &b->key,
					 &part->queue, &part->objects, &id);
		if (r < 0)
			return r;
	}
	leaf = tmem_index_leaf(&b->store->index, id);
	for (unsigned i = b->first; i < b->first + b->count; i++) {
		uint32_t new = put->content[i], old;

		if (!new)
			continue;
		old = atomic_load_explicit(&leaf->content[i],
					   memory_order_relaxed);
		if (!tmem_charge_swap(b->store, b->pool, b->s, old, new,
				      limit)) {
			r = -EDQUOT;
			continue;
		}
		/* Release: the commit; the content is complete. */
		atomic_store_explicit(&leaf->content[i], new,
				      memory_order_release);
		put->content[i] = 0;
		if (old)
			drops->id[drops->count++] = old;
		stat[TMEM_POOL_STAT_puts]++;
		stat[TMEM_POOL_STAT_puts_stored]++;
		stat[TMEM_POOL_STAT_puts_replaced] += old != 0;
		stat[TMEM_POOL_STAT_puts_dedup] += put->shared >> i & 1;
	}
	if (tmem_index_leaf_empty(leaf))
		tmem_index_drop_leaf(&b->store->index, shard_of(b),
				     &part->queue, &part->objects, id);
	return r;
}

static unsigned prepared(const struct put *put)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (put->content[i])
			mask |= FLAG(i);
	return mask;
}

/* Make room in the client's cap or maxmem for what is left to commit. */
static bool make_cap_room(struct put *put)
{
	struct block *b = put->b;
	int64_t pages = __builtin_popcount(prepared(put));

	return tmem_evict_client(b->store, b->use->client->id,
				 pages * (TMEM_PAGE_SIZE + TMEM_PAGE_OVERHEAD),
				 pages);
}

/* Commit what was prepared, making room as needed. What is left in
 * put->content could not be. */
static void commit_all(struct put *put)
{
	struct block *b = put->b;
	struct tmem_drops drops;
	struct tmem_limit limit;
	unsigned attempt = 0, cap_attempt = 0;
	bool more = prepared(put);
	int r;

	drops.count = 0;
	while (more) {
		bool limited = tmem_charge_limit(b->use, &limit);
		uint64_t rooms = tmem_evict_rooms(b->store);

		tmem_lock_acquire(&shard_of(b)->lock);
		r = commit(put, limited ? &limit : NULL, &drops);
		tmem_lock_release(&shard_of(b)->lock);
		tmem_drops_drop(b->store, &drops);
		if (r == -EDQUOT) {
			put->why = TMEM_REFUSAL_CAP;
			more = cap_attempt++ < CAP_TRIES && make_cap_room(put);
		} else if (r < 0) {
			put->why = refusal_of(r);
			more = attempt < tries(put) &&
			       tmem_evict_room(b->store, attempt, rooms);
			attempt++;
		} else {
			more = false;
		}
	}
}

/* Rule 2: what is refused leaves nothing of the old page, unless whoever put
 * it asked for tmem_replace_run(). */
static void refuse(struct put *put, unsigned mask)
{
	struct block *b = put->b;
	struct tmem_drops drops;
	unsigned count = (unsigned)__builtin_popcount(mask);
	uint32_t leaf = 0;

	drops.count = 0;
	tmem_lock_acquire(&shard_of(b)->lock);
	if (!put->replace)
		leaf = tmem_index_find_leaf(&b->store->index, shard_of(b),
					    &b->key);
	if (leaf)
		tmem_pool_take(b->store, b->pool, b->s, leaf, mask, &drops);
	stats_of(b)[TMEM_POOL_STAT_puts] += count;
	stats_of(b)[TMEM_POOL_STAT_puts_refused] += count;
	tmem_lock_release(&shard_of(b)->lock);
	tmem_drops_drop(b->store, &drops);
	atomic_fetch_add_explicit(&b->store->refused[put->why], count,
				  memory_order_relaxed);
}

static unsigned put_block(struct block *b, const uint8_t *pages, bool replace,
			  uint8_t *outcome)
{
	unsigned refused = 0;
	struct put put;

	put_init(&put, b, pages);
	put.replace = replace;
	if (frozen(b)) {
		put.why = TMEM_REFUSAL_FROZEN;
		refused = mask_of(b);
	}
	for (unsigned i = 0; i < b->count && !refused; i++) {
		unsigned at = b->first + i;

		put.content[at] =
			prepare(&put, at, pages + (size_t)i * TMEM_PAGE_SIZE);
	}
	if (!refused) {
		refused = mask_of(b) & ~prepared(&put);
		commit_all(&put);
	}
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		if (!put.content[i])
			continue;
		refused |= FLAG(i);
		tmem_content_drop(&b->store->contents, put.content[i]);
	}
	if (refused)
		refuse(&put, refused);
	for (unsigned i = 0; i < b->count && outcome; i++)
		outcome[i] =
			refused >> (b->first + i) & 1 ? TMEM_REFUSED : TMEM_OK;
	return b->count - (unsigned)__builtin_popcount(refused);
}

static int put_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		   uint32_t index, uint32_t count, const void *pages,
		   bool replace, uint8_t *outcome)
{
	struct block b;
	unsigned stored = 0;

	block_init(&b, pool, oid);
	for (uint32_t at = 0; at < count; at += b.count) {
		block_cut(&b, index + at, count - at);
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

/* Get ---------------------------------------------------------------------- */

/* Pin what the leaf names, and take it out of an exclusive pool. */
static unsigned pin_block(struct block *b, uint32_t ids[static TMEM_LEAF_PAGES],
			  struct tmem_drops *drops)
{
	uint32_t id =
		tmem_index_find_leaf(&b->store->index, shard_of(b), &b->key);
	unsigned held = 0;
	struct tmem_leaf *leaf;

	if (!id)
		return 0;
	leaf = tmem_index_leaf(&b->store->index, id);
	for (unsigned i = b->first; i < b->first + b->count; i++) {
		ids[i] = atomic_load_explicit(&leaf->content[i],
					      memory_order_relaxed);
		if (!ids[i])
			continue;
		tmem_content_pin(&b->store->contents, ids[i]);
		held |= FLAG(i);
	}
	leaf->visited |= (uint8_t)held;
	if (b->pool->flags & TMEM_POOL_EXCLUSIVE)
		tmem_pool_take(b->store, b->pool, b->s, id, held, drops);
	return held;
}

/* A content that does not decode is no page: take it out where it is still
 * named, so that it is not found again (rule 4). */
static void forget(struct block *b, unsigned i, uint32_t content)
{
	struct tmem_drops drops;
	uint32_t id;

	drops.count = 0;
	tmem_lock_acquire(&shard_of(b)->lock);
	id = tmem_index_find_leaf(&b->store->index, shard_of(b), &b->key);
	if (id && atomic_load_explicit(
			  &tmem_index_leaf(&b->store->index, id)->content[i],
			  memory_order_relaxed) == content)
		tmem_pool_take(b->store, b->pool, b->s, id, FLAG(i), &drops);
	tmem_lock_release(&shard_of(b)->lock);
	tmem_drops_drop(b->store, &drops);
}

static unsigned get_block(struct block *b, uint8_t *pages, uint8_t *outcome)
{
	uint32_t ids[TMEM_LEAF_PAGES];
	struct tmem_drops drops;
	unsigned held, hits = 0;

	drops.count = 0;
	tmem_lock_acquire(&shard_of(b)->lock);
	held = pin_block(b, ids, &drops);
	stats_of(b)[TMEM_POOL_STAT_gets] += b->count;
	stats_of(b)[TMEM_POOL_STAT_hits] += (unsigned)__builtin_popcount(held);
	tmem_lock_release(&shard_of(b)->lock);
	for (unsigned i = 0; i < b->count; i++) {
		unsigned at = b->first + i;
		bool hit = held >> at & 1;

		if (hit) {
			hit = tmem_content_read(
				      &b->store->contents, ids[at],
				      pages + (size_t)i * TMEM_PAGE_SIZE) == 0;
			if (!hit)
				forget(b, at, ids[at]);
			tmem_content_unpin(&b->store->contents, ids[at]);
		}
		hits += hit;
		if (outcome)
			outcome[i] = hit ? TMEM_OK : TMEM_MISS;
	}
	tmem_drops_drop(b->store, &drops);
	return hits;
}

int tmem_op_get_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		    uint32_t index, uint32_t count, void *pages,
		    uint8_t *outcome)
{
	struct block b;
	unsigned hits = 0;

	block_init(&b, pool, oid);
	for (uint32_t at = 0; at < count; at += b.count) {
		block_cut(&b, index + at, count - at);
		hits += get_block(
			&b, (uint8_t *)pages + (size_t)at * TMEM_PAGE_SIZE,
			outcome ? outcome + at : NULL);
	}
	return (int)hits;
}

/* Flush -------------------------------------------------------------------- */

static unsigned flush_block(struct block *b)
{
	struct tmem_drops drops;
	unsigned found = 0;
	uint32_t id;

	drops.count = 0;
	tmem_lock_acquire(&shard_of(b)->lock);
	id = tmem_index_find_leaf(&b->store->index, shard_of(b), &b->key);
	if (id)
		found = tmem_pool_take(b->store, b->pool, b->s, id, mask_of(b),
				       &drops);
	stats_of(b)[TMEM_POOL_STAT_flushes] += found;
	tmem_lock_release(&shard_of(b)->lock);
	tmem_drops_drop(b->store, &drops);
	return found;
}

/* Pages of a leaf that lie in [from, to]. */
static unsigned overlap(uint32_t block, uint32_t from, uint32_t to)
{
	uint64_t start = (uint64_t)block * TMEM_LEAF_PAGES;
	unsigned mask = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (start + i >= from && start + i <= to)
			mask |= FLAG(i);
	return mask;
}

/* Walk the leaves of an object in a shard, as many as one hold of the lock
 * takes, from the leaf of block *next on (false: the first). Returns pages
 * taken out; *more says that the walk goes on at *next. */
static uint64_t walk_some(struct block *b, uint32_t from, uint32_t to,
			  bool *more, uint32_t *next, struct tmem_drops *drops)
{
	struct tmem_index *index = &b->store->index;
	uint32_t object = tmem_index_find_object(index, shard_of(b), &b->key);
	uint32_t id = 0;
	uint64_t found = 0;

	if (*more) {
		b->key.block = *next;
		id = tmem_index_find_leaf(index, shard_of(b), &b->key);
	}
	if (!id && object)
		id = tmem_index_object(index, object)->leaf;
	*more = false;
	while (id && !tmem_drops_full(drops)) {
		struct tmem_leaf *leaf = tmem_index_leaf(index, id);
		unsigned mask = overlap(leaf->block, from, to);
		uint32_t after = leaf->object_next;

		found += tmem_pool_take(b->store, b->pool, b->s, id, mask,
					drops);
		id = after;
	}
	if (id) {
		*more = true;
		*next = tmem_index_leaf(index, id)->block;
	}
	return found;
}

static uint64_t walk(struct block *b, uint32_t from, uint32_t to)
{
	struct tmem_drops drops;
	uint64_t found = 0;

	drops.count = 0;
	for (b->s = 0; b->s < TMEM_SHARDS; b->s++) {
		bool more = false;
		uint32_t next = 0;

		do {
			uint64_t some;

			tmem_lock_acquire(&shard_of(b)->lock);
			some = walk_some(b, from, to, &more, &next, &drops);
			stats_of(b)[TMEM_POOL_STAT_flushes] += some;
			tmem_lock_release(&shard_of(b)->lock);
			tmem_drops_drop(b->store, &drops);
			found += some;
		} while (more);
	}
	return found;
}

int tmem_op_flush_run(struct tmem_pool *pool, const struct tmem_oid *oid,
		      uint32_t index, uint64_t count)
{
	struct block b;
	uint64_t found = 0;

	block_init(&b, pool, oid);
	if (count / TMEM_LEAF_PAGES > WALK_BLOCKS) {
		found = walk(&b, index, (uint32_t)(index + count - 1));
	} else {
		for (uint64_t at = 0; at < count; at += b.count) {
			block_cut(&b, (uint32_t)(index + at), count - at);
			found += flush_block(&b);
		}
	}
	return found < INT_MAX ? (int)found : INT_MAX;
}

int tmem_op_flush_object(struct tmem_pool *pool, const struct tmem_oid *oid)
{
	struct block b;

	block_init(&b, pool, oid);
	if (!walk(&b, 0, UINT32_MAX))
		return TMEM_MISS;
	b.s = 0;
	tmem_lock_acquire(&shard_of(&b)->lock);
	stats_of(&b)[TMEM_POOL_STAT_object_flushes]++;
	tmem_lock_release(&shard_of(&b)->lock);
	return TMEM_OK;
}
