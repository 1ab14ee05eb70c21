/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LINE_MAX 1024

static const char *log_program = "tmem";
static _Atomic(int) log_level = LOG_NOTICE;
static bool log_syslog;
static bool log_journal;

static const struct {
	const char *name;
	int priority;
} log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},
};

void tmem_log_init(const char *program)
{
	log_program = program;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void tmem_log_set_level(int priority)
{
	log_level = priority;
}

void tmem_log_to_syslog(void)
{
	openlog(log_program, LOG_PID, LOG_DAEMON);
	log_syslog = true;
}

int tmem_log_level_parse(const char *name)
{
	for (size_t i = 0; i < sizeof(log_levels) / sizeof(*log_levels); i++)
		if (strcmp(log_levels[i].name, name) == 0)
			return log_levels[i].priority;
	return -EINVAL;
}

void tmem_log(int priority, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	va_list args;

	if (priority > log_level)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (log_syslog)
		syslog(priority, "%s", line);
	else if (log_journal)
		fprintf(stderr, "<%d>%s\n", priority, line);
	else
		fprintf(stderr, "%s: %s\n", log_program, line);
}
