/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "steward.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <tmem/stats.h>
#include "error.h"
#include "exports.h"
#include "log.h"
#include "size.h"

/* How often it looks around, seconds. */
#define STEWARD_PERIOD 10

struct tmemd_steward {
	struct tmemd *daemon;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t wake;
	bool reload;
	bool stop;
};

/* Whether two settings, or their absence, are the same. */
static bool steward_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void steward_warn_fixed(const struct tmemd_config *old,
			       const struct tmemd_config *new)
{
	if (old->capacity != new->capacity || old->codec != new->codec ||
	    old->nursery != new->nursery || old->threads != new->threads ||
	    old->no_cold != new->no_cold || old->grace != new->grace || !steward_same(old->arena, new->arena) ||
	    !steward_same(old->socket, new->socket) ||
	    !steward_same(old->group, new->group))
		tmem_log(
			LOG_WARNING,
			"capacity, arena, codec, nursery, threads, cold, socket, group and grace take effect when tmemd is restarted");
}

static void steward_set_budget(struct tmemd *daemon,
			       const struct tmemd_config *config)
{
	struct tmemd_limit_result result;
	uint64_t value[TMEM_HOST_STAT_COUNT];
	char error[TMEMD_ERROR_MAX], text[TMEM_SIZE_TEXT];
	int r;

	tmem_store_stats(daemon->store, value);
	r = tmemd_limit_set(
		&daemon->limit,
		tmemd_config_budget(config, value[TMEM_HOST_STAT_used]),
		&result, error);
	if (r < 0)
		tmem_log(LOG_ERR, "%s", error);
	else
		tmem_log(LOG_NOTICE, "the budget is %s%s%s",
			 tmem_size_format(result.budget, text),
			 result.clamped
				 ? ", as the memory cgroup allows no more"
				 : "",
			 result.full ? ", and persistent pages hold more" : "");
}

/* Read the configuration again; a wrong one changes nothing. */
static void steward_reread(struct tmemd *daemon)
{
	struct tmemd_config config, old;
	char error[TMEMD_ERROR_MAX] = "";
	struct timespec now;
	int r;

	clock_gettime(CLOCK_MONOTONIC, &now);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		   (uint64_t)now.tv_sec * 1000000 +
			   (uint64_t)now.tv_nsec / 1000);
	r = tmemd_options_config(daemon->options, &config, error);
	if (r < 0) {
		tmem_log(LOG_ERR, "%s: going on as before",
			 *error != '\0' ? error : strerror(-r));
	} else {
		pthread_mutex_lock(&daemon->lock);
		old = daemon->config;
		daemon->config = config;
		pthread_mutex_unlock(&daemon->lock);
		steward_warn_fixed(&old, &config);
		tmemd_config_deinit(&old);
		tmem_log_set_level(config.log_level);
		steward_set_budget(daemon, &config);
	}
	sd_notify(0, "READY=1");
}

static void steward_report(struct tmemd *daemon)
{
	uint64_t value[TMEM_HOST_STAT_COUNT];
	char used[TMEM_SIZE_TEXT], budget[TMEM_SIZE_TEXT];

	tmem_store_stats(daemon->store, value);
	sd_notifyf(0,
		   "STATUS=%u clients attached, %" PRIu64 " pages in %s of %s",
		   tmem_sessions_count(daemon->sessions),
		   value[TMEM_HOST_STAT_pages],
		   tmem_size_format(value[TMEM_HOST_STAT_used], used),
		   tmem_size_format(value[TMEM_HOST_STAT_budget], budget));
}

/* Wait for a request, or for seconds. Returns whether to go on. */
static bool steward_wait(struct tmemd_steward *steward, time_t seconds,
			 bool *reload)
{
	struct timespec until;
	bool stop;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	pthread_mutex_lock(&steward->lock);
	while (r == 0 && !steward->stop && !steward->reload)
		r = pthread_cond_timedwait(&steward->wake, &steward->lock,
					   &until);
	*reload = steward->reload;
	steward->reload = false;
	stop = steward->stop;
	pthread_mutex_unlock(&steward->lock);
	return !stop;
}

static time_t steward_grace(struct tmemd *daemon)
{
	time_t grace;

	pthread_mutex_lock(&daemon->lock);
	grace = daemon->config.grace;
	pthread_mutex_unlock(&daemon->lock);
	return grace;
}

static void *steward_main(void *arg)
{
	struct tmemd_steward *steward = arg;
	struct tmemd *daemon = steward->daemon;
	bool reload = false, expired = !tmem_store_reopened(daemon->store);
	struct timespec now;
	time_t grace_end, wait;

	clock_gettime(CLOCK_MONOTONIC, &now);
	grace_end = now.tv_sec + steward_grace(daemon);
	do {
		if (reload)
			steward_reread(daemon);
		tmemd_limit_follow(&daemon->limit);
		steward_report(daemon);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (!expired && now.tv_sec >= grace_end) {
			tmemd_exports_expire(daemon->exports);
			expired = true;
		}
		wait = expired ? STEWARD_PERIOD
			       : MIN(STEWARD_PERIOD, grace_end - now.tv_sec);
	} while (steward_wait(steward, wait, &reload));
	return NULL;
}

int tmemd_steward_new(struct tmemd *daemon, struct tmemd_steward **out)
{
	struct tmemd_steward *steward = calloc(1, sizeof(*steward));
	pthread_condattr_t attr;
	int r;

	if (steward == NULL)
		return -ENOMEM;
	steward->daemon = daemon;
	pthread_mutex_init(&steward->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&steward->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = pthread_create(&steward->thread, NULL, steward_main, steward);
	if (r != 0) {
		free(steward);
		return -r;
	}
	*out = steward;
	return 0;
}

struct tmemd_steward *tmemd_steward_free(struct tmemd_steward *steward)
{
	if (steward == NULL)
		return NULL;
	pthread_mutex_lock(&steward->lock);
	steward->stop = true;
	pthread_cond_signal(&steward->wake);
	pthread_mutex_unlock(&steward->lock);
	pthread_join(steward->thread, NULL);
	pthread_cond_destroy(&steward->wake);
	pthread_mutex_destroy(&steward->lock);
	free(steward);
	return NULL;
}

void tmemd_steward_reload(struct tmemd_steward *steward)
{
	pthread_mutex_lock(&steward->lock);
	steward->reload = true;
	pthread_cond_signal(&steward->wake);
	pthread_mutex_unlock(&steward->lock);
}
