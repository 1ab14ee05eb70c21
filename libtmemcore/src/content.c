/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Content records (content.h). The order of stores is what makes a content
 * survive or vanish whole when the process dies:
 *
 *   new:     slot taken -> bytes -> meta -> word            (then a leaf)
 *   free:    (no leaf) -> word = 0 -> slot free -> id free
 *   move:    new slot taken -> bytes -> word -> old slot free
 *   recode:  the same, the word telling another codec and size
 *   ripen:   meta -> word
 */
#include "content.h"
#include <errno.h>
#include <sched.h>
#include <string.h>

/* How often a move or a recoding tries for the exclusive pin before it leaves a
 * content that is being read as it is: about as long as a read takes. */
#define MOVE_TRIES 64

int tmem_contents_init(struct tmem_contents *contents, struct tmem_arena *arena,
		       struct tmem_slabs *slabs, struct tmem_codecs *codecs,
		       unsigned hash_bits)
{
	static const enum tmem_arena_part part[] = {TMEM_PART_WORDS,
						    TMEM_PART_METAS};
	static const uint32_t record[] = {sizeof(tmem_word),
					  sizeof(struct tmem_meta)};
	int r;

	memset(contents, 0, sizeof(*contents));
	contents->slabs = slabs;
	contents->codecs = codecs;
	r = tmem_table_init(&contents->table, arena, 2, part, record);
	if (r < 0)
		return r;
	r = tmem_dedup_init(&contents->dedup, arena, hash_bits);
	if (r < 0)
		tmem_table_deinit(&contents->table);
	return r;
}

void tmem_contents_deinit(struct tmem_contents *contents)
{
	tmem_dedup_deinit(&contents->dedup);
	tmem_table_deinit(&contents->table);
}

int tmem_content_new(struct tmem_contents *contents,
		     const struct tmem_content_spec *spec, uint32_t *id)
{
	struct tmem_content_word w = {
		.size = spec->size,
		.codec = spec->codec,
		.kind = spec->kind,
		.domain = spec->domain,
	};
	struct tmem_meta *meta;
	uint32_t new;
	int r;

	r = tmem_table_alloc(&contents->table, &new);
	if (r < 0)
		return r;
	meta = tmem_content_meta(contents, new);
	if (spec->codec == TMEM_CODEC_FILL) {
		meta->hash = (uint32_t)spec->fill;
		meta->chain = (uint32_t)(spec->fill >> 32);
	} else {
		r = tmem_slab_alloc(contents->slabs, spec->kind, spec->size,
				    new, spec->how, &w.place);
		if (r < 0) {
			tmem_table_free(&contents->table, new);
			return r;
		}
		if (spec->size == TMEM_PAGE_SIZE)
			tmem_page_store(tmem_slab_at(contents->slabs, w.place),
					spec->bytes);
		else
			memcpy(tmem_slab_at(contents->slabs, w.place),
			       spec->bytes, spec->size);
		meta->hash = spec->hash;
		meta->chain = 0;
	}
	tmem_content_count(contents, spec->codec, 1);
	/* Compaction may look at a record that is not complete yet: it sees
	 * no references, or a word that does not name the place it asks for. */
	atomic_store_explicit(&meta->refs, 1, memory_order_release);
	atomic_store_explicit(tmem_content_word(contents, new),
			      tmem_word_pack(w), memory_order_release);
	if (tmem_word_listed(w))
		tmem_dedup_add(contents, new);
	*id = new;
	return 0;
}

struct tmem_content_word tmem_content_forget(struct tmem_contents *contents,
					     uint32_t id)
{
	struct tmem_content_word w = tmem_content_load(contents, id);

	atomic_store_explicit(tmem_content_word(contents, id), 0,
			      memory_order_release);
	tmem_content_count(contents, w.codec, UINT64_MAX);
	return w;
}

void tmem_content_free(struct tmem_contents *contents, uint32_t id)
{
	struct tmem_content_word w = tmem_content_forget(contents, id);

	if (w.codec != TMEM_CODEC_FILL)
		tmem_slab_free(contents->slabs, w.place);
	tmem_table_free(&contents->table, id);
}

void tmem_content_ripen(struct tmem_contents *contents, uint32_t id,
			uint32_t domain, uint32_t hash)
{
	struct tmem_content_word w = tmem_content_load(contents, id);
	struct tmem_meta *meta = tmem_content_meta(contents, id);

	w.codec = TMEM_CODEC_RAW;
	w.domain = domain;
	meta->hash = hash;
	meta->chain = 0;
	atomic_store_explicit(tmem_content_word(contents, id),
			      tmem_word_pack(w), memory_order_release);
	tmem_content_count(contents, TMEM_CODEC_YOUNG, UINT64_MAX);
	tmem_content_count(contents, TMEM_CODEC_RAW, 1);
}

