// SPDX-License-Identifier: GPL-2.0

//! The model against the module's source: that what it names is there, and in its order.

use std::{fs, mem::discriminant, path::Path};

use diofs_model::{
    config,
    machine::{Action, System},
    step::Step::{self, *},
    world::ACTORS,
};

/// A function of the module that drives steps of the model, and the calls by which it does.
struct Driver {
    file: &'static str,
    function: &'static str,
    calls: &'static [(Step, &'static str)],
}

const fn driver(
    file: &'static str,
    function: &'static str,
    calls: &'static [(Step, &'static str)],
) -> Driver {
    Driver {
        file,
        function,
        calls,
    }
}

const DRIVERS: &[Driver] = &[
    driver(
        "fs/direct.rs",
        "write",
        &[
            (PinSource, "with_buffer("),
            (LockForWrite, "lock_for_write("),
            (Enter, "prepare_write("),
            (Submit, ".submit("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "with_buffer",
        &[
            (PinSource, "PinnedBuffer::pin("),
            (LockForWrite, "prepare("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "prepare_write",
        &[(Enter, ".enter("), (Look, "make_way(")],
    ),
    driver(
        "fs/direct.rs",
        "submit",
        &[(Submit, "transfer.submit("), (Queued, "drop(self.lock)")],
    ),
    driver(
        "fs/direct.rs",
        "make_way",
        &[(Look, "is_empty("), (Reopen, "empty_cache(")],
    ),
    driver(
        "fs/direct.rs",
        "empty_cache",
        &[
            (Reopen, "set_closed(false)"),
            (Flush(0, 0), "flush_and_invalidate("),
            (WaitLower, "wait_unlocked("),
            (Close, "set_closed(true)"),
            (LookAgain, "is_empty("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "flush_and_invalidate",
        &[(Flush(0, 0), ".flush("), (Invalidate(0, 0), ".invalidate(")],
    ),
    driver(
        "vfs/transfer.rs",
        "submit",
        &[(Device, "call_lower("), (LowerReturn, ".end(")],
    ),
    driver(
        "vfs/transfer.rs",
        "submit_and_wait",
        &[(Device, "call_lower("), (LowerReturn, ".end(")],
    ),
    driver(
        "vfs/transfer.rs",
        "call_lower",
        &[(Submit, "inode_dio_begin("), (Device, "file.write_iter(")],
    ),
    driver(
        "vfs/transfer.rs",
        "lower_complete",
        &[(LowerComplete, "finish_sleeps("), (Leave, ".complete(")],
    ),
    driver(
        "vfs/transfer.rs",
        "complete",
        &[(Leave, ".end("), (Complete, "upper.complete(")],
    ),
    driver(
        "vfs/transfer.rs",
        "end",
        &[
            (LookAfter, "T::finish("),
            (Leave, ".leave("),
            (Leave, "inode_dio_end("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "finish",
        &[
            (LookAfter, "invalidate_after("),
            (PublishSize, "publish_size("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "read_at",
        &[(PinTarget, "with_buffer("), (LockForRead, "read_mapped(")],
    ),
    driver(
        "fs/direct.rs",
        "read_at",
        &[(FlushForRead, "prepare_read("), (Submit, "ready.submit(")],
    ),
    driver(
        "fs/direct.rs",
        "read_and_store",
        &[
            (LockForRead, "prepare_read("),
            (Submit, "submit_and_wait("),
            (Unlock, "drop(lock)"),
            (CopyTo(0), "copy_to("),
        ],
    ),
    driver(
        "fs/direct.rs",
        "prepare_read",
        &[
            (LockForRead, "InodeLock::acquire("),
            (FlushForRead, "flush_for_read("),
        ],
    ),
    driver(
        "fs/file.rs",
        "write_cached",
        &[
            (WriteLock, "InodeLock::acquire("),
            (GetFolio, "write_checked("),
        ],
    ),
    driver(
        "vfs/buffered.rs",
        "open_folio",
        &[
            (GetFolio, "iomap_get_folio("),
            (WriteGate, "T::gate("),
            (WriteGate, "drop(folio)"),
            (WriteWait, "T::gate_wait("),
        ],
    ),
    driver(
        "vfs/fault.rs",
        "try_dirty",
        &[
            (Mkwrite, "folio_lock_killable("),
            (Mkwrite, "T::gate("),
            (MkwriteDirty, "folio_mark_dirty("),
        ],
    ),
    driver(
        "vfs/fill.rs",
        "read_folio",
        &[(ReadFolioGate, "T::gate("), (Fill, "fill_folio(")],
    ),
    driver(
        "vfs/fill.rs",
        "readahead",
        &[(ReadaheadGate, "T::gate("), (Fill, ".finish(")],
    ),
    driver(
        "vfs/fill.rs",
        "finish",
        &[(Fill, "fill_run::"), (FillDone, "iomap_finish_folio_read(")],
    ),
    driver(
        "vfs/writeback.rs",
        "writepages",
        &[(Flush(0, 0), "write_folio::"), (WriteLower(0), ".submit(")],
    ),
    driver(
        "vfs/range_set.rs",
        "enter",
        &[(Enter, "interval_tree_insert("), (Enter, "smp_mb(")],
    ),
    driver(
        "vfs/range_set.rs",
        "set_closed",
        &[(Close, "self.closed"), (Close, "smp_mb(")],
    ),
    driver(
        "vfs/range_set.rs",
        "gate_before",
        &[(WriteGate, "smp_mb("), (WriteGate, "members.load(")],
    ),
    driver(
        "vfs/range_set.rs",
        "leave",
        &[(Leave, "interval_tree_remove("), (Leave, "wake_all(")],
    ),
    driver(
        "fs/page_cache.rs",
        "set_size",
        &[(WaitDirect, "wait_direct("), (CutSize, "shrink(")],
    ),
    driver(
        "fs/page_cache.rs",
        "shrink",
        &[
            (Flush(0, 0), ".settle("),
            (CutSize, "truncate_cache("),
            (LowerShrink, "lower()"),
        ],
    ),
    driver(
        "vfs/cache.rs",
        "truncate_cache",
        &[
            (CutSize, "set_size("),
            (WaitWriteback(0), "filemap_fdatawait_range"),
            (CutLock, "filemap_invalidate_lock("),
            (Cut(0, 0), "truncate_setsize("),
            (Cut(0, 0), "filemap_invalidate_unlock("),
        ],
    ),
];

/// Configurations and the order in which their tasks run, each as far as it gets: together they
/// take every step that a driver has.
const RUNS: &[(&str, &[usize])] = &[
    ("stores", &[1, 0, ACTORS]),
    ("stores", &[0, 1, ACTORS, 1]),
    ("writes", &[0, 1, ACTORS, 1]),
    ("extend", &[2, 0]),
    ("own-buffer", &[0, ACTORS]),
    ("own-target", &[0]),
    ("reads", &[1]),
    ("limits-overlap", &[2]),
    ("truncate-half", &[0]),
];

/// The source of a file of the module, without comments.
fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../rust")
        .join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{} cannot be read: {error}. The steps of the model stand for functions of the module, \
             whose source has to lie beside tests/. If the file has another name now, \
             tests/model/src/step.rs and tests/model/tests/source.rs have to give it",
            path.display()
        )
    });
    let code = text.lines().map(|line| {
        let (code, _) = line.split_once("//").unwrap_or((line, ""));
        code
    });
    code.collect::<Vec<_>>().join("\n")
}

/// Where `function` is defined in `source`.
fn definitions(source: &str, function: &str) -> Vec<usize> {
    let named = [format!("fn {function}("), format!("fn {function}<")];
    let found = named.iter().flat_map(|text| source.match_indices(text));
    found.map(|(at, _)| at).collect()
}

/// The body of the only `function` in `source`.
fn body<'a>(source: &'a str, function: &str) -> Result<&'a str, String> {
    let &[at] = definitions(source, function).as_slice() else {
        return Err(format!("it does not have one function {function}"));
    };
    let from = at + source[at..].find('{').ok_or("it has no body")?;
    let mut depth = 0;
    for (length, byte) in source[from..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(&source[from..from + length]);
        }
    }
    Err(format!("the braces of {function} do not match"))
}

/// Whether the calls come in their order, each where it comes first.
fn in_order(body: &str, calls: &[(Step, &str)]) -> Result<(), String> {
    let mut before = (0, "the beginning");
    for (step, call) in calls {
        let at = body
            .find(call)
            .ok_or_else(|| format!("there is no `{call}`, which is {step:?} in the model"))?;
        if at < before.0 {
            return Err(format!(
                "`{call}` comes before `{}`; in the model, {step:?} comes after it",
                before.1
            ));
        }
        before = (at, call);
    }
    Ok(())
}

fn check(driver: &Driver, source: &str) -> Result<(), String> {
    in_order(body(source, driver.function)?, driver.calls)
}

/// The steps that each actor takes, those of its request's end included.
fn run(name: &str, order: &[usize]) -> Vec<Vec<Step>> {
    let system = System::real(config::find(name).expect("there is such a configuration"));
    let mut world = system.start();
    let mut taken = vec![Vec::new(); ACTORS];
    for &task in order {
        let action = Action {
            task: task as u8,
            way: 0,
        };
        while let Some(step) = world.tasks[task].todo.top() {
            let Some((next, _)) = system.after(&world, action, false) else {
                break;
            };
            taken[task % ACTORS].push(step);
            world = next;
        }
    }
    taken
}

/// Whether `taken` has `steps` in their order, perhaps with others in between.
fn has_in_order(taken: &[Step], steps: &[Step]) -> bool {
    let mut taken = taken.iter();
    steps
        .iter()
        .all(|step| taken.any(|other| discriminant(other) == discriminant(step)))
}

/// Each step names a function of the module. One that is gone or renamed has to be looked at.
#[test]
fn every_step_names_a_function_of_the_module() {
    for (file, function) in Step::SOURCES {
        assert!(
            *file == "kernel" || !definitions(&source(file), function).is_empty(),
            "rust/{file} has no function {function}, which a step of the model stands for: see \
             tests/model/src/step.rs"
        );
    }
}

#[test]
fn the_module_calls_in_the_order_of_the_steps() {
    for driver in DRIVERS {
        let checked = check(driver, &source(driver.file));
        assert_eq!(
            checked,
            Ok(()),
            "rust/{}, {}: the model has another order",
            driver.file,
            driver.function
        );
    }
}

/// The steps of the table above are in the order in which the model takes them.
#[test]
fn the_model_takes_the_steps_in_that_order() {
    let runs: Vec<_> = RUNS
        .iter()
        .flat_map(|(name, order)| run(name, order))
        .collect();
    for driver in DRIVERS {
        let mut steps: Vec<_> = driver.calls.iter().map(|(step, _)| *step).collect();
        steps.dedup();
        assert!(
            runs.iter().any(|taken| has_in_order(taken, &steps)),
            "the model never takes {steps:?}, as {} in rust/{} does",
            driver.function,
            driver.file
        );
    }
}

/// The check itself: any two calls that change places are noticed. What is not in order in the first
/// place is for another test to tell.
#[test]
fn calls_that_change_places_are_noticed() {
    for driver in DRIVERS {
        let source = source(driver.file);
        let Ok(body) = check(driver, &source).and_then(|()| body(&source, driver.function)) else {
            continue;
        };
        for pair in driver.calls.windows(2) {
            let [(_, first), (_, second)] = pair else {
                unreachable!("windows of two");
            };
            let changed = body
                .replace(first, "\0")
                .replace(second, first)
                .replace('\0', second);
            let noticed = in_order(&changed, driver.calls).is_err();
            assert!(noticed, "{}: {first} and {second}", driver.function);
        }
    }
}
