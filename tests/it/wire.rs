//! A connection by hand: what is sent is what the test says, byte by byte.

use crate::weir::PATIENCE;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A connection.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(address: impl ToSocketAddrs) -> Wire {
        Wire::over(TcpStream::connect(address).expect("a connection"))
    }

    /// Over a connection that is there.
    #[track_caller]
    pub(crate) fn over(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit on waiting");
        Wire { stream: BufReader::new(stream) }
    }

    /// The connection itself, as the server names it.
    pub(crate) fn address(&self) -> String {
        self.stream.get_ref().local_addr().expect("the own address").to_string()
    }

    /// Sends bytes. A server that has hung up meanwhile is no error here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // What comes back tells.
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
    }

    /// A second handle to send with, while this one reads.
    pub(crate) fn sender(&self) -> TcpStream {
        self.stream.get_ref().try_clone().expect("a second handle")
    }

    /// Sends a command and takes its reply.
    #[track_caller]
    pub(crate) fn call(&mut self, words: &[&str]) -> String {
        self.send(request(words));
        self.reply()
    }

    /// Calls a command given as words without spaces in them.
    #[track_caller]
    pub(crate) fn run(&mut self, words: &str) -> String {
        self.begin(words);
        self.reply()
    }

    /// The same for one that must be answered in this way.
    #[track_caller]
    pub(crate) fn is(&mut self, words: &str, wanted: &str) {
        assert_eq!(self.run(words), wanted, "{words}");
    }

    /// Sends such a command, whose reply is taken later.
    pub(crate) fn begin(&mut self, words: &str) {
        self.send(request(&words.split(' ').collect::<Vec<_>>()));
    }

    /// Takes a reply, as it comes: `+OK`, `:1`, `$3 abc`, elements of an aggregate one behind the other.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> String {
        self.try_reply().unwrap_or_else(|| panic!("closed, where a reply was expected"))
    }

    /// The same; `None` when the connection is closed, perhaps in the middle.
    #[track_caller]
    pub(crate) fn try_reply(&mut self) -> Option<String> {
        let mut reply = self.line()?;
        let (kind, len) = (reply.as_bytes().first().copied(), reply.get(1..).and_then(|len| len.parse::<u64>().ok()));
        match (kind, len) {
            (Some(b'$' | b'='), Some(len)) => {
                let mut body = Vec::new();
                self.stream.by_ref().take(len + 2).read_to_end(&mut body).ok()?;
                body.truncate(body.strip_suffix(b"\r\n")?.len());
                reply.push(' ');
                reply.push_str(&String::from_utf8_lossy(&body));
            }
            (Some(b'*' | b'~' | b'>' | b'%'), Some(len)) => {
                for _ in 0..if kind == Some(b'%') { len * 2 } else { len } {
                    reply.push(' ');
                    reply.push_str(&self.try_reply()?);
                }
            }
            _ => {}
        }
        Some(reply)
    }

    /// Takes as many bytes as `wanted` has, which must be these.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        let mut got = vec![0; wanted.len()];
        let mut len = 0;
        let mut result = Ok(1);
        while len < got.len() && matches!(result, Ok(1..)) {
            result = self.stream.read(&mut got[len..]);
            len += result.as_ref().map_or(0, |count| *count);
        }
        let got = &got[..len];
        assert!(got == wanted, "{result:?}: \"{}\", not \"{}\"", got.escape_ascii(), wanted.escape_ascii());
    }

    /// Sends bytes and takes exactly this reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>, wanted: impl AsRef<[u8]>) {
        self.send(bytes);
        self.expect(wanted);
    }

    /// Takes a line, without its end; `None` when the connection is closed.
    #[track_caller]
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.byte() {
                Ok(Some(b'\n')) => {
                    line.pop();
                    return Some(String::from_utf8_lossy(&line).into_owned());
                }
                Ok(Some(byte)) => line.push(byte),
                Ok(None) => return None,
                Err(error) => panic!("no line but {error} after {}", line.escape_ascii()),
            }
        }
    }

    /// Takes `len` bytes and looks at none of them.
    #[track_caller]
    pub(crate) fn skip(&mut self, len: u64) {
        let skipped = io::copy(&mut self.stream.by_ref().take(len), &mut io::sink()).expect("bytes");
        assert_eq!(skipped, len, "the connection was closed too early");
    }

    /// Takes everything until the server closes the connection.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        loop {
            match self.byte() {
                Ok(Some(byte)) => rest.push(byte),
                Ok(None) => return rest,
                Err(error) => panic!("not closed but {error} after {}", rest.escape_ascii()),
            }
        }
    }

    /// Whether the server closes the connection, at the latest when patience is over. What it sends before is dropped.
    pub(crate) fn is_closed(&mut self) -> bool {
        loop {
            match self.byte() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// The same with another patience: a report of a crash reads all that is known of the program, which is much where nothing is
    /// optimised, and the disk may be slow.
    pub(crate) fn is_closed_within(&mut self, time: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a limit on waiting");
        self.is_closed()
    }

    /// Whether nothing has come in for `time`.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(time)).expect("a limit on waiting");
        let result = self.byte();
        self.stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a limit on waiting");
        result.is_err()
    }

    /// What has come in by now, at most what one read takes: nothing is waited for.
    pub(crate) fn received(&mut self) -> Vec<u8> {
        self.stream.get_ref().set_nonblocking(true).expect("reads that do not wait");
        let received = self.stream.fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
        self.stream.consume(received.len());
        self.stream.get_ref().set_nonblocking(false).expect("reads that wait");
        received
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // It may be closed already.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
    }

    /// The next byte; `None` when the connection is closed, by whichever way.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.byte(),
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(byte[0])),
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The number behind a name in a reply that is a map.
#[track_caller]
pub(crate) fn number(reply: &str, name: &str) -> u64 {
    let number = reply.split(' ').skip_while(|word| *word != name).nth(1).and_then(|word| word.strip_prefix(':'));
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {reply}"))
}

/// A command as the client sends it.
pub(crate) fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    bytes.into_bytes()
}
