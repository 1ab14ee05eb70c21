/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looking at the slabs from outside (slab.h): who owns a slot, statistics,
 * invariants, and their structure as text.
 *
 * Invariants:
 * 1. The map's byte is that of the slab's record, and names a class.
 * 2. A slab's free slots are one chain: all of them, each once.
 * 3. A slab is where its fullness says: listed in its eighth, or full.
 * 4. A class's counts are the sums over its slabs; so are the bytes a kind.
 * 5. A spare slab has the pages that its list says, and no class; their bytes
 *    are counted.
 */
#include <inttypes.h>
#include <stdarg.h>
#include "slab-priv.h"

struct checker {
	struct tmem_slabs *slabs;
	FILE *err;
	unsigned violations;
	/* Of each class, summed over the slabs. */
	struct tally {
		uint32_t slabs;
		uint32_t used;
		uint32_t unlisted;
	} tally[TMEM_KINDS][SLAB_CLASSES];
	uint64_t bytes[TMEM_KINDS];
};

__attribute__((format(printf, 2, 3))) static void
violation(struct checker *checker, const char *format, ...)
{
	va_list args;

	checker->violations++;
	if (!checker->err)
		return;
	va_start(args, format);
	vfprintf(checker->err, format, args);
	va_end(args);
	fputc('\n', checker->err);
}

uint32_t tmem_slab_owner(struct tmem_slabs *slabs, uint64_t place)
{
	uint32_t id, slot, owner = 0;
	struct slab_class *c;
	struct slab *slab;
	unsigned class;
	uint8_t map;

	if (place >= (uint64_t)slabs->count * TMEM_SLAB_SIZE / TMEM_SLAB_UNIT)
		return 0;
	id = slab_id(place);
	if (!slab_group_at(slabs, id))
		return 0;
	slab = slab_at(slabs, id);
	map = slab_map_of(slab);
	if (map == 0)
		return 0;
	class = slab_map_class(map);
	slot = slab_offset(place) / slab_slot_bytes(class);
	c = &slabs->class[slab_map_kind(map)][class];
	tmem_lock_acquire(&c->lock);
	if (slab_map_of(slab) == map && slot < slab_slots(class) &&
	    slab_place(id, c->slot_bytes, slot) == place &&
	    slab->owner[slot] < SLAB_FREE)
		owner = slab->owner[slot];
	tmem_lock_release(&c->lock);
	return owner;
}

void tmem_slab_stats(struct tmem_slabs *slabs, struct tmem_slab_stats *out)
{
	struct tmem_slab_stats stats = {0};

	for (unsigned kind = 0; kind < TMEM_KINDS; kind++) {
		for (unsigned i = 0; i < SLAB_CLASSES; i++) {
			struct slab_class *c = &slabs->class[kind][i];

			tmem_lock_acquire(&c->lock);
			stats.payload[kind] +=
				(uint64_t)c->used * slab_slot_bytes(i);
			stats.used_slots += c->used;
			stats.free_slots += atomic_load_explicit(
				&c->free, memory_order_relaxed);
			tmem_lock_release(&c->lock);
		}
		stats.bytes[kind] = atomic_load_explicit(&slabs->bytes[kind],
							 memory_order_relaxed);
	}
	tmem_lock_acquire(&slabs->ids);
	for (uint32_t i = 0; i < slabs->count; i += SLAB_MAP_PAGE)
		if (slabs->map_page[i / SLAB_MAP_PAGE])
			stats.map_bytes += SLAB_MAP_PAGE;
	tmem_lock_release(&slabs->ids);
	stats.spare_bytes =
		atomic_load_explicit(&slabs->spare_bytes, memory_order_relaxed);
	stats.private_bytes =
		atomic_load_explicit(&slabs->private, memory_order_relaxed);
	stats.slabs_freed =
		atomic_load_explicit(&slabs->freed, memory_order_relaxed);
	*out = stats;
}

/* Invariant 2. */
static void check_slots(struct checker *checker, uint32_t id,
			const struct slab *slab, uint32_t slots)
{
	uint32_t used = 0, chained = 0;

	for (uint32_t i = 0; i < slots; i++)
		used += slab->owner[i] < SLAB_FREE;
	if (used != slab->used)
		violation(checker, "slab %u: %u slots in use, counted %u", id,
			  used, slab->used);
	for (uint32_t i = slab->first_free; i != (uint16_t)SLAB_FREE_LAST;
	     i = (uint16_t)slab->owner[i]) {
		if (i >= slots || slab->owner[i] < SLAB_FREE ||
		    ++chained > slots) {
			violation(checker, "slab %u: free chain broken at %u",
				  id, i);
			return;
		}
	}
	if (chained != slots - used)
		violation(checker, "slab %u: %u free slots, %u in the chain",
			  id, slots - used, chained);
}

