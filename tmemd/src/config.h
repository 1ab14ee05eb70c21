/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemd's configuration: one table of keys serves the file (tmemd.conf(5)) and
 * the command line. A command-line option wins over the file.
 *
 * Threading: built by one thread; whoever shares one guards it.
 * Lifetime: init, fill, deinit.
 */
#ifndef TMEMD_CONFIG_H
#define TMEMD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tmem/store.h>
#include "setting.h"

#define TMEMD_CONFIG_PATH "/etc/tmem/tmemd.conf"

/** The most memory the store may use, as written. */
struct tmemd_budget {
	uint64_t bytes;	  /**< absolute, or 0 for a share */
	unsigned percent; /**< of MemAvailable, 1 to 100; with bytes 0 */
};

/** A [client ...] section: what a client of that name gets as it connects. */
struct tmemd_client_rule {
	struct tmemd_client_rule *next; /**< in the file's order */
	char name[TMEM_NAME_MAX];	/**< "*" is every client */
	bool any_uid;
	uid_t uid;
	char domain[TMEM_NAME_MAX]; /**< "" leaves what the client asked for */
	struct tmem_client_settings settings; /**< .set says which are given */
};

struct tmemd_config {
	struct tmemd_budget budget;
	uint64_t capacity; /**< bytes; 0: the machine's RAM */
	char *arena;	   /**< "auto" (also NULL), "none" or a path */
	enum tmem_codec codec;
	uint64_t nursery; /**< as in struct tmem_store_config; so is threads */
	unsigned threads;
	bool no_cold;
	char *socket;	/**< NULL: where this user's tmemd listens */
	char *group;	/**< NULL: nobody but this user and root */
	unsigned grace; /**< seconds that keepers have after a restart */
	int log_level;
	struct tmemd_client_rule *rules;
};

/** The defaults, which need no file. */
void tmemd_config_init(struct tmemd_config *config);
void tmemd_config_deinit(struct tmemd_config *config);

/**
 * Set one key of the main section. Returns 0, or -EINVAL with error (of
 * TMEMD_ERROR_MAX bytes) saying what is wrong with the value and what would be
 * right; -ENOMEM.
 */
int tmemd_config_set(struct tmemd_config *config, const char *key,
		     const char *value, char *error);

/**
 * Read a file over config. Returns 0; -ENOENT without error text when there is
 * no such file; else -errno and error names file, line and remedy. config may
 * have been partly set then.
 */
int tmemd_config_read(struct tmemd_config *config, const char *path,
		      char *error);

/** Bytes that the budget stands for on this machine now, within the capacity.
 * held is memory that the store has already, which MemAvailable no longer
 * counts. */
uint64_t tmemd_config_budget(const struct tmemd_config *config, uint64_t held);

/**
 * What the rules give client name of uid: *domain is left alone unless a rule
 * names one. Later rules win over earlier ones.
 */
void tmemd_config_client(const struct tmemd_config *config, const char *name,
			 uid_t uid, const char **domain,
			 struct tmem_client_settings *settings);

#endif
