/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control messages between honest and other peers: cut into pieces, run
 * together, too long, no JSON, with descriptors missing or too many.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "message.h"

#define PATIENCE 60000 /* ms; only a broken build waits for it */

static int pair[2];

static void setup(void)
{
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
}

static void teardown(void)
{
	close(pair[0]);
	close(pair[1]);
}

static void say(const char *text)
{
	ck_assert_int_eq(write(pair[0], text, strlen(text)), strlen(text));
}

static int hear(struct tmem_message *message)
{
	return tmem_message_receive(pair[1], message, PATIENCE);
}

/* Send text with count descriptors, all of /dev/null. */
static void say_with_fds(const char *text, unsigned count)
{
	char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	struct iovec iov = {(char *)text, strlen(text)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	unsigned i;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	for (i = 0; i < count; i++)
		memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(fd));
	ck_assert_int_eq(sendmsg(pair[0], &msg, 0), strlen(text));
	close(fd);
}

static int lowest_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

START_TEST(message_and_descriptors_arrive)
{
	struct tmem_message got;
	json_t *json = tmem_message_request("hello");
	int fds[2] = {open("/dev/null", O_RDONLY), open("/", O_RDONLY)};
	struct stat a, b;
	const char *op;
	int fd;

	ck_assert_int_eq(tmem_message_send(pair[0], json, fds, 2, PATIENCE), 0);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert(json_equal(got.json, json));
	ck_assert_int_eq(tmem_message_parse(got.json, &op), 0);
	ck_assert_str_eq(op, "hello");
	ck_assert_uint_eq(got.fds, 2);
	ck_assert(fcntl(got.fd[0], F_GETFD) & FD_CLOEXEC);
	ck_assert_int_eq(tmem_message_take_fd(&got, 2), -1);
	fd = tmem_message_take_fd(&got, 1);
	ck_assert_int_eq(fstat(fd, &a), 0);
	ck_assert_int_eq(fstat(fds[1], &b), 0);
	ck_assert_uint_eq(a.st_ino, b.st_ino);
	tmem_message_deinit(&got);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	close(fds[0]);
	close(fds[1]);
	json_decref(json);
}
END_TEST

START_TEST(each_descriptor_stays_with_its_message)
{
	struct tmem_message got;

	say("{\"n\":1}\n{\"n\":");
	say_with_fds("2}\n", 1);
	say_with_fds("{\"n\":3}\n", 2);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert_uint_eq(got.fds, 0);
	tmem_message_deinit(&got);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert_uint_eq(got.fds, 1);
	tmem_message_deinit(&got);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert_uint_eq(got.fds, 2);
	ck_assert_int_eq(json_integer_value(json_object_get(got.json, "n")), 3);
	tmem_message_deinit(&got);
}
END_TEST

START_TEST(surplus_descriptors_are_closed)
{
	struct tmem_message got;
	int before = lowest_fd();

	say_with_fds("{}\n", TMEM_MESSAGE_FDS + 1);
	ck_assert_int_eq(hear(&got), -EPROTO);
	ck_assert_int_eq(lowest_fd(), before);
}
END_TEST

START_TEST(descriptors_of_bad_messages_are_closed)
{
	struct tmem_message got;
	int before = lowest_fd();

	say_with_fds("nonsense\n", 3);
	ck_assert_int_eq(hear(&got), -EBADMSG);
	ck_assert_int_eq(lowest_fd(), before);
}
END_TEST

static const char *const bad_lines[] = {
	"\n",
	"{\n",
	"[]\n",
	"null\n",
	"{\"a\":1,\"a\":2}\n",
	"{\"a\":\"\\u0000\"}\n",
	"{\"a\":\"\xff\"}\n",
	"{} {}\n",
};

START_TEST(bad_line_is_refused)
{
	struct tmem_message got;

	say(bad_lines[_i]);
	ck_assert_int_eq(hear(&got), -EBADMSG);
}
END_TEST

static void *speak_in_pieces(void *arg)
{
	const char *text = arg;

	for (; *text; text++)
		if (write(pair[0], text, 1) != 1)
			abort();
	return NULL;
}

