/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C helpers for static inlines and macros that Rust cannot call. No logic:
 * each function is the inline it is named after, but for pipes, which are
 * opaque to Rust, and for the flags of the cache of inodes.
 */
#ifndef DIOFS_HELPERS_H
#define DIOFS_HELPERS_H

#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/pagemap.h>

/* fs.c: linux/fs.h, linux/namei.h, linux/mount.h */
loff_t diofs_helper_i_size_read(const struct inode *inode);
void diofs_helper_i_size_write(struct inode *inode, loff_t size);
void diofs_helper_inode_lock(struct inode *inode);
void diofs_helper_inode_unlock(struct inode *inode);
bool diofs_helper_inode_trylock(struct inode *inode);
void diofs_helper_inode_lock_shared(struct inode *inode);
bool diofs_helper_inode_trylock_shared(struct inode *inode);
void diofs_helper_inode_unlock_shared(struct inode *inode);
bool diofs_helper_inode_is_contended(struct inode *inode);
void diofs_helper_inode_dio_begin(struct inode *inode);
void diofs_helper_inode_dio_end(struct inode *inode);
unsigned int diofs_helper_inode_state_read_once(struct inode *inode);
struct timespec64 diofs_helper_inode_get_atime(const struct inode *inode);
struct timespec64 diofs_helper_inode_get_mtime(const struct inode *inode);
struct timespec64 diofs_helper_inode_get_ctime(const struct inode *inode);
void diofs_helper_inode_set_atime(struct inode *inode, struct timespec64 ts);
void diofs_helper_inode_set_mtime(struct inode *inode, struct timespec64 ts);
void diofs_helper_kiocb_start_write(struct kiocb *iocb);
void diofs_helper_kiocb_end_write(struct kiocb *iocb);
void diofs_helper_sb_start_write(struct super_block *sb);
bool diofs_helper_sb_start_write_trylock(struct super_block *sb);
void diofs_helper___sb_writers_release(struct super_block *sb, int level);
void diofs_helper_sb_end_write(struct super_block *sb);
bool diofs_helper_sb_start_pagefault_trylock(struct super_block *sb);
void diofs_helper_sb_end_pagefault(struct super_block *sb);
void diofs_helper_file_accessed(struct file *file);
ssize_t diofs_helper_generic_write_sync(struct kiocb *iocb, ssize_t count);
void diofs_helper_end_creating(struct dentry *child);
void diofs_helper_end_removing(struct dentry *child);
struct mnt_idmap *diofs_helper_mnt_idmap(const struct vfsmount *mnt);
unsigned int diofs_helper_file_mode(const struct file *file);
void diofs_helper_file_mode_set(struct file *file, unsigned int mode);
unsigned int diofs_helper_fop_flags(const struct file *file);
void diofs_helper_fsnotify_access(struct file *file);
void diofs_helper_fsnotify_modify(struct file *file);
bool diofs_helper_is_nosec(const struct inode *inode);
struct inode *diofs_helper_alloc_inode_sb(struct super_block *sb,
					  struct kmem_cache *cache, gfp_t gfp);
struct kmem_cache *diofs_helper_kmem_cache_create(const char *name, size_t size,
						  size_t align, unsigned int flags,
						  void (*ctor)(void *));
struct dentry *diofs_helper_dget(struct dentry *dentry);
void diofs_helper_inode_spin_lock(struct inode *inode);
void diofs_helper_inode_spin_unlock(struct inode *inode);
kuid_t diofs_helper_inode_kuid(struct mnt_idmap *idmap, const struct inode *inode);
kgid_t diofs_helper_inode_kgid(struct mnt_idmap *idmap, const struct inode *inode);
void diofs_helper_inode_set_lock_classes(struct inode *inode,
					 struct lock_class_key *rwsem,
					 struct lock_class_key *invalidate);
