/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line; see options.h. */
#include "options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec.h"
#include "words.h"

static const char *const part_names[BENCH_PARTS] = {
	"codecs", "calls", "burst",   "sustained",
	"memory", "peak",  "reclaim", "density",
};

/* Options that take a number. */
static const struct numeric {
	const char *name;
	size_t offset; /* in struct bench_options */
	unsigned long initial, least, most;
	const char *text;
} numerics[] = {
	{"pages", offsetof(struct bench_options, pages), 8192,
	 BENCH_PAGES_LEAST, 1ul << 20, "pages of each kind"},
	{"rounds", offsetof(struct bench_options, rounds), 0, 0, 100000,
	 "of the calls' slices (0: the whole set, twice)"},
	{"slices", offsetof(struct bench_options, slices), 5, 1, 1000,
	 "of sustained puts, 0.5 s each"},
	{"copies", offsetof(struct bench_options, copies), 8, 1, 64,
	 "of the pages, for the memory"},
	{"reclaim", offsetof(struct bench_options, reclaim), 1024, 1, 1ul << 20,
	 "MiB to give back, of three times as much"},
	{"tree-pages", offsetof(struct bench_options, tree_pages), 65536, 1,
	 1ul << 20, "pages of each TREE, for the density"},
	{"pid", offsetof(struct bench_options, pid), 0, 0, 1ul << 30,
	 "whose memory to take (0: that of a compiler)"},
};

#define NUMERICS     (sizeof(numerics) / sizeof(numerics[0]))
#define NUMERIC_BASE 256 /* what getopt_long returns for the first of them */

static unsigned long *member(struct bench_options *options,
			     const struct numeric *numeric)
{
	return (unsigned long *)((char *)options + numeric->offset);
}

static void usage(int status)
{
	FILE *out = status ? stderr : stdout;

	fprintf(out,
		"usage: store [OPTION...] [TREE...]\n"
		"Measure a store beside the primitives that it is made of. TREE: a kernel's\n"
		"source, unpacked (default: /usr/share); two releases of it for the density.\n"
		"bench/BENCHMARKS.md says what is measured.\n"
		"  --only PARTS    of codecs,calls,burst,sustained,memory,peak,reclaim,density\n"
		"  --codec NAME    of pages just put: lz4 (default), lzo or zstd\n"
		"  --in-order      call for pages in their order, not at random\n");
	for (size_t i = 0; i < NUMERICS; i++)
		fprintf(out, "  --%-10s N  %s (default %lu)\n",
			numerics[i].name, numerics[i].text,
			numerics[i].initial);
	fprintf(out, "  --check         exit with 1 when a goal is missed\n"
		     "  --json FILE     write the results to FILE as well\n"
		     "  --help          show this\n");
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

static const char *part_name(int part)
{
	return part_names[part];
}

/* What getopt_long is to know. */
static void list_names(struct option *names)
{
	static const struct option others[] = {
		{"only", required_argument, NULL, 'o'},
		{"codec", required_argument, NULL, 'c'},
		{"in-order", no_argument, NULL, 'i'},
		{"check", no_argument, NULL, 'C'},
		{"json", required_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};

	for (size_t i = 0; i < NUMERICS; i++)
		names[i] = (struct option){numerics[i].name, required_argument,
					   NULL, NUMERIC_BASE + (int)i};
	memcpy(names + NUMERICS, others, sizeof(others));
}

static void take(struct bench_options *options, int c, char *argument)
{
	const struct numeric *numeric;

	switch (c) {
	case 'o':
		options->parts = bench_words_names("only", argument,
						   BENCH_PARTS, part_name);
		break;
	case 'c':
		options->codec = codec_named(argument);
		break;
	case 'i':
		options->in_order = true;
		break;
	case 'C':
		options->check = true;
		break;
	case 'j':
		options->json = argument;
		break;
	case 'h':
		usage(0);
		break;
	default:
		if (c < NUMERIC_BASE)
			usage(2);
		numeric = &numerics[c - NUMERIC_BASE];
		*member(options, numeric) = (unsigned long)bench_words_number(
			numeric->name, argument, (double)numeric->least,
			(double)numeric->most);
	}
}

struct bench_options bench_options_parse(int argc, char **argv)
{
	struct bench_options options = {
		.parts = (1u << BENCH_PARTS) - 1,
		.codec = TMEM_CODEC_LZ4,
	};
	struct option names[NUMERICS + 8];
	int c;

	list_names(names);
	for (size_t i = 0; i < NUMERICS; i++)
		*member(&options, &numerics[i]) = numerics[i].initial;
	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1)
		take(&options, c, optarg);
	options.trees = argv + optind;
	return options;
}

bool bench_wanted(const struct bench_options *options, enum bench_part part)
{
	return options->parts & 1u << part;
}
