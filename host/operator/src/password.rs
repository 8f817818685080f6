//! Passwords, from standard input or a terminal.

use std::io::{self, Read};

/// The most bytes read from an input that should hold one password.
///
/// Limit: bytes read for a password; test: `what_is_wrong_is_said`.
const MAX_INPUT: u64 = 4096;

/// Reads a password that is all of `input`, without its line end.
pub(crate) fn from_input(input: &mut dyn Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read the password from standard input: {error}"))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(format!("standard input has more than {MAX_INPUT} bytes: not a password"));
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    let password = String::from_utf8(bytes)
        .map_err(|_| "the password is not UTF-8, which clients send".to_owned())?;
    if password.is_empty() {
        return Err("standard input is empty: pipe the password in".to_owned());
    }
    Ok(password)
}

/// Prompts for a password on the terminal, without echo.
pub(crate) fn ask(prompt: &str) -> Result<String, String> {
    rpassword::prompt_password(prompt).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => "interrupted".to_owned(),
        _ => format!("cannot prompt for the password without a terminal ({error})"),
    })
}
