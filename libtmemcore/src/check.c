/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem_store_check(): every invariant of the upper half, the lower modules' own
 * checks, and the accounting against the kernel's.
 *
 *  1. Every object and leaf stands once in the chain its hash picks, in the
 *     shard its key picks; an object's list holds its leaves and counts them.
 *  2. Every leaf names a content and stands once in its pool's queue.
 *  3. A content's references are the handles that name it; nothing is pinned.
 *  4. A content's kind is its pools', and so is its domain, or it is of none
 *     and has one handle.
 *  5. A content's slot is its own; no slot and no record is without one.
 *  6. A content stands in the dedup table once when it has a domain (a fill
 *     content at most once), and not at all when it has none or is young; and
 *     a young one in the ring of its shard.
 *  7. What pools, owners and parts count is what leaves hold.
 *  8. The budget's used is private memory and what the arena has allocated,
 *     and the kernel says the same of the arena.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "charge.h"
#include "state.h"
#include "worker.h"

/* A content, as others see it. */
struct seen {
	uint32_t handles;
	uint32_t in_table;
};

struct checker {
	struct tmem_store *store;
	FILE *err;
	unsigned violations;
	struct seen *seen; /* by content id */
	uint32_t ids;	   /* highest content id */
	uint32_t objects;
	uint32_t leaves;
};

/* What the leaves of a pool in a shard add up to. */
struct tally {
	uint64_t pages;
	uint64_t objects;
	uint64_t leaves;
	uint64_t stored_bytes;
	uint64_t fill_pages;
};

__attribute__((format(printf, 2, 3))) static void bad(struct checker *c,
						      const char *format, ...)
{
	va_list args;

	c->violations++;
	if (!c->err)
		return;
	va_start(args, format);
	vfprintf(c->err, format, args);
	va_end(args);
	fputc('\n', c->err);
}

/* Invariants 3 and 4, one handle's part. */
static void check_handle(struct checker *c, const struct tmem_pool_state *pool,
			 uint32_t leaf, uint32_t id, struct tally *tally)
{
	struct tmem_contents *contents = &c->store->contents;
	struct tmem_content_word w;

	if (id > c->ids || !tmem_table_used(&contents->table, id)) {
		bad(c, "leaf %u: names content %u, which is free", leaf, id);
		return;
	}
	c->seen[id].handles++;
	w = tmem_content_load(contents, id);
	if (w.codec == TMEM_CODEC_NONE)
		bad(c, "leaf %u: content %u is not complete", leaf, id);
	if (w.kind != pool->kind)
		bad(c, "leaf %u: content %u is of the other kind", leaf, id);
	if ((w.domain != TMEM_DOMAIN_NONE && w.domain != pool->domain) ||
	    (!tmem_word_listed(w) && tmem_content_refs(contents, id) > 1))
		bad(c, "leaf %u: content %u is shared across domains", leaf,
		    id);
	tally->pages++;
	tally->stored_bytes += w.size;
	tally->fill_pages += w.codec == TMEM_CODEC_FILL;
}

static void check_leaf(struct checker *c, const struct tmem_pool_state *pool,
		       uint32_t id, struct tally *tally)
{
	struct tmem_leaf *leaf = tmem_index_leaf(&c->store->index, id);

	if (!tmem_table_used(&c->store->index.leaves, id))
		bad(c, "leaf %u: in use, and free in its table", id);
	if (tmem_index_leaf_empty(leaf))
		bad(c, "leaf %u: names no content", id);
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		uint32_t content = atomic_load(&leaf->content[i]);

		if (content)
			check_handle(c, pool, id, content, tally);
		else if ((leaf->visited | leaf->warm | leaf->tried) >> i & 1)
			bad(c, "leaf %u: a page it has not is marked", id);
	}
	tally->leaves++;
	c->leaves++;
}

