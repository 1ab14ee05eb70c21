/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A table of text in aligned columns: words to the left, numbers to the right.
 *
 * Threading: one thread. Lifetime: init, headings, rows, print, deinit.
 */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct admin_table {
	size_t columns;
	size_t cells; /* headings first, then row by row */
	char **cell;
	bool *number; /* a column each */
};

void admin_table_init(struct admin_table *table);
void admin_table_deinit(struct admin_table *table);

/** Add a column; all of them before the first row. text is copied. */
void admin_table_heading(struct admin_table *table, const char *text,
			 bool number);

/** Add the next cell of the current row. text is copied. */
void admin_table_cell(struct admin_table *table, const char *text);

/** Add a cell from a reply: a string, number or truth; NULL is "-". A size
 * (bytes) is written for people. */
void admin_table_json(struct admin_table *table, const json_t *value,
		      bool bytes);

/** Print to stdout. */
void admin_table_print(const struct admin_table *table);

#endif
