/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slots for contents: slabs of 8 to 16 pages, each cut into equal slots of one
 * size class, ephemeral and persistent contents apart. A slab is the beginning
 * of its 64 KiB of the arena. A place is the arena offset, within the slabs
 * part, of a slot, in units of 16 bytes.
 *
 * Each slab in use has a private array of owners, one 32-bit content id a
 * slot, which doubles as the list of its free slots.
 *
 * Threading: one lock a (kind, class) (TMEM_LOCK_SLAB). A slot's bytes belong
 * to whoever allocated it.
 */
#ifndef TMEM_SLAB_H
#define TMEM_SLAB_H

#include <stdio.h>
#include "arena.h"

#define TMEM_SLAB_SIZE 65536u
#define TMEM_SLAB_UNIT 16u

enum tmem_kind { TMEM_EPHEMERAL = 0, TMEM_PERSISTENT = 1, TMEM_KINDS };

struct tmem_slabs;

/** On a reopened arena the slabs that the map claims are found and charged;
 * their slots are free until _found. Returns 0, -ENOMEM or -ENOSPC. */
int tmem_slabs_new(struct tmem_arena *arena, struct tmem_slabs **out);
/** The arena's bytes stay, and stay charged. NULL is fine. Returns NULL. */
struct tmem_slabs *tmem_slabs_free(struct tmem_slabs *slabs);

/** Bytes of a slot for a content of size bytes. */
uint32_t tmem_slab_slot_size(uint32_t size);

enum tmem_slab_how {
	TMEM_SLAB_STRETCH = 1, /**< a slot of a larger class will do */
	TMEM_SLAB_NO_NEW = 2,  /**< only a slot that is there */
};

/**
 * Take a slot for size bytes (1 to 4096) whose owner is content id owner:
 * fullest slabs first, so that sparse ones drain; a new slab when none has a
 * free slot, unless how says otherwise; when that is refused, with
 * TMEM_SLAB_STRETCH, a free slot of a larger class. *place is set. Returns 0;
 * -ENOMEM (budget, or no slot) or -ENOSPC (tmpfs full).
 */
int tmem_slab_alloc(struct tmem_slabs *slabs, enum tmem_kind kind,
		    uint32_t size, uint32_t owner, unsigned how,
		    uint64_t *place);

/** Give a slot back. A slab that falls empty becomes spare: it serves whoever
 * needs one next; beyond some of these it goes back to the kernel. */
void tmem_slab_free(struct tmem_slabs *slabs, uint64_t place);

/** Slabs that fell empty and are still charged, until tmem_slab_end_all():
 * neighbours go back to the kernel together. */
#define TMEM_SLAB_ENDS 1024u
struct tmem_puncher;
struct tmem_slab_ends {
	bool keep; /* as spare slabs, if these are not too many */
	struct tmem_puncher *puncher; /* who gives them back, or NULL */
	uint64_t bytes;	  /* given back, or kept, so far; not the puncher's */
	uint64_t waiting; /* of the slabs that are to be */
	uint32_t count;
	uint32_t id[TMEM_SLAB_ENDS];
};
static inline void tmem_slab_ends_init(struct tmem_slab_ends *ends, bool keep)
{
	ends->keep = keep;
	ends->puncher = NULL;
	ends->bytes = 0;
	ends->waiting = 0;
	ends->count = 0;
}

/** Most slots that tmem_slab_free_many() takes. */
#define TMEM_SLAB_BATCH 512u

/** Give many slots back, with a hold of its class's lock for all slots of a
 * class. What falls empty is added to ends; when these are full they are
 * ended. */
void tmem_slab_free_many(struct tmem_slabs *slabs, const uint64_t *places,
			 unsigned count, struct tmem_slab_ends *ends);
/** Give the slabs of ends back to the kernel, or keep them, or leave that to
 * the puncher. */
void tmem_slab_end_all(struct tmem_slabs *slabs, struct tmem_slab_ends *ends);

/** Begin to fetch the record of the slab that a place is in, and once that is
 * there, of the slot's owner. The slot is in use. */
void tmem_slab_prefetch(const struct tmem_slabs *slabs, uint64_t place);
void tmem_slab_prefetch_owner(const struct tmem_slabs *slabs, uint64_t place);

void *tmem_slab_at(const struct tmem_slabs *slabs, uint64_t place);
/** Bytes of the slot at place, which is in use. */
uint32_t tmem_slab_bytes_at(const struct tmem_slabs *slabs, uint64_t place);
enum tmem_kind tmem_slab_kind(const struct tmem_slabs *slabs, uint64_t place);
/** Owner of the slot at place; 0 when free or no slot starts there (check). */
uint32_t tmem_slab_owner(struct tmem_slabs *slabs, uint64_t place);

