//! The socket of a run: only its owner can open it, lines and clients are bounded, and what is no command gets an error
//! for an answer and changes nothing.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::{Answer, SOCKET};
use crate::run::control::{Command, Control};

/// Bytes of a request, its end of line included.
const LINE_MAX: u64 = 4096;
/// Clients at a time.
const CLIENTS_MAX: usize = 16;
/// Who says nothing for this long makes room for others.
const IDLE: Duration = Duration::from_secs(60);
/// How long an answer may take to be read.
const UNREAD: Duration = Duration::from_secs(5);
/// Pause after a client could not be accepted, for want of descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A socket that takes commands until it is dropped; then it is gone from the directory too.
pub(in crate::cli) struct Listening {
    path: PathBuf,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// Listens in the directory of a run.
    pub(in crate::cli) fn in_dir(dir: &Path, control: Control) -> io::Result<Self> {
        let path = dir.join(SOCKET);
        let listener = bind(&path)?;
        let accepting = tokio::spawn(accept(listener, control));
        Ok(Self { path, accepting })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
        // Gone already is what is wanted.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match bind_private(path) {
        // A run that was killed leaves its socket behind; one that listens answers.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && BlockingStream::connect(path).is_err() => {
            std::fs::remove_file(path)?;
            bind_private(path)
        }
        bound => bound,
    }
}

/// Nobody can open it before it listens, and by then it is its owner's alone.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(CLIENTS_MAX as u32)
}

async fn accept(listener: UnixListener, control: Control) {
    let room = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            // A new socket's buffer takes a line at once; one that does not is not waited for.
            let busy = Answer::refused(&format!("{CLIENTS_MAX} others are connected already"));
            let _ = timeout(ACCEPT_AGAIN, stream.write_all(&line(&busy))).await;
            continue;
        };
        let control = control.clone();
        clients.spawn(async move {
            // A client that breaks off is its own affair.
            let _ = serve(stream, &control, IDLE).await;
            drop(place);
        });
    }
}

async fn serve(mut stream: UnixStream, control: &Control, idle: Duration) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    loop {
        let mut request = Vec::new();
        let mut bounded = (&mut read).take(LINE_MAX);
        let Ok(count) = timeout(idle, bounded.read_until(b'\n', &mut request)).await else {
            return Ok(());
        };
        if count? == 0 {
            return Ok(());
        }
        let whole = request.ends_with(b"\n");
        let too_long = !whole && request.len() as u64 == LINE_MAX;
        let answer = if too_long {
            Answer::refused(&format!("a command is a line of at most {LINE_MAX} bytes"))
        } else {
            answer(&request, control).await
        };
        timeout(UNREAD, write.write_all(&line(&answer))).await??;
        if !whole {
            // After a line without end, nobody knows where the next one begins.
            return Ok(());
        }
    }
}

async fn answer(request: &[u8], control: &Control) -> Answer {
    match serde_json::from_slice::<Command>(request) {
        Ok(command) => control.send(command).await.into(),
        Err(error) => Answer::refused(&format!("not a command: {error}")),
    }
}

fn line(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
