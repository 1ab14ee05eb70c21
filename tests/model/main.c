/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * model: random operations on a store, held against a naive model, by many
 * threads, while a thread of chaos changes budget, weights, caps and settings,
 * reclaims and compacts. Between phases the store is checked and read back
 * whole; now and then it is closed and reopened. The threads' clients are local
 * or attached, by the same calls.
 */
#include "model.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tmem/stats.h>
#include <unistd.h>
#include "arena-file.h"
#include "pages.h"
#include "sanitizer.h"

#define PHASE_OPERATIONS 20000 /* a thread */
#define PHASES_A_REOPEN	 8

/* Small: pages are to settle while they are worked with. */
#define NURSERY (2u << 20)

struct options {
	uint64_t seed;
	uint64_t operations;
	uint64_t seconds;
	uint64_t at_least; /* of each event that must have happened */
	unsigned threads;
	struct world_config config;
};

#if TEST_TSAN
/* A ring lies at one address for the client and at another for its server, so
 * ThreadSanitizer does not see that they order what they do by it. All that
 * works on a store has its locks too; not so what is done only when nobody
 * works. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:^tmem_store_check$\n"
	       "race:^tmem_store_dump$\n";
}
#endif

/* Counters of stores that were closed since. */
static uint64_t total[TMEM_HOST_STAT_COUNT];

static void usage(const char *name, int status)
{
	fprintf(status ? stderr : stdout,
		"usage: %s [--ops N] [--seconds N] [--threads N] [--seed N]\n"
		"          [--hash-bits N] [--capacity MiB] [--at-least N] [--attached]\n"
		"          [--young]\n"
		"Random operations on a store against a model, until N operations were made\n"
		"(300000, attached 100000; 10 million with TMEM_TEST_FULL), or for N seconds.\n"
		"Fails unless there were --at-least N (default 100, or 1000) each of\n"
		"compactions, evictions, dedup mismatches and budget changes. With --attached,\n"
		"the threads reach the store through rings; with --young, it has a nursery and\n"
		"threads in the background.\n",
		name);
	exit(status);
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"ops", required_argument, NULL, 'o'},
		{"seconds", required_argument, NULL, 's'},
		{"threads", required_argument, NULL, 't'},
		{"seed", required_argument, NULL, 'r'},
		{"hash-bits", required_argument, NULL, 'b'},
		{"capacity", required_argument, NULL, 'c'},
		{"at-least", required_argument, NULL, 'a'},
		{"attached", no_argument, NULL, 'A'},
		{"young", no_argument, NULL, 'y'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (c) {
		case 'o':
			options->operations = n;
			break;
		case 's':
			options->seconds = n;
			break;
		case 't':
			options->threads = n;
			break;
		case 'r':
			options->seed = n;
			break;
		case 'b':
			options->config.hash_bits = n;
			break;
		case 'c':
			options->config.capacity = n << 20;
			break;
		case 'a':
			options->at_least = n;
			break;
		case 'A':
			options->config.attached = true;
			break;
		case 'y':
			options->config.nursery = NURSERY;
			options->config.threads = 2;
			break;
		case 'h':
			usage(argv[0], 0);
			break;
		default:
			usage(argv[0], 2);
		}
	}
	if (optind != argc || !options->threads ||
	    options->threads > MODEL_THREADS_MAX)
		usage(argv[0], 2);
}

static void add_counters(struct world *world)
{
	uint64_t values[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(world->store, values);
	for (int i = 0; i < TMEM_HOST_STAT_COUNT; i++)
		total[i] += values[i];
}

static uint64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void run(struct options *options, struct model *model, int fd)
{
	uint64_t end = seconds_now() + options->seconds;
	struct workload workload = {.config = &options->config};
	struct test_random random;
	struct world world;

	test_random_init(&random, options->seed);
	world_open(&world, model, fd, &options->config);
	workload.world = &world;
	workload.operations = PHASE_OPERATIONS;
	while (options->seconds ? seconds_now() < end
				: model->operations < options->operations) {
		workload_phase(&workload);
		workload_between(&workload, &random);
		if (workload.phase % PHASES_A_REOPEN)
			continue;
		add_counters(&world);
		world_close(&world);
		world_open(&world, model, fd, &options->config);
		world_verify(&world, true);
	}
	add_counters(&world);
	world_close(&world);
}

static int report(const struct options *options, const struct model *model)
{
	const struct {
		const char *name;
		uint64_t count;
	} events[] = {
		{"compactions", total[TMEM_HOST_STAT_compactions]},
		{"evictions", total[TMEM_HOST_STAT_evictions]},
		{"dedup mismatches", total[TMEM_HOST_STAT_dedup_mismatches]},
		{"budget changes", model->budgets},
		{"young pages settled", total[TMEM_HOST_STAT_young_settled]},
		{"young pages that died", total[TMEM_HOST_STAT_young_died]},
	};
	size_t count = sizeof(events) / sizeof(events[0]);
	int status = 0;

	printf("operations %" PRIu64 ", pages put %" PRIu64 " (stored %" PRIu64
	       ", refused %" PRIu64 "), gets %" PRIu64 " (hits %" PRIu64 ")\n",
	       model->operations, total[TMEM_HOST_STAT_puts],
	       total[TMEM_HOST_STAT_puts_stored],
	       total[TMEM_HOST_STAT_puts_refused], total[TMEM_HOST_STAT_gets],
	       total[TMEM_HOST_STAT_hits]);
	if (!options->config.nursery)
		count -= 2;
	for (size_t i = 0; i < count; i++) {
		printf("%s %" PRIu64 "\n", events[i].name, events[i].count);
		if (events[i].count < options->at_least) {
			printf("FAILED: fewer than %" PRIu64 " %s\n",
			       options->at_least, events[i].name);
			status = 1;
		}
	}
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {
		.at_least = test_is_full() ? 1000 : 100,
		.threads = 4,
		.seed = UINT64_MAX,
		.config = {.budget = 32 << 20,
			   .capacity = 48 << 20,
			   .hash_bits = 10},
	};
	struct model *model;
	int status;
	int fd;

	parse(argc, argv, &options);
	if (!options.operations)
		options.operations = test_is_full()	       ? 10000000
				     : options.config.attached ? 100000
							       : 300000;
	if (options.seed == UINT64_MAX)
		options.seed = test_seed();
	printf("seed %" PRIu64 "\n", options.seed);
	fflush(stdout);
	test_pages_init();
	model = model_new(options.seed, options.threads);
	fd = test_arena_memfd();
	run(&options, model, fd);
	status = report(&options, model);
	close(fd);
	model_free(model);
	return status;
}
