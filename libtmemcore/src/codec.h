/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressing a page, one table for all codecs, and the workspaces they need:
 * a few for all threads, so that a put never allocates.
 *
 * Threading: any thread; a workspace is locked (TMEM_LOCK_CODEC) while used.
 */
#ifndef TMEM_CODEC_H
#define TMEM_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tmem/types.h>

/** A page that compresses to more than this is held raw. */
#define TMEM_CODEC_MOST 3712u

/** How the arena's words name pages in the nursery: raw, and to be compressed
 * later. No codec that a caller could ask for. */
#define TMEM_CODEC_YOUNG ((enum tmem_codec)TMEM_CODEC_COUNT)

struct tmem_codecs; /* the workspaces of one store */

/** One workspace a processor and one more, but no more than fit in most bytes,
 * and at least one. Returns 0 or -ENOMEM. */
int tmem_codecs_new(uint64_t most, struct tmem_codecs **out);
/** NULL is fine. Always returns NULL. */
struct tmem_codecs *tmem_codecs_free(struct tmem_codecs *codecs);
/** Private memory they hold, bytes: charged by their owner. */
uint64_t tmem_codecs_private(const struct tmem_codecs *codecs);

/**
 * Compress a page with codec (LZ4, LZO or ZSTD) into out, of TMEM_PAGE_SIZE
 * bytes. Returns bytes written, 1 to TMEM_CODEC_MOST, or 0 when it does not
 * get that small (then hold it raw).
 */
size_t tmem_codec_compress(struct tmem_codecs *codecs, enum tmem_codec codec,
			   const void *page, void *out);

/** The same with zstd, for what is seldom read: smaller, and takes longer. */
size_t tmem_codec_compress_cold(struct tmem_codecs *codecs, const void *page,
				void *out);

/**
 * Decompress size bytes (codec RAW or YOUNG: a copy of 4096) into page; in may be
 * anything, out of bounds is never touched. Returns 0 or -EBADMSG.
 */
int tmem_codec_decompress(struct tmem_codecs *codecs, enum tmem_codec codec,
			  const void *in, size_t size, void *page);

/** "lz4" and so on; "?" for numbers that are no codec. */
const char *tmem_codec_name(enum tmem_codec codec);

/** Whether all 64-bit words of a page are equal; then *word is set to it. */
bool tmem_page_is_fill(const void *page, uint64_t *word);
/** Copy a page by the C library's memcpy(). Of a constant size compilers make
 * one instruction (rep movs), which takes 1.3 times as long on cold pages. */
static inline void tmem_page_copy(void *to, const void *from)
{
	size_t size = TMEM_PAGE_SIZE;

	__asm__("" : "+r"(size));
	memcpy(to, from, size);
}
/** Copy a page to where nobody will read it soon, past the caches: 370 ns a
 * page to cold memory where memcpy(), which fetches the lines that it overwrites,
 * takes 700. to: aligned to 16 bytes. What is stored after it is seen after it. */
void tmem_page_store(void *to, const void *from);
/** Set all 64-bit words of a page. */
void tmem_page_fill(void *page, uint64_t word);

#endif
