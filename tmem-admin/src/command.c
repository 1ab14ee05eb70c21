/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands that change something, which are a request each, and the table
 * of all commands. Values go to tmemd as they were written: it alone says what
 * is valid.
 */
#include "command.h"

#include <ctype.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "message.h"
#include "size.h"

enum admin_exit admin_usage(const struct admin_command *command,
			    const char *format, ...)
{
	va_list args;

	fprintf(stderr, "tmem-admin %s: ", command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry 'tmem-admin %s --help'.\n", command->name);
	return ADMIN_USAGE;
}

static void command_help(const struct admin_command *command)
{
	printf("Usage: tmem-admin %s [OPTION]... %s\n%s.\n\n%s"
	       "      --socket=PATH     where tmemd listens\n"
	       "      --json            print the answer as JSON\n"
	       "      --help            show this help and exit\n",
	       command->name, command->arguments, command->summary,
	       command->help);
}

int admin_option(struct admin *admin, const struct admin_command *command,
		 int argc, char **argv, const struct option *options)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 's') {
			admin->socket = optarg;
		} else if (c == 'j') {
			admin->json = true;
		} else if (c == 'h') {
			command_help(command);
			exit(ADMIN_OK);
		} else {
			if (c == '?')
				fprintf(stderr, "Try 'tmem-admin %s --help'.\n",
					command->name);
			return c;
		}
	}
	return -1;
}

