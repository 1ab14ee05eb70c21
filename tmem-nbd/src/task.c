/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tasks: what is under way of a connection's requests (task.h). */
#include "task.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "access.h"
#include "connection.h"
#include "pages.h"
#include "reply.h"

/** As many as QEMU's client has under way. */
#define TASKS 16u

enum state {
	UNDER_WAY,
	SYNCING, /* its last step */
	ENDED,	 /* to be answered */
};

struct nbd_task {
	struct nbd_task *next;
	struct nbd_request request;
	enum state state;
	struct nbd_range range; /* locked while UNDER_WAY; count 0: none */
	bool drop;		/* pages become absent */
	int error;
	uint64_t bad; /* READ: a page */
	struct nbd_segment sync;
	struct nbd_transfer transfer;
};

/* Going on ---------------------------------------------------------------- */

static bool must_sync(const struct nbd_task *task)
{
	return task->request.type == NBD_CMD_FLUSH ||
	       (task->request.type != NBD_CMD_READ &&
		(task->request.flags & NBD_CMD_FLAG_FUA));
}

/** The pages are done with. */
static void end_pages(struct nbd_connection *c, struct nbd_task *task)
{
	struct nbd_device *device = c->info->device;
	struct nbd_transfer *x = &task->transfer;

	if (!task->range.count)
		return;
	if (task->request.type == NBD_CMD_READ)
		task->error = nbd_pages_end_read(
			device, &c->io, x, task->range.first,
			nbd_transfer_place(x, task->range.first), &task->bad);
	else if (task->drop)
		task->error =
			nbd_pages_end_drop(device, &c->io, x, task->range.first,
					   task->range.count);
	else if (!task->error)
		task->error = nbd_pages_end_write(device, &c->io, x);
	nbd_range_unlock(&device->range_lock, &task->range);
	task->range.count = 0;
}

static void end_sync(struct nbd_connection *c, struct nbd_task *task)
{
	task->error = task->sync.error;
	if (task->error)
		nbd_device_report(c->info->device,
				  "flushing the overflow file failed: %s",
				  strerror(-task->error));
	else
		nbd_io_count(&c->io, TMEM_NBD_STAT_overflow_syncs, 1);
}

/** Go on with a task of which nothing is under way, until something is. */
static void go_on(struct nbd_connection *c, struct nbd_task *task)
{
	struct nbd_device *device = c->info->device;

	if (task->state == UNDER_WAY && !task->transfer.left) {
		end_pages(c, task);
		task->state = ENDED;
		if (!task->error && must_sync(task)) {
			nbd_overflow_begin_sync(&device->overflow,
						&c->io.overflow, &task->sync,
						&task->transfer.left);
			if (task->transfer.left)
				task->state = SYNCING;
		}
	}
	if (task->state == SYNCING && !task->transfer.left) {
		end_sync(c, task);
		task->state = ENDED;
	}
}

static int answer_read(struct nbd_connection *c, const struct nbd_task *task)
{
	const struct nbd_request *request = &task->request;
	uint64_t first = request->offset / TMEM_PAGE_SIZE, bad;
	uint8_t *to;
	int r;

	if (task->error) {
		bad = task->bad * TMEM_PAGE_SIZE;
		return nbd_reply_read_error(
			c, request, 0, task->error,
			bad > request->offset ? bad : request->offset);
	}
	r = nbd_reply_read_room(c, request, 0, request->length, &to);
	if (r < 0)
		return r;
	memcpy(to,
	       nbd_transfer_place(&task->transfer, first) +
		       request->offset % TMEM_PAGE_SIZE,
	       request->length);
	return nbd_reply_read(c, request, 0, request->length, to);
}

static int answer(struct nbd_connection *c, const struct nbd_task *task)
{
	const struct nbd_request *request = &task->request;

	switch (request->type) {
	case NBD_CMD_READ:
		return answer_read(c, task);
	case NBD_CMD_FLUSH:
		return nbd_reply_done(c, request, task->error);
	default:
		return nbd_reply_change(c, request, task->error);
	}
}

