/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bitmap of atomic words in anonymous memory. */
#include "page-map.h"
#include <errno.h>
#include <sys/mman.h>

#define WORD_BITS 64u

int nbd_page_map_init(struct nbd_page_map *map, uint64_t pages, bool full)
{
	size_t bytes = (pages + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);
	void *words = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (words == MAP_FAILED)
		return -ENOMEM;
	*map = (struct nbd_page_map){.words = words,
				     .flip = full ? UINT64_MAX : 0,
				     .pages = pages,
				     .bytes = bytes};
	return 0;
}

void nbd_page_map_deinit(struct nbd_page_map *map)
{
	if (map->words)
		munmap((void *)map->words, map->bytes);
	map->words = NULL;
}

/** Bits of [first, end) that lie in first's word; *next is where the next
 * word's begin. */
static uint64_t mask_of(uint64_t first, uint64_t end, uint64_t *next)
{
	uint64_t base = first - first % WORD_BITS;
	uint64_t mask = UINT64_MAX << (first % WORD_BITS);

	*next = base + WORD_BITS;
	if (end < *next) {
		mask &= UINT64_MAX >> (*next - end);
		*next = end;
	}
	return mask;
}

static uint64_t load(const struct nbd_page_map *map, uint64_t page)
{
	return map->flip ^ atomic_load_explicit(&map->words[page / WORD_BITS],
						memory_order_relaxed);
}

static void change(struct nbd_page_map *map, uint64_t first, uint64_t count,
		   bool value)
{
	uint64_t end = first + count, next, mask, old;
	_Atomic(uint64_t) *word;

	for (; first < end; first = next) {
		mask = mask_of(first, end, &next);
		old = load(map, first) & mask;
		/* Rewriting a page is common, and a load shares the line. */
		if (old == (value ? mask : 0))
			continue;
		word = &map->words[first / WORD_BITS];
		if (value == !map->flip)
			atomic_fetch_or_explicit(word, mask,
						 memory_order_relaxed);
		else
			atomic_fetch_and_explicit(word, ~mask,
						  memory_order_relaxed);
	}
}

void nbd_page_map_set(struct nbd_page_map *map, uint64_t first, uint64_t count)
{
	change(map, first, count, true);
}

void nbd_page_map_clear(struct nbd_page_map *map, uint64_t first,
			uint64_t count)
{
	change(map, first, count, false);
}

bool nbd_page_map_test(const struct nbd_page_map *map, uint64_t page)
{
	return load(map, page) >> (page % WORD_BITS) & 1;
}

uint64_t nbd_page_map_find(const struct nbd_page_map *map, uint64_t first,
			   uint64_t end, bool value)
{
	uint64_t next, bits;

	for (; first < end; first = next) {
		bits = mask_of(first, end, &next);
		bits &= value ? load(map, first) : ~load(map, first);
		if (bits)
			return first - first % WORD_BITS +
			       (unsigned)__builtin_ctzll(bits);
	}
	return end;
}

uint64_t nbd_page_map_count(const struct nbd_page_map *map)
{
	uint64_t page, next, mask, count = 0;

	for (page = 0; page < map->pages; page = next) {
		mask = mask_of(page, map->pages, &next);
		count += (unsigned)__builtin_popcountll(load(map, page) & mask);
	}
	return count;
}
