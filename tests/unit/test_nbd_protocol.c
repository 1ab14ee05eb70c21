/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NBD messages byte by byte, and which requests are refused, with what. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include "protocol.h"

#define GIB (1ull << 30)

START_TEST(request_from_golden_bytes)
{
	static const uint8_t wire[NBD_REQUEST_SIZE] = {
		0x25, 0x60, 0x95, 0x13,				/* magic */
		0x00, 0x11,					/* flags */
		0x00, 0x06,					/* type */
		0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, /* cookie */
		0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, /* offset */
		0x21, 0x22, 0x23, 0x24,				/* length */
	};
	struct nbd_request request;

	ck_assert(nbd_request_decode(wire, &request));
	ck_assert_uint_eq(request.flags,
			  NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_FAST_ZERO);
	ck_assert_uint_eq(request.type, NBD_CMD_WRITE_ZEROES);
	ck_assert_uint_eq(request.cookie, 0x0102030405060708);
	ck_assert_uint_eq(request.offset, 0x1112131415161718);
	ck_assert_uint_eq(request.length, 0x21222324);
}
END_TEST

START_TEST(request_with_another_magic)
{
	uint8_t wire[NBD_REQUEST_SIZE] = {0x25, 0x60, 0x95, 0x14};
	struct nbd_request request;

	ck_assert(!nbd_request_decode(wire, &request));
}
END_TEST

START_TEST(replies_to_golden_bytes)
{
	static const uint8_t simple[] = {
		0x67, 0x44, 0x66, 0x98, 0x00, 0x00, 0x00, 0x1c,
		0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
	};
	static const uint8_t chunk[] = {
		0x66, 0x8e, 0x33, 0xef,				/* magic */
		0x00, 0x01,					/* DONE */
		0x80, 0x02,					/* type */
		0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, /* cookie */
		0x00, 0x00, 0x00, 0x0e,				/* length */
	};
	static const uint8_t option[] = {
		0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, /* magic */
		0x00, 0x00, 0x00, 0x07,				/* GO */
		0x80, 0x00, 0x00, 0x06,				/* UNKNOWN */
		0x00, 0x00, 0x00, 0x05,				/* length */
	};
	uint8_t wire[64];

	ck_assert_ptr_eq(
		nbd_put_simple_reply(wire, NBD_ENOSPC, 0x0102030405060708),
		wire + sizeof(simple));
	ck_assert_mem_eq(wire, simple, sizeof(simple));
	ck_assert_ptr_eq(nbd_put_chunk(wire, NBD_CHUNK_DONE,
				       NBD_CHUNK_ERROR_OFFSET,
				       0x0102030405060708, 14),
			 wire + sizeof(chunk));
	ck_assert_mem_eq(wire, chunk, sizeof(chunk));
	ck_assert_ptr_eq(
		nbd_put_option_reply(wire, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN, 5),
		wire + sizeof(option));
	ck_assert_mem_eq(wire, option, sizeof(option));
}
END_TEST

