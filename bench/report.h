/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Results, by paths such as "calls/1/get-raw/p50_ns": what the JSON holds and
 * what the goals are computed from. One thread.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <jansson.h>
#include <stddef.h>

/** Note a number; objects on its path are made. Not a number: a null. */
void bench_set(json_t *report, double value, const char *path, ...)
	__attribute__((format(printf, 3, 4)));

/** The number noted there, NAN when there is none. */
double bench_get(const json_t *report, const char *path, ...)
	__attribute__((format(printf, 2, 3)));

/** The median of so many numbers, which are put in order. */
double bench_median(double *numbers, size_t count);

#endif
