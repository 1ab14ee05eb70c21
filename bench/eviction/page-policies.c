/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Policies at the grain of pages, as their papers have them: CLOCK (Corbato
 * 1968), 2Q (Johnson and Shasha 1994), ARC (Megiddo and Modha 2003), S3-FIFO
 * (Yang et al. 2023), SIEVE (Zhang et al. 2024).
 *
 * They share one state: two queues of pages held, two ghosts (pages that were
 * held), and what each page's hits came to.
 */
#include <assert.h>

#include "list.h"
#include "policy.h"

struct state {
	uint32_t pages; /* held at most */
	struct lists lists;
	struct list held, main; /* main: S3-FIFO, 2Q, ARC */
	struct list ghost, ghost_main;
	uint32_t hand;	 /* SIEVE */
	uint32_t target; /* ARC: pages of held */
	bool ghost_hits; /* S3-FIFO: the ghost has pages that were hit and left
			  */
	uint8_t *hits;
};

static void *init(const struct trace *trace, uint32_t pages, bool exclusive)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s || !(s->hits = calloc(trace->page_end, 1)))
		abort();
	(void)exclusive;
	s->pages = pages;
	lists_init(&s->lists, trace->page_end);
	return s;
}

static void deinit(void *state)
{
	struct state *s = state;

	lists_deinit(&s->lists);
	free(s->hits);
	free(s);
}

static bool is_held(const struct state *s, uint32_t page)
{
	return lists_on(&s->lists, &s->held, page) ||
	       lists_on(&s->lists, &s->main, page);
}

static void enter(struct state *s, struct list *list, uint32_t page)
{
	s->hits[page] = 0;
	lists_push(&s->lists, list, page);
}

/* Off whatever list it is on. */
static void leave(struct state *s, uint32_t page)
{
	struct list *all[] = {&s->held, &s->main, &s->ghost, &s->ghost_main};

	if (s->hand == page)
		s->hand = s->lists.link[page].prev;
	for (unsigned i = 0; i < 4; i++)
		if (lists_on(&s->lists, all[i], page))
			lists_remove(&s->lists, all[i], page);
}

/* Onto a ghost of so many pages. */
static void haunt(struct state *s, struct list *ghost, uint32_t most,
		  uint32_t page)
{
	lists_push(&s->lists, ghost, page);
	if (ghost->count > most)
		lists_remove(&s->lists, ghost, ghost->tail);
}

static void take(void *state, uint32_t page, bool hit)
{
	struct state *s = state;

	(void)hit;
	if (is_held(s, page))
		leave(s, page);
}

/* FIFO, LRU ---------------------------------------------------------------- */

static bool fifo_get(void *state, uint32_t page)
{
	return is_held(state, page);
}

static void fifo_put(void *state, uint32_t page)
{
	struct state *s = state;

	enter(s, &s->held, page);
	if (s->held.count > s->pages)
		leave(s, s->held.tail);
}

static bool lru_get(void *state, uint32_t page)
{
	struct state *s = state;

	if (!is_held(s, page))
		return false;
	lists_remove(&s->lists, &s->held, page);
	lists_push(&s->lists, &s->held, page);
	return true;
}

/* CLOCK, SIEVE ------------------------------------------------------------- */

static bool mark_get(void *state, uint32_t page)
{
	struct state *s = state;

	if (!is_held(s, page))
		return false;
	if (s->hits[page] < 3)
		s->hits[page]++;
	return true;
}

static void clock_put(void *state, uint32_t page)
{
	struct state *s = state;

	while (s->held.count >= s->pages) {
		uint32_t old = s->held.tail;
		bool stays = s->hits[old];

		leave(s, old);
		if (stays)
			enter(s, &s->held, old);
	}
	enter(s, &s->held, page);
}

static void sieve_put(void *state, uint32_t page)
{
	struct state *s = state;

	while (s->held.count >= s->pages) {
		uint32_t old = s->hand ? s->hand : s->held.tail;

		if (s->hits[old]) {
			s->hits[old] = 0;
			s->hand = s->lists.link[old].prev;
		} else {
			s->hand = old;
			leave(s, old);
		}
	}
	enter(s, &s->held, page);
}

/* S3-FIFO ------------------------------------------------------------------ */

static void s3_evict(struct state *s)
{
	uint32_t small = s->pages / 10, old;

	if (s->held.count > small || !s->main.count) {
		old = s->held.tail;
		lists_remove(&s->lists, &s->held, old);
		if (s->hits[old] > 1)
			enter(s, &s->main, old);
		else
			haunt(s, &s->ghost, s->pages - small, old);
		return;
	}
	old = s->main.tail;
	lists_remove(&s->lists, &s->main, old);
	if (s->hits[old]) {
		s->hits[old]--;
		lists_push(&s->lists, &s->main, old);
	}
}

