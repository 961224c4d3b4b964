//! The least a client of `bench_server` can do: sends ready bytes, takes whatever comes as the answer, sends again. It
//! measures nothing; its rate is what the machine's sockets and that server allow any client.
//! For benchmarks only. Usage: `bench_client ADDRESS CONNECTIONS SECONDS` (loopback); prints answers a second.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds] = arguments.as_slice() else {
        anyhow::bail!("usage: bench_client ADDRESS CONNECTIONS SECONDS");
    };
    let address: SocketAddr = address.parse()?;
    anyhow::ensure!(address.ip().is_loopback(), "only loopback addresses");
    let (connections, length) = (connections.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let mut poll = Poll::new()?;
    let mut streams = Vec::new();
    for index in 0..connections {
        let connected = std::net::TcpStream::connect(address)?;
        connected.set_nodelay(true)?;
        connected.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(connected);
        poll.registry()
            .register(&mut stream, Token(index), Interest::READABLE)?;
        streams.push(stream);
    }
    let (begun, mut answers, mut buffer) = (Instant::now(), 0_u64, [0; 4096]);
    for stream in &mut streams {
        stream.write_all(REQUEST)?;
    }
    let mut events = Events::with_capacity(1024);
    while begun.elapsed() < length {
        poll.poll(&mut events, Some(length))?;
        for event in &events {
            let stream = &mut streams[event.token().0];
            anyhow::ensure!(stream.read(&mut buffer)? > 0, "the server closed a connection");
            answers += 1;
            stream.write_all(REQUEST)?;
        }
    }
    println!("{:.0}", answers as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}
