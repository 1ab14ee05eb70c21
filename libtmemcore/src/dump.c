/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem_store_dump(): the store's structure as text, a line a thing, indented
 * under what it belongs to. Never a page's bytes, and no hash of them either.
 */
#include <errno.h>
#include <inttypes.h>
#include "codec.h"
#include "worker.h"

static void dump_clients(const struct tmem_store *store, FILE *out)
{
	for (uint32_t i = 0; i < store->client_end; i++) {
		const struct tmem_client_state *client = store->client[i];

		if (!client)
			continue;
		fprintf(out,
			"client %u uid %u name %s domain %u \"%s\"%s pages %" PRId64
			" charge %" PRId64 "\n",
			client->id, client->record->uid, client->record->name,
			client->record->domain, client->record->domain_name,
			client->live ? " connected" : "",
			atomic_load(&client->pages),
			atomic_load(&client->charge));
	}
}

static void dump_page(const struct tmem_store *store, FILE *out, uint64_t index,
		      bool visited, uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(&store->contents, id);

	fprintf(out,
		"      page %" PRIu64
		"%s content %u %s bytes %u place %#" PRIx64
		" domain %u refs %u\n",
		index, visited ? " visited" : "", id, tmem_codec_name(w.codec),
		w.size, w.place, w.domain,
		tmem_content_refs(&store->contents, id));
}

static void dump_leaf(const struct tmem_store *store, FILE *out, uint32_t id,
		      bool pages)
{
	const struct tmem_leaf *leaf = tmem_index_leaf(&store->index, id);

	fprintf(out, "    leaf %u block %u visited %#x warm %#x tried %#x\n",
		id, leaf->block, leaf->visited, leaf->warm, leaf->tried);
	for (unsigned i = 0; i < TMEM_LEAF_PAGES && pages; i++) {
		uint32_t content = atomic_load(&leaf->content[i]);

		if (content)
			dump_page(store, out,
				  (uint64_t)leaf->block * TMEM_LEAF_PAGES + i,
				  leaf->visited >> i & 1, content);
	}
}

/* Objects of a pool in a shard, each with its leaves. */
static void dump_objects(const struct tmem_store *store, FILE *out,
			 const struct tmem_pool_state *pool, unsigned s,
			 bool pages)
{
	const struct tmem_index *index = &store->index;
	const struct tmem_buckets *objects = &index->shard[s].objects;

	for (uint32_t b = 0; b < objects->size; b++) {
		const struct tmem_object *object;

		for (uint32_t id = *tmem_buckets_at(objects, b); id;
		     id = object->chain) {
			object = tmem_index_object(index, id);
			if (atomic_load(&object->pool) != pool->id)
				continue;
			fprintf(out,
				"  object %u shard %u oid %016" PRIx64
				"-%016" PRIx64 "-%016" PRIx64 " leaves %u\n",
				id, s, object->oid.word[0], object->oid.word[1],
				object->oid.word[2], object->leaves);
			for (uint32_t leaf = object->leaf; leaf;
			     leaf = tmem_index_leaf(index, leaf)->object_next)
				dump_leaf(store, out, leaf, pages);
		}
	}
}

static void dump_pools(const struct tmem_store *store, FILE *out, bool pages)
{
	for (uint32_t i = 0; i < store->pool_end; i++) {
		const struct tmem_pool_state *pool = tmem_store_pool(store, i);

		if (!pool)
			continue;
		fprintf(out,
			"pool %u client %u name %s flags %#x domain %u users %u"
			" pages %" PRId64 " charge %" PRId64 "\n",
			pool->id, pool->owner ? pool->owner->id : 0,
			pool->record->name, pool->flags, pool->domain,
			pool->users, atomic_load(&pool->pages),
			atomic_load(&pool->charge));
		for (unsigned s = 0; s < TMEM_SHARDS; s++)
			dump_objects(store, out, pool, s, pages);
	}
}

int tmem_store_dump(struct tmem_store *store, FILE *out, bool pages)
{
	int r;

	tmem_workers_pause(store);
	fprintf(out,
		"store generation %016" PRIx64 " capacity %" PRIu64
		" budget %" PRIu64 " used %" PRIu64 " private %" PRIu64 "\n",
		store->arena.generation, store->arena.capacity,
		atomic_load(&store->budget.limit),
		atomic_load(&store->budget.used),
		atomic_load(&store->budget.private));
	tmem_slab_dump(store->slabs, out);
	dump_clients(store, out);
	dump_pools(store, out, pages);
	r = fflush(out) != 0 || ferror(out) ? -EIO : 0;
	tmem_workers_resume(store);
	return r;
}
