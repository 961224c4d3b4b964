//! The edge of one subnet: every socket of its addresses passes here, and when the subnet is silent, packets vanish.
//! Incoming segments are dropped by the kernel through a socket filter, so that peers see silence and no refusal;
//! outgoing ones are held back here. Decides nothing about when.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::lab::truth::TruthState;

/// Pending connections that a listener holds for its accept loop.
const BACKLOG: i32 = 4096;

/// Classic BPF `ret 0`: keep no byte of any packet.
const BPF_RET: u16 = 0x06;

/// One subnet's edge.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Subnet id.
    pub(crate) subnet_id: String,
    /// AZ name.
    pub(crate) az: String,
    /// Region name.
    pub(crate) region: String,
    silent: AtomicBool,
    silence: watch::Sender<bool>,
    /// Other Regions to which packets from here vanish.
    unreached: watch::Sender<BTreeSet<String>>,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    sockets: HashMap<u64, Member>,
    /// Writers to wake when packets pass again.
    blocked: Vec<Waker>,
    /// Sockets that were closed during silence: their FIN or RST must not leave before it ends.
    held: Vec<Arc<TcpStream>>,
}

#[derive(Debug)]
enum Member {
    Stream(Weak<TcpStream>),
    Listener(Weak<TcpListener>),
}

impl Gate {
    pub(crate) fn new(subnet_id: String, az: String, region: String) -> Self {
        Self {
            subnet_id,
            az,
            region,
            silent: AtomicBool::new(false),
            silence: watch::Sender::new(false),
            unreached: watch::Sender::default(),
            members: Mutex::default(),
        }
    }

