//! The only way to the terminal: what a command says on standard output, and what went wrong on standard error.

use std::io::{ErrorKind, Write};

use anyhow::Context;

use crate::cli::exit::Failure;
use crate::event::FaultId;

/// Prints to standard output. A reader that has gone wants no more, which is no mistake; a full disk is one.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    // What stays in the buffer would be lost at the end without anybody being told.
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::usage(
            anyhow::Error::new(error).context("cannot write to standard output"),
        )),
        _ => Ok(()),
    }
}

/// Prints a line to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Prints a value as indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value).context("cannot encode the answer as JSON")?)
}

/// Tells a line on standard error; where that is closed or full, nobody can be told so.
pub(super) fn tell(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Tells which faults are still in the world, each with the commands that undo it, and what those need to find it.
pub(super) fn tell_left(failed: &[(FaultId, String)], endpoint: Option<&str>) {
    for (fault, left) in failed {
        tell(&format!("error: {fault} is still in the world: {left}"));
    }
    if !failed.is_empty() {
        tell_endpoint(endpoint);
    }
}

/// Tells that nobody knows all of what a journal announced.
pub(super) fn tell_unreadable(lines: usize) {
    if lines > 0 {
        tell(&format!(
            "error: {lines} of the journal's lines cannot be read, and what they announced may be in the world\n\
             hint: look for it with: tenfold revert --scan --target FILE"
        ));
    }
}

/// Tells where `aws` commands have to go, where that is not to AWS.
pub(super) fn tell_endpoint(endpoint: Option<&str>) {
    if let Some(endpoint) = endpoint {
        tell(&format!(
            "hint: `aws` commands go there with: export AWS_ENDPOINT_URL={endpoint}"
        ));
    }
}
