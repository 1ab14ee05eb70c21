/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#include "version.h"

#define NS_PER_S 1000000000ll

int fs_version_key_init(struct fs_version_key *key)
{
	static_assert(sizeof(key->secret) >= XXH3_SECRET_SIZE_MIN,
		      "secret too short");
	ssize_t got = getrandom(key->secret, sizeof(key->secret), 0);

	if (got < 0)
		return -errno;
	return got == (ssize_t)sizeof(key->secret) ? 0 : -EIO;
}

static int64_t nanoseconds(const struct timespec *t)
{
	return t->tv_sec * NS_PER_S + t->tv_nsec;
}

int64_t fs_version_clock(int clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return nanoseconds(&now);
}

void fs_version_of(const struct stat *st, struct fs_version *version)
{
	*version = (struct fs_version){
		.ctime = nanoseconds(&st->st_ctim),
		.mtime = nanoseconds(&st->st_mtim),
		.size = (uint64_t)st->st_size,
	};
}

void fs_version_oid(const struct fs_version_key *key,
		    const struct fs_identity *id,
		    const struct fs_version *version, struct tmem_oid *oid)
{
	struct {
		uint64_t dev, ino, handle_type, handle_size, versioned;
		struct fs_version version;
		unsigned char handle[FS_HANDLE_MAX];
	} name = {
		.dev = id->dev,
		.ino = id->ino,
		.handle_type = (uint64_t)id->handle_type,
		.handle_size = id->handle_size,
		.versioned = version != NULL,
	};
	size_t size = offsetof(typeof(name), handle) + id->handle_size;
	XXH128_hash_t wide;

	if (version)
		name.version = *version;
	memcpy(name.handle, id->handle, id->handle_size);
	wide = XXH3_128bits_withSecret(&name, size, key->secret,
				       sizeof(key->secret));
	oid->word[0] = wide.low64;
	oid->word[1] = wide.high64;
	/* The same secret read from elsewhere is another hash function. */
	oid->word[2] = XXH3_64bits_withSecret(
		&name, size, key->secret + sizeof(key->secret) - 140, 140);
}

/*
 * How coarse the file system's timestamps are cannot be asked for, but shows:
 * none of a file system with whole seconds has a fraction (and FAT counts in
 * twos).
 */
static int64_t grain(int64_t t)
{
	return t % NS_PER_S == 0 ? 2 * NS_PER_S : 0;
}

bool fs_version_settled(const struct fs_version *version, int64_t now_coarse,
			int64_t tick)
{
	return now_coarse - version->ctime > grain(version->ctime) + tick;
}
