/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handles in doubt: see doubt.h. */
#include <stdlib.h>
#include "doubt.h"

void tmem_doubt_init(struct tmem_doubt *doubt)
{
	*doubt = (struct tmem_doubt){.all = false};
	pthread_mutex_init(&doubt->lock, NULL);
}

void tmem_doubt_deinit(struct tmem_doubt *doubt)
{
	free(doubt->run);
	pthread_mutex_destroy(&doubt->lock);
}

/* A caller that goes through a file, or tries one page again and again, makes
 * one run of it. */
static bool extends_last(struct tmem_doubt *doubt, const struct tmem_oid *oid,
			 uint32_t index, uint64_t count)
{
	struct tmem_doubt_run *last;
	uint64_t end;

	if (doubt->runs == 0)
		return false;
	last = &doubt->run[doubt->runs - 1];
	if (memcmp(&last->oid, oid, sizeof(*oid)) != 0)
		return false;
	if (last->count == 0)
		return true;
	if (count == 0) {
		last->index = 0;
		last->count = 0;
		return true;
	}
	end = last->index + last->count;
	if (index < last->index || index > end)
		return false;
	if (index + count > end)
		last->count = index + count - last->index;
	return true;
}

void tmem_doubt_add(struct tmem_doubt *doubt, const struct tmem_oid *oid,
		    uint32_t index, uint64_t count)
{
	struct tmem_doubt_run *run;
	size_t room;

	pthread_mutex_lock(&doubt->lock);
	if (doubt->all || extends_last(doubt, oid, index, count))
		goto out;
	if (doubt->runs == doubt->room) {
		room = doubt->room ? doubt->room * 2 : 64;
		run = NULL;
		if (room <= TMEM_DOUBT_MAX)
			run = reallocarray(doubt->run, room, sizeof(*run));
		if (!run) {
			doubt->all = true;
			goto out;
		}
		doubt->run = run;
		doubt->room = room;
	}
	doubt->run[doubt->runs++] = (struct tmem_doubt_run){*oid, index, count};
out:
	pthread_mutex_unlock(&doubt->lock);
}

void tmem_doubt_clear(struct tmem_doubt *doubt)
{
	free(doubt->run);
	doubt->run = NULL;
	doubt->runs = 0;
	doubt->room = 0;
	doubt->all = false;
}
