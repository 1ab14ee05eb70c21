/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads; see rates.h.
 *
 * All rounds of a load come before the next load, and the one that writes comes
 * last. In a round the mounts take turns.
 */
#include "rates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../clock.h"
#include "load.h"

#define KIB	((size_t)1024)
#define FOREVER 3600.0 /* s */

#define READS(bytes, deep, ...)                                                \
	{                                                                      \
		.size = (bytes), .depth = (deep), .read_percent = 100,         \
		##__VA_ARGS__                                                  \
	}

static const struct shape {
	const char *name;
	enum bench_file file;
	struct bench_load load;
} shapes[BENCH_LOADS] = {
	{"hit-4k-d1", BENCH_HIT, READS(4 * KIB, 1)},
	{"hit-4k-d32", BENCH_HIT, READS(4 * KIB, 32)},
	{"hit-128k-d1", BENCH_HIT, READS(128 * KIB, 1)},
	{"miss-4k-d1", BENCH_MISS, READS(4 * KIB, 1, .once = true)},
	{"miss-4k-d32", BENCH_MISS, READS(4 * KIB, 32, .once = true)},
	{"seq-128k-d1", BENCH_MISS,
	 READS(128 * KIB, 1, .in_order = true, .once = true)},
	{"seq-buffered", BENCH_MISS,
	 READS(128 * KIB, 1, .in_order = true, .buffered = true, .once = true)},
	{"mixed-4k-d1",
	 BENCH_MISS,
	 {.size = 4 * KIB, .depth = 1, .read_percent = 70}},
};

const char *bench_rates_load_name(int load)
{
	return shapes[load].name;
}

/* A mount's results with one load. */
struct result {
	double *iops; /* of each round */
	uint64_t requests, cpu_ns, below;
	struct bench_latency latency;
};

struct run {
	const struct bench_options *options;
	const struct bench_ground *ground;
	const struct bench_pages *set;
	struct bench_mount mounts[BENCH_MOUNTS];
	size_t count;
};

/* Those whose budget or codec says nothing of a load are passed over. */
static bool bears(const struct bench_mount *mount, const struct shape *shape)
{
	switch (mount->kind) {
	case BENCH_TMEMFS_LZ4:
		return shape->file == BENCH_HIT;
	case BENCH_TMEMFS_FULL:
		return shape->file == BENCH_MISS;
	case BENCH_LL:
	case BENCH_FH:
		/* They write from where no direct write below can. */
		return shape->load.read_percent == 100;
	default:
		return true;
	}
}

static void path_of(const struct bench_mount *mount, enum bench_file file,
		    char *to, size_t room)
{
	snprintf(to, room, "%s/%s", mount->place, bench_ground_name(file));
}

/* Have its store hold what fits of the file that is never changed. */
static void warm(const struct bench_mount *mount, const struct bench_pages *set)
{
	const struct bench_load all = {
		.size = 1024 * KIB,
		.depth = 1,
		.read_percent = 100,
		.in_order = true,
		.once = true,
		.seconds = FOREVER,
	};
	struct bench_loaded loaded;
	char path[128];

	path_of(mount, BENCH_HIT, path, sizeof(path));
	bench_turns_begin(mount->pids);
	close(bench_load_run(path, &all, set, &loaded));
	bench_turns_settle(mount->pids);
	bench_turns_stop(mount->pids);
}

static void turn(const struct run *run, const struct bench_mount *mount,
		 const struct shape *shape, struct result *result,
		 unsigned long round)
{
	struct bench_load load = shape->load;
	struct bench_loaded loaded;
	uint64_t cpu, below;
	char path[128];

	load.seconds = run->options->seconds;
	load.ramp = load.once ? 0 : run->options->ramp;
	path_of(mount, shape->file, path, sizeof(path));
	bench_turns_begin(mount->pids);
	bench_ground_cold(run->ground, shape->file);
	bench_turns_settle(mount->pids);
	cpu = bench_turns_cpu_ns(mount->pids);
	below = bench_ground_read_bytes(run->ground);
	close(bench_load_run(path, &load, run->set, &loaded));
	result->below += bench_ground_read_bytes(run->ground) - below;
	bench_turns_settle(mount->pids);
	bench_turns_stop(mount->pids);
	result->cpu_ns += bench_turns_cpu_ns(mount->pids) - cpu;
	result->requests += loaded.requests;
	result->iops[round] = loaded.iops;
	bench_latency_merge(&result->latency, &loaded.latency);
}

