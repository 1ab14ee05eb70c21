/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tmem-nbd's command line. One thread. */
#ifndef NBD_OPTIONS_H
#define NBD_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>
#include <tmem/types.h>

/** Where the store is. */
enum nbd_where {
	NBD_WHERE_EITHER,   /**< in tmemd if one answers, else here */
	NBD_WHERE_EMBEDDED, /**< in this process */
	NBD_WHERE_HOSTED,   /**< in tmemd */
};

struct nbd_options {
	uint64_t size;
	uint64_t budget; /* 0: by default */
	uint64_t nursery;
	const char *overflow;
	const char *arena;
	int listen_fd; /* a socket that was handed over, or -1 */
	char *socket;  /* absolute; NULL if one was handed over */
	const char *name;
	const char *description;
	char *tmemd;   /* its socket, absolute */
	char *pidfile; /* absolute, or NULL */
	mode_t socket_mode;
	unsigned max_connections;
	enum nbd_where where;
	enum tmem_codec codec; /* NONE: the store's default */
	bool read_only;
	bool foreground;
	bool keep;
	bool host_swap;
	bool reset;
	bool verbose;
};

/** Parse. Prints what is wrong, or what --help and --version ask for. Returns
 * 0 to go on, 1 when all is done, -EINVAL, or -ENOMEM. */
int nbd_options_parse(struct nbd_options *options, int argc, char **argv);
void nbd_options_deinit(struct nbd_options *options);

#endif
