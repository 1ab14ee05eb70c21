/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages of the programs: to stderr, with a level prefix that the journal
 * understands when stderr is the journal; to syslog for a daemon. The library
 * itself never logs.
 *
 * Threading: log from any thread; set up before there are others.
 */
#ifndef TMEM_LOG_H
#define TMEM_LOG_H

#include <stdbool.h>
#include <syslog.h>

/** Start logging as program (kept, not copied), at LOG_NOTICE. */
void tmem_log_init(const char *program);

/** Log messages up to this syslog priority. */
void tmem_log_set_level(int priority);

/** Send messages to syslog from now on instead of stderr. */
void tmem_log_to_syslog(void);

/** Priority that a name stands for ("error", "warning", "notice", "info",
 * "debug"), or -EINVAL. */
int tmem_log_level_parse(const char *name);

/** Log one line, without its newline. priority is LOG_ERR to LOG_DEBUG. */
void tmem_log(int priority, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