    /// Whether packets vanish now.
    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Acquire)
    }

    /// Makes packets vanish or pass; answers whether that changed anything.
    pub(crate) fn set_silent(&self, silent: bool) -> bool {
        let mut members = self.members();
        if self.silent.swap(silent, Ordering::AcqRel) == silent {
            return false;
        }
        for member in members.sockets.values() {
            match member {
                Member::Stream(stream) => stream
                    .upgrade()
                    .iter()
                    .for_each(|stream| filter(&SockRef::from(&**stream), silent)),
                Member::Listener(listener) => {
                    listener
                        .upgrade()
                        .iter()
                        .for_each(|listener| filter(&SockRef::from(&**listener), silent));
                }
            }
        }
        let (blocked, held) = if silent {
            (Vec::new(), Vec::new())
        } else {
            (std::mem::take(&mut members.blocked), std::mem::take(&mut members.held))
        };
        drop(members);
        self.silence.send_replace(silent);
        for stream in &held {
            filter(&SockRef::from(&**stream), false);
        }
        drop(held);
        blocked.into_iter().for_each(Waker::wake);
        true
    }

    /// Waits until packets pass.
    pub(crate) async fn passes(&self) {
        if self.is_silent() {
            // The sender lives as long as `self`, so this cannot fail.
            let _ = self.silence.subscribe().wait_for(|silent| !silent).await;
        }
    }

    /// Sets the other Regions to which packets from here vanish; answers whether that changed anything.
    pub(crate) fn set_unreached(&self, regions: BTreeSet<String>) -> bool {
        self.unreached.send_if_modified(|now| {
            let changed = *now != regions;
            *now = regions;
            changed
        })
    }

    /// Waits until packets reach a Region.
    pub(crate) async fn reaches(&self, region: &str) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.unreached.subscribe().wait_for(|now| !now.contains(region)).await;
    }

    /// What is true of the subnet now.
    pub(crate) fn truth(&self) -> TruthState {
        match (self.is_silent(), self.unreached.borrow().is_empty()) {
            (true, _) => TruthState::Down,
            (false, false) => TruthState::Degraded,
            (false, true) => TruthState::Up,
        }
    }

    /// Listens at `address`.
    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddrV4) -> io::Result<GatedListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::V4(address).into())?;
        if self.is_silent() {
            filter(&SockRef::from(&socket), true);
        }
        socket.listen(BACKLOG)?;
        let listener = Arc::new(TcpListener::from_std(socket.into())?);
        let key = self.admit(Member::Listener(Arc::downgrade(&listener)), &SockRef::from(&*listener));
        Ok(GatedListener {
            gate: Arc::clone(self),
            key,
            listener,
        })
    }

    /// Connects from `source` in this subnet to `target`; hangs while the subnet is silent.
    pub(crate) async fn connect(self: &Arc<Self>, source: Ipv4Addr, target: SocketAddrV4) -> io::Result<GatedStream> {
        self.passes().await;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // Lets connections to different targets share a local port.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(source, 0)).into())?;
        let stream = TcpSocket::from_std_stream(socket.into()).connect(target.into()).await?;
        Ok(self.adopt(stream))
    }

    fn adopt(self: &Arc<Self>, stream: TcpStream) -> GatedStream {
        let _ = stream.set_nodelay(true);
        let stream = Arc::new(stream);
        let key = self.admit(Member::Stream(Arc::downgrade(&stream)), &SockRef::from(&*stream));
        GatedStream {
            gate: Arc::clone(self),
            key,
            stream,
        }
    }

    fn admit(&self, member: Member, socket: &SockRef<'_>) -> u64 {
        let mut members = self.members();
        // An accepted socket inherits the filter its listener had at the handshake, so both cases need doing.
        filter(socket, self.is_silent());
        members.next += 1;
        let key = members.next;
        members.sockets.insert(key, member);
        key
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn filter(socket: &SockRef<'_>, silent: bool) {
    // Attaching fails only for lack of option memory, detaching only where nothing is attached.
    let _ = if silent {
        socket.attach_filter(&[SockFilter::new(BPF_RET, 0, 0, 0)])
    } else {
        socket.detach_filter()
    };
}

/// A listener inside a subnet.
#[derive(Debug)]
pub(crate) struct GatedListener {
    gate: Arc<Gate>,
    key: u64,
    listener: Arc<TcpListener>,
}

impl GatedListener {
    pub(crate) async fn accept(&self) -> io::Result<(GatedStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((self.gate.adopt(stream), peer))
    }
}

impl Drop for GatedListener {
    fn drop(&mut self) {
        self.gate.members().sockets.remove(&self.key);
    }
}

/// A connection with one end inside a subnet.
#[derive(Debug)]
pub(crate) struct GatedStream {
    gate: Arc<Gate>,
    key: u64,
    stream: Arc<TcpStream>,
}

impl GatedStream {
    /// A handle that makes the close of this connection a reset.
    pub(crate) fn resetter(&self) -> Resetter {
        Resetter(Arc::downgrade(&self.stream))
    }
}

/// Turns the coming close of a connection into a reset.
#[derive(Debug)]
pub(crate) struct Resetter(Weak<TcpStream>);

impl Resetter {
    pub(crate) fn reset_on_close(&self) {
        if let Some(stream) = self.0.upgrade() {
            let _ = stream.set_zero_linger();
        }
    }
}

impl Drop for GatedStream {
    fn drop(&mut self) {
        let mut members = self.gate.members();
        members.sockets.remove(&self.key);
        if self.gate.is_silent() {
            members.held.push(Arc::clone(&self.stream));
        }
    }
}

impl GatedStream {
    /// Whether a write must wait for the end of silence; the task is woken then.
    fn must_wait(&self, cx: &mut Context<'_>) -> bool {
        if !self.gate.is_silent() {
            return false;
        }
        let mut members = self.gate.members();
        let silent = self.gate.is_silent();
        if silent && !members.blocked.iter().any(|waker| waker.will_wake(cx.waker())) {
            members.blocked.push(cx.waker().clone());
        }
        silent
    }

    fn poll_out<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if self.must_wait(cx) {
            return Poll::Pending;
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match attempt(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(buf.initialize_unfilled()) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_out(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_out(cx, |stream| SockRef::from(stream).shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(300);

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new("subnet-1".into(), "us-east-1a".into(), "us-east-1".into()))
    }

    fn bound(listener: &GatedListener) -> SocketAddrV4 {
        match listener.listener.local_addr().expect("it is bound") {
            SocketAddr::V4(address) => address,
            SocketAddr::V6(_) => unreachable!("bound to IPv4"),
        }
    }

    #[tokio::test]
    async fn silence_hangs_and_its_end_delivers_what_was_held() {
        let gate = gate();
        let listener = gate
            .listen(SocketAddrV4::new(Ipv4Addr::new(127, 40, 1, 5), 0))
            .expect("a port");
        let address = bound(&listener);
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let (mut server, _) = listener.accept().await.expect("a connection");
        assert!(gate.set_silent(true) && !gate.set_silent(true));
        assert!(
            timeout(SOON, TcpStream::connect(address)).await.is_err(),
            "connect must time out, not be refused"
        );
        client.write_all(b"in").await.expect("the kernel takes it");
        let mut buf = [0; 8];
        assert!(
            timeout(SOON, server.read(&mut buf)).await.is_err(),
            "what arrives must vanish"
        );
        assert!(
            timeout(SOON, server.write_all(b"out")).await.is_err(),
            "what leaves must wait"
        );
        drop(server);
        assert!(
            timeout(SOON, client.read(&mut buf)).await.is_err(),
            "not even a FIN may leave"
        );
        gate.set_silent(false);
        assert!(
            timeout(Duration::from_secs(5), client.read(&mut buf)).await.is_ok(),
            "the close arrives afterwards"
        );
        TcpStream::connect(address).await.expect("new connections work again");
    }

    #[tokio::test]
    async fn a_waiting_writer_goes_on_after_silence() {
        let gate = gate();
        let listener = gate
            .listen(SocketAddrV4::new(Ipv4Addr::new(127, 40, 1, 6), 0))
            .expect("a port");
        let mut client = TcpStream::connect(bound(&listener)).await.expect("it listens");
        let (mut server, _) = listener.accept().await.expect("a connection");
        gate.set_silent(true);
        let writer = tokio::spawn(async move { server.write_all(b"late").await.map(|()| server) });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!writer.is_finished());
        gate.set_silent(false);
        let mut buf = [0; 4];
        timeout(Duration::from_secs(5), client.read_exact(&mut buf))
            .await
            .expect("soon")
            .expect("four bytes");
        assert_eq!(&buf, b"late");
    }
}
