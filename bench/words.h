/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments of options on command lines. What is wrong is said, and ends the
 * program with status 2. One thread. */
#ifndef BENCH_WORDS_H
#define BENCH_WORDS_H

/** The number that text is. */
double bench_words_number(const char *option, const char *text, double least,
			  double most);

/** Bits of the names in a list, separated by commas, which is changed; there
 * are count names. */
unsigned bench_words_names(const char *option, char *list, int count,
			   const char *(*name_of)(int));

#endif
