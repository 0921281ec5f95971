// SPDX-License-Identifier: GPL-2.0
/* Inlines and macros of linux/cred.h, linux/sched/mm.h and linux/workqueue.h. */

#include <linux/cred.h>
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

unsigned long diofs_helper_rlimit_fsize(void)
{
	return rlimit(RLIMIT_FSIZE);
}

void diofs_helper_init_work_onstack(struct work_struct *work, work_func_t func)
{
	INIT_WORK_ONSTACK(work, func);
}

void diofs_helper_destroy_work_on_stack(struct work_struct *work)
{
	destroy_work_on_stack(work);
}
