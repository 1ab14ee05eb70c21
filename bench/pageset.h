/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages from files of the machine, for benchmarks (BENCHMARKS.md, "Data"). */
#ifndef BENCH_PAGESET_H
#define BENCH_PAGESET_H

#include <stddef.h>
#include <stdint.h>

/**
 * Load count pages from the files below paths (NULL-terminated) into a new
 * array, free() it. Returns NULL, having said why, when there are too few.
 */
uint8_t *bench_pageset(char *const *paths, size_t count);

/** Write number into a page's last word. */
void bench_number(uint8_t *page, uint64_t number);

#endif
