/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether memory is given back in time (BENCHMARKS.md, "Reclaim" and "Peak").
 *
 * The peak is what the kernel says, the blocks of the arena and this process's
 * anonymous memory, looked at once a millisecond by a thread of its own while
 * others put, replace, get and flush pages and the budget goes down and up. It
 * is held against the budget in force: while one is being set, the larger of
 * the two.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tmem/client.h>
#include <tmem/stats.h>
#include <tmem/store.h>
#include <unistd.h>
#include "clock.h"
#include "kernel-memory.h"
#include "parts.h"

#define MIB (1ull << 20)

/* Reclaim: of a store that holds so many times as much. */
#define STORE_PARTS 3u
#define PUNCH_MOST  (1u << 20)
#define SLAB	    (64u << 10)
#define READ_PARTS  2u /* a page in so many is read before the second time */

/* Peak. */
#define BUDGET	    (256 * MIB)
#define CHURNERS    2u
#define CHURN_PAGES (200000u / CHURNERS)
#define SAMPLE_NS   1000000
#define SETTLE_US   300000 /* of churn between budgets */
#define BUDGETS	    6u

struct home {
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool;
	int arena;
};

static struct home open_home(uint64_t budget, enum tmem_codec codec)
{
	struct tmem_client_config client = {.name = "bench"};
	struct tmem_pool_config pool = {
		.name = "pages", .codec = codec, .dedup = TMEM_DEDUP_ON};
	struct tmem_store_config config;
	struct home home;

	home.arena = memfd_create("bench", MFD_CLOEXEC);
	bench_must(home.arena < 0, "memfd_create");
	tmem_store_config_init(&config);
	config.budget = config.capacity = budget;
	config.arena_fd = dup(home.arena);
	bench_must(tmem_store_open(&config, &home.store), "tmem_store_open");
	bench_must(tmem_client_new_local(home.store, &client, &home.client),
		   "tmem_client_new_local");
	bench_must(tmem_pool_new(home.client, &pool, &home.pool),
		   "tmem_pool_new");
	return home;
}

static void close_home(struct home *home)
{
	tmem_pool_free(home->pool);
	tmem_client_free(home->client);
	tmem_store_close(home->store);
	close(home->arena);
}

static uint64_t used(const struct home *home)
{
	uint64_t stats[TMEM_HOST_STAT_COUNT];

	tmem_store_stats(home->store, stats);
	return stats[TMEM_HOST_STAT_used];
}

/* Pages 256 an object. */
static struct tmem_oid oid_of(uint64_t number)
{
	return (struct tmem_oid){{number / 256, 0, 0}};
}

/* Reclaim ------------------------------------------------------------------ */

/* What the kernel takes to give back as much, by so many bytes a call. */
static double punch_ms(uint64_t bytes, uint64_t step)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);
	uint64_t start, end;
	uint8_t *map;

	bench_must(fd < 0 || ftruncate(fd, (off_t)bytes), "memfd_create");
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bench_must(map == MAP_FAILED, "mmap");
	bench_must(madvise(map, bytes, MADV_POPULATE_WRITE), "madvise");
	start = bench_now();
	for (uint64_t at = 0; at < bytes; at += step)
		bench_must(fallocate(fd,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     (off_t)at, (off_t)step),
			   "fallocate");
	end = bench_now();
	munmap(map, bytes);
	close(fd);
	return (double)(end - start) / 1e6;
}

static uint64_t fill(const struct bench_pages *set, const struct home *home,
		     uint64_t bytes)
{
	uint64_t number = 0;

	while (number % 1024 || used(home) < bytes) {
		struct tmem_oid oid = oid_of(number);
		uint8_t *page = bench_page(set, number % set->count);

		bench_number(page, number);
		bench_must(tmem_put(home->pool, &oid, number % 256, page),
			   "a put");
		number++;
	}
	bench_must(tmem_store_settle(home->store), "tmem_store_settle");
	return number;
}

