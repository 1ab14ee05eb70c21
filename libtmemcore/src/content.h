/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contents: what handles name. A content is a record of one 64-bit word (where
 * the bytes are, how long, which codec) and a meta record (hash, references
 * and pins), under one id; a page whose words are all equal has no bytes.
 *
 * References and pins share one 32-bit word: the low 20 bits count handles
 * (and puts on their way to one), the high 12 readers. Whoever brings it to 0
 * frees the content. A content of a dedup domain is brought to 0 only under
 * its part's lock of the dedup table, and leaves the table there; so what is
 * found in the table may be pinned.
 *
 * All pins set at once is the exclusive pin of compaction and recoding: it is
 * taken only while nobody reads, and held for one copy, or one store; readers
 * that come meanwhile spin.
 *
 * Threading: any thread. A caller that has neither a reference nor a pin may
 * take one only under the lock that keeps the content alive: its shard's (a
 * leaf names it) or its dedup part's (the table does).
 */
#ifndef TMEM_CONTENT_H
#define TMEM_CONTENT_H

#include "codec.h"
#include "dedup.h"
#include "records.h"
#include "slab.h"
#include "table.h"

#define TMEM_REFS_MAX  ((1u << 20) - 1)
#define TMEM_PIN_ONE   (1u << 20)
#define TMEM_PINS_MASK (~TMEM_REFS_MAX)

/** Codecs that a content word can tell apart. */
#define TMEM_WORD_CODECS 8u

struct tmem_contents {
	struct tmem_table table; /* part 0: words, part 1: metas */
	struct tmem_slabs *slabs;
	struct tmem_codecs *codecs;
	struct tmem_dedup_table dedup;
	_Atomic(uint64_t) held[TMEM_WORD_CODECS]; /* contents, by codec */
	_Atomic(uint64_t) compactions;		  /* contents moved */
	_Atomic(uint64_t) decode_errors;
};

/** A content word, taken apart. */
struct tmem_content_word {
	uint64_t place; /* of its slot; FILL: 0 */
	uint32_t size;	/* bytes; FILL: 0 */
	enum tmem_codec codec;
	enum tmem_kind kind;
	uint32_t domain;
};

static inline uint64_t tmem_word_pack(struct tmem_content_word w)
{
	uint32_t size = w.size ? w.size - 1 : 0;

	return w.place | (uint64_t)size << 36 | (uint64_t)w.codec << 48 |
	       (uint64_t)w.kind << 51 | (uint64_t)w.domain << 52;
}

static inline struct tmem_content_word tmem_word_unpack(uint64_t word)
{
	struct tmem_content_word w = {
		.place = word & ((UINT64_C(1) << 36) - 1),
		.size = (uint32_t)(word >> 36 & 0xfff) + 1,
		.codec = (enum tmem_codec)(word >> 48 & 7),
		.kind = (enum tmem_kind)(word >> 51 & 1),
		.domain = (uint32_t)(word >> 52),
	};

	if (w.codec == TMEM_CODEC_FILL)
		w.size = 0;
	return w;
}

/** Whether a content with this word stands in the dedup table. */
static inline bool tmem_word_listed(struct tmem_content_word w)
{
	return w.domain != TMEM_DOMAIN_NONE && w.codec != TMEM_CODEC_YOUNG;
}

static inline tmem_word *tmem_content_word(const struct tmem_contents *contents,
					   uint32_t id)
{
	return tmem_table_record(&contents->table, 0, id);
}

static inline struct tmem_meta *
tmem_content_meta(const struct tmem_contents *contents, uint32_t id)
{
	return tmem_table_record(&contents->table, 1, id);
}

/** Begin to fetch a content's records, which lie apart. */
static inline void tmem_content_prefetch(const struct tmem_contents *contents,
					 uint32_t id)
{
	__builtin_prefetch(tmem_content_word(contents, id));
	__builtin_prefetch(tmem_content_meta(contents, id), 1);
}

/** Acquire: the bytes and the meta record were complete when the word was
 * stored. */
static inline struct tmem_content_word
tmem_content_load(const struct tmem_contents *contents, uint32_t id)
{
	return tmem_word_unpack(atomic_load_explicit(
		tmem_content_word(contents, id), memory_order_acquire));
}

/** Begin to fetch the bytes of a pinned content: a page's own translation
 * (TLB) takes longer than its first bytes. */
static inline void
tmem_content_prefetch_bytes(const struct tmem_contents *contents, uint32_t id)
{
	__builtin_prefetch(tmem_slab_at(contents->slabs,
					tmem_content_load(contents, id).place));
}

/** Begin to fetch what giving a content's slot back takes: its slab's record,
 * and once that is there, the slot's owner. Its word has been fetched; a handle
 * names it meanwhile. */
static inline void
tmem_content_prefetch_slab(const struct tmem_contents *contents, uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(contents, id);

	if (w.codec != TMEM_CODEC_FILL)
		tmem_slab_prefetch(contents->slabs, w.place);
}

static inline void
tmem_content_prefetch_owner(const struct tmem_contents *contents, uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(contents, id);

	if (w.codec != TMEM_CODEC_FILL)
		tmem_slab_prefetch_owner(contents->slabs, w.place);
}

