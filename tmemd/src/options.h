/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's command line, and the configuration it makes together with the file.
 * The same options are applied again when the file is read again.
 *
 * Threading: any thread once parsed.
 */
#ifndef TMEMD_OPTIONS_H
#define TMEMD_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include "config.h"

struct tmemd_options {
	int argc;
	char **argv;
	char file[PATH_MAX]; /**< --config, absolute if it exists; or "" */
	bool daemon;
	bool check_config;
};

enum tmemd_options_outcome {
	TMEMD_OPTIONS_RUN = 0,	/**< go on */
	TMEMD_OPTIONS_DONE = 1, /**< --help or --version has been answered */
};

/** Parse the command line, which options goes on pointing to. Returns an
 * outcome, or -EINVAL after saying on stderr what is wrong. */
int tmemd_options_parse(struct tmemd_options *options, int argc, char **argv);

/**
 * Make a configuration: defaults, then the file, then the options. On success
 * the caller deinits it. Returns 0; or -errno and error (TMEMD_ERROR_MAX
 * bytes) names the place and the remedy.
 */
int tmemd_options_config(const struct tmemd_options *options,
			 struct tmemd_config *config, char *error);

#endif