/* The leaves of an object, through its list; each must be found by its key. */
static void check_object(struct checker *c, unsigned s, uint32_t id)
{
	struct tmem_index *index = &c->store->index;
	struct tmem_shard *shard = &index->shard[s];
	struct tmem_object *object = tmem_index_object(index, id);
	struct tmem_key key = {
		.pool = atomic_load(&object->pool),
		.oid = &object->oid,
	};
	struct tmem_pool_state *pool = tmem_store_pool(c->store, key.pool);
	uint32_t prev = 0, count = 0;

	if (!tmem_table_used(&index->objects, id))
		bad(c, "object %u: in use, and free in its table", id);
	c->objects++;
	if (!pool || pool->id != key.pool) {
		bad(c, "object %u: of pool %u, which is not there", id,
		    key.pool);
		return;
	}
	key.hash = tmem_index_hash(index, key.pool, key.oid);
	if (tmem_index_find_object(index, shard, &key) != id)
		bad(c, "object %u: not found by its key", id);
	for (uint32_t at = object->leaf; at && count <= object->leaves;
	     at = tmem_index_leaf(index, at)->object_next, count++) {
		struct tmem_leaf *leaf = tmem_index_leaf(index, at);

		key.block = leaf->block;
		if (atomic_load(&leaf->object) != id ||
		    leaf->object_prev != prev)
			bad(c, "object %u: leaf %u is astray in its list", id,
			    at);
		if (tmem_index_shard_of(&key) != s)
			bad(c, "leaf %u: in shard %u, which is not its own", at,
			    s);
		if (tmem_index_find_leaf(index, shard, &key) != at)
			bad(c, "leaf %u: not found by its key", at);
		prev = at;
	}
	if (count != object->leaves || !count)
		bad(c, "object %u: %u leaves listed, counted %u", id, count,
		    object->leaves);
}

static void check_shard(struct checker *c, unsigned s)
{
	struct tmem_index *index = &c->store->index;
	struct tmem_shard *shard = &index->shard[s];
	uint32_t objects = c->objects, leaves = 0;

	for (uint32_t b = 0; b < shard->objects.size; b++)
		for (uint32_t id = *tmem_buckets_at(&shard->objects, b); id;
		     id = tmem_index_object(index, id)->chain)
			check_object(c, s, id);
	for (uint32_t b = 0; b < shard->leaves.size; b++)
		for (uint32_t id = *tmem_buckets_at(&shard->leaves, b); id;
		     id = tmem_index_leaf(index, id)->chain)
			leaves++;
	if (c->objects - objects != shard->objects.count)
		bad(c, "shard %u: %u objects chained, counted %u", s,
		    c->objects - objects, shard->objects.count);
	if (leaves != shard->leaves.count)
		bad(c, "shard %u: %u leaves chained, counted %u", s, leaves,
		    shard->leaves.count);
}

/* A queue, and what its leaves add up to. */
static void check_queue(struct checker *c, const struct tmem_pool_state *pool,
			unsigned s, struct tally *tally)
{
	struct tmem_index *index = &c->store->index;
	const struct tmem_queue *queue = &pool->shard[s].queue;
	bool old = false, cool = queue->cool == 0;
	uint32_t prev = 0, fresh = 0;

	for (uint32_t id = queue->head; id && tally->leaves <= queue->count;
	     id = tmem_index_leaf(index, id)->queue_next) {
		struct tmem_leaf *leaf = tmem_index_leaf(index, id);
		struct tmem_object *object =
			tmem_index_object(index, atomic_load(&leaf->object));

		if (leaf->queue_prev != prev)
			bad(c, "pool %u: leaf %u is astray in its queue",
			    pool->id, id);
		if (atomic_load(&object->pool) != pool->id)
			bad(c, "pool %u: leaf %u in its queue is another's",
			    pool->id, id);
		/* The object's first leaf stands for it. */
		tally->objects += object->leaf == id;
		old |= queue->old == id;
		if (leaf->fresh == old)
			bad(c, "pool %u: leaf %u is among the %s ones",
			    pool->id, id, old ? "old" : "fresh");
		fresh += leaf->fresh;
		cool |= queue->cool == id;
		check_leaf(c, pool, id, tally);
		prev = id;
	}
	if (tally->leaves != queue->count || queue->tail != prev)
		bad(c, "pool %u: %" PRIu64 " leaves queued, counted %u",
		    pool->id, tally->leaves, queue->count);
	if (fresh != queue->fresh || old != (queue->old != 0))
		bad(c, "pool %u: %u fresh leaves queued, counted %u", pool->id,
		    fresh, queue->fresh);
	if (!cool)
		bad(c, "pool %u: a hand is not in its queue", pool->id);
}