static void read_some(const struct home *home, uint64_t pages)
{
	uint8_t page[TMEM_PAGE_SIZE];

	for (uint64_t n = 0; n < pages; n++) {
		struct tmem_oid oid = oid_of(n);

		if (n * 2654435761u >> 7 & (READ_PARTS - 1))
			tmem_get(home->pool, &oid, n % 256, page);
	}
}

static void reclaim(const struct bench_pages *set, uint64_t bytes,
		    const char *name, enum tmem_codec codec, bool read,
		    json_t *report)
{
	struct home home =
		open_home((STORE_PARTS + 1) * bytes + 32 * MIB, codec);
	uint64_t before, start, released, pages;
	double ms, kernel;

	pages = fill(set, &home, STORE_PARTS * bytes + 8 * MIB);
	if (read)
		read_some(&home, pages);
	before = bench_file_bytes(home.arena);
	start = bench_now();
	bench_must(tmem_store_reclaim(home.store, bytes, &released),
		   "tmem_store_reclaim");
	ms = (double)(bench_now() - start) / 1e6;
	kernel = (double)(before - bench_file_bytes(home.arena));
	bench_set(report, ms, "reclaim/%s/ms", name);
	bench_set(report, ms * 1024 * (double)MIB / (double)bytes,
		  "reclaim/%s/ms_a_gib", name);
	bench_set(report, (double)released, "reclaim/%s/released", name);
	bench_set(report, kernel, "reclaim/%s/kernel", name);
	printf("%-18s %9.0f %9.1f %9.1f\n", name, ms,
	       (double)released / (double)MIB, kernel / (double)MIB);
	fflush(stdout);
	close_home(&home);
}

void bench_reclaim(const struct bench_pages *set, unsigned mib, json_t *report)
{
	const uint64_t bytes = mib * MIB;
	const struct {
		const char *name;
		double ms;
	} punches[] = {
		{"punch-1m", punch_ms(bytes, PUNCH_MOST)},
		{"punch-slabs", punch_ms(bytes, SLAB)},
		{"punch-pages", punch_ms(bytes, TMEM_PAGE_SIZE)},
	};
	struct bench_pages copy = bench_pages_copy(set);

	printf("\n%-18s %9s %9s %9s\n", "reclaim, MiB", "ms", "released",
	       "kernel");
	for (size_t i = 0; i < sizeof(punches) / sizeof(punches[0]); i++) {
		bench_set(report, punches[i].ms, "reclaim/%s/ms",
			  punches[i].name);
		printf("%-18s %9.0f\n", punches[i].name, punches[i].ms);
	}
	reclaim(&copy, bytes, "lz4", TMEM_CODEC_LZ4, false, report);
	reclaim(&copy, bytes, "lz4-half-read", TMEM_CODEC_LZ4, true, report);
	reclaim(&copy, bytes, "raw", TMEM_CODEC_RAW, false, report);
	bench_pages_free(&copy);
}

/* Peak --------------------------------------------------------------------- */

struct peak {
	struct home home;
	const struct bench_pages *set;
	int statm;
	uint64_t anonymous; /* before the store was opened */
	_Atomic(uint64_t) budget;
	_Atomic(bool) stop;
	double worst; /* above the budget, in parts of what may be */
	double over;  /* the same in bytes */
	uint64_t samples;
};

struct churner {
	struct peak *it;
	pthread_t thread;
	unsigned number;
};

static uint64_t anonymous(int statm)
{
	unsigned long resident = 0, shared = 0;
	char line[128];
	ssize_t n = pread(statm, line, sizeof(line) - 1, 0);

	bench_must(n <= 0, "reading /proc/self/statm");
	line[n] = '\0';
	bench_must(sscanf(line, "%*u %lu %lu", &resident, &shared) != 2,
		   "understanding /proc/self/statm");
	return (uint64_t)(resident - shared) * TMEM_PAGE_SIZE;
}

