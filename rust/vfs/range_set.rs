// SPDX-License-Identifier: GPL-2.0

//! A set of byte ranges that others can wait on.
//!
//! C headers: [`include/linux/interval_tree.h`](srctree/include/linux/interval_tree.h)
//!
//! A [`RangeSet`] holds ranges that are, for now, closed to somebody. Its members are
//! [`RangeTicket`]s, which their owner embeds in an object of its own, so that entering the set
//! allocates nothing. Entering and leaving are possible from any context.
//!
//! # Ordering
//!
//! The set is made for two parties that each publish something and then look at the other's
//! publication: one enters a range and then looks at a shared place (a page cache, say), the other
//! puts something into that place and then asks the set. [`RangeTicket::enter`] and
//! [`RangeSet::gate`] therefore both contain a full memory barrier, between what came
//! before them and what comes after, also where the answer costs a single load. At least one of
//! the two parties sees the other.

use super::wait::{
    Signals,
    WaitQueue, //
    Wake,
};
use crate::bindings;
pub use crate::pure::{
    byte_range::ByteRange,
    gate::Gate, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ptr, //
};
use kernel::{
    ffi,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::{
            ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
            Atomic, //
        },
        barrier::{
            self,
            Full, //
        },
        new_spinlock_irq,
        Arc,
        SpinLockIrq, //
    },
    time::Jiffies,
};

/// The tree itself; only ever used under the set's lock.
struct Tree {
    root: bindings::rb_root_cached,
    /// What the next ticket to enter is numbered.
    next: u64,
}

// SAFETY: The pointers lead to tickets, which may be reached from any task under the lock.
unsafe impl Send for Tree {}

/// A set of byte ranges, see the module documentation.
#[pin_data]
pub struct RangeSet {
    #[pin]
    tree: SpinLockIrq<Tree>,
    /// How many tickets are in `tree`, so that an empty set is seen by one load.
    members: Atomic<i32>,
    #[pin]
    waiters: WaitQueue,
}

impl RangeSet {
    /// Makes an empty set.
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                tree <- new_spinlock_irq!(
                    Tree { root: bindings::rb_root_cached::default(), next: 0 },
                    "RangeSet"
                ),
                members: Atomic::new(0),
                waiters <- WaitQueue::new(c"RangeSet", static_lock_class!()),
            }),
            GFP_KERNEL,
        )
    }

    /// What the members say of `range`.
    ///
    /// Contains a full barrier, see the module documentation.
    ///
    /// Context: any.
    pub fn gate(&self, range: ByteRange) -> Gate {
        self.gate_before(range, u64::MAX)
    }

    /// What those members say of `range` that entered before `number` was given out.
    fn gate_before(&self, range: ByteRange, number: u64) -> Gate {
        barrier::smp_mb(Full);
        // Who sees that a member has left also sees what that did before.
        if self.members.load(Acquire) == 0 {
            return Gate::Open;
        }
        let mut gate = Gate::Open;
        let mut tree = self.tree.lock();
        let (start, last) = (range.start() as ffi::c_ulong, range.last() as ffi::c_ulong);
        let root = ptr::from_mut(&mut tree.root);
        // SAFETY: The lock guards the tree, whose nodes are those of live tickets.
        let mut node = unsafe { bindings::interval_tree_iter_first(root, start, last) };
        while !node.is_null() {
            // SAFETY: As above; `number` is set before the ticket is linked.
            unsafe {
                let cell = node.cast::<UnsafeCell<bindings::interval_tree_node>>();
                let ticket = kernel::container_of!(cell, RangeTicket, node);
                if *(*ticket).number.get() < number {
                    gate = gate.max(Gate::of_member(*(*ticket).closed.get()));
                    if gate == Gate::Closed {
                        return gate;
                    }
                }
                node = bindings::interval_tree_iter_next(node, start, last);
            }
        }
        gate
    }

    /// Waits until the gate over `range` is better than `gate`, as far as it is up to those that are
    /// in the set now.
    ///
    /// Others may have entered since, so that the wait is not for ever: look again with
    /// [`RangeSet::gate`] after publishing.
    ///
    /// Context: process context, may sleep.
    pub fn wait_better(
        &self,
        gate: Gate,
        range: ByteRange,
        signals: Signals,
        limit: Option<Jiffies>,
    ) -> Wake {
        let number = self.tree.lock().next;
        self.waiters
            .wait(signals, limit, || self.gate_before(range, number) < gate)
    }
}

