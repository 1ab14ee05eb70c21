/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

void tmemd_error_write(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error, TMEMD_ERROR_MAX, format, args);
	va_end(args);
}