/* Invariants 1 and 3; adds to the class's tally. */
static void check_slab(struct checker *checker, uint32_t id)
{
	const struct slab *slab = slab_at(checker->slabs, id);
	uint8_t map = slab_map_of(slab);
	struct tally *tally;
	uint32_t slots;
	unsigned want;

	if (!slab_map_valid(map) ||
	    map != atomic_load_explicit(&checker->slabs->map[id],
					memory_order_relaxed)) {
		violation(checker, "slab %u: map byte 0x%02x, record 0x%02x",
			  id, checker->slabs->map[id], map);
		return;
	}
	slots = slab_slots(slab_map_class(map));
	check_slots(checker, id, slab, slots);
	want = slab->used * SLAB_BUCKETS / slots;
	if (slab->state != want || slab->used == 0 ||
	    slab->pages < slab_pages(slab_map_class(map)))
		violation(checker,
			  "slab %u: state %u, %u of %u slots used, %u pages",
			  id, slab->state, slab->used, slots, slab->pages);
	tally = &checker->tally[slab_map_kind(map)][slab_map_class(map)];
	checker->bytes[slab_map_kind(map)] += slab->pages * SLAB_PAGE;
	tally->slabs++;
	tally->used += slab->used;
	tally->unlisted += slab->state >= SLAB_BUCKETS;
}

/* Slabs in the lists of a class, and the free slots they have. */
static uint32_t count_listed(struct checker *checker, struct slab_class *c,
			     uint8_t map, uint32_t *free_slots)
{
	struct tmem_slabs *slabs = checker->slabs;
	uint32_t count = 0;

	for (unsigned b = 0; b < SLAB_BUCKETS; b++) {
		uint32_t prev = SLAB_NONE;

		if ((c->listed >> b & 1) != (c->head[b] != SLAB_NONE))
			violation(checker, "class 0x%02x: list %u is %s", map,
				  b, c->listed >> b & 1 ? "empty" : "hidden");
		for (uint32_t id = c->head[b]; id != SLAB_NONE;
		     id = slab_at(slabs, id)->next) {
			const struct slab *slab = slab_at(slabs, id);

			if (slab->prev != prev || slab->state != b ||
			    slab_map_of(slab) != map) {
				violation(checker, "slab %u: not of list %u",
					  id, b);
				break;
			}
			prev = id;
			count++;
			*free_slots +=
				slab_slots(slab_map_class(map)) - slab->used;
		}
	}
	return count;
}

/* Invariant 4, for one class. */
static void check_class(struct checker *checker, enum tmem_kind kind,
			unsigned class)
{
	struct tmem_slabs *slabs = checker->slabs;
	struct slab_class *c = &slabs->class[kind][class];
	uint8_t map = slab_map_byte(kind, class);
	const struct tally *tally = &checker->tally[kind][class];
	uint32_t free_slots = 0, listed;

	listed = count_listed(checker, c, map, &free_slots);
	if (tally->slabs != c->slabs || tally->used != c->used ||
	    free_slots != c->free || listed + tally->unlisted != c->slabs)
		violation(
			checker,
			"class 0x%02x: %u slabs, %u used, %u free; counted %u (%u listed, %u not), %u, %u",
			map, c->slabs, c->used, c->free, tally->slabs, listed,
			tally->unlisted, tally->used, free_slots);
}

/* Invariant 5. */
static void check_spare(struct checker *checker)
{
	struct tmem_slabs *slabs = checker->slabs;
	uint64_t bytes = 0;

	for (uint32_t n = 0; n <= SLAB_PAGES_MOST; n++) {
		uint32_t count = 0;

		for (uint32_t id = slabs->spare[n].head; id != SLAB_NONE;
		     id = slab_at(slabs, id)->next) {
			const struct slab *slab = slab_at(slabs, id);

			if (slab->state != SLAB_SPARE || slab->pages != n ||
			    slab->owner || slabs->map[id] != 0 ||
			    ++count > slabs->spare[n].count) {
				violation(checker, "slab %u: not spare", id);
				break;
			}
			bytes += n * SLAB_PAGE;
		}
		if (count != slabs->spare[n].count)
			violation(checker,
				  "%u spare slabs of %u pages, counted %u",
				  count, n, slabs->spare[n].count);
	}
	if (bytes != slabs->spare_bytes)
		violation(checker,
			  "%" PRIu64 " bytes in spare slabs, counted %" PRIu64,
			  bytes, slabs->spare_bytes);
}

unsigned tmem_slab_check(struct tmem_slabs *slabs, FILE *err)
{
	struct checker checker = {.slabs = slabs, .err = err};

	for (uint32_t id = slab_next(slabs, 0); id != SLAB_NONE;
	     id = slab_next(slabs, id + 1))
		check_slab(&checker, id);
	check_spare(&checker);
	/* Lists are not walked where slabs are not sound. */
	if (checker.violations)
		return checker.violations;
	for (unsigned kind = 0; kind < TMEM_KINDS; kind++) {
		for (unsigned i = 0; i < SLAB_CLASSES; i++)
			check_class(&checker, kind, i);
		if (checker.bytes[kind] != slabs->bytes[kind])
			violation(&checker,
				  "kind %u: %" PRIu64
				  " bytes in slabs, counted %" PRIu64,
				  kind, checker.bytes[kind],
				  slabs->bytes[kind]);
	}
	return checker.violations;
}

void tmem_slab_dump(struct tmem_slabs *slabs, FILE *out)
{
	static const char *const kind_name[] = {"ephemeral", "persistent"};

	for (unsigned kind = 0; kind < TMEM_KINDS; kind++) {
		for (unsigned i = 0; i < SLAB_CLASSES; i++) {
			const struct slab_class *c = &slabs->class[kind][i];

			if (c->slabs == 0)
				continue;
			fprintf(out,
				"class %s, slots of %u: %u slabs, %u slots "
				"used, %u free\n",
				kind_name[kind], slab_slot_bytes(i), c->slabs,
				c->used, c->free);
		}
	}
}