static void sample(struct peak *it)
{
	uint64_t before = atomic_load(&it->budget), after;
	double kernel = (double)(bench_file_bytes(it->home.arena) +
				 anonymous(it->statm)) -
			(double)it->anonymous;
	double budget, may, over;

	after = atomic_load(&it->budget);
	budget = (double)(before > after ? before : after);
	may = budget / 50 > 8 * (double)MIB ? budget / 50 : 8 * (double)MIB;
	over = kernel - budget;
	if (it->samples++ == 0 || over / may > it->worst) {
		it->worst = over / may;
		it->over = over;
	}
}

static void *sampler(void *ctx)
{
	const struct timespec pause = {.tv_nsec = SAMPLE_NS};
	struct peak *it = ctx;

	while (!atomic_load(&it->stop)) {
		sample(it);
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
	}
	return NULL;
}

/* Puts, gets and flushes of pages that lie anywhere among the thread's. */
static void *churn(void *ctx)
{
	struct churner *self = ctx;
	struct peak *it = self->it;
	uint64_t x = self->number + 1;
	uint8_t page[TMEM_PAGE_SIZE];

	while (!atomic_load(&it->stop)) {
		uint64_t at, what;
		struct tmem_oid oid;

		x = x * 6364136223846793005u + 1442695040888963407u;
		at = (x >> 33) % CHURN_PAGES +
		     (uint64_t)self->number * CHURN_PAGES;
		what = x >> 29 & 7;
		oid = oid_of(at);
		if (what < 5) {
			memcpy(page, bench_page(it->set, at % it->set->count),
			       sizeof(page));
			bench_number(page, x);
			tmem_put(it->home.pool, &oid, at % 256, page);
		} else if (what < 7) {
			tmem_get(it->home.pool, &oid, at % 256, page);
		} else {
			tmem_flush(it->home.pool, &oid, at % 256);
		}
	}
	return NULL;
}

/* While a budget is being set, the larger of the two holds. */
static void set_budget(struct peak *it, uint64_t budget)
{
	if (budget > atomic_load(&it->budget))
		atomic_store(&it->budget, budget);
	bench_must(tmem_store_set_budget(it->home.store, budget),
		   "tmem_store_set_budget");
	atomic_store(&it->budget, budget);
}

void bench_peak(const struct bench_pages *set, json_t *report)
{
	static const uint64_t budgets[BUDGETS] = {
		BUDGET,	    BUDGET / 2, BUDGET / 4 * 3,
		BUDGET / 8, BUDGET,	BUDGET / 2,
	};
	struct churner churners[CHURNERS];
	struct peak it = {.set = set, .budget = BUDGET};
	pthread_t looks;

	it.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	bench_must(it.statm < 0, "opening /proc/self/statm");
	bench_anonymous_bytes(); /* which gives back what was freed */
	it.anonymous = anonymous(it.statm);
	it.home = open_home(BUDGET, TMEM_CODEC_LZ4);
	bench_must(pthread_create(&looks, NULL, sampler, &it),
		   "pthread_create");
	for (unsigned i = 0; i < CHURNERS; i++) {
		churners[i] = (struct churner){.it = &it, .number = i};
		bench_must(pthread_create(&churners[i].thread, NULL, churn,
					  &churners[i]),
			   "pthread_create");
	}
	while (used(&it.home) < BUDGET / 8 * 7)
		usleep(SETTLE_US);
	for (unsigned i = 0; i < BUDGETS; i++) {
		set_budget(&it, budgets[i]);
		usleep(SETTLE_US);
	}
	atomic_store(&it.stop, true);
	for (unsigned i = 0; i < CHURNERS; i++)
		pthread_join(churners[i].thread, NULL);
	pthread_join(looks, NULL);
	bench_set(report, it.over, "peak/over_budget_bytes");
	bench_set(report, it.worst, "peak/over_allowed");
	bench_set(report, (double)it.samples, "peak/samples");
	printf("\npeak: %+.1f MiB above the budget at most, %.2f of what is allowed, %llu samples\n",
	       it.over / (double)MIB, it.worst, (unsigned long long)it.samples);
	fflush(stdout);
	close_home(&it.home);
	close(it.statm);
}
