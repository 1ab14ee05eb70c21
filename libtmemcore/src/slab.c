/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots for contents (slab.h): taking them, giving them back, finding them
 * again. The states of a slab are told in slab-priv.h.
 *
 * The slab map's byte is the only record of a slab in the arena. It is set
 * after the slab's bytes are there and before any content is placed, and
 * cleared before they are given back: a process that dies between leaves bytes
 * that no slab claims, which reopening gives back.
 *
 * Measured: a slot taken and given back, 33 ns with all of it in the cache; 80
 * ns among many slabs, and 140 when slabs were put to the front of their list
 * each time, which touches the records of their neighbours.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "fault.h"
#include "slab-priv.h"
#include "table.h"

static_assert(TMEM_TABLE_MAX < SLAB_FREE, "ids and free slots overlap");
static_assert(SLAB_CLASSES < 0x7f, "a class does not fit the slab map");

uint32_t tmem_slab_slot_size(uint32_t size)
{
	return slab_slot_bytes(slab_class_of(size));
}

void *tmem_slab_at(const struct tmem_slabs *slabs, uint64_t place)
{
	return slabs->base + place * TMEM_SLAB_UNIT;
}

uint32_t tmem_slab_bytes_at(const struct tmem_slabs *slabs, uint64_t place)
{
	return slab_slot_bytes(
		slab_map_class(slab_map_of(slab_at(slabs, slab_id(place)))));
}

enum tmem_kind tmem_slab_kind(const struct tmem_slabs *slabs, uint64_t place)
{
	return slab_map_kind(slab_map_of(slab_at(slabs, slab_id(place))));
}

void tmem_slab_prefetch(const struct tmem_slabs *slabs, uint64_t place)
{
	__builtin_prefetch(slab_at(slabs, slab_id(place)), 1);
}

void tmem_slab_prefetch_owner(const struct tmem_slabs *slabs, uint64_t place)
{
	const struct slab *slab = slab_at(slabs, slab_id(place));

	__builtin_prefetch(slab->owner + slab_offset(place) /
						 slab_slot_bytes(slab_map_class(
							 slab_map_of(slab))),
			   1);
}

/* Lists ------------------------------------------------------------------- */

static void link_slab(struct tmem_slabs *slabs, struct slab_class *c,
		      uint32_t id, unsigned bucket)
{
	struct slab *slab = slab_at(slabs, id);

	slab->state = (uint8_t)bucket;
	if (bucket == SLAB_FULL)
		return;
	slab->prev = SLAB_NONE;
	slab->next = c->head[bucket];
	if (slab->next != SLAB_NONE)
		slab_at(slabs, slab->next)->prev = id;
	c->head[bucket] = id;
	atomic_fetch_or_explicit(&c->listed, 1u << bucket,
				 memory_order_relaxed);
}

static void unlink_slab(struct tmem_slabs *slabs, struct slab_class *c,
			uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);
	unsigned bucket = slab->state;

	slab->state = SLAB_UNUSED;
	if (bucket >= SLAB_BUCKETS)
		return;
	if (slab->prev != SLAB_NONE)
		slab_at(slabs, slab->prev)->next = slab->next;
	else
		c->head[bucket] = slab->next;
	if (slab->next != SLAB_NONE)
		slab_at(slabs, slab->next)->prev = slab->prev;
	if (c->head[bucket] == SLAB_NONE)
		atomic_fetch_and_explicit(&c->listed, ~(1u << bucket),
					  memory_order_relaxed);
}

static unsigned bucket_of(const struct slab_class *c, const struct slab *slab)
{
	return slab->used * SLAB_BUCKETS / c->slots;
}

/* A slab's fullness has changed. Mostly it stays in its list, and the records
 * of its neighbours out of the cache. */
bool slab_relink(struct tmem_slabs *slabs, struct slab_class *c, uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);
	unsigned bucket = bucket_of(c, slab);

	if (slab->state == bucket)
		return false;
	unlink_slab(slabs, c, id);
	link_slab(slabs, c, id, bucket);
	return true;
}

void slab_list(struct tmem_slabs *slabs, struct slab_class *c, uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);

	tmem_lock_assert_held(&c->lock);
	link_slab(slabs, c, id, bucket_of(c, slab));
	atomic_fetch_add_explicit(&c->free, c->slots - slab->used,
				  memory_order_relaxed);
}

void slab_unlist(struct tmem_slabs *slabs, struct slab_class *c, uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);

	tmem_lock_assert_held(&c->lock);
	unlink_slab(slabs, c, id);
	atomic_fetch_sub_explicit(&c->free, c->slots - slab->used,
				  memory_order_relaxed);
}

/* Slabs ------------------------------------------------------------------- */

uint32_t slab_next(const struct tmem_slabs *slabs, uint32_t id)
{
	for (; id < slabs->count; id++) {
		if (!slab_group_at(slabs, id))
			id |= SLAB_GROUP - 1;
		else if (slab_map_of(slab_at(slabs, id)) != 0)
			return id;
	}
	return SLAB_NONE;
}

static void chain_free(uint32_t *owner, uint32_t slots)
{
	for (uint32_t i = 0; i + 1 < slots; i++)
		owner[i] = SLAB_FREE | (i + 1);
	owner[slots - 1] = SLAB_FREE_LAST;
}

static size_t owner_bytes(uint32_t slots)
{
	return slots * sizeof(uint32_t);
}

