/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the store has to reach, computed from the results. One thread. */
#ifndef BENCH_GOALS_H
#define BENCH_GOALS_H

#include <stdbool.h>
#include "report.h"

/** Print every goal with what was measured, note them as "goals" in the
 * report, and return whether all that were measured are met. */
bool bench_goals(json_t *report);

#endif
