//! nginx as Debian has it: TLS by another library, HTTP by another hand, and a log of what it was asked.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A running nginx; ended with this.
pub struct Nginx {
    process: Child,
    dir: TempDir,
    pub url: String,
}

/// A request as nginx saw it.
pub struct Asked {
    pub protocol: String,
    /// Its number.
    pub connection: String,
    pub status: String,
    /// The version of TLS.
    pub tls: String,
    /// The handshake of its connection went on with an earlier session.
    pub resumed: bool,
}

impl Nginx {
    /// Serves over TLS with `server.pem` and `server.key` in `files`. `speaks` is what its port speaks besides HTTP/1.1
    /// (`http2`), and `more` further directives.
    pub fn start(files: &Path, speaks: &str, more: &str) -> Self {
        let dir = TempDir::new().expect("a directory");
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("an address").port()
        };
        let (here, files) = (dir.path().display(), files.display());
        let config = format!(
            "daemon off; pid {here}/pid; error_log {here}/error.log; worker_processes 1;\n\
             events {{ worker_connections 1000; }}\n\
             http {{ log_format said '$server_protocol $connection $status $ssl_protocol $ssl_session_reused';\n\
             access_log {here}/access.log said;\n\
             client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;\n\
             uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n\
             server {{ listen 127.0.0.1:{port} ssl {speaks}; ssl_certificate {files}/server.pem;\n\
             ssl_certificate_key {files}/server.key; ssl_session_cache shared:sessions:1m; {more}\n\
             location = / {{ return 200 hello; }} location = /orders {{ return 201; }}\n\
             location /orders/ {{ return 200; }} }} }}\n"
        );
        let path = dir.path().join("nginx.conf");
        std::fs::write(&path, config).expect("it is written");
        let mut process = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .spawn()
            .expect("run the tests with scripts/test, which installs nginx");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait().expect("it can be asked");
            assert_eq!(ended, None, "nginx ended before it listened");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self {
            process,
            url: format!("https://127.0.0.1:{port}"),
            dir,
        }
    }

    /// Ends it, so that its log is whole: what it was asked.
    pub fn asked(mut self) -> Vec<Asked> {
        self.end();
        let log = std::fs::read_to_string(self.dir.path().join("access.log")).expect("the log");
        let asked = log.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [protocol, connection, status, tls, resumed] = words[..] else {
                panic!("{line}");
            };
            Asked {
                protocol: protocol.to_owned(),
                connection: connection.to_owned(),
                status: status.to_owned(),
                tls: tls.to_owned(),
                resumed: resumed == "r",
            }
        });
        asked.collect()
    }

    fn end(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.end();
    }
}
