/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that needs more memory than it is allowed: it fills memory with
 * data that can be told from any other, page by page, and reads all of it back
 * in an order that suits no readahead. In a memory cgroup smaller than that
 * memory every page has been through swap; one wrong byte is found and named.
 *
 * Its pages are made up, or those of a file.
 *
 * One thread. Exit status 0: all pages were right; 1: one was not, or the
 * options were wrong. Standard output has a line for each step:
 *
 *	fill SECONDS
 *	check SECONDS
 *	done PAGES
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))

/* A step of this prime visits every page of any smaller count once, far from
 * the page before. */
#define STRIDE 1000003u

static const char usage[] =
	"usage: swapper [--mib N] [--passes N] [--pages FILE] [--hold]\n"
	"Fill N MiB (256), then read and check them, N times (1).\n"
	"With --pages, with the pages of FILE, each with a number of its own.\n"
	"With --hold, wait for a line on standard input before checking.\n";

/* A strong mix of a 64-bit number (splitmix64's finaliser). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Pages of a file to fill memory with, or none. */
static const char *given;
static uint64_t given_count;

/*
 * What a page holds, by its number and how often it was written. Like a
 * program's memory: one page in 16 is one repeated word, the others repeat
 * themselves for about two thirds.
 */
static void make_page(uint64_t number, uint64_t round, uint64_t *words)
{
	uint64_t seed = mix(number ^ mix(round));

	if (given) {
		memcpy(words, given + number % given_count * PAGE_BYTES,
		       PAGE_BYTES);
		words[PAGE_WORDS - 1] = seed;
		return;
	}
	if (number % 16 == 0) {
		for (size_t i = 0; i < PAGE_WORDS; i++)
			words[i] = seed;
		return;
	}
	for (size_t i = 0; i < PAGE_WORDS; i++)
		words[i] = i % 3 == 0 ? mix(seed + i) : seed + i % 24;
}

static bool map_pages(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	void *bytes = MAP_FAILED;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= PAGE_BYTES)
		bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED,
			     fd, 0);
	if (fd >= 0)
		close(fd);
	if (bytes == MAP_FAILED) {
		fprintf(stderr, "swapper: --pages %s: no file of pages\n",
			path);
		return false;
	}
	given = bytes;
	given_count = (uint64_t)st.st_size / PAGE_BYTES;
	return true;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void fill(char *memory, uint64_t pages, uint64_t round)
{
	uint64_t words[PAGE_WORDS];

	for (uint64_t i = 0; i < pages; i++) {
		make_page(i, round, words);
		memcpy(memory + i * PAGE_BYTES, words, PAGE_BYTES);
	}
}

static bool check(const char *memory, uint64_t pages, uint64_t round)
{
	uint64_t words[PAGE_WORDS];

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t number = (i * STRIDE) % pages;
		const char *page = memory + number * PAGE_BYTES;

		make_page(number, round, words);
		if (memcmp(page, words, PAGE_BYTES) == 0)
			continue;
		fprintf(stderr,
			"swapper: page %" PRIu64 " is wrong in pass %" PRIu64
			"\n",
			number, round);
		return false;
	}
	return true;
}

static uint64_t parse(const char *option, const char *text, uint64_t most)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || value == 0 || value > most) {
		fprintf(stderr,
			"swapper: --%s %s: give a number from 1 to %llu\n",
			option, text, (unsigned long long)most);
		exit(EXIT_FAILURE);
	}
	return value;
}

static int run(uint64_t pages, uint64_t passes, bool hold)
{
	char *memory = mmap(NULL, pages * PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED) {
		perror("swapper: mmap");
		return EXIT_FAILURE;
	}
	/* Huge pages would be split on their way to swap, in the kernel's own
	 * time: small ones from the start make runs comparable. */
	madvise(memory, pages * PAGE_BYTES, MADV_NOHUGEPAGE);
	for (uint64_t round = 0; round < passes; round++) {
		double start = now();

		fill(memory, pages, round);
		printf("fill %.3f\n", now() - start);
		if (hold && getchar() == EOF)
			return EXIT_FAILURE;
		start = now();
		if (!check(memory, pages, round))
			return EXIT_FAILURE;
		printf("check %.3f\n", now() - start);
	}
	printf("done %" PRIu64 "\n", pages * passes);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"mib", required_argument, NULL, 'm'},
		{"passes", required_argument, NULL, 'p'},
		{"pages", required_argument, NULL, 'f'},
		{"hold", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	uint64_t mib = 256, passes = 1;
	bool hold = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			mib = parse("mib", optarg, 1 << 20);
			break;
		case 'p':
			passes = parse("passes", optarg, 1000);
			break;
		case 'f':
			if (!map_pages(optarg))
				return EXIT_FAILURE;
			break;
		case 'h':
			hold = true;
			break;
		default:
			fputs(usage, stderr);
			return EXIT_FAILURE;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	return run(mib * (1 << 20) / PAGE_BYTES, passes, hold);
}
