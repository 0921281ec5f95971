// SPDX-License-Identifier: GPL-2.0

//! Decisions that few values go into: all of them are tried. And flags, of which many are.

use proptest::prelude::*;
use pure::pure::dio_busy::DioBusy;
use pure::pure::flags;
use pure::pure::gate::{Gate, Next, Wake, after_read, after_store};

const GATES: [Gate; 3] = [Gate::Open, Gate::Closing, Gate::Closed];
const WAKES: [Wake; 4] = [Wake::Ready, Wake::TimedOut, Wake::Killed, Wake::Overtaken];

fn waits() -> impl Iterator<Item = (Gate, Wake)> {
    GATES
        .into_iter()
        .flat_map(|gate| WAKES.into_iter().map(move |wake| (gate, wake)))
}

#[test]
fn gates_are_ordered_from_good_to_bad() {
    assert!(Gate::Open < Gate::Closing && Gate::Closing < Gate::Closed);
    // No member, no gate: what one says is never that the gate is open.
    assert_eq!(Gate::of_member(false), Gate::Closing);
    assert_eq!(Gate::of_member(true), Gate::Closed);
}

#[test]
fn no_store_gets_through_a_closed_gate() {
    for ((gate, wake), contended) in waits().flat_map(|w| [(w, false), (w, true)]) {
        let next = after_store(gate, wake, || contended);
        assert_ne!(next, Next::GoOn(Gate::Closed), "{gate:?}, {wake:?}");
        if gate == Gate::Closed {
            assert!(!matches!(next, Next::GoOn(_)), "{wake:?}");
        }
    }
}

#[test]
fn whoever_is_killed_fails_and_whoever_is_woken_looks_anew() {
    for gate in GATES {
        for contended in [false, true] {
            assert_eq!(after_store(gate, Wake::Killed, || contended), Next::Fail);
            assert_eq!(after_store(gate, Wake::Ready, || contended), Next::LookAnew);
        }
        assert_eq!(after_read(gate, Wake::Killed), Next::Fail);
        assert_eq!(after_read(gate, Wake::Ready), Next::LookAnew);
    }
}

#[test]
fn a_wait_with_a_limit_ends() {
    // A read that has waited long enough goes on, whatever the gate. A store gets through one that
    // is closing. At a closed one it waits on for a slow device, but not if somebody may be waiting
    // for what the storing task holds.
    for gate in GATES {
        let store = |contended| after_store(gate, Wake::TimedOut, || contended);
        assert_eq!(after_read(gate, Wake::TimedOut), Next::GoOn(gate));
        assert_ne!(store(true), Next::LookAnew);
        assert_eq!(store(false) == Next::LookAnew, gate == Gate::Closed);
    }
}

#[test]
fn only_waits_at_a_closed_gate_are_given_up() {
    for (gate, wake) in waits() {
        let passed = after_read(gate, wake) == Next::GoOn(Gate::Closed);
        assert_eq!(wake.gave_up(gate), passed, "{gate:?}, {wake:?}");
    }
}

#[test]
fn names_of_values_lead_back_to_them() {
    for value in [DioBusy::Eio, DioBusy::Sync] {
        assert_eq!(DioBusy::from_name(value.name().as_bytes()), Some(value));
    }
}

/// `IOCB_*` flags that have a meaning for the one who waits above only.
const IOCB_APPEND: i32 = libc::RWF_APPEND;
const IOCB_HIPRI: i32 = libc::RWF_HIPRI;
const KERNELS_OWN: std::ops::Range<i32> = 16..31;
const IOCB_DIRECT: i32 = 1 << 17;
const IOCB_WRITE: i32 = 1 << 18;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_other_name_is_a_value(name in proptest::collection::vec(any::<u8>(), 0..8)) {
        let known = [&b"eio"[..], b"sync"].contains(&&name[..]);
        prop_assert_eq!(DioBusy::from_name(&name).is_some(), known);
    }

    #[test]
    fn a_lower_request_has_flags_of_the_upper_one(upper in any::<i32>(), writes in any::<bool>()) {
        let lower = flags::lower_request(upper, writes);
        prop_assert_eq!(lower & !upper & !IOCB_WRITE, 0, "a flag is made up");
        prop_assert_eq!(lower & (IOCB_APPEND | IOCB_HIPRI), 0);
        for bit in KERNELS_OWN {
            let flag = 1 << bit;
            prop_assert!(lower & flag == 0 || [IOCB_DIRECT, IOCB_WRITE].contains(&flag));
        }
        prop_assert!(!writes || lower & IOCB_WRITE != 0);
        for kept in [libc::RWF_DSYNC, libc::RWF_SYNC, libc::RWF_NOWAIT, IOCB_DIRECT] {
            prop_assert_eq!(lower & kept, upper & kept);
        }
        prop_assert_eq!(flags::lower_request(lower, writes), lower);
    }

    #[test]
    fn a_lower_file_is_opened_for_the_same_access(upper in any::<u32>()) {
        let upper = upper as i32;
        let lower = flags::lower_file(upper as u32) as i32;
        prop_assert_eq!(lower & libc::O_ACCMODE, upper & libc::O_ACCMODE);
        let never = libc::O_DIRECT | libc::O_APPEND | libc::O_SYNC | libc::O_CREAT | libc::O_EXCL
            | libc::O_TRUNC | libc::O_NONBLOCK | libc::O_DIRECTORY | libc::O_PATH;
        prop_assert_eq!(lower & never, 0);
        prop_assert_eq!(flags::lower_file(lower as u32) as i32, lower);
    }

    #[test]
    fn a_lower_directory_is_not_made_anew(upper in any::<u32>()) {
        let lower = flags::lower_directory(upper) as i32;
        let never = libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_NOCTTY;
        prop_assert_eq!(lower & never, 0);
        prop_assert_ne!(lower & libc::O_NOATIME, 0);
        prop_assert_eq!(lower & libc::O_ACCMODE, upper as i32 & libc::O_ACCMODE);
    }
}
