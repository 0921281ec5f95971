// SPDX-License-Identifier: GPL-2.0
//! A thread that drops, fetches and writes back cached pages under everybody's feet.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use engines::{Errno, Op};

use crate::crew::pulse::Pulse;
use crate::race::plan::DisturbPlan;
use crate::race::shared::Shared;
use crate::rng::Rng;

/// Disturbs until it is time to stop.
pub fn run(plan: &DisturbPlan, shared: &Arc<Shared>, pulse: &Arc<Pulse>, mut rng: Rng) {
    let mut advices = plan.advices.clone();
    let places = ((plan.within.end - plan.within.start) / plan.block).max(1);
    while !shared.stopped() && !advices.is_empty() {
        let nth = rng.below(advices.len() as u64) as usize;
        let advice = advices[nth];
        let offset = plan.within.start + rng.below(places) * plan.block;
        pulse.begin(0, Op::Read, offset, plan.block);
        let store = &shared.store;
        let result = match plan.together {
            true => store.advise_together(advice, offset, plan.block),
            false => store.advise(advice, offset, plan.block),
        };
        pulse.end(0, result.map(|()| 0).map_err(|_| ()));
        match result {
            Ok(()) => {}
            Err(Errno::EINTR) if shared.signals => {}
            Err(errno) if advice.syncs() || errno == Errno::EINTR => {
                shared.failed(advice.name(), errno);
            }
            Err(errno) => {
                shared.note(format!("left out: {} ({errno})", advice.name()));
                advices.remove(nth);
            }
        }
        thread::sleep(Duration::from_micros(rng.below(2 * plan.pause.max(1))));
    }
}