/// A range that can be a member of a [`RangeSet`].
///
/// Leaves the set when dropped.
///
/// # Invariants
///
/// `node` is linked in the tree of `set` if and only if `set` is `Some`.
#[pin_data(PinnedDrop)]
pub struct RangeTicket {
    node: UnsafeCell<bindings::interval_tree_node>,
    /// Tickets that entered a set later have greater numbers.
    number: UnsafeCell<u64>,
    /// Whether the range is closed. Changed under the lock of the set.
    closed: UnsafeCell<bool>,
    set: UnsafeCell<Option<Arc<RangeSet>>>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: `node` is only touched under the lock of the set, `set` only by the ticket's owner: both
// methods that change it are unsafe and demand that.
unsafe impl Send for RangeTicket {}
// SAFETY: As above.
unsafe impl Sync for RangeTicket {}

impl RangeTicket {
    /// An initialiser of a ticket that is in no set.
    pub fn new() -> impl PinInit<Self> {
        // INVARIANT: Not linked, and no set.
        pin_init!(Self {
            node: UnsafeCell::new(bindings::interval_tree_node::default()),
            number: UnsafeCell::new(0),
            closed: UnsafeCell::new(false),
            set: UnsafeCell::new(None),
            _pin: PhantomPinned,
        })
    }

    /// Makes `range` a member of `set`, closed, unless the ticket is in a set already.
    ///
    /// Contains a full barrier if it does, see the module documentation.
    ///
    /// # Safety
    ///
    /// Nobody else calls a method of this ticket at the same time.
    ///
    /// Context: any.
    pub unsafe fn enter(self: Pin<&Self>, set: &Arc<RangeSet>, range: ByteRange) {
        // SAFETY: The caller has the ticket for itself.
        unsafe {
            if (*self.set.get()).is_some() {
                return;
            }
            (*self.node.get()).start = range.start() as ffi::c_ulong;
            (*self.node.get()).last = range.last() as ffi::c_ulong;
            // INVARIANT: Linked below.
            *self.set.get() = Some(set.clone());
        }
        let mut tree = set.tree.lock();
        // SAFETY: The node is not linked (no set), pinned, and leaves the tree before it dies.
        unsafe {
            *self.number.get() = tree.next;
            *self.closed.get() = true;
            bindings::interval_tree_insert(self.node.get(), ptr::from_mut(&mut tree.root));
        }
        tree.next = tree.next.wrapping_add(1);
        set.members.add(1, Relaxed);
        drop(tree);
        barrier::smp_mb(Full);
    }

    /// Closes the range, or says that it is merely about to be closed; nothing for a ticket that is
    /// in no set.
    ///
    /// Contains a full barrier, see the module documentation.
    ///
    /// # Safety
    ///
    /// Nobody else calls a method of this ticket at the same time.
    ///
    /// Context: any.
    pub unsafe fn set_closed(self: Pin<&Self>, closed: bool) {
        // SAFETY: The caller has the ticket for itself.
        let Some(set) = (unsafe { (*self.set.get()).as_ref() }) else {
            return;
        };
        let tree = set.tree.lock();
        // SAFETY: The lock is held.
        unsafe { *self.closed.get() = closed };
        drop(tree);
        barrier::smp_mb(Full);
        if !closed {
            set.waiters.wake_all();
        }
    }

    /// Leaves the set, if the ticket is in one, and wakes those who wait on it.
    ///
    /// # Safety
    ///
    /// Nobody else calls a method of this ticket at the same time.
    ///
    /// Context: any.
    pub unsafe fn leave(self: Pin<&Self>) {
        // SAFETY: The caller has the ticket for itself.
        let Some(set) = (unsafe { (*self.set.get()).take() }) else {
            return;
        };
        let mut tree = set.tree.lock();
        // SAFETY: By the type invariants the node was linked in this tree.
        unsafe { bindings::interval_tree_remove(self.node.get(), ptr::from_mut(&mut tree.root)) };
        let _ = set.members.fetch_sub(1, Release);
        drop(tree);
        set.waiters.wake_all();
    }
}

#[pinned_drop]
impl PinnedDrop for RangeTicket {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: A mutable reference excludes every other user.
        unsafe { self.as_ref().leave() };
    }
}
