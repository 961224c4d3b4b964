//! A server that costs less than its clients: one thread, one answer, no parsing beyond the end of a head.
//! For benchmarks only. Usage: `bench_server ADDRESS` (loopback); prints the address it listens on; ends with its
//! standard input.

use std::collections::HashMap;
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
    let mut connections: HashMap<usize, Connection> = HashMap::new();
    let mut next = 0;
    let mut buffer = vec![0; 65_536];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE)?;
                    connections.insert(
                        next,
                        Connection {
                            stream,
                            kept: Vec::new(),
                        },
                    );
                    next += 1;
                }
                continue;
            }
            let index = event.token().0;
            if let Some(connection) = connections.get_mut(&index)
                && !connection.answer(&mut buffer)
            {
                connections.remove(&index);
            }
        }
    }
}

impl Connection {
    /// Answers every whole request that has come; false once the peer is gone.
    fn answer(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            let input = if self.kept.is_empty() {
                &buffer[..length]
            } else {
                self.kept.extend_from_slice(&buffer[..length]);
                &self.kept[..]
            };
            let (mut at, mut answers) = (0, Vec::new());
            while let Some(end) = request_end(&input[at..]) {
                let answer = if input[at..].starts_with(b"GET /hello") || input[at..].starts_with(b"GET / ") {
                    ANSWER
                } else {
                    JSON
                };
                answers.push(answer);
                at += end;
            }
            let rest = input[at..].to_vec();
            self.kept = rest;
            for answer in answers {
                // Answers are far smaller than any socket's buffer.
                if self.stream.write_all(answer).is_err() {
                    return false;
                }
            }
            if length < buffer.len() {
                return true;
            }
        }
    }
}

/// Bytes of the first request, if it is whole.
fn request_end(input: &[u8]) -> Option<usize> {
    let head = input.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = &input[..head];
    if text.starts_with(b"GET") {
        return Some(head);
    }
    let name = b"content-length: ";
    let Some(at) = text
        .windows(name.len())
        .position(|field| field.eq_ignore_ascii_case(name))
    else {
        return Some(head);
    };
    let digits = text[at + name.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    (input.len() >= head + length).then_some(head + length)
}
