/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * "stats" and "list": what the store holds, as tables or as JSON. Counters
 * come in the order of, and with the units and descriptions of, the tables in
 * tmem/stats.h; one that this tmem-admin does not know is shown in JSON only.
 */
#include <stdio.h>
#include <string.h>
#include <tmem/stats.h>
#include "command.h"
#include "export.h"
#include "message.h"
#include "table.h"

/* How a member of a thing is written. */
enum form { WORD, NUMBER, SIZE };

struct member {
	const char *name;
	enum form form;
};

/* A part of the reply: an array of things with counters. */
struct section {
	const char *key;
	const struct tmem_stat_desc *desc;
	size_t count;
	/* Members that name a thing, and those that "list" shows besides. */
	const struct member *name;
	const struct member *member;
};

static const struct member client_name[] = {
	{"id", NUMBER}, {"uid", NUMBER}, {"name", WORD}, {NULL, WORD}};
static const struct member client_member[] = {
	{"connected", WORD}, {"domain", WORD}, {"weight", NUMBER},
	{"cap", SIZE},	     {"maxmem", SIZE}, {"compress", WORD},
	{"dedup", WORD},     {"frozen", WORD}, {NULL, WORD}};
static const struct member pool_name[] = {{"id", NUMBER},
					  {"client", WORD},
					  {"name", WORD},
					  {"kind", WORD},
					  {NULL, WORD}};
static const struct member pool_member[] = {
	{"shared", WORD},   {"exclusive", WORD}, {"uuid", WORD},
	{"compress", WORD}, {"dedup", WORD},	 {"sampled", WORD},
	{"users", NUMBER},  {NULL, WORD}};
static const struct member export_name[] = {
	{"uid", NUMBER}, {"name", WORD}, {"size", SIZE}, {NULL, WORD}};
static const struct member export_member[] = {
	{"read_only", WORD}, {"keep", WORD}, {"keeper", NUMBER}, {NULL, WORD}};

static const struct section sections[] = {
	{"clients", tmem_client_stat_desc, TMEM_CLIENT_STAT_COUNT, client_name,
	 client_member},
	{"pools", tmem_pool_stat_desc, TMEM_POOL_STAT_COUNT, pool_name,
	 pool_member},
	{"exports", tmem_nbd_stat_desc, TMEM_NBD_STAT_COUNT, export_name,
	 export_member},
};
#define SECTIONS (sizeof(sections) / sizeof(*sections))

/* Whether name is in the comma-separated list, or there is no list. */
static bool stats_selected(const char *list, const char *name)
{
	size_t length = strlen(name);

	if (list == NULL)
		return true;
	for (const char *at = list; at != NULL; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, name, length) == 0 &&
		    (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return false;
}

/* Whether each name in the list is some counter's. */
static bool stats_known(const char *list, size_t *bad, size_t *length)
{
	for (const char *at = list; at != NULL; at = strchr(at, ',')) {
		bool known = false;

		at += *at == ',';
		*bad = (size_t)(at - list);
		*length = strcspn(at, ",");
		for (size_t i = 0; i < TMEM_HOST_STAT_COUNT; i++)
			known |= strncmp(tmem_host_stat_desc[i].name, at,
					 *length) == 0 &&
				 tmem_host_stat_desc[i].name[*length] == '\0';
		for (size_t s = 0; s < SECTIONS; s++)
			for (size_t i = 0; i < sections[s].count; i++)
				known |= strncmp(sections[s].desc[i].name, at,
						 *length) == 0 &&
					 sections[s].desc[i].name[*length] ==
						 '\0';
		if (!known)
			return false;
	}
	return true;
}

static void stats_headings(struct admin_table *table,
			   const struct member *member)
{
	for (; member->name != NULL; member++)
		admin_table_heading(table, member->name, member->form != WORD);
}

/* Sizes of 0 are limits that are not set. */
static void stats_members(struct admin_table *table, const json_t *thing,
			  const struct member *member)
{
	const json_t *value;

	for (; member->name != NULL; member++) {
		value = json_object_get(thing, member->name);
		if (member->form == SIZE && json_integer_value(value) == 0)
			admin_table_cell(table, "none");
		else
			admin_table_json(table, value, member->form == SIZE);
	}
}

static void stats_counters(struct admin_table *table, const json_t *values,
			   const struct section *section, const char *select)
{
	const struct tmem_stat_desc *desc = section->desc;

	for (size_t i = 0; i < section->count; i++)
		if (stats_selected(select, desc[i].name))
			admin_table_json(table,
					 json_object_get(values, desc[i].name),
					 strcmp(desc[i].unit, "bytes") == 0);
}

static void stats_print_section(const json_t *reply,
				const struct section *section, bool counters,
				const char *select)
{
	const json_t *things = json_object_get(reply, section->key);
	struct admin_table table;
	const json_t *thing;
	size_t i;

	if (things == NULL)
		return;
	printf("%s", section->key);
	if (json_array_size(things) == 0) {
		puts(": none\n");
		return;
	}
	puts("");
	admin_table_init(&table);
	stats_headings(&table, section->name);
	if (!counters)
		stats_headings(&table, section->member);
	for (i = 0; counters && i < section->count; i++)
		if (stats_selected(select, section->desc[i].name))
			admin_table_heading(&table, section->desc[i].name,
					    true);
	json_array_foreach(things, i, thing)
	{
		stats_members(&table, thing, section->name);
		if (counters)
			stats_counters(&table, json_object_get(thing, "stats"),
				       section, select);
		else
			stats_members(&table, thing, section->member);
	}
	admin_table_print(&table);
	admin_table_deinit(&table);
	putchar('\n');
}

static void stats_print_host(const json_t *reply, const char *select)
{
	const json_t *host = json_object_get(reply, "host");
	struct admin_table table;

	if (host == NULL)
		return;
	admin_table_init(&table);
	admin_table_heading(&table, "counter", false);
	admin_table_heading(&table, "value", true);
	admin_table_heading(&table, "meaning", false);
	for (size_t i = 0; i < TMEM_HOST_STAT_COUNT; i++) {
		const struct tmem_stat_desc *desc = &tmem_host_stat_desc[i];

		if (!stats_selected(select, desc->name))
			continue;
		admin_table_cell(&table, desc->name);
		admin_table_json(&table, json_object_get(host, desc->name),
				 strcmp(desc->unit, "bytes") == 0);
		admin_table_cell(&table, desc->text);
	}
	puts("host");
	admin_table_print(&table);
	admin_table_deinit(&table);
	if (json_is_true(json_object_get(host, "frozen")))
		puts("The store is frozen: every put is refused.");
	putchar('\n');
}

/* Drop the counters that were not selected. */
static void stats_prune(json_t *values, const char *select)
{
	const char *name;
	json_t *value;
	void *next;

	json_object_foreach_safe(values, next, name, value)
	{
		if (!stats_selected(select, name))
			json_object_del(values, name);
	}
}

static void stats_prune_all(json_t *reply, const char *select)
{
	json_t *thing;
	size_t i;

	stats_prune(json_object_get(reply, "host"), select);
	for (size_t s = 0; s < SECTIONS; s++)
		json_array_foreach(json_object_get(reply, sections[s].key), i,
				   thing)
			stats_prune(json_object_get(thing, "stats"), select);
}

static const char *const stats_keys[] = {"host", "clients", "pools", "exports"};
#define STATS_KEYS (sizeof(stats_keys) / sizeof(*stats_keys))

/* Whether word is among the count words. */
static bool stats_among(const char *word, char **words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(words[i], word) == 0)
			return true;
	return false;
}

