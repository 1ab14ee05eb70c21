/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fixed number of record slots in one part of the arena: clients, pools,
 * authorisations. Its memory is taken a page at a time, when a slot in it is
 * first used, and never given back: records remember how often their slot has
 * been used.
 *
 * Threading: the admin lock.
 */
#ifndef TMEM_ROSTER_H
#define TMEM_ROSTER_H

#include "arena.h"

struct tmem_roster {
	struct tmem_arena *arena;
	enum tmem_arena_part part;
	uint32_t record; /* bytes */
	uint32_t slots;
	uint64_t page[4]; /* a bit a page: it is there */
};

/** Lay a roster over part; on a reopened arena the pages that are there are
 * charged. Returns 0 or -ENOSPC. */
int tmem_roster_init(struct tmem_roster *roster, struct tmem_arena *arena,
		     enum tmem_arena_part part, uint32_t record);

/** The record of a slot, or NULL when its page was never used. */
void *tmem_roster_at(const struct tmem_roster *roster, uint32_t slot);

/** The same, taking the page, past the budget if need be; fresh pages are
 * zero. Returns NULL when the tmpfs is full. */
void *tmem_roster_take(struct tmem_roster *roster, uint32_t slot);

/** Bytes of the arena taken. */
uint64_t tmem_roster_bytes(const struct tmem_roster *roster);

#endif
