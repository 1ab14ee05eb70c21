/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes as people write and read them: 64M, 1.5G, 4096. Units are powers of
 * 1024, written K, M, G or T, with or without iB or B after them.
 *
 * Threading: pure functions.
 */
#ifndef TMEM_SIZE_H
#define TMEM_SIZE_H

#include <stddef.h>
#include <stdint.h>

/** Room for any formatted size. */
#define TMEM_SIZE_TEXT 16u

/**
 * Bytes that text names, in full ("64M", "1.5 GiB", "4096"). Returns 0;
 * -EINVAL when text is no size; -ERANGE when it passes 2^64 - 1.
 */
int tmem_size_parse(const char *text, uint64_t *bytes);

/** Write bytes for people: four characters at most and a unit ("12.3M",
 * "980K", "512"). Returns text. */
char *tmem_size_format(uint64_t bytes, char text[static TMEM_SIZE_TEXT]);

#endif
