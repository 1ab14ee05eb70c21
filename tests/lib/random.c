/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random numbers for tests; see random.h. */
#include "random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* The finalizer of splitmix64 (Steele, Lea, Flood). */
uint64_t test_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

void test_random_init(struct test_random *random, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		random->state[i] = test_mix(seed + (uint64_t)i * 0x9e3779b9);
}

static uint64_t rotl(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t test_random_next(struct test_random *random)
{
	uint64_t *s = random->state;
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

uint64_t test_random_below(struct test_random *random, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)test_random_next(random) *
			   bound) >>
			  64);
}

void test_random_bytes(struct test_random *random, void *out, size_t size)
{
	uint8_t *p = out;

	while (size) {
		uint64_t word = test_random_next(random);
		size_t n = size < sizeof(word) ? size : sizeof(word);

		memcpy(p, &word, n);
		p += n;
		size -= n;
	}
}

uint64_t test_seed(void)
{
	const char *text = getenv("TMEM_TEST_SEED");
	uint64_t seed = 0;

	if (text)
		seed = strtoull(text, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		abort();
	fprintf(stderr, "seed %" PRIu64 "\n", seed);
	return seed;
}

bool test_is_full(void)
{
	return getenv("TMEM_TEST_FULL") != NULL;
}
