/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load by libnbd; see load.h.
 *
 * A write sends a page of the set from where it lies, once its last word is
 * its place on the device. Pages of a job's share of the set take turns, and
 * the share is larger than any depth: none is numbered while it is being sent.
 */
#include "load.h"

#include <errno.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/types.h>
#include <unistd.h>
#include "../clock.h"

#define FILL_PAGES 16u
#define FILL_DEPTH 8u

struct job;

struct slot {
	struct job *job;
	uint64_t start;
	uint64_t place; /* of the page on the device */
	bool reads;
	uint8_t *room; /* for pages read */
};

struct job {
	const struct bench_load *load;
	struct bench_pages *set;
	struct nbd_handle *nbd; /* or NULL, and a device */
	int device;
	pthread_t thread;
	uint64_t places;	   /* pages of the device */
	size_t share, shares_from; /* of the set: how many, and the first */
	size_t next;		   /* of the share */
	uint64_t random;
	uint64_t from, to; /* what is counted */
	uint64_t requests, counted;
	struct bench_latency latency;
	struct bench_pages rooms;
	struct slot slots[BENCH_LOAD_DEPTH_MOST];
	struct slot *idle[BENCH_LOAD_DEPTH_MOST];
	unsigned idles;
};

static void must_nbd(int r, const struct bench_server *server)
{
	if (r < 0) {
		fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name,
			server->name, nbd_get_error());
		exit(1);
	}
}

static struct nbd_handle *connect_to(const struct bench_server *server)
{
	struct nbd_handle *nbd = nbd_create();

	bench_must(!nbd, "nbd_create");
	/* Rooms are not cleared before a read, nor arguments checked again. */
	must_nbd(nbd_set_pread_initialize(nbd, false), server);
	must_nbd(nbd_set_strict_mode(nbd, 0), server);
	must_nbd(nbd_connect_uri(nbd, server->uri), server);
	return nbd;
}

static uint64_t place_in(const uint8_t *page)
{
	uint64_t number;

	memcpy(&number, page + TMEM_PAGE_SIZE - sizeof(number), sizeof(number));
	return number;
}

/* Called by libnbd, which wants no further calls from here. */
static int finished(void *ctx, int *error)
{
	struct slot *slot = ctx;
	struct job *job = slot->job;
	uint64_t now = bench_now();

	bench_must(*error, "a request");
	if (slot->reads && place_in(slot->room) != slot->place) {
		fprintf(stderr, "%s: page %llu holds page %llu\n",
			program_invocation_short_name,
			(unsigned long long)slot->place,
			(unsigned long long)place_in(slot->room));
		exit(1);
	}
	job->requests++;
	if (now >= job->from && now < job->to) {
		job->counted++;
		bench_latency_add(&job->latency, now - slot->start);
	}
	job->idle[job->idles++] = slot;
	return 1; /* libnbd may forget the request */
}

static uint64_t random_below(struct job *job, uint64_t end)
{
	job->random = job->random * 6364136223846793005u + 1442695040888963407u;
	return (uint64_t)((job->random >> 32) * end >> 32);
}

/* Decide on a request. Returns the page to send or to read to. */
static uint8_t *prepare(struct job *job, struct slot *slot)
{
	uint8_t *page;

	slot->reads = random_below(job, 100) < job->load->read_percent;
	slot->place = random_below(job, job->places);
	slot->start = bench_now();
	if (slot->reads)
		return slot->room;
	page = bench_page(job->set, job->shares_from + job->next);
	job->next = (job->next + 1) % job->share;
	bench_number(page, slot->place);
	return page;
}

static void begin(struct job *job, struct slot *slot)
{
	nbd_completion_callback callback = {
		.callback = finished,
		.user_data = slot,
	};
	uint8_t *page = prepare(job, slot);
	uint64_t at = slot->place * TMEM_PAGE_SIZE;
	int64_t r;

	if (slot->reads)
		r = nbd_aio_pread(job->nbd, page, TMEM_PAGE_SIZE, at, callback,
				  0);
	else
		r = nbd_aio_pwrite(job->nbd, page, TMEM_PAGE_SIZE, at, callback,
				   0);
	bench_must(r < 0, nbd_get_error());
}

static bool goes_on(const struct job *job)
{
	return bench_now() < job->to || !job->requests;
}

static void *work(void *ctx)
{
	struct job *job = ctx;

	for (;;) {
		bool more = goes_on(job);

		while (more && job->idles)
			begin(job, job->idle[--job->idles]);
		if (job->idles == job->load->depth)
			return NULL;
		bench_must(nbd_poll(job->nbd, -1) < 0, nbd_get_error());
	}
}

