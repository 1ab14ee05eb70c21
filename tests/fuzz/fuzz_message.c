/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes on a control connection, in pieces of sizes that the first byte says:
 * whatever is received is an object, and all of it can be sent again.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "message.h"

static void must(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "fuzz_message: %s\n", what);
		abort();
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

/* What was received must arrive unchanged when it is sent on. */
static void send_on(const json_t *json)
{
	struct tmem_message got = TMEM_MESSAGE_INIT;
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	must(tmem_message_send(pair[0], json, NULL, 0, 0) == 0, "send");
	must(tmem_message_receive(pair[1], &got, 0) == 0, "receive");
	must(json_equal(json, got.json), "equal");
	tmem_message_deinit(&got);
	close(pair[0]);
	close(pair[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Few enough pieces for a socket to hold. */
	size_t piece = size ? size / 64 + data[0] + 1 : 1;
	struct tmem_message got;
	const char *op;
	int pair[2], r;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	while (size > 0) {
		if (piece > size)
			piece = size;
		must(send(pair[0], data, piece, MSG_NOSIGNAL) == (ssize_t)piece,
		     "send");
		data += piece;
		size -= piece;
	}
	shutdown(pair[0], SHUT_WR);
	do {
		r = tmem_message_receive_request(pair[1], &got, 0);
		must(r <= 0, "result");
		if (r < 0)
			break;
		must(json_is_object(got.json) && got.fds == 0, "message");
		if (tmem_message_parse(got.json, &op) == 0)
			must(op != NULL, "op");
		tmem_message_error(&got, -EPERM);
		send_on(got.json);
		tmem_message_deinit(&got);
	} while (1);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
