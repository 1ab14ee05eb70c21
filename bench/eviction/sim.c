/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which policy keeps the pages that are read again: hit ratios of a store below
 * a guest's page cache, on traces of real work (trace.h). BENCHMARKS.md says
 * how traces are recorded, and what came out.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy.h"

#define MOST_SIZES    16u
#define MOST_POLICIES 32u

/* Whether a real store takes part. */
static bool with_real;

struct sizes {
	uint32_t pages[MOST_SIZES];
	unsigned count;
};

struct outcome {
	uint64_t gets, hits;
};

/* One policy on what comes below the guest. Inclusive: what was missed is
 * put, and stays when it is got. Exclusive: what the guest gives up is put, and
 * what it gets is gone. */
static struct outcome simulate(const struct trace *trace,
			       const struct policy *policy, uint32_t pages,
			       bool exclusive)
{
	void *state = policy->init(trace, pages, exclusive);
	struct outcome out = {0};

	for (size_t i = 0; i < trace->count; i++) {
		struct event event = trace->events[i];

		if (event.kind == EVENT_FLUSH) {
			policy->take(state, event.page, false);
		} else if (event.kind == EVENT_READ) {
			bool hit = policy->get(state, event.page);

			out.gets++;
			out.hits += hit;
			if (hit && exclusive)
				policy->take(state, event.page, true);
			else if (!hit && !exclusive)
				policy->put(state, event.page);
		} else if (exclusive && !policy->get(state, event.page)) {
			policy->put(state, event.page);
		}
	}
	policy->deinit(state);
	return out;
}

static double percent(struct outcome out)
{
	return 100.0 * (double)out.hits / (double)(out.gets ? out.gets : 1);
}

/* A line a policy, a column a size of the store; the last column is how far the
 * policy is behind the best one, where it is furthest behind. */
static void print_table(const struct trace *below, const struct sizes *stores,
			bool exclusive)
{
	static double hits[MOST_POLICIES][MOST_SIZES];
	double best[MOST_SIZES] = {0};
	unsigned count = 0;

	while (policies[count + 1])
		count++;
	count += with_real && !exclusive;

	for (unsigned p = 0; p < count; p++)
		for (unsigned i = 0; i < stores->count; i++) {
			hits[p][i] =
				percent(simulate(below, policies[p],
						 stores->pages[i], exclusive));
			if (hits[p][i] > best[i])
				best[i] = hits[p][i];
		}
	for (unsigned p = 0; p < count; p++) {
		double behind = 0;

		printf("%-12s", policies[p]->name);
		for (unsigned i = 0; i < stores->count; i++) {
			if (best[i] - hits[p][i] > behind)
				behind = best[i] - hits[p][i];
			printf(" %7.2f", hits[p][i]);
		}
		printf(" %7.2f\n", behind);
	}
}

static void print_head(const char *path, uint32_t guest,
		       const struct sizes *stores, bool exclusive)
{
	printf("%s, %s pool, below a guest of %u pages\n%-12s", path,
	       exclusive ? "exclusive" : "inclusive", guest, "pages");
	for (unsigned i = 0; i < stores->count; i++)
		printf(" %7u", stores->pages[i]);
	printf("  behind\n");
}

/* Both kinds of pool; exclusive ones are filled by what a guest gives up. */
static void run(const struct trace *trace, const char *path, uint32_t guest,
		const struct sizes *stores)
{
	struct trace below;

	trace_behind(trace, guest, &below);
	for (int exclusive = 0; exclusive <= (guest > 0); exclusive++) {
		print_head(path, guest, stores, exclusive);
		print_table(&below, stores, exclusive);
		fflush(stdout);
	}
	free(below.events);
}

/* Pages, or with an M, MiB. */
static bool parse_sizes(const char *text, struct sizes *sizes)
{
	char *end;

	sizes->count = 0;
	do {
		unsigned long n = strtoul(text, &end, 10);

		if (end == text || sizes->count == MOST_SIZES)
			return false;
		if (*end == 'M') {
			n *= 256;
			end++;
		}
		if (n > 1u << 28)
			return false;
		sizes->pages[sizes->count++] = (uint32_t)n;
		text = end + 1;
	} while (*end == ',');
	return *end == '\0';
}

static void usage(FILE *out)
{
	fprintf(out,
		"usage: eviction [--guest SIZE,...] [--store SIZE,...] [--real] TRACE...\n"
		"Hit ratios of policies, in percent, on traces recorded by record.sh.\n"
		"  --guest   caches of guests, in pages or as 64M; 0 (the default) is for\n"
		"            traces that were recorded below a cache\n"
		"  --store   what stores hold; default a quarter to four times the guest's\n"
		"            cache, or 8M to 128M\n"
		"  --real    have a real store take part, below inclusive caches\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"guest", required_argument, NULL, 'g'},
		{"store", required_argument, NULL, 's'},
		{"real", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct sizes guests = {.count = 1}, stores = {.count = 0};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			usage(stdout);
			return EXIT_SUCCESS;
		}
		if (c == 'r') {
			with_real = true;
			continue;
		}
		if (c == '?' ||
		    !parse_sizes(optarg, c == 'g' ? &guests : &stores)) {
			usage(stderr);
			return 2;
		}
	}
	if (optind == argc) {
		usage(stderr);
		return 2;
	}
	for (; optind < argc; optind++) {
		struct trace trace;

		trace_load(&trace, argv[optind]);
		for (unsigned g = 0; g < guests.count; g++) {
			struct sizes sizes = stores;
			uint32_t pages =
				guests.pages[g] ? guests.pages[g] : 8192;

			for (unsigned i = 0; !stores.count && i < 5; i++)
				sizes.pages[sizes.count++] = pages / 4 << i;
			run(&trace, argv[optind], guests.pages[g], &sizes);
		}
		trace_free(&trace);
	}
	return EXIT_SUCCESS;
}
