// SPDX-License-Identifier: GPL-2.0

//! Explores the model of the direct-write protocol.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use diofs_model::{
    config::{self, CONFIGS, Config},
    explore::{Report, explore},
    machine::{System, Watch},
    mutant::{BESIDES, Mutant, REDUNDANT},
    property::Property,
    trace,
};

/// Explores every interleaving of a model of diofs' direct-write protocol.
#[derive(Parser)]
#[command(version, max_term_width = 90)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Threads to explore with.
    #[arg(long, global = true, default_value_t = 2)]
    threads: usize,
}

#[derive(Subcommand)]
enum Command {
    /// All configurations without a mutant, then all mutants, as a suite of tests (the default).
    All,
    /// One configuration without a mutant.
    Config { name: String },
    /// How a mutant breaks the protocol, step by step.
    Trace { mutant: String },
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::All) {
        Command::All => Ok(all(cli.threads)),
        Command::Config { name } => {
            let config = config::find(&name).context("there is no such configuration")?;
            let sound = real(config, cli.threads);
            Ok(ExitCode::from(u8::from(!sound)))
        }
        Command::Trace { mutant } => {
            let mutant = Mutant::from_id(&mutant).context("there is no such mutant")?;
            show(mutant)
        }
    }
}

fn all(threads: usize) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    let mut count = |good: bool| if good { passed += 1 } else { failed += 1 };
    for config in CONFIGS {
        count(real(config, threads));
    }
    for mutant in Mutant::harmful() {
        count(mutated(mutant, mutant.config(), mutant.breaks(), threads));
    }
    for (mutant, config, property) in BESIDES {
        count(mutated(*mutant, config, *property, threads));
    }
    for (mutant, config) in REDUNDANT {
        count(redundant(*mutant, config, threads));
    }
    println!("{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

/// The protocol as it is: nothing may be broken, but for what is known.
fn real(config: &'static Config, threads: usize) -> bool {
    let system = System::real(config);
    let report = explore(system, threads);
    let figures = figures(&report);
    let Some((property, actions)) = report.broken.first() else {
        println!("ok {} ({figures})", config.name);
        return config
            .known
            .is_none_or(|property| known(config, property, threads));
    };
    println!("FAIL {}: {} ({figures})", config.name, property.name());
    print_trace(&system, actions);
    false
}

/// What is documented as a limit must be found: else the documentation is out of date.
fn known(config: &'static Config, property: Property, threads: usize) -> bool {
    let system = System::real(config).watching(Watch::Only(property));
    let report = explore(system, threads);
    let found = report.broken.first();
    match found {
        Some((property, actions)) => {
            println!(
                "   known limit: {} (in {} steps)",
                property.name(),
                actions.len()
            );
        }
        None => println!("FAIL {}: its known limit is not found", config.name),
    }
    found.is_some()
}

/// The protocol with something broken: it must be found.
fn mutated(mutant: Mutant, name: &str, property: Property, threads: usize) -> bool {
    let Some(system) = system_of(mutant, name, property) else {
        println!("FAIL mutant {}: no configuration {name}", mutant.id());
        return false;
    };
    let report = explore(system, threads);
    let figures = figures(&report);
    let Some((property, actions)) = report.broken.first() else {
        println!(
            "FAIL mutant {}: {} survives {name} ({figures})",
            mutant.id(),
            mutant.text()
        );
        return false;
    };
    println!(
        "ok mutant {} breaks {} in {} steps ({figures})",
        mutant.id(),
        property.name(),
        actions.len()
    );
    true
}

/// Something left out that something else makes up for: no promise may be broken.
fn redundant(mutant: Mutant, name: &str, threads: usize) -> bool {
    let Some(config) = config::find(name) else {
        println!("FAIL mutant {}: no configuration {name}", mutant.id());
        return false;
    };
    let system = System::real(config).with(mutant).watching(Watch::Promises);
    let report = explore(system, threads);
    let figures = figures(&report);
    match report.broken.first() {
        None => println!(
            "ok mutant {} breaks no promise in {name} ({figures})",
            mutant.id()
        ),
        Some((property, actions)) => {
            println!(
                "FAIL mutant {} in {name}: breaks {} ({figures})",
                mutant.id(),
                property.name()
            );
            print_trace(&system, actions);
        }
    }
    report.broken.is_empty()
}

fn system_of(mutant: Mutant, name: &str, property: Property) -> Option<System> {
    let system = System::real(config::find(name)?).with(mutant);
    Some(system.watching(Watch::Only(property)))
}

fn show(mutant: Mutant) -> Result<ExitCode> {
    let system = system_of(mutant, mutant.config(), mutant.breaks())
        .context("its configuration is missing")?;
    let report = explore(system, 1);
    let (property, actions) = report.broken.first().context("it survives")?;
    println!("{}: {}", mutant.id(), mutant.text());
    println!(
        "configuration {}, breaks {}",
        system.config.name,
        property.name()
    );
    print_trace(&system, actions);
    Ok(ExitCode::SUCCESS)
}

fn print_trace(system: &System, actions: &[diofs_model::machine::Action]) {
    for line in trace::lines(system, actions) {
        println!("  {line}");
    }
}

fn figures(report: &Report) -> String {
    format!(
        "{} states, {} steps deep, {:.1} s",
        report.states,
        report.depth,
        report.time.as_secs_f64()
    )
}
