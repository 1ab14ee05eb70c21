/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-nbd beside other servers of devices in memory. BENCHMARKS.md defines
 * data, loads and metrics; this file holds the order of the parts, and the
 * goals.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "../child.h"
#include "../clock.h"
#include "../goals.h"
#include "../kinds.h"
#include "../zram.h"
#include "memory.h"
#include "options.h"
#include "rates.h"
#include "swap.h"

/* What the tight budget is of the device's size: half of it for the data, the
 * rest for everything else. */
#define TIGHT 0.53

#define RATE(text, load, peer, limit)                                          \
	{                                                                      \
		text, load "/tmem/iops", load "/" peer "/iops", limit, true    \
	}
#define CPU(text, load, what)                                                  \
	{                                                                      \
		text, load "/tmem/" what, load "/nbdkit/" what, 0.7, false     \
	}

static const struct bench_goal goals[] = {
	RATE("read, depth 1 / nbdkit", "rates/read-d1", "nbdkit", 1.4),
	RATE("write, depth 1 / nbdkit", "rates/write-d1", "nbdkit", 1.4),
	RATE("read, depth 32 / nbdkit", "rates/read-d32", "nbdkit", 1.5),
	RATE("write, depth 32 / nbdkit", "rates/write-d32", "nbdkit", 1.1),
	RATE("read, depth 32, 2 jobs / nbdkit", "rates/read-d32-j2", "nbdkit",
	     2),
	RATE("write, depth 32, 2 jobs / nbdkit", "rates/write-d32-j2", "nbdkit",
	     1.4),
	RATE("read, qemu-img, depth 16 / nbdkit", "qemu-img/read-d16", "nbdkit",
	     1.8),
	RATE("write, qemu-img, depth 16 / nbdkit", "qemu-img/write-d16",
	     "nbdkit", 1.3),
	RATE("read, qemu-img, depth 1 / nbdkit", "qemu-img/read-d1", "nbdkit",
	     1.3),
	RATE("write, qemu-img, depth 1 / nbdkit", "qemu-img/write-d1", "nbdkit",
	     1.3),
	RATE("read, depth 1 / qemu-nbd on tmpfs", "rates/read-d1", "qemu-nbd",
	     2.5),
	RATE("write, depth 1 / qemu-nbd on tmpfs", "rates/write-d1", "qemu-nbd",
	     1.8),
	RATE("read, depth 32 / qemu-nbd on tmpfs", "rates/read-d32", "qemu-nbd",
	     2.5),
	RATE("write, depth 32 / qemu-nbd on tmpfs", "rates/write-d32",
	     "qemu-nbd", 1.8),
	CPU("server CPU a read, depth 1 / nbdkit", "rates/read-d1", "cpu_ns"),
	CPU("server CPU a read, depth 32 / nbdkit", "rates/read-d32", "cpu_ns"),
	CPU("server CPU a write, depth 1 / nbdkit", "rates/write-d1", "cpu_ns"),
	CPU("server CPU a write, depth 32 / nbdkit", "rates/write-d32",
	    "cpu_ns"),
	CPU("the same, with what is compressed later", "rates/write-d32",
	    "all_cpu_ns"),
	{"write, after overwrites / nbdkit-zstd", "overwritten/tmem/write_iops",
	 "overwritten/nbdkit-zstd/write_iops", 8, true},
	{"read, after overwrites / nbdkit-zstd", "overwritten/tmem/read_iops",
	 "overwritten/nbdkit-zstd/read_iops", 1.8, true},
	{"memory, after overwrites / nbdkit-zstd", "overwritten/tmem/memory",
	 "overwritten/nbdkit-zstd/memory", 1.1, false},
	{"memory a byte, after overwrites, budget tight",
	 "overwritten/tmem-tight/memory", NULL, 0.55, false},
	{"time of a program that swaps / nbdkit", "swap/tmem/seconds",
	 "swap/nbdkit/seconds", 1, false},
	{"memory for what it swaps / nbdkit", "swap/tmem/memory",
	 "swap/nbdkit/memory", 1, false},
};

#define GOALS (sizeof(goals) / sizeof(goals[0]))

static void measure(const struct bench_options *options,
		    struct bench_kinds *kinds,
		    const struct bench_server_config *config, json_t *report)
{
	for (int part = BENCH_RATES; part <= BENCH_QEMU_IMG; part++)
		if (options->parts & 1u << part)
			bench_rates((enum bench_part)part, options, config,
				    &kinds->set[BENCH_ALL], report);
	if (options->parts & 1u << BENCH_OVERWRITTEN)
		bench_overwritten(options, kinds, config, report);
	if (options->parts & 1u << BENCH_MEMORY)
		bench_memory(options, kinds, config, report);
	if (options->parts & 1u << BENCH_SWAP)
		bench_swap(options, &kinds->set[BENCH_ALL], config->folder,
			   report);
}

int main(int argc, char **argv)
{
	struct bench_options options = bench_options_parse(argc, argv);
	struct bench_server_config config = {
		.folder = bench_child_folder(),
		.size = (uint64_t)options.mib << 20,
	};
	struct bench_zrams *zrams = NULL;
	json_t *report = json_object();
	struct bench_kinds kinds;
	bool all_met;

	bench_must(!report, "json_object");
	config.budget = (uint64_t)((double)config.size * TIGHT);
	if (options.parts & 1u << BENCH_RATES &&
	    options.servers & 1u << BENCH_ZRAM)
		zrams = bench_zrams_new(config.size);
	config.device = bench_zrams_open(zrams, BENCH_ZRAM_LZ4);
	bench_kinds_init(&kinds, &(struct bench_kinds_config){
					 .pages = options.pages,
					 .tree = options.tree,
					 .pid = (pid_t)options.pid,
				 });
	measure(&options, &kinds, &config, report);
	bench_zrams_free(zrams);
	all_met = bench_goals(goals, GOALS, report);
	if (options.json &&
	    json_dump_file(report, options.json, JSON_INDENT(1))) {
		fprintf(stderr, "nbd: cannot write %s: %s\n", options.json,
			strerror(errno));
		return 1;
	}
	json_decref(report);
	bench_kinds_deinit(&kinds);
	return options.check && !all_met;
}
