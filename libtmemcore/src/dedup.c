/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The dedup table (dedup.h). A put's way through it:
 *
 *   hash -> part lock: pin a content with this hash, domain and kind -> no
 *   lock: read and compare -> pin becomes a reference; or the next one
 *
 * Two puts of one new page at the same time may both find nothing and make two
 * equal contents. Both are in the table; later puts share the newer.
 */
#include "dedup.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* takes XXH3 over: picks AVX2 and so on */
#else
#include <xxhash.h>
#endif
#include "content.h"

static uint32_t fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

static uint64_t mix(uint64_t x)
{
	x *= UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

/* Other kinds and domains are other pages: tell them apart early. */
static uint64_t salt(enum tmem_kind kind, uint32_t domain)
{
	return mix((uint64_t)domain << 1 | kind);
}

static struct tmem_dedup_part *part_of(struct tmem_dedup_table *dedup,
				       uint32_t hash)
{
	return &dedup->part[hash % TMEM_DEDUP_PARTS];
}

static uint32_t *bucket_of(struct tmem_dedup_part *part, uint32_t hash)
{
	return tmem_buckets_head(&part->buckets, hash / TMEM_DEDUP_PARTS);
}

/* For a content that is chained. */
static uint32_t rehash(void *ctx, uint32_t id, uint32_t **chain)
{
	const struct tmem_contents *contents = ctx;
	struct tmem_meta *meta = tmem_content_meta(contents, id);

	*chain = &meta->chain;
	return meta->hash / TMEM_DEDUP_PARTS;
}

static uint32_t fill_hash(uint64_t fill, enum tmem_kind kind, uint32_t domain)
{
	return fold(mix(fill + salt(kind, domain)));
}

static uint32_t *fill_slot(struct tmem_dedup_part *part, uint32_t hash)
{
	return &part->fill[hash / TMEM_DEDUP_PARTS % TMEM_DEDUP_FILLS];
}

/* The hash that places a content in the table. */
static uint32_t hash_of(const struct tmem_contents *contents, uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(contents, id);
	struct tmem_meta *meta = tmem_content_meta(contents, id);

	if (w.codec == TMEM_CODEC_FILL)
		return fill_hash(tmem_meta_fill(meta), w.kind, w.domain);
	return meta->hash;
}

int tmem_dedup_init(struct tmem_dedup_table *dedup, struct tmem_arena *arena,
		    unsigned hash_bits)
{
	struct tmem_budget *budget = arena->budget;
	int r = 0;

	memset(dedup, 0, sizeof(*dedup));
	dedup->budget = budget;
	dedup->secret = arena->secret;
	dedup->hash_mask = hash_bits && hash_bits < 64
				   ? (UINT64_C(1) << hash_bits) - 1
				   : UINT64_MAX;
	for (unsigned i = 0; i < TMEM_DEDUP_PARTS && r == 0; i++) {
		struct tmem_dedup_part *part = &dedup->part[i];

		r = tmem_lock_init(&part->lock, TMEM_LOCK_DEDUP);
		if (r < 0)
			break;
		r = tmem_buckets_init(&part->buckets, budget);
		if (r < 0)
			tmem_lock_deinit(&part->lock);
	}
	if (r < 0)
		tmem_dedup_deinit(dedup);
	return r;
}

void tmem_dedup_deinit(struct tmem_dedup_table *dedup)
{
	for (unsigned i = 0; i < TMEM_DEDUP_PARTS; i++) {
		struct tmem_dedup_part *part = &dedup->part[i];

		if (!part->buckets.size)
			break;
		tmem_buckets_deinit(&part->buckets, dedup->budget);
		tmem_lock_deinit(&part->lock);
	}
}

uint32_t tmem_dedup_hash(const struct tmem_dedup_table *dedup, const void *page,
			 enum tmem_kind kind, uint32_t domain)
{
	uint64_t hash =
		XXH3_64bits_withSeed(page, TMEM_PAGE_SIZE, dedup->secret);

	return fold((hash ^ salt(kind, domain)) & dedup->hash_mask);
}

static bool is_page(struct tmem_contents *contents, uint32_t id,
		    const void *page)
{
	struct tmem_content_word w = tmem_content_load(contents, id);
	_Alignas(64) uint8_t bytes[TMEM_PAGE_SIZE];

	if (w.codec == TMEM_CODEC_RAW)
		return !memcmp(tmem_slab_at(contents->slabs, w.place), page,
			       TMEM_PAGE_SIZE);
	return tmem_content_read(contents, id, bytes) == 0 &&
	       !memcmp(bytes, page, TMEM_PAGE_SIZE);
}

static bool put_down_locked(struct tmem_contents *contents,
			    struct tmem_dedup_part *part, uint32_t id,
			    uint32_t hash, uint32_t what)
{
	struct tmem_meta *meta = tmem_content_meta(contents, id);
	bool fill = tmem_content_load(contents, id).codec == TMEM_CODEC_FILL;

	tmem_lock_assert_held(&part->lock);
	/* Acquire: others' use of the content is over before it is freed. */
	if (atomic_fetch_sub_explicit(&meta->refs, what,
				      memory_order_acq_rel) != what)
		return false;
	if (!fill)
		tmem_buckets_leave(&part->buckets, contents->dedup.budget,
				   rehash, contents, id);
	else if (*fill_slot(part, hash) == id)
		*fill_slot(part, hash) = 0;
	return true;
}

/* Leave it to whoever has the part's lock to put down a content. Returns
 * whether there was room for it. */
static bool leave_late(struct tmem_dedup_part *part, uint32_t id, uint32_t what)
{
	const uint64_t entry = (uint64_t)what << 32 | id;

	for (unsigned i = 0; i < TMEM_DEDUP_LATE; i++) {
		uint64_t empty = 0;

		if (atomic_compare_exchange_strong_explicit(
			    &part->late[i], &empty, entry, memory_order_release,
			    memory_order_relaxed))
			return true;
	}
	return false;
}

/* Whether anything is left. The slots themselves are looked at: a count of them
 * would for a moment not agree, and who is to let go would turn around on it.
 */
static bool any_late(const struct tmem_dedup_part *part)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < TMEM_DEDUP_LATE; i++)
		any |= atomic_load_explicit(&part->late[i],
					    memory_order_relaxed);
	return any;
}

