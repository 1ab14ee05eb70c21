/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Results by paths; see report.h. */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MOST 128

static json_t *number(double value)
{
	if (!isfinite(value))
		return json_null();
	if (value == floor(value) && fabs(value) < 1e15)
		return json_integer((json_int_t)value);
	return json_real(value);
}

void bench_set(json_t *report, double value, const char *path, ...)
{
	char buffer[PATH_MOST], *name = buffer, *slash;
	va_list arguments;

	va_start(arguments, path);
	vsnprintf(buffer, sizeof(buffer), path, arguments);
	va_end(arguments);
	while ((slash = strchr(name, '/'))) {
		json_t *next;

		*slash = '\0';
		next = json_object_get(report, name);
		if (!next) {
			next = json_object();
			json_object_set_new(report, name, next);
		}
		report = next;
		name = slash + 1;
	}
	if (json_object_set_new(report, name, number(value))) {
		fprintf(stderr, "%s: cannot note \"%s\": no memory\n",
			program_invocation_short_name, name);
		exit(1);
	}
}

double bench_get(const json_t *report, const char *path, ...)
{
	char buffer[PATH_MOST], *name, *rest = NULL;
	va_list arguments;

	va_start(arguments, path);
	vsnprintf(buffer, sizeof(buffer), path, arguments);
	va_end(arguments);
	for (name = strtok_r(buffer, "/", &rest); name;
	     name = strtok_r(NULL, "/", &rest))
		report = json_object_get(report, name);
	return json_is_number(report) ? json_number_value(report) : NAN;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *numbers, size_t count)
{
	qsort(numbers, count, sizeof(*numbers), compare);
	return (numbers[(count - 1) / 2] + numbers[count / 2]) / 2;
}
