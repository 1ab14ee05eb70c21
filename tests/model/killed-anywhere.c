/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * killed-anywhere: what a store's arena would be, had its process died at any
 * instruction of a put, a replacement, a flush, a move, and so on.
 *
 * A child works through a scenario, one instruction at a time under ptrace.
 * Since the arena is shared memory, its bytes between two instructions are just
 * what SIGKILL would leave there. After every STRIDE instructions that changed
 * the arena, the parent opens a copy of it, checks it, and gets every page: it
 * must be the one acknowledged last or the one whose put is under way, and
 * nothing but that. No put of the scenario is refused, so that a page being
 * replaced is never missing.
 *
 * Compressing takes most of a put's instructions and changes nothing in the
 * arena: only the long variant does it.
 */
#include "model.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include "arena-file.h"
#include "block.h"
#include "pages.h"

#define PAGES 48u
#define SKIP  77

/* What the child tells its parent to do from here on. */
#define SIG_STEP  SIGUSR1
#define SIG_GO_ON SIGUSR2

static const struct tmem_oid oid = {{7, 7, 7}};

struct scenario {
	int fd;
	struct exact_page *page; /* shared with the child */
	const char **step;	 /* what it is doing, for messages */
	struct tmem_store *store;
	struct tmem_client *client;
	struct tmem_pool *pool, *cache;
	bool traced;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "scenario: %s\n", what);
		abort();
	}
}

static void open_store(struct scenario *s, int fd)
{
	struct tmem_store_config config;
	struct tmem_client_config client = {.name = "guest"};
	struct tmem_pool_config pool = {
		.name = "swap",
		.flags = TMEM_POOL_PERSISTENT,
		.codec = test_is_full() ? TMEM_CODEC_LZ4 : TMEM_CODEC_RAW,
		.dedup = TMEM_DEDUP_ON};

	tmem_store_config_init(&config);
	config.nursery = 0;
	config.threads = 0;
	config.budget = TMEM_BUDGET_MIN;
	config.capacity = 8 << 20;
	config.arena_fd = fd;
	config.hash_bits = 4; /* chains of different contents */
	expect(tmem_store_open(&config, &s->store) == 0, "open");
	expect(tmem_client_new_local(s->store, &client, &s->client) == 0,
	       "client");
	expect(tmem_pool_new(s->client, &pool, &s->pool) == 0, "pool");
	pool.name = "cache";
	pool.flags = 0;
	expect(tmem_pool_new(s->client, &pool, &s->cache) == 0, "pool");
}

static void close_store(struct scenario *s)
{
	tmem_pool_free(s->pool);
	tmem_pool_free(s->cache);
	tmem_client_free(s->client);
	tmem_store_close(s->store);
}

/* Make a page, unobserved: that takes many instructions that do not touch the
 * arena. */
static void make(struct scenario *s, uint8_t *bytes, uint64_t seed)
{
	if (s->traced)
		raise(SIG_GO_ON);
	test_page(bytes, seed);
	if (s->traced)
		raise(SIG_STEP);
}

static void put(struct scenario *s, uint32_t n, uint64_t seed)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	make(s, bytes, seed);
	exact_put_starts(&s->page[n], seed);
	expect(tmem_put(s->pool, &oid, n, bytes) == TMEM_OK, "put refused");
	s->page[n].seed = seed;
	s->page[n].intent = EXACT_NO_INTENT;
}

static void flushing(struct scenario *s, uint32_t first, uint32_t count,
		     bool starts)
{
	for (uint32_t n = first; n < first + count; n++) {
		if (starts) {
			exact_flush_starts(&s->page[n]);
		} else {
			s->page[n].seed = 0;
			s->page[n].intent = EXACT_NO_INTENT;
		}
	}
}

static void put_run(struct scenario *s, uint32_t first, uint32_t count,
		    uint64_t seed)
{
	uint8_t bytes[PAGES * TMEM_PAGE_SIZE];

	for (uint32_t i = 0; i < count; i++) {
		make(s, bytes + i * TMEM_PAGE_SIZE, seed + i);
		exact_put_starts(&s->page[first + i], seed + i);
	}
	expect(tmem_put_run(s->pool, &oid, first, count, bytes, NULL) ==
		       (int)count,
	       "run refused");
	for (uint32_t i = 0; i < count; i++) {
		s->page[first + i].seed = seed + i;
		s->page[first + i].intent = EXACT_NO_INTENT;
	}
}

