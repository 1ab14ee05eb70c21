/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages from files; see pageset.h. */
#include "pageset.h"

#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/types.h>
#include <unistd.h>
#include "codec.h"

#define PAGES_A_FILE 256

void bench_number(uint8_t *page, uint64_t number)
{
	memcpy(page + TMEM_PAGE_SIZE - sizeof(number), &number, sizeof(number));
}

static size_t load_file(const char *path, uint8_t *pages, size_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t loaded = 0;
	uint64_t word;

	if (fd < 0)
		return 0;
	while (loaded < most) {
		uint8_t *page = pages + loaded * TMEM_PAGE_SIZE;

		if (read(fd, page, TMEM_PAGE_SIZE) != TMEM_PAGE_SIZE)
			break;
		if (!tmem_page_is_fill(page, &word))
			loaded++;
	}
	close(fd);
	return loaded;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

uint8_t *bench_pageset(char *const *paths, size_t count)
{
	uint8_t *pages = malloc(count * TMEM_PAGE_SIZE);
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
	size_t loaded = 0;
	FTSENT *entry;

	while (pages && tree && loaded < count && (entry = fts_read(tree))) {
		size_t most = count - loaded;

		if (entry->fts_info == FTS_F)
			loaded += load_file(entry->fts_path,
					    pages + loaded * TMEM_PAGE_SIZE,
					    most < PAGES_A_FILE ? most
								: PAGES_A_FILE);
	}
	if (tree)
		fts_close(tree);
	if (loaded < count) {
		fprintf(stderr,
			"bench: only %zu pages of files in the paths given; name more paths, or fewer --pages\n",
			loaded);
		free(pages);
		return NULL;
	}
	for (size_t i = 0; i < count; i++)
		bench_number(pages + i * TMEM_PAGE_SIZE, i);
	return pages;
}
