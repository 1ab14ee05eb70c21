/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving slots back, and slabs that fell empty. What is dropped by the hundred
 * (eviction, a pool that ends) comes as a batch: sorted by class, so that a
 * class's lock is taken once, and its slabs punched out neighbours together.
 *
 * Measured, 1 GiB of a mapped memfd punched out: 285 ms by slabs, 190 ms by
 * 1 MiB and more; two threads at it take as long, each waits for the other in
 * the kernel.
 */
#include <assert.h>
#include <stdlib.h>
#include "slab-priv.h"

/* The most that a slab's byte in the map can be, and one. */
#define MAPS 256u

/* The slab's contents are gone: no record of it is left but its id. */
static void empty_slab(struct tmem_slabs *slabs, uint32_t id)
{
	uint8_t map = slab_map_of(slab_at(slabs, id));

	atomic_fetch_sub_explicit(&slabs->bytes[slab_map_kind(map)],
				  TMEM_SLAB_SIZE, memory_order_relaxed);
	slab_set_map(slabs, id, 0);
	slab_free_owners(slabs, slab_at(slabs, id),
			 slab_slots(slab_map_class(map)));
}

/* End count neighbouring slabs. */
static uint64_t end_run(struct tmem_slabs *slabs, const uint32_t *ids,
			unsigned count)
{
	uint64_t bytes = (uint64_t)count * TMEM_SLAB_SIZE;
	bool gone;

	for (unsigned i = 0; i < count; i++)
		empty_slab(slabs, ids[i]);
	/* Refused, the bytes stay charged until the ids are used again. */
	gone = tmem_arena_give(slabs->arena, TMEM_PART_SLABS,
			       (uint64_t)ids[0] * TMEM_SLAB_SIZE, bytes) == 0;
	for (unsigned i = 0; i < count; i++)
		slab_at(slabs, ids[i])->held = !gone;
	if (gone)
		atomic_fetch_add_explicit(&slabs->freed, count,
					  memory_order_relaxed);
	else
		atomic_fetch_add_explicit(&slabs->unpunched, bytes,
					  memory_order_relaxed);
	slab_put_ids(slabs, ids, count);
	return gone ? bytes : 0;
}

