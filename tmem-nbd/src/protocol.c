/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Encoding, decoding and validating NBD messages. nbd_request_validate() is
 * the only place that judges a request.
 */
#include "protocol.h"
#include <errno.h>

bool nbd_request_decode(const uint8_t wire[static NBD_REQUEST_SIZE],
			struct nbd_request *out)
{
	if (nbd_get32(wire) != NBD_REQUEST_MAGIC)
		return false;
	out->flags = nbd_get16(wire + 4);
	out->type = nbd_get16(wire + 6);
	out->cookie = nbd_get64(wire + 8);
	out->offset = nbd_get64(wire + 16);
	out->length = nbd_get32(wire + 24);
	return true;
}

/** Flags a command may carry, or -1 for a command there is not. FUA is valid
 * for all, also where it means nothing. */
static int allowed_flags(uint16_t type)
{
	switch (type) {
	case NBD_CMD_READ:
		return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_DF;
	case NBD_CMD_WRITE:
	case NBD_CMD_TRIM:
	case NBD_CMD_FLUSH:
	case NBD_CMD_CACHE:
		return NBD_CMD_FLAG_FUA;
	case NBD_CMD_WRITE_ZEROES:
		return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE |
		       NBD_CMD_FLAG_FAST_ZERO;
	case NBD_CMD_BLOCK_STATUS:
		return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
	case NBD_CMD_DISC:
		return 0;
	default:
		return -1;
	}
}

static bool changes_data(uint16_t type)
{
	return type == NBD_CMD_WRITE || type == NBD_CMD_TRIM ||
	       type == NBD_CMD_WRITE_ZEROES;
}

enum nbd_error nbd_request_validate(const struct nbd_request *request,
				    const struct nbd_session *session)
{
	uint16_t type = request->type;
	int allowed = allowed_flags(type);

	if (type == NBD_CMD_DISC)
		return NBD_SUCCESS;
	if (allowed < 0 || (request->flags & ~allowed))
		return NBD_EINVAL;
	if (changes_data(type) && session->read_only)
		return NBD_EPERM;
	if (type == NBD_CMD_FLUSH)
		return request->offset || request->length ? NBD_EINVAL
							  : NBD_SUCCESS;
	/* The sum could pass 2^64, the difference cannot. */
	if (request->offset > session->size ||
	    request->length > session->size - request->offset)
		return type == NBD_CMD_WRITE || type == NBD_CMD_WRITE_ZEROES
			       ? NBD_ENOSPC
			       : NBD_EINVAL;
	if (!request->length)
		return NBD_EINVAL;
	if ((type == NBD_CMD_READ || type == NBD_CMD_WRITE) &&
	    request->length > NBD_PAYLOAD_MAX)
		return NBD_EINVAL;
	if (request->flags & NBD_CMD_FLAG_DF) {
		if (!session->structured)
			return NBD_EINVAL;
		if (request->length > NBD_DF_MAX)
			return NBD_EOVERFLOW;
	}
	if (type == NBD_CMD_BLOCK_STATUS && !session->status)
		return NBD_EINVAL;
	return NBD_SUCCESS;
}

uint16_t nbd_export_flags(const struct nbd_session *session)
{
	uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
			 NBD_FLAG_SEND_FUA | NBD_FLAG_CAN_MULTI_CONN |
			 NBD_FLAG_SEND_CACHE;

	if (session->read_only)
		flags |= NBD_FLAG_READ_ONLY;
	else
		flags |= NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
			 NBD_FLAG_SEND_FAST_ZERO;
	if (session->structured)
		flags |= NBD_FLAG_SEND_DF;
	return flags;
}

enum nbd_error nbd_error_from_errno(int error)
{
	switch (-error) {
	case 0:
		return NBD_SUCCESS;
	case EPERM:
		return NBD_EPERM;
	case ENOMEM:
		return NBD_ENOMEM;
	case EINVAL:
		return NBD_EINVAL;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return NBD_ENOSPC;
	case EOPNOTSUPP:
		return NBD_ENOTSUP;
	default:
		return NBD_EIO;
	}
}

uint8_t *nbd_put_option_reply(uint8_t *to, uint32_t option, uint32_t type,
			      uint32_t length)
{
	to = nbd_put64(to, NBD_OPTION_REPLY_MAGIC);
	to = nbd_put32(to, option);
	to = nbd_put32(to, type);
	return nbd_put32(to, length);
}

uint8_t *nbd_put_simple_reply(uint8_t *to, enum nbd_error error,
			      uint64_t cookie)
{
	to = nbd_put32(to, NBD_SIMPLE_REPLY_MAGIC);
	to = nbd_put32(to, error);
	return nbd_put64(to, cookie);
}

uint8_t *nbd_put_chunk(uint8_t *to, uint16_t flags, uint16_t type,
		       uint64_t cookie, uint32_t length)
{
	to = nbd_put32(to, NBD_CHUNK_MAGIC);
	to = nbd_put16(to, flags);
	to = nbd_put16(to, type);
	to = nbd_put64(to, cookie);
	return nbd_put32(to, length);
}