static void check_count(struct checker *c, uint32_t pool, const char *what,
			uint64_t there, uint64_t counted)
{
	if (there != counted)
		bad(c, "pool %u: %" PRIu64 " %s, counted %" PRIu64, pool, there,
		    what, counted);
}

static void check_pool(struct checker *c, const struct tmem_pool_state *pool)
{
	uint64_t pages = 0;
	int64_t charge = 0;

	for (unsigned s = 0; s < TMEM_SHARDS; s++) {
		const struct tmem_pool_shard *part = &pool->shard[s];
		struct tally tally = {0};

		check_queue(c, pool, s, &tally);
		check_count(c, pool->id, "pages", tally.pages, part->pages);
		check_count(c, pool->id, "objects", tally.objects,
			    part->objects);
		check_count(c, pool->id, "bytes", tally.stored_bytes,
			    part->stored_bytes);
		check_count(c, pool->id, "fill pages", tally.fill_pages,
			    part->fill_pages);
		pages += part->pages;
		charge += part->charge;
	}
	check_count(c, pool->id, "pages in all", pages,
		    (uint64_t)atomic_load(&pool->pages));
	check_count(c, pool->id, "bytes charged", (uint64_t)charge,
		    (uint64_t)atomic_load(&pool->charge));
	if (pool->dead)
		bad(c, "pool %u: ended, and still there", pool->id);
	if (atomic_load(&pool->record->id) != pool->id)
		bad(c, "pool %u: its record is another's", pool->id);
}

static void check_pools(struct checker *c)
{
	struct tmem_store *store = c->store;

	if (atomic_load(&store->bytes_drift))
		tmem_charge_recount(store);
	for (uint32_t i = 0; i < store->pool_end; i++)
		if (tmem_store_pool(store, i))
			check_pool(c, tmem_store_pool(store, i));
	for (uint32_t i = 0; i < store->client_end; i++) {
		struct tmem_client_state *client = store->client[i];
		int64_t pages = 0, charge = 0;

		if (!client)
			continue;
		for (uint32_t j = 0; j < store->pool_end; j++) {
			struct tmem_pool_state *pool =
				tmem_store_pool(store, j);

			if (!pool || pool->owner != client)
				continue;
			pages += atomic_load(&pool->pages);
			charge += atomic_load(&pool->charge);
		}
		if (pages != atomic_load(&client->pages) ||
		    charge != atomic_load(&client->charge))
			bad(c,
			    "client %u: its pools have %" PRId64
			    " pages, charge %" PRId64 "; counted %" PRId64
			    ", %" PRId64,
			    client->id, pages, charge,
			    atomic_load(&client->pages),
			    atomic_load(&client->charge));
	}
}

static void saw_in_table(void *ctx, uint32_t id)
{
	struct checker *c = ctx;

	if (id > c->ids)
		bad(c, "dedup table: content %u is not there", id);
	else
		c->seen[id].in_table++;
}

/* Invariants 3, 5 and 6 of one content in use. Returns its slots. */
static unsigned check_content(struct checker *c, uint32_t id)
{
	struct tmem_contents *contents = &c->store->contents;
	struct tmem_content_word w = tmem_content_load(contents, id);
	uint32_t refs = atomic_load(&tmem_content_meta(contents, id)->refs);
	const struct seen *seen = &c->seen[id];
	bool fill = w.codec == TMEM_CODEC_FILL;

	if (refs != seen->handles || !refs)
		bad(c, "content %u: %u handles, references and pins %#x", id,
		    seen->handles, refs);
	if (!tmem_word_listed(w) ? seen->in_table != 0
	    : fill		 ? seen->in_table > 1
				 : seen->in_table != 1)
		bad(c, "content %u: %u times in the dedup table", id,
		    seen->in_table);
	if (fill)
		return 0;
	if (tmem_slab_owner(c->store->slabs, w.place) != id)
		bad(c, "content %u: its slot is another's", id);
	else if (tmem_slab_kind(c->store->slabs, w.place) != w.kind)
		bad(c, "content %u: in a slab of the other kind", id);
	return 1;
}

