/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a stale page is kept out.
 *
 * Asking: every READ looks at the lower file (fstat) first. If its version is
 * not the one that the file's object id stands for, the file gets a new id,
 * and all pages of the old one are out of reach. So what is got from the store
 * was put under the version that the file has now.
 *
 * Putting: bytes read below may be put under version V only if no write can
 * have been under way while they were read. A changed version shows most
 * writes, but two kinds need more:
 *
 *  - A write sets the change time first and copies its bytes after that, for
 *    seconds if it is large or throttled. So V is PROVEN first: with its
 *    change time past by a tick of the clock, the file is open for writing
 *    nowhere (a read lease is granted). Then no write is under way, and any
 *    later one gets another change time. As long as the version stays V,
 *    nothing was written since. One proof serves all reads of a version.
 *    Where none can be had (a writer keeps the file open, other hosts share
 *    the file system), the version must have been seen for LONG_SEEN.
 *  - Writes through the mount are counted while they are under way, and the
 *    counter of changes tells of those that began and ended meanwhile.
 *
 *      fstat = V -> prove V -> read below -> answer -> fstat = V, no change
 *      through the mount -> put under V
 *
 * With coherency=exclusive nobody else writes. The object id stands for the
 * file, changes through the mount flush their range, and the lock keeps a put
 * from slipping in after the flush.
 *
 * The kernel's own pages of the file: SAME as the version, which was proven
 * before they were read, MIXED, or NONE. Only if SAME, and the version has not
 * changed, does an open keep them.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tmem/client.h>

#include "cache.h"
#include "lower-read.h"
#include "node.h"
#include "notify.h"

#define PAGE ((uint64_t)TMEM_PAGE_SIZE)

/* A READ has 1 MiB at most, which may begin and end inside pages. */
#define MOST_READ  (1u << 20)
#define MOST_PAGES (MOST_READ / TMEM_PAGE_SIZE + 1)

/* An unproven version must have been seen for this long, ns: no write takes
 * longer between its change time and its last byte. */
#define LONG_SEEN (60 * 1000000000ll)

/* Pages held between two missing ones are read again below if no more than
 * this: one read of a disk costs more than their copies. */
#define MOST_GAP 4u

enum page_state {
	PAGE_HELD = TMEM_OK,
	PAGE_MISSING = TMEM_MISS,
	PAGE_READ, /* below: may be put */
};

enum kernel_pages { KERNEL_NONE, KERNEL_SAME, KERNEL_MIXED };

struct fs_cache_file {
	/* Held shared by those who put, alone by those who change what
	 * follows. Innermost but for the store's own. */
	pthread_rwlock_t lock;
	unsigned opens;
	struct fs_reader reader;
	bool known; /* version and oid are set */
	bool proven;
	bool own;	    /* changed through the mount since */
	_Atomic(bool) held; /* something was put under oid */
	struct fs_version version;
	struct tmem_oid oid;
	int64_t seen;	  /* when the version was first, CLOCK_MONOTONIC */
	unsigned writers; /* changes through the mount under way */
	uint64_t change;  /* counts their begins and ends */
	enum kernel_pages kernel;
};

/* A thread's room for one READ. */
struct buffer {
	unsigned char *pages;
	uint8_t state[MOST_PAGES];
};

static void buffer_free(void *ptr)
{
	struct buffer *buffer = ptr;

	free(buffer->pages);
	free(buffer);
}

static struct buffer *thread_buffer(struct fs_cache *cache)
{
	struct buffer *buffer = pthread_getspecific(cache->buffers);

	if (buffer)
		return buffer;
	buffer = calloc(1, sizeof(*buffer));
	if (!buffer)
		return NULL;
	buffer->pages = aligned_alloc(TMEM_PAGE_SIZE, MOST_PAGES * PAGE);
	if (!buffer->pages ||
	    pthread_setspecific(cache->buffers, buffer) != 0) {
		buffer_free(buffer);
		return NULL;
	}
	return buffer;
}

int fs_cache_init(struct fs_cache *cache, enum fs_coherency coherency,
		  struct tmem_pool *pool, struct fs_lower *lower,
		  struct fs_notify *notify)
{
	struct timespec grain;
	int rc;

	*cache = (struct fs_cache){
		.coherency = coherency,
		.pool = pool,
		.lower = lower,
		.notify = notify,
	};
	/* Two: the file's clock may be a tick ahead of the one we read. */
	clock_getres(CLOCK_REALTIME_COARSE, &grain);
	cache->tick = 2 * (grain.tv_sec * 1000000000ll + grain.tv_nsec);
	rc = fs_version_key_init(&cache->key);
	if (rc)
		return rc;
	return -pthread_key_create(&cache->buffers, buffer_free);
}

void fs_cache_deinit(struct fs_cache *cache)
{
	pthread_key_delete(cache->buffers);
}

