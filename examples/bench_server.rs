//! A server that costs less than its clients: one thread, two answers, hardly any parsing.
//! For benchmarks only: it takes what comes in one piece for one request, so clients must not pipeline. Usage: `bench_server ADDRESS` (loopback); prints the address it listens on; ends with its
//! standard input.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-served-by: i-1/us-east-1a/us-east-1\r\n\
content-length: 13\r\n\r\nhello, world\n";
const JSON: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-served-by: i-1/us-east-1a/us-east-1\r\n\
content-length: 46\r\n\r\n{\"id\":\"o-12345\",\"items\":[1,2,3],\"state\":\"new\"}";
const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// Bytes of a request that has not come whole.
    kept: Vec<u8>,
}

fn main() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned()).parse()?;
    anyhow::ensure!(address.ip().is_loopback(), "only loopback addresses");
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(16_384)?;
    let mut listener = TcpListener::from_std(socket.into());
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        // Whoever started it has gone.
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(0);
    });
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match poll.poll(&mut events, None) {
            // Being stopped and continued, as stall tests do, interrupts the wait.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    let index = free.pop().unwrap_or(connections.len());
                    poll.registry()
                        .register(&mut stream, Token(index), Interest::READABLE)?;
                    let connection = Connection {
                        stream,
                        kept: Vec::new(),
                    };
                    if index == connections.len() {
                        connections.push(None);
                    }
                    connections[index] = Some(connection);
                }
                continue;
            }
            let index = event.token().0;
            if let Some(connection) = &mut connections[index]
                && !connection.answer(&mut buffer)
            {
                connections[index] = None;
                free.push(index);
            }
        }
    }
}

impl Connection {
    /// Answers what has come; false once the peer is gone.
    fn answer(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let answered = if self.kept.is_empty() && is_whole(&buffer[..length]) {
                self.stream.write_all(answer_to(buffer))
            } else {
                self.kept.extend_from_slice(&buffer[..length]);
                if !is_whole(&self.kept) {
                    continue;
                }
                let answered = self.stream.write_all(answer_to(&self.kept));
                self.kept.clear();
                answered
            };
            // Answers are far smaller than any socket's buffer.
            if answered.is_err() {
                return false;
            }
            if length < buffer.len() {
                return true;
            }
        }
    }
}

fn answer_to(request: &[u8]) -> &'static [u8] {
    if request.starts_with(b"GET /hello") || request.starts_with(b"GET / ") {
        ANSWER
    } else {
        JSON
    }
}

/// Whether a request has come to its end; one without a body ends with its head.
fn is_whole(input: &[u8]) -> bool {
    if input.starts_with(b"GET ") {
        return input.ends_with(b"\r\n\r\n");
    }
    let Some(head) = input.windows(4).position(|end| end == b"\r\n\r\n") else {
        return false;
    };
    let name = b"content-length: ";
    let Some(at) = input[..head]
        .windows(name.len())
        .position(|field| field.eq_ignore_ascii_case(name))
    else {
        return true;
    };
    let digits = input[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    input.len() >= head + 4 + length
}
