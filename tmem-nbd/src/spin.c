/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Spinning that stops where it does not pay. */
#include "spin.h"
#include <sched.h>
#include <time.h>

/** Others are on this processor when two looks are further apart. */
#define CROWDED_NS 100000

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fail(struct nbd_spin *spin)
{
	spin->rest = spin->rest ? 2 * spin->rest : 1;
	if (spin->rest > NBD_SPIN_REST)
		spin->rest = NBD_SPIN_REST;
	spin->skip = spin->rest;
}

bool nbd_spin_begin(struct nbd_spin *spin)
{
	if (spin->skip) {
		spin->skip--;
		return false;
	}
	spin->last = now_ns();
	spin->end = spin->last + NBD_SPIN_NS;
	return true;
}

bool nbd_spin_again(struct nbd_spin *spin)
{
	int64_t now;

	sched_yield();
	now = now_ns();
	if (now >= spin->end || now - spin->last > CROWDED_NS) {
		fail(spin);
		return false;
	}
	spin->last = now;
	return true;
}

void nbd_spin_found(struct nbd_spin *spin)
{
	spin->rest = 0;
}