uint32_t *slab_make_owners(struct tmem_slabs *slabs, uint32_t slots)
{
	uint32_t *owner =
		tmem_budget_alloc(slabs->arena->budget, owner_bytes(slots));

	if (!owner)
		return NULL;
	chain_free(owner, slots);
	atomic_fetch_add_explicit(&slabs->private, owner_bytes(slots),
				  memory_order_relaxed);
	return owner;
}

void slab_free_owners(struct tmem_slabs *slabs, uint32_t *owner, uint32_t slots)
{
	tmem_budget_free(slabs->arena->budget, owner, owner_bytes(slots));
	atomic_fetch_sub_explicit(&slabs->private, owner_bytes(slots),
				  memory_order_relaxed);
}

void slab_set_map(struct tmem_slabs *slabs, uint32_t id, uint8_t map)
{
	/* Release: whoever reads the byte after us, in this process or the
	 * next, finds what went before it. */
	atomic_store_explicit(&slabs->map[id], map, memory_order_release);
	atomic_store_explicit(&slab_at(slabs, id)->map, map,
			      memory_order_relaxed);
}

/* The class's lock is held throughout, so that threads that find no slot at
 * once make one slab and not one each. */
static int new_slab(struct tmem_slabs *slabs, enum tmem_kind kind,
		    unsigned class, uint32_t *id)
{
	uint32_t *owner = slab_make_owners(slabs, slab_slots(class));
	struct slab *slab;
	int r;

	if (!owner)
		return -ENOMEM;
	r = slab_take(slabs, slab_pages(class), id);
	if (r < 0) {
		slab_free_owners(slabs, owner, slab_slots(class));
		return r;
	}
	slab = slab_at(slabs, *id);
	slab->owner = owner;
	slab->first_free = 0;
	slab->used = 0;
	slab_set_map(slabs, *id, slab_map_byte(kind, class));
	slabs->class[kind][class].slabs++;
	atomic_fetch_add_explicit(&slabs->bytes[kind], slab->pages * SLAB_PAGE,
				  memory_order_relaxed);
	return 0;
}

/* Slots ------------------------------------------------------------------- */

/* The slab to take a slot from; its free slots count already. */
static int pick_slab(struct tmem_slabs *slabs, enum tmem_kind kind,
		     unsigned class, bool grow, uint32_t *id)
{
	struct slab_class *c = &slabs->class[kind][class];
	uint32_t listed =
		atomic_load_explicit(&c->listed, memory_order_relaxed);
	int r;

	if (listed) {
		*id = c->head[31 - __builtin_clz(listed)];
		return 0;
	}
	r = grow ? new_slab(slabs, kind, class, id) : -ENOMEM;
	if (r == 0)
		slab_list(slabs, c, *id);
	return r;
}

static int alloc_in(struct tmem_slabs *slabs, enum tmem_kind kind,
		    unsigned class, uint32_t owner, bool grow, uint64_t *place)
{
	struct slab_class *c = &slabs->class[kind][class];
	uint32_t id, slot;
	int r;

	tmem_lock_acquire(&c->lock);
	r = pick_slab(slabs, kind, class, grow, &id);
	if (r == 0) {
		struct slab *slab = slab_at(slabs, id);

		slot = slab->first_free;
		slab->first_free = (uint16_t)slab->owner[slot];
		slab->owner[slot] = owner;
		slab->used++;
		c->used++;
		atomic_fetch_sub_explicit(&c->free, 1, memory_order_relaxed);
		slab_relink(slabs, c, id);
		*place = slab_place(id, c->slot_bytes, slot);
	}
	tmem_lock_release(&c->lock);
	return r;
}

/* A slot that is there, of class or one after it. */
static int alloc_stretched(struct tmem_slabs *slabs, enum tmem_kind kind,
			   unsigned class, uint32_t owner, uint64_t *place)
{
	for (; class < SLAB_CLASSES; class ++) {
		/* A peek: what is missed is a slot that came just now. */
		if (atomic_load_explicit(&slabs->class[kind][class].listed,
					 memory_order_relaxed) &&
		    alloc_in(slabs, kind, class, owner, false, place) == 0)
			return 0;
	}
	return -ENOMEM;
}

int tmem_slab_alloc(struct tmem_slabs *slabs, enum tmem_kind kind,
		    uint32_t size, uint32_t owner, unsigned how,
		    uint64_t *place)
{
	unsigned class = slab_class_of(size);
	bool raw = class >= SLAB_RAW, grow = !(how & TMEM_SLAB_NO_NEW);
	/* Raw slots are alike, in whatever lane. */
	unsigned larger = raw ? SLAB_RAW : class + 1;
	int r;

	assert(owner >= 1 && owner < SLAB_FREE);
	if (tmem_fault(TMEM_FAULT_SLAB))
		return -ENOMEM;
	/* What is moved is not to open a slab of the mover's lane. */
	if (raw && (how & TMEM_SLAB_STRETCH) &&
	    alloc_stretched(slabs, kind, larger, owner, place) == 0)
		return 0;
	r = alloc_in(slabs, kind, class, owner, grow, place);
	if (r < 0 && grow && tmem_slab_trim(slabs, TMEM_SLAB_SIZE) > 0)
		r = alloc_in(slabs, kind, class, owner, true, place);
	if (r < 0 && (raw || how & TMEM_SLAB_STRETCH) &&
	    alloc_stretched(slabs, kind, larger, owner, place) == 0)
		return 0;
	return r;
}
