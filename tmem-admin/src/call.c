/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tmem/client.h>
#include <unistd.h>
#include "message.h"

/* Where tmemd listens for this user: an ordinary user's own, if it is there. */
static const char *call_default_socket(char *own, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (geteuid() != 0 && runtime != NULL &&
	    snprintf(own, size, "%s/tmem/tmemd.sock", runtime) < (int)size &&
	    access(own, F_OK) == 0)
		return own;
	return TMEM_SOCKET_PATH;
}

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

enum admin_exit admin_call(const char *socket, json_t *request, int timeout,
			   json_t **reply)
{
	struct tmem_message answer;
	char own[4096];
	int sock, r;

	if (socket == NULL)
		socket = call_default_socket(own, sizeof(own));
	sock = tmem_message_connect(socket, TMEM_MESSAGE_TIMEOUT);
	if (sock < 0) {
		json_decref(request);
		return call_refused(socket, sock);
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
