/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load of a file; see load.h.
 *
 * Random places are the numbers of all in an order that a bijection makes of
 * their own: none comes twice before each has come once.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tmem/types.h>
#include <unistd.h>
#include "../clock.h"

struct slot {
	struct iocb request;
	uint64_t start;
	uint64_t place; /* in requests from the file's start */
};

struct run {
	const char *path;
	const struct bench_load *load;
	const struct bench_pages *set;
	struct bench_loaded *loaded;
	int fd;
	uint64_t places, next;
	unsigned bits; /* of a place */
	uint64_t salt, random;
	uint64_t from, to, last, counted;
	size_t pages; /* of a request */
	struct bench_pages rooms;
	struct slot slots[BENCH_LOAD_DEPTH_MOST];
};

/* Each step can be undone, so no two numbers become the same. */
static uint64_t shuffled(const struct run *run, uint64_t number)
{
	uint64_t mask = run->places - 1;
	unsigned half = run->bits / 2 + 1;

	for (int i = 0; i < 2; i++) {
		number = (number * 0x9e3779b97f4a7c15u + run->salt) & mask;
		number ^= number >> half;
	}
	return number;
}

static bool goes_on(const struct run *run)
{
	if (run->load->once && run->next == run->places)
		return false;
	return bench_now() < run->to || !run->next;
}

static uint8_t *room_of(struct run *run, const struct slot *slot)
{
	return bench_page(&run->rooms,
			  (size_t)(slot - run->slots) * run->pages);
}

static void prepare(struct run *run, struct slot *slot)
{
	uint64_t number = run->next++ % run->places;
	uint8_t *room = room_of(run, slot);
	bool reads;

	run->random = run->random * 6364136223846793005u + 1442695040888963407u;
	reads = (run->random >> 32) * 100 >> 32 < run->load->read_percent;
	slot->place = run->load->in_order ? number : shuffled(run, number);
	for (size_t i = 0; !reads && i < run->pages; i++) {
		uint64_t page = slot->place * run->pages + i;

		memcpy(room + i * TMEM_PAGE_SIZE,
		       bench_page(run->set, page % run->set->count),
		       TMEM_PAGE_SIZE);
		bench_number(room + i * TMEM_PAGE_SIZE, page);
	}
	slot->request = (struct iocb){
		.aio_data = (uintptr_t)slot,
		.aio_lio_opcode = reads ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)run->fd,
		.aio_buf = (uintptr_t)room,
		.aio_nbytes = run->load->size,
		.aio_offset = (int64_t)(slot->place * run->load->size),
	};
	slot->start = bench_now();
}

/* One page of a request is looked at, another one each time. */
static void verify(struct run *run, const struct slot *slot)
{
	size_t i = (size_t)(run->loaded->requests % run->pages);
	uint64_t page = slot->place * run->pages + i, number;

	memcpy(&number,
	       room_of(run, slot) + (i + 1) * TMEM_PAGE_SIZE - sizeof(number),
	       sizeof(number));
	if (number == page)
		return;
	fprintf(stderr, "%s: page %llu holds page %llu\n",
		program_invocation_short_name, (unsigned long long)page,
		(unsigned long long)number);
	exit(1);
}

static void finish(struct run *run, const struct slot *slot, int64_t result)
{
	uint64_t now = bench_now();

	if (result != (int64_t)run->load->size) {
		fprintf(stderr,
			"%s: a request of %zu bytes at %llu of %s yields %lld\n",
			program_invocation_short_name, run->load->size,
			(unsigned long long)slot->request.aio_offset, run->path,
			(long long)result);
		exit(1);
	}
	if (slot->request.aio_lio_opcode == IOCB_CMD_PREAD)
		verify(run, slot);
	run->loaded->requests++;
	if (now >= run->from && now < run->to) {
		run->counted++;
		run->last = now;
		bench_latency_add(&run->loaded->latency, now - slot->start);
	}
}

static void work_alone(struct run *run)
{
	struct slot *slot = &run->slots[0];

	while (goes_on(run)) {
		off_t at;
		void *room;
		ssize_t n;

		prepare(run, slot);
		at = slot->request.aio_offset;
		room = room_of(run, slot);
		n = slot->request.aio_lio_opcode == IOCB_CMD_PREAD
			    ? pread(run->fd, room, run->load->size, at)
			    : pwrite(run->fd, room, run->load->size, at);
		finish(run, slot, n < 0 ? -errno : n);
	}
}

static void submit(struct run *run, aio_context_t context, struct slot *slot)
{
	struct iocb *request = &slot->request;

	prepare(run, slot);
	bench_must(syscall(SYS_io_submit, context, 1l, &request) != 1,
		   "io_submit");
}

static void work_deep(struct run *run)
{
	struct io_event events[BENCH_LOAD_DEPTH_MOST];
	unsigned under_way = 0;
	aio_context_t context = 0;

	bench_must((int)syscall(SYS_io_setup, run->load->depth, &context),
		   "io_setup");
	for (; under_way < run->load->depth && goes_on(run); under_way++)
		submit(run, context, &run->slots[under_way]);
	while (under_way) {
		long n = syscall(SYS_io_getevents, context, 1l,
				 (long)BENCH_LOAD_DEPTH_MOST, events, NULL);

		bench_must(n < 1, "io_getevents");
		for (long i = 0; i < n; i++) {
			struct slot *slot = (void *)(uintptr_t)events[i].data;

			finish(run, slot, events[i].res);
			if (goes_on(run))
				submit(run, context, slot);
			else
				under_way--;
		}
	}
	bench_must((int)syscall(SYS_io_destroy, context), "io_destroy");
}

int bench_load_run(const char *path, const struct bench_load *load,
		   const struct bench_pages *set, struct bench_loaded *loaded)
{
	struct run *run = calloc(1, sizeof(*run));
	struct stat st;
	int flags = load->read_percent < 100 ? O_RDWR : O_RDONLY, fd;

	bench_must(!run, "calloc");
	fd = open(path, flags | O_CLOEXEC | (load->buffered ? 0 : O_DIRECT));
	bench_must(fd < 0 || fstat(fd, &st), path);
	*loaded = (struct bench_loaded){0};
	run->path = path;
	run->load = load;
	run->set = set;
	run->loaded = loaded;
	run->fd = fd;
	run->places = (uint64_t)st.st_size / load->size;
	bench_must(!run->places || run->places & (run->places - 1),
		   "a file of a power of two of requests");
	run->bits = (unsigned)__builtin_ctzll(run->places);
	run->random = run->salt = bench_now();
	run->pages = load->size / TMEM_PAGE_SIZE;
	run->rooms = bench_pages_new(run->pages * load->depth);
	run->from = bench_now() + (uint64_t)(load->ramp * 1e9);
	run->to = run->from + (uint64_t)(load->seconds * 1e9);
	if (load->depth == 1)
		work_alone(run);
	else
		work_deep(run);
	if (run->counted)
		loaded->iops = (double)run->counted /
			       (double)(run->last - run->from) * 1e9;
	bench_pages_free(&run->rooms);
	free(run);
	return fd;
}
