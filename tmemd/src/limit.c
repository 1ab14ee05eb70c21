/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "limit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/param.h>
#include "error.h"
#include "log.h"
#include "memlimit.h"
#include "size.h"

int tmemd_limit_init(struct tmemd_limit *limit, struct tmem_store *store,
		     uint64_t wanted, uint64_t budget)
{
	*limit = (struct tmemd_limit){
		.store = store, .wanted = wanted, .budget = budget};
	return -pthread_mutex_init(&limit->lock, NULL);
}

void tmemd_limit_deinit(struct tmemd_limit *limit)
{
	pthread_mutex_destroy(&limit->lock);
}

int tmemd_limit_clamp(uint64_t wanted, uint64_t *budget, char *error)
{
	uint64_t limit = tmem_memlimit_cgroup("");
	uint64_t room = tmem_memlimit_room(limit);
	char text[TMEM_SIZE_TEXT];

	if (room < TMEM_BUDGET_MIN)
		return tmemd_error(
			error, -ENOMEM,
			"the memory cgroup's limit of %s leaves no room for a store: raise memory.max (memory.limit_in_bytes) to 64M or more",
			tmem_size_format(limit, text));
	*budget = MIN(wanted, room);
	return 0;
}

static int limit_apply_locked(struct tmemd_limit *limit, uint64_t wanted,
			      struct tmemd_limit_result *result, char *error)
{
	char text[TMEM_SIZE_TEXT];
	uint64_t budget;
	int r;

	r = tmemd_limit_clamp(wanted, &budget, error);
	if (r < 0)
		return r;
	r = tmem_store_set_budget(limit->store, budget);
	if (r < 0 && r != -ENOMEM)
		return tmemd_error(
			error, r,
			"the budget cannot be %s: give at least %uM, and at most the arena's capacity (tmemd --capacity)",
			tmem_size_format(budget, text), TMEM_BUDGET_MIN >> 20);
	limit->wanted = wanted;
	limit->budget = budget;
	*result = (struct tmemd_limit_result){.budget = budget,
					      .clamped = budget < wanted,
					      .full = r == -ENOMEM};
	return 0;
}

int tmemd_limit_set(struct tmemd_limit *limit, uint64_t wanted,
		    struct tmemd_limit_result *result, char *error)
{
	int r;

	pthread_mutex_lock(&limit->lock);
	r = limit_apply_locked(limit, wanted, result, error);
	pthread_mutex_unlock(&limit->lock);
	return r;
}

void tmemd_limit_follow(struct tmemd_limit *limit)
{
	char error[TMEMD_ERROR_MAX], text[TMEM_SIZE_TEXT];
	uint64_t budget;
	int r;

	pthread_mutex_lock(&limit->lock);
	if (tmemd_limit_clamp(limit->wanted, &budget, error) < 0)
		budget = TMEM_BUDGET_MIN;
	if (budget != limit->budget) {
		r = tmem_store_set_budget(limit->store, budget);
		tmem_log(
			LOG_NOTICE,
			"the memory cgroup's limit has changed: the budget is now %s%s",
			tmem_size_format(budget, text),
			r == -ENOMEM ? ", and persistent pages hold more" : "");
		limit->budget = budget;
	}
	pthread_mutex_unlock(&limit->lock);
}
