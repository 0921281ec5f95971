// SPDX-License-Identifier: GPL-2.0
//! What the program says about itself: its manual page, its schema, completions.

use anyhow::Result;
use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use schemars::schema_for;

use crate::cli::{Cli, CompletionsArgs, SchemaArgs};
use crate::commands::repeat::RepeatReport;
use crate::report::Report;
use crate::status::{Status, say};

/// Prints the JSON schema.
pub fn schema(args: &SchemaArgs) -> Result<Status> {
    let schema = if args.repeat {
        schema_for!(RepeatReport)
    } else {
        schema_for!(Report)
    };
    say(&(serde_json::to_string_pretty(&schema)? + "\n"));
    Ok(Status::Legal)
}

/// Prints completions.
pub fn completions(args: &CompletionsArgs) -> Result<Status> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "diorace", &mut out);
    say(&String::from_utf8(out)?);
    Ok(Status::Legal)
}

/// Prints one manual page for the program and all its commands.
pub fn man() -> Result<Status> {
    let mut command = Cli::command();
    command.build();
    let page = Man::new(command.clone()).manual("diorace").date("");
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        let mut roff = Roff::new();
        let name = format!("diorace {}", sub.get_name());
        roff.control("SH", [name.to_uppercase().as_str()]);
        roff.text([roman("")]);
        roff.to_writer(&mut out)?;
        let page = Man::new(sub.clone());
        let mut part = Vec::new();
        page.render_synopsis_section(&mut part)?;
        page.render_description_section(&mut part)?;
        page.render_options_section(&mut part)?;
        let part = String::from_utf8(part)?.replace(".SH ", ".SS ");
        out.extend(part.into_bytes());
    }
    page.render_extra_section(&mut out)?;
    say(&String::from_utf8(out)?);
    Ok(Status::Legal)
}
