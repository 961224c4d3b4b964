//! The only door to arguments, environment, files and terminal.

mod approval;
mod args;
mod begin;
mod claim;
mod control;
mod discover;
mod doctor;
mod dry_run;
mod exit;
mod export;
mod faults;
mod lab;
mod lab_child;
mod limits;
mod load;
mod lock;
mod others;
mod out;
mod plan;
mod preview;
mod profile;
mod progress;
mod protos;
mod quotas;
mod reflection;
mod remedy;
mod report;
mod revert;
mod run;
mod run_dir;
mod scan;
mod signals;
mod state;
mod steady;
mod target;
mod typed;
mod watchdog;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};
use exit::{Exit, Failure};

/// Parses the arguments, runs the command and turns what came of it into an exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed terminal takes the message away, not the exit code.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Met };
            return exit.into();
        }
    };
    match dispatch(arguments.command) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            out::tell(&render(&failure));
            failure.exit.into()
        }
    }
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(arguments) => runtime(2)?.block_on(run::run(arguments)),
        Command::Load(arguments) => runtime(1)?.block_on(load::load(arguments)),
        Command::Plan(arguments) => runtime(1)?.block_on(plan::plan(arguments)),
        Command::Validate(arguments) => profile::validate(&arguments),
        Command::Lab(arguments) => runtime(2)?.block_on(lab::lab(arguments)),
        Command::Doctor(arguments) => runtime(1)?.block_on(doctor::doctor(arguments)),
        Command::Discover(arguments) => runtime(1)?.block_on(discover::discover(arguments)),
        Command::Faults(arguments) => faults::faults(&arguments),
        Command::Export(arguments) => runtime(1)?.block_on(export::export(arguments)),
        Command::Report(arguments) => report::report(&arguments),
        Command::Control(arguments) => control::control(&arguments),
        Command::Revert(arguments) => runtime(1)?.block_on(revert::revert(arguments)),
        Command::Watchdog(arguments) => runtime(1)?.block_on(watchdog::watchdog(arguments)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tenfold", &mut script);
            out::print(&String::from_utf8_lossy(&script)).map(|()| Exit::Met)
        }
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(anyhow::Error::new(error).context("cannot start the runtime")))
}

/// Configuration mistakes come whole, as the compiler shows its own; everything else gets one `error:`.
fn render(failure: &Failure) -> String {
    let text = format!("{failure}");
    if text.starts_with("error") {
        return text;
    }
    match remedy::said_by_aws(&failure.error) {
        Some(error) if !text.contains("\nhint: ") => format!("error: {text}\nhint: {}", remedy::remedy(error, None)),
        _ => format!("error: {text}"),
    }
}
