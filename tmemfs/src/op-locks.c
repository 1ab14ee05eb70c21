/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "ops.h"
#include "thread.h"

/* How often those who wait are tried again, ns, in case somebody below
 * unlocks. Unlocking through the mount wakes them at once. */
#define RETRY 20000000l

/* Somebody's record locks of a node, on a descriptor of its own. */
struct fs_lock_owner {
	struct fs_lock_owner *next;
	uint64_t id;
	const struct fs_file *file; /* last waited, or first locked, through */
	unsigned waiting;	    /* waiters, which need fd to stay */
	pid_t pid;
	int fd;
};

/* A request that waits for a lock. */
struct fs_lock_waiter {
	struct fs_lock_waiter *next;
	struct fs_locks *locks;
	fuse_req_t req;
	struct fs_lock_owner *owner; /* of a record lock */
	struct flock record;
	int fd; /* without an owner: for flock(), with op */
	int op;
	bool interrupted;
	int result;
};

static int try_record(int fd, const struct flock *record)
{
	struct flock lock = *record;

	lock.l_pid = 0; /* OFD locks want it so */
	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

static int try_whole(int fd, int op)
{
	return flock(fd, op | LOCK_NB) ? -errno : 0;
}

/* Waiting -------------------------------------------------------------------*/

/* Take those who are done out of the list, as a list. */
static struct fs_lock_waiter *take_done_locked(struct fs_locks *locks)
{
	struct fs_lock_waiter **link = &locks->waiters, *waiter, *done = NULL;

	while ((waiter = *link)) {
		waiter->result =
			waiter->interrupted || locks->ending ? -EINTR
			: waiter->owner
				? try_record(waiter->owner->fd, &waiter->record)
				: try_whole(waiter->fd, waiter->op);
		if (waiter->result == -EAGAIN || waiter->result == -EACCES) {
			link = &waiter->next;
			continue;
		}
		if (waiter->owner)
			waiter->owner->waiting--;
		*link = waiter->next;
		waiter->next = done;
		done = waiter;
	}
	return done;
}

static void answer(struct fs_lock_waiter *done)
{
	struct fs_lock_waiter *next;

	for (; done; done = next) {
		next = done->next;
		/* After this, nobody interrupts it any more. */
		fuse_req_interrupt_func(done->req, NULL, NULL);
		fs_reply(done->req, done->result);
		free(done);
	}
}

static void wait_locked(struct fs_locks *locks)
{
	struct timespec until;

	if (!locks->waiters) {
		pthread_cond_wait(&locks->wake, &locks->lock);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += RETRY;
	until.tv_sec += until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	pthread_cond_timedwait(&locks->wake, &locks->lock, &until);
}

static void *work(void *arg)
{
	struct fs_locks *locks = arg;
	struct fs_lock_waiter *done;

	pthread_mutex_lock(&locks->lock);
	while (!locks->ending || locks->waiters) {
		if (!locks->ending)
			wait_locked(locks);
		done = take_done_locked(locks);
		pthread_mutex_unlock(&locks->lock);
		answer(done);
		pthread_mutex_lock(&locks->lock);
	}
	pthread_mutex_unlock(&locks->lock);
	return NULL;
}

static void wake(struct fs_locks *locks)
{
	pthread_mutex_lock(&locks->lock);
	pthread_cond_signal(&locks->wake);
	pthread_mutex_unlock(&locks->lock);
}

/* libfuse holds the request's lock here, so it comes before ours. */
static void interrupt(fuse_req_t req, void *data)
{
	struct fs_lock_waiter *waiter = data;

	pthread_mutex_lock(&waiter->locks->lock);
	waiter->interrupted = true;
	pthread_cond_signal(&waiter->locks->wake);
	pthread_mutex_unlock(&waiter->locks->lock);
}

static void wait_for(struct fs_locks *locks, const struct fs_lock_waiter *what)
{
	struct fs_lock_waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter) {
		if (what->owner) {
			pthread_mutex_lock(&locks->lock);
			what->owner->waiting--;
			pthread_mutex_unlock(&locks->lock);
		}
		fs_reply(what->req, -ENOLCK);
		return;
	}
	*waiter = *what;
	waiter->locks = locks;
	fuse_req_interrupt_func(waiter->req, interrupt, waiter);
	pthread_mutex_lock(&locks->lock);
	waiter->next = locks->waiters;
	locks->waiters = waiter;
	pthread_cond_signal(&locks->wake);
	pthread_mutex_unlock(&locks->lock);
}

int fs_locks_init(struct fs_locks *locks)
{
	int rc;

	*locks = (struct fs_locks){.ending = false};
	pthread_mutex_init(&locks->lock, NULL);
	pthread_cond_init(&locks->wake, NULL);
	rc = fs_thread_start(&locks->thread, work, locks);
	locks->running = rc == 0;
	return rc;
}

void fs_locks_deinit(struct fs_locks *locks)
{
	if (!locks->running)
		return;
	pthread_mutex_lock(&locks->lock);
	locks->ending = true;
	pthread_cond_signal(&locks->wake);
	pthread_mutex_unlock(&locks->lock);
	pthread_join(locks->thread, NULL);
	pthread_mutex_destroy(&locks->lock);
	pthread_cond_destroy(&locks->wake);
	locks->running = false;
}

/* Owners --------------------------------------------------------------------*/

static struct fs_lock_owner *find_owner_locked(struct fs_node *node,
					       uint64_t id)
{
	struct fs_lock_owner *owner = node->lock_owners;

	while (owner && owner->id != id)
		owner = owner->next;
	return owner;
}

/* Locks for reading and for writing need a descriptor open for that; the
 * kernel has checked that the owner has one. */
static int open_for_locks(const struct fs_lower *lower, int fd)
{
	static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
	int out = -EBADF;

	for (size_t i = 0; out < 0 && i < sizeof(modes) / sizeof(*modes); i++)
		out = fs_lower_reopen(lower, fd, modes[i]);
	return out;
}

/* An owner, new if need be. Returns NULL and a negative errno in *rc. */
static struct fs_lock_owner *owner_locked(struct fs *fs,
					  const struct fs_file *file,
					  uint64_t id, pid_t pid, int *rc)
{
	struct fs_lock_owner *owner = find_owner_locked(file->node, id);
	int fd;

	if (owner)
		return owner;
	owner = malloc(sizeof(*owner));
	*rc = fd = owner ? open_for_locks(&fs->lower, file->fd) : -ENOMEM;
	if (fd < 0) {
		free(owner);
		return NULL;
	}
	*owner = (struct fs_lock_owner){
		.next = file->node->lock_owners,
		.id = id,
		.file = file,
		.pid = pid,
		.fd = fd,
	};
	file->node->lock_owners = owner;
	return owner;
}

/* End the locks of owners: of that id, or locked first through file. */
static void end_owners(struct fs_locks *locks, struct fs_node *node,
		       const uint64_t *id, const struct fs_file *file)
{
	const struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
	struct fs_lock_owner **link = &node->lock_owners, *owner;

	pthread_mutex_lock(&locks->lock);
	while ((owner = *link)) {
		if (id ? owner->id != *id : owner->file != file) {
			link = &owner->next;
			continue;
		}
		pthread_cond_signal(&locks->wake);
		if (owner->waiting > 0) {
			try_record(owner->fd, &all);
			link = &owner->next;
			continue;
		}
		*link = owner->next;
		close(owner->fd);
		free(owner);
	}
	pthread_mutex_unlock(&locks->lock);
}

void fs_locks_flush(struct fs_locks *locks, struct fs_node *node,
		    uint64_t owner)
{
	end_owners(locks, node, &owner, NULL);
}

void fs_locks_release(struct fs_locks *locks, const struct fs_file *file)
{
	end_owners(locks, file->node, NULL, file);
}

/* Operations ----------------------------------------------------------------*/

/* Who holds a lock that is in the way, if it came through the mount, where the
 * lower file system sees only us. */
static pid_t holder(struct fs *fs, struct fs_node *node, uint64_t id)
{
	pid_t pid = 0;
	unsigned others = 0;

	pthread_mutex_lock(&fs->locks.lock);
	for (struct fs_lock_owner *o = node->lock_owners; o; o = o->next)
		if (o->id != id) {
			pid = o->pid;
			others++;
		}
	pthread_mutex_unlock(&fs->locks.lock);
	return others == 1 ? pid : 0;
}

void fs_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock)
{
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_of(fi);
	struct fs_lock_owner *owner;
	struct flock found = *lock;
	int rc;

	found.l_pid = 0;
	pthread_mutex_lock(&fs->locks.lock);
	owner = find_owner_locked(file->node, fi->lock_owner);
	rc = fcntl(owner ? owner->fd : file->fd, F_OFD_GETLK, &found) ? -errno
								      : 0;
	pthread_mutex_unlock(&fs->locks.lock);
	if (rc) {
		fs_reply(req, rc);
		return;
	}
	if (found.l_type != F_UNLCK && found.l_pid < 0)
		found.l_pid = holder(fs, file->node, fi->lock_owner);
	fuse_reply_lock(req, &found);
}

