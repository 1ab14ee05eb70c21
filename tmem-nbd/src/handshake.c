/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fixed newstyle handshake: greeting, then options until GO or
 * EXPORT_NAME. An option's data is received whole before it is looked at; its
 * parts are read through a cursor that refuses to pass its end.
 */
#include <errno.h>
#include "connection.h"

/** Longest data of an option: room for two names and a good many queries. */
#define DATA_MAX (64u << 10)

/** Most options of one client. */
#define OPTIONS_MAX 128

struct option {
	uint32_t number;
	uint32_t length;
	const uint8_t *data; /* NULL: longer than DATA_MAX, and skipped */
};

/** What is left of an option's data. */
struct cursor {
	const uint8_t *at;
	uint32_t left;
};

static bool take(struct cursor *cursor, uint32_t length, const uint8_t **out)
{
	if (length > cursor->left)
		return false;
	*out = cursor->at;
	cursor->at += length;
	cursor->left -= length;
	return true;
}

static bool take16(struct cursor *cursor, uint16_t *out)
{
	const uint8_t *at;

	if (!take(cursor, sizeof(*out), &at))
		return false;
	*out = nbd_get16(at);
	return true;
}

static bool take_string(struct cursor *cursor, uint32_t *length,
			const uint8_t **out)
{
	const uint8_t *at;

	if (!take(cursor, sizeof(*length), &at))
		return false;
	*length = nbd_get32(at);
	return take(cursor, *length, out);
}

/* Replies ----------------------------------------------------------------- */

static int reply(struct nbd_connection *c, uint32_t option, uint32_t type,
		 const void *data, uint32_t length)
{
	uint8_t *to;
	int r;

	r = nbd_stream_room(&c->stream, NBD_OPTION_REPLY_SIZE + length, &to);
	if (r < 0)
		return r;
	to = nbd_put_option_reply(to, option, type, length);
	memcpy(to, data, length);
	return nbd_stream_put(&c->stream, NBD_OPTION_REPLY_SIZE + length);
}

/** Say no, and why. */
static int refuse(struct nbd_connection *c, uint32_t option, uint32_t type,
		  const char *why)
{
	return reply(c, option, type, why, (uint32_t)strlen(why));
}

static int acknowledge(struct nbd_connection *c, uint32_t option)
{
	return reply(c, option, NBD_REP_ACK, "", 0);
}

static int info(struct nbd_connection *c, uint32_t option, enum nbd_info type,
		const void *data, uint32_t length)
{
	uint8_t bytes[NBD_STRING_MAX + 2];

	memcpy(nbd_put16(bytes, type), data, length);
	return reply(c, option, NBD_REP_INFO, bytes, length + 2);
}

/* Options ----------------------------------------------------------------- */

/** Whether a name is the export's; the empty one is that of the default export,
 * which the only one is. */
static bool is_export(const struct nbd_connection *c, const uint8_t *name,
		      uint32_t length)
{
	return !length || (length == strlen(c->info->name) &&
			   !memcmp(name, c->info->name, length));
}

static int option_list(struct nbd_connection *c, const struct option *option)
{
	uint32_t name = (uint32_t)strlen(c->info->name);
	uint32_t text = (uint32_t)strlen(c->info->description);
	uint8_t data[4 + TMEM_NAME_MAX + NBD_STRING_MAX];
	int r;

	if (option->length)
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "this option has no data");
	memcpy(nbd_put32(data, name), c->info->name, name);
	memcpy(data + 4 + name, c->info->description, text);
	r = reply(c, option->number, NBD_REP_SERVER, data, 4 + name + text);
	return r < 0 ? r : acknowledge(c, option->number);
}

static int option_structured(struct nbd_connection *c,
			     const struct option *option)
{
	if (option->length)
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "this option has no data");
	c->session.structured = true;
	return acknowledge(c, option->number);
}

/** Size and flags, as both EXPORT_NAME and INFO_EXPORT give them. */
static uint8_t *put_export(const struct nbd_connection *c, uint8_t *to)
{
	to = nbd_put64(to, c->session.size);
	return nbd_put16(to, nbd_export_flags(&c->session));
}

