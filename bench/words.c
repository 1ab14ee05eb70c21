/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of options; see words.h. */
#include "words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void wrong(const char *option, const char *text, const char *remedy)
{
	fprintf(stderr, "%s: --%s %s: %s\n", program_invocation_short_name,
		option, text, remedy);
	exit(2);
}

double bench_words_number(const char *option, const char *text, double least,
			  double most)
{
	char *end, remedy[64];
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= least && value <= most)) {
		snprintf(remedy, sizeof(remedy),
			 "give a number from %.10g to %.10g", least, most);
		wrong(option, text, remedy);
	}
	return value;
}

unsigned bench_words_names(const char *option, char *list, int count,
			   const char *(*name_of)(int))
{
	unsigned bits = 0;
	char *rest = NULL, *name;
	int i;

	for (name = strtok_r(list, ",", &rest); name;
	     name = strtok_r(NULL, ",", &rest)) {
		for (i = 0; i < count && strcmp(name, name_of(i)) != 0; i++)
			;
		if (i == count)
			wrong(option, name, "unknown; --help lists them");
		bits |= 1u << i;
	}
	return bits;
}
