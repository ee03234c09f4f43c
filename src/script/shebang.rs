//! The first line of a script, where it says what it is: `#!lua flags=no-writes,allow-oom`.

use super::flags::ScriptFlags;

/// Takes the first line off a script. What is left begins with that line's end, so that lines keep their numbers.
///
/// # Errors
/// What is wrong with the line, as a client is told.
pub fn read(script: &[u8]) -> Result<(ScriptFlags, &[u8]), Vec<u8>> {
    if !script.starts_with(b"#!") {
        return Ok((ScriptFlags::UNDECLARED, script));
    }
    let Some(end) = script.iter().position(|&byte| byte == b'\n') else {
        return Err(b"Invalid script shebang".to_vec());
    };
    let (line, body) = script.split_at(end);
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let engine = words.next().unwrap_or_default();
    if !engine.eq_ignore_ascii_case(b"#!lua") {
        return Err([b"Unexpected engine in script shebang: ", engine].concat());
    }
    let mut flags = ScriptFlags::empty();
    for word in words {
        let Some(names) = word.strip_prefix(b"flags=") else {
            return Err([b"Unknown lua shebang option: ", word].concat());
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&byte| byte == b',') {
            let known = ScriptFlags::named(name);
            flags |= known.ok_or_else(|| [b"Unexpected flag in script shebang: ", name].concat())?;
        }
    }
    Ok((flags, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_a_script_is() {
        let read = |text: &str| {
            read(text.as_bytes())
                .map(|(flags, body)| (flags, String::from_utf8_lossy(body).into_owned()))
                .map_err(|error| String::from_utf8_lossy(&error).into_owned())
        };
        assert_eq!(read("return 1"), Ok((ScriptFlags::UNDECLARED, "return 1".into())));
        assert_eq!(read("#!lua\nreturn 1"), Ok((ScriptFlags::empty(), "\nreturn 1".into())));
        let both = ScriptFlags::NO_WRITES | ScriptFlags::ALLOW_OOM;
        assert_eq!(read("#!lua  flags=no-writes,allow-oom\n"), Ok((both, "\n".into())));
        assert_eq!(read("#!lua flags=\n"), Ok((ScriptFlags::empty(), "\n".into())));
        for (text, error) in [
            ("#!lua", "Invalid script shebang"),
            ("#!js\n", "Unexpected engine in script shebang: #!js"),
            ("#!\n", "Unexpected engine in script shebang: #!"),
            ("#!lua name=x\n", "Unknown lua shebang option: name=x"),
            ("#!lua flags=x\n", "Unexpected flag in script shebang: x"),
            ("#!lua flags=no-writes,\n", "Unexpected flag in script shebang: "),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
