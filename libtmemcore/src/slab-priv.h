/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files slab*.c share, and nobody else.
 *
 * A slab goes through these states; a class's lock guards the move, and "free
 * slots" counts those that tmem_slab_alloc() may take:
 *
 *   none --new--> listed by fullness <--> full
 *                    |  ^     \
 *                    |  |      `--drain--> draining --> none, or listed again
 *                    v  |
 *            kept (empty, one a class) or none
 */
#ifndef TMEM_SLAB_PRIV_H
#define TMEM_SLAB_PRIV_H

#include "lock.h"
#include "slab.h"

/* Class 0 to 48: 16 to 64 slots a slab. Then 1008 bytes, and 16 less a class,
 * down to 32. */
#define SLAB_COUNTED	49u
#define SLAB_SMALL_MOST 1008u
#define SLAB_SMALLEST	32u
#define SLAB_CLASSES                                                           \
	(SLAB_COUNTED + (SLAB_SMALL_MOST - SLAB_SMALLEST) / TMEM_SLAB_UNIT + 1)

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
	SLAB_KEPT,
	SLAB_DRAINING,
	SLAB_UNUSED,
};

struct slab {
	uint32_t *owner; /* an entry a slot */
	uint32_t prev, next;
	uint16_t used;
	uint16_t first_free; /* low half of an owner entry */
	uint8_t state;
	bool held; /* the arena's bytes are there (and charged) */
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
	_Atomic(uint32_t) free;	  /* slots free in listed and kept slabs */
	uint32_t used;		  /* slots in use, draining slabs' too */
	uint32_t slabs;		  /* in any state */
	uint32_t kept;		  /* the empty slab, or SLAB_NONE */
	uint32_t slots;		  /* a slab; never changes */
	uint32_t slot_bytes;	  /* likewise */
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

	/* Which slabs are taken: rank arena, a short hold. */
	struct tmem_lock ids;
	uint32_t lowest;   /* no slab below it is free */
	uint8_t *map_page; /* whether each page of the map is there */

	_Atomic(uint64_t) bytes[TMEM_KINDS];
	_Atomic(uint64_t) unpunched; /* of ended slabs still held */
	_Atomic(uint64_t) private;
	_Atomic(uint64_t) freed;
	_Atomic(uint32_t) kept; /* slabs in state SLAB_KEPT */
};

static inline uint32_t slab_slot_bytes(unsigned class)
{
	if (class < SLAB_COUNTED)
		return TMEM_SLAB_SIZE / (16 + class) & ~(TMEM_SLAB_UNIT - 1);
	return SLAB_SMALL_MOST - (class - SLAB_COUNTED) * TMEM_SLAB_UNIT;
}

static inline uint32_t slab_slots(unsigned class)
{
	return class < SLAB_COUNTED ? 16 + class
				    : TMEM_SLAB_SIZE / slab_slot_bytes(class);
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

/* An array of owners, all of them free slots in one chain. 0 or -ENOMEM. */
int slab_make_owners(struct tmem_slabs *slabs, struct slab *slab,
		     uint32_t slots);
void slab_free_owners(struct tmem_slabs *slabs, struct slab *slab,
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
/* Its fullness has changed. */
void slab_relink(struct tmem_slabs *slabs, struct slab_class *class,
		 uint32_t id);
/* Take a slab out of its list; its free slots go on counting. */
void slab_unlink(struct tmem_slabs *slabs, struct slab_class *class,
		 uint32_t id);
/* The empty slab of a class is no longer kept. */
void slab_unkeep(struct tmem_slabs *slabs, struct slab_class *class);
void slab_set_map(struct tmem_slabs *slabs, uint32_t id, uint8_t map);
/* Others may take these slabs. */
void slab_put_ids(struct tmem_slabs *slabs, const uint32_t *ids,
		  unsigned count);
/* End a slab that is unlisted, empty and no longer counted in its class. No
 * lock of a class need be held. Returns bytes given back to the kernel. */
uint64_t slab_end(struct tmem_slabs *slabs, uint32_t id);

#endif
