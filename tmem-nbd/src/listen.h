/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The export's listening socket. One thread. */
#ifndef NBD_LISTEN_H
#define NBD_LISTEN_H

#include <sys/types.h>

/**
 * Listen at path, which nobody without the permissions of mode may connect to.
 * A socket that a dead server left there is replaced, one in use is not. Logs
 * what is wrong. Returns a descriptor or -errno.
 */
int nbd_listen(const char *path, mode_t mode);

#endif
