/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 128-bit uuids as text: 32 hexadecimal digits, with dashes in the usual
 * places or anywhere else between digits.
 *
 * Threading: pure functions.
 */
#ifndef TMEM_UUID_H
#define TMEM_UUID_H

#include <tmem/types.h>

/** Room for a formatted uuid. */
#define TMEM_UUID_TEXT 37u

/** Returns 0 or -EINVAL. */
int tmem_uuid_parse(const char *text, struct tmem_uuid *uuid);

/** Write the usual form, 8-4-4-4-12. Returns text. */
char *tmem_uuid_format(const struct tmem_uuid *uuid,
		       char text[static TMEM_UUID_TEXT]);

#endif
