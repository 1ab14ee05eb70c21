/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a page costs in a store of this process; BENCHMARKS.md defines the
 * workloads. Each is a function of a thread's state and a number, timed call by
 * call; a table of them is run from top to bottom.
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#define XXH_INLINE_ALL
#include <xxhash.h>
#include "codec.h"
#include "pageset.h"

#define THREADS_MOST 2

struct options {
	size_t pages;
	enum tmem_codec codec;
	bool json;
	uint8_t *set;
};

/* One thread's part: pages first to first + count - 1 of the set. */
struct part {
	const struct options *options;
	struct tmem_codecs *codecs;
	struct tmem_pool *pool, *raw;
	size_t first, count;
	uint32_t *ns; /* of each call */
	uint64_t start, end;
	pthread_barrier_t *together;
	const struct workload *workload;
	pthread_t thread;
	size_t *compressed; /* sizes, from compress to decompress */
	uint8_t *packed;    /* the page decompress starts from */
	uint8_t page[TMEM_PAGE_SIZE];
	uint64_t sink;
};

/* Objects of a thread: which is told by the second word. */
enum { NEW, DUPLICATE, NOTHING, RAW };

static struct tmem_oid oid_of(const struct part *part, int object)
{
	return (struct tmem_oid){{part->first, (uint64_t)object, 0}};
}

static uint8_t *page_of(const struct part *part, size_t i)
{
	return part->options->set + (part->first + i) * TMEM_PAGE_SIZE;
}

static void must(int r, const char *what)
{
	if (r) {
		fprintf(stderr, "bench: %s: %d\n", what, r);
		exit(1);
	}
}

static void do_memcpy(struct part *part, size_t i)
{
	memcpy(part->page, page_of(part, i), TMEM_PAGE_SIZE);
	/* Or the compiler would drop the copy. */
	__asm__ volatile("" : : "r"(part->page) : "memory");
}

static void do_xxh3(struct part *part, size_t i)
{
	part->sink += XXH3_64bits(page_of(part, i), TMEM_PAGE_SIZE);
}

static void do_compress(struct part *part, size_t i)
{
	part->compressed[i] =
		tmem_codec_compress(part->codecs, part->options->codec,
				    page_of(part, i), part->page);
}

/* Not timed: the input of decompress. */
static void pack(struct part *part, size_t i)
{
	part->compressed[i] =
		tmem_codec_compress(part->codecs, part->options->codec,
				    page_of(part, i), part->packed);
}

static void do_decompress(struct part *part, size_t i)
{
	enum tmem_codec codec =
		part->compressed[i] ? part->options->codec : TMEM_CODEC_RAW;

	must(tmem_codec_decompress(
		     part->codecs, codec,
		     part->compressed[i] ? part->packed : page_of(part, i),
		     part->compressed[i] ? part->compressed[i] : TMEM_PAGE_SIZE,
		     part->page),
	     "decompress");
}

static void put(struct part *part, struct tmem_pool *pool, int object, size_t i)
{
	struct tmem_oid oid = oid_of(part, object);

	must(tmem_put(pool, &oid, (uint32_t)i, page_of(part, i)), "put");
}

static void get(struct part *part, struct tmem_pool *pool, int object, size_t i,
		int expected)
{
	struct tmem_oid oid = oid_of(part, object);

	must(tmem_get(pool, &oid, (uint32_t)i, part->page) != expected, "get");
}

static void do_put_new(struct part *part, size_t i)
{
	put(part, part->pool, NEW, i);
}

static void do_get(struct part *part, size_t i)
{
	get(part, part->pool, NEW, i, TMEM_OK);
}

/* Not timed: pages that were not put before. */
static void renumber(struct part *part, size_t i)
{
	bench_number(page_of(part, i), part->options->pages + part->first + i);
}

static void do_put_duplicate(struct part *part, size_t i)
{
	put(part, part->pool, DUPLICATE, i);
}

static void do_get_miss(struct part *part, size_t i)
{
	get(part, part->pool, NOTHING, i, TMEM_MISS);
}

static void do_flush(struct part *part, size_t i)
{
	struct tmem_oid oid = oid_of(part, NEW);

	must(tmem_flush(part->pool, &oid, (uint32_t)i), "flush");
}

static void do_put_raw(struct part *part, size_t i)
{
	put(part, part->raw, RAW, i);
}

static void do_get_raw(struct part *part, size_t i)
{
	get(part, part->raw, RAW, i, TMEM_OK);
}

