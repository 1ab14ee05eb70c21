/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena: the one shared-memory file that holds everything a store must
 * find again, mapped once. This module knows its layout (DESIGN.md, "The
 * arena"), takes ranges of it from the kernel (fallocate, charged to the
 * budget) and gives them back (punch hole). It knows nothing of records.
 *
 * Threading: ranges are the caller's; calls on different ranges may run at
 * once.
 */
#ifndef TMEM_ARENA_H
#define TMEM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "budget.h"

/** The parts of the file, in order. */
enum tmem_arena_part {
	TMEM_PART_HEADER,
	TMEM_PART_CLIENTS,  /* taken page by page as records are used */
	TMEM_PART_POOLS,    /* likewise */
	TMEM_PART_AUTHS,    /* likewise */
	TMEM_PART_SLABMAP,  /* one byte a slab */
	TMEM_PART_OBJECTS,  /* grows */
	TMEM_PART_LEAVES,   /* grows */
	TMEM_PART_WORDS,    /* grows */
	TMEM_PART_METAS,    /* grows */
	TMEM_PART_SLABS,    /* grows */
	TMEM_PART_COUNT,
};

#define TMEM_CLIENTS_MAX 1024u
#define TMEM_POOLS_MAX	 4096u
#define TMEM_AUTHS_MAX	 4096u

/* Bytes a record of these three parts (records.h): no record crosses pages. */
#define TMEM_CLIENT_RECORD 256u
#define TMEM_POOL_RECORD   256u
#define TMEM_AUTH_RECORD   128u

struct tmem_arena {
	int fd;
	uint8_t *base;
	uint64_t size; /* of the mapping and the file */
	struct {
		uint64_t offset;
		uint64_t size;
	} part[TMEM_PART_COUNT];
	uint64_t capacity; /* largest budget */
	uint64_t generation;
	bool reopened;
	struct tmem_budget *budget;
};

/**
 * Create an arena in fd (-1: a new memfd), or map the one found there. fd is
 * locked (OFD write lock on the header) against a second opener and owned by
 * the arena on success. The fixed parts are charged to budget.
 * Returns 0; -EBUSY; -EBADMSG (not an arena of this version; unchanged);
 * -EINVAL; -ENOSPC; -ENOMEM.
 */
int tmem_arena_init(struct tmem_arena *arena, int fd, uint64_t capacity,
		    struct tmem_budget *budget);
void tmem_arena_deinit(struct tmem_arena *arena);

/** Address of a part's start. */
static inline void *tmem_arena_part(const struct tmem_arena *arena,
				    enum tmem_arena_part part)
{
	return arena->base + arena->part[part].offset;
}

/**
 * Take a page-aligned range of a growing part: charged, allocated, readable
 * as zeros. Returns 0; -ENOMEM when the budget refuses; -ENOSPC when the file
 * system does (then nothing is charged).
 */
int tmem_arena_take(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes);

/** Give a range back to the kernel; uncharged. Never fails visibly: a punch
 * that the kernel refuses leaves the range charged, and returns -errno. */
int tmem_arena_give(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes);

/** Whether a range of a growing part is allocated (SEEK_DATA; used when
 * reopening, which charges what it finds with tmem_budget_charge). Returns
 * the first allocated offset >= offset in *start and the end of that extent in
 * *end (both within the part), or -ENXIO when there is none. */
int tmem_arena_next_extent(const struct tmem_arena *arena,
			   enum tmem_arena_part part, uint64_t offset,
			   uint64_t *start, uint64_t *end);

#endif
