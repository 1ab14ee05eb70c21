/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An attached client that does as told: attacher SOCKET NAME. It reads a
 * command a line and answers with a line, "ok" or a number, or "error NAME".
 *
 *	pool NAME [persistent] [UUID]	open a pool, which later commands use
 *	put FIRST COUNT [SALT]	put pages; how many were stored
 *	get FIRST COUNT [SALT]	get them, and end if one is wrong; hits
 *	flush FIRST COUNT	how many were held
 *	reattach
 *	quit
 *
 * A page is made from its index and salt, so that any run of this program can
 * check it. Every fourth does not compress.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/client.h>
#include "uuid.h"

static struct tmem_client *client;
static struct tmem_pool *pool;
static const struct tmem_oid oid = {{1, 2, 3}};

static void make_page(uint64_t *page, uint64_t index, uint64_t salt)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ salt;
	unsigned words = index % 4 == 0 ? TMEM_PAGE_SIZE / 8 : 64;

	for (unsigned i = 0; i < TMEM_PAGE_SIZE / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		page[i] = i < words ? x : index;
	}
}

static void answer(int r)
{
	if (r < 0)
		printf("error %s\n", strerrorname_np(-r));
	else
		printf("%d\n", r);
}

static int open_pool(char *arguments)
{
	struct tmem_pool_config config = {.name = strtok(arguments, " ")};
	const char *word;

	if (config.name == NULL)
		return -EINVAL;
	while ((word = strtok(NULL, " ")) != NULL) {
		if (strcmp(word, "persistent") == 0)
			config.flags |= TMEM_POOL_PERSISTENT;
		else if (tmem_uuid_parse(word, &config.uuid) == 0)
			config.flags |= TMEM_POOL_SHARED;
	}
	return tmem_pool_new(client, &config, &pool);
}

static int put(unsigned long first, unsigned long count, unsigned long salt)
{
	uint64_t page[TMEM_PAGE_SIZE / 8];
	int r, stored = 0;

	for (unsigned long i = first; i < first + count; i++) {
		make_page(page, i, salt);
		r = tmem_put(pool, &oid, (uint32_t)i, page);
		if (r < 0)
			return r;
		stored += r == TMEM_OK;
	}
	return stored;
}

static int get(unsigned long first, unsigned long count, unsigned long salt)
{
	uint64_t page[TMEM_PAGE_SIZE / 8], right[TMEM_PAGE_SIZE / 8];
	int r, hits = 0;

	for (unsigned long i = first; i < first + count; i++) {
		r = tmem_get(pool, &oid, (uint32_t)i, page);
		if (r < 0)
			return r;
		if (r != TMEM_OK)
			continue;
		hits++;
		make_page(right, i, salt);
		if (memcmp(page, right, sizeof(page)) != 0) {
			printf("page %lu is wrong\n", i);
			exit(EXIT_FAILURE);
		}
	}
	return hits;
}

static int command(char *line)
{
	unsigned long first = 0, count = 0, salt = 0;
	char *arguments = strchrnul(line, ' ');

	if (*arguments != '\0')
		*arguments++ = '\0';
	if (strcmp(line, "reattach") == 0)
		return tmem_client_reattach(client);
	if (strcmp(line, "pool") == 0)
		return open_pool(arguments);
	if (pool == NULL ||
	    sscanf(arguments, "%lu %lu %lu", &first, &count, &salt) < 2)
		return -EINVAL;
	if (strcmp(line, "put") == 0)
		return put(first, count, salt);
	if (strcmp(line, "get") == 0)
		return get(first, count, salt);
	if (strcmp(line, "flush") == 0)
		return tmem_flush_run(pool, &oid, (uint32_t)first, count);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct tmem_client_config config = {.name = argc == 3 ? argv[2] : NULL};
	char line[256];
	int r;

	if (argc != 3) {
		fputs("usage: attacher SOCKET NAME\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = tmem_client_attach(argv[1], &config, &client);
	answer(r);
	if (r < 0)
		return EXIT_FAILURE;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strcmp(line, "quit") == 0)
			break;
		answer(command(line));
	}
	tmem_pool_free(pool);
	tmem_client_free(client);
	return EXIT_SUCCESS;
}
