/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake over a socket: byte by byte with clients that keep to it, and
 * with those that lie, talk without end, or not at all. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "nbd-client.h"

START_TEST(hello_is_answered_in_golden_bytes)
{
	static const char golden[] =
		"NBDMAGICIHAVEOPT\0\3"
		/* structured replies: ACK */
		"\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\10\0\0\0\1\0\0\0\0"
		/* contexts: base:allocation has id 1 */
		"\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\12\0\0\0\4\0\0\0\23"
		"\0\0\0\1base:allocation"
		/* contexts: ACK */
		"\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\12\0\0\0\1\0\0\0\0"
		/* GO: information on the export, 256 KiB and its flags */
		"\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\7\0\0\0\3\0\0\0\14"
		"\0\0\0\0\0\0\0\4\0\0\x0d\xed"
		/* GO: ACK */
		"\0\3\xe8\x89\4\x55\x65\xa9\0\0\0\7\0\0\0\1\0\0\0\0";

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say_hello();
	client_send();
	ck_assert_uint_eq(sizeof(golden) - 1, CLIENT_HELLO_ANSWER);
	client_hear_just(golden, sizeof(golden) - 1);
	client_end();
}
END_TEST

START_TEST(export_name_with_and_without_zeroes)
{
	static const uint8_t
		golden[NBD_EXPORT_NAME_SIZE + NBD_EXPORT_NAME_ZEROES] = {
			0, 0, 0, 0, 0, 4, 0, 0, 0x0d, 0x6d};

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE);
	client_say_option(NBD_OPT_EXPORT_NAME, "", 0);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	client_hear_just(golden, sizeof(golden));
	client_end();
	client_begin(false);
	client_end();
	/* Newstyle that is not fixed knows this option alone. */
	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(0);
	client_say_option(NBD_OPT_EXPORT_NAME, "disk", 4);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	client_hear_just(golden, sizeof(golden));
	client_end();
}
END_TEST

START_TEST(options_are_answered)
{
	static const uint8_t wrong_name[] = {0,	  0,   0,   4, 'd',
					     'i', 's', 'c', 0, 0};
	static const uint8_t all_contexts[] = {0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t infos[] = {0, 0, 0, 0, 0, 4, 0,
					0, 0, 1, 0, 2, 0, 3};
	uint8_t data[4096] = {0};
	uint32_t length;

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	/* LIST: name and description. */
	client_say_option(NBD_OPT_LIST, "", 0);
	client_send();
	ck_assert_uint_eq(client_hear_option(NBD_OPT_LIST, data, &length),
			  NBD_REP_SERVER);
	ck_assert_mem_eq(data, "\0\0\0\4diska disk", 14);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_LIST, NULL, &length),
			  NBD_REP_ACK);
	/* Contexts need structured replies first. */
	ck_assert_uint_eq(
		client_ask(NBD_OPT_LIST_META_CONTEXT, all_contexts, 8),
		(uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(client_ask(NBD_OPT_STRUCTURED_REPLY, "", 0),
			  NBD_REP_ACK);
	ck_assert_uint_eq(
		client_ask(NBD_OPT_LIST_META_CONTEXT, all_contexts, 8),
		NBD_REP_META_CONTEXT);
	ck_assert_uint_eq(
		client_hear_option(NBD_OPT_LIST_META_CONTEXT, NULL, &length),
		NBD_REP_ACK);
	/* SET of nothing selects nothing. */
	ck_assert_uint_eq(client_ask(NBD_OPT_SET_META_CONTEXT, all_contexts, 8),
			  NBD_REP_ACK);
	/* What is not there, or wrong. */
	ck_assert_uint_eq(
		client_ask(NBD_OPT_INFO, wrong_name, sizeof(wrong_name)),
		(uint32_t)NBD_REP_ERR_UNKNOWN);
	ck_assert_uint_eq(
		client_ask(NBD_OPT_GO, wrong_name, sizeof(wrong_name)),
		(uint32_t)NBD_REP_ERR_UNKNOWN);
	ck_assert_uint_eq(
		client_ask(NBD_OPT_GO, wrong_name, sizeof(wrong_name) - 1),
		(uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(client_ask(NBD_OPT_LIST, "x", 1),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(client_ask(NBD_OPT_STRUCTURED_REPLY, "x", 1),
			  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_uint_eq(client_ask(5, "", 0), (uint32_t)NBD_REP_ERR_UNSUP);
	ck_assert_uint_eq(client_ask(0xffffffff, "abc", 3),
			  (uint32_t)NBD_REP_ERR_UNSUP);
	/* INFO of everything: export, name, description, block sizes. */
	ck_assert_uint_eq(client_ask(NBD_OPT_INFO, infos, sizeof(infos)),
			  NBD_REP_INFO);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\1disk", 6);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\2a disk", 8);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_INFO, data, &length),
			  NBD_REP_INFO);
	ck_assert_mem_eq(data, "\0\3\0\0\0\1\0\0\x10\0\4\0\0\0", 14);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_INFO, NULL, &length),
			  NBD_REP_ACK);
	/* And the end. */
	ck_assert_uint_eq(client_ask(NBD_OPT_ABORT, "", 0), NBD_REP_ACK);
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), 0);
}
END_TEST