/**
 * Move one content elsewhere. Called without slab locks. It must take a slot
 * with tmem_slab_alloc() (which never picks the slab being drained), move,
 * and tmem_slab_free() the old one. Returns 0; -EAGAIN when the content is
 * gone or busy; -ENOMEM when there is no slot.
 */
typedef int tmem_slab_move_fn(void *ctx, uint32_t owner, uint64_t place);

/**
 * Compact: while some class of kind (TMEM_KINDS: both) has at least one slab's
 * worth of free slots, drain its sparsest slab through move, until slabs of so
 * many bytes fell empty or nothing helps. They are kept as spare slabs, if
 * these are not too many, or go back to the kernel. One caller at a time.
 * Returns bytes of slabs kept or given back. *moved counts contents moved.
 */
uint64_t tmem_slab_compact(struct tmem_slabs *slabs, enum tmem_kind kind,
			   uint64_t bytes, bool keep, tmem_slab_move_fn *move,
			   void *ctx, uint64_t *moved);
/** The same, of both kinds; slabs that fall empty are added to ends, for the
 * caller to end. Returns their bytes. */
uint64_t tmem_slab_compact_to(struct tmem_slabs *slabs, uint64_t bytes,
			      tmem_slab_move_fn *move, void *ctx,
			      struct tmem_slab_ends *ends);

/** Bytes that compacting all classes and trimming would give back. A snapshot.
 */
uint64_t tmem_slab_loose(struct tmem_slabs *slabs);

/** Bytes of spare slabs. */
uint64_t tmem_slab_spare(const struct tmem_slabs *slabs);
/** Give spare slabs of so many bytes, or all there are, back to the kernel.
 * Returns bytes. */
uint64_t tmem_slab_trim(struct tmem_slabs *slabs, uint64_t bytes);

/* In the background, by who is told by wake (called with locks held, from when
 * it is set; set it before other threads are there). */
typedef void tmem_slab_wake_fn(void *ctx);
void tmem_slab_set_wake(struct tmem_slabs *slabs, tmem_slab_wake_fn *wake,
			void *ctx);
/** Keep at least so many bytes of spare slabs, also where the budget gets
 * short; 0: as the slabs see fit. */
void tmem_slab_set_floor(struct tmem_slabs *slabs, uint64_t bytes);
/** Touch all memory of slabs. Nobody may give slabs back meanwhile. */
void tmem_slab_touch(struct tmem_slabs *slabs);
/** Add a slab to the spare ones if there are too few, and room for it in the
 * budget. Returns whether there may be more to do. */
bool tmem_slab_reserve(struct tmem_slabs *slabs);
/** Whether there are more spare slabs than the reserve has: then the caller is
 * not woken for it before he asks again. Give back those above it. */
bool tmem_slab_untidy(struct tmem_slabs *slabs);
void tmem_slab_tidy(struct tmem_slabs *slabs);
/** Slabs that any class took, ever. */
uint64_t tmem_slab_taken(const struct tmem_slabs *slabs);
/** Whether the slabs are so sparse that compacting them pays: more than a 256th
 * could be given back, or, where compaction has begun, more than a 1024th. */
bool tmem_slab_sparse(struct tmem_slabs *slabs, bool begun);

/* Reopening, single-threaded: _found for each live content, then _settle,
 * which gives back slabs without one (and any range no slab claims). */
/** The slot at place holds size bytes of content owner. Returns 0; -EBADMSG
 * when no slab of that kind has a slot of that size there or it is taken. */
int tmem_slab_found(struct tmem_slabs *slabs, uint64_t place, uint32_t size,
		    enum tmem_kind kind, uint32_t owner);
void tmem_slab_settle(struct tmem_slabs *slabs);

struct tmem_slab_stats {
	uint64_t bytes[TMEM_KINDS];   /* in slabs */
	uint64_t payload[TMEM_KINDS]; /* of these, in slots in use */
	uint64_t map_bytes;	      /* in the slab map */
	uint64_t spare_bytes;	      /* in slabs of no class and kind */
	uint64_t used_slots;
	uint64_t free_slots;
	uint64_t private_bytes; /* owner arrays and the like; charged */
	uint64_t slabs_freed;	/* given back, ever */
};
void tmem_slab_stats(struct tmem_slabs *slabs, struct tmem_slab_stats *out);

/** Verify own invariants (free lists, counts, map); lines on err. Returns the
 * number of violations. Quiet. */
unsigned tmem_slab_check(struct tmem_slabs *slabs, FILE *err);
void tmem_slab_dump(struct tmem_slabs *slabs, FILE *out);

#endif
