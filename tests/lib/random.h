/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random numbers for tests: xoshiro256** (Blackman and Vigna), seeded once and
 * the seed printed, so that a failed run can be repeated.
 *
 * Threading: one generator a thread. Lifetime: plain data.
 */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test_random {
	uint64_t state[4];
};

/** Seed a generator; equal seeds give equal numbers on every machine. */
void test_random_init(struct test_random *random, uint64_t seed);

/** 64 random bits. */
uint64_t test_random_next(struct test_random *random);

/** A number below bound (at least 1). */
uint64_t test_random_below(struct test_random *random, uint64_t bound);

/** Fill size bytes. */
void test_random_bytes(struct test_random *random, void *out, size_t size);

/** A good 64-bit mix of x: equal x, equal result. */
uint64_t test_mix(uint64_t x);

/**
 * The run's seed: $TMEM_TEST_SEED (decimal or 0x) or a random one. Prints it
 * to stderr as "seed N", so that TMEM_TEST_SEED=N repeats the run.
 */
uint64_t test_seed(void);

/** Whether the long variants were asked for: $TMEM_TEST_FULL is set. */
bool test_is_full(void);

#endif