static void check_contents(struct checker *c)
{
	struct tmem_contents *contents = &c->store->contents;
	struct tmem_slab_stats slabs;
	uint64_t slots = 0, held[TMEM_WORD_CODECS] = {0};
	unsigned misplaced;

	misplaced = tmem_dedup_each(contents, saw_in_table, c);
	if (misplaced)
		bad(c, "dedup table: %u contents misplaced", misplaced);
	for (uint32_t id = tmem_table_next(&contents->table, 1); id;
	     id = tmem_table_next(&contents->table, id + 1)) {
		bool used = tmem_table_used(&contents->table, id);
		enum tmem_codec codec = tmem_content_load(contents, id).codec;

		if (used != (codec != TMEM_CODEC_NONE))
			bad(c, "content %u: %s, its word says otherwise", id,
			    used ? "in use" : "free");
		if (!used)
			continue;
		slots += check_content(c, id);
		held[codec]++;
	}
	if (tmem_nursery_check(c->store))
		bad(c, "nursery: %u entries or counts are wrong",
		    tmem_nursery_check(c->store));
	tmem_slab_stats(c->store->slabs, &slabs);
	if (slots != slabs.used_slots)
		bad(c, "%" PRIu64 " contents in slots, %" PRIu64 " slots used",
		    slots, slabs.used_slots);
	for (unsigned i = 0; i < TMEM_WORD_CODECS; i++)
		if (held[i] != atomic_load(&contents->held[i]))
			bad(c, "%" PRIu64 " %s contents, counted %" PRIu64,
			    held[i], tmem_codec_name(i),
			    atomic_load(&contents->held[i]));
}

/* Records in use are those that somebody reached. */
static void check_tables(struct checker *c)
{
	struct tmem_index *index = &c->store->index;

	if (c->objects != atomic_load(&index->objects.used))
		bad(c, "%u objects reached, %u in the table", c->objects,
		    atomic_load(&index->objects.used));
	if (c->leaves != atomic_load(&index->leaves.used))
		bad(c, "%u leaves reached, %u in the table", c->leaves,
		    atomic_load(&index->leaves.used));
}

/* Invariant 8. */
static void check_budget(struct checker *c)
{
	struct tmem_store *store = c->store;
	uint64_t used = atomic_load(&store->budget.used);
	uint64_t private = atomic_load(&store->budget.private);
	struct tmem_slab_stats slabs;
	uint64_t parts;
	struct stat st;

	tmem_slab_stats(store->slabs, &slabs);
	parts = TMEM_PAGE_SIZE + tmem_roster_bytes(&store->clients) +
		tmem_roster_bytes(&store->pools) +
		tmem_roster_bytes(&store->auths) +
		atomic_load(&store->index.objects.bytes) +
		atomic_load(&store->index.leaves.bytes) +
		atomic_load(&store->contents.table.bytes) +
		slabs.bytes[TMEM_EPHEMERAL] + slabs.bytes[TMEM_PERSISTENT] +
		slabs.map_bytes + slabs.spare_bytes;
	if (used - private != parts)
		bad(c,
		    "%" PRIu64
		    " bytes of arena charged, its parts have %" PRIu64,
		    used - private, parts);
	if (fstat(store->arena.fd, &st) != 0)
		bad(c, "the arena's file cannot be looked at");
	else if ((uint64_t)st.st_blocks * 512 != used - private)
		bad(c,
		    "%" PRIu64
		    " bytes of arena charged, the kernel has %" PRIu64,
		    used - private, (uint64_t)st.st_blocks * 512);
}

static uint32_t highest_content(const struct tmem_store *store)
{
	const struct tmem_table *table = &store->contents.table;
	uint32_t id, last = 0;

	for (id = tmem_table_next(table, 1); id;
	     id = tmem_table_next(table, id + 1))
		last = id;
	return last;
}

int tmem_store_check(struct tmem_store *store, FILE *err)
{
	struct checker c = {
		.store = store,
		.err = err,
	};

	tmem_workers_pause(store);
	c.ids = highest_content(store);
	c.seen = calloc((size_t)c.ids + 1, sizeof(*c.seen));
	if (!c.seen) {
		tmem_workers_resume(store);
		return -ENOMEM;
	}
	for (unsigned s = 0; s < TMEM_SHARDS; s++)
		check_shard(&c, s);
	check_pools(&c);
	check_tables(&c);
	check_contents(&c);
	check_budget(&c);
	c.violations += tmem_slab_check(store->slabs, err);
	tmem_workers_resume(store);
	free(c.seen);
	return c.violations ? -EUCLEAN : 0;
}
