/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why something was refused, as one line for people: place, value, remedy.
 *
 * Threading: any thread; the text is the caller's.
 */
#ifndef TMEMD_ERROR_H
#define TMEMD_ERROR_H

/** Room for a text. */
#define TMEMD_ERROR_MAX 512u

/** Write a text of TMEMD_ERROR_MAX bytes and return code (-errno), so that a
 * function can end with it. */
int tmemd_error(char *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
