/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Beginning a device, and finding one again. A device is in three places that
 * must belong together: the record in its pool, the header of its overflow
 * file, and what a keeper remembers. All carry the random number that was made
 * when the device began.
 */
#include "device.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include "buffer.h"
#include "log.h"
#include "size.h"

#define REPORT_SECONDS 5

const struct tmem_oid nbd_device_oid = {{0, 0, 0}};
const struct tmem_oid nbd_device_record_oid = {{1, 0, 0}};

static const char record_magic[8] = "tmem-nbd";
static const struct tmem_uuid no_device;

/** The device's record, a page of its pool. Native byte order, as the arena's:
 * it never leaves the machine. */
union record {
	struct {
		char magic[8];
		uint64_t size;
		struct tmem_uuid device;
		uint8_t has_overflow;
	};
	uint8_t page[TMEM_PAGE_SIZE];
};

/** What was found before the device is opened. */
struct findings {
	bool kept; /* record is valid */
	union record record;
	bool formatted; /* header is valid */
	struct nbd_overflow_header header;
	uint64_t generation; /* of the arena */
};

static bool same_device(const struct tmem_uuid *a, const struct tmem_uuid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static int find(const struct tmem_nbd_export_config *config,
		struct tmem_pool *pool, struct findings *found, char *why,
		size_t why_size)
{
	int r;

	r = tmem_get(pool, &nbd_device_record_oid, 0, found->record.page);
	if (r < 0)
		return r;
	found->kept = r == TMEM_OK && !memcmp(found->record.magic, record_magic,
					      sizeof(record_magic));
	if (config->overflow_fd < 0)
		return 0;
	r = nbd_overflow_is_disk(config->overflow_fd) && !config->host_swap
		    ? -EOPNOTSUPP
		    : nbd_overflow_probe(config->overflow_fd, &found->header);
	found->formatted = !r;
	if (!r || r == -ENODATA)
		return 0;
	if (r == -EMEDIUMTYPE)
		snprintf(
			why, why_size,
			"the overflow file is not empty and not an overflow file: name another, or empty it if its data is not needed (a disk: blkdiscard -z)");
	else if (r == -EOPNOTSUPP)
		snprintf(
			why, why_size,
			"the overflow file is no regular file: of a disk or partition, name a file in a file system on it, unless it is for --host-swap");
	else if (r == -EBUSY)
		snprintf(
			why, why_size,
			"the overflow file is in use by another server: name another");
	else
		snprintf(why, why_size, "reading the overflow file failed: %s",
			 strerror(-r));
	return r;
}

/** Judge a pool that holds a device. */
static int check_kept(const struct tmem_nbd_export_config *config,
		      const struct findings *found, char *why, size_t why_size)
{
	const union record *record = &found->record;
	char text[TMEM_SIZE_TEXT];

	/* Its owner can reach the pool by another way. */
	if (!tmem_nbd_size_is_valid(record->size)) {
		snprintf(
			why, why_size,
			"the kept device's record is damaged: reset the device to begin an empty one");
		return -EINVAL;
	}
	if (config->size && config->size < record->size) {
		snprintf(
			why, why_size,
			"the kept device has a size of %s, and can only grow: leave the size out, or reset it to begin an empty one",
			tmem_size_format(record->size, text));
		return -EINVAL;
	}
	if (!same_device(&config->device, &no_device) &&
	    !same_device(&config->device, &record->device)) {
		snprintf(why, why_size,
			 "the store holds another device of this name");
		return -ESTALE;
	}
	if (record->has_overflow && config->overflow_fd < 0) {
		snprintf(
			why, why_size,
			"the kept device has pages in an overflow file: name that file, or reset the device to begin an empty one");
		return -ESTALE;
	}
	if (found->formatted
		    ? !same_device(&found->header.device, &record->device)
		    : record->has_overflow) {
		snprintf(
			why, why_size,
			"the overflow file is not the kept device's: name the right one, or reset the device to begin an empty one");
		return -ESTALE;
	}
	return 0;
}

/** Judge a pool that holds none. */
static int check_new(const struct tmem_nbd_export_config *config,
		     const struct findings *found, char *why, size_t why_size)
{
	if (!same_device(&config->device, &no_device)) {
		snprintf(
			why, why_size,
			"the store no longer holds the device: its pages are lost");
		return -ESTALE;
	}
	if (found->formatted) {
		snprintf(
			why, why_size,
			"the overflow file belongs to a device that this store does not hold (file's generation %016llx, store's %016llx): the pages it had in memory are lost; remove the file, or reset it to begin an empty device",
			(unsigned long long)found->header.generation,
			(unsigned long long)found->generation);
		return -ESTALE;
	}
	if (!config->size) {
		snprintf(
			why, why_size,
			"there is no kept device of this name: a new one needs a size");
		return -EINVAL;
	}
	return 0;
}

/** A device that there was not: its record, to be put, and none of the pages of
 * one whose reset was cut short. */
static int make_record(const struct tmem_nbd_export_config *config,
		       struct tmem_pool *pool, union record *record)
{
	int r = tmem_flush_object(pool, &nbd_device_oid);

	if (r < 0)
		return r;
	memset(record, 0, sizeof(*record));
	memcpy(record->magic, record_magic, sizeof(record_magic));
	record->size = config->size;
	if (getrandom(&record->device, sizeof(record->device), 0) !=
	    sizeof(record->device))
		return -errno;
	return 0;
}

/** The size of a kept device from now on: it may be to grow, or have been when
 * the last process was killed. */
static uint64_t grown_size(const struct tmem_nbd_export_config *config,
			   const struct findings *found)
{
	uint64_t size = found->record.size;

	if (config->size > size)
		size = config->size;
	if (found->formatted && found->header.size > size)
		size = found->header.size;
	return size;
}

/** Have a kept device grow, if it is to: first its file and then its record, so
 * that a crash in between leaves what is done once more. *grew tells. */
static int grow(const struct tmem_nbd_export_config *config,
		struct findings *found, bool *grew, char *why, size_t why_size)
{
	uint64_t size = grown_size(config, found);
	int r = 0;

	*grew = size > found->record.size;
	if (*grew && found->formatted)
		r = nbd_overflow_grow(config->overflow_fd, &found->header,
				      found->record.size, size);
	if (r < 0)
		snprintf(why, why_size, "growing the overflow file failed: %s",
			 strerror(-r));
	else
		found->record.size = size;
	return r;
}

/** Put the record. One that is refused leaves that of a kept device. */
static int put_record(struct tmem_pool *pool, const union record *record,
		      char *why, size_t why_size)
{
	int r = tmem_replace_run(pool, &nbd_device_record_oid, 0, 1,
				 record->page, NULL);

	if (r == 1)
		return 0;
	snprintf(
		why, why_size,
		"the store has no room for the device's record: raise its budget");
	return r < 0 ? r : -ENOSPC;
}

/** Give a device its number, its overflow file's header and its record, in an
 * order in which a crash leaves either nothing or what is refused clearly. */
static int begin(const struct tmem_nbd_export_config *config,
		 struct tmem_pool *pool, struct findings *found, char *why,
		 size_t why_size)
{
	bool format = config->overflow_fd >= 0 && !found->formatted;
	union record *record = &found->record;
	bool grew = false;
	int r;

	r = found->kept ? grow(config, found, &grew, why, why_size)
			: make_record(config, pool, record);
	if (r < 0)
		return r;
	if (format) {
		found->header.size = record->size;
		found->header.generation = found->generation;
		found->header.device = record->device;
		r = nbd_overflow_format(config->overflow_fd, &found->header);
		if (r < 0) {
			snprintf(why, why_size,
				 "making the overflow file failed: %s",
				 strerror(-r));
			return r;
		}
	}
	if (found->kept && !grew &&
	    record->has_overflow == (config->overflow_fd >= 0))
		return 0;
	record->has_overflow = config->overflow_fd >= 0;
	r = put_record(pool, record, why, why_size);
	if (r < 0 && format)
		(void)nbd_overflow_erase(config->overflow_fd);
	return r;
}

/** Forget what pool and file hold; begin() does the rest. */
static int reset(const struct tmem_nbd_export_config *config,
		 struct tmem_pool *pool, struct findings *found, char *why,
		 size_t why_size)
{
	int r;

	if (!config->size) {
		snprintf(why, why_size, "resetting a device needs a size");
		return -EINVAL;
	}
	r = tmem_flush_object(pool, &nbd_device_record_oid);
	if (r < 0)
		return r;
	found->kept = false;
	found->formatted = false;
	return 0;
}

static int make(const struct tmem_nbd_export_config *config,
		struct tmem_pool *pool, const struct findings *found,
		struct nbd_device **out)
{
	struct nbd_device *device = calloc(1, sizeof(*device));
	int r;

	if (!device)
		return -ENOMEM;
	device->pool = pool;
	device->name = config->name;
	device->size = found->record.size;
	device->pages = (device->size + TMEM_PAGE_SIZE - 1) / TMEM_PAGE_SIZE;
	device->id = found->record.device;
	device->exact = !found->kept;
	pthread_mutex_init(&device->report_lock, NULL);
	nbd_overflow_init(&device->overflow, config->overflow_fd, device->size);
	r = nbd_range_lock_init(&device->range_lock);
	if (r < 0)
		goto err1;
	r = nbd_page_map_init(&device->held, device->pages, found->kept);
	if (r < 0)
		goto err2;
	r = nbd_page_map_init(&device->spilled, device->pages, false);
	if (r < 0)
		goto err3;
	/* A new one has nothing in its file. */
	if (config->overflow_fd >= 0 && found->kept)
		r = nbd_overflow_scan(&device->overflow, &device->spilled);
	if (r < 0)
		goto err4;
	*out = device;
	return 0;
err4:
	nbd_page_map_deinit(&device->spilled);
err3:
	nbd_page_map_deinit(&device->held);
err2:
	nbd_range_lock_deinit(&device->range_lock);
err1:
	pthread_mutex_destroy(&device->report_lock);
	free(device);
	return r;
}

int nbd_device_open(const struct tmem_nbd_export_config *config,
		    struct tmem_pool *pool, uint64_t generation,
		    struct nbd_device **out, char *why, size_t why_size)
{
	struct findings found = {.generation = generation};
	int r;

	*why = '\0';
	r = find(config, pool, &found, why, why_size);
	if (!r && config->reset)
		r = reset(config, pool, &found, why, why_size);
	if (!r)
		r = found.kept ? check_kept(config, &found, why, why_size)
			       : check_new(config, &found, why, why_size);
	if (!r)
		r = begin(config, pool, &found, why, why_size);
	if (!r)
		r = make(config, pool, &found, out);
	if (r < 0 && !*why)
		snprintf(why, why_size, "opening the device failed: %s",
			 strerror(-r));
	return r;
}

struct nbd_device *nbd_device_close(struct nbd_device *device)
{
	if (!device)
		return NULL;
	nbd_page_map_deinit(&device->spilled);
	nbd_page_map_deinit(&device->held);
	nbd_range_lock_deinit(&device->range_lock);
	pthread_mutex_destroy(&device->report_lock);
	free(device);
	return NULL;
}

void nbd_device_report(struct nbd_device *device, const char *format, ...)
{
	struct timespec now;
	unsigned skipped;
	char line[256];
	va_list args;
	bool skip;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	pthread_mutex_lock(&device->report_lock);
	skip = now.tv_sec < device->report_next;
	skipped = device->reports_skipped;
	device->reports_skipped = skip ? skipped + 1 : 0;
	if (!skip)
		device->report_next = now.tv_sec + REPORT_SECONDS;
	pthread_mutex_unlock(&device->report_lock);
	if (skip)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (skipped)
		tmem_log(LOG_ERR, "%s: %s (and %u errors before)", device->name,
			 line, skipped);
	else
		tmem_log(LOG_ERR, "%s: %s", device->name, line);
}

#define TRANSFER_BYTES                                                         \
	((size_t)(TMEM_RUN_MAX + 2 * NBD_READ_AHEAD) * TMEM_PAGE_SIZE)

int nbd_transfer_init(struct nbd_transfer *transfer)
{
	transfer->memory = nbd_buffer_new(TRANSFER_BYTES);
	return transfer->memory ? 0 : -ENOMEM;
}

void nbd_transfer_deinit(struct nbd_transfer *transfer)
{
	nbd_buffer_free(transfer->memory, TRANSFER_BYTES);
	transfer->memory = NULL;
}

int nbd_io_init(struct nbd_io *io, const struct nbd_device *device)
{
	int r;

	memset(io, 0, sizeof(*io));
	if (device->overflow.fd < 0)
		return 0;
	r = nbd_transfer_init(&io->transfer);
	if (!r)
		nbd_overflow_io_init(&io->overflow, !device->host_swap);
	return r;
}

void nbd_io_deinit(struct nbd_io *io)
{
	nbd_overflow_io_deinit(&io->overflow);
	nbd_transfer_deinit(&io->transfer);
}
