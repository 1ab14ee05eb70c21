/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An export that tmemd hosts: this process hands over the listening socket and
 * the overflow file and keeps the connection, whose end tells tmemd that the
 * keeper is gone.
 *
 *   hand over --ok--> keeping --signal--> hang up, wait until tmemd has ended
 *       ^                |                it
 *       |                v tmemd hung up
 *       +----------- come back, for up to 60 s
 *
 * Clients keep their listening socket meanwhile: who connects waits in its
 * queue. What is handed over again names the device, so that a tmemd that came
 * back without its pages is not taken for the same.
 */
#include "server.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "codec.h"
#include "log.h"
#include "message.h"
#include "protect.h"
#include "uuid.h"

/** Time that tmemd has to come back, and between two looks; and to end the
 * export. Milliseconds. */
#define COME_BACK      60000
#define COME_BACK_STEP 200
#define HANG_UP	       20000

/** Time for the answer: a device with a large overflow file takes its time. */
#define HAND_OVER 60000

/** The same where all of a disk may have to be zeroed. */
#define HAND_OVER_DISK 3600000

struct keeper {
	struct nbd_server *server;
	const char *path;
	int sock;
	char device[TMEM_UUID_TEXT]; /* "" before the first answer */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int nbd_keeper_connect(const struct nbd_options *options)
{
	int r;

	if (options->where == NBD_WHERE_EMBEDDED)
		return -ENOENT;
	r = tmem_message_connect(options->tmemd, TMEM_MESSAGE_TIMEOUT);
	if (r >= 0)
		return r;
	if (options->where == NBD_WHERE_EITHER &&
	    (r == -ENOENT || r == -ECONNREFUSED || r == -EACCES)) {
		if (r == -EACCES)
			tmem_log(
				LOG_NOTICE,
				"tmemd does not serve this user: serving from this process");
		return -ENOENT;
	}
	tmem_log(
		LOG_ERR,
		"tmemd does not answer at %s (%s): start it, give its socket with --tmemd, or use --embedded",
		options->tmemd, strerror(-r));
	return r == -ENOENT ? -ECONNREFUSED : r;
}

/** The request. A device that was handed over before is not to be made anew. */
static json_t *make_request(const struct keeper *keeper)
{
	const struct nbd_options *options = keeper->server->options;
	bool again = *keeper->device;
	json_t *json = tmem_message_request("nbd-export"), *more;
	bool failed;

	if (!json)
		return NULL;
	more = json_pack(
		"{s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:i, s:s*, s:s*, s:s*}",
		"name", options->name, "size", (json_int_t)options->size,
		"read_only", options->read_only, "overflow",
		keeper->server->overflow_fd >= 0, "keep", options->keep,
		"reset", options->reset && !again, "host_swap",
		options->host_swap, "max_connections",
		(int)options->max_connections, "description",
		options->description, "codec",
		options->codec ? tmem_codec_name(options->codec) : NULL,
		"device", again ? keeper->device : NULL);
	failed = !more || json_object_update(json, more);
	json_decref(more);
	if (!failed)
		return json;
	json_decref(json);
	return NULL;
}

/** Hand the descriptors over. Returns 0, or -errno with *reply to say more. */
static int hand_over(struct keeper *keeper, struct tmem_message *reply)
{
	const int fds[] = {keeper->server->listen_fd,
			   keeper->server->overflow_fd};
	json_t *request = make_request(keeper);
	const char *device;
	int r;

	if (!request)
		return -ENOMEM;
	r = tmem_message_call(
		keeper->sock, request, fds, fds[1] >= 0 ? 2 : 1, reply,
		keeper->server->options->host_swap ? HAND_OVER_DISK
						   : HAND_OVER);
	json_decref(request);
	if (r < 0)
		return r;
	device = json_string_value(json_object_get(reply->json, "device"));
	if (!device || strlen(device) >= sizeof(keeper->device))
		return -EPROTO;
	strcpy(keeper->device, device);
	return 0;
}

/** Wait until tmemd hangs up or a signal ends us. Returns whether it was a
 * signal. */
static bool keep(const struct keeper *keeper)
{
	struct pollfd p[] = {
		{.fd = keeper->server->signal_fd, .events = POLLIN},
		{.fd = keeper->sock, .events = POLLIN},
	};
	int signal;

	for (;;) {
		poll(p, 2, -1);
		signal = p[0].revents ? nbd_server_signal(keeper->server) : 0;
		if (signal == SIGUSR1)
			tmem_log(
				LOG_NOTICE,
				"tmemd serves this export: see tmem-admin stats");
		else if (signal)
			return true;
		if (p[1].revents)
			return false;
	}
}

/** Connect and hand over again. Returns 0; -EAGAIN to try again; -errno when
 * there is no use (logged). */
static int come_back_once(struct keeper *keeper)
{
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	int r;

	r = tmem_message_connect(keeper->path, COME_BACK_STEP);
	if (r < 0)
		return -EAGAIN;
	keeper->sock = r;
	r = hand_over(keeper, &reply);
	if (r < 0) {
		close(keeper->sock);
		keeper->sock = -1;
		/* The device is not there any more: it will not come. */
		if (r == -ESTALE || r == -EMEDIUMTYPE || r == -EINVAL)
			tmem_log(
				LOG_ERR,
				"tmemd came back and does not serve the export: %s",
				tmem_message_error(&reply, r));
		else
			r = -EAGAIN;
	}
	tmem_message_deinit(&reply);
	return r;
}

/** Returns 0, 1 when a signal ended it, or -errno (logged). */
static int come_back(struct keeper *keeper)
{
	struct pollfd p = {.fd = keeper->server->signal_fd, .events = POLLIN};
	int64_t deadline = now_ms() + COME_BACK;
	int r, signal;

	close(keeper->sock);
	keeper->sock = -1;
	tmem_log(LOG_WARNING,
		 "tmemd is gone: waiting for it to come back at %s",
		 keeper->path);
	do {
		r = come_back_once(keeper);
		if (!r)
			tmem_log(LOG_NOTICE, "tmemd is back");
		if (r != -EAGAIN)
			return r;
		signal = poll(&p, 1, COME_BACK_STEP) > 0
				 ? nbd_server_signal(keeper->server)
				 : 0;
		if (signal && signal != SIGUSR1)
			return 1;
	} while (now_ms() < deadline);
	tmem_log(LOG_ERR, "tmemd did not come back at %s in %d s", keeper->path,
		 COME_BACK / 1000);
	return -ETIMEDOUT;
}

/** Tell tmemd that we go, and wait until the export has ended, so that its name
 * and its overflow file are free when this process is. */
static void hang_up(const struct keeper *keeper)
{
	struct pollfd p = {.fd = keeper->sock, .events = POLLIN};
	int64_t deadline = now_ms() + HANG_UP, left = HANG_UP;
	char bytes[64];

	shutdown(keeper->sock, SHUT_WR);
	for (; left > 0; left = deadline - now_ms()) {
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		if (recv(keeper->sock, bytes, sizeof(bytes), 0) <= 0)
			return;
	}
}

int nbd_keeper_run(struct nbd_server *server, int sock)
{
	struct keeper keeper = {
		.server = server, .path = server->options->tmemd, .sock = sock};
	struct tmem_message reply = TMEM_MESSAGE_INIT;
	int r;

	/* The device may be swap, and then it is not there when tmemd is
	 * gone and we are needed. */
	(void)tmem_protect();
	r = hand_over(&keeper, &reply);
	if (r < 0)
		tmem_log(LOG_ERR, "tmemd does not serve the export: %s",
			 tmem_message_error(&reply, r));
	tmem_message_deinit(&reply);
	/* It has work to do when tmemd, and with it the swap, is gone. */
	if (!r && server->options->host_swap)
		r = tmem_protect_touch(0);
	if (!r) {
		server->begun = true;
		r = nbd_daemon_ready(&server->daemon);
		while (!r && !keep(&keeper))
			r = come_back(&keeper);
		nbd_daemon_end(&server->daemon);
		nbd_server_unlink(server);
		if (keeper.sock >= 0)
			hang_up(&keeper);
	}
	if (keeper.sock >= 0)
		close(keeper.sock);
	return r < 0 ? r : 0;
}
