/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One client's phases, one after the other. */
#include "connection.h"

int nbd_connection_init(struct nbd_connection *connection,
			const struct nbd_export_info *info, int fd,
			unsigned handshake_ms)
{
	int r;

	connection->info = info;
	connection->session = (struct nbd_session){
		.size = info->device->size,
		.read_only = info->read_only,
	};
	r = nbd_stream_init(&connection->stream, fd, handshake_ms);
	if (r < 0)
		return r;
	r = nbd_io_init(&connection->io, info->device);
	if (r < 0)
		goto err1;
	r = nbd_tasks_init(connection);
	if (r < 0)
		goto err2;
	return 0;
err2:
	nbd_io_deinit(&connection->io);
err1:
	nbd_stream_deinit(&connection->stream);
	return r;
}

void nbd_connection_deinit(struct nbd_connection *connection)
{
	nbd_tasks_deinit(connection);
	nbd_io_deinit(&connection->io);
	nbd_stream_deinit(&connection->stream);
}

int nbd_connection_run(struct nbd_connection *connection)
{
	int r = nbd_handshake(connection), sent = 0;

	if (!r) {
		nbd_stream_untimed(&connection->stream);
		r = nbd_transmission(connection);
	}
	/* A last answer, to ABORT, or to requests before DISC or garbage. */
	if (r >= 0 || r == -EPROTO)
		sent = nbd_stream_flush(&connection->stream);
	return r < 0 ? r : sent;
}
