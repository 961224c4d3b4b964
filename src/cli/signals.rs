//! Ctrl-C and SIGTERM: the first asks the run to revert and end, a second one says how to revert by hand, or ends at once
//! what has nothing to revert.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::exit::Exit;
use crate::cli::out;
use crate::run::director::Interrupt;

/// Listens from now on; the receiver gets a message at the first signal. A run that touches no account has no
/// directory, and nothing to revert.
pub(super) fn interrupts(run_dir: Option<PathBuf>) -> std::io::Result<mpsc::Receiver<Interrupt>> {
    let (tx, rx) = channel();
    listen(tx, run_dir)?;
    Ok(rx)
}

/// Room for each reason there is to end early: the user's, the target's, and a claim that is lost.
pub(super) fn channel() -> (mpsc::Sender<Interrupt>, mpsc::Receiver<Interrupt>) {
    mpsc::channel(3)
}

/// Listens for signals from now on, and tells the first one.
pub(super) fn listen(tx: mpsc::Sender<Interrupt>, run_dir: Option<PathBuf>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut count = 0u32;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            count += 1;
            if count == 1 {
                // A full channel means the request is already there.
                let _ = tx.try_send(Interrupt::User);
            }
            match &run_dir {
                None if count == 1 => {
                    out::tell("interrupted: what is under way is waited for; interrupt again to end at once");
                }
                None => std::process::exit(i32::from(Exit::Interrupted.code())),
                Some(_) if count == 1 => out::tell("interrupted: reverting what is in the world"),
                Some(run_dir) => out::tell(&format!(
                    "still reverting\nhint: if this process dies, undo by hand with: tenfold revert {}",
                    run_dir.display()
                )),
            }
        }
    });
    Ok(())
}
