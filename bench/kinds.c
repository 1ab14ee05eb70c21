/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of pages; see kinds.h. */
#include "kinds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/types.h>
#include "clock.h"
#include "codec.h"

#define PAGES_A_FILE 256u
#define HALF	     ((size_t)TMEM_PAGE_SIZE / 2)

static const char *const names[BENCH_KINDS] = {
	[BENCH_TEXT] = "text",	    [BENCH_ELF] = "elf",
	[BENCH_PROCESS] = "memory", [BENCH_ALL] = "all",
	[BENCH_HALF] = "half",
};

const char *bench_kind_name(enum bench_kind kind)
{
	return names[kind];
}

static size_t load(enum bench_kind kind,
		   const struct bench_kinds_config *config,
		   struct bench_pages *to)
{
	switch (kind) {
	case BENCH_TEXT:
		return bench_pages_of_files(config->tree, false, PAGES_A_FILE,
					    to, config->pages);
	case BENCH_ELF:
		return bench_pages_of_files("/usr/lib", true, PAGES_A_FILE, to,
					    config->pages);
	default:
		return config->pid ? bench_pages_of_process(config->pid, to,
							    config->pages)
				   : bench_pages_of_compiler(to, config->pages);
	}
}

static void append(struct bench_pages *to, const struct bench_pages *from,
		   size_t page)
{
	memcpy(bench_page(to, to->count++), bench_page(from, page),
	       TMEM_PAGE_SIZE);
}

/* Bytes that LZ4 makes of the next page that takes at most, or more than, a
 * half; 0: there is none. None counts that hardly compresses, or does very
 * well. */
static size_t next_page(const struct bench_pages *all, size_t *page, bool more,
			struct tmem_codecs *codecs)
{
	uint8_t out[TMEM_PAGE_SIZE];

	for (; *page < all->count; ++*page) {
		size_t n = tmem_codec_compress(codecs, TMEM_CODEC_LZ4,
					       bench_page(all, *page), out);

		if (n >= HALF / 2 && n <= HALF / 2 * 3 && (n > HALF) == more)
			return n;
	}
	return 0;
}

/* Always the one of the two that brings all before nearer to a half. */
static void choose_half(struct bench_pages *half, const struct bench_pages *all)
{
	size_t page[2] = {0, 0}, compressed = 0, n;
	struct tmem_codecs *codecs;

	bench_must(tmem_codecs_new(UINT64_MAX, &codecs), "tmem_codecs_new");
	for (;;) {
		bool more = compressed <= half->count * HALF;

		n = next_page(all, &page[more], more, codecs);
		if (!n)
			break;
		append(half, all, page[more]++);
		compressed += n;
	}
	tmem_codecs_free(codecs);
}

void bench_kinds_init(struct bench_kinds *kinds,
		      const struct bench_kinds_config *config)
{
	struct bench_pages *set = kinds->set;

	set[BENCH_ALL] = bench_pages_new((size_t)BENCH_ALL * config->pages);
	for (int kind = 0; kind < BENCH_ALL; kind++) {
		set[kind] = bench_pages_new(config->pages);
		load((enum bench_kind)kind, config, &set[kind]);
		for (size_t i = 0; i < set[kind].count; i++)
			append(&set[BENCH_ALL], &set[kind], i);
	}
	set[BENCH_HALF] = bench_pages_new(set[BENCH_ALL].count);
	choose_half(&set[BENCH_HALF], &set[BENCH_ALL]);
	printf("pages: %zu of files below %s, %zu of ELF files, %zu of a program's memory; of them %zu that LZ4 makes a half\n",
	       set[BENCH_TEXT].count, config->tree, set[BENCH_ELF].count,
	       set[BENCH_PROCESS].count, set[BENCH_HALF].count);
}

void bench_kinds_deinit(struct bench_kinds *kinds)
{
	for (int kind = 0; kind < BENCH_KINDS; kind++)
		bench_pages_free(&kinds->set[kind]);
}