uint64_t slab_end(struct tmem_slabs *slabs, uint32_t id)
{
	return end_run(slabs, &id, 1);
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void tmem_slab_end_all(struct tmem_slabs *slabs, struct tmem_slab_ends *ends)
{
	unsigned run;

	qsort(ends->id, ends->count, sizeof(*ends->id), by_id);
	for (unsigned i = 0; i < ends->count; i += run) {
		run = 1;
		while (i + run < ends->count &&
		       ends->id[i + run] == ends->id[i] + run)
			run++;
		ends->bytes += end_run(slabs, &ends->id[i], run);
	}
	ends->count = 0;
}

/* Whether there is memory to spare for keeping empty slabs. */
static bool has_room(const struct tmem_slabs *slabs)
{
	const struct tmem_budget *budget = slabs->arena->budget;
	uint64_t limit =
		atomic_load_explicit(&budget->limit, memory_order_relaxed);

	return atomic_load_explicit(&budget->used, memory_order_relaxed) <
	       limit - limit / 8;
}

/* A listed slab fell empty: it is kept, or taken out of its class. Then true,
 * and it must be ended. */
static bool retire(struct tmem_slabs *slabs, struct slab_class *c, uint32_t id)
{
	if (c->kept == SLAB_NONE && has_room(slabs)) {
		slab_unlink(slabs, c, id);
		slab_at(slabs, id)->state = SLAB_KEPT;
		c->kept = id;
		atomic_fetch_add_explicit(&slabs->kept, 1,
					  memory_order_relaxed);
		return false;
	}
	slab_unlist(slabs, c, id);
	c->slabs--;
	return true;
}

static bool free_locked(struct tmem_slabs *slabs, struct slab_class *c,
			uint32_t id, uint32_t slot)
{
	struct slab *slab = slab_at(slabs, id);

	tmem_lock_assert_held(&c->lock);
	assert(slab->owner[slot] < SLAB_FREE && "slot freed twice");
	slab->owner[slot] = SLAB_FREE | slab->first_free;
	slab->first_free = (uint16_t)slot;
	slab->used--;
	c->used--;
	/* Whoever drains the slab ends it, or lists what is left. */
	if (slab->state == SLAB_DRAINING)
		return false;
	atomic_fetch_add_explicit(&c->free, 1, memory_order_relaxed);
	if (slab->used == 0)
		return retire(slabs, c, id);
	slab_relink(slabs, c, id);
	return false;
}

/* The number of the slot at place, in slab id. */
static uint32_t slot_of(const struct slab_class *c, uint32_t id, uint64_t place)
{
	uint32_t slot = slab_offset(place) / c->slot_bytes;

	assert(slab_place(id, c->slot_bytes, slot) == place);
	(void)id;
	return slot;
}

void tmem_slab_free(struct tmem_slabs *slabs, uint64_t place)
{
	uint32_t id = slab_id(place), slot;
	struct slab_class *c =
		slab_class_at(slabs, slab_map_of(slab_at(slabs, id)));
	bool end;

	slot = slot_of(c, id, place);
	tmem_lock_acquire(&c->lock);
	end = free_locked(slabs, c, id, slot);
	tmem_lock_release(&c->lock);
	if (end)
		slab_end(slabs, id);
}

/* Slots of one class. */
static void free_class(struct tmem_slabs *slabs, struct slab_class *c,
		       const uint64_t *places, unsigned count,
		       struct tmem_slab_ends *ends)
{
	const unsigned most = sizeof(ends->id) / sizeof(ends->id[0]);
	unsigned i = 0;

	while (i < count) {
		tmem_lock_acquire(&c->lock);
		for (; i < count && ends->count < most; i++) {
			uint32_t id = slab_id(places[i]);

			if (free_locked(slabs, c, id,
					slot_of(c, id, places[i])))
				ends->id[ends->count++] = id;
		}
		tmem_lock_release(&c->lock);
		if (ends->count == most)
			tmem_slab_end_all(slabs, ends);
	}
}

/* A counting sort by the slabs' bytes in the map. */
void tmem_slab_free_many(struct tmem_slabs *slabs, const uint64_t *places,
			 unsigned count, struct tmem_slab_ends *ends)
{
	uint64_t sorted[TMEM_SLAB_BATCH];
	uint8_t map[TMEM_SLAB_BATCH];
	uint16_t end[MAPS] = {0};
	unsigned from = 0;

	assert(count <= TMEM_SLAB_BATCH);
	for (unsigned i = 0; i < count; i++) {
		struct slab *slab = slab_at(slabs, slab_id(places[i]));

		map[i] = slab_map_of(slab);
		end[map[i]]++;
		/* The owner's entry, or one beside it. */
		__builtin_prefetch(slab->owner +
				   (slab_offset(places[i]) *
				    slab_slots(slab_map_class(map[i])) /
				    TMEM_SLAB_SIZE));
	}
	for (unsigned m = 1; m < MAPS; m++)
		end[m] = (uint16_t)(end[m] + end[m - 1]);
	for (unsigned i = count; i-- > 0;)
		sorted[--end[map[i]]] = places[i];
	/* Now they are starts: each class ends where the next begins. */
	while (from < count) {
		struct slab *slab = slab_at(slabs, slab_id(sorted[from]));
		unsigned m = slab_map_of(slab);
		unsigned to = m + 1 < MAPS ? end[m + 1] : count;

		free_class(slabs, slab_class_at(slabs, (uint8_t)m),
			   sorted + from, to - from, ends);
		from = to;
	}
}

static uint64_t trim_class(struct tmem_slabs *slabs, struct slab_class *c)
{
	uint32_t id;

	tmem_lock_acquire(&c->lock);
	id = c->kept;
	if (id != SLAB_NONE) {
		slab_unkeep(slabs, c);
		slab_unlist(slabs, c, id);
		c->slabs--;
	}
	tmem_lock_release(&c->lock);
	return id != SLAB_NONE ? slab_end(slabs, id) : 0;
}

uint64_t tmem_slab_trim(struct tmem_slabs *slabs)
{
	uint64_t bytes = 0;

	if (atomic_load_explicit(&slabs->kept, memory_order_relaxed) == 0)
		return 0;
	for (unsigned kind = 0; kind < TMEM_KINDS; kind++)
		for (unsigned i = 0; i < SLAB_CLASSES; i++)
			bytes += trim_class(slabs, &slabs->class[kind][i]);
	return bytes;
}
