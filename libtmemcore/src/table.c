/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Growing tables (table.h). What is known of the records lies in private
 * memory, in groups of 64 chunks that are made when first needed and stay:
 *
 *   table->avail    a bit a group:   some chunk of it has a free record
 *   group->avail    a bit a chunk:   it has memory and a free record
 *   chunk->free     a bit a record:  it is free
 *
 * so that the lowest free record is three bit searches away, however large the
 * table. The memory of a chunk comes and goes:
 *
 *   hole --grow--> empty --alloc--> in use --free--> empty --give--> hole
 *
 * A chunk has memory in each of the table's parts. When the kernel refuses to
 * take one back, it stays held (and charged) until the chunk is used again.
 *
 * Measured: 25 to 50 ns for a record, taken or given back.
 */
#include "table.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include "fault.h"
#include "lane.h"

#define GROUP_CHUNKS 64u
#define CHUNK_WORDS  (TMEM_TABLE_CHUNK / 64u)

struct chunk {
	uint64_t free[CHUNK_WORDS];
	uint16_t frees; /* bits set in free */
	uint8_t held;	/* a bit a part: its memory is there */
};

struct tmem_table_group {
	/* A bit a chunk: held in all parts. Written under the table's lock;
	 * the release store follows the memory's arrival. */
	_Atomic(uint64_t) backed;
	uint64_t avail;
	struct chunk chunk[GROUP_CHUNKS];
};

static uint32_t chunk_of(uint32_t id)
{
	return (id - 1) / TMEM_TABLE_CHUNK;
}

static uint32_t record_of(uint32_t id)
{
	return (id - 1) % TMEM_TABLE_CHUNK;
}

static uint64_t chunk_bytes(const struct tmem_table *table, unsigned part)
{
	return (uint64_t)TMEM_TABLE_CHUNK * table->part[part].record;
}

static uint32_t chunks(const struct tmem_table *table)
{
	return table->max / TMEM_TABLE_CHUNK;
}

/* Acquire: pairs with the release in make_group(). */
static struct tmem_table_group *group_at(const struct tmem_table *table,
					 uint32_t c)
{
	return atomic_load_explicit(&table->group[c / GROUP_CHUNKS],
				    memory_order_acquire);
}

static uint64_t backed_bits(const struct tmem_table_group *group)
{
	return atomic_load_explicit(&group->backed, memory_order_acquire);
}

static uint64_t chunk_bit(uint32_t c)
{
	return 1ull << c % GROUP_CHUNKS;
}

static struct tmem_table_group *make_group(struct tmem_table *table, uint32_t c)
{
	struct tmem_table_group *group = group_at(table, c);

	if (group)
		return group;
	group = tmem_budget_alloc(table->arena->budget, sizeof(*group));
	if (!group)
		return NULL;
	atomic_fetch_add_explicit(&table->private, sizeof(*group),
				  memory_order_relaxed);
	atomic_store_explicit(&table->group[c / GROUP_CHUNKS], group,
			      memory_order_release);
	return group;
}

static void set_avail(struct tmem_table *table, struct tmem_table_group *group,
		      uint32_t c)
{
	uint32_t g = c / GROUP_CHUNKS;

	tmem_lock_assert_held(&table->lock);
	group->avail |= chunk_bit(c);
	table->avail[g / 64] |= 1ull << g % 64;
	if (g / 64 < table->avail_from)
		table->avail_from = g / 64;
}

static void clear_avail(struct tmem_table *table,
			struct tmem_table_group *group, uint32_t c)
{
	uint32_t g = c / GROUP_CHUNKS;

	tmem_lock_assert_held(&table->lock);
	group->avail &= ~chunk_bit(c);
	if (group->avail == 0)
		table->avail[g / 64] &= ~(1ull << g % 64);
}

/* All records of chunk c, whose memory is there, become free. */
static void open_chunk(struct tmem_table *table, struct tmem_table_group *group,
		       uint32_t c)
{
	struct chunk *chunk = &group->chunk[c % GROUP_CHUNKS];

	memset(chunk->free, 0xff, sizeof(chunk->free));
	chunk->frees = TMEM_TABLE_CHUNK;
	table->empty++;
	set_avail(table, group, c);
	atomic_fetch_or_explicit(&group->backed, chunk_bit(c),
				 memory_order_release);
}

