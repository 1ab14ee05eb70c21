/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cooling (cool.h). A hand walks every queue of leaves from the oldest to the
 * youngest, pool by pool and shard by shard, and takes the pages that no get
 * has read since it last came by:
 *
 *   shard's lock: the next leaf with such pages; pin their contents
 *   no lock:      decompress, compress with zstd; smaller? recode
 *   shard's lock: charges; what zstd made no smaller is marked as tried
 *   no lock:      unpin
 *
 *   asleep --a put, used > 7/8--> lap --used <= 7/8--> asleep, hand stays
 *     ^                            |
 *     `--all passed, none put------+--all passed, others put--> lap, 1 s later
 *
 * A lap a second at most: the marks of what is read need time to come back.
 * Before a persistent put is refused, and when the budget shrinks, whoever
 * needs the room cools as well, and then whatever is left, read or not.
 *
 * A page that was cooled stays so until it is put again: nobody can tell yet
 * whether a get of it was the first of many. Contents that several handles
 * share are judged by the handle that the hand comes by.
 *
 * Worth it is what gets an eighth smaller: kernel source goes from 38 % with
 * LZ4 to 30 %, and a get of it from 1.5 us to 6.
 */
#include "cool.h"
#include <time.h>
#include "charge.h"
#include "pool.h"

/* Leaves that one hold of a shard's lock goes through: some 20 us. */
#define HOLD_LEAVES 256u

/* Smaller contents have too little to give for the work. */
#define SIZE_MIN 256u

#define LAP_MS 1000u

/* Who finds another at it looks again so much later. */
#define RETRY_MS 20

/* After a pass that gained nothing, who is to be refused is not held up by
 * another one for so long. */
#define DRY_MS 1000u

/* Pages of one leaf on their way; bits are pages. */
struct batch {
	struct tmem_pool_state *pool;
	unsigned s;
	struct tmem_oid oid;
	struct tmem_key key;
	uint32_t id[TMEM_LEAF_PAGES];	/* pinned contents */
	uint32_t size[TMEM_LEAF_PAGES]; /* they had */
	unsigned held;			/* there is one */
	unsigned shared;		/* when recoded */
	unsigned recoded;
	unsigned tried; /* in vain */
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool worth_a_try(const struct tmem_contents *contents, uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(contents, id);

	return w.size >= SIZE_MIN &&
	       (w.codec == TMEM_CODEC_LZ4 || w.codec == TMEM_CODEC_LZO ||
		w.codec == TMEM_CODEC_RAW);
}

/* Pin what a leaf has to cool. Shard's lock. */
static void claim_leaf(struct tmem_store *store, uint32_t leaf_id, bool all,
		       struct batch *batch)
{
	struct tmem_leaf *leaf = tmem_index_leaf(&store->index, leaf_id);
	unsigned passed = leaf->tried;

	if (!all)
		passed |= leaf->warm;
	leaf->warm = 0;
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		uint32_t id = atomic_load_explicit(&leaf->content[i],
						   memory_order_relaxed);

		if (!id || passed >> i & 1 ||
		    !worth_a_try(&store->contents, id))
			continue;
		tmem_content_pin(&store->contents, id);
		batch->id[i] = id;
		batch->held |= 1u << i;
	}
	if (!batch->held)
		return;
	batch->oid =
		tmem_index_object(&store->index,
				  atomic_load_explicit(&leaf->object,
						       memory_order_relaxed))
			->oid;
	batch->key = (struct tmem_key){
		.pool = batch->pool->id,
		.block = leaf->block,
		.oid = &batch->oid,
		.hash = tmem_index_hash(&store->index, batch->pool->id,
					&batch->oid),
	};
}

/* Move the hand on, to the next leaf that has pages to cool. Cool lock. */
static void claim(struct tmem_store *store, bool all, struct batch *batch)
{
	struct tmem_cool *cool = &store->cool;
	struct tmem_shard *shard = &store->index.shard[batch->s];
	struct tmem_queue *queue = &batch->pool->shard[batch->s].queue;

	tmem_lock_acquire(&shard->lock);
	if (!cool->begun)
		queue->cool = queue->tail;
	cool->begun = true;
	for (unsigned n = 0; n < HOLD_LEAVES && queue->cool && !batch->held;
	     n++) {
		uint32_t id = queue->cool;

		queue->cool = tmem_index_leaf(&store->index, id)->queue_prev;
		claim_leaf(store, id, all, batch);
		cool->looked++;
	}
	if (!queue->cool) {
		cool->begun = false;
		cool->s++;
	}
	tmem_lock_release(&shard->lock);
}

/* Returns bytes by which the content's slot got smaller. */
static uint32_t recode(struct tmem_store *store, struct batch *batch,
		       unsigned i)
{
	struct tmem_contents *contents = &store->contents;
	uint32_t id = batch->id[i];
	uint32_t old = tmem_content_load(contents, id).size, size = 0;
	_Alignas(64) uint8_t page[TMEM_PAGE_SIZE], out[TMEM_PAGE_SIZE];

	batch->size[i] = old;
	if (tmem_content_read(contents, id, page) == 0)
		size = (uint32_t)tmem_codec_compress_cold(store->codecs, page,
							  out);
	if (!size || size > old - old / 8 ||
	    tmem_slab_slot_size(size) >= tmem_slab_slot_size(old)) {
		batch->tried |= 1u << i;
		return 0;
	}
	/* Other handles may be gone before note() asks for them. */
	if (tmem_content_refs(contents, id) > 1)
		batch->shared |= 1u << i;
	/* Busy, or no slot: next lap. */
	if (tmem_content_recode(contents, id, TMEM_CODEC_ZSTD, out, size) < 0)
		return 0;
	batch->recoded |= 1u << i;
	return tmem_slab_slot_size(old) - tmem_slab_slot_size(size);
}

/* What became of the pages, to where they are still named. */
static void note(struct tmem_store *store, struct batch *batch)
{
	struct tmem_shard *shard = &store->index.shard[batch->s];
	struct tmem_leaf *leaf = NULL;
	uint32_t leaf_id;

	tmem_lock_acquire(&shard->lock);
	leaf_id = tmem_index_find_leaf(&store->index, shard, &batch->key);
	if (leaf_id)
		leaf = tmem_index_leaf(&store->index, leaf_id);
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++) {
		bool recoded = batch->recoded >> i & 1;

		if (!(batch->held >> i & 1))
			continue;
		if (leaf && atomic_load_explicit(&leaf->content[i],
						 memory_order_relaxed) ==
				    batch->id[i]) {
			leaf->tried |= batch->tried & 1u << i;
			if (recoded)
				tmem_charge_recoded(
					store, batch->pool, batch->s, leaf,
					batch->id[i], batch->size[i]);
		} else if (recoded) {
			tmem_charge_drift(store, 1);
		}
		if (recoded && batch->shared >> i & 1)
			tmem_charge_drift(store, 1);
	}
	tmem_lock_release(&shard->lock);
}

/* Cool lock. */
static uint64_t cool_batch(struct tmem_store *store, struct batch *batch)
{
	uint64_t gained = 0;

	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (batch->held >> i & 1)
			gained += recode(store, batch, i);
	note(store, batch);
	for (unsigned i = 0; i < TMEM_LEAF_PAGES; i++)
		if (batch->held >> i & 1)
			tmem_content_unpin(&store->contents, batch->id[i]);
	atomic_fetch_add_explicit(&store->cool.recompressed,
				  __builtin_popcount(batch->recoded),
				  memory_order_relaxed);
	return gained;
}

/* The pool where the lap is, referenced; NULL when it is over. Cool lock. */
static struct tmem_pool_state *lap_pool(struct tmem_store *store)
{
	struct tmem_cool *cool = &store->cool;
	struct tmem_pool_state *pool = NULL;

	tmem_lock_acquire(&store->admin);
	while (!pool && cool->slot < store->pool_end) {
		pool = tmem_store_pool(store, cool->slot);
		if (pool && !pool->dead && cool->s < TMEM_SHARDS &&
		    tmem_pool_codec(store, pool) != TMEM_CODEC_RAW) {
			pool->refs++;
			break;
		}
		pool = NULL;
		cool->slot++;
		cool->s = 0;
		cool->begun = false;
	}
	tmem_lock_release(&store->admin);
	return pool;
}

/* Go on with the lap. Returns whether it goes on further; *gained is added to.
 * Cool lock. */
static bool lap_some(struct tmem_store *store, bool all, uint64_t *gained)
{
	struct tmem_cool *cool = &store->cool;
	struct batch batch = {.pool = lap_pool(store), .s = cool->s};

	if (!batch.pool) {
		cool->slot = 0;
		cool->lapping = false;
		return false;
	}
	claim(store, all, &batch);
	if (batch.held)
		*gained += cool_batch(store, &batch);
	tmem_pool_unref(store, batch.pool);
	return true;
}

/* Begin a lap, if none is under way and it is time. Returns after how many ms
 * it is, 0 when one is under way. */
static int begin_lap(struct tmem_cool *cool)
{
	uint64_t now;

	if (cool->lapping)
		return 0;
	if (!atomic_load_explicit(&cool->fresh, memory_order_relaxed))
		return TMEM_WORKER_NEVER;
	now = now_ms();
	if (now < cool->next)
		return (int)(cool->next - now);
	atomic_store_explicit(&cool->fresh, false, memory_order_relaxed);
	cool->next = now + LAP_MS;
	cool->lapping = true;
	return 0;
}

int tmem_cool_job(struct tmem_store *store)
{
	struct tmem_cool *cool = &store->cool;
	uint64_t gained = 0;
	int wait;

	/* Not while puts wait for young pages to be settled, which this would
	 * keep a processor from. */
	if (store->no_cold || !tmem_cool_tight(store) ||
	    atomic_load_explicit(&store->nursery.hurry, memory_order_relaxed))
		return TMEM_WORKER_NEVER;
	/* Who needs room has it, and leaves the lap where it is. */
	if (!tmem_lock_try(&cool->lock))
		return RETRY_MS;
	wait = begin_lap(cool);
	if (wait == 0)
		lap_some(store, false, &gained);
	tmem_lock_release(&cool->lock);
	if (gained)
		tmem_nursery_unstick(store);
	return wait;
}

uint64_t tmem_cool_now(struct tmem_store *store, uint64_t bytes)
{
	struct tmem_cool *cool = &store->cool;
	uint64_t gained = 0;
	unsigned laps = 0;

	if (store->no_cold)
		return 0;
	tmem_lock_acquire(&cool->lock);
	if (now_ms() >= cool->dry) {
		/* Once past every leaf there is, from where the hand is;
		 * others may put as fast as this goes on. */
		uint64_t end = cool->looked +
			       atomic_load_explicit(&store->index.leaves.used,
						    memory_order_relaxed);

		while (gained < bytes && cool->looked < end && laps < 2)
			laps += !lap_some(store, true, &gained);
		if (!gained)
			cool->dry = now_ms() + DRY_MS;
	}
	tmem_lock_release(&cool->lock);
	return gained;
}