void fs_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 struct flock *lock, int sleep)
{
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_of(fi);
	struct fs_lock_owner *owner;
	bool waits = false;
	int rc;

	pthread_mutex_lock(&fs->locks.lock);
	owner = owner_locked(fs, file, fi->lock_owner, lock->l_pid, &rc);
	if (owner) {
		rc = try_record(owner->fd, lock);
		waits = (rc == -EAGAIN || rc == -EACCES) && sleep;
		if (waits) {
			owner->waiting++;
			owner->file = file;
		} else if (rc == 0) {
			pthread_cond_signal(&fs->locks.wake);
		}
	}
	pthread_mutex_unlock(&fs->locks.lock);
	if (waits)
		wait_for(&fs->locks, &(struct fs_lock_waiter){
					     .req = req,
					     .owner = owner,
					     .record = *lock,
				     });
	else
		fs_reply(req, rc);
}

void fs_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		 int op)
{
	struct fs *fs = fs_of(req);
	struct fs_file *file = fs_file_of(fi);
	int rc = try_whole(file->fd, op);

	if (rc == -EAGAIN && !(op & LOCK_NB)) {
		wait_for(&fs->locks, &(struct fs_lock_waiter){
					     .req = req,
					     .fd = file->fd,
					     .op = op,
				     });
		return;
	}
	if (rc == 0)
		wake(&fs->locks);
	fs_reply(req, rc);
}