/* A file's state ------------------------------------------------------------*/

static struct fs_cache_file *file_new(void)
{
	struct fs_cache_file *file = calloc(1, sizeof(*file));
	pthread_rwlockattr_t attr;

	if (!file)
		return NULL;
	/* Writers of a file that is read all the time must get their turn. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&file->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	fs_reader_init(&file->reader);
	return file;
}

void fs_cache_file_free(struct fs_cache_file *file)
{
	if (!file)
		return;
	fs_reader_deinit(&file->reader);
	pthread_rwlock_destroy(&file->lock);
	free(file);
}

/* The node's state, made at its first need; NULL without memory. */
static struct fs_cache_file *file_of(struct fs_node *node)
{
	struct fs_cache_file *file = atomic_load(&node->cache), *other = NULL;

	if (file)
		return file;
	file = file_new();
	if (!file || atomic_compare_exchange_strong(&node->cache, &other, file))
		return file;
	fs_cache_file_free(file);
	return other;
}

static int version_now(int fd, struct fs_version *version)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	fs_version_of(&st, version);
	return 0;
}

static bool current_locked(const struct fs_cache *cache,
			   const struct fs_cache_file *file,
			   const struct fs_version *version)
{
	return file->known && (cache->coherency == FS_EXCLUSIVE ||
			       fs_version_equal(&file->version, version));
}

/* The file is known to have another version: give it another object id.
 * Returns whether the kernel has to drop its pages. */
static bool renew_locked(struct fs_cache *cache, struct fs_node *node,
			 struct fs_cache_file *file,
			 const struct fs_version *version,
			 struct fs_cache_garbage *garbage)
{
	bool exclusive = cache->coherency == FS_EXCLUSIVE;
	/* It knows of changes through the mount; strict, it has no pages but
	 * those of mappings. */
	bool drop = file->kernel != KERNEL_NONE && !file->own &&
		    cache->coherency == FS_OPEN;

	*garbage = (struct fs_cache_garbage){
		.any = file->known && file->held,
		.oid = file->oid,
	};
	if (file->kernel == KERNEL_SAME)
		file->kernel = KERNEL_MIXED;
	fs_version_oid(&cache->key, &node->id, exclusive ? NULL : version,
		       &file->oid);
	file->version = *version;
	file->seen = fs_version_clock(CLOCK_MONOTONIC);
	file->known = true;
	file->proven = exclusive;
	file->own = false;
	file->held = false;
	return drop;
}

void fs_cache_collect(struct fs_cache *cache,
		      const struct fs_cache_garbage *garbage)
{
	if (garbage->any)
		tmem_flush_object(cache->pool, &garbage->oid);
}

/* Opening -------------------------------------------------------------------*/

int fs_cache_open(struct fs_cache *cache, struct fs_node *node, int fd,
		  bool *keep, struct fs_cache_garbage *garbage)
{
	struct fs_cache_file *file = file_of(node);
	struct fs_version version = {.size = 0};
	int rc;

	garbage->any = false;
	if (!file)
		return -ENOMEM;
	pthread_rwlock_wrlock(&file->lock);
	rc = version_now(fd, &version);
	if (rc) {
		pthread_rwlock_unlock(&file->lock);
		return rc;
	}
	file->opens++;
	*keep = cache->coherency == FS_EXCLUSIVE;
	if (current_locked(cache, file, &version)) {
		*keep = *keep || file->kernel == KERNEL_SAME;
	} else if (file->writers == 0) {
		renew_locked(cache, node, file, &version, garbage);
	}
	/* What is not kept, the kernel drops before its opener goes on. */
	if (!*keep)
		file->kernel = file->writers ? KERNEL_MIXED : KERNEL_NONE;
	pthread_rwlock_unlock(&file->lock);
	return 0;
}

void fs_cache_close(struct fs_node *node)
{
	struct fs_cache_file *file = atomic_load(&node->cache);

	pthread_rwlock_wrlock(&file->lock);
	if (--file->opens == 0)
		fs_reader_deinit(&file->reader);
	pthread_rwlock_unlock(&file->lock);
}

void fs_cache_dropping(struct fs_node *node)
{
	struct fs_cache_file *file = atomic_load(&node->cache);

	pthread_rwlock_wrlock(&file->lock);
	file->kernel = file->writers ? KERNEL_MIXED : KERNEL_NONE;
	pthread_rwlock_unlock(&file->lock);
}

/* Changes through the mount -------------------------------------------------*/

int fs_cache_change_begin(struct fs_cache *cache, struct fs_node *node)
{
	struct fs_version any = {.size = 0};
	struct fs_cache_file *file = file_of(node);
	struct fs_cache_garbage none;

	if (!file)
		return -ENOMEM;
	pthread_rwlock_wrlock(&file->lock);
	/* The store may hold pages from before the node was last forgotten. */
	if (cache->coherency == FS_EXCLUSIVE && !file->known)
		renew_locked(cache, node, file, &any, &none);
	file->writers++;
	file->change++;
	file->own = true;
	file->kernel = KERNEL_MIXED;
	pthread_rwlock_unlock(&file->lock);
	return 0;
}

