/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy.h"

const struct policy *const policies[] = {
	&policy_fifo,	    &policy_lru,	&policy_clock,
	&policy_sieve,	    &policy_s3fifo,	&policy_s3fifo_hits,
	&policy_2q,	    &policy_arc,	&policy_store_sieve,
	&policy_store_way0, &policy_store_way1, &policy_store_way2,
	&policy_store,	    &policy_real_store, NULL,
};
