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
	struct nbd_handle *nbd;
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

static int64_t begin(struct job *job, struct slot *slot)
{
	nbd_completion_callback callback = {
		.callback = finished,
		.user_data = slot,
	};
	uint8_t *page;

	slot->reads = random_below(job, 100) < job->load->read_percent;
	slot->place = random_below(job, job->places);
	slot->start = bench_now();
	if (slot->reads)
		return nbd_aio_pread(job->nbd, slot->room, TMEM_PAGE_SIZE,
				     slot->place * TMEM_PAGE_SIZE, callback, 0);
	page = bench_page(job->set, job->shares_from + job->next);
	job->next = (job->next + 1) % job->share;
	bench_number(page, slot->place);
	return nbd_aio_pwrite(job->nbd, page, TMEM_PAGE_SIZE,
			      slot->place * TMEM_PAGE_SIZE, callback, 0);
}

static void *work(void *ctx)
{
	struct job *job = ctx;

	for (;;) {
		bool goes_on = bench_now() < job->to || !job->requests;

		while (goes_on && job->idles)
			bench_must(begin(job, job->idle[--job->idles]) < 0,
				   nbd_get_error());
		if (job->idles == job->load->depth)
			return NULL;
		bench_must(nbd_poll(job->nbd, -1) < 0, nbd_get_error());
	}
}

static struct job *new_job(const struct bench_server *server,
			   const struct bench_load *load,
			   struct bench_pages *set, unsigned number)
{
	struct job *job = calloc(1, sizeof(*job));

	bench_must(!job, "calloc");
	job->load = load;
	job->set = set;
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
	nbd_shutdown(job->nbd, 0);
	nbd_close(job->nbd);
	bench_pages_free(&job->rooms);
	free(job);
}

void bench_load_run(const struct bench_server *server,
		    const struct bench_load *load, struct bench_pages *set,
		    struct bench_loaded *loaded)
{
	struct job *jobs[load->jobs];
	uint64_t from;

	*loaded = (struct bench_loaded){0};
	for (unsigned i = 0; i < load->jobs; i++)
		jobs[i] = new_job(server, load, set, i);
	from = bench_now() + (uint64_t)(load->ramp * 1e9);
	for (unsigned i = 0; i < load->jobs; i++) {
		jobs[i]->from = from;
		jobs[i]->to = from + (uint64_t)(load->seconds * 1e9);
		bench_must(
			pthread_create(&jobs[i]->thread, NULL, work, jobs[i]),
			"pthread_create");
	}
	for (unsigned i = 0; i < load->jobs; i++)
		end_job(jobs[i], loaded);
}

static int filled(void *ctx, int *error)
{
	bench_must(*error, "filling a device");
	return 1;
}

void bench_load_fill(const struct bench_server *server, struct bench_pages *set)
{
	uint64_t places = server->size / TMEM_PAGE_SIZE, place = 0;
	size_t runs = set->count / FILL_PAGES, run = 0;
	struct nbd_handle *nbd = connect_to(server);
	nbd_completion_callback callback = {.callback = filled};

	bench_must(runs <= FILL_DEPTH, "so few pages");
	while (place < places) {
		size_t first = run++ % runs * FILL_PAGES;
		uint64_t left = places - place;
		uint64_t count = left < FILL_PAGES ? left : FILL_PAGES;

		for (uint64_t i = 0; i < count; i++)
			bench_number(bench_page(set, first + i), place + i);
		while (nbd_aio_in_flight(nbd) >= (int)FILL_DEPTH)
			must_nbd(nbd_poll(nbd, -1), server);
		bench_must(nbd_aio_pwrite(nbd, bench_page(set, first),
					  count * TMEM_PAGE_SIZE,
					  place * TMEM_PAGE_SIZE, callback,
					  0) < 0,
			   nbd_get_error());
		place += count;
	}
	while (nbd_aio_in_flight(nbd))
		must_nbd(nbd_poll(nbd, -1), server);
	nbd_shutdown(nbd, 0);
	nbd_close(nbd);
}
