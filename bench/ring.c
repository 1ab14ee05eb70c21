/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the ring costs: the same calls on a local store and on an attached one,
 * in turns. See BENCHMARKS.md.
 *
 * usage: ring [MILLISECONDS a measurement and way]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tmem/client.h>
#include <tmem/store.h>
#include "attach-server.h"
#include "pages.h"

#define BUDGET	(256u << 20)
#define PAGES	4096u /* 16 MiB: more than a cache of level 2 */
#define ROUNDS	20u
#define SAMPLES 4000000u

enum kind { GET_HIT, GET_MISS, PUT, KINDS };
static const char *const kind_names[] = {"get hit", "get miss", "put"};

struct way {
	const char *name;
	struct tmem_client *client;
	struct tmem_pool *pool;
	uint32_t *ns; /* a sample a call */
	size_t samples;
	uint64_t total_ns;
};

struct measurement {
	enum kind kind;
	enum tmem_codec codec;
	uint32_t run;
	unsigned pause_us; /* between calls */
};

static const struct tmem_oid oid = {{1, 2, 3}};
static uint8_t *pages;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "ring: %s failed\n", what);
		exit(1);
	}
}

static void open_pool(struct way *way, enum tmem_codec codec)
{
	struct tmem_pool_config config = {
		.name = "bench",
		.codec = codec,
		.dedup = TMEM_DEDUP_OFF,
	};
	uint32_t i;

	must(tmem_pool_new(way->client, &config, &way->pool) == 0, "pool");
	for (i = 0; i < PAGES; i += 256)
		must(tmem_put_run(way->pool, &oid, i, 256,
				  pages + (size_t)i * TMEM_PAGE_SIZE,
				  NULL) == 256,
		     "put");
}

static int call(const struct measurement *m, struct way *way, uint32_t index)
{
	static uint8_t buffer[256 * TMEM_PAGE_SIZE];
	size_t at = (size_t)index * TMEM_PAGE_SIZE;

	switch (m->kind) {
	case GET_HIT:
		return tmem_get_run(way->pool, &oid, index, m->run, buffer,
				    NULL) == (int)m->run;
	case GET_MISS:
		return tmem_get_run(way->pool, &oid, index + PAGES, m->run,
				    buffer, NULL) == 0;
	default:
		return tmem_put_run(way->pool, &oid, index, m->run, pages + at,
				    NULL) == (int)m->run;
	}
}

/* Call for so long, at indices that a prefetcher does not guess. */
static void measure(const struct measurement *m, struct way *way, uint64_t ns)
{
	uint64_t begin = now_ns(), before, after = begin;
	uint32_t runs = PAGES / m->run;
	uint32_t n = (uint32_t)begin;

	while (after - begin < ns && way->samples < SAMPLES) {
		n = n * 1664525u + 1013904223u;
		before = now_ns();
		must(call(m, way, (n >> 8) % runs * m->run), "call");
		after = now_ns();
		way->ns[way->samples++] = (uint32_t)(after - before);
		way->total_ns += after - before;
		while (now_ns() - after < m->pause_us * UINT64_C(1000))
			;
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile_us(struct way *way, unsigned percent)
{
	size_t at = way->samples * percent / 100;

	return way->ns[at] / 1e3;
}

static void report(const struct measurement *m, struct way *way)
{
	uint32_t i;

	printf("%-9s %-4s %4u KiB  after %4u us", kind_names[m->kind],
	       m->codec == TMEM_CODEC_RAW ? "raw" : "lz4", m->run * 4,
	       m->pause_us);
	for (i = 0; i < 2; i++) {
		qsort(way[i].ns, way[i].samples, sizeof(*way[i].ns), compare);
		printf("  %s p50 %6.2f p99 %7.2f us %5.2f GB/s", way[i].name,
		       percentile_us(&way[i], 50), percentile_us(&way[i], 99),
		       m->run * 4.096 / percentile_us(&way[i], 50));
	}
	printf("\n");
	fflush(stdout);
}

static void run(const struct measurement *m, struct way *way, uint64_t ns)
{
	unsigned i, round;

	for (i = 0; i < 2; i++) {
		open_pool(&way[i], m->codec);
		way[i].samples = 0;
	}
	for (round = 0; round < ROUNDS; round++)
		for (i = 0; i < 2; i++)
			measure(m, &way[i], ns / ROUNDS);
	report(m, way);
	for (i = 0; i < 2; i++)
		tmem_pool_free(way[i].pool);
}

int main(int argc, char **argv)
{
	static const struct measurement measurements[] = {
		{GET_HIT, TMEM_CODEC_RAW, 1, 0},
		{GET_HIT, TMEM_CODEC_RAW, 1, 10},
		{GET_HIT, TMEM_CODEC_RAW, 1, 1000},
		{GET_HIT, TMEM_CODEC_LZ4, 1, 0},
		{GET_MISS, TMEM_CODEC_RAW, 1, 0},
		{PUT, TMEM_CODEC_RAW, 1, 0},
		{PUT, TMEM_CODEC_LZ4, 1, 0},
		{GET_HIT, TMEM_CODEC_RAW, 32, 0},
		{GET_HIT, TMEM_CODEC_RAW, 32, 10},
		{GET_HIT, TMEM_CODEC_LZ4, 32, 0},
		{PUT, TMEM_CODEC_RAW, 32, 0},
		{PUT, TMEM_CODEC_LZ4, 32, 0},
		{GET_HIT, TMEM_CODEC_RAW, 256, 0},
	};
	uint64_t ns =
		1000000u * (argc > 1 ? strtoull(argv[1], NULL, 10) : 1000);
	struct tmem_client_config client = {.name = "bench"};
	struct test_attach_server server;
	struct tmem_store_config config;
	struct tmem_store *store;
	struct way way[2] = {{.name = "local"}, {.name = "attached"}};
	size_t i;

	test_pages_init();
	pages = malloc((size_t)PAGES * TMEM_PAGE_SIZE);
	way[0].ns = malloc(SAMPLES * sizeof(uint32_t));
	way[1].ns = malloc(SAMPLES * sizeof(uint32_t));
	must(pages && way[0].ns && way[1].ns, "malloc");
	for (i = 0; i < PAGES; i++)
		test_page_of(pages + i * TMEM_PAGE_SIZE,
			     i & 1 ? TEST_PAGE_TEXT : TEST_PAGE_BINARY, i);
	test_attach_server_start(&server, BUDGET);
	tmem_store_config_init(&config);
	config.budget = BUDGET;
	must(tmem_store_open(&config, &store) == 0, "store");
	must(tmem_client_new_local(store, &client, &way[0].client) == 0,
	     "local client");
	must(tmem_client_attach(server.path, &client, &way[1].client) == 0,
	     "attached client");
	for (i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++)
		run(&measurements[i], way, ns);
	tmem_client_free(way[0].client);
	tmem_client_free(way[1].client);
	tmem_store_close(store);
	return test_attach_server_stop(&server) != 0;
}
