/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages made from seeds; see pages.h. */
#include "pages.h"

#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "random.h"

/* Executable bytes to cut binary pages from: this program and the libraries
 * it is linked with, up to 1 MiB each, 4 MiB in all. */
#define SAMPLE_MAX  (4u << 20)
#define SAMPLE_EACH (1u << 20)
static uint8_t *sample;
static size_t sample_size;

static const char words[][12] = {
	"the ",	   "page ",    "of ",	  "memory ", "and ",	"store ",
	"return ", "if (",     "int ",	  "static ", "struct ", "->next;\n\t",
	"error: ", "= 0;\n",   "kernel ", "size ",   "is ",	"not ",
	"a ",	   "to ",      "in ",	  "while (", "const ",	"0x1f, ",
	"\n",	   "include ", "file ",	  "guest ",  "1024 ",	"pool ",
	"that ",   "which ",
};

static int sample_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
	const char *path =
		info->dlpi_name[0] ? info->dlpi_name : "/proc/self/exe";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t want = SAMPLE_MAX - sample_size;
	ssize_t n;

	(void)size;
	(void)ctx;
	if (fd < 0)
		return 0; /* the vdso has no file */
	if (want > SAMPLE_EACH)
		want = SAMPLE_EACH;
	n = pread(fd, sample + sample_size, want, 0);
	if (n > 0)
		sample_size += (size_t)n;
	close(fd);
	return 0;
}

void test_pages_init(void)
{
	if (sample)
		return;
	sample = malloc(SAMPLE_MAX);
	if (!sample)
		abort();
	dl_iterate_phdr(sample_object, NULL);
	if (sample_size < 2 * TEST_PAGE_SIZE)
		abort();
}

static void make_text(uint8_t *page, struct test_random *random)
{
	size_t at = 0;

	while (at < TEST_PAGE_SIZE) {
		uint64_t bits = test_random_next(random);

		for (int i = 0; i < 12 && at < TEST_PAGE_SIZE;
		     i++, bits >>= 5) {
			const char *word = words[bits & 31];
			size_t n = strlen(word);

			if (n > TEST_PAGE_SIZE - at)
				n = TEST_PAGE_SIZE - at;
			memcpy(page + at, word, n);
			at += n;
		}
	}
}

void test_page_of(void *page, enum test_page_kind kind, uint64_t seed)
{
	struct test_random random;
	uint64_t *word = page;

	test_random_init(&random, seed);
	switch (kind) {
	case TEST_PAGE_ZERO:
		memset(page, 0, TEST_PAGE_SIZE);
		return;
	case TEST_PAGE_FILL:
		for (size_t i = 0; i < TEST_PAGE_SIZE / sizeof(*word); i++)
			word[i] = seed;
		return;
	case TEST_PAGE_SPARSE:
		memset(page, 0, TEST_PAGE_SIZE);
		for (int i = 0; i < 20; i++)
			word[test_random_below(&random, 512)] =
				test_random_next(&random);
		break;
	case TEST_PAGE_TEXT:
		make_text(page, &random);
		break;
	case TEST_PAGE_BINARY:
		memcpy(page,
		       sample + test_random_below(&random,
						  sample_size - TEST_PAGE_SIZE),
		       TEST_PAGE_SIZE);
		break;
	default:
		test_random_bytes(&random, page, TEST_PAGE_SIZE);
	}
	word[0] = seed;
}

static enum test_page_kind kind_of(uint64_t seed)
{
	static const uint8_t below[TEST_PAGE_KINDS] = {3, 8, 20, 55, 90, 100};
	unsigned percent = test_mix(seed) % 100;
	int kind = 0;

	while (percent >= below[kind])
		kind++;
	return kind;
}

void test_page(void *page, uint64_t seed)
{
	test_page_of(page, kind_of(seed), seed);
}

int test_page_is(const void *page, uint64_t seed)
{
	uint64_t expected[TEST_PAGE_SIZE / sizeof(uint64_t)];

	test_page(expected, seed);
	return memcmp(page, expected, TEST_PAGE_SIZE) == 0;
}

uint64_t test_page_seed(const void *page)
{
	uint64_t seed;

	memcpy(&seed, page, sizeof(seed));
	return seed;
}
