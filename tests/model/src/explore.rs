// SPDX-License-Identifier: GPL-2.0

//! Exploration by Stateright: every state that can be reached.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model, Property as Always};

use crate::{
    machine::{Action, System},
    property::Property,
    world::World,
};

impl System {
    /// What may happen in `world`, possible or not.
    pub fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for (task, state) in world.tasks.iter().enumerate() {
            let Some(step) = state.todo.top() else {
                continue;
            };
            let task = task as u8;
            actions.extend((0..System::ways(step)).map(|way| Action { task, way }));
        }
    }
}

impl Model for System {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let broken = |property: &&Property| world.broken & property.bit() != 0;
        let mut broken = Property::ALL.iter().filter(broken);
        let over = broken.any(|property| self.watches(*property));
        if !over {
            self.possible(world, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.after(world, action, false).map(|(world, _)| world)
    }

    fn properties(&self) -> Vec<Always<Self>> {
        macro_rules! always {
            ($($name:ident),*) => {
                vec![$((Property::$name, Always::always(
                    Property::$name.name(),
                    |system: &System, world: &World| Property::$name.holds(system, world),
                ))),*]
            };
        }
        let all = always![
            Before,
            Once,
            CachedRead,
            Lost,
            DirectRead,
            Size,
            Deadlock,
            Truncation,
            Ends,
            Agree,
            Lifetime,
            Registry,
            FoundAfter,
            AfterFails,
            BoundedTries
        ];
        all.into_iter()
            .filter(|(property, _)| self.watches(*property))
            .map(|(_, always)| always)
            .collect()
    }
}

/// What an exploration found.
pub struct Report {
    /// States that were reached.
    pub states: usize,
    /// The length of the longest way to one, in steps.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// What was broken, and the way there.
    pub broken: Vec<(Property, Vec<Action>)>,
}

/// Explores `system`, to the end if nothing is broken, else to the first violation.
pub fn explore(system: System, threads: usize) -> Report {
    let begin = Instant::now();
    let names: BTreeSet<_> = Property::ALL
        .iter()
        .map(|property| property.name())
        .collect();
    assert_eq!(names.len(), Property::ALL.len());
    let checker = system
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::Any)
        .spawn_bfs()
        .join();
    let mut broken: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter_map(|(name, path)| {
            let property = Property::ALL.iter().find(|p| p.name() == name)?;
            Some((*property, path.into_actions()))
        })
        .collect();
    broken.sort_by_key(|(property, actions)| (actions.len(), *property));
    Report {
        states: checker.unique_state_count(),
        depth: checker.max_depth().saturating_sub(1),
        time: begin.elapsed(),
        broken,
    }
}
