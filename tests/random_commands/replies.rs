//! A strict reader of what a client receives: every byte must belong to a complete frame of RESP, and frames of RESP3
//! are for clients that have asked for it.
//!
//! It knows nothing of commands. Lengths are believed only as far as bytes are there.

/// Deepest nesting that any reply has use for.
const DEPTH_MAX: usize = 12;

/// What one client has received.
#[derive(Default)]
pub(crate) struct Replies {
    /// Replies so far; pushes are none, and an attribute belongs to the reply behind it.
    pub(crate) count: u64,
    /// The client has said HELLO 3 at some time.
    pub(crate) resp3: bool,
}

impl Replies {
    /// Reads what has come since the last time.
    ///
    /// # Errors
    /// Says what is not RESP, or what is not complete.
    pub(crate) fn read(&mut self, received: &[u8]) -> Result<(), String> {
        let mut rest = received;
        while !rest.is_empty() {
            let before = rest;
            let frame = Frame::read(&mut rest, 0).map_err(|what| format!("{what}, in {}", shown(before)))?;
            if frame.is_resp3 && !self.resp3 {
                let greeting = before.starts_with(b"%") && before.windows(10).take(8).any(|w| w == b"$6\r\nserver");
                if !greeting {
                    return Err(format!("a client of RESP2 receives {}", shown(before)));
                }
                self.resp3 = true;
            }
            if !frame.is_push {
                self.count += 1;
            }
        }
        Ok(())
    }
}

/// Bytes for people, the beginning of many.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 200;
    let start = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii();
    if bytes.len() > SHOWN_MAX { format!("{start}... ({} bytes)", bytes.len()) } else { start.to_string() }
}

#[derive(Clone, Copy)]
struct Frame {
    is_push: bool,
    is_resp3: bool,
}

impl Frame {
    fn read(bytes: &mut &[u8], depth: usize) -> Result<Frame, String> {
        if depth > DEPTH_MAX {
            return Err(format!("frames {DEPTH_MAX} deep"));
        }
        let line = line(bytes)?;
        let (&kind, text) = line.split_first().ok_or("an empty line")?;
        let mut frame = Frame { is_push: kind == b'>', is_resp3: !b"+-:$*".contains(&kind) };
        match kind {
            b'+' | b'-' => {}
            b':' => fits(canonical::<i64>(text).is_some(), "a number", text)?,
            b'_' => fits(text.is_empty(), "nothing", text)?,
            b'#' => fits(text == b"t" || text == b"f", "t or f", text)?,
            b',' => fits(is_double(text), "a double", text)?,
            b'(' => fits(is_big_number(text), "a big number", text)?,
            b'$' | b'*' if text == b"-1" => {}
            b'$' => drop(body(bytes, text)?),
            b'=' => {
                let body = body(bytes, text)?;
                fits(body.get(3) == Some(&b':'), "a format and a colon", body)?;
            }
            b'*' | b'~' => frame.read_elements(bytes, len(text)?, depth)?,
            b'>' if depth == 0 => frame.read_elements(bytes, len(text)?, depth)?,
            b'%' => frame.read_elements(bytes, pairs(text)?, depth)?,
            b'|' => {
                frame.read_elements(bytes, pairs(text)?, depth)?;
                // The reply that it describes.
                frame.is_push |= Frame::read(bytes, depth)?.is_push;
            }
            _ => return Err(format!("{} begins no frame", shown(line))),
        }
        Ok(frame)
    }

    fn read_elements(&mut self, bytes: &mut &[u8], count: usize, depth: usize) -> Result<(), String> {
        for _ in 0..count {
            self.is_resp3 |= Frame::read(bytes, depth + 1)?.is_resp3;
        }
        Ok(())
    }
}

/// Takes a line, without its end.
fn line<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], String> {
    let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or("a line without an end")?;
    let (line, rest) = bytes.split_at(end);
    *bytes = rest.strip_prefix(b"\r\n").ok_or("a line that does not end with CR LF")?;
    Ok(line)
}

/// Takes as many bytes as `text` says, and the end behind them.
fn body<'b>(bytes: &mut &'b [u8], text: &[u8]) -> Result<&'b [u8], String> {
    let len = len(text)?;
    let (body, rest) = bytes.split_at_checked(len).ok_or_else(|| format!("fewer bytes than {len}"))?;
    *bytes = rest.strip_prefix(b"\r\n").ok_or_else(|| format!("no CR LF behind {len} bytes"))?;
    Ok(body)
}

fn fits(fits: bool, what: &str, text: &[u8]) -> Result<(), String> {
    if fits { Ok(()) } else { Err(format!("{} is not {what}", shown(text))) }
}

fn len(text: &[u8]) -> Result<usize, String> {
    canonical::<usize>(text).ok_or_else(|| format!("{} is no length", shown(text)))
}

fn pairs(text: &[u8]) -> Result<usize, String> {
    len(text)?.checked_mul(2).ok_or_else(|| format!("{} is too long", shown(text)))
}

/// A number in the one way to write it.
fn canonical<N: std::str::FromStr + ToString>(text: &[u8]) -> Option<N> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse::<N>().ok().filter(|number| number.to_string() == text)
}

fn is_double(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"inf", b"-inf", b"nan"];
    let number = std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok());
    WORDS.contains(&text) || number && text.iter().all(|byte| b"0123456789+-.eE".contains(byte))
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(resp3: bool, received: &[u8]) -> Result<u64, String> {
        let mut replies = Replies { count: 0, resp3 };
        replies.read(received).map(|()| replies.count)
    }

    #[test]
    fn whole_replies_are_counted_and_pushes_are_not() {
        assert_eq!(read(false, b"+OK\r\n-ERR no\r\n:-5\r\n$-1\r\n*-1\r\n$2\r\n\r\n\r\n*2\r\n$0\r\n\r\n*0\r\n"), Ok(7));
        assert_eq!(read(true, b"_\r\n#t\r\n,-1.5e-7\r\n(-12\r\n=5\r\ntxt:a\r\n%1\r\n+a\r\n~0\r\n"), Ok(6));
        assert_eq!(read(true, b">1\r\n+a\r\n|1\r\n+a\r\n+b\r\n+c\r\n"), Ok(1));
        assert_eq!(read(false, b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n,inf\r\n"), Ok(2));
    }

    #[test]
    fn what_is_cut_short_overlong_or_malformed_is_refused() {
        let wrong: [&[u8]; 16] = [
            b"+OK",
            b"+OK\n",
            b"+O\rK\r\n",
            b"$3\r\nab\r\n",
            b"$1\r\nab\r\n",
            b"$01\r\na\r\n",
            b"$-2\r\n",
            b"*2\r\n+a\r\n",
            b":+1\r\n",
            b":\r\n",
            b"#x\r\n",
            b",1,5\r\n",
            b"=3\r\ntxt\r\n",
            b"*1\r\n>1\r\n+a\r\n",
            b"OK\r\n",
            b"\r\n",
        ];
        for received in wrong {
            assert!(read(true, received).is_err(), "{}", shown(received));
        }
        assert!(read(true, &b"*1\r\n".repeat(100)).is_err());
    }

    #[test]
    fn resp3_is_not_for_those_who_have_not_asked_for_it() {
        for received in [&b"_\r\n"[..], b"*1\r\n#t\r\n", b"%1\r\n+a\r\n+b\r\n"] {
            assert!(read(false, received).is_err(), "{}", shown(received));
            assert!(read(true, received).is_ok(), "{}", shown(received));
        }
    }
}
