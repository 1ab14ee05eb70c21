/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stamped pages: handles that all threads use at once.
 *
 * Each page has a clock. An operation takes a tick before it starts and, when
 * it changes something, one after it returned; a put's start tick is its stamp
 * and is written into the page. What a linearizable store may return is then
 * decided by few rules, none of which needs to know the true order:
 *
 *  - A put is dead once some operation that proves a later state (a put, a
 *    flush, a miss, a hit of another put) started after the put had ended, and
 *    itself has ended. A get that starts after that must not return it. `dead`
 *    is the latest start of such an operation; a put is dead if it ended
 *    before `dead`.
 *  - A refused put was never seen, and what an exclusive get returned is never
 *    returned again: such puts end at tick 0, before everything.
 *  - A persistent page may be missed only if something that removes (a flush,
 *    a refused put) ended after the latest put that was stored before the
 *    get had started, or is under way (any put may yet be refused).
 *
 * Ticks taken early at the start and late at the end only make the rules more
 * lenient, never wrong.
 */
#include "model.h"

#include <string.h>
#include "pages.h"

#define STAMPED_RUNS UINT32_MAX
#define STAMPED_DEAD 0u
#define STAMPED_TAG  0x7ull

static uint64_t slot_of(uint32_t start, uint32_t end)
{
	return (uint64_t)start << 32 | end;
}

static void raise_to(_Atomic(uint32_t) *value, uint32_t to)
{
	uint32_t old = *value;

	while (old < to && !atomic_compare_exchange_weak(value, &old, to))
		;
}

/* A quarter of the stamps make the same bytes in every handle, so that stamped
 * pages of different handles share contents. */
static uint64_t seed_of(enum model_kind kind, unsigned object, unsigned i,
			uint32_t stamp)
{
	uint64_t handle = ((uint64_t)kind << 16) | (object << 8) | i;

	if (test_mix(stamp) % 4 == 0)
		handle = 0xffffff;
	return STAMPED_TAG << 60 | handle << 32 | stamp;
}

void stamped_make(void *bytes, enum model_kind kind, unsigned object,
		  unsigned i, uint32_t stamp)
{
	uint64_t seed = seed_of(kind, object, i, stamp);

	/* Any kind of page that carries its seed. */
	test_page_of(bytes, 1 + test_mix(seed) % (TEST_PAGE_KINDS - 1), seed);
}

uint32_t stamped_put_starts(struct stamped_page *page)
{
	uint32_t stamp;
	uint64_t old;
	_Atomic(uint64_t) *slot;

	page->in_flight++;
	stamp = ++page->clock;
	slot = &page->slot[stamp % STAMPED_SLOTS];
	old = *slot;
	/* A put so slow that others came round to its slot keeps it. */
	if ((uint32_t)old == STAMPED_RUNS ||
	    !atomic_compare_exchange_strong(slot, &old,
					    slot_of(stamp, STAMPED_RUNS))) {
		page->in_flight--;
		return 0;
	}
	return stamp;
}

void stamped_put_ends(struct model *model, struct stamped_page *page,
		      uint32_t stamp, int outcome)
{
	uint32_t end = ++page->clock;
	uint64_t runs = slot_of(stamp, STAMPED_RUNS);

	if (outcome != TMEM_OK && outcome != TMEM_REFUSED)
		model_fail(model, "put returned %d", outcome);
	/* Fails when an exclusive get has taken the page already. */
	atomic_compare_exchange_strong(
		&page->slot[stamp % STAMPED_SLOTS], &runs,
		slot_of(stamp, outcome == TMEM_OK ? end : STAMPED_DEAD));
	raise_to(&page->dead, stamp);
	if (outcome == TMEM_OK)
		raise_to(&page->put_start, stamp);
	else
		raise_to(&page->removed, end);
	page->in_flight--;
}

uint32_t stamped_flush_starts(struct stamped_page *page)
{
	page->in_flight++;
	return ++page->clock;
}

void stamped_flush_ends(struct stamped_page *page, uint32_t start)
{
	raise_to(&page->dead, start);
	raise_to(&page->removed, ++page->clock);
	page->in_flight--;
}

struct stamped_get stamped_get_starts(struct stamped_page *page)
{
	return (struct stamped_get){
		.start = ++page->clock,
		.dead = page->dead,
		.put_start = page->put_start,
	};
}

static void got_miss(struct model *model, enum model_kind kind,
		     struct stamped_page *page, struct stamped_get get)
{
	if (model_is_persistent(kind) && page->in_flight == 0 &&
	    page->removed < get.put_start)
		model_fail(
			model,
			"stamped page %td of kind %d is lost: put at %u, last removed at %u, missed at %u",
			page - &model->stamped[0][0][0], kind, get.put_start,
			page->removed, get.start);
	raise_to(&page->dead, get.start);
}

void stamped_got(struct model *model, enum model_kind kind, unsigned object,
		 unsigned i, struct stamped_get get, int outcome,
		 const void *bytes)
{
	struct stamped_page *page = &model->stamped[kind][object][i];
	uint64_t expected[TMEM_PAGE_SIZE / sizeof(uint64_t)];
	uint32_t stamp = (uint32_t)test_page_seed(bytes);
	_Atomic(uint64_t) *slot = &page->slot[stamp % STAMPED_SLOTS];
	uint64_t put = *slot;
	uint32_t start = put >> 32;
	uint32_t end = (uint32_t)put;

	if (outcome == TMEM_MISS) {
		got_miss(model, kind, page, get);
		return;
	}
	if (outcome != TMEM_OK)
		model_fail(model, "get returned %d", outcome);
	stamped_make(expected, kind, object, i, stamp);
	if (memcmp(bytes, expected, TMEM_PAGE_SIZE) != 0)
		model_fail(
			model,
			"stamped page %td of kind %d: bytes of another page or damaged, first word %#jx",
			page - &model->stamped[0][0][0], kind,
			(uintmax_t)test_page_seed(bytes));
	if (start < stamp)
		model_fail(model, "stamped page never put: %u", stamp);
	if (start == stamp ? end == STAMPED_DEAD || end < get.dead
			   : start <= get.dead)
		model_fail(
			model,
			"stamped page %td of kind %d is stale: put %u to %u, read at %u, dead since %u",
			page - &model->stamped[0][0][0], kind, stamp, end,
			get.start, get.dead);
	raise_to(&page->dead, stamp);
	if (kind != MODEL_EXCLUSIVE || start != stamp)
		return;
	/* The put may just have ended: then its slot changed. */
	while (!atomic_compare_exchange_weak(slot, &put,
					     slot_of(stamp, STAMPED_DEAD)))
		if (put >> 32 != stamp)
			return;
	if ((uint32_t)put == STAMPED_DEAD)
		model_fail(model, "stamped page %u was got twice", stamp);
}

void stamped_recovered(struct stamped_page *page, int outcome,
		       const void *bytes)
{
	uint32_t stamp =
		outcome == TMEM_OK ? (uint32_t)test_page_seed(bytes) : 0;

	for (unsigned i = 0; i < STAMPED_SLOTS; i++) {
		uint64_t put = page->slot[i];

		if ((uint32_t)put != STAMPED_RUNS)
			continue;
		page->slot[i] =
			slot_of(put >> 32, put >> 32 == stamp ? ++page->clock
							      : STAMPED_DEAD);
	}
	if (stamp)
		raise_to(&page->put_start, stamp);
	else
		raise_to(&page->removed, ++page->clock);
	page->in_flight = 0;
}
