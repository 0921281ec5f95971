// SPDX-License-Identifier: GPL-2.0
/* Macros of linux/fs_context.h. */

#include <linux/fs_context.h>

#include "helpers.h"

void diofs_helper_errorf(struct fs_context *fc, const char *message)
{
	errorf(fc, "%s", message);
}

void diofs_helper_infof(struct fs_context *fc, const char *message)
{
	infof(fc, "%s", message);
}
