//! `tenfold control`: one command to a run that goes on, and its answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::{Answer, SOCKET};
use crate::cli::args::{ControlArguments, ControlCommand};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::plan::SteerError;
use crate::run::control::Command;

/// How long a run may take to answer; it answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a command to the run in a directory and prints what came of it.
pub(in crate::cli) fn control(arguments: &ControlArguments) -> Result<Exit, Failure> {
    let command = command(&arguments.command);
    let line = ask(&arguments.run_dir, &command)?;
    let answer: Answer = serde_json::from_str(&line).context("the run gave an answer that is none")?;
    match answer {
        Answer::Refused { error } => Err(Failure::usage(anyhow!(error))),
        Answer::Done(_) if arguments.json => out::print(&line).map(|()| Exit::Met),
        Answer::Done(done) if command == Command::Status => out::line(&done.status.line()).map(|()| Exit::Met),
        Answer::Done(done) => out::line(&done.said).map(|()| Exit::Met),
    }
}

/// A run that goes on.
pub(in crate::cli) struct Alive {
    /// Its process.
    pub(in crate::cli) process: i32,
    /// Where its schedule is, seconds of cloud time.
    pub(in crate::cli) schedule: f64,
}

/// Whether a run listens in a directory, be it that it is ending already.
pub(in crate::cli) fn listens(run_dir: &Path) -> bool {
    UnixStream::connect(run_dir.join(SOCKET)).is_ok()
}

/// The run that listens in a directory, unless it is ending already.
pub(in crate::cli) async fn alive(run_dir: &Path) -> Option<Alive> {
    let stream = tokio::net::UnixStream::connect(run_dir.join(SOCKET)).await.ok()?;
    let process = stream.peer_cred().ok()?.pid()?;
    let line = ask(run_dir, &Command::Status).ok()?;
    match serde_json::from_str(&line).ok()? {
        Answer::Refused { .. } => None,
        Answer::Done(done) => Some(Alive {
            process,
            schedule: done.status.schedule,
        }),
    }
}

/// A factor; whether a run can be scaled by it, the run says.
pub(in crate::cli) fn times(text: &str) -> Result<f64, String> {
    let times = text.parse::<f64>().ok().filter(|times| times.is_finite());
    times.ok_or_else(|| SteerError::Scale.to_string())
}

fn command(command: &ControlCommand) -> Command {
    match command {
        ControlCommand::Pause => Command::Pause,
        ControlCommand::Resume => Command::Resume,
        ControlCommand::Hold => Command::Hold,
        ControlCommand::Skip => Command::Skip,
        ControlCommand::Scale { times } => Command::Scale { times: *times },
        ControlCommand::Mark { text } => Command::Mark { text: text.join(" ") },
        ControlCommand::Status => Command::Status,
    }
}

fn ask(run_dir: &Path, command: &Command) -> Result<String, Failure> {
    let mut stream = UnixStream::connect(run_dir.join(SOCKET)).map_err(|error| nobody(run_dir, &error))?;
    let mut request = serde_json::to_vec(command).context("cannot encode the command")?;
    request.push(b'\n');
    let mut line = String::new();
    let mut exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&request)?;
        BufReader::new(&stream).read_line(&mut line)
    };
    match exchange() {
        Ok(count) if count > 0 => Ok(line),
        Ok(_) => Err(Failure::unreachable(anyhow!(
            "the run in {} ended before it answered",
            run_dir.display()
        ))),
        Err(error) => Err(Failure::unreachable(
            anyhow::Error::new(error).context(format!("the run in {} gave no answer", run_dir.display())),
        )),
    }
}

fn nobody(run_dir: &Path, error: &std::io::Error) -> Failure {
    let shown = run_dir.display();
    let why = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("the run in {shown} belongs to another user\nhint: ask the one who started it")
        }
        _ if run_dir.join("recording.json").exists() => {
            format!("the run in {shown} is over\nhint: read it with: tenfold report {shown}")
        }
        _ => format!(
            "no run listens in {shown}\nhint: give the directory that `tenfold run` printed or `tenfold load` was given with --control, while it goes on"
        ),
    };
    Failure::unreachable(anyhow!(why))
}