/* One request after the other. */
static void *work_on_device(void *ctx)
{
	struct job *job = ctx;

	while (goes_on(job)) {
		struct slot *slot = job->idle[--job->idles];
		uint8_t *page = prepare(job, slot);
		off_t at = (off_t)(slot->place * TMEM_PAGE_SIZE);
		ssize_t n;
		int error = 0;

		n = slot->reads ? pread(job->device, page, TMEM_PAGE_SIZE, at)
				: pwrite(job->device, page, TMEM_PAGE_SIZE, at);
		bench_must(n != TMEM_PAGE_SIZE, "a request to a device");
		finished(slot, &error);
	}
	return NULL;
}

static struct job *new_job(const struct bench_server *server,
			   const struct bench_load *load,
			   struct bench_pages *set, unsigned number)
{
	struct job *job = calloc(1, sizeof(*job));

	bench_must(!job, "calloc");
	job->load = load;
	job->set = set;
	job->device = server->device;
	if (job->device < 0)
		job->nbd = connect_to(server);
	job->places = server->size / TMEM_PAGE_SIZE;
	job->share = set->count / load->jobs;
	bench_must(job->share <= load->depth, "so few pages at such a depth");
	job->shares_from = number * job->share;
	job->random = bench_now() + number;
	/* Other pages than in the last turn, as far as a set goes. */
	job->next = random_below(job, job->share);
	job->rooms = bench_pages_new(load->depth);
	for (unsigned i = 0; i < load->depth; i++) {
		job->slots[i].job = job;
		job->slots[i].room = bench_page(&job->rooms, i);
		job->idle[job->idles++] = &job->slots[i];
	}
	return job;
}

static void end_job(struct job *job, struct bench_loaded *loaded)
{
	bench_must(pthread_join(job->thread, NULL), "pthread_join");
	loaded->requests += job->requests;
	loaded->iops += (double)job->counted / job->load->seconds;
	bench_latency_merge(&loaded->latency, &job->latency);
	if (job->nbd) {
		nbd_shutdown(job->nbd, 0);
		nbd_close(job->nbd);
	}
	bench_pages_free(&job->rooms);
	free(job);
}

void bench_load_run(const struct bench_server *server,
		    const struct bench_load *load, struct bench_pages *set,
		    struct bench_loaded *loaded)
{
	const unsigned count = load->jobs;
	struct job *jobs[count];
	uint64_t from;

	*loaded = (struct bench_loaded){0};
	for (unsigned i = 0; i < count; i++)
		jobs[i] = new_job(server, load, set, i);
	from = bench_now() + (uint64_t)(load->ramp * 1e9);
	for (unsigned i = 0; i < count; i++) {
		jobs[i]->from = from;
		jobs[i]->to = from + (uint64_t)(load->seconds * 1e9);
		bench_must(pthread_create(&jobs[i]->thread, NULL,
					  jobs[i]->nbd ? work : work_on_device,
					  jobs[i]),
			   "pthread_create");
	}
	for (unsigned i = 0; i < count; i++)
		end_job(jobs[i], loaded);
}

static int filled(void *ctx, int *error)
{
	bench_must(*error, "filling a server's device");
	return 1;
}

/* With nbd NULL, to a device. */
static void fill_run(struct nbd_handle *nbd, int device, const uint8_t *pages,
		     uint64_t count, uint64_t place)
{
	nbd_completion_callback callback = {.callback = filled};
	size_t bytes = (size_t)count * TMEM_PAGE_SIZE;
	uint64_t at = place * TMEM_PAGE_SIZE;

	if (!nbd) {
		bench_must(pwrite(device, pages, bytes, (off_t)at) !=
				   (ssize_t)bytes,
			   "filling a device");
		return;
	}
	while (nbd_aio_in_flight(nbd) >= (int)FILL_DEPTH)
		bench_must(nbd_poll(nbd, -1) < 0, nbd_get_error());
	bench_must(nbd_aio_pwrite(nbd, pages, bytes, at, callback, 0) < 0,
		   nbd_get_error());
}

void bench_load_fill(const struct bench_server *server, struct bench_pages *set)
{
	uint64_t places = server->size / TMEM_PAGE_SIZE, place = 0;
	size_t runs = set->count / FILL_PAGES, run = 0;
	struct nbd_handle *nbd = server->device < 0 ? connect_to(server) : NULL;

	bench_must(runs <= FILL_DEPTH, "so few pages");
	while (place < places) {
		size_t first = run++ % runs * FILL_PAGES;
		uint64_t left = places - place;
		uint64_t count = left < FILL_PAGES ? left : FILL_PAGES;

		for (uint64_t i = 0; i < count; i++)
			bench_number(bench_page(set, first + i), place + i);
		fill_run(nbd, server->device, bench_page(set, first), count,
			 place);
		place += count;
	}
	if (!nbd)
		return;
	while (nbd_aio_in_flight(nbd))
		bench_must(nbd_poll(nbd, -1) < 0, nbd_get_error());
	nbd_shutdown(nbd, 0);
	nbd_close(nbd);
}
