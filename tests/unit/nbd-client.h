/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An NBD client that a test speaks for, byte by byte: what it says gathers
 * until it is sent, what it hears must be what is expected, or the test fails.
 *
 * Threading: one thread; the server it talks to has one of its own.
 */
#ifndef NBD_CLIENT_H
#define NBD_CLIENT_H

#include "nbd-scene.h"

#define MIB (1u << 20)

/** The scene's device, bytes. */
#define CLIENT_SIZE (64ull * TMEM_PAGE_SIZE)

/** What is still to be sent. */
struct client_words {
	uint8_t bytes[3 * MIB];
	size_t length;
};

extern struct test_nbd_scene client_scene;
extern struct test_nbd_server client_server;
extern struct client_words client_words;

/** A test's fixture: a device without an overflow file. */
void client_set_up(void);
void client_tear_down(void);

void client_say(const void *bytes, size_t length);
void client_say32(uint32_t value);
void client_say_option(uint32_t option, const void *data, uint32_t length);
void client_say_request(uint16_t type, uint16_t flags, uint64_t offset,
			uint32_t length);
void client_say_write(uint64_t offset, uint32_t length, uint8_t byte);

/** Up to transmission, with all there is to agree on. */
void client_say_hello(void);

/** Bytes of the answers to it with the greeting: 18, ACK, context and ACK,
 * export information and ACK. */
#define CLIENT_HELLO_ANSWER (18u + 20 + (20 + 4 + 15) + 20 + (20 + 12) + 20)

/** Send what was said, as far as the server takes it. */
void client_send(void);

/** Receive just length bytes. */
void client_hear(void *to, size_t length);
/** They must be these. */
void client_hear_just(const void *golden, size_t length);
/** They may be any. */
void client_skip(size_t length);

/** The server must hang up without a further word. */
void client_hear_end(void);
/** All that the server says until it hangs up. */
void client_hear_out(void);

/** An option's reply. Returns its type; its data is in data if not NULL. */
uint32_t client_hear_option(uint32_t option, uint8_t *data, uint32_t *length);
/** Say an option that is answered by one reply. Returns its type. */
uint32_t client_ask(uint32_t option, const void *data, uint32_t size);

/** A simple reply's error, and an error chunk's. */
uint32_t client_hear_simple(void);
uint32_t client_hear_error(void);

/** Begin a session in transmission, with structured replies or without. */
void client_begin(bool structured);
/** End it as clients should, and see that the server does. */
void client_end(void);

#endif
