/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages from the machine, for benchmarks (BENCHMARKS.md, "Data"): of files, and
 * of the anonymous memory of a process.
 */
#ifndef BENCH_PAGESET_H
#define BENCH_PAGESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Pages, aligned, and for each the object it belongs to: a file, or 0. */
struct bench_pages {
	uint8_t *bytes;
	uint32_t *object;
	size_t count, room;
	uint32_t objects; /**< numbers given out */
};

/** Room for so many pages, touched already, and none of them there. Exits
 * where there is no memory. */
struct bench_pages bench_pages_new(size_t room);
struct bench_pages bench_pages_copy(const struct bench_pages *pages);
void bench_pages_free(struct bench_pages *pages);

/** Page number i of a set. */
uint8_t *bench_page(const struct bench_pages *pages, size_t i);

/** Write number into a page's last word. */
void bench_number(uint8_t *page, uint64_t number);

/**
 * Add at most most pages of the regular files below path (with elf, of those
 * that are ELF files), in an order that their paths below it decide and that
 * looks random: two releases of one tree yield much the same pages. Of one
 * file at most a_file pages; its last page is filled up with zeros; pages whose
 * words are all equal are left out. Returns how many were added.
 */
size_t bench_pages_of_files(const char *path, bool elf, size_t a_file,
			    struct bench_pages *to, size_t most);

/** The same of the private writable memory of a process, which must not run
 * meanwhile, as one object. 0 where it may not be read. */
size_t bench_pages_of_process(pid_t pid, struct bench_pages *to, size_t most);

/** The same of a C++ compiler, stopped once it holds that much. 0 where there
 * is none. */
size_t bench_pages_of_compiler(struct bench_pages *to, size_t most);

#endif