static int option_export_name(struct nbd_connection *c,
			      const struct option *option, bool no_zeroes)
{
	uint32_t zeroes = no_zeroes ? 0 : NBD_EXPORT_NAME_ZEROES;
	uint8_t *to;
	int r;

	/* This option has no way to answer an error. */
	if (!option->data || !is_export(c, option->data, option->length))
		return -EPROTO;
	r = nbd_stream_room(&c->stream, NBD_EXPORT_NAME_SIZE + zeroes, &to);
	if (r < 0)
		return r;
	memset(put_export(c, to), 0, zeroes);
	return nbd_stream_put(&c->stream, NBD_EXPORT_NAME_SIZE + zeroes);
}

/** The information a client gets. wanted: which of NBD_INFO_* it named. */
static int send_info(struct nbd_connection *c, uint32_t option,
		     const bool *wanted)
{
	const char *name = c->info->name, *text = c->info->description;
	uint8_t bytes[12];
	int r;

	put_export(c, bytes);
	r = info(c, option, NBD_INFO_EXPORT, bytes, 10);
	if (!r && wanted[NBD_INFO_NAME])
		r = info(c, option, NBD_INFO_NAME, name,
			 (uint32_t)strlen(name));
	if (!r && wanted[NBD_INFO_DESCRIPTION] && *text)
		r = info(c, option, NBD_INFO_DESCRIPTION, text,
			 (uint32_t)strlen(text));
	if (!r && wanted[NBD_INFO_BLOCK_SIZE]) {
		nbd_put32(bytes, 1);
		nbd_put32(bytes + 4, TMEM_PAGE_SIZE);
		nbd_put32(bytes + 8, NBD_PAYLOAD_MAX);
		r = info(c, option, NBD_INFO_BLOCK_SIZE, bytes, 12);
	}
	return r < 0 ? r : acknowledge(c, option);
}

/** INFO or GO. *chosen tells whether all went well. */
static int option_info(struct nbd_connection *c, const struct option *option,
		       bool *chosen)
{
	struct cursor cursor = {option->data, option->length};
	bool wanted[NBD_INFO_BLOCK_SIZE + 1] = {false};
	uint16_t count, type;
	const uint8_t *name;
	uint32_t length;

	*chosen = false;
	if (!take_string(&cursor, &length, &name) || !take16(&cursor, &count) ||
	    cursor.left != count * 2u)
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "lengths do not add up");
	if (!is_export(c, name, length))
		return refuse(c, option->number, NBD_REP_ERR_UNKNOWN,
			      "no export of this name");
	while (take16(&cursor, &type))
		if (type <= NBD_INFO_BLOCK_SIZE)
			wanted[type] = true;
	*chosen = true;
	return send_info(c, option->number, wanted);
}

/** Whether a query asks for base:allocation; its namespace alone lists it, but
 * does not select it. */
static bool is_allocation(const uint8_t *query, uint32_t length, bool list)
{
	static const char context[] = NBD_CONTEXT_ALLOCATION;
	const uint32_t whole = sizeof(context) - 1, namespace = strlen("base:");

	if (length != whole && !(list && length == namespace))
		return false;
	return !memcmp(query, context, length);
}

static int option_context(struct nbd_connection *c, const struct option *option)
{
	struct cursor cursor = {option->data, option->length};
	bool list = option->number == NBD_OPT_LIST_META_CONTEXT, found;
	uint8_t data[4 + sizeof(NBD_CONTEXT_ALLOCATION) - 1];
	const uint8_t *name, *at;
	uint32_t length, queries, i;
	int r;

	if (!list)
		c->session.status = false;
	if (!c->session.structured)
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "needs structured replies");
	if (!take_string(&cursor, &length, &name) || !take(&cursor, 4, &at))
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "lengths do not add up");
	queries = nbd_get32(at);
	found = list && !queries;
	if (!is_export(c, name, length))
		return refuse(c, option->number, NBD_REP_ERR_UNKNOWN,
			      "no export of this name");
	for (i = 0; i < queries; i++) {
		if (!take_string(&cursor, &length, &at))
			break;
		found |= is_allocation(at, length, list);
	}
	if (i < queries || cursor.left)
		return refuse(c, option->number, NBD_REP_ERR_INVALID,
			      "lengths do not add up");
	if (found) {
		nbd_put32(data, list ? 0 : NBD_CONTEXT_ALLOCATION_ID);
		memcpy(data + 4, NBD_CONTEXT_ALLOCATION, sizeof(data) - 4);
		r = reply(c, option->number, NBD_REP_META_CONTEXT, data,
			  sizeof(data));
		if (r < 0)
			return r;
	}
	if (!list)
		c->session.status = found;
	return acknowledge(c, option->number);
}

