/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control messages: see message.h.
 *
 * There is no buffer between messages. What has arrived is looked at first
 * (MSG_PEEK) and then taken up to the newline and no further, so that a
 * connection can be handed from one owner to another between two messages as
 * a bare descriptor, and a descriptor that was sent along with the next
 * message is never received with this one.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <tmem/client.h>
#include <unistd.h>
#include "message.h"

/* What is looked at in one go: most messages are shorter. */
#define PEEK 4096u

struct line {
	char *text;
	size_t size;
	size_t room;
	size_t most;
};

union control {
	char space[CMSG_SPACE(TMEM_MESSAGE_FDS * sizeof(int))];
	struct cmsghdr align;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* When a timeout that begins now ends; negative: never. */
static int64_t deadline_of(int timeout)
{
	return timeout < 0 ? -1 : now_ms() + timeout;
}

/* Wait until sock is fit for events. Returns 0, -ETIMEDOUT or -errno. */
static int wait_for(int sock, short events, int64_t deadline)
{
	struct pollfd pfd = {.fd = sock, .events = events};
	int64_t left = -1;
	int n;

	do {
		if (deadline >= 0) {
			left = deadline - now_ms();
			if (left < 0)
				left = 0;
		}
		n = poll(&pfd, 1, (int)left);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n > 0 ? 0 : -ETIMEDOUT;
}

/* Whether a failed send or receive is worth another try after a wait. */
static bool try_again(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int gone_or_errno(void)
{
	return errno == EPIPE ? -ECONNRESET : -errno;
}

void tmem_message_deinit(struct tmem_message *message)
{
	unsigned i;

	json_decref(message->json);
	for (i = 0; i < message->fds; i++)
		if (message->fd[i] >= 0)
			close(message->fd[i]);
	*message = (struct tmem_message)TMEM_MESSAGE_INIT;
}

int tmem_message_take_fd(struct tmem_message *message, unsigned i)
{
	int fd;

	if (i >= message->fds)
		return -1;
	fd = message->fd[i];
	message->fd[i] = -1;
	return fd;
}

/* Root's is always the host's: nothing in its environment leads elsewhere. */
static char *own_socket(void)
{
	const char *runtime = geteuid() ? getenv("XDG_RUNTIME_DIR") : NULL;
	char *path;

	if (!runtime || asprintf(&path, "%s/tmem/tmemd.sock", runtime) < 0)
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

int tmem_message_socket(const char *given, char **path)
{
	char *here, *whole = NULL;

	if (!given)
		whole = own_socket();
	if (!given && !whole)
		given = TMEM_SOCKET_PATH;
	if (given && *given == '/') {
		whole = strdup(given);
	} else if (given) {
		here = get_current_dir_name();
		if (!here)
			return -errno;
		if (asprintf(&whole, "%s/%s", here, given) < 0)
			whole = NULL;
		free(here);
	}
	if (!whole)
		return -ENOMEM;
	*path = whole;
	return 0;
}

int tmem_message_connect(const char *path, int timeout)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval tv = {timeout / 1000, timeout % 1000 * 1000L};
	int sock, r;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return -errno;
	/* A listener whose queue is full makes connect() wait; this bounds
	 * it. Sends do not block, so it means nothing to them. */
	if (timeout > 0)
		setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	do
		r = connect(sock, (struct sockaddr *)&addr, sizeof(addr));
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		r = errno == EAGAIN ? -ETIMEDOUT : -errno;
		close(sock);
		return r;
	}
	return sock;
}

/* Give msg the control message that carries descriptors. */
static void carry_fds(struct msghdr *msg, union control *control,
		      const int *fds, unsigned count)
{
	struct cmsghdr *cmsg;

	memset(control, 0, sizeof(*control));
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
	cmsg = CMSG_FIRSTHDR(msg);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(cmsg), fds, count * sizeof(int));
}

/* Send size bytes; the descriptors go with the first of them. */
static int send_all(int sock, const char *text, size_t size, const int *fds,
		    unsigned count, int64_t deadline)
{
	union control control;
	ssize_t n;
	int r;

	while (size > 0) {
		struct iovec iov = {(char *)text, size};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

		if (count > 0)
			carry_fds(&msg, &control, fds, count);
		n = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			text += n;
			size -= (size_t)n;
			count = 0;
			continue;
		}
		if (!try_again())
			return gone_or_errno();
		r = wait_for(sock, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

int tmem_message_send(int sock, const json_t *json, const int *fds,
		      unsigned count, int timeout)
{
	char *text;
	size_t size;
	int r;

	if (count > TMEM_MESSAGE_FDS)
		return -EMSGSIZE;
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	size = strlen(text);
	text[size++] = '\n'; /* where the closing NUL was */
	r = size > TMEM_MESSAGE_MAX ? -EMSGSIZE
				    : send_all(sock, text, size, fds, count,
					       deadline_of(timeout));
	free(text);
	return r;
}

/* Collect the descriptors that came with a part of the message. */
static int keep_fds(struct msghdr *msg, struct tmem_message *out)
{
	struct cmsghdr *cmsg;
	size_t i, count;
	int fd, r = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int),
			       sizeof(fd));
			if (out->fds < TMEM_MESSAGE_FDS) {
				out->fd[out->fds++] = fd;
			} else {
				close(fd);
				r = -EPROTO;
			}
		}
	}
	return r;
}

/* Take exactly size bytes, which have been seen to be there. */
static int take(int sock, struct line *line, size_t size,
		struct tmem_message *out)
{
	union control control;
	ssize_t n;
	int r;

