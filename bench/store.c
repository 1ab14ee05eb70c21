/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a store does to pages, to memory and to processors, beside what the
 * machine could do at best. BENCHMARKS.md defines data, runs and metrics; this
 * file holds the options and the order of the parts.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "codec.h"
#include "data.h"
#include "goals.h"
#include "report.h"

#define PAGES_DEFAULT 8192u
#define PAGES_LEAST   16u
#define PAGES_MOST    (1u << 20)
#define PAGES_A_FILE  256u

struct options {
	size_t pages; /* of each kind */
	enum tmem_codec codec;
	const char *json;
	unsigned rounds; /* 0: as many as the set has slices, twice */
	bool in_order, check;
	char *const *trees;
	pid_t pid;
};

static void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: store [OPTION...] [TREE...]\n"
		"Measure a store beside the primitives that it is made of. TREE: kernel\n"
		"source, unpacked (default: /usr/share); bench/BENCHMARKS.md has the rest.\n"
		"  --pages N     pages of each kind (default 8192)\n"
		"  --codec NAME  of pages just put: lz4 (default), lzo or zstd\n"
		"  --rounds N    of the calls' slices (default: the set, twice)\n"
		"  --in-order    of the pages of an object, not at random\n"
		"  --pid PID     its memory, instead of that of a compiler\n"
		"  --check       exit with 1 when a goal is missed\n"
		"  --json FILE   write the results to FILE as well\n"
		"  --help        show this\n");
	exit(status);
}

static enum tmem_codec codec_named(const char *name)
{
	for (int codec = TMEM_CODEC_LZ4; codec < TMEM_CODEC_COUNT; codec++)
		if (strcmp(name, tmem_codec_name(codec)) == 0)
			return codec;
	fprintf(stderr, "store: no codec %s; there are lz4, lzo and zstd\n",
		name);
	exit(2);
}

static unsigned long number(const char *option, const char *text,
			    unsigned long least, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value < least || value > most) {
		fprintf(stderr, "store: --%s takes %lu to %lu, not \"%s\"\n",
			option, least, most, text);
		exit(2);
	}
	return value;
}

static struct options parse(int argc, char **argv)
{
	static const struct option names[] = {
		{"pages", required_argument, NULL, 'p'},
		{"codec", required_argument, NULL, 'c'},
		{"rounds", required_argument, NULL, 'r'},
		{"in-order", no_argument, NULL, 'o'},
		{"pid", required_argument, NULL, 'P'},
		{"check", no_argument, NULL, 'C'},
		{"json", required_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options options = {.pages = PAGES_DEFAULT,
				  .codec = TMEM_CODEC_LZ4};
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.pages = number("pages", optarg, PAGES_LEAST,
					       PAGES_MOST);
			break;
		case 'c':
			options.codec = codec_named(optarg);
			break;
		case 'r':
			options.rounds =
				(unsigned)number("rounds", optarg, 1, 100000);
			break;
		case 'o':
			options.in_order = true;
			break;
		case 'P':
			options.pid = (pid_t)number("pid", optarg, 1, 1u << 30);
			break;
		case 'C':
			options.check = true;
			break;
		case 'j':
			options.json = optarg;
			break;
		case 'h':
			usage(0);
			break;
		default:
			usage(2);
		}
	}
	options.trees = argv + optind;
	return options;
}

/* One kind of pages after the other. */
static struct bench_pages load(const struct options *options, json_t *report)
{
	struct bench_pages set = bench_pages_new(3 * options->pages);
	const char *tree = options->trees[0] ? options->trees[0] : "/usr/share";
	size_t most = options->pages, text, elf, memory;

	text = bench_pages_of_files(tree, false, PAGES_A_FILE, &set, most);
	elf = bench_pages_of_files("/usr/lib", true, PAGES_A_FILE, &set, most);
	memory = options->pid ? bench_pages_of_process(options->pid, &set, most)
			      : bench_pages_of_compiler(&set, most);
	if (set.count < PAGES_LEAST) {
		fprintf(stderr,
			"store: only %zu pages in %s, /usr/lib and a compiler's memory; name a TREE with more\n",
			set.count, tree);
		exit(1);
	}
	bench_set(report, (double)text, "pages/text");
	bench_set(report, (double)elf, "pages/elf");
	bench_set(report, (double)memory, "pages/memory");
	printf("pages: %zu of files below %s, %zu of ELF files, %zu of a program's memory\n\n",
	       text, tree, elf, memory);
	for (size_t i = 0; i < set.count; i++)
		bench_number(bench_page(&set, i), i);
	return set;
}

static void measure_calls(const struct options *options, struct bench_pages set,
			  json_t *report)
{
	size_t count = bench_primitive_count + bench_store_count;
	struct bench_lane *lanes = calloc(count, sizeof(*lanes));
	unsigned rounds = options->rounds;
	struct bench_data data;

	bench_must(!lanes, "calloc");
	memcpy(lanes, bench_primitive_lanes,
	       bench_primitive_count * sizeof(*lanes));
	memcpy(lanes + bench_primitive_count, bench_store_lanes,
	       bench_store_count * sizeof(*lanes));
	bench_data_init(&data, set, options->codec);
	if (!rounds)
		rounds = 2 *
			 (unsigned)(set.count / bench_lanes_slice(set.count));
	bench_lanes_run(lanes, count, &data, set.count, rounds,
			options->in_order, report);
	bench_data_deinit(&data);
	free(lanes);
}

int main(int argc, char **argv)
{
	struct options options = parse(argc, argv);
	json_t *report = json_object();
	struct bench_pages set = load(&options, report);
	bool all_met;

	measure_calls(&options, set, report);
	all_met = bench_goals(report);
	if (options.json &&
	    json_dump_file(report, options.json, JSON_INDENT(1))) {
		fprintf(stderr, "store: cannot write %s: %s\n", options.json,
			strerror(errno));
		return 1;
	}
	json_decref(report);
	bench_pages_free(&set);
	return options.check && !all_met;
}