/** Queries whose lengths lie: each must be refused, none may be read past. */
START_TEST(lying_lengths_are_refused)
{
	static const uint8_t lies[][16] = {
		/* a name longer than the option */
		{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 4, 'b', 'a', 's'},
		{0, 0, 0, 13},
		/* more queries than there are */
		{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0},
		/* a query longer than the option */
		{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff},
		/* something left over */
		{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3, 'a', 'b', 'c', 'd'},
	};
	uint32_t option;
	unsigned i, n;

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	ck_assert_uint_eq(client_ask(NBD_OPT_STRUCTURED_REPLY, "", 0),
			  NBD_REP_ACK);
	for (i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		option = i % 2 ? NBD_OPT_SET_META_CONTEXT
			       : NBD_OPT_LIST_META_CONTEXT;
		ck_assert_uint_eq(client_ask(option, lies[i], sizeof(lies[i])),
				  (uint32_t)NBD_REP_ERR_INVALID);
	}
	for (n = 0; n < 6; n++)
		ck_assert_uint_eq(client_ask(NBD_OPT_INFO, "\0\0\0\0\0\1", n),
				  (uint32_t)NBD_REP_ERR_INVALID);
	ck_assert_int_eq(test_nbd_server_join(&client_server), -ECONNRESET);
}
END_TEST

/** Options that are longer than any can be: that is said, and what follows is
 * found. EXPORT_NAME has no way to say so. */
START_TEST(long_options_are_refused)
{
	static const uint8_t data[MIB];
	uint32_t length;

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	ck_assert_uint_eq(client_ask(NBD_OPT_LIST, data, (64u << 10) + 1),
			  (uint32_t)NBD_REP_ERR_TOO_BIG);
	ck_assert_uint_eq(client_ask(NBD_OPT_GO, data, sizeof(data)),
			  (uint32_t)NBD_REP_ERR_TOO_BIG);
	ck_assert_uint_eq(client_ask(NBD_OPT_LIST, "", 0), NBD_REP_SERVER);
	ck_assert_uint_eq(client_hear_option(NBD_OPT_LIST, NULL, &length),
			  NBD_REP_ACK);
	client_say_option(NBD_OPT_EXPORT_NAME, data, sizeof(data));
	client_send();
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), -EPROTO);
}
END_TEST

/* Hostile clients --------------------------------------------------------- */

/** First words that no client of the protocol says. */
static const struct {
	const char *bytes;
	size_t length;
} garbage[] = {
	/* HTTP, unknown flags */
	{"GET / HTTP/1.1\r\n\r\n", 18},
	{"\0\0\0\5", 4},
	{"\xff\xff\xff\xff", 4},
	/* an option with another magic */
	{"\0\0\0\3IHAVENOT\0\0\0\7\0\0\0\0", 20},
	/* an option of 64 MiB and a byte, and one of 4 GiB */
	{"\0\0\0\3IHAVEOPT\0\0\0\7\4\0\0\1", 20},
	{"\0\0\0\3IHAVEOPT\0\0\0\7\xff\xff\xff\xff", 20},
	/* an export that there is not, with no way to say so */
	{"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\4none", 24},
};

START_TEST(garbage_is_dropped)
{
	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say(garbage[_i].bytes, garbage[_i].length);
	client_send();
	client_skip(NBD_GREETING_SIZE);
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), -EPROTO);
}
END_TEST

START_TEST(endless_options_are_dropped)
{
	int i;

	test_nbd_server_start(&client_server, &client_scene, 0);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
	for (i = 0; i < 1000; i++)
		client_say_option(NBD_OPT_LIST, "", 0);
	client_send();
	client_hear_out();
	ck_assert_int_eq(test_nbd_server_join(&client_server), -EPROTO);
}
END_TEST

START_TEST(slow_handshake_is_dropped)
{
	test_nbd_server_start(&client_server, &client_scene, 50);
	client_say32(NBD_FLAG_FIXED_NEWSTYLE);
	client_words.length--;
	client_send();
	client_skip(NBD_GREETING_SIZE);
	client_hear_end();
	ck_assert_int_eq(test_nbd_server_join(&client_server), -ETIMEDOUT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("NBD handshake");
	TCase *agreeing = tcase_create("clients that keep to it");
	TCase *hostile = tcase_create("hostile clients");
	SRunner *runner;
	int failed;

	tcase_set_timeout(agreeing, 60);
	tcase_add_checked_fixture(agreeing, client_set_up, client_tear_down);
	tcase_add_test(agreeing, hello_is_answered_in_golden_bytes);
	tcase_add_test(agreeing, export_name_with_and_without_zeroes);
	tcase_add_test(agreeing, options_are_answered);
	tcase_add_test(agreeing, long_options_are_refused);
	suite_add_tcase(suite, agreeing);
	tcase_set_timeout(hostile, 60);
	tcase_add_checked_fixture(hostile, client_set_up, client_tear_down);
	tcase_add_test(hostile, lying_lengths_are_refused);
	tcase_add_loop_test(hostile, garbage_is_dropped, 0,
			    sizeof(garbage) / sizeof(*garbage));
	tcase_add_test(hostile, endless_options_are_dropped);
	tcase_add_test(hostile, slow_handshake_is_dropped);
	suite_add_tcase(suite, hostile);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
