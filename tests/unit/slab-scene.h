/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Slabs alone, in an arena of their own: what the tests of slabs share.
 */
#ifndef TEST_SLAB_SCENE_H
#define TEST_SLAB_SCENE_H

#include <check.h>
#include <stdbool.h>
#include <tmem/types.h>
#include "slab.h"

#define RAW	  TMEM_PAGE_SIZE
#define RAW_SLOTS (TMEM_SLAB_SIZE / RAW)

/* The budget is 256 MiB. */
extern struct tmem_budget budget;
extern struct tmem_arena arena;
extern struct tmem_slabs *slabs;

void open_slabs(int fd, uint64_t capacity);
void close_slabs(void);
/* Fixtures: slabs open; slabs sound, and closed. */
void setup_slabs(void);
void teardown_slabs(void);

/* Bytes of the arena's file. */
uint64_t blocks(void);
struct tmem_slab_stats stats(void);
uint64_t alloc(enum tmem_kind kind, uint32_t size, uint32_t owner);
/* One assertion for many bytes: each costs a system call. */
bool all_bytes_are(const uint8_t *at, uint32_t size, uint8_t byte);

/* Run the tests that add adds, each with the fixtures. Returns main()'s. */
int run_slab_tests(const char *name, void (*add)(TCase *tc));

#endif
