/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include "error.h"
#include "log.h"
#include "memlimit.h"
#include "size.h"

#define DEFAULT_PERCENT 25u
#define DEFAULT_GRACE	60u
#define GRACE_MAX	86400u
/* What a store takes. */
#define THREADS_MAX  64u
#define CAPACITY_MAX (1ull << 40)

void tmemd_config_init(struct tmemd_config *config)
{
	*config = (struct tmemd_config){
		.budget.percent = DEFAULT_PERCENT,
		.nursery = TMEM_NURSERY_AUTO,
		.threads = TMEM_THREADS_AUTO,
		.grace = DEFAULT_GRACE,
		.log_level = LOG_NOTICE,
	};
}

void tmemd_config_deinit(struct tmemd_config *config)
{
	struct tmemd_client_rule *rule;

	while ((rule = config->rules) != NULL) {
		config->rules = rule->next;
		free(rule);
	}
	free(config->arena);
	free(config->socket);
	free(config->group);
}

/* Keys of the main section ------------------------------------------------ */

static int config_budget(struct tmemd_config *config, const char *value,
			 char *error)
{
	struct tmemd_budget budget = {0};
	unsigned long percent;
	char *end;

	errno = 0;
	percent = strtoul(value, &end, 10);
	if (errno == 0 && isdigit((unsigned char)*value) &&
	    strcmp(end, "%") == 0) {
		if (percent < 1 || percent > 100)
			return tmemd_error(
				error, -EINVAL,
				"budget \"%s\" is not valid: give a share from 1%% to 100%%",
				value);
		budget.percent = (unsigned)percent;
	} else if (tmem_size_parse(value, &budget.bytes) < 0) {
		return tmemd_error(
			error, -EINVAL,
			"budget \"%s\" is not valid: give a size such as 2G, or a share of the available memory such as 25%%",
			value);
	} else if (budget.bytes < TMEM_BUDGET_MIN) {
		return tmemd_error(
			error, -EINVAL,
			"budget \"%s\" is too small: give at least %uM", value,
			TMEM_BUDGET_MIN >> 20);
	}
	config->budget = budget;
	return 0;
}

static int config_capacity(struct tmemd_config *config, const char *value,
			   char *error)
{
	uint64_t bytes;

	if (tmem_size_parse(value, &bytes) < 0 || bytes < TMEM_BUDGET_MIN ||
	    bytes > CAPACITY_MAX)
		return tmemd_error(
			error, -EINVAL,
			"capacity \"%s\" is not valid: give a size from %uM to 1T",
			value, TMEM_BUDGET_MIN >> 20);
	config->capacity = bytes;
	return 0;
}

static int config_replace(char **place, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return -ENOMEM;
	free(*place);
	*place = copy;
	return 0;
}

static int config_arena(struct tmemd_config *config, const char *value,
			char *error)
{
	if (*value != '/' && strcmp(value, "none") != 0 &&
	    strcmp(value, "auto") != 0)
		return tmemd_error(
			error, -EINVAL,
			"arena \"%s\" is not valid: give an absolute path on a tmpfs, auto or none",
			value);
	return config_replace(&config->arena, value);
}

static int config_codec(struct tmemd_config *config, const char *value,
			char *error)
{
	enum tmem_codec codec = tmemd_setting_codec(value);

	if (codec == TMEM_CODEC_NONE)
		return tmemd_error(
			error, -EINVAL,
			"codec \"%s\" is not valid: give lz4, lzo, zstd or raw",
			value);
	config->codec = codec;
	return 0;
}

static int config_nursery(struct tmemd_config *config, const char *value,
			  char *error)
{
	uint64_t bytes = TMEM_NURSERY_AUTO;

	if (strcmp(value, "auto") != 0 && tmem_size_parse(value, &bytes) < 0)
		return tmemd_error(
			error, -EINVAL,
			"nursery \"%s\" is not valid: give a size such as 64M, 0 or auto",
			value);
	config->nursery = bytes;
	return 0;
}

static int config_threads(struct tmemd_config *config, const char *value,
			  char *error)
{
	unsigned long threads = TMEM_THREADS_AUTO;
	char *end = "";

	errno = 0;
	if (strcmp(value, "auto") != 0) {
		threads = strtoul(value, &end, 10);
		if (errno != 0 || !isdigit((unsigned char)*value) ||
		    *end != '\0' || threads > THREADS_MAX)
			return tmemd_error(
				error, -EINVAL,
				"threads \"%s\" is not valid: give a number from 0 to %u, or auto",
				value, THREADS_MAX);
	}
	config->threads = (unsigned)threads;
	return 0;
}

