/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making the slabs of a store, and finding them again in a reopened arena
 * (slab.h). The slab map says which slabs there are; the content records, which
 * their owner goes through, say which slots are in use.
 */
#include <errno.h>
#include <stdlib.h>
#include "fault.h"
#include "slab-priv.h"

static size_t group_bytes(const struct tmem_slabs *slabs)
{
	return slabs->groups * sizeof(*slabs->group);
}

static uint32_t map_pages(const struct tmem_slabs *slabs)
{
	return (slabs->count + SLAB_MAP_PAGE - 1) / SLAB_MAP_PAGE;
}

static int init_locks(struct tmem_slabs *slabs)
{
	int r = tmem_lock_init(&slabs->ids, TMEM_LOCK_ARENA);

	for (unsigned kind = 0; kind < TMEM_KINDS && r == 0; kind++)
		for (unsigned i = 0; i < SLAB_CLASSES && r == 0; i++)
			r = tmem_lock_init(&slabs->class[kind][i].lock,
					   TMEM_LOCK_SLAB);
	return r;
}

static void init_classes(struct tmem_slabs *slabs)
{
	for (unsigned kind = 0; kind < TMEM_KINDS; kind++) {
		for (unsigned i = 0; i < SLAB_CLASSES; i++) {
			struct slab_class *c = &slabs->class[kind][i];

			c->slots = slab_slots(i);
			c->slot_bytes = slab_slot_bytes(i);
			for (unsigned b = 0; b < SLAB_BUCKETS; b++)
				c->head[b] = SLAB_NONE;
		}
	}
	for (unsigned n = 0; n <= SLAB_PAGES_MOST; n++)
		slabs->spare[n].head = SLAB_NONE;
}

/* Slab id is in the map as map says: a record for it, all slots free. */
static int find_slab(struct tmem_slabs *slabs, uint32_t id, uint8_t map)
{
	struct slab_group *group = slab_group_at(slabs, id);
	unsigned class = slab_map_class(map);
	uint32_t bytes = slab_pages(class) * SLAB_PAGE;
	struct slab *slab;
	int r;

	if (!group) {
		r = slab_make_group(slabs, id);
		if (r < 0)
			return r;
		group = slab_group_at(slabs, id);
	}
	slab = slab_at(slabs, id);
	slab->owner = slab_make_owners(slabs, slab_slots(class));
	if (!slab->owner)
		return -ENOMEM;
	slab->first_free = 0;
	slab->used = 0;
	/* A copy of an arena may have holes where nothing was written. */
	r = tmem_arena_adopt(slabs->arena, TMEM_PART_SLABS,
			     (uint64_t)id * TMEM_SLAB_SIZE, bytes);
	if (r < 0) {
		slab_free_owners(slabs, slab->owner, slab_slots(class));
		slab->owner = NULL;
		return r;
	}
	group->taken[id % SLAB_GROUP / 64] |= 1ull << id % 64;
	slab->pages = (uint8_t)slab_pages(class);
	atomic_store_explicit(&slab->map, map, memory_order_relaxed);
	atomic_fetch_add_explicit(&slabs->bytes[slab_map_kind(map)], bytes,
				  memory_order_relaxed);
	slabs->class[slab_map_kind(map)][class].slabs++;
	return 0;
}

static int find_page(struct tmem_slabs *slabs, uint32_t page)
{
	uint32_t id = page * SLAB_MAP_PAGE;
	int r = tmem_arena_adopt(slabs->arena, TMEM_PART_SLABMAP,
				 (uint64_t)page * SLAB_MAP_PAGE, SLAB_MAP_PAGE);

	if (r < 0)
		return r;
	slabs->map_page[page] = 1;
	for (; id < slabs->count && id / SLAB_MAP_PAGE == page; id++) {
		uint8_t map = atomic_load_explicit(&slabs->map[id],
						   memory_order_relaxed);

		if (slab_map_valid(map))
			r = find_slab(slabs, id, map);
		else if (map != 0)
			atomic_store_explicit(&slabs->map[id], 0,
					      memory_order_relaxed);
		if (r < 0)
			return r;
	}
	return 0;
}

static int find_all(struct tmem_slabs *slabs)
{
	uint64_t start, end = 0;

	while (tmem_arena_next_extent(slabs->arena, TMEM_PART_SLABMAP, end,
				      &start, &end) == 0) {
		uint64_t page = start / SLAB_MAP_PAGE;

		for (; page * SLAB_MAP_PAGE < end && page < map_pages(slabs);
		     page++) {
			int r = find_page(slabs, (uint32_t)page);

			if (r < 0)
				return r;
		}
	}
	/* A page that was taken and never written to is not found. */
	for (uint32_t page = 0; page < map_pages(slabs); page++)
		if (!slabs->map_page[page])
			tmem_arena_scrub(slabs->arena, TMEM_PART_SLABMAP,
					 (uint64_t)page * SLAB_MAP_PAGE,
					 SLAB_MAP_PAGE);
	return 0;
}