/* Whether all words are sections. */
static bool stats_are_keys(char **words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < STATS_KEYS && strcmp(words[i], stats_keys[k]) != 0)
			k++;
		if (k == STATS_KEYS)
			return false;
	}
	return true;
}

/* Drop the sections that were not asked for. */
static void stats_choose(json_t *reply, char **words, size_t count)
{
	for (size_t k = 0; count > 0 && k < STATS_KEYS; k++)
		if (!stats_among(stats_keys[k], words, count))
			json_object_del(reply, stats_keys[k]);
}

enum admin_exit admin_stats(struct admin *admin,
			    const struct admin_command *command, int argc,
			    char **argv)
{
	static const struct option options[] = {
		{"select", required_argument, NULL, 'S'}, ADMIN_OPTIONS};
	const char *select = NULL;
	size_t bad, length, words;
	enum admin_exit code;
	json_t *reply;
	int c;

	while ((c = admin_option(admin, command, argc, argv, options)) >= 0) {
		if (c == '?')
			return ADMIN_USAGE;
		select = optarg;
	}
	words = (size_t)(argc - optind);
	if (!stats_known(select, &bad, &length))
		return admin_usage(
			command,
			"there is no counter \"%.*s\": tmem-admin stats shows those there are",
			(int)length, select + bad);
	if (!stats_are_keys(argv + optind, words))
		return admin_usage(command,
				   "give any of host, clients, pools, exports");
	code = admin_call(admin->socket, tmem_message_request("stats"),
			  TMEM_MESSAGE_TIMEOUT, &reply);
	if (code != ADMIN_OK)
		return code;
	stats_choose(reply, argv + optind, words);
	if (admin->json) {
		if (select != NULL)
			stats_prune_all(reply, select);
		admin_print_json(reply);
	} else {
		stats_print_host(reply, select);
		for (size_t i = 0; i < SECTIONS; i++)
			stats_print_section(reply, &sections[i], true, select);
	}
	json_decref(reply);
	return ADMIN_OK;
}

enum admin_exit admin_list(struct admin *admin,
			   const struct admin_command *command, int argc,
			   char **argv)
{
	static const struct option options[] = {ADMIN_OPTIONS};
	enum admin_exit code;
	json_t *reply;

	if (admin_option(admin, command, argc, argv, options) >= 0)
		return ADMIN_USAGE;
	if (optind < argc)
		return admin_usage(command, "unexpected argument \"%s\"",
				   argv[optind]);
	code = admin_call(admin->socket, tmem_message_request("list"),
			  TMEM_MESSAGE_TIMEOUT, &reply);
	if (code != ADMIN_OK)
		return code;
	if (admin->json)
		admin_print_json(reply);
	for (size_t i = 0; i < SECTIONS && !admin->json; i++)
		stats_print_section(reply, &sections[i], false, NULL);
	json_decref(reply);
	return ADMIN_OK;
}
