/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmem-admin's entry: finds the command and lets it run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "command.h"

/* An answer that did not arrive is no success. */
static void main_flush(void)
{
	if (!ferror(stdout) && fflush(stdout) == 0)
		return;
	fputs("tmem-admin: cannot write to standard output\n", stderr);
	_exit(ADMIN_FAILED);
}

static void main_help(void)
{
	puts("Usage: tmem-admin [--socket=PATH] [--json] COMMAND [ARGUMENT]...\n"
	     "Look at tmemd's store and steer it.\n");
	for (const struct admin_command *c = admin_commands; c->name; c++)
		printf("  %-12s %s\n", c->name, c->summary);
	puts("\n"
	     "      --socket=PATH  where tmemd listens\n"
	     "      --json         print the answer as JSON\n"
	     "      --help         show this help and exit\n"
	     "      --version      show the version and exit\n\n"
	     "'tmem-admin COMMAND --help' says more. Exit codes: 0 done, 1 refused,\n"
	     "2 wrong command line, 3 no tmemd is running. See tmem-admin(8).");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"version", no_argument, NULL, 'V'}, ADMIN_OPTIONS};
	struct admin admin = {0};
	int c;

	atexit(main_flush);
	/* "+": options after the command are the command's. */
	while ((c = getopt_long(argc, argv, "+hV", options, NULL)) >= 0) {
		if (c == 's') {
			admin.socket = optarg;
		} else if (c == 'j') {
			admin.json = true;
		} else if (c == 'h') {
			main_help();
			return ADMIN_OK;
		} else if (c == 'V') {
			puts("tmem-admin " TMEM_VERSION);
			return ADMIN_OK;
		} else {
			fputs("Try 'tmem-admin --help'.\n", stderr);
			return ADMIN_USAGE;
		}
	}
	argc -= optind;
	argv += optind;
	optind = 0;
	for (const struct admin_command *command = admin_commands;
	     argc > 0 && command->name != NULL; command++)
		if (strcmp(command->name, argv[0]) == 0)
			return (int)command->run(&admin, command, argc, argv);
	fprintf(stderr, "tmem-admin: %s%s\nTry 'tmem-admin --help'.\n",
		argc > 0 ? "there is no command " : "expected a command",
		argc > 0 ? argv[0] : "");
	return ADMIN_USAGE;
}
