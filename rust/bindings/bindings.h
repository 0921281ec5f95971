/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of the crate's own bindgen run: the kernel interfaces that the
 * kernel's bindings lack, and constants that bindgen cannot evaluate because
 * they are cast expressions in C.
 */

#include <linux/backing-dev.h>
#include <linux/backing-file.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/exportfs.h>
#include <linux/fadvise.h>
#include <linux/filelock.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/fs_stack.h>
#include <linux/iomap.h>
#include <linux/namei.h>
#include <linux/pagemap.h>
#include <linux/pipe_fs_i.h>
#include <linux/splice.h>
#include <linux/statfs.h>
#include <linux/writeback.h>

#include "helpers.h"

#define DIOFS_CONST(type, name) static const type DIOFS_CONST_##name = (__force type)(name)

DIOFS_CONST(unsigned int, FMODE_READ);
DIOFS_CONST(unsigned int, FMODE_WRITE);
DIOFS_CONST(unsigned int, FMODE_NOWAIT);
DIOFS_CONST(unsigned int, FMODE_CAN_ODIRECT);
DIOFS_CONST(unsigned int, FMODE_NOCMTIME);
DIOFS_CONST(unsigned int, FMODE_RANDOM);
DIOFS_CONST(unsigned int, FMODE_NONOTIFY);
DIOFS_CONST(unsigned int, FMODE_NONOTIFY_PERM);

DIOFS_CONST(unsigned int, FOP_DIO_PARALLEL_WRITE);
DIOFS_CONST(unsigned int, FOP_DONTCACHE);

DIOFS_CONST(unsigned int, PMD_ORDER);

DIOFS_CONST(int, POSIX_FADV_RANDOM);

DIOFS_CONST(int, IOCB_DIRECT);
DIOFS_CONST(int, IOCB_NOWAIT);
DIOFS_CONST(int, IOCB_NOIO);
DIOFS_CONST(int, IOCB_DSYNC);
DIOFS_CONST(int, IOCB_SYNC);
DIOFS_CONST(int, IOCB_APPEND);
DIOFS_CONST(int, IOCB_DONTCACHE);
DIOFS_CONST(int, IOCB_WRITE);

DIOFS_CONST(unsigned long, SB_RDONLY);
DIOFS_CONST(unsigned long, SB_SYNCHRONOUS);
DIOFS_CONST(unsigned long, SB_DIRSYNC);
DIOFS_CONST(unsigned long, SB_NOSEC);

DIOFS_CONST(unsigned int, LOOKUP_FOLLOW);
DIOFS_CONST(unsigned int, LOOKUP_DIRECTORY);
DIOFS_CONST(unsigned int, LOOKUP_RCU);

DIOFS_CONST(unsigned int, IOMAP_MAPPED);
DIOFS_CONST(unsigned int, IOMAP_NOWAIT);

DIOFS_CONST(unsigned long, FOLIO_MAPPING_FLAGS);

DIOFS_CONST(unsigned int, GFP_KERNEL);
DIOFS_CONST(unsigned int, __GFP_FS);