static void s3_put(void *state, uint32_t page)
{
	struct state *s = state;
	bool known = lists_on(&s->lists, &s->ghost, page);

	if (known)
		lists_remove(&s->lists, &s->ghost, page);
	while (s->held.count + s->main.count >= s->pages)
		s3_evict(s);
	enter(s, known ? &s->main : &s->held, page);
}

/* The ghost remembers pages that whoever got them has now, too. */
static void s3_take(void *state, uint32_t page, bool hit)
{
	struct state *s = state;

	if (!is_held(s, page))
		return;
	leave(s, page);
	if (hit)
		haunt(s, &s->ghost, s->pages - s->pages / 10, page);
}

/* 2Q ----------------------------------------------------------------------- */

static bool twoq_get(void *state, uint32_t page)
{
	struct state *s = state;

	if (!is_held(s, page))
		return false;
	if (lists_on(&s->lists, &s->main, page)) {
		lists_remove(&s->lists, &s->main, page);
		lists_push(&s->lists, &s->main, page);
	}
	return true;
}

static void twoq_put(void *state, uint32_t page)
{
	struct state *s = state;
	bool known = lists_on(&s->lists, &s->ghost, page);

	if (known)
		lists_remove(&s->lists, &s->ghost, page);
	if (s->held.count + s->main.count >= s->pages) {
		if (s->held.count > s->pages / 4 || !s->main.count) {
			uint32_t old = s->held.tail;

			lists_remove(&s->lists, &s->held, old);
			haunt(s, &s->ghost, s->pages / 2, old);
		} else {
			lists_remove(&s->lists, &s->main, s->main.tail);
		}
	}
	enter(s, known ? &s->main : &s->held, page);
}

/* ARC ---------------------------------------------------------------------- */

static bool arc_get(void *state, uint32_t page)
{
	struct state *s = state;

	if (!is_held(s, page))
		return false;
	leave(s, page);
	enter(s, &s->main, page);
	return true;
}

/* The paper's REPLACE. */
static void arc_replace(struct state *s, bool in_ghost_main)
{
	struct list *from = &s->main, *ghost = &s->ghost_main;
	uint32_t old;

	if (s->held.count && (s->held.count > s->target || !s->main.count ||
			      (in_ghost_main && s->held.count == s->target))) {
		from = &s->held;
		ghost = &s->ghost;
	}
	old = from->tail;
	if (!old)
		return;
	lists_remove(&s->lists, from, old);
	lists_push(&s->lists, ghost, old);
}

static uint32_t ratio(const struct list *a, const struct list *b)
{
	return a->count > b->count ? a->count / b->count : 1;
}

static void arc_put(void *state, uint32_t page)
{
	struct state *s = state;
	bool once = lists_on(&s->lists, &s->ghost, page);
	bool twice = lists_on(&s->lists, &s->ghost_main, page);
	uint32_t step;

	if (once) {
		step = ratio(&s->ghost_main, &s->ghost);
		s->target = s->target + step < s->pages ? s->target + step
							: s->pages;
	} else if (twice) {
		step = ratio(&s->ghost, &s->ghost_main);
		s->target = s->target > step ? s->target - step : 0;
	}
	if (s->held.count + s->main.count >= s->pages)
		arc_replace(s, twice);
	leave(s, page);
	enter(s, once || twice ? &s->main : &s->held, page);
	if (s->held.count + s->ghost.count > s->pages && s->ghost.count)
		lists_remove(&s->lists, &s->ghost, s->ghost.tail);
	while (s->ghost.count + s->ghost_main.count > s->pages)
		lists_remove(&s->lists,
			     s->ghost_main.count ? &s->ghost_main : &s->ghost,
			     s->ghost_main.count ? s->ghost_main.tail
						 : s->ghost.tail);
}

#define POLICY(id, text, get_fn, put_fn, take_fn)                              \
	const struct policy policy_##id = {                                    \
		.name = (text),                                                \
		.init = init,                                                  \
		.deinit = deinit,                                              \
		.get = (get_fn),                                               \
		.put = (put_fn),                                               \
		.take = (take_fn),                                             \
	}

POLICY(fifo, "fifo", fifo_get, fifo_put, take);
POLICY(lru, "lru", lru_get, fifo_put, take);
POLICY(clock, "clock", mark_get, clock_put, take);
POLICY(sieve, "sieve", mark_get, sieve_put, take);
POLICY(s3fifo, "s3fifo", mark_get, s3_put, take);
POLICY(s3fifo_hits, "s3fifo-hits", mark_get, s3_put, s3_take);
POLICY(2q, "2q", twoq_get, twoq_put, take);
POLICY(arc, "arc", arc_get, arc_put, take);