static const struct workload {
	const char *name;
	void (*before)(struct part *part, size_t i); /* each call; not timed */
	void (*call)(struct part *part, size_t i);
} workloads[] = {
	{"memcpy", NULL, do_memcpy},
	{"xxh3", NULL, do_xxh3},
	{"compress", NULL, do_compress},
	{"decompress", pack, do_decompress},
	{"put-new", NULL, do_put_new},
	{"get-compressed", NULL, do_get},
	{"put-replace", renumber, do_put_new},
	{"put-duplicate", NULL, do_put_duplicate},
	{"get-miss", NULL, do_get_miss},
	{"flush", NULL, do_flush},
	{"put-raw", NULL, do_put_raw},
	{"get-raw", NULL, do_get_raw},
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *run_part(void *ctx)
{
	struct part *part = ctx;
	const struct workload *workload = part->workload;

	pthread_barrier_wait(part->together);
	part->start = now_ns();
	for (size_t i = 0; i < part->count; i++) {
		uint64_t begin;

		if (workload->before)
			workload->before(part, i);
		begin = now_ns();
		workload->call(part, i);
		part->ns[i] = (uint32_t)(now_ns() - begin);
	}
	part->end = now_ns();
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(const struct workload *workload, const struct part *parts,
		   unsigned threads, bool json, bool last)
{
	size_t count = parts[0].count * threads;
	uint32_t *ns = parts[0].ns; /* the parts' arrays lie side by side */
	uint64_t start = parts[0].start, end = parts[0].end;
	uint64_t spent = 0;
	double rate;

	for (unsigned t = 1; t < threads; t++) {
		start = parts[t].start < start ? parts[t].start : start;
		end = parts[t].end > end ? parts[t].end : end;
	}
	/* Where something is done between calls, only calls count. */
	for (size_t i = 0; i < count; i++)
		spent += ns[i];
	rate = workload->before ? (double)count * threads / (double)spent
				: (double)count / (double)(end - start);
	qsort(ns, count, sizeof(*ns), by_size);
	printf(json ? "  {\"workload\": \"%s\", \"threads\": %u, \"p50_ns\": %u, \"p99_ns\": %u, \"calls_per_second\": %.0f}%s\n"
		    : "%-15s %7u %9u %9u %11.0f%s\n",
	       workload->name, threads, ns[count / 2], ns[count * 99 / 100],
	       rate * 1e9, json && !last ? "," : "");
	fflush(stdout);
}

static void run_all(const struct options *options, struct part *parts,
		    unsigned threads)
{
	size_t count = sizeof(workloads) / sizeof(workloads[0]);
	pthread_barrier_t together;

	pthread_barrier_init(&together, NULL, threads);
	for (size_t w = 0; w < count; w++) {
		for (unsigned t = 0; t < threads; t++) {
			parts[t].workload = &workloads[w];
			parts[t].together = &together;
			must(pthread_create(&parts[t].thread, NULL, run_part,
					    &parts[t]),
			     "pthread_create");
		}
		for (unsigned t = 0; t < threads; t++)
			pthread_join(parts[t].thread, NULL);
		report(&workloads[w], parts, threads, options->json,
		       threads == THREADS_MOST && w == count - 1);
	}
	pthread_barrier_destroy(&together);
}

static void set_up(const struct options *options, struct tmem_store **store,
		   struct tmem_client **client, struct tmem_pool **pool,
		   struct tmem_pool **raw)
{
	struct tmem_store_config config;
	struct tmem_client_config client_config = {.name = "bench"};
	struct tmem_pool_config pool_config = {
		.name = "pool",
		.codec = options->codec,
		.dedup = TMEM_DEDUP_ON,
	};

	tmem_store_config_init(&config);
	config.budget = (64ull << 20) + options->pages * TMEM_PAGE_SIZE * 4;
	config.capacity = config.budget;
	config.nursery = 0;
	config.threads = 0;
	must(tmem_store_open(&config, store), "tmem_store_open");
	must(tmem_client_new_local(*store, &client_config, client),
	     "tmem_client_new_local");
	must(tmem_pool_new(*client, &pool_config, pool), "tmem_pool_new");
	pool_config.name = "raw";
	pool_config.codec = TMEM_CODEC_RAW;
	pool_config.dedup = TMEM_DEDUP_OFF;
	must(tmem_pool_new(*client, &pool_config, raw), "tmem_pool_new");
}

static void run_with(const struct options *options, struct tmem_codecs *codecs,
		     unsigned threads)
{
	struct part *parts = calloc(threads, sizeof(*parts));
	size_t count = options->pages / threads;
	uint32_t *ns = calloc(options->pages, sizeof(*ns));
	size_t *compressed = calloc(options->pages, sizeof(*compressed));
	struct tmem_pool *pool, *raw;
	struct tmem_client *client;
	struct tmem_store *store;

	if (!parts || !ns || !compressed)
		must(1, "calloc");
	set_up(options, &store, &client, &pool, &raw);
	for (size_t i = 0; i < options->pages; i++)
		bench_number(options->set + i * TMEM_PAGE_SIZE, i);
	for (unsigned t = 0; t < threads; t++) {
		parts[t] = (struct part){
			.options = options,
			.codecs = codecs,
			.pool = pool,
			.raw = raw,
			.first = t * count,
			.count = count,
			.ns = ns + t * count,
			.compressed = compressed + t * count,
			.packed = malloc(TMEM_PAGE_SIZE),
		};
		if (!parts[t].packed)
			must(1, "malloc");
	}
	run_all(options, parts, threads);
	for (unsigned t = 0; t < threads; t++)
		free(parts[t].packed);
	tmem_pool_free(pool);
	tmem_pool_free(raw);
	tmem_client_free(client);
	tmem_store_close(store);
	free(compressed);
	free(ns);
	free(parts);
}

/* How the pages compress, and how many the store would hold raw. */
static void describe(const struct options *options, struct tmem_codecs *codecs)
{
	uint64_t bytes = 0, raw = 0;
	uint8_t out[TMEM_PAGE_SIZE];

	for (size_t i = 0; i < options->pages; i++) {
		size_t n = tmem_codec_compress(
			codecs, options->codec,
			options->set + i * TMEM_PAGE_SIZE, out);

		raw += n == 0;
		bytes += n ? n : TMEM_PAGE_SIZE;
	}
	if (options->json)
		printf("{\"pages\": %zu, \"codec\": \"%s\", \"compressed_bytes\": %" PRIu64
		       ", \"held_raw\": %" PRIu64 ", \"results\": [\n",
		       options->pages, tmem_codec_name(options->codec), bytes,
		       raw);
	else
		printf("%zu pages, %s: compressed to %.1f %%, held raw %.1f %%\n"
		       "%-15s %7s %9s %9s %11s\n",
		       options->pages, tmem_codec_name(options->codec),
		       100.0 * (double)bytes /
			       (double)(options->pages * TMEM_PAGE_SIZE),
		       100.0 * (double)raw / (double)options->pages, "workload",
		       "threads", "p50 ns", "p99 ns", "calls/s");
}

static void usage(int status)
{
	fprintf(status ? stderr : stdout,
		"usage: store [--pages N] [--codec lz4|lzo|zstd] [--json] [PATH...]\n"
		"Measure a store's calls on pages of the files below PATH (default /usr/lib\n"
		"and /usr/share). bench/BENCHMARKS.md says what is measured.\n");
	exit(status);
}

static enum tmem_codec codec_named(const char *name)
{
	for (int codec = TMEM_CODEC_LZ4; codec < TMEM_CODEC_COUNT; codec++)
		if (strcmp(name, tmem_codec_name(codec)) == 0)
			return codec;
	fprintf(stderr, "store: no codec %s; there are lz4, lzo and zstd\n",
		name);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{"pages", required_argument, NULL, 'p'},
		{"codec", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static char lib[] = "/usr/lib", share[] = "/usr/share";
	char *const paths[] = {lib, share, NULL};
	struct options options = {.pages = 16384, .codec = TMEM_CODEC_LZ4};
	struct tmem_codecs *codecs;
	int c;

	while ((c = getopt_long(argc, argv, "h", names, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.pages = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			options.codec = codec_named(optarg);
			break;
		case 'j':
			options.json = true;
			break;
		case 'h':
			usage(0);
			break;
		default:
			usage(2);
		}
	}
	if (options.pages < THREADS_MOST || options.pages > 1u << 28)
		usage(2);
	options.set = bench_pageset(optind < argc ? argv + optind : paths,
				    options.pages);
	if (!options.set)
		return 1;
	must(tmem_codecs_new(UINT64_MAX, &codecs), "tmem_codecs_new");
	describe(&options, codecs);
	for (unsigned threads = 1; threads <= THREADS_MOST; threads++)
		run_with(&options, codecs, threads);
	if (options.json)
		printf("]}\n");
	tmem_codecs_free(codecs);
	free(options.set);
	return 0;
}
