/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

static const char record_magic[8] = "tmemexp1";

/* One page, as it lies in the pool. */
union record {
	struct {
		char magic[sizeof(record_magic)];
		uint32_t uid;
		uint32_t keep;
		char name[TMEM_NAME_MAX];
	};
	uint8_t page[TMEM_PAGE_SIZE];
};

_Static_assert(sizeof(union record) == TMEM_PAGE_SIZE, "a record is a page");

int tmemd_records_init(struct tmemd_records *records, struct tmem_store *store)
{
	static const struct tmem_pool_config config = {
		.name = "exports", .flags = TMEM_POOL_PERSISTENT};
	const struct tmem_client_config own = {.name = "tmemd",
					       .uid = geteuid()};
	int r;

	*records = (struct tmemd_records){0};
	r = tmem_client_new_local(store, &own, &records->client);
	if (r == 0)
		r = tmem_pool_new(records->client, &config, &records->pool);
	if (r < 0)
		tmemd_records_deinit(records);
	return r;
}

void tmemd_records_deinit(struct tmemd_records *records)
{
	records->pool = tmem_pool_free(records->pool);
	records->client = tmem_client_free(records->client);
}

static struct tmem_oid record_oid(uid_t uid, const char *name)
{
	XXH128_hash_t hash = XXH3_128bits(name, strlen(name));

	return (struct tmem_oid){{uid, hash.low64, hash.high64}};
}

int tmemd_records_put(struct tmemd_records *records, uid_t uid,
		      const char *name, bool keep)
{
	struct tmem_oid oid = record_oid(uid, name);
	union record record;
	bool known;

	/* A keeper that comes back must not need room for this. */
	if (tmemd_records_get(records, uid, name, &known) && known == keep)
		return 0;
	memset(&record, 0, sizeof(record));
	memcpy(record.magic, record_magic, sizeof(record.magic));
	record.uid = uid;
	record.keep = keep;
	strncpy(record.name, name, sizeof(record.name) - 1);
	return tmem_replace_run(records->pool, &oid, 0, 1, record.page, NULL) ==
			       1
		       ? 0
		       : -ENOSPC;
}

bool tmemd_records_get(struct tmemd_records *records, uid_t uid,
		       const char *name, bool *keep)
{
	struct tmem_oid oid = record_oid(uid, name);
	union record record;

	if (tmem_get(records->pool, &oid, 0, record.page) != TMEM_OK ||
	    memcmp(record.magic, record_magic, sizeof(record.magic)) != 0 ||
	    record.uid != uid ||
	    strncmp(record.name, name, sizeof(record.name)) != 0)
		return false;
	*keep = record.keep != 0;
	return true;
}

void tmemd_records_forget(struct tmemd_records *records, uid_t uid,
			  const char *name)
{
	struct tmem_oid oid = record_oid(uid, name);

	tmem_flush(records->pool, &oid, 0);
}
