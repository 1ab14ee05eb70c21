/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Pages for tests, made from a 64-bit seed: equal seeds give equal bytes
 * within a process and its children, so that a model of a store keeps seeds
 * and no pages. The mix resembles a guest's memory: text, machine code of this
 * program and its libraries, sparse pages, fills, and some that do not
 * compress.
 *
 * Threading: any thread after test_pages_init().
 */
#ifndef TEST_PAGES_H
#define TEST_PAGES_H

#include <stdint.h>

#define TEST_PAGE_SIZE 4096u

enum test_page_kind {
	TEST_PAGE_ZERO,
	TEST_PAGE_FILL,	  /* one word over and over */
	TEST_PAGE_SPARSE, /* zero but for a few words */
	TEST_PAGE_TEXT,
	TEST_PAGE_BINARY, /* from executables of this machine */
	TEST_PAGE_RANDOM, /* does not compress */
	TEST_PAGE_KINDS,
};

/** Load what pages are made of. Call first, once. */
void test_pages_init(void);

/** The page of seed, of the kind that seed falls on (about 3 % zero, 5 % fill,
 * 12 % sparse, 35 % text, 35 % binary, 10 % random). */
void test_page(void *page, uint64_t seed);

/** The page of seed of a given kind. But for ZERO, other seeds give other
 * bytes: the seed itself stands in its first word. */
void test_page_of(void *page, enum test_page_kind kind, uint64_t seed);

/** Whether page holds just what test_page() makes of seed. */
int test_page_is(const void *page, uint64_t seed);

/** The seed a page carries in its first word (0 for a zero page). */
uint64_t test_page_seed(const void *page);

#endif
