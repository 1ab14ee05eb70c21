/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "error.h"
#include <tmem/client.h>

enum {
	OPTION_KEY = 256, /* the option's name is a key of the file */
	OPTION_CHECK_CONFIG,
};

static const struct option options_long[] = {
	{"budget", required_argument, NULL, OPTION_KEY},
	{"capacity", required_argument, NULL, OPTION_KEY},
	{"arena", required_argument, NULL, OPTION_KEY},
	{"codec", required_argument, NULL, OPTION_KEY},
	{"nursery", required_argument, NULL, OPTION_KEY},
	{"threads", required_argument, NULL, OPTION_KEY},
	{"cold", required_argument, NULL, OPTION_KEY},
	{"socket", required_argument, NULL, OPTION_KEY},
	{"group", required_argument, NULL, OPTION_KEY},
	{"grace", required_argument, NULL, OPTION_KEY},
	{"log-level", required_argument, NULL, OPTION_KEY},
	{"config", required_argument, NULL, 'c'},
	{"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
	{"daemon", no_argument, NULL, 'd'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static const char options_help[] =
	"Usage: tmemd [OPTION]...\n"
	"Own this host's pool of pages and serve it to tmemfs and tmem-nbd.\n"
	"\n"
	"  -c, --config=FILE     read FILE instead of " TMEMD_CONFIG_PATH "\n"
	"      --check-config    check the configuration and exit\n"
	"  -d, --daemon          go to the background once ready\n"
	"\n"
	"  Each of these wins over the key of that name in the file:\n"
	"      --budget=SIZE|N%  most memory the store may use (default 25% of\n"
	"                        what is available)\n"
	"      --capacity=SIZE   largest budget that may ever be set\n"
	"      --arena=PATH      file or directory on a tmpfs, auto or none\n"
	"      --codec=NAME      lz4 (default), lzo, zstd or raw\n"
	"      --nursery=SIZE    most memory for pages not compressed yet (default\n"
	"                        auto: an eighth of the budget, or half of what\n"
	"                        is free); 0 for none\n"
	"      --threads=N       background threads (default auto: one a processor,\n"
	"                        at most 4)\n"
	"      --cold=zstd|off   compress further what is seldom read (default zstd)\n"
	"      --socket=PATH     where to listen\n"
	"      --group=NAME      let this group's members attach\n"
	"      --grace=SECONDS   time for keepers of exports to come back (60)\n"
	"      --log-level=LEVEL error, warning, notice (default), info or debug\n"
	"\n"
	"  -h, --help            show this help and exit\n"
	"  -V, --version         show the version and exit\n"
	"\n"
	"SIGHUP reads the file again; SIGTERM ends tmemd. See tmemd(8).\n";

/* Go through the command line. With config, set its keys, else look at the
 * rest. getopt keeps its place in globals: callers take turns (the main
 * thread before there are others, then only the steward). */
static int options_scan(struct tmemd_options *options,
			struct tmemd_config *config, char *error)
{
	char why[TMEMD_ERROR_MAX];
	int c, r, index;

	optind = 0;
	opterr = config == NULL;
	while ((c = getopt_long(options->argc, options->argv, "c:dhV",
				options_long, &index)) >= 0) {
		if (config != NULL) {
			if (c != OPTION_KEY)
				continue;
			r = tmemd_config_set(config, options_long[index].name,
					     optarg, why);
			if (r < 0)
				return tmemd_error(error, r, "--%s: %.400s",
						   options_long[index].name,
						   why);
		} else if (c == 'c') {
			/* In the background the directory is another. */
			if (realpath(optarg, options->file) == NULL)
				snprintf(options->file, sizeof(options->file),
					 "%s", optarg);
		} else if (c == 'd') {
			options->daemon = true;
		} else if (c == OPTION_CHECK_CONFIG) {
			options->check_config = true;
		} else if (c == 'h') {
			fputs(options_help, stdout);
			return TMEMD_OPTIONS_DONE;
		} else if (c == 'V') {
			puts("tmemd " TMEM_VERSION);
			return TMEMD_OPTIONS_DONE;
		} else if (c == '?') {
			return -EINVAL;
		}
	}
	return TMEMD_OPTIONS_RUN;
}

int tmemd_options_parse(struct tmemd_options *options, int argc, char **argv)
{
	int r;

	*options = (struct tmemd_options){.argc = argc, .argv = argv};
	r = options_scan(options, NULL, NULL);
	if (r == TMEMD_OPTIONS_RUN && optind < argc) {
		fprintf(stderr, "tmemd: unexpected argument \"%s\"\n",
			argv[optind]);
		r = -EINVAL;
	}
	if (r < 0)
		fputs("Try 'tmemd --help'.\n", stderr);
	return r;
}

/* Where this user's tmemd listens when nothing else is said. */
static int options_default_socket(struct tmemd_config *config, char *error)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int r;

	if (geteuid() == 0)
		r = asprintf(&config->socket, "%s", TMEM_SOCKET_PATH);
	else if (runtime != NULL && *runtime == '/')
		r = asprintf(&config->socket, "%s/tmem/tmemd.sock", runtime);
	else
		return tmemd_error(
			error, -EINVAL,
			"XDG_RUNTIME_DIR is not set: say with --socket where to listen");
	if (r < 0)
		config->socket = NULL;
	return r < 0 ? -ENOMEM : 0;
}

int tmemd_options_config(const struct tmemd_options *options,
			 struct tmemd_config *config, char *error)
{
	const char *file = *options->file != '\0' ? options->file : NULL;
	struct tmemd_options scanned = *options;
	int r;

	tmemd_config_init(config);
	r = tmemd_config_read(config, file != NULL ? file : TMEMD_CONFIG_PATH,
			      error);
	if (r == -ENOENT)
		r = file == NULL
			    ? 0
			    : tmemd_error(
				      error, r,
				      "there is no file %s: give another with --config, or none",
				      file);
	if (r == 0)
		r = options_scan(&scanned, config, error);
	if (r == 0 && config->socket == NULL)
		r = options_default_socket(config, error);
	if (r == 0 && config->arena == NULL)
		r = tmemd_config_set(config, "arena", "auto", error);
	if (r == 0 && config->budget.bytes > config->capacity &&
	    config->capacity > 0)
		r = tmemd_error(
			error, -EINVAL,
			"the budget is more than the capacity: lower budget or raise capacity");
	if (r < 0)
		tmemd_config_deinit(config);
	return r;
}
