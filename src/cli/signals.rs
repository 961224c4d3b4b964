//! Ctrl-C and SIGTERM: the first asks the run to revert and end, a second one says how to revert by hand.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Listens from now on; the receiver gets a message at the first signal.
pub(super) fn interrupts(run_dir: PathBuf) -> std::io::Result<mpsc::Receiver<()>> {
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
                anstream::eprintln!("interrupted: reverting what is in the world");
                // A full channel means the request is already there.
                let _ = tx.try_send(());
            } else {
                anstream::eprintln!(
                    "still reverting\nhint: if this process dies, undo by hand with: tenfold revert {}",
                    run_dir.display()
                );
            }
        }
    });
    Ok(rx)
}
