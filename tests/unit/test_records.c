/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena's records, byte by byte. A change here is another version of the
 * arena's format (arena.c): stores that were saved by the version before could
 * not be reopened.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "records.h"
#include "slab-priv.h"

/* clang-format off */
static const uint8_t golden_client[TMEM_CLIENT_RECORD] = {
	1, 4, 0, 0,		/* id: second use of slot 1 */
	2, 0, 0, 0,		/* uses */
	0xe8, 3, 0, 0,		/* uid 1000 */
	100, 0, 0, 0,		/* weight */
	0, 0, 0x10, 0, 0, 0, 0, 0,	/* cap: 1 MiB */
	0, 0, 0x20, 0, 0, 0, 0, 0,	/* maxmem: 2 MiB */
	3,			/* codec: LZ4 */
	2,			/* dedup: off */
	1,			/* frozen */
	0,
	5, 0,			/* domain */
	0, 0,
	/* name, 64 bytes, at 44 */
	'g', 'u', 'e', 's', 't', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* domain's name, 64 bytes, at 108 */
	'a', 'c', 'm', 'e', 0,
};

static const uint8_t golden_pool[TMEM_POOL_RECORD] = {
	3, 0x10, 0, 0,		/* id: second use of slot 3 */
	2, 0, 0, 0,		/* uses */
	1, 4, 0, 0,		/* client; 0 for a shared pool */
	3, 0, 0, 0,		/* flags: persistent, shared */
	/* uuid */
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	5,			/* codec: zstd */
	1,			/* dedup: on */
	5, 0,			/* domain */
	0, 0, 0, 0,
	/* name, 64 bytes, at 40 */
	's', 'w', 'a', 'p', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	/* domain's name, 64 bytes, at 104 */
	'a', 'c', 'm', 'e', 0,
};

static const uint8_t golden_auth[TMEM_AUTH_RECORD] = {
	1, 0, 0, 0,		/* used */
	0xe8, 3, 0, 0,		/* uid */
	/* uuid */
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
	'g', 'u', 'e', 's', 't', 0, /* the client's name, 64 bytes */
};

/* Of these only what is not derived: the rest may be anything. */
static const uint8_t golden_object[40] = {
	3, 0x10, 0, 0,		/* pool */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* derived */
	1, 0, 0, 0, 0, 0, 0, 0,	/* object id */
	2, 0, 0, 0, 0, 0, 0, 0,
	8, 7, 6, 5, 4, 3, 2, 1,
};

static const uint8_t golden_leaf[64] = {
	7, 0, 0, 0,		/* object */
	0xff, 0xff, 0xff, 0x1f,	/* block: the last */
	1, 0, 0, 0,		/* content of its first page */
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0xef, 0xff,	/* and of its last */
};

static const uint8_t golden_meta[12] = {
	4, 3, 2, 1,		/* hash, or the fill value's low half */
	0, 0, 0, 0,		/* derived */
	8, 7, 6, 5,		/* the fill value's high half */
};

static const struct {
	struct tmem_content_word word;
	uint64_t packed;
} golden_words[] = {
	{{.place = 0, .size = 4096, .codec = TMEM_CODEC_RAW,
	  .kind = TMEM_EPHEMERAL, .domain = 0}, 0x0002fff000000000},
	{{.place = 0x123456789, .size = 1, .codec = TMEM_CODEC_LZ4,
	  .kind = TMEM_PERSISTENT, .domain = 1}, 0x001b000123456789},
	{{.place = 0xfffffffff, .size = 3712, .codec = TMEM_CODEC_ZSTD,
	  .kind = TMEM_EPHEMERAL, .domain = 4095}, 0xfff5e7ffffffffff},
	{{.size = 0, .codec = TMEM_CODEC_FILL,
	  .kind = TMEM_PERSISTENT, .domain = 2}, 0x0029000000000000},
};
/* clang-format on */

static const struct tmem_uuid uuid = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};

START_TEST(client_record)
{
	struct tmem_client_record record = {
		.id = 1 << TMEM_CLIENT_SLOT_BITS | 1,
		.uses = 2,
		.uid = 1000,
		.weight = 100,
		.cap = 1 << 20,
		.maxmem = 2 << 20,
		.codec = TMEM_CODEC_LZ4,
		.dedup = TMEM_DEDUP_OFF,
		.frozen = 1,
		.domain = 5,
		.name = "guest",
		.domain_name = "acme",
	};

	ck_assert_mem_eq(&record, golden_client, sizeof(record));
}
END_TEST

