/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "size.h"

/* A short-lived program has nothing better to do without memory than end. */
static void *table_grow(void *old, size_t count, size_t size)
{
	void *grown = reallocarray(old, count, size);

	if (grown == NULL) {
		fputs("tmem-admin: out of memory\n", stderr);
		exit(EXIT_FAILURE);
	}
	return grown;
}

void admin_table_init(struct admin_table *table)
{
	*table = (struct admin_table){0};
}

void admin_table_deinit(struct admin_table *table)
{
	for (size_t i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table->number);
}

void admin_table_cell(struct admin_table *table, const char *text)
{
	size_t length = strlen(text) + 1;

	table->cell =
		table_grow(table->cell, table->cells + 1, sizeof(*table->cell));
	table->cell[table->cells] =
		memcpy(table_grow(NULL, length, 1), text, length);
	table->cells++;
}

void admin_table_heading(struct admin_table *table, const char *text,
			 bool number)
{
	table->number = table_grow(table->number, table->columns + 1,
				   sizeof(*table->number));
	table->number[table->columns++] = number;
	admin_table_cell(table, text);
}

void admin_table_json(struct admin_table *table, const json_t *value,
		      bool bytes)
{
	char text[32] = "-";

	if (json_is_string(value)) {
		admin_table_cell(table, json_string_value(value));
		return;
	}
	if (json_is_boolean(value))
		strcpy(text, json_is_true(value) ? "yes" : "no");
	else if (json_is_integer(value) && bytes)
		tmem_size_format((uint64_t)json_integer_value(value), text);
	else if (json_is_integer(value))
		snprintf(text, sizeof(text), "%" PRIu64,
			 (uint64_t)json_integer_value(value));
	admin_table_cell(table, text);
}

static int table_width(const struct admin_table *table, size_t column)
{
	size_t width = 0, length;

	for (size_t i = column; i < table->cells; i += table->columns) {
		length = strlen(table->cell[i]);
		width = length > width ? length : width;
	}
	return (int)width;
}

void admin_table_print(const struct admin_table *table)
{
	size_t column;
	int width;

	for (size_t i = 0; i < table->cells; i++) {
		column = i % table->columns;
		width = table_width(table, column);
		/* Nothing follows the last column: no blanks after it. */
		if (!table->number[column])
			width = column + 1 < table->columns ? -width : 0;
		printf("%*s%s", width, table->cell[i],
		       column + 1 < table->columns ? "  " : "\n");
	}
}