/* With the table's lock, or the chunk to oneself. */
static void hold(struct tmem_table *table, struct chunk *chunk, unsigned part)
{
	chunk->held |= (uint8_t)(1u << part);
	atomic_fetch_add_explicit(&table->bytes, chunk_bytes(table, part),
				  memory_order_relaxed);
}

/* Give back what chunk c holds, as far as the kernel takes it. Likewise. */
static void let_go(struct tmem_table *table, struct chunk *chunk, uint32_t c)
{
	for (unsigned i = 0; i < table->parts; i++) {
		uint64_t bytes = chunk_bytes(table, i);

		if (!(chunk->held & 1u << i) ||
		    tmem_arena_give(table->arena, table->part[i].part,
				    c * bytes, bytes) < 0)
			continue;
		chunk->held &= (uint8_t) ~(1u << i);
		atomic_fetch_sub_explicit(&table->bytes, bytes,
					  memory_order_relaxed);
	}
}

/* Give back a chunk without used records. */
static void close_chunk(struct tmem_table *table,
			struct tmem_table_group *group, uint32_t c)
{
	struct chunk *chunk = &group->chunk[c % GROUP_CHUNKS];

	atomic_fetch_and_explicit(&group->backed, ~chunk_bit(c),
				  memory_order_relaxed);
	clear_avail(table, group, c);
	table->empty--;
	let_go(table, chunk, c);
	if (c < table->hole)
		table->hole = c;
}

/* Get memory for chunk c in all parts, zeros throughout, or in none. */
static int back_chunk(struct tmem_table *table, struct chunk *chunk, uint32_t c)
{
	for (unsigned i = 0; i < table->parts; i++) {
		uint64_t bytes = chunk_bytes(table, i);
		int r;

		if (chunk->held & 1u << i) {
			memset(table->part[i].base + c * bytes, 0, bytes);
			continue;
		}
		r = tmem_arena_take(table->arena, table->part[i].part,
				    c * bytes, bytes);
		if (r < 0) {
			let_go(table, chunk, c);
			return r;
		}
		hold(table, chunk, i);
	}
	return 0;
}

/* The lowest chunk that has no memory: table->hole. */
static int find_hole(struct tmem_table *table, struct tmem_table_group **out)
{
	uint32_t c = table->hole;
	struct tmem_table_group *group = NULL;

	tmem_lock_assert_held(&table->lock);
	while (c < chunks(table)) {
		uint64_t holes;

		group = make_group(table, c);
		if (!group)
			return -ENOMEM;
		holes = ~backed_bits(group) & ~(chunk_bit(c) - 1);
		if (holes) {
			c = c / GROUP_CHUNKS * GROUP_CHUNKS +
			    (uint32_t)__builtin_ctzll(holes);
			break;
		}
		c = (c / GROUP_CHUNKS + 1) * GROUP_CHUNKS;
	}
	table->hole = c;
	if (c >= chunks(table))
		return -ENOSPC;
	*out = group;
	return 0;
}

/* Open the lowest chunk that has no memory. */
static int grow(struct tmem_table *table)
{
	struct tmem_table_group *group;
	uint32_t c;
	int r;

	/* Somebody is getting its memory: the lock is not held for so long. */
	if (table->growing)
		return -ENOMEM;
	r = find_hole(table, &group);
	if (r < 0)
		return r;
	c = table->hole;
	r = back_chunk(table, &group->chunk[c % GROUP_CHUNKS], c);
	if (r < 0)
		return r;
	open_chunk(table, group, c);
	table->hole = c + 1;
	return 0;
}

void tmem_table_touch(struct tmem_table *table)
{
	for (uint32_t id = 1; (id = tmem_table_next(table, id)) != 0;
	     id += TMEM_TABLE_CHUNK) {
		uint32_t c = chunk_of(id);

		for (unsigned i = 0; i < table->parts; i++)
			tmem_arena_populate(table->arena, table->part[i].part,
					    c * chunk_bytes(table, i),
					    chunk_bytes(table, i));
		if (id > table->max - TMEM_TABLE_CHUNK)
			break;
	}
}

