/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work on names instead of bytes (BENCHMARKS.md). One thread. */
#ifndef BENCH_FS_NAMES_H
#define BENCH_FS_NAMES_H

#include "../report.h"
#include "mounts.h"
#include "options.h"

/** names/{create,open,rename,unlink,untar}/MOUNT: us a file; of the best of
 * libfuse's examples names/WORK/passthrough. */
void bench_names(const struct bench_options *options,
		 const struct bench_ground *ground, json_t *report);

#endif