static void flush_range(struct fs_cache *cache, const struct tmem_oid *oid,
			uint64_t off, uint64_t size)
{
	uint64_t first = off / PAGE, last;

	if (first > UINT32_MAX || size == 0)
		return;
	last = size > UINT64_MAX - off ? UINT64_MAX : off + size - 1;
	last = last / PAGE > UINT32_MAX ? UINT32_MAX : last / PAGE;
	tmem_flush_run(cache->pool, oid, (uint32_t)first, last - first + 1);
}

void fs_cache_change_end(struct fs_cache *cache, struct fs_node *node,
			 uint64_t off, uint64_t size)
{
	struct fs_cache_file *file = atomic_load(&node->cache);

	/* Versioned, the old pages are out of reach by their name. */
	if (cache->coherency == FS_EXCLUSIVE && cache->pool)
		flush_range(cache, &file->oid, off, size);
	pthread_rwlock_wrlock(&file->lock);
	assert(file->writers > 0);
	file->writers--;
	file->change++;
	pthread_rwlock_unlock(&file->lock);
}

/* Reading -------------------------------------------------------------------*/

static void view_locked(const struct fs_cache_file *file,
			struct fs_cache_read *read, bool usable)
{
	read->usable = usable;
	read->proven = file->proven;
	read->ready = file->reader.tried;
	read->oid = file->oid;
	read->change = file->change;
}

/* Look at the lower file, and at what the store may know of it. */
static int look(struct fs_cache *cache, struct fs_cache_file *file,
		struct fs_cache_read *read)
{
	bool known, drop = false;
	int rc;

	rc = version_now(read->fd, &read->version);
	if (rc)
		return rc;
	pthread_rwlock_rdlock(&file->lock);
	known = current_locked(cache, file, &read->version) &&
		file->kernel != KERNEL_NONE;
	view_locked(file, read, known);
	pthread_rwlock_unlock(&file->lock);
	if (known)
		return 0;

	pthread_rwlock_wrlock(&file->lock);
	/* Again: meanwhile somebody may have found a newer version. */
	rc = version_now(read->fd, &read->version);
	known = current_locked(cache, file, &read->version);
	if (rc == 0 && !known && file->writers == 0) {
		drop = renew_locked(cache, read->node, file, &read->version,
				    &read->garbage);
		known = true;
	}
	if (file->kernel == KERNEL_NONE || !known)
		file->kernel = known && file->writers == 0 ? KERNEL_SAME
							   : KERNEL_MIXED;
	view_locked(file, read, known);
	pthread_rwlock_unlock(&file->lock);
	if (drop)
		fs_notify_drop(cache->notify, read->node);
	return rc;
}

/* Prove the version before something is read below to be put under it, or to
 * be kept by the kernel. */
static void prove(struct fs_cache *cache, struct fs_cache_file *file,
		  struct fs_cache_read *read)
{
	int64_t now = fs_version_clock(CLOCK_REALTIME_COARSE);
	bool current;

	if (read->ready && (!read->usable || read->proven))
		return;
	pthread_rwlock_wrlock(&file->lock);
	fs_reader_open(&file->reader, cache->lower, read->fd);
	current = current_locked(cache, file, &read->version);
	if (read->usable && current && !file->proven &&
	    fs_version_settled(&read->version, now, cache->tick) &&
	    fs_reader_alone(&file->reader))
		file->proven = true;
	read->proven = current && file->proven;
	read->long_seen =
		current &&
		fs_version_clock(CLOCK_MONOTONIC) - file->seen >= LONG_SEEN;
	if (!read->proven)
		file->kernel = KERNEL_MIXED;
	pthread_rwlock_unlock(&file->lock);
}

/* Pages [*from, end) that are read below at once; false when none is missing
 * any more. */
static bool next_missing(const struct fs_cache_read *read, uint32_t *from,
			 uint32_t *end)
{
	uint32_t i = *from, gap = 0;

	while (i < read->count && read->state[i] != PAGE_MISSING)
		i++;
	if (i == read->count)
		return false;
	*from = i;
	for (; i < read->count && gap <= MOST_GAP; i++) {
		gap = read->state[i] == PAGE_MISSING ? 0 : gap + 1;
		if (gap == 0)
			*end = i + 1;
	}
	return true;
}

/* Note what a read below of pages [from, end) brought: got bytes, the rest
 * zeros. The file's last page counts as whole. */
