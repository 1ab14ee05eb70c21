/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-admin's commands. Each parses its own arguments, asks tmemd and prints
 * what it answers.
 *
 * Threading: one thread.
 */
#ifndef ADMIN_COMMAND_H
#define ADMIN_COMMAND_H

#include <getopt.h>
#include <stdbool.h>
#include "call.h"

/** What all commands have in common. */
struct admin {
	const char *socket; /**< --socket, or NULL */
	bool json;	    /**< --json */
};

struct admin_command {
	const char *name;
	const char *arguments; /**< for the usage line */
	const char *summary;   /**< one line */
	const char *help;      /**< its options, or "" */
	enum admin_exit (*run)(struct admin *admin,
			       const struct admin_command *command, int argc,
			       char **argv);
};

/** All of them; a NULL name ends them. */
extern const struct admin_command admin_commands[];

enum admin_exit admin_stats(struct admin *admin,
			    const struct admin_command *command, int argc,
			    char **argv);
enum admin_exit admin_list(struct admin *admin,
			   const struct admin_command *command, int argc,
			   char **argv);

/* For the commands' files ------------------------------------------------- */

/** Options every command takes; a command's own come before them. */
/* clang-format off */
#define ADMIN_OPTIONS                                                          \
	{"socket", required_argument, NULL, 's'},                              \
	{"json", no_argument, NULL, 'j'},                                      \
	{"help", no_argument, NULL, 'h'},                                      \
	{NULL, 0, NULL, 0}
/* clang-format on */

/**
 * Next option of a command: getopt_long(), with the common ones handled.
 * Returns a command's own option, -1 past the last, or '?' after saying what
 * is wrong. --help ends the program.
 */
int admin_option(struct admin *admin, const struct admin_command *command,
		 int argc, char **argv, const struct option *options);

/** Say that a command line is wrong. Returns ADMIN_USAGE. */
enum admin_exit admin_usage(const struct admin_command *command,
			    const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Print a reply as JSON. */
void admin_print_json(const json_t *reply);

#endif
