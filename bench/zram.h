/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * zram devices that exist while the benchmark runs: the kernel's own store of
 * compressed pages, to compare with. Root only. One thread.
 */
#ifndef BENCH_ZRAM_H
#define BENCH_ZRAM_H

#include <stdint.h>
#include "data.h"

struct bench_zrams; /* the devices, and the process that removes them */

/** Make them, of so many bytes. Before any memory is filled, since it forks.
 * NULL, having said why, where that cannot be done. */
struct bench_zrams *bench_zrams_new(uint64_t bytes);

/** Write the set to all devices, note zram/ALGORITHM/{compressed,used} and let
 * data's lanes have them. NULL is fine. A device that fails is left out, which
 * is said. */
void bench_zrams_fill(struct bench_zrams *zrams, struct bench_data *data,
		      json_t *report);

/** Remove them; NULL is fine. They are removed as well when the process ends
 * in any other way. */
void bench_zrams_free(struct bench_zrams *zrams);

#endif