/* Put down what was left to the lock's holder. Returns how many were freed. */
static unsigned take_late(struct tmem_contents *contents,
			  struct tmem_dedup_part *part,
			  uint32_t freed[static TMEM_DEDUP_LATE])
{
	unsigned count = 0;

	for (unsigned i = 0; i < TMEM_DEDUP_LATE; i++) {
		uint64_t entry = atomic_exchange_explicit(&part->late[i], 0,
							  memory_order_acquire);
		uint32_t id = (uint32_t)entry;

		if (!entry)
			continue;
		if (put_down_locked(contents, part, id, hash_of(contents, id),
				    (uint32_t)(entry >> 32)))
			freed[count++] = id;
	}
	return count;
}

/* Let the part's lock go, with nothing left for its holder to do. */
static void release_part(struct tmem_contents *contents,
			 struct tmem_dedup_part *part)
	TMEM_TSA(release_capability(part->lock));

TMEM_TSA(no_thread_safety_analysis)
static void release_part(struct tmem_contents *contents,
			 struct tmem_dedup_part *part)
{
	tmem_lock_release(&part->lock);
	for (;;) {
		uint32_t freed[TMEM_DEDUP_LATE];
		unsigned count;

		/* Who left something, and could not get the lock, did so before
		 * it was let go: it is seen now. */
		atomic_thread_fence(memory_order_seq_cst);
		if (!any_late(part) || !tmem_lock_try(&part->lock))
			return;
		count = take_late(contents, part, freed);
		tmem_lock_release(&part->lock);
		for (unsigned i = 0; i < count; i++)
			tmem_content_free(contents, freed[i]);
	}
}

