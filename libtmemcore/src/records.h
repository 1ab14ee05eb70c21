/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The records of the arena: the store's truth, as DESIGN.md tells it. Plain
 * data; who may touch what, under which lock, stands beside each.
 *
 * A record is committed by one release store to the field marked "commit",
 * last of all, and ended by a store of 0 to it, first of all, so that a
 * process may die at any instruction. Fields marked "derived" mean nothing to a
 * store that reopens the arena.
 */
#ifndef TMEM_RECORDS_H
#define TMEM_RECORDS_H

#include <assert.h>
#include <stdatomic.h>
#include <tmem/store.h>
#include "arena.h"

/** Pages of an object that share a leaf. */
#define TMEM_LEAF_PAGES 8u

/** Domain 0: shares with nobody, and is not in the dedup table. */
#define TMEM_DOMAIN_NONE 0u
#define TMEM_DOMAINS_MAX 4096u

/*
 * Ids of clients and pools carry the slot of their record in their low bits
 * and the number of its use above, which is kept in the record: never reused.
 */
#define TMEM_CLIENT_SLOT_BITS 10u
#define TMEM_POOL_SLOT_BITS   12u
static_assert(1u << TMEM_CLIENT_SLOT_BITS == TMEM_CLIENTS_MAX, "");
static_assert(1u << TMEM_POOL_SLOT_BITS == TMEM_POOLS_MAX, "");

/* Guarded by the admin lock. */
struct tmem_client_record {
	_Atomic(uint32_t) id; /* commit */
	uint32_t uses;	      /* of this slot, ever; outlives the client */
	uint32_t uid;
	_Atomic(uint32_t) weight;
	_Atomic(uint64_t) cap;
	_Atomic(uint64_t) maxmem;
	_Atomic(uint8_t) codec;
	_Atomic(uint8_t) dedup;
	_Atomic(uint8_t) frozen;
	uint8_t unused[1];
	uint16_t domain;
	uint8_t unused2[2];
	char name[TMEM_NAME_MAX];
	char domain_name[TMEM_NAME_MAX]; /* "": the common one */
	uint8_t unused3[TMEM_CLIENT_RECORD - 168];
};
static_assert(sizeof(struct tmem_client_record) == TMEM_CLIENT_RECORD, "");

/* Guarded by the admin lock. */
struct tmem_pool_record {
	_Atomic(uint32_t) id; /* commit */
	uint32_t uses;	      /* of this slot, ever; outlives the pool */
	uint32_t client;      /* id; 0: shared */
	uint32_t flags;
	struct tmem_uuid uuid;
	uint8_t codec;
	uint8_t dedup;
	uint16_t domain;
	uint8_t unused[4];
	char name[TMEM_NAME_MAX];
	char domain_name[TMEM_NAME_MAX];
	uint8_t unused2[TMEM_POOL_RECORD - 168];
};
static_assert(sizeof(struct tmem_pool_record) == TMEM_POOL_RECORD, "");

/* Guarded by the admin lock. */
struct tmem_auth_record {
	_Atomic(uint32_t) used; /* commit */
	uint32_t uid;
	struct tmem_uuid uuid;
	char name[TMEM_NAME_MAX]; /* the client's */
	uint8_t unused[TMEM_AUTH_RECORD - 88];
};
static_assert(sizeof(struct tmem_auth_record) == TMEM_AUTH_RECORD, "");

/* Guarded by its shard's lock. */
struct tmem_object {
	_Atomic(uint32_t) pool; /* commit: id */
	uint32_t chain;		/* derived */
	uint32_t leaf;		/* derived: first of the object's leaves */
	uint32_t leaves;	/* derived: how many */
	struct tmem_oid oid;
};
static_assert(sizeof(struct tmem_object) == 40, "");

/* Guarded by its shard's lock. */
struct tmem_leaf {
	_Atomic(uint32_t) object; /* commit: id */
	uint32_t block;		  /* index / TMEM_LEAF_PAGES */
	_Atomic(uint32_t) content[TMEM_LEAF_PAGES]; /* each commits itself */
	/* all below derived */
	uint32_t chain;
	uint32_t object_next; /* list of the object's leaves */
	uint32_t object_prev;
	uint32_t queue_next; /* towards the tail: older */
	uint32_t queue_prev;
	uint8_t visited;  /* a bit a page */
	bool counted : 1; /* charge.c's: see struct tmem_shard */
	bool fresh : 1;	  /* eviction has not tried it yet */
	uint8_t warm;	  /* a bit a page: read since cooling came by */
	uint8_t tried;	  /* a bit a page: zstd gains nothing */
};
static_assert(sizeof(struct tmem_leaf) == 64, "");

/** A content's place, size, codec, kind and domain: see content.h. Commit. */
typedef _Atomic(uint64_t) tmem_word;

/* refs: see content.h. hash and chain: guarded by the dedup lock of the hash's
 * part once the content is in the dedup table. A fill content is not chained:
 * its 64-bit fill value stands in hash (low half) and chain (high half). */
struct tmem_meta {
	uint32_t hash;
	_Atomic(uint32_t) refs; /* derived */
	uint32_t chain;		/* derived, except for a fill content */
};
static_assert(sizeof(struct tmem_meta) == 12, "");

#endif
