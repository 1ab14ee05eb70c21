/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Loads by several clients; see rates.h.
 *
 * All rounds of a load come before the next load, and those that only read
 * before all that write, so that what clients without real pages write is
 * never read. In a round the servers take turns.
 */
#include "rates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../clock.h"
#include "client.h"

struct shape {
	const char *name;
	unsigned read_percent, depth, jobs;
};

static const struct shape shapes[BENCH_LOADS] = {
	{"read-d1", 100, 1, 1},	     {"read-d1-j2", 100, 1, 2},
	{"read-d16", 100, 16, 1},    {"read-d32", 100, 32, 1},
	{"read-d32-j2", 100, 32, 2}, {"write-d1", 0, 1, 1},
	{"write-d1-j2", 0, 1, 2},    {"write-d16", 0, 16, 1},
	{"write-d32", 0, 32, 1},     {"write-d32-j2", 0, 32, 2},
	{"mixed-d1", 70, 1, 1},	     {"mixed-d1-j2", 70, 1, 2},
	{"mixed-d32", 70, 32, 1},    {"mixed-d32-j2", 70, 32, 2},
};

const char *bench_rates_load_name(int load)
{
	return shapes[load].name;
}

static bool of_qemu_img(const struct shape *shape)
{
	return shape->jobs == 1 && shape->depth <= 16 &&
	       shape->read_percent % 100 == 0;
}

static bool of_others(const struct shape *shape)
{
	return shape->depth != 16;
}

static const struct {
	const char *name;
	bench_client *client;
	bool (*has)(const struct shape *shape);
} parts[BENCH_PARTS] = {
	[BENCH_RATES] = {"rates", bench_client_own, of_others},
	[BENCH_FIO] = {"fio", bench_client_fio, of_others},
	[BENCH_QEMU_IMG] = {"qemu-img", bench_client_qemu_img, of_qemu_img},
};

/* A server's results with one load. */
struct result {
	double *iops; /* of each round */
	uint64_t requests;
	uint64_t cpu_ns;       /* while clients were served */
	uint64_t later_cpu_ns; /* until the server was idle */
	uint64_t later_since;
	struct bench_loaded last;
	struct bench_latency latency;
};

struct run {
	enum bench_part part;
	const struct bench_options *options;
	struct bench_pages *set;
	struct bench_server servers[BENCH_SERVERS];
	size_t count;
};

static void start_servers(struct run *run,
			  const struct bench_server_config *config)
{
	for (int kind = 0; kind < BENCH_SERVERS; kind++) {
		struct bench_server *server = &run->servers[run->count];

		if (!(run->options->servers & 1u << kind) ||
		    (kind == BENCH_ZRAM &&
		     (config->device < 0 || run->part != BENCH_RATES)))
			continue;
		bench_server_start(server, (enum bench_server_kind)kind,
				   config);
		bench_server_turn(server);
		bench_load_fill(server, run->set);
		bench_server_stop(server);
		run->count++;
	}
}

/* What a server does before it is idle, it does for its last load. */
static void take_up(const struct bench_server *server, struct result *result)
{
	bench_server_turn(server);
	if (result->requests)
		result->later_cpu_ns +=
			bench_server_cpu_ns(server) - result->later_since;
}

static void turn(const struct run *run, const struct bench_server *server,
		 const struct bench_load *load, struct result *result,
		 unsigned long round)
{
	uint64_t before;

	take_up(server, result);
	before = bench_server_cpu_ns(server);
	parts[run->part].client(server, load, run->set, &result->last);
	bench_server_stop(server);
	result->later_since = bench_server_cpu_ns(server);
	result->cpu_ns += result->later_since - before;
	result->iops[round] = result->last.iops;
	result->requests += result->last.requests;
	bench_latency_merge(&result->latency, &result->last.latency);
}

static void note(const struct run *run, const struct shape *shape,
		 const struct bench_server *server, struct result *result,
		 json_t *report)
{
	static const struct {
		const char *name;
		double part;
	} quantiles[] = {{"p50_ns", .5}, {"p99_ns", .99}, {"p999_ns", .999}};
	unsigned long rounds = run->options->rounds;
	char path[96];
	double iops, cpu, later;

	iops = bench_median(result->iops, rounds);
	cpu = (double)result->cpu_ns / (double)result->requests;
	later = (double)result->later_cpu_ns / (double)result->requests;
	snprintf(path, sizeof(path), "%s/%s/%s", parts[run->part].name,
		 shape->name, server->name);
	bench_set(report, iops, "%s/iops", path);
	bench_set(report, result->iops[0], "%s/least_iops", path);
	bench_set(report, result->iops[rounds - 1], "%s/most_iops", path);
	bench_set(report, cpu, "%s/cpu_ns", path);
	bench_set(report, later, "%s/later_cpu_ns", path);
	bench_set(report, cpu + later, "%s/all_cpu_ns", path);
	printf("%-13s %-14s %8.1f %8.1f %8.1f %8.2f %8.2f", shape->name,
	       server->name, iops / 1e3, result->iops[0] / 1e3,
	       result->iops[rounds - 1] / 1e3, cpu / 1e3, later / 1e3);
	if (run->part == BENCH_RATES)
		for (int i = 0; i < 3; i++) {
			double ns = bench_latency_quantile(&result->latency,
							   quantiles[i].part);

			bench_set(report, ns, "%s/%s", path, quantiles[i].name);
			printf(" %8.1f", ns / 1e3);
		}
	printf("\n");
	fflush(stdout);
}

/* A device does one request of a thread at a time. */
static bool bears(const struct bench_server *server, const struct shape *shape)
{
	return server->device < 0 || shape->depth == 1;
}

static void measure(const struct run *run, const struct shape *shape,
		    json_t *report)
{
	const struct bench_load load = {
		.read_percent = shape->read_percent,
		.depth = shape->depth,
		.jobs = shape->jobs,
		.ramp = run->options->ramp,
		.seconds = run->options->seconds,
	};
	struct result *results = calloc(run->count, sizeof(*results));

	bench_must(!results, "calloc");
	for (size_t i = 0; i < run->count; i++) {
		results[i].iops = calloc(run->options->rounds, sizeof(double));
		bench_must(!results[i].iops, "calloc");
	}
	for (unsigned long round = 0; round < run->options->rounds; round++)
		for (size_t i = 0; i < run->count; i++)
			if (bears(&run->servers[i], shape))
				turn(run, &run->servers[i], &load, &results[i],
				     round);
	for (size_t i = 0; i < run->count; i++) {
		if (!bears(&run->servers[i], shape)) {
			free(results[i].iops);
			continue;
		}
		take_up(&run->servers[i], &results[i]);
		bench_server_stop(&run->servers[i]);
		note(run, shape, &run->servers[i], &results[i], report);
		free(results[i].iops);
	}
	free(results);
}

void bench_rates(enum bench_part part, const struct bench_options *options,
		 const struct bench_server_config *config,
		 struct bench_pages *set, json_t *report)
{
	struct run run = {
		.part = part,
		.options = options,
		.set = set,
	};

	printf("\n%-13s %-14s %8s %8s %8s %8s %8s%s\n", parts[part].name,
	       "thousands/s:", "median", "least", "most", "CPU, us", "later",
	       part == BENCH_RATES ? "  p50, us      p99    p99.9" : "");
	start_servers(&run, config);
	for (int i = 0; i < BENCH_LOADS; i++)
		if (options->loads & 1u << i && parts[part].has(&shapes[i]))
			measure(&run, &shapes[i], report);
	for (size_t i = 0; i < run.count; i++)
		bench_server_end(&run.servers[i]);
}
