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
#include <sys/utsname.h>
#include <unistd.h>
#include "clock.h"
#include "codec.h"
#include "data.h"
#include "goals.h"
#include "parts.h"
#include "report.h"
#include "zram.h"

#define PAGES_DEFAULT 8192u
#define PAGES_LEAST   16u
#define PAGES_MOST    (1u << 20)
#define PAGES_A_FILE  256u
#define TREE_PAGES    65536u
#define COPIES	      8u
#define SLICES	      5u /* of sustained puts */
#define RECLAIM_MIB   1024u

enum { TEXT, ELF, MEMORY, KINDS };

struct options {
	size_t pages;	   /* of each kind */
	size_t tree_pages; /* of each tree, for the density */
	unsigned copies;   /* of the set, for the memory */
	unsigned slices;   /* of sustained puts */
	unsigned reclaim;  /* MiB */
	enum tmem_codec codec;
	const char *json;
	unsigned rounds; /* 0: as many as the set has slices, twice */
	bool in_order, check;
	unsigned parts; /* to run, bits by enum part */
	char *const *trees;
	pid_t pid;
};

enum part {
	CODECS,
	CALLS,
	BURST,
	SUSTAINED,
	FOOTPRINT,
	PEAK,
	RECLAIM,
	DENSITY,
	PARTS
};

static const char *const part_names[PARTS] = {"codecs",	   "calls",  "burst",
					      "sustained", "memory", "peak",
					      "reclaim",   "density"};

static void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: store [OPTION...] [TREE...]\n"
		"Measure a store beside the primitives that it is made of. TREE: a kernel's\n"
		"source, unpacked (default: /usr/share); two releases of it for the density.\n"
		"bench/BENCHMARKS.md says what is measured.\n"
		"  --pages N     pages of each kind (default 8192)\n"
		"  --tree-pages N  of each TREE, for the density (default 65536)\n"
		"  --copies N    of these pages, for the memory (default 8)\n"
		"  --slices N    of sustained puts, 0.5 s each (default 5)\n"
		"  --reclaim MIB to give back, of three times as much (default 1024)\n"
		"  --only PARTS  of codecs,calls,burst,sustained,memory,peak,reclaim,density\n"
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

static unsigned parts_named(char *names)
{
	unsigned parts = 0;
	char *rest = NULL, *name;
	int i;

	for (name = strtok_r(names, ",", &rest); name;
	     name = strtok_r(NULL, ",", &rest)) {
		for (i = 0; i < PARTS && strcmp(name, part_names[i]) != 0; i++)
			;
		if (i == PARTS) {
			fprintf(stderr,
				"store: no part %s; --help lists them\n", name);
			exit(2);
		}
		parts |= 1u << i;
	}
	return parts;
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
		{"tree-pages", required_argument, NULL, 't'},
		{"copies", required_argument, NULL, 'n'},
		{"slices", required_argument, NULL, 's'},
		{"reclaim", required_argument, NULL, 'R'},
		{"only", required_argument, NULL, 'O'},
		{"codec", required_argument, NULL, 'c'},
		{"rounds", required_argument, NULL, 'r'},
		{"in-order", no_argument, NULL, 'o'},
		{"pid", required_argument, NULL, 'P'},
		{"check", no_argument, NULL, 'C'},
		{"json", required_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options options = {
		.pages = PAGES_DEFAULT,
		.tree_pages = TREE_PAGES,
		.copies = COPIES,
		.slices = SLICES,
		.reclaim = RECLAIM_MIB,
		.parts = (1u << PARTS) - 1,
		.codec = TMEM_CODEC_LZ4,
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.pages = number("pages", optarg, PAGES_LEAST,
					       PAGES_MOST);
			break;
		case 't':
			options.tree_pages =
				number("tree-pages", optarg, 1, PAGES_MOST);
			break;
		case 'n':
			options.copies =
				(unsigned)number("copies", optarg, 1, 64);
			break;
		case 's':
			options.slices =
				(unsigned)number("slices", optarg, 1, 1000);
			break;
		case 'O':
			options.parts = parts_named(optarg);
			break;
		case 'R':
			options.reclaim = (unsigned)number("reclaim", optarg, 1,
							   1u << 20);
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

/* The set: one kind of pages after the other. */
struct kinds {
	struct bench_pages set;
	size_t from[KINDS + 1]; /* where each begins, and the end */
};

static const char *const kind_names[KINDS] = {"text", "elf", "memory"};

static struct kinds load(const struct options *options, json_t *report)
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
			loaded = bench_pages_of_process(options->pid, &it.set,
							most);
		else
			loaded = bench_pages_of_compiler(&it.set, most);
		it.from[kind + 1] = it.from[kind] + loaded;
		bench_set(report, (double)loaded, "pages/%s", kind_names[kind]);
	}
	if (it.set.count < PAGES_LEAST) {
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

static void measure_calls(const struct options *options, struct bench_pages set,
			  struct bench_zrams *zrams, json_t *report)
{
	struct bench_lane *lanes;
	size_t count = all_lanes(&lanes);
	unsigned rounds = options->rounds;
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

static bool wanted(const struct options *options, enum part part)
{
	return options->parts & 1u << part;
}

static void measure(const struct options *options, json_t *report)
{
	struct bench_zrams *zrams = NULL;
	struct kinds kinds;
	size_t skip;

	if (wanted(options, CALLS))
		zrams = bench_zrams_new(KINDS * options->pages *
					TMEM_PAGE_SIZE);
	kinds = load(options, report);
	/* In the density, the trees hold the text. */
	skip = options->trees[0] ? kinds.from[ELF] : 0;
	if (wanted(options, CODECS))
		bench_codecs(&kinds.set, kinds.from, kind_names, KINDS, report);
	if (wanted(options, CALLS))
		measure_calls(options, kinds.set, zrams, report);
	bench_zrams_free(zrams);
	if (wanted(options, BURST))
		bench_burst(&kinds.set, report);
	if (wanted(options, SUSTAINED))
		bench_sustained(&kinds.set, options->slices, report);
	if (wanted(options, FOOTPRINT))
		bench_footprint(&kinds.set, options->copies, report);
	if (wanted(options, PEAK))
		bench_peak(&kinds.set, report);
	if (wanted(options, RECLAIM))
		bench_reclaim(&kinds.set, options->reclaim, report);
	if (wanted(options, DENSITY))
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
	struct options options = parse(argc, argv);
	json_t *report = json_object();
	bool all_met;

	bench_must(!report, "json_object");
	note_machine(report);
	measure(&options, report);
	all_met = bench_goals(report);
	if (options.json &&
	    json_dump_file(report, options.json, JSON_INDENT(1))) {
		fprintf(stderr, "store: cannot write %s: %s\n", options.json,
			strerror(errno));
		return 1;
	}
	json_decref(report);
	return options.check && !all_met;
}
