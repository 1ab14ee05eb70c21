/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lanes of calls, interleaved; see lanes.h. */
#include "lanes.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "codec.h"
#include "pageset.h"
#include "report.h"

#define SLICE_MOST  256u
#define SLICES	    16u /* at least, of small sets */
#define ROUNDS_WARM 12u /* not counted; longer than any lag */
#define SPINS	    20000u

/* What a lane took with some number of threads. */
struct samples {
	uint32_t *ns; /* of each call */
	size_t calls;
};

struct run {
	const struct bench_lane *lanes;
	size_t count, slice, slices;
	unsigned rounds;
	struct samples *samples; /* [lane][threads - 1] */
	struct bench_worker worker[BENCH_THREADS];
	uint32_t *ns[BENCH_THREADS]; /* of a worker's slice */
	uint16_t order[SLICE_MOST];  /* in which a slice's pages are met */
	pthread_barrier_t round;
	atomic_uint met; /* workers that came to a rendezvous, ever */
};

size_t bench_lanes_slice(size_t pages)
{
	size_t slice = pages / SLICES;

	return slice > SLICE_MOST ? SLICE_MOST : slice ? slice : 1;
}

/* Wait for the other worker: awake, so that both go on at the same time, but
 * not for long while it has no processor. */
static void rendezvous(struct run *run, unsigned threads)
{
	unsigned mine, spins = 0;

	if (threads == 1)
		return;
	mine = atomic_fetch_add(&run->met, 1);
	while ((int)(atomic_load(&run->met) - (mine / threads + 1) * threads) <
	       0)
		if (++spins > SPINS)
			sched_yield();
}

/* The part of the set that a worker's lane has come to: each lane by one
 * thread, by the first of two and by the second has its own way behind the
 * others. */
static size_t first_page(const struct run *run, size_t lane, unsigned round,
			 const struct bench_worker *worker)
{
	size_t ways = run->count * (BENCH_THREADS + 1);
	size_t way = worker->number ? run->count * 2 + lane
				    : lane * 2 + worker->threads - 1;

	return (round + way * run->slices / ways) % run->slices * run->slice;
}

static void note_slice(struct run *run, struct samples *samples, unsigned round,
		       const struct bench_worker *worker)
{
	size_t slice = (size_t)(round - ROUNDS_WARM) * worker->threads +
		       worker->number;
	const uint32_t *ns = run->ns[worker->number];

	memcpy(samples->ns + slice * run->slice, ns, run->slice * sizeof(*ns));
	if (worker->number == 0)
		samples->calls += run->slice * worker->threads;
}

static void run_slice(struct run *run, size_t number, unsigned round,
		      struct bench_worker *worker)
{
	const struct bench_lane *lane = &run->lanes[number];
	size_t page = first_page(run, number, round, worker);
	uint32_t *ns = run->ns[worker->number];
	uint32_t index = lane->running
				 ? (uint32_t)((round - lane->lag) * run->slice)
				 : (uint32_t)page;
	uint64_t before;

	worker->which = lane->which;
	rendezvous(run, worker->threads);
	for (size_t i = 0; i < run->slice; i++) {
		size_t at = run->order[i];

		before = bench_now();
		lane->call(worker, page + at, index + (uint32_t)at);
		ns[i] = (uint32_t)(bench_now() - before);
	}
	rendezvous(run, worker->threads);
	for (size_t i = 0; lane->after && i < run->slice; i++)
		lane->after(worker, page + i, index + (uint32_t)i);
	if (round >= ROUNDS_WARM)
		note_slice(run,
			   &run->samples[number * BENCH_THREADS +
					 worker->threads - 1],
			   round, worker);
}

static void run_lanes(struct run *run, unsigned round, unsigned threads,
		      struct bench_worker *worker)
{
	worker->threads = threads;
	for (size_t i = 0; i < run->count; i++) {
		const struct bench_lane *lane = &run->lanes[i];

		if (round >= lane->lag &&
		    (!lane->available ||
		     lane->available(worker->data, lane->which)))
			run_slice(run, i, round, worker);
	}
}

/* Let a worker have a processor of its own, where there are enough. */
static void pin(unsigned number)
{
	cpu_set_t all, one;
	unsigned seen = 0;

	if (sched_getaffinity(0, sizeof(all), &all) ||
	    CPU_COUNT(&all) < BENCH_THREADS)
		return;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && seen++ == number)
			CPU_SET(cpu, &one);
	pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

struct start {
	struct run *run;
	unsigned number;
};

static void *work(void *ctx)
{
	const struct start *start = ctx;
	struct run *run = start->run;
	struct bench_worker *worker = &run->worker[start->number];

	pin(worker->number);
	for (unsigned round = 0; round < run->rounds + ROUNDS_WARM; round++) {
		if (worker->number == 0)
			run_lanes(run, round, 1, worker);
		pthread_barrier_wait(&run->round);
		run_lanes(run, round, BENCH_THREADS, worker);
	}
	return NULL;
}

static int by_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/*
 * The value below which so many thousandths of the calls took. Clocks step by
 * 10 ns and more, so that very many calls seem to have taken the same: taken
 * as spread evenly, half-way to the values before and after.
 */
static double quantile(const struct samples *samples, size_t thousandths)
{
	const uint32_t *ns = samples->ns;
	size_t at = samples->calls * thousandths / 1000, from = at, to = at;
	double low, high;

	while (from > 0 && ns[from - 1] == ns[at])
		from--;
	while (to < samples->calls && ns[to] == ns[at])
		to++;
	low = from > 0 ? (ns[from - 1] + ns[at]) / 2.0 : ns[at];
	high = to < samples->calls ? (ns[at] + ns[to]) / 2.0 : ns[at];
	return low +
	       (high - low) * ((double)(at - from) + 0.5) / (double)(to - from);
}

