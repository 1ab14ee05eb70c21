/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes the store uses against the most it may. Charged before memory is
 * taken, uncharged after it is given back. Lock-free; any thread.
 */
#ifndef TMEM_BUDGET_H
#define TMEM_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tmem_budget {
	_Atomic(uint64_t) limit;
	/* Past the limit while it is being shrunk: puts stop at once, what
	 * makes contents smaller may go on. */
	_Atomic(uint64_t) slack;
	_Atomic(uint64_t) used;
	_Atomic(uint64_t) peak;
	_Atomic(uint64_t) private; /* of used: not in the arena */
	_Atomic(uint64_t) high;	   /* most private since the last trim, about */
};

void tmem_budget_init(struct tmem_budget *budget, uint64_t limit);
/** Charge bytes if they fit. Returns whether they did. */
bool tmem_budget_try_charge(struct tmem_budget *budget, uint64_t bytes);
/** Whether they would fit now. */
bool tmem_budget_fits(const struct tmem_budget *budget, uint64_t bytes);
/** Charge what cannot be refused: what a reopened arena holds, and records
 * without which pages could not be reached. */
void tmem_budget_charge(struct tmem_budget *budget, uint64_t bytes);
void tmem_budget_uncharge(struct tmem_budget *budget, uint64_t bytes);
/** Charge private memory that somebody else has allocated (if it fits; in any
 * case), and uncharge it. */
bool tmem_budget_try_charge_private(struct tmem_budget *budget, uint64_t bytes);
void tmem_budget_charge_private(struct tmem_budget *budget, uint64_t bytes);
void tmem_budget_uncharge_private(struct tmem_budget *budget, uint64_t bytes);
/** What moving and recoding contents needs to go on: what gets smaller has its
 * new slot before it gives back the old one. */
static inline uint64_t tmem_budget_spare(uint64_t limit)
{
	const uint64_t most = UINT64_C(2) << 20;

	return limit / 64 < most ? limit / 64 : most;
}

/** Bytes above the limit, or 0. */
uint64_t tmem_budget_excess(const struct tmem_budget *budget);
/** Whether puts are to stop: they leave the spare alone. Of what is used, idle
 * bytes are there for the taking. */
bool tmem_budget_full(const struct tmem_budget *budget, uint64_t idle);

/** Private memory: bytes of zeros, charged. NULL when the budget refuses or
 * there is no memory. Give it back with tmem_budget_free(), which must be told
 * the same bytes. */
void *tmem_budget_alloc(struct tmem_budget *budget, size_t bytes);
/** The same, past the limit if need be: for what is small, and without which
 * pages already held could not be reached. */
void *tmem_budget_alloc_always(struct tmem_budget *budget, size_t bytes);
/** Give memory that was freed, and that malloc keeps, back to the kernel, if
 * there is much. It waits for others' malloc and they for it: after much was
 * freed, with no lock held. */
void tmem_budget_trim(struct tmem_budget *budget);
/** ptr NULL is fine. */
void tmem_budget_free(struct tmem_budget *budget, void *ptr, size_t bytes);

#endif
