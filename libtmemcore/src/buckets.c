/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hash tables that grow by one bucket at a time (buckets.h). A table of size
 * buckets, 2^k < size <= 2^(k+1), looks at k + 1 bits of a hash, and at k where
 * these name a bucket that is not there yet:
 *
 *   0 ........ 2^k ........ size ........ 2^(k+1)
 *   |-- split --|-- new --|
 *
 * Growing adds bucket size, whose records were in bucket size - 2^k; shrinking
 * joins these again. Heads lie in segments, of which the first grows by
 * doubling until it is whole, and shrinks by halving: a small store's tables
 * never get beyond it.
 */
#include "buckets.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define SEGMENT	    TMEM_BUCKETS_SEGMENT
#define BUCKETS_MIN 16u

/* Records a bucket before a table grows: a longer walk costs little beside what
 * follows it, buckets cost every page. It shrinks at a quarter of that. */
#define LOAD_MOST 2u

static size_t head_bytes(uint32_t heads)
{
	return heads * sizeof(uint32_t);
}

static size_t directory_bytes(uint32_t segments)
{
	return segments * sizeof(uint32_t *);
}

/* Heads that segment s has room for. */
static uint32_t heads_of(const struct tmem_buckets *b, uint32_t s)
{
	return s ? SEGMENT : b->first;
}

int tmem_buckets_init(struct tmem_buckets *b, struct tmem_budget *budget)
{
	b->segment = tmem_budget_alloc(budget, directory_bytes(1));
	if (!b->segment)
		return -ENOMEM;
	b->segments = 1;
	b->segment[0] = tmem_budget_alloc(budget, head_bytes(BUCKETS_MIN));
	if (!b->segment[0]) {
		tmem_buckets_deinit(b, budget);
		return -ENOMEM;
	}
	b->first = b->size = BUCKETS_MIN;
	b->mask = b->size - 1;
	b->count = 0;
	return 0;
}

void tmem_buckets_deinit(struct tmem_buckets *b, struct tmem_budget *budget)
{
	for (uint32_t s = 0; s < b->segments; s++)
		tmem_budget_free(budget, b->segment[s],
				 head_bytes(heads_of(b, s)));
	tmem_budget_free(budget, b->segment, directory_bytes(b->segments));
	memset(b, 0, sizeof(*b));
}

/* Room for so many heads in segment 0. */
static bool resize_first(struct tmem_buckets *b, struct tmem_budget *budget,
			 uint32_t room)
{
	uint32_t *heads = tmem_budget_alloc(budget, head_bytes(room));

	if (!heads)
		return false;
	memcpy(heads, b->segment[0],
	       head_bytes(room < b->first ? room : b->first));
	tmem_budget_free(budget, b->segment[0], head_bytes(b->first));
	b->segment[0] = heads;
	b->first = room;
	return true;
}

/* Room for twice as many segments: eight bytes for 2,048 records. */
static bool double_directory(struct tmem_buckets *b, struct tmem_budget *budget)
{
	uint32_t **segment =
		tmem_budget_alloc(budget, directory_bytes(2 * b->segments));

	if (!segment)
		return false;
	memcpy(segment, b->segment, directory_bytes(b->segments));
	tmem_budget_free(budget, b->segment, directory_bytes(b->segments));
	b->segment = segment;
	b->segments *= 2;
	return true;
}

/* Make sure that there is room for the head of bucket size. */
static bool make_head(struct tmem_buckets *b, struct tmem_budget *budget)
{
	uint32_t s = b->size / SEGMENT;

	if (s == 0)
		return b->size < b->first ||
		       resize_first(b, budget, 2 * b->first);
	if (b->size % SEGMENT)
		return true;
	if (s == b->segments && !double_directory(b, budget))
		return false;
	b->segment[s] = tmem_budget_alloc(budget, head_bytes(SEGMENT));
	return b->segment[s] != NULL;
}

static void grow(struct tmem_buckets *b, struct tmem_budget *budget,
		 tmem_rehash_fn *rehash, void *ctx)
{
	uint32_t new = b->size, *from, *to;

	if (new == UINT32_MAX / 2 + 1 || !make_head(b, budget))
		return;
	if (new > b->mask)
		b->mask = 2 * b->mask + 1;
	b->size++;
	from = tmem_buckets_at(b, new & b->mask >> 1);
	to = tmem_buckets_at(b, new);
	while (*from) {
		uint32_t id = *from, *chain;

		if ((rehash(ctx, id, &chain) & b->mask) == new) {
			*from = *chain;
			*to = id;
			to = chain;
		} else {
			from = chain;
		}
	}
	*to = 0;
}

static void shrink(struct tmem_buckets *b, struct tmem_budget *budget,
		   tmem_rehash_fn *rehash, void *ctx)
{
	uint32_t last = b->size - 1, s = last / SEGMENT;
	uint32_t *to = tmem_buckets_at(b, last & b->mask >> 1);
	uint32_t *from = tmem_buckets_at(b, last), rest = *to;

	*to = *from;
	*from = 0;
	while (*to)
		rehash(ctx, *to, &to);
	*to = rest;
	b->size = last;
	if (last == b->mask / 2 + 1)
		b->mask /= 2;
	if (s && last % SEGMENT == 0) {
		tmem_budget_free(budget, b->segment[s], head_bytes(SEGMENT));
		b->segment[s] = NULL;
	}
	if (last == b->first / 4)
		resize_first(b, budget, b->first / 2);
}

void tmem_buckets_enter(struct tmem_buckets *b, struct tmem_budget *budget,
			tmem_rehash_fn *rehash, void *ctx, uint32_t id)
{
	uint32_t *chain, *head;

	if (b->count / LOAD_MOST >= b->size)
		grow(b, budget, rehash, ctx);
	head = tmem_buckets_head(b, rehash(ctx, id, &chain));
	*chain = *head;
	*head = id;
	b->count++;
}

void tmem_buckets_leave(struct tmem_buckets *b, struct tmem_budget *budget,
			tmem_rehash_fn *rehash, void *ctx, uint32_t id)
{
	uint32_t *chain, *at = tmem_buckets_head(b, rehash(ctx, id, &chain));

	while (*at != id) {
		assert(*at && "record missing from its hash table");
		rehash(ctx, *at, &at);
	}
	*at = *chain;
	b->count--;
	/* Two, or the table would not get as small as its records are few. */
	for (int i = 0; i < 2 && !b->keeps_size; i++)
		if (b->size > BUCKETS_MIN && b->count < b->size / LOAD_MOST)
			shrink(b, budget, rehash, ctx);
}