START_TEST(pool_record)
{
	struct tmem_pool_record record = {
		.id = 1 << TMEM_POOL_SLOT_BITS | 3,
		.uses = 2,
		.client = 1025,
		.flags = TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED,
		.uuid = uuid,
		.codec = TMEM_CODEC_ZSTD,
		.dedup = TMEM_DEDUP_ON,
		.domain = 5,
		.name = "swap",
		.domain_name = "acme",
	};

	ck_assert_mem_eq(&record, golden_pool, sizeof(record));
}
END_TEST

START_TEST(auth_record)
{
	struct tmem_auth_record record = {
		.used = 1, .uid = 1000, .uuid = uuid, .name = "guest"};

	ck_assert_mem_eq(&record, golden_auth, sizeof(record));
}
END_TEST

START_TEST(object_leaf_and_meta)
{
	struct tmem_object object = {
		.pool = 0x1003,
		.oid.word = {1, 2, 0x0102030405060708},
	};
	struct tmem_leaf leaf = {
		.object = 7,
		.block = UINT32_MAX / TMEM_LEAF_PAGES,
		.content = {[0] = 1, [TMEM_LEAF_PAGES - 1] = 0xffef0000},
	};
	struct tmem_meta meta = {.hash = 0x01020304, .chain = 0x05060708};

	ck_assert_mem_eq(&object, golden_object, sizeof(object));
	ck_assert_mem_eq(&leaf, golden_leaf, sizeof(leaf));
	ck_assert_mem_eq(&meta, golden_meta, sizeof(meta));
}
END_TEST

START_TEST(content_words)
{
	struct tmem_content_word got;

	for (unsigned i = 0; i < sizeof(golden_words) / sizeof(*golden_words);
	     i++) {
		ck_assert_uint_eq(tmem_word_pack(golden_words[i].word),
				  golden_words[i].packed);
		got = tmem_word_unpack(golden_words[i].packed);
		ck_assert_uint_eq(got.place, golden_words[i].word.place);
		ck_assert_uint_eq(got.size, golden_words[i].word.size);
		ck_assert_uint_eq(got.codec, golden_words[i].word.codec);
		ck_assert_uint_eq(got.kind, golden_words[i].word.kind);
		ck_assert_uint_eq(got.domain, golden_words[i].word.domain);
	}
}
END_TEST

/* A byte a slab: 0, or 1 + class, and the kind on top. */
START_TEST(slab_map_bytes)
{
	ck_assert_uint_eq(slab_map_byte(TMEM_EPHEMERAL, 0), 0x01);
	ck_assert_uint_eq(slab_map_byte(TMEM_PERSISTENT, 0), 0x81);
	ck_assert_uint_eq(slab_map_byte(TMEM_PERSISTENT, SLAB_CLASSES - 1),
			  0x80 | 105);
	ck_assert(!slab_map_valid(0));
	ck_assert(!slab_map_valid(0x80));
	ck_assert(!slab_map_valid(106));
	ck_assert(slab_map_valid(0x80 | 105));
}
END_TEST

/* What the classes are: bytes a slot, pages a slab. */
START_TEST(slab_classes)
{
	uint64_t sum = 14695981039346656037u; /* FNV-1a, of numbers */

	for (unsigned i = 0; i < SLAB_CLASSES; i++) {
		sum = (sum ^ slab_slot_bytes(i)) * 1099511628211u;
		sum = (sum ^ slab_pages(i)) * 1099511628211u;
	}
	ck_assert_uint_eq(sum, 2829790534336394535u);
	ck_assert_uint_eq(slab_slot_bytes(0), 32);
	ck_assert_uint_eq(slab_pages(0), 8);
	ck_assert_uint_eq(slab_slot_bytes(50), 1024);
	ck_assert_uint_eq(slab_slots(50), 32);
	ck_assert_uint_eq(slab_slot_bytes(101), 4096);
	ck_assert_uint_eq(slab_pages(101), 16);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("records");
	TCase *tc = tcase_create("records");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, client_record);
	tcase_add_test(tc, pool_record);
	tcase_add_test(tc, auth_record);
	tcase_add_test(tc, object_leaf_and_meta);
	tcase_add_test(tc, content_words);
	tcase_add_test(tc, slab_map_bytes);
	tcase_add_test(tc, slab_classes);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