bool tmem_content_put_down_shared(struct tmem_contents *contents, uint32_t id,
				  uint32_t what)
{
	_Atomic(uint32_t) *refs = &tmem_content_meta(contents, id)->refs;
	uint32_t old = atomic_load_explicit(refs, memory_order_acquire);

	/* Release: what this thread did with the content is done before
	 * whoever frees it goes on. Acquire: who frees it sees all of it. */
	while (old != what)
		if (atomic_compare_exchange_weak_explicit(
			    refs, &old, old - what, memory_order_release,
			    memory_order_acquire))
			return true;
	return false;
}

bool tmem_content_put_down_last(struct tmem_contents *contents, uint32_t id,
				uint32_t what)
{
	return atomic_fetch_sub_explicit(&tmem_content_meta(contents, id)->refs,
					 what, memory_order_acq_rel) == what;
}

/* Take a reference or pins off. */
static void put_down(struct tmem_contents *contents, uint32_t id, uint32_t what)
{
	bool last;

	if (tmem_content_put_down_shared(contents, id, what))
		return;
	last = tmem_content_named(contents, id)
		       ? tmem_dedup_put_down(contents, id, what)
		       : tmem_content_put_down_last(contents, id, what);
	if (last)
		tmem_content_free(contents, id);
}

bool tmem_content_try_pin(struct tmem_contents *contents, uint32_t id)
{
	_Atomic(uint32_t) *refs = &tmem_content_meta(contents, id)->refs;
	uint32_t old = atomic_load_explicit(refs, memory_order_relaxed);

	do {
		/* One more would be the exclusive pin. */
		if ((old & TMEM_PINS_MASK) >= TMEM_PINS_MASK - TMEM_PIN_ONE)
			return false;
		/* Acquire: see the word that a move has just stored. */
	} while (!atomic_compare_exchange_weak_explicit(
		refs, &old, old + TMEM_PIN_ONE, memory_order_acquire,
		memory_order_relaxed));
	return true;
}

void tmem_content_pin(struct tmem_contents *contents, uint32_t id)
{
	while (!tmem_content_try_pin(contents, id))
		sched_yield();
}

void tmem_content_unpin(struct tmem_contents *contents, uint32_t id)
{
	put_down(contents, id, TMEM_PIN_ONE);
}

bool tmem_content_keep(struct tmem_contents *contents, uint32_t id)
{
	_Atomic(uint32_t) *refs = &tmem_content_meta(contents, id)->refs;
	uint32_t old = atomic_load_explicit(refs, memory_order_relaxed);

	do {
		if ((old & TMEM_REFS_MAX) == TMEM_REFS_MAX)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		refs, &old, old - TMEM_PIN_ONE + 1, memory_order_release,
		memory_order_relaxed));
	return true;
}

void tmem_content_drop(struct tmem_contents *contents, uint32_t id)
{
	put_down(contents, id, 1);
}

int tmem_content_read(struct tmem_contents *contents, uint32_t id, void *page)
{
	struct tmem_content_word w = tmem_content_load(contents, id);
	int r;

	if (w.codec == TMEM_CODEC_FILL) {
		tmem_page_fill(page,
			       tmem_meta_fill(tmem_content_meta(contents, id)));
		return 0;
	}
	r = tmem_codec_decompress(contents->codecs, w.codec,
				  tmem_slab_at(contents->slabs, w.place),
				  w.size, page);
	if (r < 0)
		atomic_fetch_add_explicit(&contents->decode_errors, 1,
					  memory_order_relaxed);
	return r;
}

/* The word of a content that may be gone; no codec when it is. The table's lock
 * keeps its record in memory while this looks. */
static struct tmem_content_word peek(struct tmem_contents *contents,
				     uint32_t id)
{
	struct tmem_content_word w = {.codec = TMEM_CODEC_NONE};

	tmem_lock_acquire(&contents->table.lock);
	if (tmem_table_backed(&contents->table, id))
		w = tmem_content_load(contents, id);
	tmem_lock_release(&contents->table.lock);
	return w;
}

/* Pin a content that may be gone, for nobody else to read meanwhile. */
static bool pin_exclusive(struct tmem_contents *contents, uint32_t id)
{
	bool pinned = false;

	for (int i = 0; i < MOVE_TRIES && !pinned; i++) {
		bool gone = true;

		tmem_lock_acquire(&contents->table.lock);
		if (tmem_table_backed(&contents->table, id)) {
			_Atomic(uint32_t) *refs =
				&tmem_content_meta(contents, id)->refs;
			uint32_t old = atomic_load_explicit(
				refs, memory_order_relaxed);

			gone = old == 0;
			/* Acquire: the last reader is done. */
			pinned = old && !(old & TMEM_PINS_MASK) &&
				 atomic_compare_exchange_strong_explicit(
					 refs, &old, old | TMEM_PINS_MASK,
					 memory_order_acquire,
					 memory_order_relaxed);
		}
		tmem_lock_release(&contents->table.lock);
		if (gone)
			break;
	}
	return pinned;
}

