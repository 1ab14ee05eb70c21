/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files for arenas under test: nothing of them outlives the process, whatever
 * way it ends.
 */
#ifndef TEST_ARENA_FILE_H
#define TEST_ARENA_FILE_H

#include <stdint.h>

/** A new, empty memfd. Aborts on failure. */
int test_arena_memfd(void);

/**
 * A new file on a tmpfs of its own, of bytes, which is mounted nowhere and
 * goes away with the descriptor. Returns the descriptor, or -errno where this
 * user may not mount (skip the test then).
 */
int test_arena_on_tmpfs(uint64_t bytes);

/** The same file, opened anew (locks and offset of its own). Aborts on
 * failure. */
int test_arena_again(int fd);

/** A copy of a sparse file: a new memfd, holes kept. Aborts on failure. */
int test_arena_copy(int fd);

#endif
