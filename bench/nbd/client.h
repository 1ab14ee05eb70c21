/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients that load a server: the one here (load.h), fio and qemu-img. One
 * thread.
 */
#ifndef BENCH_NBD_CLIENT_H
#define BENCH_NBD_CLIENT_H

#include "load.h"

/** Runs a load and sets all of loaded, of which only the client here knows
 * latencies. The set is what that one writes. */
typedef void bench_client(const struct bench_server *server,
			  const struct bench_load *load,
			  struct bench_pages *set, struct bench_loaded *loaded);

bench_client bench_client_own;

/** fio's engine by libnbd; pages of which half is random. No ramp. */
bench_client bench_client_fio;

/** QEMU's own client, in one process: one job, and either reads or writes, of
 * pages full of one byte. No ramp. As many requests as took the seconds the
 * last time (loaded->iops before), so the first turn may be longer. */
bench_client bench_client_qemu_img;

#endif