void tmem_table_set_keep(struct tmem_table *table, uint32_t chunks)
{
	tmem_lock_acquire(&table->lock);
	table->keep = chunks;
	tmem_lock_release(&table->lock);
}

bool tmem_table_reserve(struct tmem_table *table)
{
	struct tmem_table_group *group;
	struct chunk *chunk;
	uint64_t bytes = 0;
	uint32_t c;
	int r = -EBUSY;

	/* Else some of its parts would come and go. */
	for (unsigned i = 0; i < table->parts; i++)
		bytes += chunk_bytes(table, i);
	if (!tmem_budget_fits(table->arena->budget, bytes))
		return false;
	tmem_lock_acquire(&table->lock);
	if (!table->growing && table->empty <= table->keep && table->keep)
		r = find_hole(table, &group);
	if (r == 0)
		table->growing = true;
	c = table->hole;
	tmem_lock_release(&table->lock);
	if (r < 0)
		return false;
	/* Nobody else opens a chunk meanwhile, nor closes one that is not
	 * open. */
	chunk = &group->chunk[c % GROUP_CHUNKS];
	r = back_chunk(table, chunk, c);
	tmem_lock_acquire(&table->lock);
	table->growing = false;
	if (r == 0) {
		open_chunk(table, group, c);
		if (table->hole == c)
			table->hole = c + 1;
	}
	tmem_lock_release(&table->lock);
	return r == 0;
}

/* Record r of chunk c, which is free, becomes used. */
static void claim(struct tmem_table *table, struct tmem_table_group *group,
		  uint32_t c, uint32_t r)
{
	struct chunk *chunk = &group->chunk[c % GROUP_CHUNKS];

	tmem_lock_assert_held(&table->lock);
	chunk->free[r / 64] &= ~(1ull << r % 64);
	if (chunk->frees-- == TMEM_TABLE_CHUNK)
		table->empty--;
	if (chunk->frees == 0)
		clear_avail(table, group, c);
	atomic_fetch_add_explicit(&table->used, 1, memory_order_relaxed);
}

/* Lowest chunk with a free record; none: the number of chunks. */
static uint32_t find_avail(struct tmem_table *table)
{
	uint32_t words = (table->groups + 63) / 64;

	tmem_lock_assert_held(&table->lock);
	for (; table->avail_from < words; table->avail_from++) {
		uint64_t bits = table->avail[table->avail_from];
		uint32_t c;

		if (!bits)
			continue;
		c = (table->avail_from * 64 + (uint32_t)__builtin_ctzll(bits)) *
		    GROUP_CHUNKS;
		return c + (uint32_t)__builtin_ctzll(group_at(table, c)->avail);
	}
	return chunks(table);
}

static int alloc_locked(struct tmem_table *table, uint32_t *id)
{
	const uint32_t lane = tmem_lane() * (CHUNK_WORDS / TMEM_LANES);
	uint32_t c, w = lane, r;
	struct tmem_table_group *group;
	struct chunk *chunk;
	int err;

	if (tmem_fault(TMEM_FAULT_TABLE))
		return -ENOMEM;
	c = find_avail(table);
	if (c == chunks(table)) {
		err = grow(table);
		if (err < 0)
			return err;
		c = find_avail(table);
	}
	group = group_at(table, c);
	chunk = &group->chunk[c % GROUP_CHUNKS];
	/* Other lanes' parts of the chunk last. */
	for (uint32_t i = 1; !chunk->free[w]; i++)
		w = i ^ lane;
	r = w * 64 + (uint32_t)__builtin_ctzll(chunk->free[w]);
	claim(table, group, c, r);
	*id = c * TMEM_TABLE_CHUNK + r + 1;
	return 0;
}

int tmem_table_alloc(struct tmem_table *table, uint32_t *id)
{
	int r;

	tmem_lock_acquire(&table->lock);
	r = alloc_locked(table, id);
	tmem_lock_release(&table->lock);
	return r;
}