/** A request, the session it is made in, and what is to be said. */
static const struct judged {
	uint32_t type, flags;
	uint64_t offset;
	uint32_t length;
	enum nbd_error verdict;
	bool read_only, structured, status;
} judged[] = {
	{NBD_CMD_READ, 0, 0, 1, .verdict = NBD_SUCCESS},
	{NBD_CMD_READ, 0, GIB - 1, 1, .verdict = NBD_SUCCESS},
	{NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX, .verdict = NBD_SUCCESS},
	{NBD_CMD_READ, 0, 0, NBD_PAYLOAD_MAX + 1, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0, 0, 0, .verdict = NBD_EINVAL},
	/* Past the end, by a byte, by far, and past 2^64. */
	{NBD_CMD_READ, 0, GIB - 1, 2, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0, GIB, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0, 1ull << 63, 4096, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0, UINT64_MAX, 4096, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0, UINT64_MAX - 4095, 4096, .verdict = NBD_EINVAL},
	{NBD_CMD_WRITE, 0, GIB - 1, 2, .verdict = NBD_ENOSPC},
	{NBD_CMD_WRITE, 0, 1ull << 63, 4096, .verdict = NBD_ENOSPC},
	{NBD_CMD_WRITE_ZEROES, 0, GIB, 1, .verdict = NBD_ENOSPC},
	{NBD_CMD_TRIM, 0, GIB, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_CACHE, 0, GIB, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_BLOCK_STATUS, 0, GIB, 1, .status = true,
	 .verdict = NBD_EINVAL},
	/* Effect lengths have no limit, payloads have one. */
	{NBD_CMD_TRIM, 0, 0, GIB, .verdict = NBD_SUCCESS},
	{NBD_CMD_WRITE_ZEROES, 0, 0, GIB, .verdict = NBD_SUCCESS},
	{NBD_CMD_CACHE, 0, 0, GIB, .verdict = NBD_SUCCESS},
	{NBD_CMD_WRITE, 0, 0, NBD_PAYLOAD_MAX + 1, .verdict = NBD_EINVAL},
	/* Read-only comes before what else is wrong. */
	{NBD_CMD_WRITE, 0, 0, 1, .read_only = true, .verdict = NBD_EPERM},
	{NBD_CMD_TRIM, 0, GIB, 1, .read_only = true, .verdict = NBD_EPERM},
	{NBD_CMD_WRITE_ZEROES, 0, 0, 1, .read_only = true,
	 .verdict = NBD_EPERM},
	{NBD_CMD_READ, 0, 0, 1, .read_only = true, .verdict = NBD_SUCCESS},
	{NBD_CMD_FLUSH, 0, 0, 0, .read_only = true, .verdict = NBD_SUCCESS},
	{NBD_CMD_FLUSH, 0, 1, 0, .verdict = NBD_EINVAL},
	{NBD_CMD_FLUSH, 0, 0, 1, .verdict = NBD_EINVAL},
	/* Flags that a command does not have. */
	{NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 0, 1, .verdict = NBD_SUCCESS},
	{NBD_CMD_WRITE, NBD_CMD_FLAG_DF, 0, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_TRIM, NBD_CMD_FLAG_NO_HOLE, 0, 1, .verdict = NBD_EINVAL},
	/* FUA is valid for all, others where they mean something. */
	{NBD_CMD_CACHE, NBD_CMD_FLAG_FUA, 0, 1, .verdict = NBD_SUCCESS},
	{NBD_CMD_CACHE, NBD_CMD_FLAG_DF, 0, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, 0x8000, 0, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_WRITE_ZEROES, NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, 0,
	 1, .verdict = NBD_SUCCESS},
	/* Whole replies need structured ones, and have a limit. */
	{NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 65536, .verdict = NBD_EINVAL},
	{NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, 65536, .structured = true,
	 .verdict = NBD_SUCCESS},
	{NBD_CMD_READ, NBD_CMD_FLAG_DF, 0, NBD_DF_MAX + 1, .structured = true,
	 .verdict = NBD_EOVERFLOW},
	/* Block status must have been agreed on. */
	{NBD_CMD_BLOCK_STATUS, 0, 0, 1, .structured = true,
	 .verdict = NBD_EINVAL},
	{NBD_CMD_BLOCK_STATUS, NBD_CMD_FLAG_REQ_ONE, 0, GIB, .structured = true,
	 .status = true, .verdict = NBD_SUCCESS},
	/* Commands there are not. */
	{8, 0, 0, 1, .verdict = NBD_EINVAL},
	{0xffff, 0, 0, 1, .verdict = NBD_EINVAL},
	{NBD_CMD_DISC, 0xffff, 1, 1, .verdict = NBD_SUCCESS},
};

START_TEST(requests_are_judged)
{
	const struct judged *j = &judged[_i];
	const struct nbd_request request = {.type = (uint16_t)j->type,
					    .flags = (uint16_t)j->flags,
					    .offset = j->offset,
					    .length = j->length};
	const struct nbd_session session = {.size = GIB,
					    .read_only = j->read_only,
					    .structured = j->structured,
					    .status = j->status};

	ck_assert_int_eq(nbd_request_validate(&request, &session), j->verdict);
}
END_TEST

START_TEST(flags_follow_the_session)
{
	struct nbd_session session = {.size = GIB};
	uint16_t flags = nbd_export_flags(&session);

	/* nbdkit's and qemu's numbers, not ours. */
	ck_assert_uint_eq(flags, 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x100 | 0x400 |
					 0x800);
	session.structured = true;
	ck_assert_uint_eq(nbd_export_flags(&session), flags | 0x80);
	session.read_only = true;
	ck_assert_uint_eq(nbd_export_flags(&session),
			  0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x400);
}
END_TEST

START_TEST(errors_have_numbers)
{
	ck_assert_int_eq(nbd_error_from_errno(0), 0);
	ck_assert_int_eq(nbd_error_from_errno(-ENOSPC), 28);
	ck_assert_int_eq(nbd_error_from_errno(-EDQUOT), 28);
	ck_assert_int_eq(nbd_error_from_errno(-EFBIG), 28);
	ck_assert_int_eq(nbd_error_from_errno(-EIO), 5);
	ck_assert_int_eq(nbd_error_from_errno(-EOPNOTSUPP), 95);
	ck_assert_int_eq(nbd_error_from_errno(-EBADF), 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD protocol");
	TCase *tc = tcase_create("messages");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, request_from_golden_bytes);
	tcase_add_test(tc, request_with_another_magic);
	tcase_add_test(tc, replies_to_golden_bytes);
	tcase_add_loop_test(tc, requests_are_judged, 0,
			    sizeof(judged) / sizeof(*judged));
	tcase_add_test(tc, flags_follow_the_session);
	tcase_add_test(tc, errors_have_numbers);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
