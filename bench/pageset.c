/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of pages, and those of files; see pageset.h. */
#include "pageset.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tmem/types.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec.h"

struct bench_pages bench_pages_new(size_t room)
{
	struct bench_pages pages = {.room = room ? room : 1};

	pages.bytes =
		mmap(NULL, pages.room * TMEM_PAGE_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	pages.object = calloc(pages.room, sizeof(*pages.object));
	if (pages.bytes == MAP_FAILED || !pages.object) {
		fprintf(stderr,
			"%s: no memory for %zu pages; try fewer --pages\n",
			program_invocation_short_name, room);
		exit(1);
	}
	return pages;
}

struct bench_pages bench_pages_copy(const struct bench_pages *pages)
{
	struct bench_pages copy = bench_pages_new(pages->count);

	memcpy(copy.bytes, pages->bytes, pages->count * TMEM_PAGE_SIZE);
	memcpy(copy.object, pages->object,
	       pages->count * sizeof(*pages->object));
	copy.count = pages->count;
	copy.objects = pages->objects;
	return copy;
}

void bench_pages_free(struct bench_pages *pages)
{
	if (pages->bytes)
		munmap(pages->bytes, pages->room * TMEM_PAGE_SIZE);
	free(pages->object);
	*pages = (struct bench_pages){0};
}

uint8_t *bench_page(const struct bench_pages *pages, size_t i)
{
	return pages->bytes + i * TMEM_PAGE_SIZE;
}

void bench_number(uint8_t *page, uint64_t number)
{
	memcpy(page + TMEM_PAGE_SIZE - sizeof(number), &number, sizeof(number));
}

static void load_file(const char *path, bool elf, struct bench_pages *to,
		      size_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t end = to->count + most;
	ssize_t n;

	if (fd < 0)
		return;
	while (to->count < end) {
		uint8_t *page = bench_page(to, to->count);
		uint64_t word;

		n = read(fd, page, TMEM_PAGE_SIZE);
		if (n <= 0 || (elf && memcmp(page, "\177ELF", 4) != 0))
			break;
		elf = false; /* it is one */
		memset(page + n, 0, TMEM_PAGE_SIZE - (size_t)n);
		if (!tmem_page_is_fill(page, &word))
			to->object[to->count++] = to->objects;
	}
	to->objects++;
	close(fd);
}

struct file {
	uint64_t order;
	char *path;
};

struct files {
	struct file *file;
	size_t count, room;
};

static void add_file(struct files *files, const char *path, const char *below)
{
	if (files->count == files->room) {
		files->room = files->room ? 2 * files->room : 1024;
		files->file = reallocarray(files->file, files->room,
					   sizeof(*files->file));
		if (!files->file)
			abort();
	}
	files->file[files->count++] = (struct file){
		.order = XXH3_64bits(below, strlen(below)),
		.path = strdup(path),
	};
}

static int by_order(const void *a, const void *b)
{
	uint64_t x = ((const struct file *)a)->order;
	uint64_t y = ((const struct file *)b)->order;

	return (x > y) - (x < y);
}

static struct files list_files(const char *path)
{
	char *paths[] = {(char *)path, NULL};
	FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	struct files files = {0};
	FTSENT *entry;

	while (tree && (entry = fts_read(tree)))
		if (entry->fts_info == FTS_F)
			add_file(&files, entry->fts_path,
				 entry->fts_path + strlen(path));
	if (tree)
		fts_close(tree);
	if (files.count)
		qsort(files.file, files.count, sizeof(*files.file), by_order);
	return files;
}

size_t bench_pages_of_files(const char *path, bool elf, size_t a_file,
			    struct bench_pages *to, size_t most)
{
	struct files files = list_files(path);
	size_t before = to->count;

	for (size_t i = 0; i < files.count; i++) {
		size_t left = before + most - to->count;

		if (left)
			load_file(files.file[i].path, elf, to,
				  left < a_file ? left : a_file);
		free(files.file[i].path);
	}
	free(files.file);
	return to->count - before;
}
