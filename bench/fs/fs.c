/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemfs beside other file systems on FUSE. BENCHMARKS.md defines data, loads
 * and metrics; this file holds the order of the parts, and the goals.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"
#include "../goals.h"
#include "../kinds.h"
#include "growth.h"
#include "mounts.h"
#include "names.h"
#include "options.h"
#include "rates.h"

#define RATE(text, load, mount, peer, limit)                                   \
	{                                                                      \
		text, "rates/" load "/" mount "/iops",                         \
			"rates/" load "/" peer "/iops", limit, true            \
	}
#define NAMES(work)                                                            \
	{                                                                      \
		work " / best passthrough", "names/" work "/tmemfs",           \
			"names/" work "/passthrough", 1.1, false               \
	}

static const struct bench_goal goals[] = {
	{"4k hit, depth 1, raw: p50, us", "rates/hit-4k-d1/tmemfs/p50_us", NULL,
	 6, false},
	{"4k hit, depth 1, lz4: p50, us", "rates/hit-4k-d1/tmemfs-lz4/p50_us",
	 NULL, 9, false},
	{"4k hit, depth 1, raw, attached: p50, us",
	 "rates/hit-4k-d1/tmemfs-hosted/p50_us", NULL, 10, false},
	{"128k hits, raw: GB/s", "rates/hit-128k-d1/tmemfs/gbps", NULL, 4.5,
	 true},
	{"128k hits, raw, attached: GB/s",
	 "rates/hit-128k-d1/tmemfs-hosted/gbps", NULL, 3.5, true},
	RATE("4k hit, depth 1 / ext4, cold", "hit-4k-d1", "tmemfs", "ext4", 8),
	RATE("4k hit, depth 1, attached / ext4, cold", "hit-4k-d1",
	     "tmemfs-hosted", "ext4", 4),
	RATE("4k miss, depth 32 / ext4", "miss-4k-d32", "tmemfs", "ext4", 0.9),
	RATE("4k miss, depth 32, full / ext4", "miss-4k-d32", "tmemfs-full",
	     "ext4", 0.7),
	RATE("4k miss, depth 1 / best passthrough", "miss-4k-d1", "tmemfs",
	     "passthrough", 0.95),
	RATE("128k sequential, cold / best passthrough", "seq-128k-d1",
	     "tmemfs", "passthrough", 0.95),
	RATE("the same, buffered", "seq-buffered", "tmemfs", "passthrough",
	     0.95),
	NAMES("create"),
	NAMES("open"),
	NAMES("rename"),
	NAMES("unlink"),
	NAMES("untar"),
	{"page cache for what is read, buffered", "growth/tmemfs", NULL,
	 520.0 / 512, false},
	{"page cache for what is read, bypass", "growth/tmemfs-strict", NULL, 0,
	 false},
};

#define GOALS (sizeof(goals) / sizeof(goals[0]))

static void say_missing(unsigned mounts)
{
	for (int kind = 0; kind < BENCH_MOUNTS; kind++)
		if (mounts & 1u << kind &&
		    !bench_mount_there((enum bench_mount_kind)kind))
			printf("left out, not installed: %s\n",
			       bench_mount_name((enum bench_mount_kind)kind));
}

static void measure(const struct bench_options *options, json_t *report)
{
	const char *folder = bench_child_folder();
	struct bench_ground ground;
	struct bench_kinds kinds;
	const struct bench_pages *set = &kinds.set[BENCH_ALL];

	bench_kinds_init(&kinds, &(struct bench_kinds_config){
					 .pages = options->pages,
					 .tree = options->tree,
				 });
	bench_ground_init(&ground, options->dir, folder,
			  (uint64_t)options->mib << 20, options->files, set);
	if (options->parts & 1u << BENCH_RATES)
		bench_rates(options, &ground, set, report);
	if (options->parts & 1u << BENCH_NAMES)
		bench_names(options, &ground, report);
	if (options->parts & 1u << BENCH_GROWTH)
		bench_growth(options, &ground, set, report);
	bench_ground_deinit(&ground);
	bench_kinds_deinit(&kinds);
}

int main(int argc, char **argv)
{
	struct bench_options options = bench_options_parse(argc, argv);
	json_t *report = json_object();
	bool all_met;

	bench_must(!report, "json_object");
	if (geteuid() != 0) {
		fprintf(stderr,
			"fs: makes and mounts file systems; run it as root\n");
		return 1;
	}
	say_missing(options.mounts);
	measure(&options, report);
	all_met = bench_goals(goals, GOALS, report);
	if (options.json &&
	    json_dump_file(report, options.json, JSON_INDENT(1))) {
		fprintf(stderr, "fs: cannot write %s: %s\n", options.json,
			strerror(errno));
		return 1;
	}
	json_decref(report);
	return options.check && !all_met;
}
