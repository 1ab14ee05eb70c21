/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lanes of what a store's calls are made of, alone (BENCHMARKS.md). */
#include <string.h>
#if defined(__x86_64__)
#include <xxh_x86dispatch.h> /* what the store uses */
#else
#include <xxhash.h>
#endif
#include "clock.h"
#include "codec.h"
#include "data.h"

/* The compiler must not drop a copy that nobody reads. */
static void used(const void *bytes)
{
	__asm__ volatile("" : : "r"(bytes) : "memory");
}

static void call_empty(struct bench_worker *worker, size_t page, uint32_t index)
{
}

static void call_memcpy_hot(struct bench_worker *worker, size_t page,
			    uint32_t index)
{
	memcpy(worker->page, worker->other, TMEM_PAGE_SIZE);
	used(worker->page);
}

static void call_memcpy_from_cold(struct bench_worker *worker, size_t page,
				  uint32_t index)
{
	memcpy(worker->page, bench_page(&worker->data->set, page),
	       TMEM_PAGE_SIZE);
	used(worker->page);
}

static void call_memcpy_cold(struct bench_worker *worker, size_t page,
			     uint32_t index)
{
	uint8_t *to = bench_page(&worker->data->cold, page);

	memcpy(to, bench_page(&worker->data->set, page), TMEM_PAGE_SIZE);
	used(to);
}

static void call_xxh3(struct bench_worker *worker, size_t page, uint32_t index)
{
	worker->sink += XXH3_64bits(bench_page(&worker->data->set, page),
				    TMEM_PAGE_SIZE);
}

static void call_compare(struct bench_worker *worker, size_t page,
			 uint32_t index)
{
	bench_must(memcmp(bench_page(&worker->data->set, page),
			  bench_page(&worker->data->cold, page),
			  TMEM_PAGE_SIZE),
		   "a comparison");
}

static void call_compress(struct bench_worker *worker, size_t page,
			  uint32_t index)
{
	worker->sink += tmem_codec_compress(
		worker->codecs, (enum tmem_codec)worker->which,
		bench_page(&worker->data->set, page), worker->page);
}

static void decompress(struct bench_worker *worker, size_t page,
		       enum tmem_codec codec)
{
	const struct bench_packed *packed = &worker->data->packed[codec];
	size_t start = packed->start[page];

	bench_must(tmem_codec_decompress(
			   worker->codecs,
			   packed->raw[page] ? TMEM_CODEC_RAW : codec,
			   packed->room.bytes + start,
			   packed->start[page + 1] - start, worker->page),
		   "decompressing");
	used(worker->page);
}

static void call_decompress(struct bench_worker *worker, size_t page,
			    uint32_t index)
{
	decompress(worker, page, (enum tmem_codec)worker->which);
}

/* What a put must do to know that it puts a duplicate. */
static void call_verify(struct bench_worker *worker, size_t page,
			uint32_t index)
{
	const uint8_t *bytes = bench_page(&worker->data->set, page);

	worker->sink += XXH3_64bits(bytes, TMEM_PAGE_SIZE);
	decompress(worker, page, worker->data->codec);
	bench_must(memcmp(bytes, worker->page, TMEM_PAGE_SIZE), "a comparison");
}

const struct bench_lane bench_primitive_lanes[] = {
	{.name = "empty", .call = call_empty},
	{.name = "memcpy-hot", .call = call_memcpy_hot},
	{.name = "memcpy-from-cold", .call = call_memcpy_from_cold},
	{.name = "memcpy-cold", .call = call_memcpy_cold},
	{.name = "xxh3", .call = call_xxh3},
	{.name = "compare", .call = call_compare},
	{.name = "compress-lz4",
	 .call = call_compress,
	 .which = TMEM_CODEC_LZ4},
	{.name = "compress-lzo",
	 .call = call_compress,
	 .which = TMEM_CODEC_LZO},
	{.name = "compress-zstd",
	 .call = call_compress,
	 .which = TMEM_CODEC_ZSTD},
	{.name = "decompress-lz4",
	 .call = call_decompress,
	 .which = TMEM_CODEC_LZ4},
	{.name = "decompress-lzo",
	 .call = call_decompress,
	 .which = TMEM_CODEC_LZO},
	{.name = "decompress-zstd",
	 .call = call_decompress,
	 .which = TMEM_CODEC_ZSTD},
	{.name = "verify", .call = call_verify},
};
const size_t bench_primitive_count =
	sizeof(bench_primitive_lanes) / sizeof(bench_primitive_lanes[0]);
