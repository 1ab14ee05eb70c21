/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "setting.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "codec.h"
#include "size.h"

#define WEIGHT_MAX 10000u

static const char *const setting_keys[] = {"weight", "cap", "maxmem",
					   "compress", "dedup"};
#define SETTING_KEYS (sizeof(setting_keys) / sizeof(*setting_keys))

static const char *const setting_dedup[] = {
	[TMEM_DEDUP_AUTO] = "auto",
	[TMEM_DEDUP_ON] = "on",
	[TMEM_DEDUP_OFF] = "off",
};

const char *tmemd_setting_key(size_t i)
{
	return i < SETTING_KEYS ? setting_keys[i] : NULL;
}

const char *tmemd_setting_dedup_name(enum tmem_dedup dedup)
{
	return setting_dedup[dedup];
}

enum tmem_codec tmemd_setting_codec(const char *name)
{
	for (int codec = TMEM_CODEC_RAW; codec < TMEM_CODEC_COUNT; codec++)
		if (strcmp(tmem_codec_name((enum tmem_codec)codec), name) == 0)
			return (enum tmem_codec)codec;
	return TMEM_CODEC_NONE;
}

static int setting_weight(const char *value, uint32_t *weight)
{
	unsigned long number;
	char *end;

	errno = 0;
	number = strtoul(value, &end, 10);
	if (errno != 0 || *value < '0' || *value > '9' || *end != '\0' ||
	    number < 1 || number > WEIGHT_MAX)
		return -EINVAL;
	*weight = (uint32_t)number;
	return 0;
}

static int setting_size(const char *value, uint64_t *bytes)
{
	if (strcmp(value, "none") == 0) {
		*bytes = 0;
		return 0;
	}
	return tmem_size_parse(value, bytes);
}

static int setting_compress(const char *value, enum tmem_codec *codec)
{
	enum tmem_codec found = TMEM_CODEC_NONE;

	if (strcmp(value, "off") == 0)
		found = TMEM_CODEC_RAW;
	else if (strcmp(value, "auto") != 0) {
		found = tmemd_setting_codec(value);
		if (found == TMEM_CODEC_NONE)
			return -EINVAL;
	}
	*codec = found;
	return 0;
}

static int setting_dedup_parse(const char *value, enum tmem_dedup *dedup)
{
	for (int i = TMEM_DEDUP_AUTO; i <= TMEM_DEDUP_OFF; i++)
		if (strcmp(setting_dedup[i], value) == 0) {
			*dedup = (enum tmem_dedup)i;
			return 0;
		}
	return -EINVAL;
}

int tmemd_setting_parse(struct tmem_client_settings *settings, const char *key,
			const char *value, char *error)
{
	const char *remedy;
	uint32_t bit;
	int r;

	if (strcmp(key, "weight") == 0) {
		bit = TMEM_SET_WEIGHT;
		r = setting_weight(value, &settings->weight);
		remedy = "give a number from 1 to 10000";
	} else if (strcmp(key, "cap") == 0) {
		bit = TMEM_SET_CAP;
		r = setting_size(value, &settings->cap);
		remedy = "give a size such as 64M, or none";
	} else if (strcmp(key, "maxmem") == 0) {
		bit = TMEM_SET_MAXMEM;
		r = setting_size(value, &settings->maxmem);
		remedy = "give a size such as 1G, or none";
	} else if (strcmp(key, "compress") == 0) {
		bit = TMEM_SET_CODEC;
		r = setting_compress(value, &settings->codec);
		remedy = "give auto, off, lz4, lzo or zstd";
	} else if (strcmp(key, "dedup") == 0) {
		bit = TMEM_SET_DEDUP;
		r = setting_dedup_parse(value, &settings->dedup);
		remedy = "give auto, on or off";
	} else {
		snprintf(
			error, TMEMD_ERROR_MAX,
			"there is no setting \"%s\": use weight, cap, maxmem, compress or dedup",
			key);
		return -ENOENT;
	}
	if (r < 0)
		return tmemd_error(error, -EINVAL, "%s \"%s\" is not valid: %s",
				   key, value, remedy);
	settings->set |= bit;
	return 0;
}

char *tmemd_setting_format(const struct tmem_client_settings *settings,
			   size_t i, char text[static TMEMD_SETTING_MAX])
{
	uint64_t number = i == 0   ? settings->weight
			  : i == 1 ? settings->cap
				   : settings->maxmem;
	const char *word = NULL;

	if (i == 3)
		word = settings->codec == TMEM_CODEC_NONE ? "auto"
		       : settings->codec == TMEM_CODEC_RAW
			       ? "off"
			       : tmem_codec_name(settings->codec);
	else if (i == 4)
		word = setting_dedup[settings->dedup];
	if (word != NULL)
		snprintf(text, TMEMD_SETTING_MAX, "%s", word);
	else
		snprintf(text, TMEMD_SETTING_MAX, "%" PRIu64, number);
	return text;
}
