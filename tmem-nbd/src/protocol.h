/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD protocol on the wire: its numbers, and encoding and decoding of its
 * messages. All of it is big-endian. The specification is doc/proto.md of the
 * NBD project; names follow it.
 *
 * Threading: pure functions.
 */
#ifndef NBD_PROTOCOL_H
#define NBD_PROTOCOL_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Handshake --------------------------------------------------------------- */

#define NBD_MAGIC	       0x4e42444d41474943ull /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC       0x49484156454f5054ull /* "IHAVEOPT" */
#define NBD_OPTION_REPLY_MAGIC 0x0003e889045565a9ull

/** Bytes of the server's greeting, of an option's header, of the header of
 * an option's reply, and of the reply to EXPORT_NAME without its zeroes. */
#define NBD_GREETING_SIZE      18u
#define NBD_OPTION_SIZE	       16u
#define NBD_OPTION_REPLY_SIZE  20u
#define NBD_EXPORT_NAME_SIZE   10u
#define NBD_EXPORT_NAME_ZEROES 124u

/** Longest string of the protocol, bytes. */
#define NBD_STRING_MAX 4096u

enum nbd_handshake_flag {
	NBD_FLAG_FIXED_NEWSTYLE = 1u << 0, /* both directions */
	NBD_FLAG_NO_ZEROES = 1u << 1,
};

enum nbd_option {
	NBD_OPT_EXPORT_NAME = 1,
	NBD_OPT_ABORT = 2,
	NBD_OPT_LIST = 3,
	NBD_OPT_INFO = 6,
	NBD_OPT_GO = 7,
	NBD_OPT_STRUCTURED_REPLY = 8,
	NBD_OPT_LIST_META_CONTEXT = 9,
	NBD_OPT_SET_META_CONTEXT = 10,
};

#define NBD_REP_ERR(n) (0x80000000u | (n))
enum nbd_option_reply {
	NBD_REP_ACK = 1,
	NBD_REP_SERVER = 2,
	NBD_REP_INFO = 3,
	NBD_REP_META_CONTEXT = 4,
	NBD_REP_ERR_UNSUP = (int)NBD_REP_ERR(1),
	NBD_REP_ERR_INVALID = (int)NBD_REP_ERR(3),
	NBD_REP_ERR_UNKNOWN = (int)NBD_REP_ERR(6),
	NBD_REP_ERR_TOO_BIG = (int)NBD_REP_ERR(9),
};

enum nbd_info {
	NBD_INFO_EXPORT = 0,
	NBD_INFO_NAME = 1,
	NBD_INFO_DESCRIPTION = 2,
	NBD_INFO_BLOCK_SIZE = 3,
};

/* Transmission ------------------------------------------------------------ */

enum nbd_export_flag {
	NBD_FLAG_HAS_FLAGS = 1u << 0,
	NBD_FLAG_READ_ONLY = 1u << 1,
	NBD_FLAG_SEND_FLUSH = 1u << 2,
	NBD_FLAG_SEND_FUA = 1u << 3,
	NBD_FLAG_SEND_TRIM = 1u << 5,
	NBD_FLAG_SEND_WRITE_ZEROES = 1u << 6,
	NBD_FLAG_SEND_DF = 1u << 7,
	NBD_FLAG_CAN_MULTI_CONN = 1u << 8,
	NBD_FLAG_SEND_CACHE = 1u << 10,
	NBD_FLAG_SEND_FAST_ZERO = 1u << 11,
};

#define NBD_REQUEST_MAGIC      0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC	       0x668e33efu
#define NBD_REQUEST_SIZE       28u
#define NBD_SIMPLE_REPLY_SIZE  16u
#define NBD_CHUNK_SIZE	       20u

enum nbd_command {
	NBD_CMD_READ = 0,
	NBD_CMD_WRITE = 1,
	NBD_CMD_DISC = 2,
	NBD_CMD_FLUSH = 3,
	NBD_CMD_TRIM = 4,
	NBD_CMD_CACHE = 5,
	NBD_CMD_WRITE_ZEROES = 6,
	NBD_CMD_BLOCK_STATUS = 7,
};

