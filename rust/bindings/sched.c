// SPDX-License-Identifier: GPL-2.0
/* Inlines and macros of linux/cred.h, linux/sched/mm.h and linux/workqueue.h. */

#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include "helpers.h"

const struct cred *diofs_helper_override_creds(const struct cred *cred)
{
	return override_creds(cred);
}

const struct cred *diofs_helper_revert_creds(const struct cred *cred)
{
	return revert_creds(cred);
}

unsigned int diofs_helper_memalloc_nofs_save(void)
{
	return memalloc_nofs_save();
}

void diofs_helper_memalloc_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}

unsigned long diofs_helper_local_throttle_save(void)
{
	unsigned long flags = current->flags & PF_LOCAL_THROTTLE;

	current->flags |= PF_LOCAL_THROTTLE;
	return flags;
}

void diofs_helper_local_throttle_restore(unsigned long flags)
{
	current_restore_flags(flags, PF_LOCAL_THROTTLE);
}

void diofs_helper_cap_lower_sys_resource(struct cred *cred)
{
	cap_lower(cred->cap_effective, CAP_SYS_RESOURCE);
}

void diofs_helper_put_group_info(struct group_info *group_info)
{
	put_group_info(group_info);
}

unsigned long diofs_helper_rlimit_fsize(void)
{
	return rlimit(RLIMIT_FSIZE);
}

/* A worker for one filesystem can take locks that a task holds who waits for another's. */
void diofs_helper_init_work_onstack(struct work_struct *work, work_func_t func, unsigned int depth)
{
	static struct lock_class_key keys[FILESYSTEM_MAX_STACK_DEPTH + 1] __maybe_unused;

	INIT_WORK_ONSTACK_KEY(work, func, &keys[min(depth, ARRAY_SIZE(keys) - 1)]);
}

void diofs_helper_destroy_work_on_stack(struct work_struct *work)
{
	destroy_work_on_stack(work);
}

bool diofs_helper_current_is_worker(void)
{
	return current->flags & PF_WQ_WORKER;
}
