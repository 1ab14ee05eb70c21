/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the benchmark beside the calls, each with stores of its own,
 * made and gone when it returns. Each prints its table and notes its results.
 */
#ifndef BENCH_PARTS_H
#define BENCH_PARTS_H

#include "pageset.h"
#include "report.h"

/** codecs/KIND/CODEC: bytes a page, compression and decompression, for each
 * kind of pages: those numbered from[i] up to from[i + 1]. */
void bench_codecs(const struct bench_pages *set, const size_t *from,
		  const char *const *kinds, size_t count, json_t *report);

/** burst: puts into an idle store; settling them. */
void bench_burst(const struct bench_pages *set, json_t *report);

/** sustained: puts into a store whose budget is full, by as many threads as
 * there are processors, beside the codec alone by as many. */
void bench_sustained(const struct bench_pages *set, unsigned slices,
		     json_t *report);

/** memory: what pages cost, by the store's own count and by the kernel's. */
void bench_footprint(const struct bench_pages *set, unsigned copies,
		     json_t *report);

/** reclaim: giving so many MiB back on demand, beside what the kernel alone
 * takes for that. */
void bench_reclaim(const struct bench_pages *set, unsigned mib, json_t *report);

/** peak: memory in use above the budget, while pages come and go and budgets
 * change. */
void bench_peak(const struct bench_pages *set, json_t *report);

/** density: four copies of the set without its first skip pages, and of up to
 * most pages of each of the trees (up to a NULL), in four clients. */
void bench_density(char *const *trees, const struct bench_pages *set,
		   size_t skip, size_t most, json_t *report);

#endif
