/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line; see options.h. */
#include "options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "../words.h"
#include "mounts.h"
#include "rates.h"

static const char *const part_names[BENCH_PARTS] = {
	[BENCH_RATES] = "rates",
	[BENCH_NAMES] = "names",
	[BENCH_GROWTH] = "growth",
};

static const char usage_text[] =
	"usage: fs [OPTION...] [TREE]\n"
	"Measure tmemfs beside other file systems on FUSE and the ext4 below them all,\n"
	"which it makes in a file. TREE: whose files are pages of text, a kernel's source\n"
	"(default: /usr/share). bench/BENCHMARKS.md says what is measured.\n"
	"  --only PARTS     of rates,names,growth (default: all)\n"
	"  --mounts NAMES   of ext4,tmemfs,tmemfs-lz4,tmemfs-hosted,tmemfs-full,\n"
	"                   tmemfs-strict,ll,fh,bindfs (default: all)\n"
	"  --loads NAMES    as tables name them, hit-4k-d1,seq-128k-d1 (default: all)\n"
	"  --rounds N       turns of each mount for each load (default 5)\n"
	"  --seconds S      of a turn (default 0.5)\n"
	"  --ramp S         before them, not counted (default 0.1)\n"
	"  --mib N          of a file, a power of two (default 512)\n"
	"  --files N        of names, and of the archive (default 2000)\n"
	"  --pages N        of each kind (default 8192)\n"
	"  --dir DIR        on what file system (default /var/tmp)\n"
	"  --check          exit with 1 when a goal is missed\n"
	"  --json FILE      write the results to FILE as well\n"
	"  --help           show this\n";

static const char *part_name(int part)
{
	return part_names[part];
}

static const char *mount_name(int kind)
{
	return bench_mount_name((enum bench_mount_kind)kind);
}

static void take(struct bench_options *options, int c, char *argument)
{
	switch (c) {
	case 'o':
		options->parts = bench_words_names("only", argument,
						   BENCH_PARTS, part_name);
		break;
	case 's':
		options->mounts = bench_words_names("mounts", argument,
						    BENCH_MOUNTS, mount_name);
		break;
	case 'l':
		options->loads = bench_words_names(
			"loads", argument, BENCH_LOADS, bench_rates_load_name);
		break;
	case 'r':
		options->rounds = (unsigned long)bench_words_number(
			"rounds", argument, 1, 1000);
		break;
	case 'S':
		options->seconds =
			bench_words_number("seconds", argument, 0.01, 3600);
		break;
	case 'R':
		options->ramp = bench_words_number("ramp", argument, 0, 3600);
		break;
	case 'm':
		options->mib = (unsigned long)bench_words_number(
			"mib", argument, 1, 65536);
		break;
	case 'f':
		options->files = (unsigned long)bench_words_number(
			"files", argument, 1, 1 << 20);
		break;
	case 'p':
		options->pages = (unsigned long)bench_words_number(
			"pages", argument, 256, 1 << 20);
		break;
	case 'd':
		options->dir = argument;
		break;
	case 'C':
		options->check = true;
		break;
	case 'j':
		options->json = argument;
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(0);
	default:
		fputs(usage_text, stderr);
		exit(2);
	}
}

struct bench_options bench_options_parse(int argc, char **argv)
{
	static const struct option names[] = {
		{"only", required_argument, NULL, 'o'},
		{"mounts", required_argument, NULL, 's'},
		{"loads", required_argument, NULL, 'l'},
		{"rounds", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 'S'},
		{"ramp", required_argument, NULL, 'R'},
		{"mib", required_argument, NULL, 'm'},
		{"files", required_argument, NULL, 'f'},
		{"pages", required_argument, NULL, 'p'},
		{"dir", required_argument, NULL, 'd'},
		{"check", no_argument, NULL, 'C'},
		{"json", required_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct bench_options options = {
		.parts = (1u << BENCH_PARTS) - 1,
		.mounts = (1u << BENCH_MOUNTS) - 1,
		.loads = (1u << BENCH_LOADS) - 1,
		.rounds = 5,
		.mib = 512,
		.files = 2000,
		.pages = 8192,
		.seconds = 0.5,
		.ramp = 0.1,
		.dir = "/var/tmp",
		.tree = "/usr/share",
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1)
		take(&options, c, optarg);
	if (options.mib & (options.mib - 1)) {
		fprintf(stderr, "fs: --mib %lu: give a power of two\n",
			options.mib);
		exit(2);
	}
	if (optind < argc)
		options.tree = argv[optind++];
	if (optind < argc)
		take(&options, '?', NULL);
	return options;
}
