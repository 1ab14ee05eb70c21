/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory of servers; see memory.h. */
#include "memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "../clock.h"
#include "load.h"
#include "server.h"

#define TURN_MOST 5.0 /* s, of overwrites */
#define DEPTH	  32u

#define POLL_US 200000

static const enum bench_server_kind compared[] = {
	BENCH_NBDKIT, BENCH_NBDKIT_ZSTD, BENCH_TMEM, BENCH_TMEM_TIGHT};

#define OVERWRITTEN (sizeof(compared) / sizeof(compared[0]))
#define FILLED	    (OVERWRITTEN - 1) /* the budget of one is for a half */

static void start_filled(struct bench_server *server,
			 enum bench_server_kind kind,
			 const struct bench_server_config *config,
			 struct bench_pages *set)
{
	bench_server_start(server, kind, config);
	bench_server_turn(server);
	bench_load_fill(server, set);
	bench_server_stop(server);
}

static double memory_part(const struct bench_server *server)
{
	return (double)bench_server_memory(server) / (double)server->size;
}

/* Turns of each server. Notes the median of their rates. */
static void measure(struct bench_server *servers, const struct bench_load *load,
		    struct bench_pages *set, size_t turns, const char *what,
		    json_t *report)
{
	double *iops = calloc(OVERWRITTEN * turns, sizeof(*iops));
	struct bench_loaded loaded;

	bench_must(!iops, "calloc");
	for (size_t turn = 0; turn < turns; turn++)
		for (size_t i = 0; i < OVERWRITTEN; i++) {
			bench_server_turn(&servers[i]);
			bench_load_run(&servers[i], load, set, &loaded);
			bench_server_stop(&servers[i]);
			iops[i * turns + turn] = loaded.iops;
		}
	for (size_t i = 0; i < OVERWRITTEN; i++)
		bench_set(report, bench_median(iops + i * turns, turns),
			  "overwritten/%s/%s", servers[i].name, what);
	free(iops);
}

void bench_overwritten(const struct bench_options *options,
		       const struct bench_kinds *kinds,
		       const struct bench_server_config *config, json_t *report)
{
	size_t turns = (size_t)ceil(options->overwrite / TURN_MOST);
	const struct bench_load write = {
		.depth = DEPTH,
		.jobs = 1,
		.seconds = options->overwrite / (double)turns,
	};
	const struct bench_load read = {
		.read_percent = 100,
		.depth = DEPTH,
		.jobs = 1,
		.ramp = options->ramp,
		.seconds = options->seconds,
	};
	struct bench_pages set = kinds->set[BENCH_HALF];
	struct bench_server servers[OVERWRITTEN];

	for (size_t i = 0; i < OVERWRITTEN; i++)
		start_filled(&servers[i], compared[i], config, &set);
	measure(servers, &write, &set, turns, "write_iops", report);
	for (size_t i = 0; i < OVERWRITTEN; i++)
		bench_set(report, memory_part(&servers[i]),
			  "overwritten/%s/memory", servers[i].name);
	measure(servers, &read, &set, options->rounds, "read_iops", report);
	printf("\n%-13s %-14s %8s %8s %8s\n", "overwritten",
	       "thousands/s:", "write", "read", "memory");
	for (size_t i = 0; i < OVERWRITTEN; i++) {
		const char *name = servers[i].name;

		printf("%-13s %-14s %8.1f %8.1f %8.3f\n", "", name,
		       bench_get(report, "overwritten/%s/write_iops", name) /
			       1e3,
		       bench_get(report, "overwritten/%s/read_iops", name) /
			       1e3,
		       bench_get(report, "overwritten/%s/memory", name));
		bench_server_end(&servers[i]);
	}
	fflush(stdout);
}

/* Wait until no server's memory has changed for that long. */
static void await_rest(const struct bench_server *servers, double seconds)
{
	uint64_t since = bench_now(), memory = 0;

	while ((double)(bench_now() - since) < seconds * 1e9) {
		uint64_t now = 0;

		usleep(POLL_US);
		for (size_t i = 0; i < FILLED; i++)
			now += bench_server_memory(&servers[i]);
		if (now != memory)
			since = bench_now();
		memory = now;
	}
}

void bench_memory(const struct bench_options *options,
		  const struct bench_kinds *kinds,
		  const struct bench_server_config *config, json_t *report)
{
	printf("\n%-28s", "memory, filled once");
	for (size_t i = 0; i < FILLED; i++)
		printf(" %14s", bench_server_name(compared[i]));
	for (int kind = 0; kind < BENCH_KINDS; kind++) {
		const char *name = bench_kind_name((enum bench_kind)kind);
		struct bench_pages set = kinds->set[kind];
		struct bench_server servers[FILLED];

		printf("\n%-28s", name);
		for (size_t i = 0; i < FILLED; i++)
			start_filled(&servers[i], compared[i], config, &set);
		for (size_t i = 0; i < FILLED; i++)
			bench_server_turn(&servers[i]);
		await_rest(servers, options->rest);
		for (size_t i = 0; i < FILLED; i++) {
			double part = memory_part(&servers[i]);

			bench_server_end(&servers[i]);
			bench_set(report, part, "memory/%s/%s", name,
				  servers[i].name);
			printf(" %14.3f", part);
			fflush(stdout);
		}
	}
	printf("\n");
}
