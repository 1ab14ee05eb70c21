/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lanes that read and write zram devices page by page; see data.h. */
#include <stdio.h>
#include <unistd.h>
#include "clock.h"
#include "data.h"

void bench_zrams_fill(struct bench_zrams *zrams, struct bench_data *data,
		      json_t *report)
{
	for (int i = 0; zrams && i < BENCH_ZRAMS; i++) {
		int fd = bench_zrams_open(zrams, i);
		size_t page = 0;

		while (fd >= 0 && page < data->set.count &&
		       pwrite(fd, bench_page(&data->set, page), TMEM_PAGE_SIZE,
			      (off_t)(page * TMEM_PAGE_SIZE)) == TMEM_PAGE_SIZE)
			page++;
		if (page < data->set.count) {
			printf("zram with %s is left out\n",
			       bench_zram_algorithms[i]);
			continue;
		}
		data->zram[i] = fd;
		bench_zrams_note(zrams, i, report);
	}
}

static void call_read(struct bench_worker *worker, size_t page, uint32_t index)
{
	bench_must(pread(worker->data->zram[worker->which], worker->page,
			 TMEM_PAGE_SIZE,
			 (off_t)(page * TMEM_PAGE_SIZE)) != TMEM_PAGE_SIZE,
		   "reading zram");
}

static void call_write(struct bench_worker *worker, size_t page, uint32_t index)
{
	bench_must(pwrite(worker->data->zram[worker->which],
			  bench_page(&worker->data->set, page), TMEM_PAGE_SIZE,
			  (off_t)(page * TMEM_PAGE_SIZE)) != TMEM_PAGE_SIZE,
		   "writing zram");
}

static bool is_there(const struct bench_data *data, int which)
{
	return data->zram[which] >= 0;
}

#define ZRAM_LANE(lane_name, lane_call, device)                                \
	{                                                                      \
		.name = (lane_name), .call = (lane_call), .which = (device),   \
		.available = is_there                                          \
	}

const struct bench_lane bench_zram_lanes[] = {
	ZRAM_LANE("zram-write-lzo-rle", call_write, BENCH_ZRAM_LZO),
	ZRAM_LANE("zram-read-lzo-rle", call_read, BENCH_ZRAM_LZO),
	ZRAM_LANE("zram-write-lz4", call_write, BENCH_ZRAM_LZ4),
	ZRAM_LANE("zram-read-lz4", call_read, BENCH_ZRAM_LZ4),
};
const size_t bench_zram_count =
	sizeof(bench_zram_lanes) / sizeof(bench_zram_lanes[0]);
