/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file system does, as text: fssemantics DIRECTORY
 *
 * Goes through the operations of a file system in an empty directory and
 * prints what came of each: errno, attributes, bytes. Run on a lower file
 * system and on a mount of it, the outputs must be the same. Needs root, to
 * act as other users.
 */
#ifndef FSSEMANTICS_H
#define FSSEMANTICS_H

#include <sys/types.h>

#define USER  12345
#define GROUP 23456
#define EXTRA 34567

/** Print an outcome; errno's name if rc is negative. */
void say(long rc, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** A call, by its own text, and its outcome. */
#define TRY(call) say((long)(call), "  %s", #call)

/** Print an object's attributes; times only if they were set to 1970. */
void look(const char *path);
/** Print a file's length and the sum of its bytes. */
void show(const char *path);
/** Make a file that holds text. */
void put(const char *path, const char *text);

/** Run fn in a child, and wait for it. */
void in_child(void (*fn)(void));
/** The same as a user, with one supplementary group or (0) none. */
void as_user(gid_t extra, void (*fn)(void));

/* Parts: */
void owners(void);
void permissions(void);
void acls(void);
void set_ids(void);
void names(void);
void renames(void);
void removed(void);
void unnamed(void);
void nodes(void);
void times(void);
void xattrs(void);
void statistics(void);
void directories(void);
void holes(void);
void far_away(void);
void appends(void);
void mappings(void);
void direct(void);
void copies(void);
void programs(void);
void locks(void);

#endif
