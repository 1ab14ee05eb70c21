/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands attach and detach: an export becomes a device of this host, and
 * swap on it, and ceases to be.
 *
 *   attach: nbd-client                    --> mkswap, swapon
 *           nbdfuse --> loop device -----'
 *   detach: swapoff --> loop device, nbdfuse or nbd-client
 *
 * What fails half-way, or is interrupted, is undone. /run/tmem/NAME.attached
 * says what was made, and is locked while one of them is at work.
 *
 * Threading: the only thread.
 */
#ifndef NBD_ATTACH_H
#define NBD_ATTACH_H

#include <stdbool.h>

/** Both return an exit status. argv[0] is the command's name. */
int nbd_attach_main(int argc, char **argv);
int nbd_detach_main(int argc, char **argv);

/* attach-device.c's ---------------------------------------------------------
 */

struct nbd_attachment {
	const char *name;   /* of the export */
	const char *socket; /* absolute */
	char *mount;	    /* where nbdfuse is mounted, if it is */
	char device[64];    /* "": none */
};

/** Whether the device is the kernel's nbd, which needs no mount. */
bool nbd_attach_is_nbd(const char *device);
/** Whether the device is there and in use for an export. */
bool nbd_attach_is_live(const struct nbd_attachment *at);
/** Look for what an attachment through nbdfuse that was killed had no time to
 * remember: its loop device, or else its mount. Returns whether there is any.
 */
bool nbd_attach_find_rest(struct nbd_attachment *at);

/** Connect the nbd device of that name, or the first free one ("").
 * Returns 0; -ENODEV when the kernel has none; -errno (logged). */
int nbd_attach_nbd(struct nbd_attachment *at, const char *device);
/** Make a loop device over nbdfuse. Returns 0 or -errno (logged). */
int nbd_attach_fuse(struct nbd_attachment *at);
/** Undo either, from wherever it came to. Returns 0 or -errno (logged). */
int nbd_attach_undo(struct nbd_attachment *at);

#endif
