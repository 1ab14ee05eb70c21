/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char size_units[] = "KMGT";

/* Power of 1024 that a unit stands for ("", "B", "K", "KB", "KiB", ...). */
static int size_shift(const char *unit, unsigned *shift)
{
	const char *at;

	*shift = 0;
	if (*unit != '\0' && strcasecmp(unit, "b") != 0) {
		at = strchr(size_units, toupper((unsigned char)*unit));
		if (at == NULL)
			return -EINVAL;
		*shift = 10 * (unsigned)(at - size_units + 1);
		unit++;
	}
	if (*unit == '\0' || strcasecmp(unit, "b") == 0 ||
	    (*shift != 0 && strcasecmp(unit, "ib") == 0))
		return 0;
	return -EINVAL;
}

/* Decimal digits of *text into *value; *digits counts them. */
static int size_digits(const char **text, uint64_t *value, unsigned *digits)
{
	*value = 0;
	for (*digits = 0; isdigit((unsigned char)**text); (*text)++, ++*digits)
		if (__builtin_mul_overflow(*value, 10u, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(**text - '0'),
					   value))
			return -ERANGE;
	return 0;
}

int tmem_size_parse(const char *text, uint64_t *bytes)
{
	uint64_t whole, part = 0, scale = 1;
	unsigned digits, part_digits = 0, shift;
	int r;

	r = size_digits(&text, &whole, &digits);
	if (r < 0 || digits == 0)
		return r < 0 ? r : -EINVAL;
	if (*text == '.') {
		text++;
		r = size_digits(&text, &part, &part_digits);
		/* Past nine places a fraction is below any unit's grain. */
		if (r < 0 || part_digits == 0 || part_digits > 9)
			return -EINVAL;
	}
	for (unsigned i = 0; i < part_digits; i++)
		scale *= 10;
	if (*text == ' ')
		text++;
	r = size_shift(text, &shift);
	if (r < 0 || (part_digits > 0 && shift == 0))
		return -EINVAL;
	if (whole > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = (whole << shift) +
		 (uint64_t)(((unsigned __int128)part << shift) / scale);
	return 0;
}

char *tmem_size_format(uint64_t bytes, char text[static TMEM_SIZE_TEXT])
{
	unsigned shift = 0, unit = 0;
	double value;

	while (bytes >> shift >= 1024 && unit < strlen(size_units)) {
		shift += 10;
		unit++;
	}
	value = (double)bytes / (double)(1ull << shift);
	if (unit == 0)
		snprintf(text, TMEM_SIZE_TEXT, "%u", (unsigned)bytes);
	else
		snprintf(text, TMEM_SIZE_TEXT, "%.*f%c", value < 100 ? 1 : 0,
			 value, size_units[unit - 1]);
	return text;
}