static bool is_at(struct tmem_content_word w, uint64_t place)
{
	return (unsigned)w.codec >= TMEM_CODEC_RAW && w.place == place;
}

int tmem_content_move(void *ctx, uint32_t id, uint64_t place)
{
	struct tmem_contents *contents = ctx;
	struct tmem_slabs *slabs = contents->slabs;
	struct tmem_content_word w, seen = peek(contents, id);
	uint64_t new_place;
	bool moved;
	int r;

	/* It may be another content by now, elsewhere or not complete. */
	if (!is_at(seen, place))
		return -EAGAIN;
	/* Before the pin: readers wait for that, and this may take long. */
	r = tmem_slab_alloc(slabs, seen.kind, seen.size, id, TMEM_SLAB_STRETCH,
			    &new_place);
	if (r < 0)
		return r;
	if (!pin_exclusive(contents, id)) {
		tmem_slab_free(slabs, new_place);
		return -EAGAIN;
	}
	w = tmem_content_load(contents, id);
	moved = is_at(w, place) && w.size == seen.size && w.kind == seen.kind;
	if (moved) {
		memcpy(tmem_slab_at(slabs, new_place),
		       tmem_slab_at(slabs, place), w.size);
		w.place = new_place;
		atomic_store_explicit(tmem_content_word(contents, id),
				      tmem_word_pack(w), memory_order_release);
		atomic_fetch_add_explicit(&contents->compactions, 1,
					  memory_order_relaxed);
	}
	put_down(contents, id, TMEM_PINS_MASK);
	tmem_slab_free(slabs, moved ? place : new_place);
	return moved ? 0 : -EAGAIN;
}

/* Make the caller's pin, the only one, exclusive. */
static bool upgrade_pin(struct tmem_contents *contents, uint32_t id)
{
	_Atomic(uint32_t) *refs = &tmem_content_meta(contents, id)->refs;
	uint32_t old = atomic_load_explicit(refs, memory_order_relaxed);

	for (int i = 0; i < MOVE_TRIES; i++) {
		if ((old & TMEM_PINS_MASK) != TMEM_PIN_ONE)
			old = atomic_load_explicit(refs, memory_order_relaxed);
		/* Acquire: the last reader is done with the old slot. */
		else if (atomic_compare_exchange_weak_explicit(
				 refs, &old, old | TMEM_PINS_MASK,
				 memory_order_acquire, memory_order_relaxed))
			return true;
	}
	return false;
}

/* The slot for a page held in another way, filled. */
static int new_slot(struct tmem_contents *contents, uint32_t id,
		    struct tmem_content_word *w, const void *bytes)
{
	struct tmem_slabs *slabs = contents->slabs;
	uint64_t old = w->place;
	int r = tmem_slab_alloc(slabs, w->kind, w->size, id, TMEM_SLAB_STRETCH,
				&w->place);

	if (r < 0)
		return r;
	if (tmem_slab_bytes_at(slabs, w->place) >=
	    tmem_slab_bytes_at(slabs, old)) {
		tmem_slab_free(slabs, w->place);
		return -ENOMEM;
	}
	memcpy(tmem_slab_at(slabs, w->place), bytes, w->size);
	return 0;
}

int tmem_content_recode(struct tmem_contents *contents, uint32_t id,
			enum tmem_codec codec, const void *bytes, uint32_t size)
{
	/* Compaction leaves what is pinned alone: word and slots stay. */
	const struct tmem_content_word old = tmem_content_load(contents, id);
	struct tmem_content_word w = old;
	int r;

	w.codec = codec;
	w.size = size;
	r = new_slot(contents, id, &w, bytes);
	if (r < 0)
		return r;
	if (!upgrade_pin(contents, id)) {
		tmem_slab_free(contents->slabs, w.place);
		return -EAGAIN;
	}
	atomic_store_explicit(tmem_content_word(contents, id),
			      tmem_word_pack(w), memory_order_release);
	/* Release: who pins it from now on sees the new word. */
	atomic_fetch_sub_explicit(&tmem_content_meta(contents, id)->refs,
				  TMEM_PINS_MASK - TMEM_PIN_ONE,
				  memory_order_release);
	tmem_content_count(contents, old.codec, UINT64_MAX);
	tmem_content_count(contents, codec, 1);
	tmem_slab_free(contents->slabs, old.place);
	return 0;
}
