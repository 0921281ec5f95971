// SPDX-License-Identifier: GPL-2.0
//! `diorace selftest`

use std::cell::RefCell;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use oracle::{Class, Profile};

use crate::arena::{Arena, Geometry};
use crate::bench::{Bench, Settings, Wanted};
use crate::cli::{SelftestArgs, Until};
use crate::liar::{Liar, LiarStore};
use crate::race;
use crate::race::STRANGER;
use crate::race::plan::{ChangePlan, Rest, Way};
use crate::report::ScenarioReport;
use crate::report::table::list;
use crate::scenarios;
use crate::status::{Status, say};

/// Bytes of the file in memory.
const LEN: u64 = 128 << 10;

/// The first try takes so long.
const FIRST: Duration = Duration::from_millis(300);

/// Corrupts what a race reads, class by class, and demands that each is named.
pub fn selftest(args: &SelftestArgs) -> Result<Status> {
    let limit = Duration::from_secs_f64(args.duration);
    let mut unseen = 0;
    for resized in [false, true] {
        let (truth, _) = race(None, resized, Duration::from_secs(1), args.seed)?;
        let clean = truth.status == Status::Legal;
        unseen += u32::from(!clean);
        let alarm = if clean { "no alarm" } else { "FALSE ALARM" };
        let how = if resized {
            ", also of a file whose size changes"
        } else {
            ""
        };
        say(&format!("{:<12} {alarm}{how}\n", "truth"));
    }
    for class in Class::ALL {
        let (report, told) = until_seen(class, limit, args.seed)?;
        let what = format!("{told} lies, found {}", list(&report.violations));
        let seen = is_seen(&report, class);
        unseen += u32::from(!seen);
        let verdict = if seen { "seen" } else { "NOT SEEN" };
        say(&format!("{:<12} {verdict} ({what})\n", class.name()));
    }
    Ok(if unseen == 0 {
        Status::Legal
    } else {
        Status::Tool
    })
}

fn is_seen(report: &ScenarioReport, class: Class) -> bool {
    report.violations.contains_key(class.name())
}

/// Races for a short time, then longer and longer.
fn until_seen(class: Class, limit: Duration, seed: u64) -> Result<(ScenarioReport, u64)> {
    let mut duration = FIRST.min(limit);
    loop {
        let resized = matches!(class, Class::Resurrected | Class::Size);
        let (report, told) = race(Some(class), resized, duration, seed)?;
        if is_seen(&report, class) || duration >= limit {
            return Ok((report, told));
        }
        duration = (duration * 3).min(limit);
    }
}

/// Races on a file in memory that lies, and is truncated and punched if `resized`.
fn race(
    lie: Option<Class>,
    resized: bool,
    duration: Duration,
    seed: u64,
) -> Result<(ScenarioReport, u64)> {
    let settings = Settings {
        duration,
        grace: Duration::from_secs(30),
        seed,
        run: seed,
        size: None,
        threads: None,
        depth: None,
        profile: Profile::Strict,
        mirrored: false,
        wanted: Wanted::default(),
        until: Until::End,
        operations: None,
        processes: false,
        keep: false,
        live: false,
        turn: (1, 1),
        log: None,
        script: None,
    };
    let geometry = Geometry {
        align: 512,
        bypass: 512,
        memory: 512,
        block: 4096,
        page: 4096,
        atomic: None,
    };
    let arena = Arena::new(&env::temp_dir())?;
    let bench = Bench::new(&settings, &arena, geometry, "selftest");
    let mut plan = scenarios::shared_pages(LEN, 1, &geometry);
    plan.disturbers.clear();
    if resized {
        plan.changers.push(ChangePlan {
            ways: vec![Way::Truncate, Way::Grow, Way::Punch],
            within: LEN / 2..LEN,
            unit: 512,
            most: 16,
            pause: 500,
            optional: false,
        });
    }
    plan.workers
        .iter_mut()
        .for_each(|worker| worker.rest = Rest::default());
    let liar = RefCell::new(None);
    let report = race::on_any(&bench, &plan, |history| {
        let new = Arc::new(Liar::new(history, lie, seed).beside(bench.key(STRANGER)));
        *liar.borrow_mut() = Some(Arc::clone(&new));
        Arc::new(LiarStore(new))
    })?;
    let told = liar.borrow().as_ref().map_or(0, |liar| liar.told());
    Ok((report, told))
}