static void note(const struct run *run, const struct shape *shape,
		 const struct bench_mount *mount, struct result *result,
		 json_t *report)
{
	double requests = (double)result->requests, iops, gbps, below;
	double cpu = (double)result->cpu_ns / requests / 1e3;
	double p50 = bench_latency_quantile(&result->latency, .5) / 1e3;
	double p99 = bench_latency_quantile(&result->latency, .99) / 1e3;
	unsigned long rounds = run->options->rounds;
	char path[96];

	iops = bench_median(result->iops, rounds);
	gbps = iops * (double)shape->load.size / 1e9;
	below = (double)result->below / requests / (double)shape->load.size;
	snprintf(path, sizeof(path), "rates/%s/%s", shape->name, mount->name);
	bench_set(report, iops, "%s/iops", path);
	bench_set(report, result->iops[0], "%s/least_iops", path);
	bench_set(report, result->iops[rounds - 1], "%s/most_iops", path);
	bench_set(report, gbps, "%s/gbps", path);
	bench_set(report, cpu, "%s/cpu_us", path);
	bench_set(report, below, "%s/below", path);
	bench_set(report, p50, "%s/p50_us", path);
	bench_set(report, p99, "%s/p99_us", path);
	printf("%-13s %-14s %8.2f %8.2f %8.2f %8.3f %8.1f %8.2f %8.1f %8.1f\n",
	       shape->name, mount->name, iops / 1e3, result->iops[0] / 1e3,
	       result->iops[rounds - 1] / 1e3, gbps, cpu, below, p50, p99);
	fflush(stdout);
}

static void measure(const struct run *run, const struct shape *shape,
		    json_t *report)
{
	struct result *results = calloc(run->count + 1, sizeof(*results));
	double best;

	bench_must(!results, "calloc");
	for (size_t i = 0; i < run->count; i++) {
		results[i].iops = calloc(run->options->rounds, sizeof(double));
		bench_must(!results[i].iops, "calloc");
	}
	for (unsigned long round = 0; round < run->options->rounds; round++)
		for (size_t i = 0; i < run->count; i++)
			if (bears(&run->mounts[i], shape))
				turn(run, &run->mounts[i], shape, &results[i],
				     round);
	for (size_t i = 0; i < run->count; i++) {
		if (bears(&run->mounts[i], shape))
			note(run, shape, &run->mounts[i], &results[i], report);
		free(results[i].iops);
	}
	free(results);
	best = fmax(bench_get(report, "rates/%s/ll/iops", shape->name),
		    bench_get(report, "rates/%s/fh/iops", shape->name));
	bench_set(report, best, "rates/%s/passthrough/iops", shape->name);
}

void bench_rates(const struct bench_options *options,
		 const struct bench_ground *ground,
		 const struct bench_pages *set, json_t *report)
{
	struct run run = {.options = options, .ground = ground, .set = set};

	printf("\n%-13s %-14s %8s %8s %8s %8s %8s %8s %8s %8s\n", "rates",
	       "thousands/s:", "median", "least", "most", "GB/s", "CPU, us",
	       "below", "p50, us", "p99, us");
	run.count = bench_mounts_start(
		run.mounts, options->mounts & ~(1u << BENCH_TMEMFS_STRICT),
		ground);
	for (size_t i = 0; i < run.count; i++)
		if (bench_mount_caches(run.mounts[i].kind))
			warm(&run.mounts[i], set);
	for (int i = 0; i < BENCH_LOADS; i++)
		if (options->loads & 1u << i)
			measure(&run, &shapes[i], report);
	for (size_t i = 0; i < run.count; i++)
		bench_mount_end(&run.mounts[i]);
}
