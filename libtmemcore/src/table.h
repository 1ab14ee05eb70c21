/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A growing table of fixed-size records in the arena, addressed by 32-bit id
 * from 1 (0 is "none"). It grows by chunks of TMEM_TABLE_CHUNK records and
 * gives a chunk back to the kernel when all its records are free (one empty
 * chunk is kept against thrashing). A content has records in two parts (words
 * and metas) under one id, so a table may span up to two parts.
 *
 * Threading: alloc and free lock the table (TMEM_LOCK_TABLE). Records belong
 * to whoever allocated them. Which records are in use is not stored in the
 * arena: after reopening, the owner says so with tmem_table_mark().
 */
#ifndef TMEM_TABLE_H
#define TMEM_TABLE_H

#include "arena.h"
#include "lock.h"

#define TMEM_TABLE_CHUNK 1024u

/** No id is above this, however large the arena: a slab's owner array needs
 * the numbers beyond for its free slots. */
#define TMEM_TABLE_MAX 0xfff00000u

#define TMEM_TABLE_PARTS 2u

struct tmem_table_part {
	enum tmem_arena_part part;
	uint32_t record; /* bytes a record */
	uint8_t *base;
};

struct tmem_table_group; /* private: 64 chunks and their free records */

struct tmem_table {
	struct tmem_lock lock;
	struct tmem_arena *arena;
	struct tmem_table_part part[TMEM_TABLE_PARTS];
	unsigned parts;
	uint32_t max; /* ids are 1 to max */
	/* The rest is table.c's. Groups come and stay: once published they may
	 * be read without the lock, as may what is atomic. */
	_Atomic(struct tmem_table_group *) *group;
	uint32_t groups;
	/** A bit a group that has a chunk with a free record. */
	uint64_t *avail;
	/** No word of avail below this one has a bit. */
	uint32_t avail_from;
	/** No chunk below this one is without memory. */
	uint32_t hole;
	/** Chunks with memory and no used record; how many of them to keep
	 * beyond one; and whether one is on its way. */
	uint32_t empty;
	uint32_t keep;
	bool growing;
	_Atomic(uint32_t) used;	   /* records */
	_Atomic(uint64_t) bytes;   /* arena bytes taken */
	_Atomic(uint64_t) private; /* private bytes charged */
};

/** Lay the table over one or two parts (parts[i] and record[i] bytes). On a
 * reopened arena every chunk that has been written to is found and charged,
 * and has all its records free until marked. Returns 0, -ENOMEM or -ENOSPC. */
int tmem_table_init(struct tmem_table *table, struct tmem_arena *arena,
		    unsigned parts, const enum tmem_arena_part *part,
		    const uint32_t *record);
/** The arena's bytes stay, and stay charged. */
void tmem_table_deinit(struct tmem_table *table);

/** Take a free record, lowest chunk first, and there from the part of the
 * thread's lane if it can be. Its bytes are all zero in a fresh chunk and
 * whatever its last owner left otherwise: the owner clears the commit field
 * before freeing. *id is set. Returns 0; -ENOMEM when the budget refuses;
 * -ENOSPC when the tmpfs is full or all ids are taken. */
int tmem_table_alloc(struct tmem_table *table, uint32_t *id);
void tmem_table_free(struct tmem_table *table, uint32_t id);
/** The same of many records, in one hold of the lock. */
void tmem_table_free_many(struct tmem_table *table, const uint32_t *ids,
			  unsigned count);

/** Keep so many chunks without a used record, and one more, from now on: see
 * tmem_table_reserve(). */
void tmem_table_set_keep(struct tmem_table *table, uint32_t chunks);
/** Get a chunk of those to be kept from the kernel, without holding up others.
 * Returns whether to call again. */
bool tmem_table_reserve(struct tmem_table *table);

/** Touch all memory of the table. Nobody may free records meanwhile. */
void tmem_table_touch(struct tmem_table *table);

/** Reopening: record id is in use. Single-threaded. */
void tmem_table_mark(struct tmem_table *table, uint32_t id);
/** Reopening: after all marks, give back chunks without a used record. */
void tmem_table_settle(struct tmem_table *table);

/** Whether id lies in an allocated chunk (its bytes may be read). False for
 * 0 and for ids that no table has. */
bool tmem_table_backed(const struct tmem_table *table, uint32_t id);
/** For check: whether id is allocated. Takes the lock. */
bool tmem_table_used(struct tmem_table *table, uint32_t id);
/** Next id >= id in an allocated chunk, or 0: to walk a table. */
uint32_t tmem_table_next(const struct tmem_table *table, uint32_t id);
/** Private memory (bytes) this table uses; it is charged to the budget. */
uint64_t tmem_table_private(const struct tmem_table *table);

static inline void *tmem_table_record(const struct tmem_table *table,
				      unsigned part, uint32_t id)
{
	return table->part[part].base +
	       (uint64_t)(id - 1) * table->part[part].record;
}

#endif