static int config_cold(struct tmemd_config *config, const char *value,
		       char *error)
{
	bool off = strcmp(value, "off") == 0;

	if (!off && strcmp(value, "zstd") != 0)
		return tmemd_error(error, -EINVAL,
				   "cold \"%s\" is not valid: give zstd or off",
				   value);
	config->no_cold = off;
	return 0;
}

static int config_socket(struct tmemd_config *config, const char *value,
			 char *error)
{
	/* sun_path and the name of the lock beside it */
	if (*value != '/' || strlen(value) > 100)
		return tmemd_error(
			error, -EINVAL,
			"socket \"%s\" is not valid: give an absolute path of at most 100 bytes",
			value);
	return config_replace(&config->socket, value);
}

static int config_group(struct tmemd_config *config, const char *value,
			char *error)
{
	if (*value == '\0')
		return tmemd_error(error, -EINVAL,
				   "group is empty: give a group's name");
	return config_replace(&config->group, value);
}

static int config_grace(struct tmemd_config *config, const char *value,
			char *error)
{
	unsigned long seconds;
	char *end;

	errno = 0;
	seconds = strtoul(value, &end, 10);
	if (errno != 0 || !isdigit((unsigned char)*value) || *end != '\0' ||
	    seconds > GRACE_MAX)
		return tmemd_error(
			error, -EINVAL,
			"grace \"%s\" is not valid: give seconds from 0 to %u",
			value, GRACE_MAX);
	config->grace = (unsigned)seconds;
	return 0;
}

static int config_log_level(struct tmemd_config *config, const char *value,
			    char *error)
{
	int level = tmem_log_level_parse(value);

	if (level < 0)
		return tmemd_error(
			error, -EINVAL,
			"log-level \"%s\" is not valid: give error, warning, notice, info or debug",
			value);
	config->log_level = level;
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct tmemd_config *config, const char *value, char *error);
} config_keys[] = {
	{"budget", config_budget},	 {"capacity", config_capacity},
	{"arena", config_arena},	 {"codec", config_codec},
	{"nursery", config_nursery},	 {"threads", config_threads},
	{"cold", config_cold},		 {"socket", config_socket},
	{"group", config_group},	 {"grace", config_grace},
	{"log-level", config_log_level},
};

int tmemd_config_set(struct tmemd_config *config, const char *key,
		     const char *value, char *error)
{
	for (size_t i = 0; i < sizeof(config_keys) / sizeof(*config_keys); i++)
		if (strcmp(config_keys[i].name, key) == 0)
			return config_keys[i].set(config, value, error);
	return tmemd_error(
		error, -EINVAL,
		"there is no key \"%s\": use budget, capacity, arena, codec, nursery, threads, cold, socket, group, grace or log-level",
		key);
}

/* The file ---------------------------------------------------------------- */

static int config_rule_uid(struct tmemd_client_rule *rule, const char *value,
			   char *error)
{
	const struct passwd *user = getpwnam(value);
	unsigned long uid;
	char *end;

	if (user != NULL) {
		rule->uid = user->pw_uid;
	} else {
		errno = 0;
		uid = strtoul(value, &end, 10);
		if (errno != 0 || !isdigit((unsigned char)*value) ||
		    *end != '\0' || uid >= UINT32_MAX)
			return tmemd_error(
				error, -EINVAL,
				"uid \"%s\" is not valid: give a user's name or number",
				value);
		rule->uid = (uid_t)uid;
	}
	rule->any_uid = false;
	return 0;
}

static bool config_is_name(const char *name)
{
	for (const char *at = name; *at != '\0'; at++)
		if (!isgraph((unsigned char)*at) || *at == '/')
			return false;
	return *name != '\0' && strlen(name) < TMEM_NAME_MAX;
}

static int config_rule_set(struct tmemd_client_rule *rule, const char *key,
			   const char *value, char *error)
{
	int r;

	if (strcmp(key, "uid") == 0)
		return config_rule_uid(rule, value, error);
	if (strcmp(key, "domain") == 0) {
		if (!config_is_name(value))
			return tmemd_error(
				error, -EINVAL,
				"domain \"%s\" is not valid: give none or a label of 1 to 63 printable characters without / or space",
				value);
		strcpy(rule->domain, value);
		return 0;
	}
	r = tmemd_setting_parse(&rule->settings, key, value, error);
	if (r == -ENOENT)
		r = tmemd_error(
			error, -EINVAL,
			"there is no key \"%s\" for a client: use uid, domain, weight, cap, maxmem, compress or dedup",
			key);
	return r;
}

