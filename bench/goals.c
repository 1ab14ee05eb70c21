/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Goals; see goals.h. */
#include "goals.h"

#include <math.h>
#include <stdio.h>

static void print(const struct bench_goal *goal, double measured, bool met)
{
	if (isnan(goal->limit))
		printf("%-69s ", goal->measure);
	else
		printf("%-52s %s %7.4g ", goal->measure,
		       goal->at_least ? "at least" : "at most ", goal->limit);
	if (isnan(goal->limit) && !isnan(measured))
		printf("%9.3f\n", measured);
	else if (isnan(measured))
		printf("%9s  left out\n", "-");
	else
		printf("%9.3f  %s\n", measured, met ? "PASS" : "miss");
}

static json_t *note(const struct bench_goal *goal, double measured, bool met)
{
	json_t *row = json_object();

	json_object_set_new(row, "measure", json_string(goal->measure));
	json_object_set_new(row, "at_least", json_boolean(goal->at_least));
	bench_set(row, goal->limit, "limit");
	bench_set(row, measured, "measured");
	json_object_set_new(row, "met",
			    isnan(measured) || isnan(goal->limit)
				    ? json_null()
				    : json_boolean(met));
	return row;
}

bool bench_goals(const struct bench_goal *goals, size_t count, json_t *report)
{
	json_t *rows = json_array();
	bool all = true;

	printf("\n%-52s %16s %9s\n", "goals", "", "measured");
	for (size_t i = 0; i < count; i++) {
		const struct bench_goal *goal = &goals[i];
		double measured = bench_get(report, "%s", goal->result);
		bool met;

		if (goal->over)
			measured /= bench_get(report, "%s", goal->over);
		met = goal->at_least ? measured >= goal->limit
				     : measured <= goal->limit;
		all = all && (met || isnan(measured) || isnan(goal->limit));
		print(goal, measured, met);
		json_array_append_new(rows, note(goal, measured, met));
	}
	json_object_set_new(report, "goals", rows);
	return all;
}