/* The phase --------------------------------------------------------------- */

static int greet(struct nbd_connection *c, bool *no_zeroes)
{
	const uint32_t known = NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES;
	const uint8_t *at;
	uint32_t flags;
	uint8_t *to;
	int r;

	r = nbd_stream_room(&c->stream, NBD_GREETING_SIZE, &to);
	if (r < 0)
		return r;
	to = nbd_put64(to, NBD_MAGIC);
	to = nbd_put64(to, NBD_OPTION_MAGIC);
	nbd_put16(to, known);
	r = nbd_stream_put(&c->stream, NBD_GREETING_SIZE);
	if (!r)
		r = nbd_stream_need(&c->stream, sizeof(flags), &at);
	if (r)
		return r;
	flags = nbd_get32(at);
	nbd_stream_take(&c->stream, sizeof(flags));
	/* A client that does not set FIXED_NEWSTYLE may have any option
	 * answered; it sends EXPORT_NAME alone. */
	if (flags & ~known)
		return -EPROTO;
	*no_zeroes = flags & NBD_FLAG_NO_ZEROES;
	return 0;
}

/** Skip an option's data that is longer than any that is taken. */
static int skip_long(struct nbd_connection *c, const struct option *option)
{
	/* As much as a request's payload may be; more is to keep us busy. */
	if (option->length > NBD_PAYLOAD_MAX)
		return -EPROTO;
	return nbd_stream_skip(&c->stream, option->length);
}

static int receive_option(struct nbd_connection *c, struct option *option)
{
	const uint8_t *at;
	int r;

	r = nbd_stream_need(&c->stream, NBD_OPTION_SIZE, &at);
	if (r < 0)
		return r;
	if (nbd_get64(at) != NBD_OPTION_MAGIC)
		return -EPROTO;
	option->number = nbd_get32(at + 8);
	option->length = nbd_get32(at + 12);
	if (option->length > DATA_MAX) {
		option->data = NULL;
		nbd_stream_take(&c->stream, NBD_OPTION_SIZE);
		return skip_long(c, option);
	}
	r = nbd_stream_need(&c->stream, NBD_OPTION_SIZE + option->length, &at);
	if (r < 0)
		return r;
	option->data = at + NBD_OPTION_SIZE;
	nbd_stream_take(&c->stream, NBD_OPTION_SIZE + option->length);
	return 0;
}

/** Answer an option after which others may follow. *chosen tells that it was a
 * GO that went well. */
static int answer(struct nbd_connection *c, const struct option *option,
		  bool *chosen)
{
	int r;

	*chosen = false;
	if (!option->data)
		return refuse(c, option->number, NBD_REP_ERR_TOO_BIG,
			      "the option is too long");
	switch (option->number) {
	case NBD_OPT_INFO:
	case NBD_OPT_GO:
		r = option_info(c, option, chosen);
		*chosen &= option->number == NBD_OPT_GO;
		return r;
	case NBD_OPT_LIST:
		return option_list(c, option);
	case NBD_OPT_STRUCTURED_REPLY:
		return option_structured(c, option);
	case NBD_OPT_LIST_META_CONTEXT:
	case NBD_OPT_SET_META_CONTEXT:
		return option_context(c, option);
	default:
		return refuse(c, option->number, NBD_REP_ERR_UNSUP,
			      "unknown option");
	}
}

int nbd_handshake(struct nbd_connection *c)
{
	bool no_zeroes, chosen;
	struct option option;
	int r, i;

	r = greet(c, &no_zeroes);
	for (i = 0; !r && i < OPTIONS_MAX; i++) {
		r = receive_option(c, &option);
		if (r < 0)
			break;
		if (option.number == NBD_OPT_EXPORT_NAME)
			return option_export_name(c, &option, no_zeroes);
		if (option.number == NBD_OPT_ABORT) {
			r = acknowledge(c, option.number);
			return r < 0 ? r : 1;
		}
		r = answer(c, &option, &chosen);
		if (!r && chosen)
			return 0;
	}
	return r < 0 ? r : -EPROTO;
}
