/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line; see options.h. */
#include "options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include "../words.h"
#include "rates.h"
#include "server.h"

static const char *const part_names[BENCH_PARTS] = {
	[BENCH_RATES] = "rates",       [BENCH_FIO] = "fio",
	[BENCH_QEMU_IMG] = "qemu-img", [BENCH_OVERWRITTEN] = "overwritten",
	[BENCH_MEMORY] = "memory",     [BENCH_SWAP] = "swap",
};

static const char usage_text[] =
	"usage: nbd [OPTION...] [TREE]\n"
	"Measure tmem-nbd beside other servers of devices in memory. TREE: whose files\n"
	"are pages of text, a kernel's source (default: /usr/share).\n"
	"bench/BENCHMARKS.md says what is measured.\n"
	"  --only PARTS     of rates,fio,qemu-img,overwritten,memory,swap\n"
	"                   (default: all)\n"
	"  --servers NAMES  of tmem,tmem-hosted,nbdkit,nbdkit-malloc,nbdkit-zstd,\n"
	"                   qemu-nbd,zram (default: all)\n"
	"  --loads NAMES    as tables name them, read-d1,write-d32-j2 (default: all)\n"
	"  --rounds N       turns of each server for each load (default 5)\n"
	"  --seconds S      of a turn (default 0.5)\n"
	"  --ramp S         before them, not counted (default 0.2)\n"
	"  --overwrite S    seconds of overwrites before memory counts (default 60)\n"
	"  --rest S         until memory of what was filled once counts, of no change\n"
	"                   (default 3)\n"
	"  --swap N         MiB of a program that swaps (default 256)\n"
	"  --mib N          of a device (default 1024)\n"
	"  --pages N        of each kind (default 8192)\n"
	"  --pid PID        whose memory to take (default: a compiler's)\n"
	"  --check          exit with 1 when a goal is missed\n"
	"  --json FILE      write the results to FILE as well\n"
	"  --help           show this\n";

static const char *part_name(int part)
{
	return part_names[part];
}

static const char *server_name(int kind)
{
	return bench_server_name((enum bench_server_kind)kind);
}

static void take(struct bench_options *options, int c, char *argument)
{
	switch (c) {
	case 'o':
		options->parts = bench_words_names("only", argument,
						   BENCH_PARTS, part_name);
		break;
	case 's':
		options->servers = bench_words_names(
			"servers", argument, BENCH_SERVERS, server_name);
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
	case 'O':
		options->overwrite =
			bench_words_number("overwrite", argument, 0.1, 86400);
		break;
	case 'e':
		options->rest = bench_words_number("rest", argument, 0, 3600);
		break;
	case 'w':
		options->swap = (unsigned long)bench_words_number(
			"swap", argument, 8, 65536);
		break;
	case 'm':
		options->mib = (unsigned long)bench_words_number(
			"mib", argument, 1, 65536);
		break;
	case 'p':
		options->pages = (unsigned long)bench_words_number(
			"pages", argument, 256, 1 << 20);
		break;
	case 'P':
		options->pid = (unsigned long)bench_words_number(
			"pid", argument, 1, 1 << 30);
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
		{"servers", required_argument, NULL, 's'},
		{"loads", required_argument, NULL, 'l'},
		{"rounds", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 'S'},
		{"ramp", required_argument, NULL, 'R'},
		{"overwrite", required_argument, NULL, 'O'},
		{"rest", required_argument, NULL, 'e'},
		{"swap", required_argument, NULL, 'w'},
		{"mib", required_argument, NULL, 'm'},
		{"pages", required_argument, NULL, 'p'},
		{"pid", required_argument, NULL, 'P'},
		{"check", no_argument, NULL, 'C'},
		{"json", required_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct bench_options options = {
		.parts = (1u << BENCH_PARTS) - 1,
		.servers =
			((1u << BENCH_SERVERS) - 1) & ~(1u << BENCH_TMEM_TIGHT),
		.loads = (1u << BENCH_LOADS) - 1,
		.rounds = 5,
		.mib = 1024,
		.pages = 8192,
		.overwrite = 60,
		.rest = 3,
		.swap = 256,
		.seconds = 0.5,
		.ramp = 0.2,
		.tree = "/usr/share",
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1)
		take(&options, c, optarg);
	if (optind < argc)
		options.tree = argv[optind++];
	if (optind < argc)
		take(&options, '?', NULL);
	return options;
}
