/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client's settings as words: tmemd.conf, the control protocol and
 * tmem-admin all write "cap = 64M" and "compress = lz4" alike.
 *
 * Threading: pure functions.
 */
#ifndef TMEMD_SETTING_H
#define TMEMD_SETTING_H

#include <stddef.h>
#include <tmem/store.h>
#include "error.h"

/** Room for any setting's value. */
#define TMEMD_SETTING_MAX 24u

/** Keys in the order they are shown: "weight", "cap", "maxmem", "compress",
 * "dedup"; NULL past the last. */
const char *tmemd_setting_key(size_t i);

/**
 * Put key = value into settings and mark it set. Returns 0; -ENOENT for no
 * such key; -EINVAL for a bad value; error (TMEMD_ERROR_MAX bytes) says why.
 */
int tmemd_setting_parse(struct tmem_client_settings *settings, const char *key,
			const char *value, char *error);

/** The value of key number i in words; sizes in bytes. Returns text. */
char *tmemd_setting_format(const struct tmem_client_settings *settings,
			   size_t i, char text[static TMEMD_SETTING_MAX]);

/** Codec of that name (raw, lz4, lzo or zstd); TMEM_CODEC_NONE for another. */
enum tmem_codec tmemd_setting_codec(const char *name);

/** "auto", "on" or "off". */
const char *tmemd_setting_dedup_name(enum tmem_dedup dedup);

#endif
