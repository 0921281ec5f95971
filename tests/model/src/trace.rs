// SPDX-License-Identifier: GPL-2.0

//! A way through the states, as text: one line a step.

use crate::{
    machine::{Action, System},
    world::ACTORS,
};

/// The steps of `actions` from the beginning: who, the function that it stands for, what happens.
pub fn lines(system: &System, actions: &[Action]) -> Vec<String> {
    let mut world = system.start();
    let mut lines = Vec::new();
    for (number, action) in actions.iter().enumerate() {
        let task = usize::from(action.task);
        let (file, function) = world.tasks[task]
            .todo
            .top()
            .map_or(("", ""), |step| step.source());
        let Some((next, note)) = system.after(&world, *action, true) else {
            break;
        };
        let op = system.op(&world, task).name();
        let who = format!(
            "{} {op}{}",
            task % ACTORS + 1,
            if task >= ACTORS { "'s end" } else { "" }
        );
        lines.push(format!(
            "{:>3}  {who:<21} {:<44} {note}",
            number + 1,
            format!("{file} {function}"),
        ));
        world = next;
    }
    lines
}
