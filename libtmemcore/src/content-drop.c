/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dropping contents by the hundred (content.h), as eviction and the end of a
 * pool do. Alone, a drop waits for memory five times (word, meta, dedup bucket,
 * its neighbour in the chain, slab owner) and takes three locks; together, they
 * wait for many at once, and take a lock for all that it guards.
 */
#include <assert.h>
#include "content.h"

/* Records fetched before they are needed: about as many as a core waits for at
 * a time. */
#define AHEAD 8u

static void fetch(const struct tmem_contents *contents, uint32_t id)
{
	__builtin_prefetch(tmem_content_word(contents, id), 1);
	__builtin_prefetch(tmem_content_meta(contents, id), 1);
}

/* As tmem_content_free() does, step by step for all. */
static void free_many(struct tmem_contents *contents, const uint32_t *ids,
		      unsigned count, struct tmem_slab_ends *ends)
{
	uint64_t places[TMEM_SLAB_BATCH];
	unsigned slots = 0;

	for (unsigned i = 0; i < count; i++) {
		struct tmem_content_word w =
			tmem_content_forget(contents, ids[i]);

		if (w.codec != TMEM_CODEC_FILL)
			places[slots++] = w.place;
	}
	tmem_slab_free_many(contents->slabs, places, slots, ends);
	tmem_table_free_many(&contents->table, ids, count);
}

void tmem_content_drop_many(struct tmem_contents *contents, uint32_t *ids,
			    unsigned count, struct tmem_slab_ends *ends)
{
	uint32_t named[TMEM_SLAB_BATCH]; /* by the dedup table */
	unsigned n = 0, gone = 0;

	assert(count <= TMEM_SLAB_BATCH);
	for (unsigned i = 0; i < count && i < AHEAD; i++)
		fetch(contents, ids[i]);
	for (unsigned i = 0; i < count; i++) {
		uint32_t id = ids[i];

		if (i + AHEAD < count)
			fetch(contents, ids[i + AHEAD]);
		if (tmem_content_put_down_shared(contents, id, 1))
			continue;
		if (tmem_content_named(contents, id))
			named[n++] = id;
		else if (tmem_content_put_down_last(contents, id, 1))
			ids[gone++] = id;
	}
	free_many(contents, ids, gone, ends);
	n = tmem_dedup_drop_many(contents, named, n);
	free_many(contents, named, n, ends);
}
