//! Keys in the terminal of a run: each becomes a command. The terminal gives them one by one and shows none; it is put
//! back when the value is dropped, whichever way the run ends. Ctrl-C stays the terminal's own.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp};
use tokio::runtime::Handle;

use crate::cli::out;
use crate::run::control::{Command, Control, Refusal, Status};

/// How long the end of a run may wait for the keys, milliseconds.
const LOOK_AGAIN: u8 = 100;
/// What one press of a key multiplies the level with.
const STEP: f64 = 1.1;

/// Keys that steer a run until it is dropped.
pub(in crate::cli) struct Keys {
    over: Arc<AtomicBool>,
    reading: Option<JoinHandle<()>>,
    _terminal: Terminal,
}

impl Keys {
    /// Takes keys from now on; none where nobody sits at a terminal.
    pub(in crate::cli) fn listen(control: Control) -> Option<Self> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() || !in_foreground() {
            return None;
        }
        let terminal = Terminal::key_by_key().ok()?;
        let over = Arc::new(AtomicBool::new(false));
        let (runtime, until) = (Handle::current(), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("keys".to_owned());
        let reading = thread.spawn(move || follow(&runtime, &control, &until)).ok()?;
        out::tell("keys: p pause, h hold, n next stage, + and - scale by 10 %, m mark, Ctrl-C end");
        Some(Self {
            over,
            reading: Some(reading),
            _terminal: terminal,
        })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(reading) = self.reading.take() {
            // Nothing of it is left to be said.
            let _ = reading.join();
        }
    }
}

/// The terminal as it was found.
struct Terminal(Termios);

impl Terminal {
    fn key_by_key() -> nix::Result<Self> {
        let found = tcgetattr(io::stdin())?;
        let mut wanted = found.clone();
        wanted.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &wanted)?;
        Ok(Self(found))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // In the background it is another's terminal, and touching it would stop the process.
        if in_foreground() {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
        }
    }
}

/// Whether the terminal is this process's to use. One that controls no job has no background.
fn in_foreground() -> bool {
    tcgetpgrp(io::stdin()).map_or(true, |group| group == getpgrp())
}

fn follow(runtime: &Handle, control: &Control, over: &AtomicBool) {
    let mut marks = 0;
    while !over.load(Ordering::Acquire) {
        for key in pressed() {
            let asked = runtime.block_on(press(control, key, &mut marks));
            if asked == Err(Refusal::Ending) {
                return;
            }
        }
    }
}

/// What was pressed within a moment. Reading in the background would stop the process, so there nothing is read.
fn pressed() -> Vec<u8> {
    let stdin = io::stdin();
    let mut look = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut look, PollTimeout::from(LOOK_AGAIN)) {
        Ok(1..) if in_foreground() => {
            let mut keys = [0; 16];
            match read(stdin.as_fd(), &mut keys) {
                Ok(count @ 1..) => keys[..count].to_vec(),
                // A terminal that is gone is always ready and never says anything.
                _ => rest(),
            }
        }
        Ok(0) => Vec::new(),
        _ => rest(),
    }
}

fn rest() -> Vec<u8> {
    std::thread::sleep(std::time::Duration::from_millis(LOOK_AGAIN.into()));
    Vec::new()
}

/// Does what a key stands for; the progress view tells what came of it, refusals included.
async fn press(control: &Control, key: u8, marks: &mut usize) -> Result<(), Refusal> {
    if !b"phn+=-m".contains(&key) {
        return Ok(());
    }
    let status = control.send(Command::Status).await?.status;
    if let Some(command) = command(key, &status, *marks + 1) {
        *marks += usize::from(key == b'm');
        control.send(command).await?;
    }
    Ok(())
}

/// The command of a key in a run that is like this; `mark` numbers the next mark.
fn command(key: u8, status: &Status, mark: usize) -> Option<Command> {
    let scale = |times: f64| Command::Scale {
        times: (times * 1000.0).round() / 1000.0,
    };
    Some(match key {
        b'p' if status.paused => Command::Resume,
        b'p' => Command::Pause,
        b'h' if status.held => Command::Resume,
        b'h' => Command::Hold,
        b'n' => Command::Skip,
        b'+' | b'=' => scale(status.times * STEP),
        b'-' => scale(status.times / STEP),
        b'm' => Command::Mark {
            text: format!("key {mark}"),
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_toggle_and_scale_back_to_where_they_were() {
        let status = |paused, held, times| Status {
            paused,
            held,
            times,
            ..Status::default()
        };
        let cases = [
            (b'p', status(false, false, 1.0), Some(Command::Pause)),
            (b'p', status(true, false, 1.0), Some(Command::Resume)),
            (b'h', status(false, false, 1.0), Some(Command::Hold)),
            (b'h', status(false, true, 1.0), Some(Command::Resume)),
            (b'n', status(false, false, 1.0), Some(Command::Skip)),
            (b'+', status(false, false, 1.0), Some(Command::Scale { times: 1.1 })),
            (b'-', status(false, false, 1.1), Some(Command::Scale { times: 1.0 })),
            (
                b'm',
                status(false, false, 1.0),
                Some(Command::Mark {
                    text: "key 3".to_owned(),
                }),
            ),
            (b'x', status(false, false, 1.0), None),
            (0x1b, status(false, false, 1.0), None),
        ];
        for (key, status, expected) in cases {
            assert_eq!(command(key, &status, 3), expected, "{key}");
        }
    }
}
