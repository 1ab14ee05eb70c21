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

/* When to compact in the background. Simulated, pages replaced at random: to
 * keep less than a 300th that could be given back moves 0.01 contents a put in
 * a store of 1 GiB, and 0.06 in one of 64 MiB. */
#define SPARSE_HIGH  256u
#define SPARSE_LOW   1024u
#define SPARSE_LEAST (UINT64_C(4) * TMEM_SLAB_SIZE)
/* How often a slab gets another eighth emptier before somebody looks whether
 * that is so; adding it up takes 0.1 us. */
#define STIR_EVERY 64u

struct sweep {
	struct tmem_slabs *slabs;
	tmem_slab_move_fn *move;
	void *ctx;
	uint64_t moved;
	uint64_t emptied; /* bytes */
	struct tmem_slab_ends *ends;
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

/* End the slab if it fell empty, else list it again. Returns whether it is
 * empty. */
static bool end_drain(struct sweep *sweep, struct slab_class *c, uint32_t id)
{
	struct slab *slab = slab_at(sweep->slabs, id);
	bool empty;

	tmem_lock_acquire(&c->lock);
	empty = slab->used == 0;
	slab->state = SLAB_UNUSED;
	if (empty)
		c->slabs--;
	else
		slab_list(sweep->slabs, c, id);
	tmem_lock_release(&c->lock);
	if (empty) {
		sweep->emptied += slab->pages * SLAB_PAGE;
		slab_ends_add(sweep->slabs, sweep->ends, id);
	}
	if (sweep->ends->count == TMEM_SLAB_ENDS)
		tmem_slab_end_all(sweep->slabs, sweep->ends);
	return empty;
}

static bool drain(struct sweep *sweep, struct slab_class *c, unsigned class)
{
	struct tmem_slabs *slabs = sweep->slabs;
	uint32_t id = start_drain(slabs, c, class);

	if (id == SLAB_NONE)
		return false;
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
	return end_drain(sweep, c, id);
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

/* Bytes of slabs that compaction could empty. */
static uint64_t sparse_bytes(struct tmem_slabs *slabs)
{
	uint64_t bytes = 0;

	for (unsigned k = 0; k < TMEM_KINDS; k++)
		for (unsigned i = 0; i < SLAB_CLASSES; i++) {
			const struct slab_class *c = &slabs->class[k][i];
			uint32_t free = atomic_load_explicit(
				&c->free, memory_order_relaxed);

			if (free >= c->slots)
				bytes += (uint64_t)(free / c->slots) *
					 slab_pages(i) * SLAB_PAGE;
		}
	return bytes;
}

uint64_t tmem_slab_loose(struct tmem_slabs *slabs)
{
	return sparse_bytes(slabs) +
	       atomic_load_explicit(&slabs->spare_bytes, memory_order_relaxed);
}

/* Until slabs of so many bytes are empty. */
static void run(struct sweep *sweep, enum tmem_kind kind, uint64_t bytes)
{
	enum tmem_kind k = 0;
	unsigned class = 0;

	while (sweep->emptied < bytes && pick_class(sweep, kind, &k, &class))
		sweep->stuck[k][class] =
			!drain(sweep, &sweep->slabs->class[k][class], class);
}

uint64_t tmem_slab_compact(struct tmem_slabs *slabs, enum tmem_kind kind,
			   uint64_t bytes, bool keep, tmem_slab_move_fn *move,
			   void *ctx, uint64_t *moved)
{
	struct tmem_slab_ends ends;
	struct sweep sweep = {
		.slabs = slabs, .move = move, .ctx = ctx, .ends = &ends};

	tmem_slab_ends_init(&ends, keep);
	run(&sweep, kind, bytes);
	tmem_slab_end_all(slabs, &ends);
	*moved = sweep.moved;
	return ends.bytes;
}

uint64_t tmem_slab_compact_to(struct tmem_slabs *slabs, uint64_t bytes,
			      tmem_slab_move_fn *move, void *ctx,
			      struct tmem_slab_ends *ends)
{
	struct sweep sweep = {
		.slabs = slabs, .move = move, .ctx = ctx, .ends = ends};

	run(&sweep, TMEM_KINDS, bytes);
	return sweep.emptied;
}

/* In the background ------------------------------------------------------- */

void tmem_slab_set_wake(struct tmem_slabs *slabs, tmem_slab_wake_fn *wake,
			void *ctx)
{
	slabs->wake = wake;
	slabs->wake_ctx = ctx;
}

bool tmem_slab_sparse(struct tmem_slabs *slabs, bool begun)
{
	uint64_t sparse = sparse_bytes(slabs);

	return sparse >= SPARSE_LEAST &&
	       sparse > slab_bytes_in_use(slabs) /
				(begun ? SPARSE_LOW : SPARSE_HIGH);
}

void slab_stir(struct tmem_slabs *slabs, const struct slab_class *c)
{
	if (!slabs->wake ||
	    atomic_load_explicit(&c->free, memory_order_relaxed) < 2 * c->slots)
		return;
	if (atomic_fetch_add_explicit(&slabs->stirred, 1,
				      memory_order_relaxed) %
		    STIR_EVERY ==
	    0)
		slabs->wake(slabs->wake_ctx);
}
