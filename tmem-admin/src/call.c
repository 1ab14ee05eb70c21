/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "message.h"

static enum admin_exit call_refused(const char *socket, int error)
{
	if (error == -ENOENT || error == -ECONNREFUSED) {
		fprintf(stderr,
			"tmem-admin: no tmemd listens on %s: start it (systemctl start tmemd, or tmemd --daemon), or give the socket of one with --socket\n",
			socket);
		return ADMIN_NO_DAEMON;
	}
	if (error == -EACCES || error == -EPERM)
		fprintf(stderr,
			"tmem-admin: %s: permission denied: run as root, or as a member of the group that tmemd.conf names\n",
			socket);
	else
		fprintf(stderr, "tmem-admin: %s: %s\n", socket,
			strerror(-error));
	return ADMIN_FAILED;
}

/* Connect to tmemd. Returns a descriptor, or a negative exit code after saying
 * why. */
static int call_connect(const char *socket)
{
	enum admin_exit code = ADMIN_FAILED;
	char *path = NULL;
	int sock = tmem_message_socket(socket, &path);

	if (sock == 0)
		sock = tmem_message_connect(path, TMEM_MESSAGE_TIMEOUT);
	if (sock < 0)
		code = call_refused(path ? path : "tmemd's socket", sock);
	free(path);
	return sock < 0 ? -(int)code : sock;
}

enum admin_exit admin_call(const char *socket, json_t *request, int timeout,
			   json_t **reply)
{
	struct tmem_message answer;
	int sock, r;

	sock = call_connect(socket);
	if (sock < 0) {
		json_decref(request);
		return (enum admin_exit) - sock;
	}
	r = request == NULL ? -ENOMEM
			    : tmem_message_call(sock, request, NULL, 0, &answer,
						timeout);
	json_decref(request);
	close(sock);
	if (r == 0) {
		*reply = json_incref(answer.json);
		json_object_del(*reply, "ok");
	} else if (request == NULL) {
		fputs("tmem-admin: out of memory\n", stderr);
		return ADMIN_FAILED;
	} else {
		fprintf(stderr, "tmem-admin: %s\n",
			answer.json != NULL ? tmem_message_error(&answer, r)
			: r == -ETIMEDOUT
				? "tmemd does not answer: see whether it is stopped, and its log"
				: "tmemd hung up without an answer: see its log");
	}
	tmem_message_deinit(&answer);
	return r == 0 ? ADMIN_OK : ADMIN_FAILED;
}