static bool among(const uint32_t *ids, unsigned count, uint32_t id)
{
	for (unsigned i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Pin a content that may equal a page, and is none of those tried; 0 when there
 * is none. The first is nearly always the one, and each step further is a
 * cache miss. */
static uint32_t nominate(struct tmem_contents *contents, uint32_t hash,
			 enum tmem_kind kind, uint32_t domain,
			 const uint32_t *tried, unsigned count)
{
	struct tmem_dedup_part *part = part_of(&contents->dedup, hash);
	uint32_t id;

	tmem_lock_acquire(&part->lock);
	for (id = *bucket_of(part, hash); id;
	     id = tmem_content_meta(contents, id)->chain) {
		struct tmem_content_word w;

		tmem_content_prefetch(contents, id);
		if (tmem_content_meta(contents, id)->hash != hash ||
		    tmem_content_refs(contents, id) == TMEM_REFS_MAX ||
		    among(tried, count, id))
			continue;
		w = tmem_content_load(contents, id);
		if (w.kind == kind && w.domain == domain &&
		    tmem_content_try_pin(contents, id)) {
			tmem_content_prefetch_bytes(contents, id);
			break;
		}
	}
	release_part(contents, part);
	return id;
}

uint32_t tmem_dedup_find(struct tmem_contents *contents, const void *page,
			 uint32_t hash, enum tmem_kind kind, uint32_t domain)
{
	uint32_t tried[TMEM_DEDUP_TRIES];

	for (unsigned i = 0; i < TMEM_DEDUP_TRIES; i++) {
		uint32_t id = nominate(contents, hash, kind, domain, tried, i);

		if (!id)
			break;
		if (!is_page(contents, id, page))
			atomic_fetch_add_explicit(&contents->dedup.mismatches,
						  1, memory_order_relaxed);
		else if (tmem_content_keep(contents, id))
			return id;
		tmem_content_unpin(contents, id);
		tried[i] = id;
	}
	return 0;
}

uint32_t tmem_dedup_find_fill(struct tmem_contents *contents, uint64_t fill,
			      enum tmem_kind kind, uint32_t domain)
{
	uint32_t hash = fill_hash(fill, kind, domain);
	struct tmem_dedup_part *part = part_of(&contents->dedup, hash);
	uint32_t id;

	tmem_lock_acquire(&part->lock);
	id = *fill_slot(part, hash);
	if (id) {
		struct tmem_content_word w = tmem_content_load(contents, id);

		if (w.kind != kind || w.domain != domain ||
		    tmem_meta_fill(tmem_content_meta(contents, id)) != fill ||
		    !tmem_content_try_pin(contents, id))
			id = 0;
	}
	release_part(contents, part);
	if (id && !tmem_content_keep(contents, id)) {
		tmem_content_unpin(contents, id);
		id = 0;
	}
	return id;
}

void tmem_dedup_add(struct tmem_contents *contents, uint32_t id)
{
	bool fill = tmem_content_load(contents, id).codec == TMEM_CODEC_FILL;
	uint32_t hash = hash_of(contents, id);
	struct tmem_dedup_part *part = part_of(&contents->dedup, hash);

	tmem_lock_acquire(&part->lock);
	if (fill)
		*fill_slot(part, hash) = id;
	else
		tmem_buckets_enter(&part->buckets, contents->dedup.budget,
				   rehash, contents, id);
	release_part(contents, part);
}

TMEM_TSA(no_thread_safety_analysis)
bool tmem_dedup_put_down(struct tmem_contents *contents, uint32_t id,
			 uint32_t what)
{
	uint32_t hash = hash_of(contents, id);
	struct tmem_dedup_part *part = part_of(&contents->dedup, hash);
	bool last;

	if (!tmem_lock_try(&part->lock)) {
		if (leave_late(part, id, what)) {
			atomic_thread_fence(memory_order_seq_cst);
			if (tmem_lock_try(&part->lock))
				release_part(contents, part);
			return false;
		}
		tmem_lock_acquire(&part->lock);
	}
	last = put_down_locked(contents, part, id, hash, what);
	release_part(contents, part);
	return last;
}

/* Drop contents of one part; returns how many were freed, which are moved to
 * the front. What they touch is fetched for all of them before it is needed. */
static unsigned drop_part(struct tmem_contents *contents,
			  struct tmem_dedup_part *part, uint32_t *ids,
			  unsigned count)
{
	unsigned last = 0;

	tmem_lock_acquire(&part->lock);
	for (unsigned i = 0; i < count; i++)
		__builtin_prefetch(bucket_of(
			part, tmem_content_meta(contents, ids[i])->hash));
	for (unsigned i = 0; i < count; i++) {
		uint32_t id = *bucket_of(
			part, tmem_content_meta(contents, ids[i])->hash);

		if (id)
			__builtin_prefetch(tmem_content_meta(contents, id), 1);
	}
	for (unsigned i = 0; i < count; i++)
		if (put_down_locked(contents, part, ids[i],
				    hash_of(contents, ids[i]), 1))
			ids[last++] = ids[i];
	release_part(contents, part);
	return last;
}

unsigned tmem_dedup_drop_many(struct tmem_contents *contents, uint32_t *ids,
			      unsigned count)
{
	uint32_t sorted[TMEM_SLAB_BATCH];
	uint16_t end[TMEM_DEDUP_PARTS + 1] = {0};
	unsigned last = 0;

	assert(count <= TMEM_SLAB_BATCH);
	for (unsigned i = 0; i < count; i++)
		end[hash_of(contents, ids[i]) % TMEM_DEDUP_PARTS]++;
	for (unsigned p = 1; p <= TMEM_DEDUP_PARTS; p++)
		end[p] = (uint16_t)(end[p] + end[p - 1]);
	for (unsigned i = count; i-- > 0;)
		sorted[--end[hash_of(contents, ids[i]) % TMEM_DEDUP_PARTS]] =
			ids[i];
	/* Now they are starts: each part ends where the next begins. */
	for (unsigned p = 0; p < TMEM_DEDUP_PARTS; p++) {
		unsigned n = end[p + 1] - end[p];

		if (!n)
			continue;
		n = drop_part(contents, &contents->dedup.part[p],
			      sorted + end[p], n);
		memcpy(ids + last, sorted + end[p], n * sizeof(*ids));
		last += n;
	}
	return last;
}

unsigned tmem_dedup_each(struct tmem_contents *contents,
			 void (*fn)(void *ctx, uint32_t id), void *ctx)
{
	unsigned misplaced = 0;

	for (unsigned i = 0; i < TMEM_DEDUP_PARTS; i++) {
		struct tmem_dedup_part *part = &contents->dedup.part[i];
		uint32_t count = 0, id, hash;

		for (uint32_t b = 0; b < part->buckets.size; b++) {
			for (id = *tmem_buckets_at(&part->buckets, b); id;
			     id = tmem_content_meta(contents, id)->chain) {
				hash = hash_of(contents, id);
				misplaced += part_of(&contents->dedup, hash) !=
						     part ||
					     bucket_of(part, hash) !=
						     tmem_buckets_at(
							     &part->buckets, b);
				count++;
				fn(ctx, id);
			}
		}
		misplaced += count != part->buckets.count;
		for (unsigned f = 0; f < TMEM_DEDUP_FILLS; f++) {
			id = part->fill[f];
			if (!id)
				continue;
			misplaced += fill_slot(part, hash_of(contents, id)) !=
				     &part->fill[f];
			fn(ctx, id);
		}
	}
	return misplaced;
}
