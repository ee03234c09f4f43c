//! The first line of a script, where it says what it is: `#!lua flags=no-writes,allow-oom`.

use std::borrow::Cow;

bitflags::bitflags! {
    /// What a script has declared of itself.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct ScriptFlags: u8 {
        /// It only reads.
        const NO_WRITES = 1 << 0;
        /// It may run while memory is short.
        const ALLOW_OOM = 1 << 1;
        /// It may run on a replica with stale data.
        const ALLOW_STALE = 1 << 2;
        /// It is not to run in a cluster.
        const NO_CLUSTER = 1 << 3;
        /// Its keys may be in several slots of a cluster.
        const ALLOW_CROSS_SLOT_KEYS = 1 << 4;
        /// It has said nothing, as scripts once did: each of its commands is judged by itself.
        const UNDECLARED = 1 << 5;
    }
}

/// The flags that a script can declare, under their names.
pub const FLAGS: &[(ScriptFlags, &str)] = &[
    (ScriptFlags::NO_WRITES, "no-writes"),
    (ScriptFlags::ALLOW_OOM, "allow-oom"),
    (ScriptFlags::ALLOW_STALE, "allow-stale"),
    (ScriptFlags::NO_CLUSTER, "no-cluster"),
    (ScriptFlags::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
];

/// The flag with a name.
pub fn flag(name: &[u8]) -> Option<ScriptFlags> {
    FLAGS.iter().find(|(_, known)| known.as_bytes() == name).map(|(flag, _)| *flag)
}

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
            let known = flag(name);
            flags |= known.ok_or_else(|| [b"Unexpected flag in script shebang: ", name].concat())?;
        }
    }
    Ok((flags, body))
}

/// What a client is told of a text that does not compile.
pub fn compile_error(why: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned([b"ERR Error compiling script (new function): ", why].concat())
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