/* Calls a second of all threads, by the mean of all but the slowest hundredth
 * of the calls: those during which a thread had no processor. */
static double rate_of(const struct samples *samples, unsigned threads,
		      double clock)
{
	size_t most = samples->calls - samples->calls / 100;
	double spent = 0;

	for (size_t i = 0; i < most; i++)
		spent += samples->ns[i] - clock;
	return 1e9 * threads * (double)most / (spent > 1 ? spent : 1);
}

static void note(const char *name, struct samples *samples, unsigned threads,
		 double clock, json_t *report)
{
	static const struct {
		const char *name;
		size_t thousandths;
	} quantiles[] = {{"p50_ns", 500}, {"p99_ns", 990}, {"p999_ns", 999}};
	double rate;

	qsort(samples->ns, samples->calls, sizeof(*samples->ns), by_ns);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
		double ns = quantile(samples, quantiles[i].thousandths) - clock;

		ns = ns > 0 ? ns : 0;
		bench_set(report, ns, "calls/%u/%s/%s", threads, name,
			  quantiles[i].name);
		printf(" %8.0f", ns);
	}
	rate = rate_of(samples, threads, clock);
	bench_set(report, rate, "calls/%u/%s/calls_per_second", threads, name);
	printf(" %8.0f", rate / 1e3);
}

static void report_all(struct run *run, json_t *report)
{
	struct samples *empty = run->samples;
	double clock;

	qsort(empty->ns, empty->calls, sizeof(*empty->ns), by_ns);
	clock = quantile(empty, 500);
	bench_set(report, clock, "clock_ns");
	printf("%-20s %17s %36s\n%-20s", "ns a call, thousands", "1 thread",
	       "2 threads", "of calls a second");
	for (unsigned t = 0; t < BENCH_THREADS; t++)
		printf(" %8s %8s %8s %8s", "p50", "p99", "p99.9", "k/s");
	printf("\n");
	for (size_t i = 1; i < run->count; i++) {
		if (!run->samples[i * BENCH_THREADS].calls)
			continue;
		printf("%-20s", run->lanes[i].name);
		for (unsigned t = 0; t < BENCH_THREADS; t++)
			note(run->lanes[i].name,
			     &run->samples[i * BENCH_THREADS + t], t + 1, clock,
			     report);
		printf("\n");
	}
}

static void init_worker(struct run *run, unsigned number,
			struct bench_data *data)
{
	struct bench_worker *worker = &run->worker[number];

	*worker = (struct bench_worker){.data = data, .number = number};
	bench_must(tmem_codecs_new(UINT64_MAX, &worker->codecs),
		   "tmem_codecs_new");
	worker->hot = bench_pages_new(2);
	worker->page = bench_page(&worker->hot, 0);
	worker->other = bench_page(&worker->hot, 1);
	run->ns[number] = calloc(run->slice, sizeof(uint32_t));
	bench_must(!run->ns[number], "calloc");
}

static void deinit_worker(struct run *run, unsigned number)
{
	tmem_codecs_free(run->worker[number].codecs);
	bench_pages_free(&run->worker[number].hot);
	free(run->ns[number]);
}

/* Random, or with in_order not. */
static void set_order(struct run *run, bool in_order)
{
	uint32_t n = 1;

	for (size_t i = 0; i < run->slice; i++)
		run->order[i] = (uint16_t)i;
	for (size_t i = run->slice - 1; i > 0 && !in_order; i--) {
		uint16_t order = run->order[i];
		size_t j;

		n = n * 1664525u + 1013904223u;
		j = (n >> 8) % (i + 1);
		run->order[i] = run->order[j];
		run->order[j] = order;
	}
}

static void run_workers(struct run *run, struct bench_data *data)
{
	struct start start[BENCH_THREADS];
	pthread_t thread[BENCH_THREADS];

	pthread_barrier_init(&run->round, NULL, BENCH_THREADS);
	for (unsigned t = 0; t < BENCH_THREADS; t++)
		init_worker(run, t, data);
	for (unsigned t = 0; t < BENCH_THREADS; t++) {
		start[t] = (struct start){run, t};
		bench_must(pthread_create(&thread[t], NULL, work, &start[t]),
			   "pthread_create");
	}
	for (unsigned t = 0; t < BENCH_THREADS; t++)
		pthread_join(thread[t], NULL);
	for (unsigned t = 0; t < BENCH_THREADS; t++)
		deinit_worker(run, t);
	pthread_barrier_destroy(&run->round);
}

static struct samples *new_samples(const struct run *run)
{
	struct samples *samples =
		calloc(run->count * BENCH_THREADS, sizeof(*samples));

	bench_must(!samples, "calloc");
	for (size_t i = 0; i < run->count * BENCH_THREADS; i++) {
		size_t slices = run->rounds * (i % BENCH_THREADS + 1);

		samples[i].ns =
			calloc(slices * run->slice, sizeof(*samples[i].ns));
		bench_must(!samples[i].ns, "calloc");
	}
	return samples;
}

void bench_lanes_run(const struct bench_lane *lanes, size_t count,
		     struct bench_data *data, size_t pages, unsigned rounds,
		     bool in_order, json_t *report)
{
	struct run run = {
		.lanes = lanes,
		.count = count,
		.rounds = rounds,
		.slice = bench_lanes_slice(pages),
	};

	run.slices = pages / run.slice;
	run.samples = new_samples(&run);
	set_order(&run, in_order);
	run_workers(&run, data);
	report_all(&run, report);
	for (size_t i = 0; i < count * BENCH_THREADS; i++)
		free(run.samples[i].ns);
	free(run.samples);
}