static void put_cached(struct scenario *s, uint32_t pages)
{
	uint8_t bytes[TMEM_PAGE_SIZE];

	for (uint32_t n = 0; n < pages; n++) {
		make(s, bytes, n + 1);
		tmem_put(s->cache, &oid, n, bytes);
	}
}

/* Before the child is traced: a store that is nearly full of ephemeral pages,
 * with sparse slabs of persistent ones. */
static void prepare(struct scenario *s)
{
	put_run(s, 0, PAGES, 100);
	for (uint32_t n = 0; n < PAGES; n++) {
		if (n % 3 == 0)
			continue;
		flushing(s, n, 1, true);
		tmem_flush(s->pool, &oid, n);
		flushing(s, n, 1, false);
	}
	put_cached(s, 2000);
}

/* The content of a page. */
static uint32_t content_of(struct scenario *s, uint32_t n)
{
	struct tmem_block b;
	uint32_t leaf;

	tmem_block_init(&b, s->pool, &oid);
	tmem_block_cut(&b, n, 1);
	leaf = tmem_index_find_leaf(&s->store->index, tmem_block_shard(&b),
				    &b.key);
	return tmem_index_leaf(&s->store->index, leaf)->content[b.first];
}

/* Hold a page in another way. Compressing it changes nothing in the arena. */
static void recode(struct scenario *s, uint32_t n)
{
	struct tmem_contents *contents = &s->store->contents;
	uint8_t bytes[TMEM_PAGE_SIZE], out[TMEM_PAGE_SIZE];
	uint32_t id, size;

	raise(SIG_GO_ON);
	id = content_of(s, n);
	tmem_content_pin(contents, id);
	expect(tmem_content_read(contents, id, bytes) == 0, "read");
	size = (uint32_t)tmem_codec_compress_cold(s->store->codecs, bytes, out);
	raise(SIG_STEP);
	if (size && size < tmem_content_load(contents, id).size)
		expect(tmem_content_recode(contents, id, TMEM_CODEC_ZSTD, out,
					   size) == 0,
		       "recode");
	tmem_content_unpin(contents, id);
}

/* Pages that are young, go while they are, and settle in each way there is:
 * sharing a content, compressed, and raw. */
static void be_young(struct scenario *s)
{
	struct tmem_pool_state *pool = ((struct tmem_use *)s->pool)->pool;

	s->store->nursery.limit = 1 << 20;
	for (uint32_t n = 20; n < 26; n++)
		put(s, n, 480 + n);
	pool->codec = TMEM_CODEC_LZ4;
	put(s, 26, 600);
	expect(tmem_nursery_pages(s->store) >= 5, "no young pages");
	put(s, 24, 700);
	flushing(s, 25, 1, true);
	expect(tmem_flush(s->pool, &oid, 25) == TMEM_OK, "flush");
	flushing(s, 25, 1, false);
	*s->step = "settle";
	expect(tmem_store_settle(s->store) == 0, "settle");
	expect(!tmem_nursery_pages(s->store), "young pages");
	pool->codec = TMEM_CODEC_RAW;
	s->store->nursery.limit = 0;
}

static void perform(struct scenario *s)
{
	*s->step = "put new pages";
	for (uint32_t n = 0; n < 8; n++)
		if (!s->page[n].seed)
			put(s, n, 200 + n);
	*s->step = "put equal pages";
	put(s, 10, 200 + 1);
	put(s, 11, 200 + 1);
	*s->step = "replace";
	for (uint32_t n = 0; n < 8; n++)
		put(s, n, 300 + n);
	put(s, 10, 300 + 1);
	put(s, 3, 300 + 3);
	*s->step = "put a run";
	put_run(s, 4, 6, 400);
	*s->step = "flush";
	flushing(s, 5, 1, true);
	expect(tmem_flush(s->pool, &oid, 5) == TMEM_OK, "flush");
	flushing(s, 5, 1, false);
	*s->step = "flush a run";
	flushing(s, 6, 6, true);
	expect(tmem_flush_run(s->pool, &oid, 6, 6) >= 4, "flush_run");
	flushing(s, 6, 6, false);
	*s->step = "compact";
	tmem_store_compact(s->store);
	*s->step = "recode";
	for (uint32_t n = 0; n < 5; n++)
		recode(s, n);
	*s->step = "shrink the budget";
	put_cached(s, 8);
	tmem_store_reclaim(s->store, 256 << 10, &(uint64_t){0});
	*s->step = "flush the object";
	flushing(s, 0, PAGES, true);
	expect(tmem_flush_object(s->pool, &oid) == TMEM_OK, "flush_object");
	flushing(s, 0, PAGES, false);
	put_run(s, 0, 12, 500);
	*s->step = "put young pages";
	be_young(s);
	*s->step = "destroy the pool";
	flushing(s, 0, PAGES, true);
	expect(tmem_pool_destroy(s->pool) == 0, "pool_destroy");
	flushing(s, 0, PAGES, false);
}