/* Begin a [client NAME] section. */
static int config_section(struct tmemd_config *config, char *header,
			  struct tmemd_client_rule **out, char *error)
{
	struct tmemd_client_rule *rule, **last = &config->rules;
	size_t length = strlen(header);
	char *name = header + strlen("[client ");

	if (header[length - 1] == ']')
		header[--length] = '\0';
	else
		length = 0;
	if (length == 0 || strncmp(header, "[client ", 8) != 0 ||
	    !config_is_name(name))
		return tmemd_error(
			error, -EINVAL,
			"this is no section: write [client NAME], or [client *] for every client");
	rule = calloc(1, sizeof(*rule));
	if (rule == NULL)
		return -ENOMEM;
	strcpy(rule->name, name);
	rule->any_uid = true;
	while (*last != NULL)
		last = &(*last)->next;
	*last = rule;
	*out = rule;
	return 0;
}

/* Without the white space around it. */
static char *config_trim(char *text)
{
	size_t length;

	while (isspace((unsigned char)*text))
		text++;
	length = strlen(text);
	while (length > 0 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
	return text;
}

static int config_line(struct tmemd_config *config, char *text,
		       struct tmemd_client_rule **rule, char *error)
{
	char *equals;

	if (*text == '\0' || *text == '#')
		return 0;
	if (*text == '[')
		return config_section(config, text, rule, error);
	equals = strchr(text, '=');
	if (equals == NULL)
		return tmemd_error(error, -EINVAL,
				   "\"%.100s\" has no \"=\": write key = value",
				   text);
	*equals = '\0';
	text = config_trim(text);
	if (*rule != NULL)
		return config_rule_set(*rule, text, config_trim(equals + 1),
				       error);
	return tmemd_config_set(config, text, config_trim(equals + 1), error);
}

int tmemd_config_read(struct tmemd_config *config, const char *path,
		      char *error)
{
	struct tmemd_client_rule *rule = NULL;
	char why[TMEMD_ERROR_MAX];
	FILE *file = fopen(path, "re");
	char *text = NULL;
	unsigned line = 0;
	size_t room = 0;
	ssize_t length;
	int r = 0;

	if (file == NULL) {
		r = -errno;
		if (r != -ENOENT)
			tmemd_error(
				error, -EINVAL,
				"cannot read %s: %s: give another file with --config",
				path, strerror(-r));
		return r;
	}
	while (r == 0 && (length = getline(&text, &room, file)) > 0) {
		line++;
		if (strlen(text) != (size_t)length)
			r = tmemd_error(why, -EINVAL,
					"a NUL byte: write plain text");
		else
			r = config_line(config, config_trim(text), &rule, why);
		if (r == -ENOMEM)
			tmemd_error(error, -EINVAL, "%s: out of memory", path);
		else if (r < 0)
			tmemd_error(error, -EINVAL, "%s:%u: %.400s", path, line,
				    why);
	}
	if (r == 0 && ferror(file)) {
		tmemd_error(error, -EINVAL, "cannot read %s: give a file",
			    path);
		r = -EIO;
	}
	free(text);
	fclose(file);
	return r;
}

/* What it comes to -------------------------------------------------------- */

uint64_t tmemd_config_budget(const struct tmemd_config *config, uint64_t held)
{
	uint64_t bytes = config->budget.bytes, available;

	if (bytes == 0 && tmem_memlimit_available("", &available) == 0)
		bytes = (available + held) / 100 * config->budget.percent;
	bytes = MAX(bytes, (uint64_t)TMEM_BUDGET_MIN);
	return config->capacity > 0 ? MIN(bytes, config->capacity) : bytes;
}

void tmemd_config_client(const struct tmemd_config *config, const char *name,
			 uid_t uid, const char **domain,
			 struct tmem_client_settings *settings)
{
	const struct tmemd_client_rule *rule;
	const struct tmem_client_settings *from;

	settings->set = 0;
	for (rule = config->rules; rule != NULL; rule = rule->next) {
		if ((strcmp(rule->name, "*") != 0 &&
		     strcmp(rule->name, name) != 0) ||
		    (!rule->any_uid && rule->uid != uid))
			continue;
		if (rule->domain[0] != '\0')
			*domain = rule->domain;
		from = &rule->settings;
		settings->set |= from->set;
		if (from->set & TMEM_SET_WEIGHT)
			settings->weight = from->weight;
		if (from->set & TMEM_SET_CAP)
			settings->cap = from->cap;
		if (from->set & TMEM_SET_MAXMEM)
			settings->maxmem = from->maxmem;
		if (from->set & TMEM_SET_CODEC)
			settings->codec = from->codec;
		if (from->set & TMEM_SET_DEDUP)
			settings->dedup = from->dedup;
	}
}
