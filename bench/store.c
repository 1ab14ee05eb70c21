/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store does to pages, to memory and to processors, beside what the
 * machine could do at best. BENCHMARKS.md defines data, runs and metrics; this
 * file holds the order of the parts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "clock.h"
#include "data.h"
#include "options.h"
#include "parts.h"
#include "report.h"
#include "store-goals.h"
#include "zram.h"

#define PAGES_A_FILE 256u

enum { TEXT, ELF, MEMORY, KINDS };

/* The set: one kind of pages after the other. */
struct kinds {
	struct bench_pages set;
	size_t from[KINDS + 1]; /* where each begins, and the end */
};

static const char *const kind_names[KINDS] = {"text", "elf", "memory"};

static struct kinds load(const struct bench_options *options, json_t *report)
{
	const char *tree = options->trees[0] ? options->trees[0] : "/usr/share";
	size_t most = options->pages, loaded;
	struct kinds it = {.set = bench_pages_new(KINDS * most)};

	for (int kind = 0; kind < KINDS; kind++) {
		if (kind == TEXT)
			loaded = bench_pages_of_files(tree, false, PAGES_A_FILE,
						      &it.set, most);
		else if (kind == ELF)
			loaded = bench_pages_of_files(
				"/usr/lib", true, PAGES_A_FILE, &it.set, most);
		else if (options->pid)
			loaded = bench_pages_of_process((pid_t)options->pid,
							&it.set, most);
		else
			loaded = bench_pages_of_compiler(&it.set, most);
		it.from[kind + 1] = it.from[kind] + loaded;
		bench_set(report, (double)loaded, "pages/%s", kind_names[kind]);
	}
	if (it.set.count < BENCH_PAGES_LEAST) {
		fprintf(stderr,
			"store: only %zu pages in %s, /usr/lib and a compiler's memory; name a TREE with more\n",
			it.set.count, tree);
		exit(1);
	}
	printf("pages: %zu of files below %s, %zu of ELF files, %zu of a program's memory\n\n",
	       it.from[1], tree, it.from[2] - it.from[1],
	       it.from[3] - it.from[2]);
	for (size_t i = 0; i < it.set.count; i++)
		bench_number(bench_page(&it.set, i), i);
	return it;
}

/* All lanes in one table, since all take turns. Returns how many. */
static size_t all_lanes(struct bench_lane **out)
{
	const struct {
		const struct bench_lane *lanes;
		size_t count;
	} parts[] = {
		{bench_primitive_lanes, bench_primitive_count},
		{bench_store_lanes, bench_store_count},
		{bench_zram_lanes, bench_zram_count},
	};
	size_t count = 0;

	*out = calloc(bench_primitive_count + bench_store_count +
			      bench_zram_count,
		      sizeof(**out));
	bench_must(!*out, "calloc");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		memcpy(*out + count, parts[i].lanes,
		       parts[i].count * sizeof(**out));
		count += parts[i].count;
	}
	return count;
}

static void measure_calls(const struct bench_options *options,
			  struct bench_pages set, struct bench_zrams *zrams,
			  json_t *report)
{
	struct bench_lane *lanes;
	size_t count = all_lanes(&lanes);
	unsigned rounds = (unsigned)options->rounds;
	struct bench_data data;

	bench_data_init(&data, set, options->codec);
	bench_zrams_fill(zrams, &data, report);
	if (!rounds)
		rounds = 2 *
			 (unsigned)(set.count / bench_lanes_slice(set.count));
	bench_lanes_run(lanes, count, &data, set.count, rounds,
			options->in_order, report);
	bench_data_deinit(&data);
	free(lanes);
}

static void measure(const struct bench_options *options, json_t *report)
{
	struct bench_zrams *zrams = NULL;
	struct kinds kinds;
	size_t skip;

	if (bench_wanted(options, BENCH_CALLS))
		zrams = bench_zrams_new(KINDS * options->pages *
					TMEM_PAGE_SIZE);
	kinds = load(options, report);
	/* In the density, the trees hold the text. */
	skip = options->trees[0] ? kinds.from[ELF] : 0;
	if (bench_wanted(options, BENCH_CODECS))
		bench_codecs(&kinds.set, kinds.from, kind_names, KINDS, report);
	if (bench_wanted(options, BENCH_CALLS))
		measure_calls(options, kinds.set, zrams, report);
	bench_zrams_free(zrams);
	if (bench_wanted(options, BENCH_BURST))
		bench_burst(&kinds.set, report);
	if (bench_wanted(options, BENCH_SUSTAINED))
		bench_sustained(&kinds.set, (unsigned)options->slices, report);
	if (bench_wanted(options, BENCH_FOOTPRINT))
		bench_footprint(&kinds.set, (unsigned)options->copies, report);
	if (bench_wanted(options, BENCH_PEAK))
		bench_peak(&kinds.set, report);
	if (bench_wanted(options, BENCH_RECLAIM))
		bench_reclaim(&kinds.set, (unsigned)options->reclaim, report);
	if (bench_wanted(options, BENCH_DENSITY))
		bench_density(options->trees, &kinds.set, skip,
			      options->tree_pages, report);
	bench_pages_free(&kinds.set);
}

static void note_machine(json_t *report)
{
	struct utsname name;

	bench_must(uname(&name), "uname");
	json_object_set_new(report, "version", json_string(TMEM_VERSION));
	json_object_set_new(report, "kernel", json_string(name.release));
	bench_set(report, (double)sysconf(_SC_NPROCESSORS_ONLN), "processors");
}

int main(int argc, char **argv)
{
	struct bench_options options = bench_options_parse(argc, argv);
	json_t *report = json_object();
	bool all_met;

	bench_must(!report, "json_object");
	note_machine(report);
	measure(&options, report);
	all_met =
		bench_goals(bench_store_goals, bench_store_goal_count, report);
	printf("%-52s %s\n", "eviction: at worst 1 point below the best policy",
	       "measured by bench/eviction");
	if (options.json &&
	    json_dump_file(report, options.json, JSON_INDENT(1))) {
		fprintf(stderr, "store: cannot write %s: %s\n", options.json,
			strerror(errno));
		return 1;
	}
	json_decref(report);
	return options.check && !all_met;
}
