// SPDX-License-Identifier: GPL-2.0
/* Inlines of linux/pagemap.h, linux/mm.h, linux/bvec.h and linux/uio.h. */

#include <linux/bvec.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/uio.h>

#include "helpers.h"

void diofs_helper_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void diofs_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

int diofs_helper_folio_lock_killable(struct folio *folio)
{
	return folio_lock_killable(folio);
}

bool diofs_helper_folio_test_dirty(struct folio *folio)
{
	return folio_test_dirty(folio);
}

bool diofs_helper_folio_test_uptodate(struct folio *folio)
{
	return folio_test_uptodate(folio);
}

size_t diofs_helper_folio_size(struct folio *folio)
{
	return folio_size(folio);
}

loff_t diofs_helper_folio_pos(struct folio *folio)
{
	return folio_pos(folio);
}

struct folio *diofs_helper_page_folio(struct page *page)
{
	return page_folio(page);
}

ssize_t diofs_helper_folio_mkwrite_check_truncate(struct folio *folio, struct inode *inode)
{
	return folio_mkwrite_check_truncate(folio, inode);
}

void diofs_helper_folio_zero_segment(struct folio *folio, size_t start, size_t end)
{
	folio_zero_segment(folio, start, end);
}

void diofs_helper_filemap_invalidate_lock(struct address_space *mapping)
{
	filemap_invalidate_lock(mapping);
}

void diofs_helper_filemap_invalidate_unlock(struct address_space *mapping)
{
	filemap_invalidate_unlock(mapping);
}

void diofs_helper_mapping_set_folio_order_range(struct address_space *mapping,
						unsigned int min, unsigned int max)
{
	mapping_set_folio_order_range(mapping, min, max);
}

void diofs_helper_mapping_set_gfp_mask(struct address_space *mapping, gfp_t gfp)
{
	mapping_set_gfp_mask(mapping, gfp);
}

void diofs_helper_mapping_set_may_deadlock_on_reclaim(struct address_space *mapping)
{
	mapping_set_writeback_may_deadlock_on_reclaim(mapping);
}

void diofs_helper_mapping_set_error(struct address_space *mapping, int error)
{
	mapping_set_error(mapping, error);
}

struct folio *diofs_helper_filemap_lock_folio(struct address_space *mapping, pgoff_t index)
{
	return filemap_lock_folio(mapping, index);
}

loff_t diofs_helper_readahead_pos(struct readahead_control *rac)
{
	return readahead_pos(rac);
}

size_t diofs_helper_readahead_length(struct readahead_control *rac)
{
	return readahead_length(rac);
}

void diofs_helper_bvec_set_folio(struct bio_vec *bv, struct folio *folio, size_t len,
				 size_t offset)
{
	bvec_set_folio(bv, folio, len, offset);
}

bool diofs_helper_iov_iter_extract_will_pin(const struct iov_iter *iter)
{
	return iov_iter_extract_will_pin(iter);
}

bool diofs_helper_user_backed_iter(const struct iov_iter *iter)
{
	return user_backed_iter(iter);
}

void diofs_helper_init_sync_kiocb(struct kiocb *iocb, struct file *file)
{
	init_sync_kiocb(iocb, file);
}

bool diofs_helper_is_sync_kiocb(struct kiocb *iocb)
{
	return is_sync_kiocb(iocb);
}
