/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The goals of bench/store. */
#ifndef BENCH_STORE_GOALS_H
#define BENCH_STORE_GOALS_H

#include "goals.h"

extern const struct bench_goal bench_store_goals[];
extern const size_t bench_store_goal_count;

#endif