enum nbd_command_flag {
	NBD_CMD_FLAG_FUA = 1u << 0,
	NBD_CMD_FLAG_NO_HOLE = 1u << 1,
	NBD_CMD_FLAG_DF = 1u << 2,
	NBD_CMD_FLAG_REQ_ONE = 1u << 3,
	NBD_CMD_FLAG_FAST_ZERO = 1u << 4,
};

enum nbd_chunk_flag {
	NBD_CHUNK_DONE = 1u << 0,
};

enum nbd_chunk_type {
	NBD_CHUNK_NONE = 0,
	NBD_CHUNK_OFFSET_DATA = 1,
	NBD_CHUNK_OFFSET_HOLE = 2,
	NBD_CHUNK_BLOCK_STATUS = 5,
	NBD_CHUNK_ERROR = 0x8001,
	NBD_CHUNK_ERROR_OFFSET = 0x8002,
};

enum nbd_state {
	NBD_STATE_HOLE = 1u << 0,
	NBD_STATE_ZERO = 1u << 1,
};

enum nbd_error {
	NBD_SUCCESS = 0,
	NBD_EPERM = 1,
	NBD_EIO = 5,
	NBD_ENOMEM = 12,
	NBD_EINVAL = 22,
	NBD_ENOSPC = 28,
	NBD_EOVERFLOW = 75,
	NBD_ENOTSUP = 95,
};

/** The one metadata context, and the id it has here. */
#define NBD_CONTEXT_ALLOCATION	  "base:allocation"
#define NBD_CONTEXT_ALLOCATION_ID 1u

/** Most bytes of a read or write, as INFO says: more than the 32 MiB that
 * clients may count on, as some send more without asking. */
#define NBD_PAYLOAD_MAX (64u << 20)

/** Most bytes a client may be sure to read in one chunk (flag DF). */
#define NBD_DF_MAX (1u << 20)

/** What was agreed with a client, and what decides which requests it may
 * make. */
struct nbd_session {
	uint64_t size;	 /**< device, bytes */
	bool read_only;	 /**< device */
	bool structured; /**< structured replies */
	bool status;	 /**< base:allocation was selected */
};

struct nbd_request {
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t length;
};

/** Read a request's header. False when its magic is wrong: what follows
 * cannot be made sense of. */
bool nbd_request_decode(const uint8_t wire[static NBD_REQUEST_SIZE],
			struct nbd_request *out);

/**
 * Everything that is to be checked of a request before it is carried out.
 * Returns NBD_SUCCESS or the error to answer. DISC is always fine.
 */
enum nbd_error nbd_request_validate(const struct nbd_request *request,
				    const struct nbd_session *session);

/** Transmission flags that an export announces to a session. */
uint16_t nbd_export_flags(const struct nbd_session *session);

/** The protocol's number for a negative errno, or for 0. */
enum nbd_error nbd_error_from_errno(int error);

/* Encoders: write at to, return the byte behind. */

static inline uint8_t *nbd_put16(uint8_t *to, uint16_t value)
{
	value = htobe16(value);
	return (uint8_t *)memcpy(to, &value, sizeof(value)) + sizeof(value);
}

static inline uint8_t *nbd_put32(uint8_t *to, uint32_t value)
{
	value = htobe32(value);
	return (uint8_t *)memcpy(to, &value, sizeof(value)) + sizeof(value);
}

static inline uint8_t *nbd_put64(uint8_t *to, uint64_t value)
{
	value = htobe64(value);
	return (uint8_t *)memcpy(to, &value, sizeof(value)) + sizeof(value);
}

static inline uint16_t nbd_get16(const uint8_t *from)
{
	uint16_t value;

	memcpy(&value, from, sizeof(value));
	return be16toh(value);
}

static inline uint32_t nbd_get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return be32toh(value);
}

static inline uint64_t nbd_get64(const uint8_t *from)
{
	uint64_t value;

	memcpy(&value, from, sizeof(value));
	return be64toh(value);
}

/** Headers of a reply to an option, of a simple reply, and of a chunk whose
 * payload has length bytes. */
uint8_t *nbd_put_option_reply(uint8_t *to, uint32_t option, uint32_t type,
			      uint32_t length);
uint8_t *nbd_put_simple_reply(uint8_t *to, enum nbd_error error,
			      uint64_t cookie);
uint8_t *nbd_put_chunk(uint8_t *to, uint16_t flags, uint16_t type,
		       uint64_t cookie, uint32_t length);

#endif
