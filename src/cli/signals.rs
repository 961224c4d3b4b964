//! Ctrl-C and SIGTERM: the first asks the run to revert and end, a second one says how to revert by hand.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Listens from now on; the receiver gets a message at the first signal. A run that touches no account has no
/// directory, and nothing to revert.
pub(super) fn interrupts(run_dir: Option<PathBuf>) -> std::io::Result<mpsc::Receiver<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (tx, rx) = mpsc::channel(1);
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
                let _ = tx.try_send(());
            }
            match &run_dir {
                None => anstream::eprintln!("interrupted"),
                Some(_) if count == 1 => anstream::eprintln!("interrupted: reverting what is in the world"),
                Some(run_dir) => anstream::eprintln!(
                    "still reverting\nhint: if this process dies, undo by hand with: tenfold revert {}",
                    run_dir.display()
                ),
            }
        }
    });
    Ok(rx)
}