	while (size > 0) {
		struct iovec iov = {line->text + line->size, size};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = &control,
				     .msg_controllen = sizeof(control)};

		n = recvmsg(sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? gone_or_errno() : -ECONNRESET;
		r = keep_fds(&msg, out);
		if (r < 0)
			return r;
		line->size += (size_t)n;
		size -= (size_t)n;
	}
	return 0;
}

static int make_room(struct line *line)
{
	char *text;

	if (line->size >= line->most)
		return -EMSGSIZE;
	if (line->room - line->size >= PEEK)
		return 0;
	text = realloc(line->text, line->room * 2 + PEEK);
	if (!text)
		return -ENOMEM;
	line->text = text;
	line->room = line->room * 2 + PEEK;
	return 0;
}

/* Take what has arrived, at most to the line's end. Returns 1 at the line's
 * end, 0 before it, -EAGAIN when nothing has arrived. */
static int take_some(int sock, struct line *line, struct tmem_message *out)
{
	char *end;
	ssize_t n;
	int r;

	r = make_room(line);
	if (r < 0)
		return r;
	n = recv(sock, line->text + line->size, PEEK, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return try_again() ? -EAGAIN : gone_or_errno();
	if (n == 0)
		return -ECONNRESET;
	end = memchr(line->text + line->size, '\n', (size_t)n);
	r = take(sock, line,
		 end ? (size_t)(end + 1 - line->text) - line->size : (size_t)n,
		 out);
	if (r < 0)
		return r;
	return end != NULL;
}

static int receive(int sock, struct tmem_message *out, size_t most, int timeout)
{
	struct tmem_message got = TMEM_MESSAGE_INIT;
	struct line line = {.most = most};
	int64_t deadline = deadline_of(timeout);
	int r;

	for (;;) {
		r = take_some(sock, &line, &got);
		/* A peer that trickles must not outlast the deadline. */
		if (r == 0 || r == -EAGAIN)
			r = wait_for(sock, POLLIN, deadline);
		else
			break;
		if (r == 0 && deadline >= 0 && now_ms() > deadline)
			r = -ETIMEDOUT;
		if (r < 0)
			break;
	}
	if (r > 0) {
		got.json = json_loadb(line.text, line.size,
				      JSON_REJECT_DUPLICATES, NULL);
		r = json_is_object(got.json) ? 0 : -EBADMSG;
	}
	free(line.text);
	if (r < 0) {
		tmem_message_deinit(&got);
		return r;
	}
	*out = got;
	return 0;
}

int tmem_message_receive(int sock, struct tmem_message *out, int timeout)
{
	return receive(sock, out, TMEM_MESSAGE_MAX, timeout);
}

int tmem_message_receive_request(int sock, struct tmem_message *out,
				 int timeout)
{
	return receive(sock, out, TMEM_MESSAGE_REQUEST_MAX, timeout);
}

json_t *tmem_message_request(const char *op)
{
	return json_pack("{s:i, s:s}", "tmem", TMEM_MESSAGE_VERSION, "op", op);
}

int tmem_message_parse(const json_t *json, const char **op)
{
	const json_t *version = json_object_get(json, "tmem");
	const char *text = json_string_value(json_object_get(json, "op"));

	if (!json_is_integer(version) ||
	    json_integer_value(version) != TMEM_MESSAGE_VERSION)
		return -EPROTO;
	if (!text)
		return -EBADMSG;
	*op = text;
	return 0;
}

/* The number of an errno's name; EPROTO for names this system lacks. */
static int errno_of(const char *name)
{
	const char *known;
	int e;

	for (e = 1; name && e < 256; e++) {
		known = strerrorname_np(e);
		if (known && strcmp(known, name) == 0)
			return e;
	}
	return EPROTO;
}

int tmem_message_call(int sock, const json_t *request, const int *fds,
		      unsigned count, struct tmem_message *reply, int timeout)
{
	int64_t deadline = deadline_of(timeout);
	int64_t left = -1;
	json_t *ok;
	int r;

	*reply = (struct tmem_message)TMEM_MESSAGE_INIT;
	r = tmem_message_send(sock, request, fds, count, timeout);
	/* Who refused before reading has said why, and hung up. */
	if (r < 0 && r != -ECONNRESET)
		return r;
	if (deadline >= 0) {
		left = deadline - now_ms();
		if (left < 0)
			left = 0;
	}
	r = tmem_message_receive(sock, reply, (int)left);
	if (r < 0)
		return r;
	ok = json_object_get(reply->json, "ok");
	if (json_is_true(ok))
		return 0;
	return -errno_of(
		json_string_value(json_object_get(reply->json, "errno")));
}

const char *tmem_message_error(const struct tmem_message *reply, int error)
{
	const char *text =
		json_string_value(json_object_get(reply->json, "error"));

	return text ? text : strerrordesc_np(-error);
}

int tmem_message_send_error(int sock, int error, const char *format, ...)
{
	const char *name = strerrorname_np(-error);
	char text[512];
	va_list ap;
	json_t *json;
	int r;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	/* A text that is not UTF-8, from a name somebody sent, cannot be
	 * packed: then the errno must do. */
	json = json_pack("{s:b, s:s, s:s}", "ok", 0, "errno",
			 name ? name : "EPROTO", "error", text);
	if (!json)
		json = json_pack("{s:b, s:s}", "ok", 0, "errno",
				 name ? name : "EPROTO");
	if (!json)
		return -ENOMEM;
	r = tmem_message_send(sock, json, NULL, 0, TMEM_MESSAGE_TIMEOUT);
	json_decref(json);
	return r;
}
