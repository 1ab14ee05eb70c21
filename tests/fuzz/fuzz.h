/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What libFuzzer, or random-main.c in its place, calls in a fuzz target. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** Once, before any input. Returns 0. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/** Try one input. Returns 0; anything wrong aborts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
