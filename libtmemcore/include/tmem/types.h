/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few types that every part of tmem shares: pages, object ids, outcomes
 * and the names of codecs. Plain data, no functions that allocate or lock.
 */
#ifndef TMEM_TYPES_H
#define TMEM_TYPES_H

#include <stdint.h>
#include <string.h>

/** Bytes in a page, the only unit the store moves. */
#define TMEM_PAGE_SIZE 4096u

/** Most pages in one run (one call for neighbouring pages of an object). */
#define TMEM_RUN_MAX 256u

/** Longest name of a client, pool or dedup domain, with its closing NUL. */
#define TMEM_NAME_MAX 64u

/** 192 bits that name an object in a pool; their meaning is the caller's. */
struct tmem_oid {
	uint64_t word[3];
};

/** 128 bits that name a shared pool. All zero means "none". */
struct tmem_uuid {
	uint8_t byte[16];
};

/**
 * Outcomes that are no errors. Calls that move pages return one of these, or
 * -errno when the call itself was wrong or the store could not be reached.
 */
enum tmem_outcome {
	TMEM_OK = 0,	  /**< stored, found, or flushed */
	TMEM_MISS = 1,	  /**< get or flush: the handle holds no page */
	TMEM_REFUSED = 2, /**< put: not stored, and the old page is gone */
};

/** Flags of a pool; ephemeral, private and inclusive unless set. */
enum tmem_pool_flag {
	TMEM_POOL_PERSISTENT = 1u << 0, /**< pages live until flushed */
	TMEM_POOL_SHARED = 1u << 1,	/**< joined by uuid */
	TMEM_POOL_EXCLUSIVE = 1u << 2,	/**< get removes (private ephemeral) */
};

/** How a page's bytes are held. The numbers are part of the arena's format. */
enum tmem_codec {
	TMEM_CODEC_NONE = 0, /**< free record; never a stored page's codec */
	TMEM_CODEC_FILL = 1, /**< all 64-bit words equal; no bytes held */
	TMEM_CODEC_RAW = 2,  /**< 4096 bytes as they came */
	TMEM_CODEC_LZ4 = 3,
	TMEM_CODEC_LZO = 4,
	TMEM_CODEC_ZSTD = 5,
	TMEM_CODEC_COUNT,
};

/** Whether equal pages share one content. */
enum tmem_dedup {
	TMEM_DEDUP_AUTO = 0, /**< where measuring says that it pays */
	TMEM_DEDUP_ON = 1,
	TMEM_DEDUP_OFF = 2,
};

#endif