/** Answer those that have ended, or forget them. To send may take time, in
 * which others end: from the beginning each time. */
static int answer_all(struct nbd_connection *c, bool reply)
{
	struct nbd_tasks *tasks = &c->tasks;
	struct nbd_task **at = &tasks->under_way, *task;
	int r = 0;

	while ((task = *at)) {
		if (task->state != ENDED) {
			at = &task->next;
			continue;
		}
		*at = task->next;
		if (reply && !r)
			r = answer(c, task);
		task->next = tasks->spare;
		tasks->spare = task;
		at = &tasks->under_way;
	}
	c->stream.aside.busy = tasks->under_way;
	return r;
}

static void go_on_all(struct nbd_connection *c)
{
	struct nbd_task *task;

	for (task = c->tasks.under_way; task; task = task->next)
		go_on(c, task);
}

/** nbd_stream_aside.attend */
static int attend(void *arg, bool reply)
{
	struct nbd_connection *c = arg;

	nbd_overflow_reap(&c->info->device->overflow, &c->io.overflow, false);
	go_on_all(c);
	return reply ? answer_all(c, true) : 0;
}

/** Wait until something has ended. */
static int wait_for_one(struct nbd_connection *c, bool reply)
{
	const struct nbd_task *task;
	unsigned left = 0;

	for (task = c->tasks.under_way; task; task = task->next)
		left += task->transfer.left;
	if (left)
		nbd_overflow_reap(&c->info->device->overflow, &c->io.overflow,
				  true);
	go_on_all(c);
	return answer_all(c, reply);
}

int nbd_tasks_drain(struct nbd_connection *c)
{
	int r = 0;

	while (c->tasks.under_way) {
		int failed = wait_for_one(c, !r);

		r = r ? r : failed;
	}
	return r;
}

/* Beginning --------------------------------------------------------------- */

/** The pages of a request. */
static struct nbd_range range_of(const struct nbd_request *request)
{
	uint64_t first = request->offset / TMEM_PAGE_SIZE;
	uint64_t last =
		(request->offset + request->length - 1) / TMEM_PAGE_SIZE;

	return (struct nbd_range){.first = first, .count = last - first + 1};
}

/** A task for a request, with its pages, if any, locked. Returns 1; 0 when
 * there are no tasks; -errno. */
static int begin(struct nbd_connection *c, const struct nbd_request *request,
		 const struct nbd_range *range, struct nbd_task **out)
{
	struct nbd_device *device = c->info->device;
	bool exclusive = request->type != NBD_CMD_READ;
	struct nbd_tasks *tasks = &c->tasks;
	struct nbd_task *task;
	int r = 0;

	if (!tasks->all)
		return 0;
	while (!tasks->spare && !r)
		r = wait_for_one(c, true);
	if (r < 0)
		return r;
	task = tasks->spare;
	assert(task);
	task->request = *request;
	task->state = UNDER_WAY;
	task->error = 0;
	task->transfer.left = 0;
	task->range = *range;
	task->drop = false;
	if (task->range.count &&
	    !nbd_range_try_lock(&device->range_lock, &task->range, exclusive)) {
		r = nbd_tasks_drain(c);
		if (r < 0)
			return r;
		/* Draining has changed the order of what is spare. */
		if (exclusive)
			nbd_range_lock_exclusive(&device->range_lock,
						 &task->range);
		else
			nbd_range_lock_shared(&device->range_lock,
					      &task->range);
	}
	*out = task;
	return 1;
}

/** All has been done that can be without waiting. */
static int begun(struct nbd_connection *c, struct nbd_task *task)
{
	struct nbd_task **at = &c->tasks.spare;

	while (*at != task)
		at = &(*at)->next;
	*at = task->next;
	task->next = c->tasks.under_way;
	c->tasks.under_way = task;
	go_on(c, task);
	return answer_all(c, true);
}

