/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files slab*.c share, and nobody else.
 *
 * A slab goes through these states; a class's lock guards the move, and "free
 * slots" counts those that tmem_slab_alloc() may take:
 *
 *   none --> spare --> listed by fullness <--> full
 *     ^      |  ^          |      \
 *     |      |  `-(empty)--'       `--drain--> draining --> spare, none, or
 *     `------'                                              listed again
 *
 * A slab of no class is spare while some of its pages are there (slab-spare.c),
 * and none otherwise.
 */
#ifndef TMEM_SLAB_PRIV_H
#define TMEM_SLAB_PRIV_H

#include "lane.h"
#include "lock.h"
#include "slab.h"

#define SLAB_PAGE	UINT64_C(4096)
#define SLAB_PAGES_MOST (TMEM_SLAB_SIZE / SLAB_PAGE)

/* Smallest slots first; of raw pages, a class for each lane. */
#define SLAB_RAW     101u
#define SLAB_CLASSES (SLAB_RAW + TMEM_LANES)
struct slab_shape {
	uint16_t slot;	/* bytes */
	uint16_t pages; /* of a slab: the first ones of its 64 KiB */
};
extern const struct slab_shape slab_shape[SLAB_CLASSES];
/* The class for size bytes, 1 to 4096; of raw pages, the calling thread's. */
unsigned slab_class_of(uint32_t size);

/* Lists of slabs with free slots, by eighths in use. */
#define SLAB_BUCKETS 8u

/* Slabs a private group. */
#define SLAB_GROUP 1024u

#define SLAB_NONE UINT32_MAX

#define SLAB_MAP_PAGE 4096u

/* An owner entry from here up is a free slot; the low half is the next one.
 * Content ids end before (TMEM_TABLE_MAX). */
#define SLAB_FREE      0xffff0000u
#define SLAB_FREE_LAST 0xffffffffu

enum slab_state {
	/* 0 to SLAB_BUCKETS - 1: listed there */
	SLAB_FULL = SLAB_BUCKETS,
	SLAB_SPARE,
	SLAB_DRAINING,
	SLAB_UNUSED,
};

struct slab {
	uint32_t *owner;     /* an entry a slot */
	uint32_t prev, next; /* in the list that its state says */
	uint16_t used;
	uint16_t first_free; /* low half of an owner entry */
	uint8_t state;
	uint8_t pages; /* that are there, and charged */
	/* As in the slab map. Stable while a slot is in use, so that who has a
	 * slot may read it without a lock; check reads it and looks twice. */
	_Atomic(uint8_t) map;
};

struct slab_group {
	uint64_t taken[SLAB_GROUP / 64]; /* under the ids lock */
	struct slab slab[SLAB_GROUP];
};

/* All under lock; what is atomic may be peeked at without. */
struct slab_class {
	struct tmem_lock lock;
	uint32_t head[SLAB_BUCKETS];
	_Atomic(uint32_t) listed; /* a bit a bucket that is not empty */
	_Atomic(uint32_t) free;	  /* slots free in listed slabs */
	uint32_t used;		  /* slots in use, draining slabs' too */
	uint32_t slabs;		  /* in any state */
	uint32_t slots;		  /* a slab; never changes */
	uint32_t slot_bytes;	  /* likewise */
	uint8_t apart[64];	  /* no cache line has two classes */
};

/* Spare slabs that have the same number of pages; under the ids lock. */
struct slab_spare {
	uint32_t head; /* by next alone */
	uint32_t count;
};

struct tmem_slabs {
	struct tmem_arena *arena;
	uint8_t *base;
	_Atomic(uint8_t) *map; /* in the arena */
	uint32_t count;	       /* of slabs that the arena has room for */
	uint32_t groups;
	/* Groups come and stay; published with release. */
	_Atomic(struct slab_group *) *group;
	struct slab_class class[TMEM_KINDS][SLAB_CLASSES];

	/* Which slabs are taken, and the spare ones: rank arena, a short hold.
	 */
	struct tmem_lock ids;
	uint32_t lowest;   /* no slab below it is free */
	uint8_t *map_page; /* whether each page of the map is there */
	struct slab_spare spare[SLAB_PAGES_MOST + 1]; /* by their pages */
	_Atomic(uint64_t) spare_bytes;		      /* changed under ids */
	/* Least bytes of spare slabs (tmem_slab_set_floor()), or 0. */
	_Atomic(uint64_t) floor;
	uint32_t wanted; /* pages of the slab that was last taken; 0: none */
	_Atomic(uint64_t) taken; /* slabs, ever; changed under ids */

	/* Who is told that there is something to do in the background. */
	tmem_slab_wake_fn *wake;
	void *wake_ctx;
	_Atomic(bool) untidy;	   /* who tidies knows, and will look again */
	_Atomic(uint32_t) stirred; /* times a class had slots for a slab */

	_Atomic(uint64_t) bytes[TMEM_KINDS];
	_Atomic(uint64_t) private;
	_Atomic(uint64_t) freed;
};

static inline uint32_t slab_slot_bytes(unsigned class)
{
	return slab_shape[class].slot;
}

static inline uint32_t slab_pages(unsigned class)
{
	return slab_shape[class].pages;
}

static inline uint32_t slab_slots(unsigned class)
{
	return slab_pages(class) * SLAB_PAGE / slab_slot_bytes(class);
}

static inline uint8_t slab_map_byte(enum tmem_kind kind, unsigned class)
{
	return (uint8_t)(kind << 7 | (class + 1));
}

static inline enum tmem_kind slab_map_kind(uint8_t map)
{
	return map >> 7;
}

static inline unsigned slab_map_class(uint8_t map)
{
	return (map & 0x7f) - 1u;
}

static inline bool slab_map_valid(uint8_t map)
{
	return (map & 0x7f) >= 1 && (map & 0x7f) <= SLAB_CLASSES;
}

static inline uint8_t slab_map_of(const struct slab *slab)
{
	return atomic_load_explicit(&slab->map, memory_order_relaxed);
}

/* Bytes of slabs that have a class. */
static inline uint64_t slab_bytes_in_use(const struct tmem_slabs *slabs)
{
	uint64_t bytes = 0;

	for (unsigned kind = 0; kind < TMEM_KINDS; kind++)
		bytes += atomic_load_explicit(&slabs->bytes[kind],
					      memory_order_relaxed);
	return bytes;
}

/* Acquire: pairs with the release that published the group. */
static inline struct slab_group *slab_group_at(const struct tmem_slabs *slabs,
					       uint32_t id)
{
	return atomic_load_explicit(&slabs->group[id / SLAB_GROUP],
				    memory_order_acquire);
}

static inline struct slab *slab_at(const struct tmem_slabs *slabs, uint32_t id)
{
	return &slab_group_at(slabs, id)->slab[id % SLAB_GROUP];
}

/* Of a slab in use, by its byte in the map. */
static inline struct slab_class *slab_class_at(struct tmem_slabs *slabs,
					       uint8_t map)
{
	return &slabs->class[slab_map_kind(map)][slab_map_class(map)];
}

static inline uint64_t slab_place(uint32_t id, uint32_t slot_bytes,
				  uint32_t slot)
{
	return ((uint64_t)id * TMEM_SLAB_SIZE + (uint64_t)slot * slot_bytes) /
	       TMEM_SLAB_UNIT;
}

/* Of which slab a place is. */
static inline uint32_t slab_id(uint64_t place)
{
	return (uint32_t)(place / (TMEM_SLAB_SIZE / TMEM_SLAB_UNIT));
}

/* Offset of a place in its slab, bytes. */
static inline uint32_t slab_offset(uint64_t place)
{
	return (uint32_t)(place % (TMEM_SLAB_SIZE / TMEM_SLAB_UNIT)) *
	       TMEM_SLAB_UNIT;
}

/* An array of owners, all of them free slots in one chain from slot 0; NULL
 * without memory. */
uint32_t *slab_make_owners(struct tmem_slabs *slabs, uint32_t slots);
void slab_free_owners(struct tmem_slabs *slabs, uint32_t *owner,
		      uint32_t slots);
/* Make the private record of the group that slab id is in, and its page of
 * the map. Under the ids lock. 0, -ENOMEM or -ENOSPC. */
int slab_make_group(struct tmem_slabs *slabs, uint32_t id);
/* Next slab >= id that is in use, or SLAB_NONE. */
uint32_t slab_next(const struct tmem_slabs *slabs, uint32_t id);
/* List a slab of a class that is in no list, by its fullness. */
void slab_list(struct tmem_slabs *slabs, struct slab_class *class, uint32_t id);
/* Take a slab out of its list, if it is in one; its free slots stop counting.
 */
void slab_unlist(struct tmem_slabs *slabs, struct slab_class *class,
		 uint32_t id);
/* Its fullness has changed. Returns whether it is in another list now. */
bool slab_relink(struct tmem_slabs *slabs, struct slab_class *class,
		 uint32_t id);
void slab_set_map(struct tmem_slabs *slabs, uint32_t id, uint8_t map);

/* Take a slab with so many pages that nobody has. 0, -ENOMEM or -ENOSPC. */
int slab_take(struct tmem_slabs *slabs, uint32_t pages, uint32_t *id);
/* Leave slabs of no class to others: as spare ones (keep; as many as there may
 * be), or given back to the kernel. Sorts ids. Returns bytes; not those that
 * the kernel refuses. No lock of a class need be held. */
uint64_t slab_leave(struct tmem_slabs *slabs, uint32_t *ids, unsigned count,
		    bool keep);
/* Give slabs of no class back to the kernel, neighbours together; those that it
 * refuses are spare. Sorts ids. Returns bytes. What each call of the kernel was
 * for is taken off waiting, unless that is NULL. */
uint64_t slab_punch(struct tmem_slabs *slabs, uint32_t *ids, unsigned count,
		    _Atomic(uint64_t) *waiting);
/* End slabs that are unlisted, empty and no longer counted in their class, and
 * leave them. Returns bytes. */
uint64_t slab_end(struct tmem_slabs *slabs, uint32_t *ids, unsigned count,
		  bool keep);
/* An empty slab that slab_end() is to end with others. */
void slab_ends_add(struct tmem_slabs *slabs, struct tmem_slab_ends *ends,
		   uint32_t id);
/* Something may be worth compacting. With a lock of a class held. */
void slab_stir(struct tmem_slabs *slabs, const struct slab_class *class);

#endif
