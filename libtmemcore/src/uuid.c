/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "uuid.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static unsigned uuid_digit(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : tolower(c) - 'a' + 10);
}

int tmem_uuid_parse(const char *text, struct tmem_uuid *uuid)
{
	struct tmem_uuid parsed = {0};
	unsigned digits = 0;

	for (; *text != '\0'; text++) {
		if (*text == '-' && digits > 0 &&
		    isxdigit((unsigned char)text[1]))
			continue;
		if (!isxdigit((unsigned char)*text) || digits == 32)
			return -EINVAL;
		parsed.byte[digits / 2] |=
			(uint8_t)(uuid_digit(*text) << (digits % 2 ? 0 : 4));
		digits++;
	}
	if (digits != 32)
		return -EINVAL;
	*uuid = parsed;
	return 0;
}

char *tmem_uuid_format(const struct tmem_uuid *uuid,
		       char text[static TMEM_UUID_TEXT])
{
	char *to = text;

	for (unsigned i = 0; i < sizeof(uuid->byte); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		to += sprintf(to, "%02x", uuid->byte[i]);
	}
	return text;
}