/** Handles that name it (relaxed: a snapshot). */
static inline uint32_t tmem_content_refs(const struct tmem_contents *contents,
					 uint32_t id)
{
	return atomic_load_explicit(&tmem_content_meta(contents, id)->refs,
				    memory_order_relaxed) &
	       TMEM_REFS_MAX;
}

static inline uint64_t tmem_meta_fill(const struct tmem_meta *meta)
{
	return meta->hash | (uint64_t)meta->chain << 32;
}

/** Lay the content table over the arena. slabs and codecs are borrowed.
 * hash_bits as in struct tmem_store_config. Returns 0 or -ENOMEM. */
int tmem_contents_init(struct tmem_contents *contents, struct tmem_arena *arena,
		       struct tmem_slabs *slabs, struct tmem_codecs *codecs,
		       unsigned hash_bits);
void tmem_contents_deinit(struct tmem_contents *contents);

/** What a new content is to be. */
struct tmem_content_spec {
	enum tmem_kind kind;
	uint32_t domain; /* TMEM_DOMAIN_NONE: not in the dedup table */
	uint32_t hash;	 /* tmem_dedup_hash(), unless FILL */
	enum tmem_codec codec;
	uint32_t size;	   /* of bytes; FILL: 0 */
	const void *bytes; /* FILL: unused */
	uint64_t fill;	   /* FILL: the word */
	unsigned how;	   /* to take a slot: enum tmem_slab_how */
};

/** Make a content with one reference, the caller's, and enter it into the
 * dedup table if it has a domain and is not young. Returns 0; -ENOMEM or
 * -ENOSPC when there is no room. */
int tmem_content_new(struct tmem_contents *contents,
		     const struct tmem_content_spec *spec, uint32_t *id);

/** Contents held with a codec: 1 more, or by UINT64_MAX 1 less. */
static inline void tmem_content_count(struct tmem_contents *contents,
				      enum tmem_codec codec, uint64_t more)
{
	/* In one order with what tmem_nursery_came() looks at. */
	atomic_fetch_add(&contents->held[codec], more);
}

/** A young content that the caller has pinned is RAW from now on, where it is.
 * With a domain, the caller enters it into the dedup table next. */
void tmem_content_ripen(struct tmem_contents *contents, uint32_t id,
			uint32_t domain, uint32_t hash);

/** Pin for reading; the caller's lock keeps a handle naming the content. */
void tmem_content_pin(struct tmem_contents *contents, uint32_t id);
/** The same where no handle may be left (in the dedup table), so that waiting
 * for compaction, which may be about to free it, would be a deadlock: false
 * when it cannot be pinned now. */
bool tmem_content_try_pin(struct tmem_contents *contents, uint32_t id);
void tmem_content_unpin(struct tmem_contents *contents, uint32_t id);
/** Turn the caller's pin into a reference. False when the references are full
 * (the pin stays). */
bool tmem_content_keep(struct tmem_contents *contents, uint32_t id);
/** Give a reference back. */
void tmem_content_drop(struct tmem_contents *contents, uint32_t id);
/** Give back a reference to each of many contents (TMEM_SLAB_BATCH at most; ids
 * is overwritten). Slabs that fall empty are added to ends, for the caller to
 * end. */
void tmem_content_drop_many(struct tmem_contents *contents, uint32_t *ids,
			    unsigned count, struct tmem_slab_ends *ends);

/** Read a pinned content. Returns 0; -EBADMSG when its bytes do not decode
 * (counted). */
int tmem_content_read(struct tmem_contents *contents, uint32_t id, void *page);

/**
 * Hold a page that the caller has pinned, once and nobody else, in another way:
 * as size bytes of codec, which the caller made of it. They get a slot that is
 * smaller than the old one. Under a shard's lock or none; what handles are
 * charged is tmem_charge_recoded()'s. Returns 0; -EAGAIN when others read it;
 * -ENOMEM or -ENOSPC without such a slot. Whatever it returns, the pin stays
 * the caller's.
 */
int tmem_content_recode(struct tmem_contents *contents, uint32_t id,
			enum tmem_codec codec, const void *bytes,
			uint32_t size);

/** tmem_slab_move_fn; ctx is the struct tmem_contents. */
int tmem_content_move(void *ctx, uint32_t id, uint64_t place);

/* What drops are made of: content.c, content-drop.c, dedup.c. -------------- */

/** Free a content that nobody names, reads or finds any more. */
void tmem_content_free(struct tmem_contents *contents, uint32_t id);

/** Whether the dedup table names a content. */
static inline bool tmem_content_named(const struct tmem_contents *contents,
				      uint32_t id)
{
	return tmem_word_listed(tmem_content_load(contents, id));
}

/** Take what (a reference or pins) off, unless it may be the last. Returns
 * whether it was taken off. */
bool tmem_content_put_down_shared(struct tmem_contents *contents, uint32_t id,
				  uint32_t what);
/** Take it off a content that the dedup table does not name. Returns whether it
 * was the last: then the caller frees the content. */
bool tmem_content_put_down_last(struct tmem_contents *contents, uint32_t id,
				uint32_t what);
/** End the word of a content that is to be freed. Returns what it was. */
struct tmem_content_word tmem_content_forget(struct tmem_contents *contents,
					     uint32_t id);

#endif
