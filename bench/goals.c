/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The goals; see goals.h. Each is one result over another, or one alone. */
#include "goals.h"

#include <math.h>
#include <stdio.h>

struct goal {
	const char *measure;
	const char *result; /* paths in the report */
	const char *over;   /* NULL: the result alone */
	double limit;
	bool at_least; /* else at most */
};

static const struct goal goals[] = {
	{"put, room in the nursery / memcpy, cold to cold",
	 "calls/1/put-new/p50_ns", "calls/1/memcpy-cold/p50_ns", 2, false},
	{"get, raw / memcpy from cold", "calls/1/get-raw/p50_ns",
	 "calls/1/memcpy-from-cold/p50_ns", 1.5, false},
	{"get, raw, to a cold page / memcpy, cold to cold",
	 "calls/1/get-raw-to-cold/p50_ns", "calls/1/memcpy-cold/p50_ns", 1.5,
	 false},
	{"get, young / memcpy from cold", "calls/1/get-young/p50_ns",
	 "calls/1/memcpy-from-cold/p50_ns", 1.5, false},
	{"get, lz4 / bare decompression", "calls/1/get-lz4/p50_ns",
	 "calls/1/decompress-lz4/p50_ns", 1.25, false},
	{"get, lzo / bare decompression", "calls/1/get-lzo/p50_ns",
	 "calls/1/decompress-lzo/p50_ns", 1.25, false},
	{"get, zstd / bare decompression", "calls/1/get-zstd/p50_ns",
	 "calls/1/decompress-zstd/p50_ns", 1.25, false},
	{"get, miss, ns", "calls/1/get-miss/p50_ns", NULL, 300, false},
	{"put, duplicate / hash + decompress + compare",
	 "calls/1/put-duplicate/p50_ns", "calls/1/verify/p50_ns", 1.3, false},
	{"sustained put, budget full / bare codec",
	 "sustained/put_pages_per_second",
	 "sustained/bare_codec_pages_per_second", 0.8, true},
	{"the same by processor time, all threads",
	 "sustained/bare_codec_processor_ns_a_page",
	 "sustained/put_processor_ns_a_page", 0.8, true},
	{"put, 2 threads / 1", "calls/2/put-new/calls_per_second",
	 "calls/1/put-new/calls_per_second", 1.85, true},
	{"put, inline, 2 threads / 1", "calls/2/put-inline/calls_per_second",
	 "calls/1/put-inline/calls_per_second", 1.85, true},
	{"get, raw, 2 threads / 1", "calls/2/get-raw/calls_per_second",
	 "calls/1/get-raw/calls_per_second", 1.85, true},
	{"get, lz4, 2 threads / 1", "calls/2/get-lz4/calls_per_second",
	 "calls/1/get-lz4/calls_per_second", 1.85, true},
	{"zram lz4 write / put, room in the nursery",
	 "calls/1/zram-write-lz4/p50_ns", "calls/1/put-new/p50_ns", 5, true},
	{"zram lz4 read / get, raw", "calls/1/zram-read-lz4/p50_ns",
	 "calls/1/get-raw/p50_ns", 5, true},
	{"zram lz4 read / get, lz4", "calls/1/zram-read-lz4/p50_ns",
	 "calls/1/get-lz4/p50_ns", 1.2, true},
	{"metadata, bytes a page", "memory/churned/metadata_a_page", NULL, 60,
	 false},
	{"slab bytes / payload, steady",
	 "memory/churned/slab_bytes_over_payload", NULL, 1.03, false},
	{"slab bytes / payload, half deleted and compacted",
	 "memory/compacted/slab_bytes_over_payload", NULL, 1.05, false},
	{"used and kernel's count apart / 2 % or 8 MiB, steady",
	 "memory/churned/apart_over_allowed", NULL, 1, false},
	{"the same, half deleted and compacted",
	 "memory/compacted/apart_over_allowed", NULL, 1, false},
	{"peak above the budget / 2 % or 8 MiB", "peak/over_allowed", NULL, 1,
	 false},
	{"reclaim of 1 GiB, lz4, ms", "reclaim/lz4/ms_a_gib", NULL, 400, false},
	{"the same / punching as much page by page", "reclaim/lz4/ms",
	 "reclaim/punch-pages/ms", 400. / 435, false},
	{"reclaim of 1 GiB, lz4, half read before, ms",
	 "reclaim/lz4-half-read/ms_a_gib", NULL, 400, false},
	{"reclaim of 1 GiB, raw, ms", "reclaim/raw/ms_a_gib", NULL, 400, false},
	{"logical bytes a byte used, two releases, four guests",
	 "density/two_trees_logical_over_used", NULL, 16, true},
};

static void print(const struct goal *goal, double measured, bool met)
{
	printf("%-52s %s %7.4g ", goal->measure,
	       goal->at_least ? "at least" : "at most ", goal->limit);
	if (isnan(measured))
		printf("%9s  left out\n", "-");
	else
		printf("%9.3f  %s\n", measured, met ? "met" : "missed");
}

static json_t *note(const struct goal *goal, double measured, bool met)
{
	json_t *row = json_object();

	json_object_set_new(row, "measure", json_string(goal->measure));
	json_object_set_new(row, "at_least", json_boolean(goal->at_least));
	bench_set(row, goal->limit, "limit");
	bench_set(row, measured, "measured");
	json_object_set_new(row, "met",
			    isnan(measured) ? json_null() : json_boolean(met));
	return row;
}

bool bench_goals(json_t *report)
{
	json_t *rows = json_array();
	bool all = true;

	printf("\n%-52s %16s %9s\n", "goals", "", "measured");
	for (size_t i = 0; i < sizeof(goals) / sizeof(goals[0]); i++) {
		const struct goal *goal = &goals[i];
		double measured = bench_get(report, "%s", goal->result);
		bool met;

		if (goal->over)
			measured /= bench_get(report, "%s", goal->over);
		met = goal->at_least ? measured >= goal->limit
				     : measured <= goal->limit;
		all = all && (met || isnan(measured));
		print(goal, measured, met);
		json_array_append_new(rows, note(goal, measured, met));
	}
	printf("%-52s %s\n", "eviction: at worst 1 point below the best policy",
	       "measured by bench/eviction");
	json_object_set_new(report, "goals", rows);
	return all;
}