START_TEST(message_in_pieces_arrives_whole)
{
	char *text = malloc(20003);
	struct tmem_message got;
	pthread_t thread;

	memset(text, 'x', 20000);
	memcpy(text, "{\"a\":\"", 6);
	strcpy(text + 19998, "\"}\n");
	pthread_create(&thread, NULL, speak_in_pieces, text);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert_uint_eq(json_string_length(json_object_get(got.json, "a")),
			  19992);
	tmem_message_deinit(&got);
	pthread_join(thread, NULL);
	free(text);
}
END_TEST

static void *speak_for_ever(void *arg)
{
	static const char text[65536] = "{\"a\":\"";

	while (write(pair[0], text, sizeof(text)) > 0)
		;
	return NULL;
}

START_TEST(endless_line_is_refused)
{
	struct tmem_message got;
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	pthread_create(&thread, NULL, speak_for_ever, NULL);
	ck_assert_int_eq(hear(&got), -EMSGSIZE);
	shutdown(pair[1], SHUT_RDWR);
	pthread_join(thread, NULL);
}
END_TEST

START_TEST(large_message_passes_a_small_socket_buffer)
{
	json_t *json = tmem_message_request("large");
	struct tmem_message got = TMEM_MESSAGE_INIT;
	char *text = malloc(TMEM_MESSAGE_MAX);
	pid_t child;

	memset(text, 'y', TMEM_MESSAGE_MAX - 100);
	text[TMEM_MESSAGE_MAX - 100] = '\0';
	json_object_set_new(json, "text", json_string(text));
	child = fork();
	if (child == 0)
		_exit(tmem_message_send(pair[0], json, NULL, 0, PATIENCE) != 0);
	ck_assert_int_eq(hear(&got), 0);
	ck_assert(json_equal(got.json, json));
	memset(text, 'y', TMEM_MESSAGE_MAX - 1);
	text[TMEM_MESSAGE_MAX - 1] = '\0';
	json_object_set_new(json, "text", json_string(text));
	ck_assert_int_eq(tmem_message_send(pair[0], json, NULL, 0, PATIENCE),
			 -EMSGSIZE);
	waitpid(child, NULL, 0);
	tmem_message_deinit(&got);
	json_decref(json);
	free(text);
}
END_TEST

START_TEST(silence_times_out)
{
	struct tmem_message got;

	ck_assert_int_eq(tmem_message_receive(pair[1], &got, 1), -ETIMEDOUT);
	say("{\"half\":");
	ck_assert_int_eq(tmem_message_receive(pair[1], &got, 1), -ETIMEDOUT);
}
END_TEST

START_TEST(peer_that_does_not_read_times_out)
{
	json_t *json = tmem_message_request("x");
	int r;

	do
		r = tmem_message_send(pair[0], json, NULL, 0, 1);
	while (r == 0);
	ck_assert_int_eq(r, -ETIMEDOUT);
	json_decref(json);
}
END_TEST

START_TEST(peer_that_is_gone_is_noticed)
{
	json_t *json = tmem_message_request("x");
	struct tmem_message got;

	say("{\"half\":");
	shutdown(pair[0], SHUT_RDWR);
	ck_assert_int_eq(hear(&got), -ECONNRESET);
	ck_assert_int_eq(tmem_message_send(pair[1], json, NULL, 0, PATIENCE),
			 -ECONNRESET);
	json_decref(json);
}
END_TEST

