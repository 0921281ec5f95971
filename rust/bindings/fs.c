// SPDX-License-Identifier: GPL-2.0
/* Inlines of linux/fs.h, linux/fsnotify.h, linux/namei.h, linux/mount.h and linux/slab.h. */

#include <linux/fs.h>
#include <linux/fsnotify.h>
#include <linux/mount.h>
#include <linux/mnt_idmapping.h>
#include <linux/namei.h>
#include <linux/slab.h>

#include "helpers.h"

loff_t diofs_helper_i_size_read(const struct inode *inode)
{
	return i_size_read(inode);
}

void diofs_helper_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

void diofs_helper_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

void diofs_helper_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

bool diofs_helper_inode_trylock(struct inode *inode)
{
	return inode_trylock(inode);
}

void diofs_helper_inode_lock_shared(struct inode *inode)
{
	inode_lock_shared(inode);
}

bool diofs_helper_inode_trylock_shared(struct inode *inode)
{
	return inode_trylock_shared(inode);
}

void diofs_helper_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

bool diofs_helper_inode_is_contended(struct inode *inode)
{
	return rwsem_is_contended(&inode->i_rwsem);
}

void diofs_helper_inode_dio_begin(struct inode *inode)
{
	inode_dio_begin(inode);
}

void diofs_helper_inode_dio_end(struct inode *inode)
{
	inode_dio_end(inode);
}

unsigned int diofs_helper_inode_state_read_once(struct inode *inode)
{
	return inode_state_read_once(inode);
}

struct timespec64 diofs_helper_inode_get_atime(const struct inode *inode)
{
	return inode_get_atime(inode);
}

struct timespec64 diofs_helper_inode_get_mtime(const struct inode *inode)
{
	return inode_get_mtime(inode);
}

struct timespec64 diofs_helper_inode_get_ctime(const struct inode *inode)
{
	return inode_get_ctime(inode);
}

void diofs_helper_inode_set_atime(struct inode *inode, struct timespec64 ts)
{
	inode_set_atime_to_ts(inode, ts);
}

void diofs_helper_inode_set_mtime(struct inode *inode, struct timespec64 ts)
{
	inode_set_mtime_to_ts(inode, ts);
}

void diofs_helper_kiocb_start_write(struct kiocb *iocb)
{
	kiocb_start_write(iocb);
}

void diofs_helper_kiocb_end_write(struct kiocb *iocb)
{
	kiocb_end_write(iocb);
}

void diofs_helper_sb_start_write(struct super_block *sb)
{
	sb_start_write(sb);
}

bool diofs_helper_sb_start_write_trylock(struct super_block *sb)
{
	return sb_start_write_trylock(sb);
}

void diofs_helper___sb_writers_release(struct super_block *sb, int level)
{
	__sb_writers_release(sb, level);
}

void diofs_helper_sb_end_write(struct super_block *sb)
{
	sb_end_write(sb);
}

/* The kernel has such a function for the levels on both sides of this one. */
bool diofs_helper_sb_start_pagefault_trylock(struct super_block *sb)
{
	return __sb_start_write_trylock(sb, SB_FREEZE_PAGEFAULT);
}

void diofs_helper_sb_end_pagefault(struct super_block *sb)
{
	sb_end_pagefault(sb);
}

void diofs_helper_file_accessed(struct file *file)
{
	file_accessed(file);
}

ssize_t diofs_helper_generic_write_sync(struct kiocb *iocb, ssize_t count)
{
	return generic_write_sync(iocb, count);
}

void diofs_helper_end_creating(struct dentry *child)
{
	end_creating(child);
}

void diofs_helper_end_removing(struct dentry *child)
{
	end_removing(child);
}

struct mnt_idmap *diofs_helper_mnt_idmap(const struct vfsmount *mnt)
{
	return mnt_idmap(mnt);
}

unsigned int diofs_helper_file_mode(const struct file *file)
{
	return (__force unsigned int)file->f_mode;
}

void diofs_helper_file_mode_set(struct file *file, unsigned int mode)
{
	file->f_mode |= (__force fmode_t)mode;
}

unsigned int diofs_helper_fop_flags(const struct file *file)
{
	return (__force unsigned int)file->f_op->fop_flags;
}

void diofs_helper_fsnotify_access(struct file *file)
{
	fsnotify_access(file);
}

void diofs_helper_fsnotify_modify(struct file *file)
{
	fsnotify_modify(file);
}

bool diofs_helper_is_nosec(const struct inode *inode)
{
	return IS_NOSEC(inode);
}

struct inode *diofs_helper_alloc_inode_sb(struct super_block *sb,
					  struct kmem_cache *cache, gfp_t gfp)
{
	return alloc_inode_sb(sb, cache, gfp);
}

struct kmem_cache *diofs_helper_kmem_cache_create(const char *name, size_t size,
						  size_t align, unsigned int flags,
						  void (*ctor)(void *))
{
	return kmem_cache_create(name, size, align,
				 flags | SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT, ctor);
}

struct dentry *diofs_helper_dget(struct dentry *dentry)
{
	return dget(dentry);
}

void diofs_helper_inode_spin_lock(struct inode *inode)
{
	spin_lock(&inode->i_lock);
}

void diofs_helper_inode_spin_unlock(struct inode *inode)
{
	spin_unlock(&inode->i_lock);
}

kuid_t diofs_helper_inode_kuid(struct mnt_idmap *idmap, const struct inode *inode)
{
	return vfsuid_into_kuid(i_uid_into_vfsuid(idmap, inode));
}

kgid_t diofs_helper_inode_kgid(struct mnt_idmap *idmap, const struct inode *inode)
{
	return vfsgid_into_kgid(i_gid_into_vfsgid(idmap, inode));
}

void diofs_helper_inode_set_lock_classes(struct inode *inode,
					 struct lock_class_key *rwsem,
					 struct lock_class_key *invalidate)
{
	lockdep_set_class(&inode->i_rwsem, rwsem);
	lockdep_set_class(&inode->i_data.invalidate_lock, invalidate);
}

bool diofs_helper_sb_has_encoding(const struct super_block *sb)
{
	return sb_has_encoding(sb);
}

void diofs_helper_sb_set_lock_subclass(struct super_block *sb, int subclass)
{
	int level;

	lockdep_set_subclass(&sb->s_umount, subclass);
	lockdep_set_subclass(&sb->s_vfs_rename_mutex, subclass);
	for (level = 0; level < SB_FREEZE_LEVELS; level++)
		lockdep_set_subclass(&sb->s_writers.rw_sem[level], subclass);
}

void diofs_helper_down_read_nested(struct rw_semaphore *sem, int subclass)
{
	down_read_nested(sem, subclass);
}

bool diofs_helper_d_unhashed(const struct dentry *dentry)
{
	return d_unhashed(dentry);
}

unsigned int diofs_helper_dentry_seq_begin(const struct dentry *dentry)
{
	return read_seqcount_begin(&dentry->d_seq);
}

bool diofs_helper_dentry_seq_retry(const struct dentry *dentry, unsigned int seq)
{
	return read_seqcount_retry(&dentry->d_seq, seq);
}

int diofs_helper_get_write_access(struct inode *inode)
{
	return get_write_access(inode);
}

void diofs_helper_put_write_access(struct inode *inode)
{
	put_write_access(inode);
}

int diofs_helper_inode_generic_drop(struct inode *inode)
{
	return inode_generic_drop(inode);
}
