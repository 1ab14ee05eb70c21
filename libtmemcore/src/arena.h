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
	TMEM_PART_CLIENTS, /* taken page by page as records are used */
	TMEM_PART_POOLS,   /* likewise */
	TMEM_PART_AUTHS,   /* likewise */
	TMEM_PART_SLABMAP, /* likewise: one byte a slab */
	TMEM_PART_OBJECTS, /* grows */
	TMEM_PART_LEAVES,  /* grows */
	TMEM_PART_WORDS,   /* grows */
	TMEM_PART_METAS,   /* grows */
	TMEM_PART_SLABS,   /* grows; a slab need not fill its place */
	TMEM_PART_COUNT,
};

#define TMEM_CLIENTS_MAX 1024u
#define TMEM_POOLS_MAX	 4096u
#define TMEM_AUTHS_MAX	 4096u

/** Largest capacity: a content word's place has 36 bits of 16 bytes. */
#define TMEM_ARENA_MAX (1ull << 40)

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
	/* Seeds the hashes, so that no client can choose object ids or pages
	 * that fall into one chain, where others would wait for its length. It
	 * never leaves the process and its arena. */
	uint64_t secret;
	bool reopened;
	/* Only threads that may wait for the kernel take ranges; and what is
	 * taken is touched at once (tmem_arena_make_strict()). */
	_Atomic(bool) strict;
	struct tmem_budget *budget;
};

/**
 * Create an arena in fd (-1: a new memfd; an empty file), or map the one found
 * there, whose capacity then counts. fd is locked (OFD write lock on the
 * header) against a second opener and owned by the arena on success. The header
 * is charged to budget.
 * Returns 0; -EBUSY when another opener has it; -EBADMSG when the file is not
 * an arena of this version (it is left as it was); -EINVAL for a capacity of 0
 * or above TMEM_ARENA_MAX, or an fd that is no regular file open for reading
 * and writing; -EOPNOTSUPP where the machine's pages are not 4 KiB; -ENOSPC;
 * -ENOMEM when the budget or the address space has no room.
 */
int tmem_arena_init(struct tmem_arena *arena, int fd, uint64_t capacity,
		    struct tmem_budget *budget);
/** Unmap and close; the file stays as it is. */
void tmem_arena_deinit(struct tmem_arena *arena);

/** Address of a part's start. */
static inline void *tmem_arena_part(const struct tmem_arena *arena,
				    enum tmem_arena_part part)
{
	return arena->base + arena->part[part].offset;
}

/**
 * Take a page-aligned range of a part: charged, allocated, readable
 * as zeros. Returns 0; -ENOMEM when the budget refuses; when the file system
 * does, -ENOSPC or what else it says. Nothing is charged then.
 */
int tmem_arena_take(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes);

/** Whether this thread may wait while the kernel finds memory, as it holds up
 * nobody who would free some; at first it may not. */
void tmem_arena_may_wait(bool may);

/** From now on tmem_arena_take() returns -ENOMEM in threads that may not wait,
 * and no page is in the arena without being mapped, which locks it where the
 * process's memory is locked: also what was there before and had been written
 * to; who took the rest touches it (tmem_arena_populate()). Returns 0;
 * -EOPNOTSUPP where the kernel cannot do that (before 5.14); -ENOMEM. */
int tmem_arena_make_strict(struct tmem_arena *arena);
/** Whether it is so, or has been tried; and no longer. */
bool tmem_arena_is_strict(const struct tmem_arena *arena);
void tmem_arena_end_strict(struct tmem_arena *arena);

/** Give a range back to the kernel; uncharged. Never fails visibly: a punch
 * that the kernel refuses leaves the range charged, and returns -errno. */
int tmem_arena_give(struct tmem_arena *arena, enum tmem_arena_part part,
		    uint64_t offset, uint64_t bytes);
/** The same for a range with holes in it, of which taken bytes were taken. */
int tmem_arena_give_sparse(struct tmem_arena *arena, enum tmem_arena_part part,
			   uint64_t offset, uint64_t bytes, uint64_t taken);

/** Touch a range that is taken, so that its first users need not wait for the
 * kernel to clear and map its pages. Where the kernel cannot (before 5.14),
 * they do. */
void tmem_arena_populate(struct tmem_arena *arena, enum tmem_arena_part part,
			 uint64_t offset, uint64_t bytes);

/* Reopening, single-threaded. */

/** A range that was taken by the process before, or that must not be refused
 * (any thread may take one of those): charged without asking, and
 * allocated where it is not. Returns 0 or -ENOSPC (then not charged). */
int tmem_arena_adopt(struct tmem_arena *arena, enum tmem_arena_part part,
		     uint64_t offset, uint64_t bytes);

/** A range that nobody claims: whatever is allocated there goes back to the
 * kernel. Nothing is uncharged. */
void tmem_arena_scrub(struct tmem_arena *arena, enum tmem_arena_part part,
		      uint64_t offset, uint64_t bytes);

/** Find what was written to in a part (SEEK_DATA; a range that was
 * allocated and never touched does not count). Sets *start to the first such
 * byte at or after offset and *end to the end of its extent, both within the
 * part. Returns 0, or -ENXIO when there is none. */
int tmem_arena_next_extent(const struct tmem_arena *arena,
			   enum tmem_arena_part part, uint64_t offset,
			   uint64_t *start, uint64_t *end);

#endif
