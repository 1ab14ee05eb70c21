/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading counters (tmem/stats.h declares them).
 */
#ifndef TMEM_SRC_STATS_H
#define TMEM_SRC_STATS_H

#include "state.h"

/** tmem_pool_stats() on a local store. */
int tmem_stats_of_use(struct tmem_pool *pool, uint64_t *values);

#endif
