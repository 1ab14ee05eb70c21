/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The export's socket. One thread. */
#ifndef NBD_LISTEN_H
#define NBD_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * Listen at path, which nobody without the permissions of mode may connect to.
 * A socket that a dead server left there is replaced, one in use is not. Logs
 * what is wrong. Returns a descriptor or -errno.
 */
int nbd_listen(const char *path, mode_t mode);

/**
 * Take over a unix stream socket that whoever started this process opened: one
 * that listens, or one whose client is the only one (*connected). fd is closed,
 * or, if it is stdin, goes nowhere. Logs what is wrong. Returns a descriptor or
 * -errno.
 */
int nbd_listen_inherited(int fd, bool *connected);

#endif
