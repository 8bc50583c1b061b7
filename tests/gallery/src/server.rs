//! A server on this machine that answers as no server should. What a path makes it do is in
//! [`answer`]; every answer that never ends is bounded all the same.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

/// The addresses it listens at, by one port.
const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

/// What an endless answer comes to if nobody hangs up, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// Between two bytes of a slow answer.
const DRIP: Duration = Duration::from_millis(20);

/// Bytes of a slow answer.
const DRIPS: usize = 500;

/// Ports that are tried until one is free at both addresses.
const TRIES: usize = 20;

/// A request inside another's body begins so.
const SMUGGLED: &[u8] = b"GET /smuggled";

/// The server. It ends with the process, or when it is dropped and the next client comes.
pub(crate) struct Server {
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        for _ in 0..TRIES {
            let first = TcpListener::bind((ADDRESSES[0], 0))?;
            let port = first.local_addr()?.port();
            let Ok(second) = TcpListener::bind((ADDRESSES[1], port)) else { continue };
            let (ended, smuggled) = (Arc::new(AtomicBool::new(false)), Arc::default());
            for listener in [first, second] {
                let (ended, smuggled) = (Arc::clone(&ended), Arc::clone(&smuggled));
                thread::spawn(move || listen(&listener, &ended, &smuggled));
            }
            return Ok(Self { port, ended });
        }
        bail!("no port is free at both addresses")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        for address in ADDRESSES {
            // Only to be noticed.
            let _ = TcpStream::connect((address, self.port));
        }
    }
}

fn listen(listener: &TcpListener, ended: &AtomicBool, smuggled: &Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let smuggled = Arc::clone(smuggled);
        // That the client hangs up is what is hoped for.
        thread::spawn(move || answer(stream, &smuggled).ok());
    }
}

fn answer(mut stream: TcpStream, smuggled: &AtomicBool) -> io::Result<()> {
    let (head, rest) = head(&mut stream)?;
    let path = head.split(' ').nth(1).unwrap_or_default();
    let ok = "HTTP/1.1 200 OK\r\n";
    match path {
        "/drip-head" => {
            stream.write_all(format!("{ok}x: ").as_bytes())?;
            for _ in 0..DRIPS {
                stream.write_all(b"y")?;
                thread::sleep(DRIP);
            }
            Ok(())
        }
        "/silent" => stream.read_to_end(&mut Vec::new()).map(drop),
        "/endless" => endless(&mut stream, &format!("{ok}\r\n"), "z"),
        "/endless-head" => endless(&mut stream, ok, "h: z\r\n"),
        "/long-header" => say(&mut stream, &format!("{ok}h: {}\r\n\r\n", "z".repeat(64 << 10))),
        "/many-headers" => say(&mut stream, &format!("{ok}{}\r\n", "h: z\r\n".repeat(5_000))),
        "/two-lengths" => {
            let lengths = "content-length: 5\r\ncontent-length: 50\r\n";
            say(&mut stream, &format!("{ok}{lengths}\r\n{}", "z".repeat(50)))
        }
        "/negative" => {
            say(&mut stream, &format!("{ok}content-length: -1\r\n\r\n{}", "z".repeat(50)))
        }
        "/bad-chunks" => {
            let chunks = format!("fffffffffffffffff\r\n{}", "z".repeat(50));
            say(&mut stream, &format!("{ok}transfer-encoding: chunked\r\n\r\n{chunks}"))
        }
        "/garbage" => say(&mut stream, &"\0\u{1b}[2J\r\n".repeat(100)),
        "/redirect" => {
            let to = "location: http://169.254.169.254/latest/meta-data/\r\n";
            say(&mut stream, &format!("HTTP/1.1 302 Found\r\n{to}content-length: 0\r\n\r\n"))
        }
        "/posted" => posted(&mut stream, &head, rest, smuggled),
        "/heard" => {
            let status = if smuggled.load(Ordering::Acquire) { "200 OK" } else { "204 No Content" };
            say(&mut stream, &format!("HTTP/1.1 {status}\r\n\r\n"))
        }
        _ => say(&mut stream, &format!("{ok}content-length: 2\r\n\r\nok")),
    }
}

fn say(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())
}

fn endless(stream: &mut TcpStream, begin: &str, again: &str) -> io::Result<()> {
    say(stream, begin)?;
    let piece = again.repeat((16 << 10) / again.len());
    (0..MOST_BYTES / piece.len()).try_for_each(|_| say(stream, &piece))
}

/// Take a body as its length says; what comes after it is another request.
fn posted(
    stream: &mut TcpStream,
    head: &str,
    mut rest: Vec<u8>,
    smuggled: &AtomicBool,
) -> io::Result<()> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let length: usize = length.unwrap_or(0);
    let mut piece = [0; 1024];
    while rest.len() < length {
        let more = stream.read(&mut piece)?;
        if more == 0 {
            return Ok(());
        }
        rest.extend_from_slice(&piece[..more]);
    }
    say(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    // Until the client hangs up, as it must.
    stream.take(MOST_BYTES as u64).read_to_end(&mut rest)?;
    let after = rest.get(length..).unwrap_or_default();
    if after.windows(SMUGGLED.len()).any(|part| part == SMUGGLED) {
        smuggled.store(true, Ordering::Release);
    }
    Ok(())
}

/// The head of a request, and what came with it.
fn head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let more = stream.read(&mut piece)?;
        if more == 0 || bytes.len() > 1 << 20 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..more]);
    }
}