int nbd_tasks_read(struct nbd_connection *c, const struct nbd_request *request)
{
	struct nbd_range range = range_of(request);
	struct nbd_task *task = NULL;
	struct nbd_transfer *x;
	int r;

	if (range.count > TMEM_RUN_MAX)
		return 0;
	r = begin(c, request, &range, &task);
	if (r <= 0)
		return r;
	x = &task->transfer;
	nbd_pages_begin_read(c->info->device, &c->io, x, task->range.first,
			     (unsigned)task->range.count,
			     nbd_transfer_place(x, task->range.first));
	r = begun(c, task);
	return r < 0 ? r : 1;
}

int nbd_tasks_write(struct nbd_connection *c, const struct nbd_request *request,
		    const uint8_t *from)
{
	struct nbd_range range = range_of(request);
	struct nbd_task *task = NULL;
	int r;

	if (range.count > TMEM_RUN_MAX)
		return 0;
	r = begin(c, request, &range, &task);
	if (r <= 0)
		return r;
	task->error = nbd_pages_begin_write(
		c->info->device, &c->io, &task->transfer, task->range.first,
		(unsigned)task->range.count, from, false);
	r = begun(c, task);
	return r < 0 ? r : 1;
}

int nbd_tasks_zero(struct nbd_connection *c, const struct nbd_request *request,
		   enum nbd_zero how)
{
	bool drop = how != NBD_ZERO_ALLOCATE;
	struct nbd_device *device = c->info->device;
	struct nbd_task *task = NULL;
	struct nbd_transfer *x;
	struct nbd_range range;
	int r;

	if (!nbd_access_zero_range(device, request->offset, request->length,
				   how, &range) ||
	    range.count > (drop ? NBD_DROP_MAX : TMEM_RUN_MAX))
		return 0;
	r = begin(c, request, &range, &task);
	if (r <= 0)
		return r;
	x = &task->transfer;
	task->drop = drop;
	if (range.count && drop)
		nbd_pages_begin_drop(device, &c->io, x, range.first,
				     range.count);
	else if (range.count)
		task->error = nbd_pages_begin_write(
			device, &c->io, x, range.first, (unsigned)range.count,
			nbd_access_zeros, true);
	r = begun(c, task);
	return r < 0 ? r : 1;
}

int nbd_tasks_flush(struct nbd_connection *c, const struct nbd_request *request)
{
	static const struct nbd_range none;
	struct nbd_task *task = NULL;
	int r = begin(c, request, &none, &task);

	if (r <= 0)
		return r;
	r = begun(c, task);
	return r < 0 ? r : 1;
}

/* Life -------------------------------------------------------------------- */

void nbd_tasks_deinit(struct nbd_connection *c)
{
	unsigned i;

	for (i = 0; c->tasks.all && i < TASKS; i++)
		nbd_transfer_deinit(&c->tasks.all[i].transfer);
	free(c->tasks.all);
	c->tasks.all = NULL;
}

int nbd_tasks_init(struct nbd_connection *c)
{
	struct nbd_tasks *tasks = &c->tasks;
	unsigned i;

	*tasks = (struct nbd_tasks){0};
	/* Where there is no ring, nothing is ever under way. */
	if (nbd_overflow_io_fd(&c->io.overflow) < 0)
		return 0;
	tasks->all = calloc(TASKS, sizeof(*tasks->all));
	if (!tasks->all)
		return -ENOMEM;
	for (i = 0; i < TASKS; i++) {
		if (nbd_transfer_init(&tasks->all[i].transfer) < 0) {
			nbd_tasks_deinit(c);
			return -ENOMEM;
		}
		tasks->all[i].next = tasks->spare;
		tasks->spare = &tasks->all[i];
	}
	c->stream.aside = (struct nbd_stream_aside){
		.fd = nbd_overflow_io_fd(&c->io.overflow),
		.attend = attend,
		.arg = c,
	};
	return 0;
}
