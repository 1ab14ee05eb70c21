/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the lanes work on; see data.h. */
#include "data.h"

#include <stdlib.h>
#include <string.h>
#include "clock.h"
#include "codec.h"

#define ROOM_APART   (64ull << 20) /* for tables, and what comes and goes */
#define YOUNG_BUDGET (1ull << 30)  /* no more than a little of it is used */

void bench_data_renew(struct bench_data *data, size_t page)
{
	uint8_t *bytes = bench_page(&data->fresh, page);
	uint64_t number;

	memcpy(&number, bytes + TMEM_PAGE_SIZE - sizeof(number),
	       sizeof(number));
	bench_number(bytes, number + data->fresh.count);
}

static void pack(struct bench_packed *packed, struct bench_pages set,
		 enum tmem_codec codec, struct tmem_codecs *codecs)
{
	size_t at = 0;

	packed->room = bench_pages_new(set.count);
	packed->start = calloc(set.count + 1, sizeof(*packed->start));
	packed->raw = calloc(set.count + 1, sizeof(*packed->raw));
	bench_must(!packed->start || !packed->raw, "calloc");
	for (size_t i = 0; i < set.count; i++) {
		uint8_t out[TMEM_PAGE_SIZE];
		const uint8_t *page = bench_page(&set, i);
		size_t n = tmem_codec_compress(codecs, codec, page, out);

		packed->raw[i] = n == 0;
		packed->start[i] = at;
		memcpy(packed->room.bytes + at, n ? out : page,
		       n ? n : TMEM_PAGE_SIZE);
		at += n ? n : TMEM_PAGE_SIZE;
	}
	packed->start[set.count] = at;
}

static struct tmem_pool *new_pool(struct tmem_client *client, const char *name,
				  enum tmem_codec codec, enum tmem_dedup dedup)
{
	struct tmem_pool_config config = {
		.name = name,
		.codec = codec,
		.dedup = dedup,
	};
	struct tmem_pool *pool;

	bench_must(tmem_pool_new(client, &config, &pool), "tmem_pool_new");
	return pool;
}

static void put_set(struct tmem_pool *pool, struct bench_pages set)
{
	const struct tmem_oid oid = {{0}};
	uint32_t count;

	for (size_t i = 0; i < set.count; i += count) {
		size_t left = set.count - i;

		count = left < TMEM_RUN_MAX ? (uint32_t)left : TMEM_RUN_MAX;
		bench_must(tmem_put_run(pool, &oid, (uint32_t)i, count,
					bench_page(&set, i),
					NULL) != (int)count,
			   "a put");
	}
}

static void open_store(struct bench_store *it,
		       const struct tmem_store_config *config)
{
	struct tmem_client_config client = {.name = "bench"};

	bench_must(tmem_store_open(config, &it->store), "tmem_store_open");
	bench_must(tmem_client_new_local(it->store, &client, &it->client),
		   "tmem_client_new_local");
}

/* Every put does all of its work. */
static void open_settled(struct bench_store *it, const struct bench_data *data)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.budget =
		ROOM_APART + (uint64_t)data->set.count * TMEM_PAGE_SIZE * 6;
	config.capacity = config.budget;
	config.nursery = 0;
	config.threads = 0;
	open_store(it, &config);
	for (int codec = TMEM_CODEC_RAW; codec < TMEM_CODEC_COUNT; codec++) {
		it->held[codec] =
			new_pool(it->client, tmem_codec_name(codec),
				 (enum tmem_codec)codec, TMEM_DEDUP_OFF);
		put_set(it->held[codec], data->set);
	}
	it->fresh = new_pool(it->client, "fresh", data->codec, TMEM_DEDUP_OFF);
	it->sharing =
		new_pool(it->client, "sharing", data->codec, TMEM_DEDUP_ON);
	put_set(it->sharing, data->set);
}

/* As stores are by default; pages go before anybody has to settle them. */
static void open_young(struct bench_store *it, const struct bench_data *data)
{
	struct tmem_store_config config;

	tmem_store_config_init(&config);
	config.budget = YOUNG_BUDGET;
	config.capacity = config.budget;
	open_store(it, &config);
	it->fresh = new_pool(it->client, "fresh", data->codec, TMEM_DEDUP_AUTO);
}

static void close_store(struct bench_store *it)
{
	tmem_pool_free(it->fresh);
	tmem_pool_free(it->sharing);
	for (int codec = TMEM_CODEC_RAW; codec < TMEM_CODEC_COUNT; codec++)
		tmem_pool_free(it->held[codec]);
	tmem_client_free(it->client);
	tmem_store_close(it->store);
}

void bench_data_init(struct bench_data *data, struct bench_pages set,
		     enum tmem_codec codec)
{
	struct tmem_codecs *codecs;

	*data = (struct bench_data){
		.set = set,
		.codec = codec,
		.fresh = bench_pages_copy(&set),
		.cold = bench_pages_copy(&set),
		.zram = {-1, -1},
	};
	for (size_t i = 0; i < set.count; i++)
		bench_number(bench_page(&data->fresh, i), set.count + i);
	bench_must(tmem_codecs_new(UINT64_MAX, &codecs), "tmem_codecs_new");
	for (int i = TMEM_CODEC_LZ4; i < TMEM_CODEC_COUNT; i++)
		pack(&data->packed[i], set, (enum tmem_codec)i, codecs);
	tmem_codecs_free(codecs);
	open_settled(&data->settled, data);
	open_young(&data->young, data);
}

void bench_data_deinit(struct bench_data *data)
{
	close_store(&data->settled);
	close_store(&data->young);
	for (int i = TMEM_CODEC_LZ4; i < TMEM_CODEC_COUNT; i++) {
		bench_pages_free(&data->packed[i].room);
		free(data->packed[i].start);
		free(data->packed[i].raw);
	}
	bench_pages_free(&data->fresh);
	bench_pages_free(&data->cold);
}
