/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each codec makes of each kind of pages, and how fast (BENCHMARKS.md,
 * "Codecs"): the table behind the choice of the default.
 */
#include <stdio.h>
#include <stdlib.h>
#include "clock.h"
#include "codec.h"
#include "parts.h"

#define CODECS	(TMEM_CODEC_COUNT - TMEM_CODEC_LZ4)
#define PAGES	4096u /* of a kind */
#define LONGEST 32u

/* Of one codec on one kind. */
struct trial {
	uint32_t compress[PAGES], decompress[PAGES];
	size_t pages;
	uint64_t bytes;
};

static int by_ns(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double median(uint32_t *ns, size_t count)
{
	size_t middle = count / 2;

	qsort(ns, count, sizeof(*ns), by_ns);
	return ns[middle];
}

/* Codecs take turns page by page; which comes first, and finds the page cold,
 * changes too. */
static void try_page(struct tmem_codecs *codecs, const uint8_t *page,
		     struct trial *trials, size_t turn)
{
	for (unsigned i = 0; i < CODECS; i++) {
		unsigned c = (unsigned)((turn + i) % CODECS);
		enum tmem_codec codec = (enum tmem_codec)(TMEM_CODEC_LZ4 + c);
		uint8_t packed[TMEM_PAGE_SIZE], out[TMEM_PAGE_SIZE];
		struct trial *trial = &trials[c];
		uint64_t begin = bench_now(), middle;
		size_t n = tmem_codec_compress(codecs, codec, page, packed);

		middle = bench_now();
		bench_must(tmem_codec_decompress(codecs,
						 n ? codec : TMEM_CODEC_RAW,
						 n ? packed : page,
						 n ? n : TMEM_PAGE_SIZE, out),
			   "decompressing");
		trial->compress[trial->pages] = (uint32_t)(middle - begin);
		trial->decompress[trial->pages++] =
			(uint32_t)(bench_now() - middle);
		trial->bytes += n ? n : TMEM_PAGE_SIZE;
	}
}

static void note(const char *kind, const char *codec, struct trial *trial,
		 json_t *report)
{
	double bytes = (double)trial->bytes / (double)trial->pages;
	double compress = median(trial->compress, trial->pages);
	double decompress = median(trial->decompress, trial->pages);

	bench_set(report, bytes, "codecs/%s/%s/bytes_a_page", kind, codec);
	bench_set(report, compress, "codecs/%s/%s/compress_ns", kind, codec);
	bench_set(report, decompress, "codecs/%s/%s/decompress_ns", kind,
		  codec);
	printf("  %6.0f %7.0f %6.0f", bytes, compress, decompress);
}

void bench_codecs(const struct bench_pages *set, const size_t *from,
		  const char *const *kinds, size_t count, json_t *report)
{
	struct tmem_codecs *codecs;

	bench_must(tmem_codecs_new(UINT64_MAX, &codecs), "tmem_codecs_new");
	printf("%-8s", "codecs");
	for (int codec = TMEM_CODEC_LZ4; codec < TMEM_CODEC_COUNT; codec++)
		printf("  %-6s %7s %6s", tmem_codec_name(codec), "compr.",
		       "decom.");
	printf("  (bytes a page; ns, p50)\n");
	for (size_t k = 0; k < count; k++) {
		size_t pages = from[k + 1] - from[k];
		struct trial *trials = calloc(CODECS, sizeof(*trials));

		bench_must(!trials, "calloc");
		/* Spread over the kind where there are more. */
		for (size_t i = 0; i < PAGES && i < pages; i++)
			try_page(codecs,
				 bench_page(set,
					    from[k] +
						    (pages > PAGES
							     ? i * pages / PAGES
							     : i)),
				 trials, i);
		printf("%-8s", kinds[k]);
		for (unsigned c = 0; c < CODECS && pages; c++)
			note(kinds[k],
			     tmem_codec_name(
				     (enum tmem_codec)(TMEM_CODEC_LZ4 + c)),
			     &trials[c], report);
		printf("\n");
		free(trials);
	}
	printf("\n");
	tmem_codecs_free(codecs);
}
