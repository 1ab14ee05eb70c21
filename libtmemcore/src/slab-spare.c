/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slabs of no class: which there are, how they come from the kernel, how they
 * go back, and the spare ones between.
 *
 * A slab that falls empty is not given back at once: punching it out, taking
 * another and touching its pages costs some 35 us and happens all the time
 * where pages come and go. It becomes spare: its pages stay, charged, and
 * whoever needs a slab next, of whatever class and kind, takes it without a
 * system call if it has the right number of pages, and with a short one
 * otherwise.
 *
 *                reserve                      most
 *   |-- too few -----|---------- right ----------|-- half are punched out,
 *         ^                                          neighbours together
 *         `-- more are made in the background
 *
 * The reserve is a 512th of the memory in slabs, and there while the budget has
 * room. There may be a 16th where somebody looks after it, who gives
 * back what is more than the reserve a second after the last slab was taken
 * (upkeep.c), or where the budget is full: memory that eviction has freed for
 * puts to come, and nobody else can have. Elsewhere there may be two reserves.
 * Who needs memory for something else trims them (tmem_slab_trim()).
 *
 * A store that serves its own host's swap has a floor: slabs that were made
 * before anybody swapped. There a slab is taken as it is, with pages to spare
 * if need be, or not at all: taking some from the kernel may wait for whoever
 * waits for this page to be swapped, and so may giving some back, as both take
 * the file's lock. In the arena nothing says that they are there: to a reopened
 * store they are bytes that no slab claims.
 *
 * Measured, medians: 9 pages taken from the kernel 10 us, touched 14 us,
 * punched out 12 us; a slot in a slab that was spare 0.6 us, and as much for
 * giving it back.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "slab-priv.h"

/* Most pages of a slab that is not of raw pages, and the part of the floor that
 * is for these. */
#define READY_PAGES    11u
#define READY_RAW_PART 4u
/* Of the memory in slabs; at least and most, whatever is in slabs; and at most
 * of the budget. */
#define RESERVE_PART   512u
#define RESERVE_LEAST  (UINT64_C(4) * TMEM_SLAB_SIZE)
#define RESERVE_MOST   (UINT64_C(8) << 20)
#define RESERVE_BUDGET 256u
/* Part of a budget that is full: what eviction empties at a time, and more. */
#define SPARE_PART 16u
/* What two classes that take turns need, whatever the budget is. */
#define SPARE_LEAST (UINT64_C(2) * TMEM_SLAB_SIZE)

static uint64_t limit_of(const struct tmem_slabs *slabs)
{
	return atomic_load_explicit(&slabs->arena->budget->limit,
				    memory_order_relaxed);
}

uint64_t tmem_slab_spare(const struct tmem_slabs *slabs)
{
	return atomic_load_explicit(&slabs->spare_bytes, memory_order_relaxed);
}

static uint64_t floor_of(const struct tmem_slabs *slabs)
{
	return atomic_load_explicit(&slabs->floor, memory_order_relaxed);
}

/* Bytes of spare slabs that there should be. */
static uint64_t reserve(const struct tmem_slabs *slabs)
{
	uint64_t bytes = slab_bytes_in_use(slabs) / RESERVE_PART;
	uint64_t most = limit_of(slabs) / RESERVE_BUDGET;

	if (bytes < RESERVE_LEAST)
		bytes = RESERVE_LEAST;
	if (most > RESERVE_MOST)
		most = RESERVE_MOST;
	if (bytes > most)
		bytes = most;
	most = floor_of(slabs);
	return bytes > most ? bytes : most;
}

/* Whether there is memory for a reserve. */
static bool has_room(const struct tmem_slabs *slabs)
{
	uint64_t limit = limit_of(slabs);

	/* Asked for, it is there to be had as long as the budget is not full:
	 * who takes memory finds out. */
	if (floor_of(slabs))
		return true;
	return atomic_load_explicit(&slabs->arena->budget->used,
				    memory_order_relaxed) +
		       reserve(slabs) <
	       limit - limit / 8;
}

/* Bytes of spare slabs that there may be. */
static uint64_t most_spare(const struct tmem_slabs *slabs)
{
	uint64_t bytes = slabs->wake || !has_room(slabs)
				 ? limit_of(slabs) / SPARE_PART
				 : 2 * reserve(slabs);
	uint64_t least = 2 * floor_of(slabs);

	if (least < SPARE_LEAST)
		least = SPARE_LEAST;
	return bytes > least ? bytes : least;
}

/* Ids --------------------------------------------------------------------- */

int slab_make_group(struct tmem_slabs *slabs, uint32_t id)
{
	uint32_t page = id / SLAB_MAP_PAGE;
	struct slab_group *group;

	tmem_lock_assert_held(&slabs->ids);
	if (!slabs->map_page[page]) {
		int r = tmem_arena_take(slabs->arena, TMEM_PART_SLABMAP,
					(uint64_t)page * SLAB_MAP_PAGE,
					SLAB_MAP_PAGE);

		if (r < 0)
			return r;
		slabs->map_page[page] = 1;
	}
	group = tmem_budget_alloc(slabs->arena->budget, sizeof(*group));
	if (!group)
		return -ENOMEM;
	for (unsigned i = 0; i < SLAB_GROUP; i++)
		group->slab[i].state = SLAB_UNUSED;
	atomic_fetch_add_explicit(&slabs->private, sizeof(*group),
				  memory_order_relaxed);
	atomic_store_explicit(&slabs->group[id / SLAB_GROUP], group,
			      memory_order_release);
	return 0;
}

/* Take the lowest slab that nobody has. */
static int take_id_locked(struct tmem_slabs *slabs, uint32_t *out)
{
	uint32_t id = slabs->lowest;

	tmem_lock_assert_held(&slabs->ids);
	while (id < slabs->count) {
		struct slab_group *group = slab_group_at(slabs, id);
		uint32_t word = id % SLAB_GROUP / 64;
		uint64_t open;
		int r;

		if (!group) {
			r = slab_make_group(slabs, id);
			if (r < 0)
				return r;
			continue;
		}
		open = ~group->taken[word] & ~((1ull << id % 64) - 1);
		if (!open) {
			id = (id / 64 + 1) * 64;
			continue;
		}
		id = id / 64 * 64 + (uint32_t)__builtin_ctzll(open);
		if (id >= slabs->count)
			break;
		group->taken[word] |= 1ull << id % 64;
		slabs->lowest = id + 1;
		*out = id;
		return 0;
	}
	return -ENOSPC;
}

static void put_id_locked(struct tmem_slabs *slabs, uint32_t id)
{
	struct slab_group *group = slab_group_at(slabs, id);

	tmem_lock_assert_held(&slabs->ids);
	group->taken[id % SLAB_GROUP / 64] &= ~(1ull << id % 64);
	if (id < slabs->lowest)
		slabs->lowest = id;
}

/* Spare slabs ------------------------------------------------------------- */

static void push_spare(struct tmem_slabs *slabs, uint32_t id)
{
	struct slab *slab = slab_at(slabs, id);
	struct slab_spare *list = &slabs->spare[slab->pages];

	tmem_lock_assert_held(&slabs->ids);
	slab->state = SLAB_SPARE;
	slab->next = list->head;
	list->head = id;
	list->count++;
	atomic_fetch_add_explicit(&slabs->spare_bytes, slab->pages * SLAB_PAGE,
				  memory_order_relaxed);
}

static uint32_t pop_spare(struct tmem_slabs *slabs, uint32_t pages)
{
	struct slab_spare *list = &slabs->spare[pages];
	uint32_t id = list->head;

	tmem_lock_assert_held(&slabs->ids);
	if (id == SLAB_NONE)
		return id;
	list->head = slab_at(slabs, id)->next;
	list->count--;
	slab_at(slabs, id)->state = SLAB_UNUSED;
	atomic_fetch_sub_explicit(&slabs->spare_bytes, pages * SLAB_PAGE,
				  memory_order_relaxed);
	return id;
}

/* The spare slab that needs least to have so many pages: giving some back is
 * cheaper than taking some, and that cheaper than taking all. */
static uint32_t pop_fitting(struct tmem_slabs *slabs, uint32_t pages)
{
	uint32_t id = SLAB_NONE;

	for (uint32_t n = pages; n <= SLAB_PAGES_MOST && id == SLAB_NONE; n++)
		id = pop_spare(slabs, n);
	for (uint32_t n = pages; n-- > 1 && id == SLAB_NONE;)
		id = pop_spare(slabs, n);
	return id;
}

/* One of the most frequent kind. */
static uint32_t pop_common(struct tmem_slabs *slabs)
{
	uint32_t most = 0;

	for (uint32_t n = 1; n <= SLAB_PAGES_MOST; n++)
		if (slabs->spare[n].count > slabs->spare[most].count)
			most = n;
	return pop_spare(slabs, most);
}

/* Others may have these slabs: as they are, while some of their pages are
 * there. */
static void leave(struct tmem_slabs *slabs, const uint32_t *ids, unsigned count)
{
	tmem_lock_acquire(&slabs->ids);
	for (unsigned i = 0; i < count; i++) {
		if (slab_at(slabs, ids[i])->pages)
			push_spare(slabs, ids[i]);
		else
			put_id_locked(slabs, ids[i]);
	}
	tmem_lock_release(&slabs->ids);
}

/* From the kernel and back ------------------------------------------------ */

/* Give or take pages until there are so many. What the kernel does not take
 * back stays. */
static int fit(struct tmem_slabs *slabs, uint32_t id, uint32_t pages)
{
	struct slab *slab = slab_at(slabs, id);
	uint64_t offset = (uint64_t)id * TMEM_SLAB_SIZE;
	uint64_t has = slab->pages * SLAB_PAGE, needs = pages * SLAB_PAGE;
	int r;

	if (has > needs) {
		if (tmem_arena_give(slabs->arena, TMEM_PART_SLABS,
				    offset + needs, has - needs) == 0)
			slab->pages = (uint8_t)pages;
		return 0;
	}
	if (has == needs)
		return 0;
	r = tmem_arena_take(slabs->arena, TMEM_PART_SLABS, offset + has,
			    needs - has);
	if (r < 0)
		return r;
	tmem_arena_populate(slabs->arena, TMEM_PART_SLABS, offset + has,
			    needs - has);
	slab->pages = (uint8_t)pages;
	return 0;
}

/* Punch out neighbouring slabs. Returns bytes; 0 when the kernel refuses. */
static uint64_t punch_run(struct tmem_slabs *slabs, const uint32_t *ids,
			  unsigned count)
{
	uint64_t start = (uint64_t)ids[0] * TMEM_SLAB_SIZE, taken = 0;
	uint32_t last = ids[count - 1];
	uint64_t end = (uint64_t)last * TMEM_SLAB_SIZE +
		       slab_at(slabs, last)->pages * SLAB_PAGE;

	for (unsigned i = 0; i < count; i++)
		taken += slab_at(slabs, ids[i])->pages * SLAB_PAGE;
	if (tmem_arena_give_sparse(slabs->arena, TMEM_PART_SLABS, start,
				   end - start, taken) < 0)
		return 0;
	for (unsigned i = 0; i < count; i++)
		slab_at(slabs, ids[i])->pages = 0;
	atomic_fetch_add_explicit(&slabs->freed, count, memory_order_relaxed);
	return taken;
}

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint64_t slab_punch(struct tmem_slabs *slabs, uint32_t *ids, unsigned count,
		    _Atomic(uint64_t) *waiting)
{
	uint64_t bytes = 0;
	unsigned run;

	qsort(ids, count, sizeof(*ids), by_id);
	for (unsigned i = 0; i < count; i += run) {
		uint64_t wait = slab_at(slabs, ids[i])->pages * SLAB_PAGE;

		for (run = 1; i + run < count && ids[i + run] == ids[i] + run;
		     run++)
			wait += slab_at(slabs, ids[i + run])->pages * SLAB_PAGE;
		bytes += punch_run(slabs, &ids[i], run);
		if (waiting)
			atomic_fetch_sub(waiting, wait);
	}
	leave(slabs, ids, count);
	return bytes;
}

/* Give spare slabs back until no more than keep bytes are left. */
static uint64_t trim_to(struct tmem_slabs *slabs, uint64_t keep)
{
	uint32_t ids[TMEM_SLAB_ENDS];
	uint64_t bytes = 0, some;

	do {
		unsigned count = 0;

		tmem_lock_acquire(&slabs->ids);
		while (count < TMEM_SLAB_ENDS && tmem_slab_spare(slabs) > keep)
			ids[count++] = pop_common(slabs);
		tmem_lock_release(&slabs->ids);
		some = slab_punch(slabs, ids, count, NULL);
		bytes += some;
	} while (some);
	return bytes;
}

uint64_t tmem_slab_trim(struct tmem_slabs *slabs, uint64_t bytes)
{
	uint64_t spare = tmem_slab_spare(slabs);

	if (!spare || floor_of(slabs))
		return 0;
	return trim_to(slabs, spare > bytes ? spare - bytes : 0);
}

static bool above_reserve(const struct tmem_slabs *slabs)
{
	return tmem_slab_spare(slabs) > reserve(slabs);
}

bool tmem_slab_untidy(struct tmem_slabs *slabs)
{
	/* Who leaves slabs after the look wakes. */
	atomic_store(&slabs->untidy, false);
	if (!above_reserve(slabs))
		return false;
	atomic_store(&slabs->untidy, true);
	return true;
}

void tmem_slab_tidy(struct tmem_slabs *slabs)
{
	atomic_store(&slabs->untidy, false);
	trim_to(slabs, reserve(slabs));
}

uint64_t tmem_slab_taken(const struct tmem_slabs *slabs)
{
	return atomic_load_explicit(&slabs->taken, memory_order_relaxed);
}

/* A spare slab of so many pages, or more. */
static int take_ready(struct tmem_slabs *slabs, uint32_t pages, uint32_t *out)
{
	uint32_t id = SLAB_NONE;

	tmem_lock_acquire(&slabs->ids);
	for (uint32_t n = pages; n <= SLAB_PAGES_MOST && id == SLAB_NONE; n++)
		id = pop_spare(slabs, n);
	tmem_lock_release(&slabs->ids);
	if (id == SLAB_NONE)
		return -ENOMEM;
	*out = id;
	return 0;
}

int slab_take(struct tmem_slabs *slabs, uint32_t pages, uint32_t *out)
{
	uint32_t id;
	int r = 0;

	if (floor_of(slabs))
		return take_ready(slabs, pages, out);
	tmem_lock_acquire(&slabs->ids);
	slabs->wanted = pages;
	atomic_fetch_add_explicit(&slabs->taken, 1, memory_order_relaxed);
	id = pop_fitting(slabs, pages);
	if (id == SLAB_NONE)
		r = take_id_locked(slabs, &id);
	tmem_lock_release(&slabs->ids);
	if (r < 0)
		return r;
	if (slabs->wake && tmem_slab_spare(slabs) < reserve(slabs) / 2 &&
	    has_room(slabs))
		slabs->wake(slabs->wake_ctx);
	r = fit(slabs, id, pages);
	if (r < 0)
		leave(slabs, &id, 1);
	else
		*out = id;
	return r;
}

uint64_t slab_leave(struct tmem_slabs *slabs, uint32_t *ids, unsigned count,
		    bool keep)
{
	uint64_t bytes = 0;

	if (!keep || tmem_budget_excess(slabs->arena->budget))
		return slab_punch(slabs, ids, count, NULL);
	for (unsigned i = 0; i < count; i++)
		bytes += slab_at(slabs, ids[i])->pages * SLAB_PAGE;
	leave(slabs, ids, count);
	if (tmem_slab_spare(slabs) > most_spare(slabs))
		trim_to(slabs, most_spare(slabs) / 2);
	/* Not only when they come to be too many: the reserve gets smaller too.
	 */
	if (slabs->wake && above_reserve(slabs) &&
	    !atomic_load(&slabs->untidy) &&
	    !atomic_exchange(&slabs->untidy, true))
		slabs->wake(slabs->wake_ctx);
	return bytes;
}

void tmem_slab_set_floor(struct tmem_slabs *slabs, uint64_t bytes)
{
	atomic_store_explicit(&slabs->floor, bytes, memory_order_relaxed);
}

void tmem_slab_touch(struct tmem_slabs *slabs)
{
	for (uint32_t page = 0; page * SLAB_MAP_PAGE < slabs->count; page++)
		if (slabs->map_page[page])
			tmem_arena_populate(slabs->arena, TMEM_PART_SLABMAP,
					    (uint64_t)page * SLAB_MAP_PAGE,
					    SLAB_MAP_PAGE);
	for (uint32_t id = 0; id < slabs->count; id++) {
		struct slab_group *group = slab_group_at(slabs, id);

		if (!group)
			id += SLAB_GROUP - 1 - id % SLAB_GROUP;
		else if (slab_at(slabs, id)->pages)
			tmem_arena_populate(slabs->arena, TMEM_PART_SLABS,
					    (uint64_t)id * TMEM_SLAB_SIZE,
					    slab_at(slabs, id)->pages *
						    SLAB_PAGE);
	}
}

/* What the next slab of the floor is for. */
static uint32_t ready_pages(const struct tmem_slabs *slabs)
{
	uint64_t raw =
		(uint64_t)slabs->spare[SLAB_PAGES_MOST].count * TMEM_SLAB_SIZE;

	tmem_lock_assert_held(&slabs->ids);
	return raw < floor_of(slabs) / READY_RAW_PART ? SLAB_PAGES_MOST
						      : READY_PAGES;
}

bool tmem_slab_reserve(struct tmem_slabs *slabs)
{
	uint32_t id, pages;
	int r;

	if (tmem_slab_spare(slabs) + TMEM_SLAB_SIZE > reserve(slabs) ||
	    !has_room(slabs))
		return false;
	tmem_lock_acquire(&slabs->ids);
	pages = floor_of(slabs) ? ready_pages(slabs) : slabs->wanted;
	r = pages ? take_id_locked(slabs, &id) : -ENOENT;
	tmem_lock_release(&slabs->ids);
	if (r < 0)
		return false;
	r = fit(slabs, id, pages);
	leave(slabs, &id, 1);
	return r == 0;
}