static void free_locked(struct tmem_table *table, uint32_t id)
{
	uint32_t c = chunk_of(id), r = record_of(id);
	struct tmem_table_group *group = group_at(table, c);
	struct chunk *chunk = &group->chunk[c % GROUP_CHUNKS];

	tmem_lock_assert_held(&table->lock);
	assert(backed_bits(group) & chunk_bit(c));
	assert(!(chunk->free[r / 64] >> r % 64 & 1) && "record freed twice");
	chunk->free[r / 64] |= 1ull << r % 64;
	atomic_fetch_sub_explicit(&table->used, 1, memory_order_relaxed);
	if (chunk->frees++ == 0)
		set_avail(table, group, c);
	if (chunk->frees == TMEM_TABLE_CHUNK && table->empty++ > table->keep)
		close_chunk(table, group, c);
}

void tmem_table_free(struct tmem_table *table, uint32_t id)
{
	tmem_table_free_many(table, &id, 1);
}

void tmem_table_free_many(struct tmem_table *table, const uint32_t *ids,
			  unsigned count)
{
	tmem_lock_acquire(&table->lock);
	for (unsigned i = 0; i < count; i++)
		free_locked(table, ids[i]);
	tmem_lock_release(&table->lock);
}

void tmem_table_mark(struct tmem_table *table, uint32_t id)
{
	uint32_t c = chunk_of(id), r = record_of(id);
	struct tmem_table_group *group = group_at(table, c);

	assert(tmem_table_backed(table, id));
	tmem_lock_acquire(&table->lock);
	if (group->chunk[c % GROUP_CHUNKS].free[r / 64] >> r % 64 & 1)
		claim(table, group, c, r);
	tmem_lock_release(&table->lock);
}

/* Chunks from..to of the table hold nothing: nor shall the file. */
static void scrub(struct tmem_table *table, uint32_t from, uint32_t to)
{
	for (unsigned i = 0; i < table->parts && from < to; i++)
		tmem_arena_scrub(table->arena, table->part[i].part,
				 from * chunk_bytes(table, i),
				 (to - from) * chunk_bytes(table, i));
}

void tmem_table_settle(struct tmem_table *table)
{
	uint32_t run = 0; /* first chunk of a run that holds nothing */

	tmem_lock_acquire(&table->lock);
	for (uint32_t c = 0; c < chunks(table); c++) {
		struct tmem_table_group *group = group_at(table, c);
		struct chunk *chunk;

		if (!group) {
			c |= GROUP_CHUNKS - 1;
			continue;
		}
		chunk = &group->chunk[c % GROUP_CHUNKS];
		if (chunk->frees == TMEM_TABLE_CHUNK)
			close_chunk(table, group, c);
		if (chunk->held) {
			scrub(table, run, c);
			run = c + 1;
		}
	}
	scrub(table, run, chunks(table));
	tmem_lock_release(&table->lock);
}

/* Take over chunk c, of which something was found in the file. */
static int adopt_chunk(struct tmem_table *table, uint32_t c)
{
	struct tmem_table_group *group = make_group(table, c);
	struct chunk *chunk;

	if (!group)
		return -ENOMEM;
	if (backed_bits(group) & chunk_bit(c))
		return 0;
	chunk = &group->chunk[c % GROUP_CHUNKS];
	for (unsigned i = 0; i < table->parts; i++) {
		uint64_t bytes = chunk_bytes(table, i);
		int r = tmem_arena_adopt(table->arena, table->part[i].part,
					 c * bytes, bytes);

		if (r < 0)
			return r;
		hold(table, chunk, i);
	}
	open_chunk(table, group, c);
	return 0;
}

static int adopt_all(struct tmem_table *table)
{
	for (unsigned i = 0; i < table->parts; i++) {
		uint64_t bytes = chunk_bytes(table, i);
		uint64_t start, end = 0;

		while (tmem_arena_next_extent(table->arena, table->part[i].part,
					      end, &start, &end) == 0) {
			uint64_t last = (end - 1) / bytes;

			for (uint64_t c = start / bytes;
			     c <= last && c < chunks(table); c++) {
				int r = adopt_chunk(table, (uint32_t)c);

				if (r < 0)
					return r;
			}
		}
	}
	return 0;
}

static uint32_t most_records(const struct tmem_table *table)
{
	uint64_t most = TMEM_TABLE_MAX;

	for (unsigned i = 0; i < table->parts; i++) {
		uint64_t fit = table->arena->part[table->part[i].part].size /
			       chunk_bytes(table, i) * TMEM_TABLE_CHUNK;

		if (fit < most)
			most = fit;
	}
	return (uint32_t)most;
}