int tmem_slabs_new(struct tmem_arena *arena, struct tmem_slabs **out)
{
	struct tmem_slabs *slabs =
		tmem_budget_alloc(arena->budget, sizeof(*slabs));
	int r;

	if (!slabs)
		return -ENOMEM;
	slabs->arena = arena;
	slabs->base = tmem_arena_part(arena, TMEM_PART_SLABS);
	slabs->map = tmem_arena_part(arena, TMEM_PART_SLABMAP);
	slabs->count =
		(uint32_t)(arena->part[TMEM_PART_SLABS].size / TMEM_SLAB_SIZE);
	slabs->groups = (slabs->count + SLAB_GROUP - 1) / SLAB_GROUP;
	init_classes(slabs);
	r = init_locks(slabs);
	if (r < 0)
		goto err;
	slabs->group = tmem_budget_alloc(arena->budget, group_bytes(slabs));
	slabs->map_page = tmem_budget_alloc(arena->budget, map_pages(slabs));
	r = slabs->group && slabs->map_page ? 0 : -ENOMEM;
	if (r < 0)
		goto err;
	atomic_fetch_add_explicit(&slabs->private,
				  sizeof(*slabs) + group_bytes(slabs) +
					  map_pages(slabs),
				  memory_order_relaxed);
	if (arena->reopened) {
		tmem_lock_acquire(&slabs->ids);
		r = find_all(slabs);
		tmem_lock_release(&slabs->ids);
	}
	if (r < 0)
		goto err;
	*out = slabs;
	return 0;
err:
	tmem_slabs_free(slabs);
	return r;
}

struct tmem_slabs *tmem_slabs_free(struct tmem_slabs *slabs)
{
	struct tmem_budget *budget;

	if (!slabs)
		return NULL;
	budget = slabs->arena->budget;
	if (slabs->group && slabs->map_page) {
		for (uint32_t id = slab_next(slabs, 0); id != SLAB_NONE;
		     id = slab_next(slabs, id + 1)) {
			uint8_t map = slab_map_of(slab_at(slabs, id));

			slab_free_owners(slabs, slab_at(slabs, id)->owner,
					 slab_slots(slab_map_class(map)));
		}
		for (uint32_t g = 0; g < slabs->groups; g++)
			tmem_budget_free(budget,
					 slab_group_at(slabs, g * SLAB_GROUP),
					 sizeof(struct slab_group));
	}
	for (unsigned kind = 0; kind < TMEM_KINDS; kind++)
		for (unsigned i = 0; i < SLAB_CLASSES; i++)
			tmem_lock_deinit(&slabs->class[kind][i].lock);
	tmem_lock_deinit(&slabs->ids);
	tmem_budget_free(budget, slabs->group, group_bytes(slabs));
	tmem_budget_free(budget, slabs->map_page, map_pages(slabs));
	tmem_budget_free(budget, slabs, sizeof(*slabs));
	return NULL;
}

int tmem_slab_found(struct tmem_slabs *slabs, uint64_t place, uint32_t size,
		    enum tmem_kind kind, uint32_t owner)
{
	uint32_t id, slot_bytes, slot;
	struct slab *slab;
	uint8_t map;

	if (place >= (uint64_t)slabs->count * TMEM_SLAB_SIZE / TMEM_SLAB_UNIT)
		return -EBADMSG;
	id = slab_id(place);
	if (!slab_group_at(slabs, id))
		return -EBADMSG;
	slab = slab_at(slabs, id);
	map = slab_map_of(slab);
	if (map == 0 || slab_map_kind(map) != kind)
		return -EBADMSG;
	slot_bytes = slab_slot_bytes(slab_map_class(map));
	slot = slab_offset(place) / slot_bytes;
	if (slab_offset(place) % slot_bytes != 0 || size > slot_bytes ||
	    slot >= slab_slots(slab_map_class(map)) ||
	    slab->owner[slot] < SLAB_FREE || owner == 0 || owner >= SLAB_FREE)
		return -EBADMSG;
	slab->owner[slot] = owner;
	slab->used++;
	return 0;
}

/* Chain the slots that were not found, lowest first. */
static void chain_rest(struct slab *slab, uint32_t slots)
{
	uint32_t next = SLAB_FREE_LAST;

	for (uint32_t i = slots; i-- > 0;) {
		if (slab->owner[i] < SLAB_FREE)
			continue;
		slab->owner[i] = next;
		next = SLAB_FREE | i;
	}
	slab->first_free = (uint16_t)next;
}

static void settle_slab(struct tmem_slabs *slabs, uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);
	uint8_t map = slab_map_of(slab);
	struct slab_class *c =
		&slabs->class[slab_map_kind(map)][slab_map_class(map)];

	tmem_lock_acquire(&c->lock);
	chain_rest(slab, slab_slots(slab_map_class(map)));
	c->used += slab->used;
	slab_list(slabs, c, id);
	tmem_lock_release(&c->lock);
}

/* Bytes of the slabs part that nobody claims. */
static void scrub(struct tmem_slabs *slabs, uint64_t from, uint64_t to)
{
	if (from < to)
		tmem_arena_scrub(slabs->arena, TMEM_PART_SLABS, from,
				 to - from);
}

void tmem_slab_settle(struct tmem_slabs *slabs)
{
	uint64_t end = 0; /* of the last slab */

	for (uint32_t id = slab_next(slabs, 0); id != SLAB_NONE;
	     id = slab_next(slabs, id + 1)) {
		struct slab *slab = slab_at(slabs, id);
		uint64_t start = (uint64_t)id * TMEM_SLAB_SIZE;
		uint8_t map = slab_map_of(slab);

		scrub(slabs, end, start);
		end = start + slab->pages * SLAB_PAGE;
		if (slab->used > 0) {
			settle_slab(slabs, id);
			continue;
		}
		slab_class_at(slabs, map)->slabs--;
		slab_end(slabs, &id, 1, false);
	}
	scrub(slabs, end, (uint64_t)slabs->count * TMEM_SLAB_SIZE);
}
