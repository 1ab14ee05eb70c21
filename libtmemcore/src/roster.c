/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Record slots taken by the page (roster.h).
 */
#include "roster.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define PAGE UINT64_C(4096)

static bool page_there(const struct tmem_roster *roster, uint32_t page)
{
	return roster->page[page / 64] >> page % 64 & 1;
}

static void set_page(struct tmem_roster *roster, uint64_t page)
{
	roster->page[page / 64] |= UINT64_C(1) << page % 64;
}

static int adopt(struct tmem_roster *roster)
{
	uint64_t size = roster->arena->part[roster->part].size;
	uint64_t at = 0, start, end;

	while (at < size) {
		int r = tmem_arena_next_extent(roster->arena, roster->part, at,
					       &start, &end);

		if (r < 0)
			start = end = size;
		if (start > at)
			tmem_arena_scrub(roster->arena, roster->part, at,
					 start - at);
		if (end > start) {
			r = tmem_arena_adopt(roster->arena, roster->part, start,
					     end - start);
			if (r < 0)
				return r;
		}
		for (; start < end; start += PAGE)
			set_page(roster, start / PAGE);
		at = end;
	}
	return 0;
}

int tmem_roster_init(struct tmem_roster *roster, struct tmem_arena *arena,
		     enum tmem_arena_part part, uint32_t record)
{
	memset(roster, 0, sizeof(*roster));
	roster->arena = arena;
	roster->part = part;
	roster->record = record;
	roster->slots = arena->part[part].size / record;
	assert(arena->part[part].size / PAGE <= 8 * sizeof(roster->page));
	return arena->reopened ? adopt(roster) : 0;
}

void *tmem_roster_at(const struct tmem_roster *roster, uint32_t slot)
{
	uint64_t offset = (uint64_t)slot * roster->record;

	if (!page_there(roster, offset / PAGE))
		return NULL;
	return (uint8_t *)tmem_arena_part(roster->arena, roster->part) + offset;
}

void *tmem_roster_take(struct tmem_roster *roster, uint32_t slot)
{
	uint64_t page = (uint64_t)slot * roster->record / PAGE;

	if (!page_there(roster, page)) {
		/* Without asking the budget: a full store still takes clients
		 * and pools, which may be what flushes it. */
		if (tmem_arena_adopt(roster->arena, roster->part, page * PAGE,
				     PAGE) < 0)
			return NULL;
		set_page(roster, page);
	}
	return tmem_roster_at(roster, slot);
}

uint64_t tmem_roster_bytes(const struct tmem_roster *roster)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < 4; i++)
		bytes += (uint64_t)__builtin_popcountll(roster->page[i]) * PAGE;
	return bytes;
}
