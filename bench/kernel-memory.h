/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of memory in use. Any thread. */
#ifndef BENCH_KERNEL_MEMORY_H
#define BENCH_KERNEL_MEMORY_H

#include <stdint.h>

/** Bytes of a file that are backed by memory. */
uint64_t bench_file_bytes(int fd);

/** Bytes of this process's resident anonymous memory, of which freed memory
 * that malloc keeps is given back first. */
uint64_t bench_anonymous_bytes(void);

/** Bytes of a file that the page cache holds; not a number before Linux 6.5. */
double bench_cached_bytes(int fd);

#endif
