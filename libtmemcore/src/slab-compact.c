/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compaction (tmem_slab_compact() in slab.h): the sparsest slab of the class
 * with most free bytes is taken out of its list, so that no slot of it is given
 * out, and its contents are moved one by one by the caller's function, which
 * takes a slot elsewhere, as any put does, and gives the old one back. Puts and
 * flushes go on meanwhile; what they free in the slab is simply gone when the
 * sweep comes by. A slab that does not fall empty (a content was busy, or there
 * was no slot for it) is listed again, and its class left alone until the next
 * call.
 */
#include <errno.h>
#include "slab-priv.h"

/* Slabs looked at to find the sparsest: all of them are in the same eighth of
 * fullness, so that looking further gains little. */
#define LOOK 32u

struct sweep {
	struct tmem_slabs *slabs;
	tmem_slab_move_fn *move;
	void *ctx;
	uint64_t moved;
	bool stuck[TMEM_KINDS][SLAB_CLASSES];
};

/* Take the sparsest slab out of its list, if its contents fit in the free
 * slots of the others. */
static uint32_t start_drain(struct tmem_slabs *slabs, struct slab_class *c,
			    unsigned class)
{
	uint32_t listed, best;

	tmem_lock_acquire(&c->lock);
	listed = atomic_load_explicit(&c->listed, memory_order_relaxed);
	if (!listed || atomic_load_explicit(&c->free, memory_order_relaxed) <
			       slab_slots(class)) {
		tmem_lock_release(&c->lock);
		return SLAB_NONE;
	}
	best = c->head[__builtin_ctz(listed)];
	for (uint32_t id = best, looked = 0; id != SLAB_NONE && looked < LOOK;
	     id = slab_at(slabs, id)->next, looked++)
		if (slab_at(slabs, id)->used < slab_at(slabs, best)->used)
			best = id;
	slab_unlist(slabs, c, best);
	slab_at(slabs, best)->state = SLAB_DRAINING;
	tmem_lock_release(&c->lock);
	return best;
}

/* End the slab if it fell empty, else list it again. Returns bytes given
 * back. */
static uint64_t end_drain(struct tmem_slabs *slabs, struct slab_class *c,
			  uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);
	bool empty;

	tmem_lock_acquire(&c->lock);
	empty = slab->used == 0;
	slab->state = SLAB_UNUSED;
	if (empty)
		c->slabs--;
	else
		slab_list(slabs, c, id);
	tmem_lock_release(&c->lock);
	return empty ? slab_end(slabs, id) : 0;
}

static uint64_t drain(struct sweep *sweep, struct slab_class *c, unsigned class)
{
	struct tmem_slabs *slabs = sweep->slabs;
	uint32_t id = start_drain(slabs, c, class);

	if (id == SLAB_NONE)
		return 0;
	for (uint32_t slot = 0; slot < slab_slots(class); slot++) {
		uint32_t owner;
		int r;

		tmem_lock_acquire(&c->lock);
		owner = slab_at(slabs, id)->owner[slot];
		tmem_lock_release(&c->lock);
		if (owner >= SLAB_FREE)
			continue;
		r = sweep->move(sweep->ctx, owner,
				slab_place(id, c->slot_bytes, slot));
		if (r == 0)
			sweep->moved++;
		else if (r == -ENOMEM)
			break;
	}
	return end_drain(slabs, c, id);
}

/* The class that wastes most, of those that can give back a slab. A class is
 * peeked at without its lock: start_drain() looks again. */
static bool pick_class(const struct sweep *sweep, enum tmem_kind kind,
		       enum tmem_kind *out_kind, unsigned *out_class)
{
	uint64_t most = 0;

	for (unsigned k = 0; k < TMEM_KINDS; k++) {
		for (unsigned i = 0; i < SLAB_CLASSES; i++) {
			const struct slab_class *c = &sweep->slabs->class[k][i];
			uint64_t free = atomic_load_explicit(
				&c->free, memory_order_relaxed);

			if ((kind != TMEM_KINDS && k != kind) ||
			    sweep->stuck[k][i] || free < slab_slots(i) ||
			    free * slab_slot_bytes(i) <= most)
				continue;
			most = free * slab_slot_bytes(i);
			*out_kind = k;
			*out_class = i;
		}
	}
	return most > 0;
}

uint64_t tmem_slab_spare(struct tmem_slabs *slabs)
{
	uint64_t spare = 0;

	for (unsigned k = 0; k < TMEM_KINDS; k++)
		for (unsigned i = 0; i < SLAB_CLASSES; i++)
			spare += atomic_load_explicit(&slabs->class[k][i].free,
						      memory_order_relaxed) /
				 slab_slots(i);
	return spare * TMEM_SLAB_SIZE;
}

uint64_t tmem_slab_compact(struct tmem_slabs *slabs, enum tmem_kind kind,
			   uint64_t bytes, tmem_slab_move_fn *move, void *ctx,
			   uint64_t *moved)
{
	struct sweep sweep = {.slabs = slabs, .move = move, .ctx = ctx};
	uint64_t freed = tmem_slab_trim(slabs);
	enum tmem_kind k = 0;
	unsigned class = 0;

	while (freed < bytes && pick_class(&sweep, kind, &k, &class)) {
		uint64_t n = drain(&sweep, &slabs->class[k][class], class);

		sweep.stuck[k][class] = n == 0;
		freed += n;
	}
	*moved = sweep.moved;
	return freed;
}
