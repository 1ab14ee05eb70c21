/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exact pages: one thread's own, so that what a get must return is known.
 * Ephemeral: the last page put, or a miss, after which it stays a miss.
 */
#include "model.h"

#include <stdio.h>
#include <string.h>
#include "pages.h"

uint32_t exact_index(unsigned object, unsigned i)
{
	/* One object at the very end of the range, one spread thin, the
	 * others here and there. */
	if (object == 0)
		return UINT32_MAX - EXACT_INDEXES + 1 + i;
	return object * 1000003u + i;
}

void exact_put_starts(struct exact_page *page, uint64_t seed)
{
	page->intent = seed;
}

void exact_put_ends(struct model *model, struct exact_page *page, int outcome)
{
	if (outcome == TMEM_OK)
		page->seed = page->intent;
	else if (outcome == TMEM_REFUSED)
		page->seed = 0;
	else
		model_fail(model, "put returned %d", outcome);
	page->intent = EXACT_NO_INTENT;
}

void exact_replace_ends(struct model *model, struct exact_page *page,
			int outcome)
{
	if (outcome == TMEM_REFUSED)
		page->intent = EXACT_NO_INTENT;
	else
		exact_put_ends(model, page, outcome);
}

void exact_flush_starts(struct exact_page *page)
{
	page->intent = EXACT_GONE;
}

void exact_flush_ends(enum model_kind kind, struct exact_page *page,
		      uint64_t *least, uint64_t *most)
{
	if (page->seed) {
		*most += 1;
		if (model_is_persistent(kind))
			*least += 1;
	}
	page->seed = 0;
	page->intent = EXACT_NO_INTENT;
}

/* What a wrong page looks like, for people. */
static void fail_page(struct model *model, enum model_kind kind,
		      struct exact_page *page, const void *bytes)
{
	uint64_t seed = test_page_seed(bytes);

	model_fail(
		model,
		"exact page %td of kind %d: expected seed %#jx (under way %#jx), got %s seed %#jx",
		page - &model->exact[0][0][0][0], kind, (uintmax_t)page->seed,
		(uintmax_t)page->intent,
		test_page_is(bytes, seed) ? "the page of"
					  : "damaged bytes, perhaps of",
		(uintmax_t)seed);
}

void exact_got(struct model *model, enum model_kind kind,
	       struct exact_page *page, int outcome, const void *bytes)
{
	uint64_t seed = page->seed;

	if (outcome == TMEM_MISS) {
		if (seed && model_is_persistent(kind))
			model_fail(
				model,
				"exact page %td of kind %d is lost: seed %#jx",
				page - &model->exact[0][0][0][0], kind,
				(uintmax_t)seed);
		page->seed = 0;
		return;
	}
	if (outcome != TMEM_OK)
		model_fail(model, "get returned %d", outcome);
	if (!seed || !test_page_is(bytes, seed))
		fail_page(model, kind, page, bytes);
	if (kind == MODEL_EXCLUSIVE)
		page->seed = 0;
}

void exact_recovered(struct model *model, enum model_kind kind,
		     struct exact_page *page, int outcome, const void *bytes)
{
	uint64_t seed = page->seed;
	uint64_t intent = page->intent;

	if (!model_is_persistent(kind)) {
		if (outcome != TMEM_MISS)
			model_fail(model,
				   "an ephemeral page outlived its process");
		seed = 0;
	} else if (outcome == TMEM_MISS) {
		/* A put under way may have been refused. */
		if (seed && intent == EXACT_NO_INTENT)
			model_fail(
				model,
				"exact page %td of kind %d is lost in the kill: seed %#jx",
				page - &model->exact[0][0][0][0], kind,
				(uintmax_t)seed);
		seed = 0;
	} else if (outcome != TMEM_OK) {
		model_fail(model, "get returned %d", outcome);
	} else if (intent >= EXACT_SEED_MIN && test_page_is(bytes, intent)) {
		seed = intent;
	} else if (!seed || !test_page_is(bytes, seed)) {
		fail_page(model, kind, page, bytes);
	}
	page->seed = seed;
	page->intent = EXACT_NO_INTENT;
}
