/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tmemfs that writes down what it is asked for: a trace for the simulator.
 * The program is tmemfs itself, linked so that the operations that read or
 * change a file's bytes come by here first (ld's --wrap). What is written is
 * what the guest's kernel asks for, so it does not depend on what the store
 * holds. The format stands in trace.h; TMEM_TRACE in the environment names the
 * file.
 *
 * Threading: any thread; lines are written under stdio's lock, in the order in
 * which requests come.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ops.h"

#define PAGE UINT64_C(4096)

/* The wrapped operations: ld gives them these names. */
void __real_fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi);
void __wrap_fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi);
void __real_fs_op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
			size_t size, off_t off, struct fuse_file_info *fi);
void __wrap_fs_op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
			size_t size, off_t off, struct fuse_file_info *fi);
void __real_fs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			  int to_set, struct fuse_file_info *fi);
void __wrap_fs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			  int to_set, struct fuse_file_info *fi);
void __real_fs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
			    off_t size, struct fuse_file_info *fi);
void __wrap_fs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
			    off_t size, struct fuse_file_info *fi);
void __real_fs_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in,
				  off_t off_in, struct fuse_file_info *fi_in,
				  fuse_ino_t ino_out, off_t off_out,
				  struct fuse_file_info *fi_out, size_t size,
				  int flags);
void __wrap_fs_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in,
				  off_t off_in, struct fuse_file_info *fi_in,
				  fuse_ino_t ino_out, off_t off_out,
				  struct fuse_file_info *fi_out, size_t size,
				  int flags);

static FILE *trace;

__attribute__((constructor)) static void open_trace(void)
{
	const char *path = getenv("TMEM_TRACE");

	if (!path)
		return;
	trace = fopen(path, "ae");
	if (!trace) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

/* Whole files, whatever their version: changes are in the trace. */
static void note(struct fs *fs, const struct fs_node *node, char what,
		 uint64_t off, uint64_t size)
{
	struct tmem_oid oid;

	if (!trace || !size)
		return;
	fs_version_oid(&fs->cache.key, &node->id, NULL, &oid);
	fprintf(trace, "%c %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n", what,
		oid.word[0], off / PAGE,
		(off + size - 1) / PAGE - off / PAGE + 1);
}

void __wrap_fs_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	const struct fs_file *file = fs_file_of(fi);
	uint64_t most = size, from = (uint64_t)off;
	struct stat st;

	if (fstat(file->fd, &st) || from >= (uint64_t)st.st_size)
		most = 0;
	else if (most > (uint64_t)st.st_size - from)
		most = (uint64_t)st.st_size - from;
	note(fs_of(req), file->node, 'r', from, most);
	__real_fs_op_read(req, ino, size, off, fi);
}

void __wrap_fs_op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
			size_t size, off_t off, struct fuse_file_info *fi)
{
	note(fs_of(req), fs_file_of(fi)->node, 'w', (uint64_t)off, size);
	__real_fs_op_write(req, ino, data, size, off, fi);
}

void __wrap_fs_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
			  int to_set, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);

	if (to_set & FUSE_SET_ATTR_SIZE)
		note(fs, fs_node_of(fs, ino), 'f', (uint64_t)attr->st_size,
		     (UINT64_C(1) << 44) - (uint64_t)attr->st_size);
	__real_fs_op_setattr(req, ino, attr, to_set, fi);
}

void __wrap_fs_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
			    off_t size, struct fuse_file_info *fi)
{
	note(fs_of(req), fs_file_of(fi)->node, 'f', (uint64_t)off,
	     (uint64_t)size);
	__real_fs_op_fallocate(req, ino, mode, off, size, fi);
}

void __wrap_fs_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in,
				  off_t off_in, struct fuse_file_info *fi_in,
				  fuse_ino_t ino_out, off_t off_out,
				  struct fuse_file_info *fi_out, size_t size,
				  int flags)
{
	note(fs_of(req), fs_file_of(fi_out)->node, 'f', (uint64_t)off_out,
	     size);
	__real_fs_op_copy_file_range(req, ino_in, off_in, fi_in, ino_out,
				     off_out, fi_out, size, flags);
}
