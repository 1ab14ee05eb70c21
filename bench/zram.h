/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zram devices that exist while a benchmark runs: the kernel's own store of
 * compressed pages, to compare with. Root only. One thread.
 */
#ifndef BENCH_ZRAM_H
#define BENCH_ZRAM_H

#include <stdint.h>
#include "report.h"

enum { BENCH_ZRAM_LZO, BENCH_ZRAM_LZ4, BENCH_ZRAMS };

extern const char *const bench_zram_algorithms[BENCH_ZRAMS];

struct bench_zrams; /* the devices, and the process that removes them */

/** Make them, of so many bytes. Before any memory is filled, since it forks.
 * NULL, having said why, where that cannot be done. */
struct bench_zrams *bench_zrams_new(uint64_t bytes);

/** A device, opened for direct I/O until it is removed; -1: there is none. */
int bench_zrams_open(struct bench_zrams *zrams, int which);

/** Note zram/ALGORITHM/{compressed,used}: what it holds, bytes. */
void bench_zrams_note(const struct bench_zrams *zrams, int which,
		      json_t *report);

/** Remove them; NULL is fine. They are removed as well when the process ends
 * in any other way. */
void bench_zrams_free(struct bench_zrams *zrams);

#endif
