/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The budget (budget.h). Relaxed order throughout: the counters guard no other
 * memory, and what they count is published by the locks of whoever charged.
 */
#include "budget.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include "fault.h"
#include "protect.h"

/* What malloc adds to a block, near enough. */
#define MALLOC_HEAD 16u

/* Freed bytes that malloc may keep: a quarter of what the store's count and the
 * kernel's may be apart. */
#define TRIM_LEAST (2u << 20)

static void raise_to(_Atomic(uint64_t) *peak, uint64_t value)
{
	uint64_t old = atomic_load_explicit(peak, memory_order_relaxed);

	while (old < value && !atomic_compare_exchange_weak_explicit(
				      peak, &old, value, memory_order_relaxed,
				      memory_order_relaxed))
		;
}

void tmem_budget_init(struct tmem_budget *budget, uint64_t limit)
{
	atomic_init(&budget->limit, limit);
	atomic_init(&budget->slack, 0);
	atomic_init(&budget->used, 0);
	atomic_init(&budget->peak, 0);
	atomic_init(&budget->private, 0);
	atomic_init(&budget->high, 0);
}

bool tmem_budget_try_charge(struct tmem_budget *budget, uint64_t bytes)
{
	uint64_t limit =
		atomic_load_explicit(&budget->limit, memory_order_relaxed) +
		atomic_load_explicit(&budget->slack, memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&budget->used, memory_order_relaxed);

	do {
		if (used > limit || bytes > limit - used)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&budget->used, &used, used + bytes, memory_order_relaxed,
		memory_order_relaxed));
	raise_to(&budget->peak, used + bytes);
	return true;
}

bool tmem_budget_fits(const struct tmem_budget *budget, uint64_t bytes)
{
	uint64_t limit =
		atomic_load_explicit(&budget->limit, memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&budget->used, memory_order_relaxed);

	return used <= limit && bytes <= limit - used;
}

void tmem_budget_charge(struct tmem_budget *budget, uint64_t bytes)
{
	uint64_t used = atomic_fetch_add_explicit(&budget->used, bytes,
						  memory_order_relaxed);

	raise_to(&budget->peak, used + bytes);
}

void tmem_budget_uncharge(struct tmem_budget *budget, uint64_t bytes)
{
	uint64_t used = atomic_fetch_sub_explicit(&budget->used, bytes,
						  memory_order_relaxed);

	assert(used >= bytes && "more uncharged than charged");
	(void)used;
}

bool tmem_budget_try_charge_private(struct tmem_budget *budget, uint64_t bytes)
{
	if (!tmem_budget_try_charge(budget, bytes))
		return false;
	atomic_fetch_add_explicit(&budget->private, bytes,
				  memory_order_relaxed);
	return true;
}

void tmem_budget_charge_private(struct tmem_budget *budget, uint64_t bytes)
{
	atomic_fetch_add_explicit(&budget->private, bytes,
				  memory_order_relaxed);
	tmem_budget_charge(budget, bytes);
}

void tmem_budget_uncharge_private(struct tmem_budget *budget, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&budget->private, bytes,
				  memory_order_relaxed);
	tmem_budget_uncharge(budget, bytes);
}

uint64_t tmem_budget_excess(const struct tmem_budget *budget)
{
	uint64_t limit =
		atomic_load_explicit(&budget->limit, memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&budget->used, memory_order_relaxed);

	return used > limit ? used - limit : 0;
}

bool tmem_budget_full(const struct tmem_budget *budget, uint64_t idle)
{
	uint64_t limit =
		atomic_load_explicit(&budget->limit, memory_order_relaxed);
	uint64_t used =
		atomic_load_explicit(&budget->used, memory_order_relaxed);

	uint64_t spare = tmem_budget_spare(limit);

	return used > limit - spare + idle;
}

/* bytes are charged, and MALLOC_HEAD. */
static void *alloc_charged(struct tmem_budget *budget, size_t bytes)
{
	void *ptr = tmem_fault(TMEM_FAULT_MALLOC) ? NULL : calloc(1, bytes);

	uint64_t private;

	if (!ptr) {
		tmem_budget_uncharge(budget, bytes + MALLOC_HEAD);
		return NULL;
	}
	private = atomic_fetch_add_explicit(
		&budget->private, bytes + MALLOC_HEAD, memory_order_relaxed);
	raise_to(&budget->high, private + bytes + MALLOC_HEAD);
	return ptr;
}

void tmem_budget_trim(struct tmem_budget *budget)
{
	uint64_t private =
		atomic_load_explicit(&budget->private, memory_order_relaxed);
	uint64_t high =
		atomic_load_explicit(&budget->high, memory_order_relaxed);

	if (high < private + TRIM_LEAST ||
	    tmem_protection() & TMEM_PROTECT_TOUCHED)
		return;
	atomic_store_explicit(&budget->high, private, memory_order_relaxed);
	malloc_trim(0);
}

void *tmem_budget_alloc(struct tmem_budget *budget, size_t bytes)
{
	if (!tmem_budget_try_charge(budget, bytes + MALLOC_HEAD))
		return NULL;
	return alloc_charged(budget, bytes);
}

void *tmem_budget_alloc_always(struct tmem_budget *budget, size_t bytes)
{
	tmem_budget_charge(budget, bytes + MALLOC_HEAD);
	return alloc_charged(budget, bytes);
}

void tmem_budget_free(struct tmem_budget *budget, void *ptr, size_t bytes)
{
	if (!ptr)
		return;
	free(ptr);
	tmem_budget_uncharge_private(budget, bytes + MALLOC_HEAD);
}
