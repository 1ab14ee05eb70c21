/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lanes of a store's calls (BENCHMARKS.md). The set stays in its pools, under
 * object 0; what comes and goes has an object for each thread and number of
 * threads, in which a page is put, found, replaced and flushed some rounds
 * apart.
 */
#include "clock.h"
#include "data.h"

/* Rounds after its put that a page is met again. */
enum { LAG_GET = 1, LAG_REPLACE = 2, LAG_FLUSH = 4 };

static const struct tmem_oid set_oid = {{0}};
static const struct tmem_oid nothing_oid = {{1, UINT64_MAX}};

static struct tmem_oid own_oid(const struct bench_worker *worker)
{
	return (struct tmem_oid){{2, worker->threads, worker->number}};
}

static void get_held(struct bench_worker *worker, enum tmem_codec codec,
		     uint32_t index, void *page)
{
	bench_must(tmem_get(worker->data->settled.held[codec], &set_oid, index,
			    page),
		   "a get");
}

static void call_get(struct bench_worker *worker, size_t page, uint32_t index)
{
	get_held(worker, (enum tmem_codec)worker->which, index, worker->page);
}

static void call_get_raw_cold(struct bench_worker *worker, size_t page,
			      uint32_t index)
{
	get_held(worker, TMEM_CODEC_RAW, index,
		 bench_page(&worker->data->cold, page));
}

static void call_get_miss(struct bench_worker *worker, size_t page,
			  uint32_t index)
{
	bench_must(tmem_get(worker->data->settled.held[TMEM_CODEC_LZ4],
			    &nothing_oid, index, worker->page) != TMEM_MISS,
		   "a get that misses");
}

static void put_own(struct bench_worker *worker, struct tmem_pool *pool,
		    uint32_t index, const void *page)
{
	struct tmem_oid oid = own_oid(worker);

	bench_must(tmem_put(pool, &oid, index, page), "a put");
}

static void flush_own(struct bench_worker *worker, struct tmem_pool *pool,
		      uint32_t index)
{
	struct tmem_oid oid = own_oid(worker);

	bench_must(tmem_flush(pool, &oid, index), "a flush");
}

static void call_put_inline(struct bench_worker *worker, size_t page,
			    uint32_t index)
{
	put_own(worker, worker->data->settled.fresh, index,
		bench_page(&worker->data->fresh, page));
}

static void call_flush(struct bench_worker *worker, size_t page, uint32_t index)
{
	flush_own(worker, worker->data->settled.fresh, index);
}

static void call_put_new(struct bench_worker *worker, size_t page,
			 uint32_t index)
{
	put_own(worker, worker->data->young.fresh, index,
		bench_page(&worker->data->fresh, page));
}

static void call_get_young(struct bench_worker *worker, size_t page,
			   uint32_t index)
{
	struct tmem_oid oid = own_oid(worker);

	bench_must(
		tmem_get(worker->data->young.fresh, &oid, index, worker->page),
		"a get");
}

static void call_flush_young(struct bench_worker *worker, size_t page,
			     uint32_t index)
{
	flush_own(worker, worker->data->young.fresh, index);
}

static void call_put_sharing(struct bench_worker *worker, size_t page,
			     uint32_t index)
{
	put_own(worker, worker->data->settled.sharing, index,
		bench_page(&worker->data->fresh, page));
}

static void call_put_duplicate(struct bench_worker *worker, size_t page,
			       uint32_t index)
{
	put_own(worker, worker->data->settled.sharing, index,
		bench_page(&worker->data->set, page));
}

static void flush_sharing(struct bench_worker *worker, size_t page,
			  uint32_t index)
{
	flush_own(worker, worker->data->settled.sharing, index);
}

static void renew(struct bench_worker *worker, size_t page, uint32_t index)
{
	bench_data_renew(worker->data, page);
}

static void renew_sharing(struct bench_worker *worker, size_t page,
			  uint32_t index)
{
	bench_data_renew(worker->data, page);
	flush_own(worker, worker->data->settled.sharing, index);
}

const struct bench_lane bench_store_lanes[] = {
	{.name = "put-new",
	 .call = call_put_new,
	 .after = renew,
	 .running = true},
	{.name = "get-young",
	 .call = call_get_young,
	 .running = true,
	 .lag = LAG_GET},
	{.name = "flush-young",
	 .call = call_flush_young,
	 .running = true,
	 .lag = LAG_FLUSH},
	{.name = "put-inline",
	 .call = call_put_inline,
	 .after = renew,
	 .running = true},
	{.name = "put-inline-sharing",
	 .call = call_put_sharing,
	 .after = renew_sharing},
	{.name = "put-duplicate",
	 .call = call_put_duplicate,
	 .after = flush_sharing},
	{.name = "put-replace",
	 .call = call_put_inline,
	 .after = renew,
	 .running = true,
	 .lag = LAG_REPLACE},
	{.name = "get-raw", .call = call_get, .which = TMEM_CODEC_RAW},
	{.name = "get-raw-to-cold", .call = call_get_raw_cold},
	{.name = "get-lz4", .call = call_get, .which = TMEM_CODEC_LZ4},
	{.name = "get-lzo", .call = call_get, .which = TMEM_CODEC_LZO},
	{.name = "get-zstd", .call = call_get, .which = TMEM_CODEC_ZSTD},
	{.name = "get-miss", .call = call_get_miss},
	{.name = "flush",
	 .call = call_flush,
	 .running = true,
	 .lag = LAG_FLUSH},
};
const size_t bench_store_count =
	sizeof(bench_store_lanes) / sizeof(bench_store_lanes[0]);