void diofs_helper_sb_set_lock_subclass(struct super_block *sb, int subclass);
void diofs_helper_down_read_nested(struct rw_semaphore *sem, int subclass);
int diofs_helper_inode_generic_drop(struct inode *inode);
int diofs_helper_get_write_access(struct inode *inode);
void diofs_helper_put_write_access(struct inode *inode);
bool diofs_helper_sb_has_encoding(const struct super_block *sb);
bool diofs_helper_d_unhashed(const struct dentry *dentry);
unsigned int diofs_helper_dentry_seq_begin(const struct dentry *dentry);
bool diofs_helper_dentry_seq_retry(const struct dentry *dentry, unsigned int seq);

/* fs_context.c: linux/fs_context.h */
void diofs_helper_errorf(struct fs_context *fc, const char *message);
void diofs_helper_infof(struct fs_context *fc, const char *message);

/* pagemap.c: linux/pagemap.h, linux/mm.h, linux/uio.h */
void diofs_helper_folio_get(struct folio *folio);
void diofs_helper_folio_put(struct folio *folio);
int diofs_helper_folio_lock_killable(struct folio *folio);
bool diofs_helper_folio_test_dirty(struct folio *folio);
bool diofs_helper_folio_test_uptodate(struct folio *folio);
size_t diofs_helper_folio_size(struct folio *folio);
loff_t diofs_helper_folio_pos(struct folio *folio);
struct folio *diofs_helper_page_folio(struct page *page);
ssize_t diofs_helper_folio_mkwrite_check_truncate(struct folio *folio, struct inode *inode);
void diofs_helper_folio_zero_segment(struct folio *folio, size_t start, size_t end);
void diofs_helper_filemap_invalidate_lock(struct address_space *mapping);
void diofs_helper_filemap_invalidate_unlock(struct address_space *mapping);
void diofs_helper_mapping_set_folio_order_range(struct address_space *mapping,
						unsigned int min, unsigned int max);
void diofs_helper_mapping_set_gfp_mask(struct address_space *mapping, gfp_t gfp);
void diofs_helper_mapping_set_may_deadlock_on_reclaim(struct address_space *mapping);
void diofs_helper_mapping_set_error(struct address_space *mapping, int error);
struct folio *diofs_helper_filemap_lock_folio(struct address_space *mapping, pgoff_t index);
loff_t diofs_helper_readahead_pos(struct readahead_control *rac);
size_t diofs_helper_readahead_length(struct readahead_control *rac);
void diofs_helper_bvec_set_folio(struct bio_vec *bv, struct folio *folio, size_t len,
				 size_t offset);
bool diofs_helper_iov_iter_extract_will_pin(const struct iov_iter *iter);
bool diofs_helper_user_backed_iter(const struct iov_iter *iter);
void diofs_helper_init_sync_kiocb(struct kiocb *iocb, struct file *file);
bool diofs_helper_is_sync_kiocb(struct kiocb *iocb);

/* pipe.c: linux/pipe_fs_i.h */
bool diofs_helper_pipe_trylock(struct pipe_inode_info *pipe);
struct pipe_buffer *diofs_helper_pipe_buf_after(const struct pipe_inode_info *pipe,
						unsigned int taken);
int diofs_helper_pipe_buf_confirm(struct pipe_inode_info *pipe, struct pipe_buffer *buf);

/* sched.c: linux/cred.h, linux/sched/mm.h, linux/preempt.h */
const struct cred *diofs_helper_override_creds(const struct cred *cred);
const struct cred *diofs_helper_revert_creds(const struct cred *cred);
unsigned int diofs_helper_memalloc_nofs_save(void);
void diofs_helper_memalloc_nofs_restore(unsigned int flags);
unsigned long diofs_helper_local_throttle_save(void);
void diofs_helper_local_throttle_restore(unsigned long flags);
unsigned long diofs_helper_rlimit_fsize(void);
void diofs_helper_cap_lower_sys_resource(struct cred *cred);
void diofs_helper_put_group_info(struct group_info *group_info);
void diofs_helper_init_work_onstack(struct work_struct *work, work_func_t func, unsigned int depth);
bool diofs_helper_current_is_worker(void);
void diofs_helper_destroy_work_on_stack(struct work_struct *work);

#endif /* DIOFS_HELPERS_H */