static void note_read(struct fs_cache_read *read, uint32_t from, uint32_t end,
		      uint64_t got)
{
	uint64_t start = (read->first + from) * PAGE;
	uint64_t size = (uint64_t)(end - from) * PAGE;
	uint64_t whole =
		start + got == read->version.size ? size : got / PAGE * PAGE;

	memset(read->pages + from * PAGE + got, 0, size - got);
	for (uint32_t i = from; i < end; i++)
		if (read->state[i] == PAGE_MISSING &&
		    (i - from + 1) * PAGE <= whole)
			read->state[i] = PAGE_READ;
}

/* Read below what the store did not have. *reach becomes the file offset up
 * to which there is data. */
static int read_missing(struct fs_cache *cache, struct fs_cache_file *file,
			struct fs_cache_read *read, uint64_t *reach)
{
	uint32_t from = 0, end = 0;
	uint64_t size;
	ssize_t got;
	bool direct;

	prove(cache, file, read);
	for (; next_missing(read, &from, &end); from = end) {
		size = (uint64_t)(end - from) * PAGE;
		got = fs_reader_read(&file->reader, read->fd,
				     read->pages + from * PAGE, size,
				     (read->first + from) * PAGE, &direct);
		if (got < 0)
			return (int)got;
		note_read(read, from, end, (uint64_t)got);
		/* Unproven, but seen for long: a mapping's stores show no
		 * change time until they were written out, which a direct
		 * read does first. */
		if (!read->proven && !(direct && read->long_seen))
			read->usable = false;
		if ((uint64_t)got < size) {
			*reach = (read->first + from) * PAGE + (uint64_t)got;
			break;
		}
	}
	return 0;
}

static void get_pages(struct fs_cache *cache, struct fs_cache_read *read)
{
	uint32_t done = 0, run;

	memset(read->state, PAGE_MISSING, read->count);
	/* The store counts pages in 32 bits: 16 TiB. */
	if (!cache->pool || read->first + read->count > UINT32_MAX)
		read->usable = false;
	for (; read->usable && done < read->count; done += run) {
		run = read->count - done;
		run = run > TMEM_RUN_MAX ? TMEM_RUN_MAX : run;
		if (tmem_get_run(cache->pool, &read->oid,
				 (uint32_t)read->first + done, run,
				 read->pages + done * PAGE,
				 read->state + done) < 0)
			memset(read->state + done, PAGE_MISSING, run);
	}
}

int fs_cache_read(struct fs_cache *cache, struct fs_node *node, int fd,
		  size_t size, uint64_t off, struct fs_cache_read *read)
{
	struct fs_cache_file *file = atomic_load(&node->cache);
	struct buffer *buffer = thread_buffer(cache);
	uint64_t reach;
	int rc;

	assert(size <= MOST_READ);
	*read = (struct fs_cache_read){.node = node, .fd = fd};
	if (!buffer)
		return -ENOMEM;
	rc = look(cache, file, read);
	if (rc || off >= read->version.size)
		return rc;
	if (size > read->version.size - off)
		size = read->version.size - off;
	read->first = off / PAGE;
	read->count = (uint32_t)((off + size - 1) / PAGE - read->first + 1);
	read->pages = buffer->pages;
	read->state = buffer->state;
	get_pages(cache, read);
	reach = off + size;
	rc = read_missing(cache, file, read, &reach);
	if (rc)
		return rc;
	if (reach < off + size)
		size = reach > off ? reach - off : 0;
	read->data = read->pages + (off - read->first * PAGE);
	read->size = size;
	return 0;
}

static void put_pages(struct fs_cache *cache, struct fs_cache_file *file,
		      const struct fs_cache_read *read)
{
	uint32_t from, end;

	for (from = 0; from < read->count; from = end) {
		end = from + 1;
		if (read->state[from] != PAGE_READ)
			continue;
		while (end < read->count && end - from < TMEM_RUN_MAX &&
		       read->state[end] == PAGE_READ)
			end++;
		file->held = true;
		tmem_put_run(cache->pool, &read->oid,
			     (uint32_t)read->first + from, end - from,
			     read->pages + from * PAGE, NULL);
	}
}

void fs_cache_fill(struct fs_cache *cache, struct fs_cache_read *read)
{
	struct fs_cache_file *file = atomic_load(&read->node->cache);
	struct fs_version version = {.size = 0};

	fs_cache_collect(cache, &read->garbage);
	if (!read->usable || !read->count ||
	    !memchr(read->state, PAGE_READ, read->count))
		return;
	if (version_now(read->fd, &version) ||
	    (cache->coherency != FS_EXCLUSIVE &&
	     !fs_version_equal(&version, &read->version)))
		return;
	pthread_rwlock_rdlock(&file->lock);
	if (current_locked(cache, file, &read->version) && file->writers == 0 &&
	    file->change == read->change)
		put_pages(cache, file, read);
	pthread_rwlock_unlock(&file->lock);
}
