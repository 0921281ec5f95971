// SPDX-License-Identifier: GPL-2.0
/* Inlines of linux/pipe_fs_i.h, and what fs/pipe.c keeps to itself. */

#include <linux/fs.h>
#include <linux/pipe_fs_i.h>

#include "helpers.h"

/* As pipe_lock(), which skips the pipes that belong to one task. */
bool diofs_helper_pipe_trylock(struct pipe_inode_info *pipe)
{
	return !pipe->files || mutex_trylock(&pipe->mutex);
}

/* The buffer that will be the first when @taken have been taken; NULL if there is none. */
struct pipe_buffer *diofs_helper_pipe_buf_after(const struct pipe_inode_info *pipe,
						unsigned int taken)
{
	if (taken >= pipe_occupancy(pipe->head, pipe->tail))
		return NULL;
	return pipe_buf(pipe, pipe->tail + taken);
}

int diofs_helper_pipe_buf_confirm(struct pipe_inode_info *pipe, struct pipe_buffer *buf)
{
	return pipe_buf_confirm(pipe, buf);
}