_Noreturn static void child(struct scenario *s)
{
	open_store(s, test_arena_again(s->fd));
	prepare(s);
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(SKIP);
	s->traced = true;
	raise(SIGSTOP);
	perform(s);
	_exit(0);
}

static void verify(const struct scenario *s, uint64_t instruction)
{
	struct scenario copy = {0};
	uint8_t bytes[TMEM_PAGE_SIZE];

	open_store(&copy, test_arena_copy(s->fd));
	expect(tmem_store_check(copy.store, stderr) == 0, "check");
	for (uint32_t n = 0; n < PAGES; n++) {
		uint64_t seed = s->page[n].seed;
		uint64_t intent = s->page[n].intent;
		int r = tmem_get(copy.pool, &oid, n, bytes);
		bool good;

		if (r == TMEM_OK)
			good = (seed && test_page_is(bytes, seed)) ||
			       (intent >= EXACT_SEED_MIN &&
				test_page_is(bytes, intent));
		else
			good = r == TMEM_MISS &&
			       (!seed || intent == EXACT_GONE);
		if (good)
			continue;
		fprintf(stderr,
			"killed at instruction %" PRIu64
			" (%s): page %u: get returned %d, seed %" PRIu64
			", under way %" PRIu64 "\n",
			instruction, *s->step, n, r, seed, intent);
		abort();
	}
	close_store(&copy);
}

/* Whether the arena changed since the last call. What is compared is all
 * that is not a hole. */
static bool changed(int fd, const uint8_t *live, uint8_t *last, size_t size)
{
	bool differs = false;
	off_t at = 0;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && (size_t)at < size) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		if (memcmp(live + at, last + at, (size_t)(end - at)) != 0) {
			differs = true;
			memcpy(last + at, live + at, (size_t)(end - at));
		}
		at = end;
	}
	return differs;
}

static int step_through(const struct scenario *s, pid_t pid, unsigned stride)
{
	uint64_t instructions = 0, deaths = 0;
	uint8_t *live, *last;
	size_t size;
	int status;

	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	size = (size_t)lseek(s->fd, 0, SEEK_END);
	live = mmap(NULL, size, PROT_READ, MAP_SHARED, s->fd, 0);
	last = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (live == MAP_FAILED || last == MAP_FAILED)
		die("mmap");
	while (WIFSTOPPED(status)) {
		int request = WSTOPSIG(status) == SIG_GO_ON ? PTRACE_CONT
							    : PTRACE_SINGLESTEP;

		if (instructions++ % stride == 0 &&
		    changed(s->fd, live, last, size)) {
			verify(s, instructions);
			deaths++;
		}
		if (ptrace(request, pid, NULL, NULL) ||
		    waitpid(pid, &status, 0) != pid)
			die("ptrace");
		if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP &&
		    WSTOPSIG(status) != SIG_STEP &&
		    WSTOPSIG(status) != SIG_GO_ON) {
			fprintf(stderr, "the child got signal %d\n",
				WSTOPSIG(status));
			return 1;
		}
	}
	printf("instructions %" PRIu64 ", arenas verified %" PRIu64 "\n",
	       instructions, deaths);
	munmap(live, size);
	munmap(last, size);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	unsigned stride = argc > 1	   ? strtoul(argv[1], NULL, 0)
			  : test_is_full() ? 3
					   : 50;
	struct scenario s = {.fd = test_arena_memfd()};
	size_t size = PAGES * sizeof(*s.page) + sizeof(*s.step);
	void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int status;

	if (!stride || argc > 2) {
		fprintf(stderr, "usage: %s [STRIDE]\n", argv[0]);
		return 2;
	}
	if (shared == MAP_FAILED)
		die("mmap");
	s.page = shared;
	s.step = (const char **)(s.page + PAGES);
	*s.step = "start";
	test_pages_init();
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		child(&s);
	status = step_through(&s, pid, stride);
	munmap(shared, size);
	close(s.fd);
	return status;
}