static size_t directory_bytes(const struct tmem_table *table)
{
	return table->groups * sizeof(*table->group);
}

static size_t avail_bytes(const struct tmem_table *table)
{
	return (table->groups + 63) / 64 * sizeof(*table->avail);
}

TMEM_TSA(no_thread_safety_analysis)
int tmem_table_init(struct tmem_table *table, struct tmem_arena *arena,
		    unsigned parts, const enum tmem_arena_part *part,
		    const uint32_t *record)
{
	int r;

	assert(parts >= 1 && parts <= TMEM_TABLE_PARTS);
	memset(table, 0, sizeof(*table));
	table->arena = arena;
	table->parts = parts;
	for (unsigned i = 0; i < parts; i++) {
		table->part[i].part = part[i];
		table->part[i].record = record[i];
		table->part[i].base = tmem_arena_part(arena, part[i]);
	}
	table->max = most_records(table);
	table->groups = (chunks(table) + GROUP_CHUNKS - 1) / GROUP_CHUNKS;
	table->group = tmem_budget_alloc(arena->budget, directory_bytes(table));
	table->avail = tmem_budget_alloc(arena->budget, avail_bytes(table));
	atomic_store_explicit(&table->private,
			      directory_bytes(table) + avail_bytes(table),
			      memory_order_relaxed);
	r = table->group && table->avail ? 0 : -ENOMEM;
	if (r == 0)
		r = tmem_lock_init(&table->lock, TMEM_LOCK_TABLE);
	if (r < 0)
		goto err;
	if (!arena->reopened)
		return 0;
	tmem_lock_acquire(&table->lock);
	r = adopt_all(table);
	tmem_lock_release(&table->lock);
	if (r < 0)
		tmem_table_deinit(table);
	return r;
err:
	tmem_budget_free(arena->budget, table->group, directory_bytes(table));
	tmem_budget_free(arena->budget, table->avail, avail_bytes(table));
	return r;
}

TMEM_TSA(no_thread_safety_analysis)
void tmem_table_deinit(struct tmem_table *table)
{
	struct tmem_budget *budget = table->arena->budget;

	for (uint32_t g = 0; g < table->groups; g++)
		tmem_budget_free(budget, group_at(table, g * GROUP_CHUNKS),
				 sizeof(struct tmem_table_group));
	tmem_budget_free(budget, table->group, directory_bytes(table));
	tmem_budget_free(budget, table->avail, avail_bytes(table));
	tmem_lock_deinit(&table->lock);
}

bool tmem_table_backed(const struct tmem_table *table, uint32_t id)
{
	const struct tmem_table_group *group;

	if (id == 0 || id > table->max)
		return false;
	group = group_at(table, chunk_of(id));
	return group && backed_bits(group) & chunk_bit(chunk_of(id));
}

bool tmem_table_used(struct tmem_table *table, uint32_t id)
{
	uint32_t r = record_of(id);
	bool used = false;

	tmem_lock_acquire(&table->lock);
	if (tmem_table_backed(table, id)) {
		const struct chunk *chunk =
			&group_at(table, chunk_of(id))
				 ->chunk[chunk_of(id) % GROUP_CHUNKS];

		used = !(chunk->free[r / 64] >> r % 64 & 1);
	}
	tmem_lock_release(&table->lock);
	return used;
}

uint32_t tmem_table_next(const struct tmem_table *table, uint32_t id)
{
	uint32_t c;

	if (id == 0)
		id = 1;
	if (tmem_table_backed(table, id))
		return id;
	if (id > table->max)
		return 0;
	for (c = chunk_of(id) + 1; c < chunks(table); c++) {
		const struct tmem_table_group *group = group_at(table, c);

		if (!group)
			c |= GROUP_CHUNKS - 1;
		else if (backed_bits(group) & chunk_bit(c))
			return c * TMEM_TABLE_CHUNK + 1;
	}
	return 0;
}

uint64_t tmem_table_private(const struct tmem_table *table)
{
	return atomic_load_explicit(&table->private, memory_order_relaxed);
}
