// SPDX-License-Identifier: GPL-2.0
/*
 * Shows a piece of the kernel's memory as a file of debugfs, for the counters of
 * an instrumented module: insmod peek.ko start=ADDRESS size=BYTES
 */

#include <linux/debugfs.h>
#include <linux/module.h>

static unsigned long start;
module_param(start, ulong, 0);
MODULE_PARM_DESC(start, "address of the first byte");

static unsigned long size;
module_param(size, ulong, 0);
MODULE_PARM_DESC(size, "number of bytes");

static struct debugfs_blob_wrapper memory;
static struct dentry *file;

static int __init peek_init(void)
{
	memory.data = (void *)start;
	memory.size = size;
	file = debugfs_create_blob("peek", 0400, NULL, &memory);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit peek_exit(void)
{
	debugfs_remove(file);
}

module_init(peek_init);
module_exit(peek_exit);
MODULE_DESCRIPTION("Shows a piece of memory");
MODULE_LICENSE("GPL");
