/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The arena's records, byte by byte: an arena made by one build is reopened by
 * another, so what these tests pin may change only with the arena's version.
 * (The header's bytes are pinned in test_arena.c.)
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "records.h"

/* Numbers are in the byte order of the machine; the bytes below are those of a
 * little-endian one, and so are all machines this is tested on. */
#define EXPECT(record, golden)                                                 \
	do {                                                                   \
		ck_assert_uint_le(sizeof(golden), sizeof(record));             \
		ck_assert_mem_eq(&(record), golden, sizeof(golden));           \
		for (size_t i = sizeof(golden); i < sizeof(record); i++)       \
			ck_assert_uint_eq(((uint8_t *)&(record))[i], 0);       \
	} while (0)

START_TEST(client_record)
{
	/* clang-format off */
	static const uint8_t golden[] = {
		0x05, 0x04, 0x00, 0x00, /* id: use 1, slot 5 */
		0x01, 0x00, 0x00, 0x00, /* uses */
		0xe8, 0x03, 0x00, 0x00, /* uid 1000 */
		0x64, 0x00, 0x00, 0x00, /* weight 100 */
		0x00, 0x00, 0x00, 0x40, 0, 0, 0, 0, /* cap 1 GiB */
		0x00, 0x00, 0x00, 0x00, 2, 0, 0, 0, /* maxmem 8 GiB */
		0x05,		/* codec: zstd */
		0x01,		/* dedup: on */
		0x01,		/* frozen */
		0x00,		/* */
		0x07, 0x00,	/* domain */
		0x00, 0x00,	/* */
		'g', 'u', 'e', 's', 't', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		'b', 'l', 'u', 'e', /* domain's name */
	};
	/* clang-format on */
	struct tmem_client_record record = {
		.id = 1u << TMEM_CLIENT_SLOT_BITS | 5,
		.uses = 1,
		.uid = 1000,
		.weight = 100,
		.cap = 1ull << 30,
		.maxmem = 8ull << 30,
		.codec = TMEM_CODEC_ZSTD,
		.dedup = TMEM_DEDUP_ON,
		.frozen = 1,
		.domain = 7,
		.name = "guest",
		.domain_name = "blue",
	};

	EXPECT(record, golden);
	ck_assert_uint_eq(sizeof(record), 256);
}
END_TEST

START_TEST(pool_record)
{
	/* clang-format off */
	static const uint8_t golden[] = {
		0x03, 0x20, 0x00, 0x00, /* id: use 2, slot 3 */
		0x02, 0x00, 0x00, 0x00, /* uses */
		0x05, 0x04, 0x00, 0x00, /* client */
		0x03, 0x00, 0x00, 0x00, /* flags: persistent, shared */
		0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, /* uuid */
		0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
		0x04,		/* codec: lzo */
		0x02,		/* dedup: off */
		0x07, 0x00,	/* domain */
		0x00, 0x00, 0x00, 0x00,
		's', 'w', 'a', 'p', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		'r', 'e', 'd', /* domain's name */
	};
	/* clang-format on */
	struct tmem_pool_record record = {
		.id = 2u << TMEM_POOL_SLOT_BITS | 3,
		.uses = 2,
		.client = 1u << TMEM_CLIENT_SLOT_BITS | 5,
		.flags = TMEM_POOL_PERSISTENT | TMEM_POOL_SHARED,
		.codec = TMEM_CODEC_LZO,
		.dedup = TMEM_DEDUP_OFF,
		.domain = 7,
		.name = "swap",
		.domain_name = "red",
	};

	for (unsigned i = 0; i < 16; i++)
		record.uuid.byte[i] = (uint8_t)(0xa0 + i);
	EXPECT(record, golden);
	ck_assert_uint_eq(sizeof(record), 256);
}
END_TEST

START_TEST(auth_record)
{
	/* clang-format off */
	static const uint8_t golden[] = {
		0x01, 0x00, 0x00, 0x00, /* used */
		0xe8, 0x03, 0x00, 0x00, /* uid 1000 */
		0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, /* uuid */
		0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x00,
		'g', 'u', 'e', 's', 't', /* client's name */
	};
	/* clang-format on */
	struct tmem_auth_record record = {
		.used = 1,
		.uid = 1000,
		.name = "guest",
	};

	for (unsigned i = 0; i < 16; i++)
		record.uuid.byte[i] = (uint8_t)(15 - i);
	EXPECT(record, golden);
	ck_assert_uint_eq(sizeof(record), 128);
}
END_TEST

START_TEST(object_and_leaf)
{
	/* clang-format off */
	static const uint8_t golden_object[] = {
		0x03, 0x20, 0x00, 0x00, /* pool */
		0x00, 0x00, 0x00, 0x00, /* chain: derived */
		0x00, 0x00, 0x00, 0x00, /* leaf: derived */
		0x00, 0x00, 0x00, 0x00, /* leaves: derived */
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* oid */
		0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};
	static const uint8_t golden_leaf[] = {
		0x09, 0x00, 0x00, 0x00, /* object */
		0xff, 0xff, 0xff, 0x1f, /* block: of the last index */
		0x01, 0x00, 0x00, 0x00, /* content of index 0 of the block */
		0x00, 0x00, 0x00, 0x00, /* none */
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00,
		0x04, 0x03, 0x02, 0x01, /* content of index 7 */
	};
	/* clang-format on */
	struct tmem_object object = {
		.pool = 2u << TMEM_POOL_SLOT_BITS | 3,
		.oid = {{0x1122334455667788, 2, 3}},
	};
	struct tmem_leaf leaf = {
		.object = 9,
		.block = UINT32_MAX / TMEM_LEAF_PAGES,
		.content = {[0] = 1, [7] = 0x01020304},
	};

	EXPECT(object, golden_object);
	EXPECT(leaf, golden_leaf);
	ck_assert_uint_eq(sizeof(object), 40);
	ck_assert_uint_eq(sizeof(leaf), 64);
}
END_TEST

static void expect_word(struct tmem_content_word w, uint64_t golden)
{
	struct tmem_content_word back = tmem_word_unpack(golden);

	ck_assert_uint_eq(tmem_word_pack(w), golden);
	ck_assert_uint_eq(back.place, w.place);
	ck_assert_uint_eq(back.size, w.size);
	ck_assert_uint_eq(back.codec, w.codec);
	ck_assert_uint_eq(back.kind, w.kind);
	ck_assert_uint_eq(back.domain, w.domain);
}

/* domain 12 | kind 1 | codec 3 | size - 1 12 | place 36 */
START_TEST(content_word)
{
	expect_word((struct tmem_content_word){.place = 1,
					       .size = 1,
					       .codec = TMEM_CODEC_LZ4,
					       .kind = TMEM_EPHEMERAL,
					       .domain = 0},
		    0x0003000000000001);
	expect_word((struct tmem_content_word){.place = 0x123456789,
					       .size = 4096,
					       .codec = TMEM_CODEC_RAW,
					       .kind = TMEM_PERSISTENT,
					       .domain = 1},
		    0x001afff123456789);
	expect_word((struct tmem_content_word){.place = 0xfffffffff,
					       .size = 0x701,
					       .codec = TMEM_CODEC_ZSTD,
					       .kind = TMEM_PERSISTENT,
					       .domain = 4095},
		    0xfffd700fffffffff);
	expect_word((struct tmem_content_word){.codec = TMEM_CODEC_FILL,
					       .kind = TMEM_EPHEMERAL,
					       .domain = 2},
		    0x0021000000000000);
	ck_assert_int_eq(TMEM_CODEC_FILL, 1);
	ck_assert_int_eq(TMEM_CODEC_RAW, 2);
	ck_assert_int_eq(TMEM_CODEC_LZ4, 3);
	ck_assert_int_eq(TMEM_CODEC_LZO, 4);
	ck_assert_int_eq(TMEM_CODEC_ZSTD, 5);
}
END_TEST

START_TEST(content_meta)
{
	/* clang-format off */
	static const uint8_t golden[] = {
		0xef, 0xcd, 0xab, 0x89, /* hash, or low half of a fill */
		0x00, 0x00, 0x00, 0x00, /* references: derived */
		0x67, 0x45, 0x23, 0x01, /* chain (derived), or high half */
	};
	/* clang-format on */
	struct tmem_meta meta = {.hash = 0x89abcdef, .chain = 0x01234567};

	EXPECT(meta, golden);
	ck_assert_uint_eq(tmem_meta_fill(&meta), 0x0123456789abcdef);
	ck_assert_uint_eq(sizeof(meta), 12);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("format");
	TCase *tests = tcase_create("format");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_test(tests, client_record);
	tcase_add_test(tests, pool_record);
	tcase_add_test(tests, auth_record);
	tcase_add_test(tests, object_and_leaf);
	tcase_add_test(tests, content_word);
	tcase_add_test(tests, content_meta);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
