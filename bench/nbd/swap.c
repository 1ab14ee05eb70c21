/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Swap; see swap.h. What it does to the host, swap.sh does and undoes. */
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <tmem/types.h>
#include <unistd.h>
#include "../child.h"
#include "../clock.h"
#include "server.h"

#define ROUNDS_MOST 3u
#define LANES	    3u

/* What a round of a server has shown. */
struct swapped {
	double fill, check; /* s */
	double memory;	    /* bytes */
	double bytes;	    /* of the program, in swap */
};

struct lane {
	const char *name;
	bool zram;
	enum bench_server_kind kind;
	double seconds[ROUNDS_MOST], fill[ROUNDS_MOST], check[ROUNDS_MOST],
		memory[ROUNDS_MOST];
};

/* The set as a file in memory. */
static int file_of(const struct bench_pages *set)
{
	int fd = memfd_create("pages", MFD_CLOEXEC);
	size_t size = set->count * TMEM_PAGE_SIZE, at = 0;

	bench_must(fd < 0, "memfd_create");
	while (at < size) {
		ssize_t n = write(fd, set->bytes + at, size - at);

		bench_must(n <= 0, "writing a file in memory");
		at += (size_t)n;
	}
	return fd;
}

/* Take a line of the script's; it waits for one where memory is to be looked
 * at. */
static void take(const char *line, int answer_fd, struct swapped *swapped)
{
	int pid;
	bool waits = true;

	if (sscanf(line, "serving %d", &pid) == 1)
		swapped->memory = (double)bench_process_memory(pid);
	else
		waits = sscanf(line, "memory %lf", &swapped->memory) == 1;
	if (waits)
		bench_must(write(answer_fd, "\n", 1) != 1,
			   "answering the script");
	else if (sscanf(line, "swapped %lf", &swapped->bytes) != 1 &&
		 sscanf(line, "fill %lf", &swapped->fill) != 1)
		sscanf(line, "check %lf", &swapped->check);
}

/* Returns false where the host cannot. */
static bool run(char *const argv[], struct swapped *swapped)
{
	int in[2], out[2], status;
	char line[256];
	FILE *lines;
	pid_t pid;

	bench_must(pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC), "pipe2");
	pid = bench_child_start(argv, in[0], out[1], SIGTERM);
	close(in[0]);
	close(out[1]);
	lines = fdopen(out[0], "r");
	bench_must(!lines, "fdopen");
	*swapped = (struct swapped){0};
	while (fgets(line, sizeof(line), lines))
		take(line, in[1], swapped);
	fclose(lines);
	close(in[1]);
	status = bench_child_wait(pid);
	if (status == BENCH_EXIT_LEFT_OUT)
		return false;
	if (status || swapped->check <= 0) {
		fprintf(stderr, "%s: swapping failed\n",
			program_invocation_short_name);
		exit(1);
	}
	return true;
}

static bool swap(const struct lane *lane, const struct bench_options *options,
		 const char *folder, int pages_fd, struct swapped *swapped)
{
	struct bench_server_config config = {
		.folder = folder,
		.size = (uint64_t)options->swap << 21,
	};
	struct bench_command command = {.argv = {NULL}};
	char mib[16], swapper[512], pages[64], socket[96];
	char *argv[6 + sizeof(command.argv) / sizeof(command.argv[0]) + 1] = {
		(char *)BENCH_SWAP_SCRIPT,
		(char *)folder,
		mib,
		swapper,
		pages,
		lane->zram ? "zram" : socket};

	snprintf(mib, sizeof(mib), "%lu", options->swap);
	bench_build_path("tests/e2e/swapper", swapper, sizeof(swapper));
	snprintf(pages, sizeof(pages), "/proc/%d/fd/%d", (int)getpid(),
		 pages_fd);
	snprintf(socket, sizeof(socket), "%s/swap", folder);
	if (!lane->zram)
		bench_server_command(&command, lane->kind, &config, socket);
	for (size_t i = 0; command.argv[i]; i++)
		argv[6 + i] = command.argv[i];
	return run(argv, swapped);
}

static void note(struct lane *lane, size_t rounds, json_t *report)
{
	const struct {
		const char *name;
		double *numbers;
	} results[] = {
		{"fill_seconds", lane->fill},
		{"check_seconds", lane->check},
		{"seconds", lane->seconds},
		{"memory", lane->memory},
	};

	printf("%-14s", lane->name);
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		double median = bench_median(results[i].numbers, rounds);

		bench_set(report, median, "swap/%s/%s", lane->name,
			  results[i].name);
		printf(" %8.2f", median);
	}
	printf("\n");
}

void bench_swap(const struct bench_options *options,
		const struct bench_pages *set, const char *folder,
		json_t *report)
{
	struct lane lanes[LANES] = {
		{.name = "tmem", .kind = BENCH_TMEM},
		{.name = "nbdkit", .kind = BENCH_NBDKIT},
		{.name = "zram", .zram = true},
	};
	size_t rounds =
		options->rounds < ROUNDS_MOST ? options->rounds : ROUNDS_MOST;
	bool left_out[LANES] = {false};
	int pages_fd = file_of(set);

	for (size_t round = 0; round < rounds; round++)
		for (size_t i = 0; i < LANES; i++) {
			struct swapped swapped;

			if (left_out[i])
				continue;
			if (!swap(&lanes[i], options, folder, pages_fd,
				  &swapped)) {
				left_out[i] = true;
				continue;
			}
			lanes[i].fill[round] = swapped.fill;
			lanes[i].check[round] = swapped.check;
			lanes[i].seconds[round] = swapped.fill + swapped.check;
			lanes[i].memory[round] = swapped.memory / swapped.bytes;
		}
	printf("\n%-14s %8s %8s %8s %8s\n", "swap", "fill, s", "check", "both",
	       "memory");
	for (size_t i = 0; i < LANES; i++)
		if (!left_out[i])
			note(&lanes[i], rounds, report);
	fflush(stdout);
	close(pages_fd);
}