START_TEST(reply_carries_the_error)
{
	json_t *json = tmem_message_request("x");
	struct tmem_message reply;

	ck_assert_int_eq(
		tmem_message_send_error(pair[0], -EPERM, "not %s", "you"), 0);
	ck_assert_int_eq(
		tmem_message_call(pair[1], json, NULL, 0, &reply, PATIENCE),
		-EPERM);
	ck_assert_str_eq(tmem_message_error(&reply, -EPERM), "not you");
	tmem_message_deinit(&reply);
	say("{\"ok\":false,\"errno\":\"EWHATEVER\"}\n");
	ck_assert_int_eq(
		tmem_message_call(pair[1], json, NULL, 0, &reply, PATIENCE),
		-EPROTO);
	ck_assert_str_eq(tmem_message_error(&reply, -EPROTO), strerror(EPROTO));
	tmem_message_deinit(&reply);
	/* Not UTF-8: at least the errno arrives. */
	ck_assert_int_eq(tmem_message_send_error(pair[0], -ENOENT, "\xff"), 0);
	ck_assert_int_eq(
		tmem_message_call(pair[1], json, NULL, 0, &reply, PATIENCE),
		-ENOENT);
	tmem_message_deinit(&reply);
	/* Who hung up may have said why before. */
	ck_assert_int_eq(tmem_message_send_error(pair[0], -EUSERS, "full"), 0);
	shutdown(pair[0], SHUT_RDWR);
	ck_assert_int_eq(
		tmem_message_call(pair[1], json, NULL, 0, &reply, PATIENCE),
		-EUSERS);
	ck_assert_str_eq(tmem_message_error(&reply, -EUSERS), "full");
	tmem_message_deinit(&reply);
	ck_assert_int_eq(
		tmem_message_call(pair[1], json, NULL, 0, &reply, PATIENCE),
		-ECONNRESET);
	ck_assert_ptr_null(reply.json);
	json_decref(json);
}
END_TEST

START_TEST(other_versions_are_refused)
{
	json_t *json = tmem_message_request("x");
	const char *op = NULL;

	json_object_set_new(json, "tmem", json_integer(2));
	ck_assert_int_eq(tmem_message_parse(json, &op), -EPROTO);
	json_object_set_new(json, "tmem", json_string("1"));
	ck_assert_int_eq(tmem_message_parse(json, &op), -EPROTO);
	json_object_set_new(json, "tmem", json_integer(1));
	json_object_set_new(json, "op", json_integer(7));
	ck_assert_int_eq(tmem_message_parse(json, &op), -EBADMSG);
	ck_assert_ptr_null(op);
	json_decref(json);
}
END_TEST

START_TEST(connect_says_why_not)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/tmem-test-XXXXXX";
	char path[64], longer[200];
	int listener, full[64], n = 0, sock;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	ck_assert_int_eq(tmem_message_connect(path, PATIENCE), -ENOENT);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	ck_assert_int_eq(tmem_message_connect(longer, PATIENCE), -ENAMETOOLONG);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strcpy(addr.sun_path, path);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	ck_assert_int_eq(tmem_message_connect(path, PATIENCE), -ECONNREFUSED);
	ck_assert_int_eq(listen(listener, 1), 0);
	while ((sock = tmem_message_connect(path, 1)) >= 0 && n < 64)
		full[n++] = sock;
	ck_assert_int_eq(sock, -ETIMEDOUT);
	while (n > 0)
		close(full[--n]);
	close(listener);
	unlink(path);
	rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("message");
	TCase *tests = tcase_create("message");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tests);
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 0); /* meson has one */
	tcase_add_test(tests, message_and_descriptors_arrive);
	tcase_add_test(tests, each_descriptor_stays_with_its_message);
	tcase_add_test(tests, surplus_descriptors_are_closed);
	tcase_add_test(tests, descriptors_of_bad_messages_are_closed);
	tcase_add_loop_test(tests, bad_line_is_refused, 0,
			    sizeof(bad_lines) / sizeof(bad_lines[0]));
	tcase_add_test(tests, message_in_pieces_arrives_whole);
	tcase_add_test(tests, endless_line_is_refused);
	tcase_add_test(tests, large_message_passes_a_small_socket_buffer);
	tcase_add_test(tests, silence_times_out);
	tcase_add_test(tests, peer_that_does_not_read_times_out);
	tcase_add_test(tests, peer_that_is_gone_is_noticed);
	tcase_add_test(tests, reply_carries_the_error);
	tcase_add_test(tests, other_versions_are_refused);
	tcase_add_test(tests, connect_says_why_not);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
