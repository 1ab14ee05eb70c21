/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a benchmark has to reach, computed from its results. One thread. */
#ifndef BENCH_GOALS_H
#define BENCH_GOALS_H

#include <stdbool.h>
#include <stddef.h>
#include "report.h"

/** One result over another, or one alone. */
struct bench_goal {
	const char *measure;
	const char *result; /**< paths in the report */
	const char *over;   /**< NULL: the result alone */
	double limit;	    /**< NAN: none; what a goal before is read beside */
	bool at_least;	    /**< else at most */
};

/** Print every goal with what was measured, note them as "goals" in the
 * report, and return whether all that were measured are met. */
bool bench_goals(const struct bench_goal *goals, size_t count, json_t *report);

#endif
