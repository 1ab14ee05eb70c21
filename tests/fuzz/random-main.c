/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * In libFuzzer's place, for any compiler: every seed of a folder, then random
 * changes of random seeds (or nothing but random bytes where there are none).
 *
 * usage: random_NAME FOLDER [INPUTS]
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fuzz.h"
#include "random.h"

#define SIZE_MOST  4096u
#define SEEDS_MOST 256u

static struct seed {
	uint8_t bytes[SIZE_MOST];
	size_t size;
} seeds[SEEDS_MOST];
static size_t seeds_count;

static void load(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) && seeds_count < SEEDS_MOST) {
		struct seed *seed = &seeds[seeds_count];
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] == '.' || !(file = fopen(path, "r")))
			continue;
		seed->size = fread(seed->bytes, 1, SIZE_MOST, file);
		seeds_count++;
		fclose(file);
	}
	if (dir)
		closedir(dir);
}

/* Overwrite, insert, cut, or join with another seed. */
static void change(struct test_random *random, struct seed *input)
{
	size_t at = test_random_below(random, input->size + 1);
	const struct seed *other;
	size_t n;

	switch (test_random_below(random, 4)) {
	case 0:
		if (at < input->size)
			input->bytes[at] ^= 1u << test_random_below(random, 8);
		break;
	case 1:
		n = test_random_below(random, 16);
		if (n > SIZE_MOST - at)
			n = SIZE_MOST - at;
		test_random_bytes(random, input->bytes + at, n);
		if (at + n > input->size)
			input->size = at + n;
		break;
	case 2:
		input->size = at;
		break;
	default:
		if (!seeds_count)
			break;
		other = &seeds[test_random_below(random, seeds_count)];
		n = SIZE_MOST - at < other->size ? SIZE_MOST - at : other->size;
		memcpy(input->bytes + at, other->bytes, n);
		if (at + n > input->size)
			input->size = at + n;
	}
}

int main(int argc, char **argv)
{
	unsigned long inputs = argc > 2		? strtoul(argv[2], NULL, 0)
			       : test_is_full() ? 20000
						: 500;
	static struct seed input;
	struct test_random random;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FOLDER [INPUTS]\n", argv[0]);
		return 2;
	}
	load(argv[1]);
	test_random_init(&random, test_seed());
	LLVMFuzzerInitialize(&argc, &argv);
	for (size_t i = 0; i < seeds_count; i++)
		LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].size);
	for (unsigned long i = 0; i < inputs; i++) {
		unsigned changes = 1 + test_random_below(&random, 12);

		input.size = 0;
		if (seeds_count)
			input = seeds[test_random_below(&random, seeds_count)];
		while (changes--)
			change(&random, &input);
		LLVMFuzzerTestOneInput(input.bytes, input.size);
	}
	printf("seeds %zu, random inputs %lu\n", seeds_count, inputs);
	return 0;
}