void admin_print_json(const json_t *reply)
{
	json_dumpf(reply, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* The one argument of a command that takes one, or NULL after saying so. */
static const char *command_argument(const struct admin_command *command,
				    int argc, char **argv)
{
	if (argc - optind == 1)
		return argv[optind];
	admin_usage(command, "expected one argument: %s", command->arguments);
	return NULL;
}

static void command_string(json_t *request, const char *key, const char *value)
{
	/* What is not UTF-8 names nothing that tmemd has. */
	if (json_object_set_new(request, key, json_string(value)) < 0)
		json_object_set_new(request, key, json_string("?"));
}

/* Ask, and print the answer if JSON was asked for. A budget takes as long to
 * shrink as it takes. */
static enum admin_exit command_ask(struct admin *admin, json_t *request,
				   json_t **reply)
{
	enum admin_exit code = admin_call(admin->socket, request, -1, reply);

	if (code == ADMIN_OK && admin->json)
		admin_print_json(*reply);
	return code;
}

static enum admin_exit command_do(struct admin *admin, json_t *request)
{
	json_t *reply = NULL;
	enum admin_exit code = command_ask(admin, request, &reply);

	json_decref(reply);
	return code;
}

/* set --------------------------------------------------------------------- */

static enum admin_exit set_budget(struct admin *admin, json_t *request)
{
	char text[TMEM_SIZE_TEXT];
	enum admin_exit code;
	json_t *reply;

	code = command_ask(admin, request, &reply);
	if (code != ADMIN_OK)
		return code;
	tmem_size_format(
		(uint64_t)json_integer_value(json_object_get(reply, "budget")),
		text);
	if (json_is_true(json_object_get(reply, "clamped")))
		fprintf(stderr,
			"tmem-admin: the budget is %s: tmemd's memory cgroup allows no more\n",
			text);
	if (json_is_true(json_object_get(reply, "full")))
		fprintf(stderr,
			"tmem-admin: the budget is %s, and persistent pages hold more: puts are refused until enough is flushed\n",
			text);
	json_decref(reply);
	return ADMIN_OK;
}

static enum admin_exit command_set(struct admin *admin,
				   const struct admin_command *command,
				   int argc, char **argv)
{
	static const struct option options[] = {
		{"weight", required_argument, NULL, 'w'},
		{"cap", required_argument, NULL, 'c'},
		{"maxmem", required_argument, NULL, 'm'},
		{"compress", required_argument, NULL, 'p'},
		{"dedup", required_argument, NULL, 'd'},
		{"budget", required_argument, NULL, 'b'},
		ADMIN_OPTIONS};
	json_t *request = tmem_message_request("set");
	bool budget = false, setting = false;
	const char *client;
	int c;

	while ((c = admin_option(admin, command, argc, argv, options)) >= 0) {
		size_t i = 0;

		if (c == '?') {
			json_decref(request);
			return ADMIN_USAGE;
		}
		while (options[i].val != c)
			i++;
		command_string(request, options[i].name, optarg);
		budget |= c == 'b';
		setting |= c != 'b';
	}
	if (budget && !setting && optind == argc)
		return set_budget(admin, request);
	client = !budget && setting ? command_argument(command, argc, argv)
				    : NULL;
	if (client == NULL) {
		json_decref(request);
		return budget || !setting
			       ? admin_usage(
					 command,
					 "give a client and what to set for it, or --budget alone")
			       : ADMIN_USAGE;
	}
	command_string(request, "client", client);
	return command_do(admin, request);
}

/* freeze, thaw, flush ----------------------------------------------------- */

static enum admin_exit command_freeze(struct admin *admin,
				      const struct admin_command *command,
				      int argc, char **argv)
{
	static const struct option options[] = {{"all", no_argument, NULL, 'a'},
						ADMIN_OPTIONS};
	json_t *request;
	bool all = false;
	int c;

	while ((c = admin_option(admin, command, argc, argv, options)) >= 0) {
		if (c == '?')
			return ADMIN_USAGE;
		all = true;
	}
	if (all == (optind < argc) || argc - optind > 1)
		return admin_usage(command, "give one client, or --all");
	request = tmem_message_request(command->name);
	if (all)
		json_object_set_new(request, "all", json_true());
	else
		command_string(request, "client", argv[optind]);
	return command_do(admin, request);
}

static enum admin_exit command_flush(struct admin *admin,
				     const struct admin_command *command,
				     int argc, char **argv)
{
	static const struct option options[] = {
		{"pool", no_argument, NULL, 'p'},
		{"force", no_argument, NULL, 'f'},
		ADMIN_OPTIONS};
	json_t *request, *reply;
	enum admin_exit code;
	bool pool = false, force = false;
	const char *word;
	json_int_t kept;
	int c;

	while ((c = admin_option(admin, command, argc, argv, options)) >= 0) {
		if (c == '?')
			return ADMIN_USAGE;
		pool |= c == 'p';
		force |= c == 'f';
	}
	word = command_argument(command, argc, argv);
	if (word == NULL)
		return ADMIN_USAGE;
	request = tmem_message_request("flush");
	command_string(request,
		       pool || strchr(word, '/') != NULL ? "pool" : "client",
		       word);
	json_object_set_new(request, "force", json_boolean(force));
	code = command_ask(admin, request, &reply);
	if (code != ADMIN_OK)
		return code;
	kept = json_integer_value(json_object_get(reply, "kept"));
	if (kept > 0)
		fprintf(stderr,
			"tmem-admin: %" JSON_INTEGER_FORMAT
			" persistent pools were left alone: --force flushes them too, and what they hold is lost\n",
			kept);
	json_decref(reply);
	return ADMIN_OK;
}

/* reclaim, freeable ------------------------------------------------------- */

static enum admin_exit command_print_bytes(struct admin *admin, json_t *request,
					   const char *key)
{
	char text[TMEM_SIZE_TEXT];
	enum admin_exit code;
	uint64_t bytes;
	json_t *reply;

	code = command_ask(admin, request, &reply);
	if (code != ADMIN_OK)
		return code;
	bytes = (uint64_t)json_integer_value(json_object_get(reply, key));
	if (!admin->json)
		printf("%s (%" PRIu64 " bytes)\n",
		       tmem_size_format(bytes, text), bytes);
	json_decref(reply);
	return ADMIN_OK;
}

static enum admin_exit command_reclaim(struct admin *admin,
				       const struct admin_command *command,
				       int argc, char **argv)
{
	static const struct option options[] = {ADMIN_OPTIONS};
	const char *bytes;
	json_t *request;

	if (admin_option(admin, command, argc, argv, options) >= 0)
		return ADMIN_USAGE;
	bytes = command_argument(command, argc, argv);
	if (bytes == NULL)
		return ADMIN_USAGE;
	request = tmem_message_request("reclaim");
	command_string(request, "bytes", bytes);
	return command_print_bytes(admin, request, "released");
}

static enum admin_exit command_freeable(struct admin *admin,
					const struct admin_command *command,
					int argc, char **argv)
{
	static const struct option options[] = {ADMIN_OPTIONS};

	if (admin_option(admin, command, argc, argv, options) >= 0)
		return ADMIN_USAGE;
	if (optind < argc)
		return admin_usage(command, "unexpected argument \"%s\"",
				   argv[optind]);
	return command_print_bytes(admin, tmem_message_request("freeable"),
				   "freeable");
}

/* shared-auth ------------------------------------------------------------- */

static bool auth_uid(const char *word, json_int_t *uid)
{
	const struct passwd *user = getpwnam(word);
	char *end;

	if (user != NULL) {
		*uid = user->pw_uid;
		return true;
	}
	*uid = strtoll(word, &end, 10);
	return isdigit((unsigned char)*word) && *end == '\0';
}

static enum admin_exit command_shared_auth(struct admin *admin,
					   const struct admin_command *command,
					   int argc, char **argv)
{
	static const struct option options[] = {
		{"uid", required_argument, NULL, 'u'},
		{"forbid", no_argument, NULL, 'f'},
		ADMIN_OPTIONS};
	bool forbid = false;
	json_int_t uid = 0;
	json_t *request;
	int c;

	while ((c = admin_option(admin, command, argc, argv, options)) >= 0) {
		if (c == '?')
			return ADMIN_USAGE;
		forbid |= c == 'f';
		if (c == 'u' && !auth_uid(optarg, &uid))
			return admin_usage(command, "there is no user \"%s\"",
					   optarg);
	}
	if (argc - optind != 2)
		return admin_usage(command,
				   "expected a client's name and a uuid");
	request = tmem_message_request("shared-auth");
	command_string(request, "name", argv[optind]);
	command_string(request, "uuid", argv[optind + 1]);
	json_object_set_new(request, "uid", json_integer(uid));
	json_object_set_new(request, "allow", json_boolean(!forbid));
	return command_do(admin, request);
}

/* clang-format off */
const struct admin_command admin_commands[] = {
	{"stats", "[host|clients|pools|exports]...",
	 "Show the counters of the host, its clients, pools and exports",
	 "      --select=NAME,... show these counters only\n", admin_stats},
	{"list", "", "Show clients, pools and exports with their settings",
	 "", admin_list},
	{"set", "[CLIENT]", "Change a client's settings, or the host's budget",
	 "      --weight=N        share of memory against others, 1 to 10000\n"
	 "      --cap=SIZE        most memory charged to it, or none\n"
	 "      --maxmem=SIZE     most it may put, as if uncompressed, or none\n"
	 "      --compress=CODEC  lz4, lzo, zstd, off, or auto (as each pool says)\n"
	 "      --dedup=on|off    share equal pages, or auto (as each pool says)\n"
	 "      --budget=SIZE     most memory the store may use (without CLIENT)\n",
	 command_set},
	{"freeze", "[CLIENT]", "Refuse all puts of a client, or of everybody",
	 "      --all             the whole store\n", command_freeze},
	{"thaw", "[CLIENT]", "Accept puts again",
	 "      --all             the whole store\n", command_freeze},
	{"flush", "CLIENT|CLIENT/POOL",
	 "Flush the pages of a client or of one pool",
	 "      --pool            the argument is a pool's id:N or uuid\n"
	 "      --force           persistent pools too: what they hold is lost\n",
	 command_flush},
	{"reclaim", "SIZE",
	 "Give memory of ephemeral pages back to the host now", "",
	 command_reclaim},
	{"freeable", "", "Show how much memory reclaim could give back", "",
	 command_freeable},
	{"shared-auth", "CLIENT UUID",
	 "Authorise a client to join the shared pool of a uuid",
	 "      --uid=USER        the client's user (default: root)\n"
	 "      --forbid          take the authorisation back\n",
	 command_shared_auth},
	{NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */
