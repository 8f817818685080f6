//! Credential helpers: the programs `docker-credential-NAME`, which keep passwords instead of
//! Docker's `config.json`.

use super::Credentials;
use crate::terminal::harmless;
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a helper may take: one may ask for a passphrase.
///
/// Limit: time of a credential helper; test: `a_helper_has_limits`.
const TIME: Duration = Duration::from_mins(2);

/// The most bytes of what a helper says.
///
/// Limit: bytes of the output of a credential helper; test: `a_helper_has_limits`.
const OUTPUT: u64 = 64 * 1024;

/// The most characters that are shown of what a helper says.
///
/// Limit: characters of a credential helper's error that are shown; test: none, helpers say less.
const SAID: usize = 300;

/// The pause between looks whether a helper has ended.
///
/// Limit: pause before a look whether a credential helper has ended; test: none, it would take as
/// long.
const PAUSE: Duration = Duration::from_millis(10);

/// A credential helper.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Helper {
    /// `docker-credential-NAME`.
    program: String,
}

/// What a helper answered.
struct Answer {
    /// Whether it did what was asked.
    succeeded: bool,
    output: Vec<u8>,
}

impl Helper {
    /// The helper of this name.
    ///
    /// # Errors
    /// When it is no name of a program: a path could lead anywhere.
    pub(super) fn new(name: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(format!(
                "{name:?} is no name of a credential helper: it has letters, digits, ., _ and -"
            ));
        }
        Ok(Self { program: format!("docker-credential-{name}") })
    }

    /// The name of the program.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// The password of a registry; none, if the helper gives none.
    ///
    /// # Errors
    /// When the helper cannot be run, or exceeds a limit.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Credentials>, String> {
        let answer = self.call("get", key)?;
        // It fails when it has none.
        let found = answer.succeeded.then(|| serde_json::from_slice(&answer.output).ok());
        let found: Value = found.flatten().unwrap_or_default();
        let text = |name: &str| found[name].as_str().map(str::to_owned);
        let both = text("Username").zip(text("Secret"));
        Ok(both.map(|(user, password)| Credentials { user, password }))
    }

    /// Keeps a password.
    ///
    /// # Errors
    /// When the helper cannot be run, or refuses it.
    pub(crate) fn store(&self, key: &str, user: &Credentials) -> Result<(), String> {
        let secret = json!({ "ServerURL": key, "Username": user.user, "Secret": user.password });
        self.done("store", &secret.to_string())
    }

    /// Forgets a password, and says whether it had one.
    ///
    /// # Errors
    /// When the helper cannot be run, or does not forget what it has.
    pub(crate) fn erase(&self, key: &str) -> Result<bool, String> {
        let is_held = self.get(key)?.is_some();
        match self.done("erase", key) {
            // What helpers say of an entry that they do not have differs.
            Err(problem) if is_held => Err(problem),
            _ => Ok(is_held),
        }
    }

    fn done(&self, action: &str, input: &str) -> Result<(), String> {
        let answer = self.call(action, input)?;
        if answer.succeeded {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.output);
        let said: String = said.trim().chars().take(SAID).collect();
        Err(format!("{} {action}: {}", self.program, harmless(&said)))
    }

    fn call(&self, action: &str, input: &str) -> Result<Answer, String> {
        let mut command = Command::new(&self.program);
        command.arg(action);
        run(&mut command, input, TIME).map_err(|problem| format!("{}: {problem}", self.program))
    }
}

/// Runs a program within the limits.
fn run(command: &mut Command, input: &str, limit: Duration) -> Result<Answer, String> {
    let end = Instant::now() + limit;
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    // One that neither reads nor writes would block these for ever.
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_owned();
        // One that ends without reading says so by its status.
        std::thread::spawn(move || drop(pipe.write_all(input.as_bytes())));
    }
    let (sender, output) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut output = Vec::new();
            let read = pipe.take(OUTPUT + 1).read_to_end(&mut output);
            // Nobody waits for it after the limit.
            drop(sender.send(read.map(|_| output)));
        });
    }
    let result = finish(&mut child, &output, end);
    if result.is_err() {
        // It may have ended meanwhile.
        drop(child.kill());
        drop(child.wait());
    }
    result.map_err(|problem| {
        problem.unwrap_or_else(|| format!("it did not end within {} seconds", limit.as_secs()))
    })
}

/// Waits for the output and the end of a program; the problem is `None` if that takes too long.
fn finish(
    child: &mut Child,
    output: &mpsc::Receiver<std::io::Result<Vec<u8>>>,
    end: Instant,
) -> Result<Answer, Option<String>> {
    let rest = end.saturating_duration_since(Instant::now());
    let output = match output.recv_timeout(rest) {
        Ok(output) => output.map_err(|error| Some(error.to_string()))?,
        Err(RecvTimeoutError::Timeout) => return Err(None),
        Err(RecvTimeoutError::Disconnected) => Vec::new(),
    };
    if output.len() as u64 > OUTPUT {
        return Err(Some(format!("it wrote more than {OUTPUT} bytes")));
    }
    while Instant::now() < end {
        if let Some(status) = child.try_wait().map_err(|error| Some(error.to_string()))? {
            return Ok(Answer { succeeded: status.success(), output });
        }
        std::thread::sleep(PAUSE);
    }
    Err(None)
}

#[cfg(test)]
mod tests {
    use super::{Helper, OUTPUT, run};
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn names_are_no_paths() {
        assert_eq!(
            Helper::new("osx_key.chain-2").unwrap().program,
            "docker-credential-osx_key.chain-2"
        );
        for name in ["", "a/b", "../x", "a b", "ä", "a\n"] {
            assert!(Helper::new(name).is_err(), "{name:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_helper_has_limits() {
        let sh =
            |script: &str, limit| run(Command::new("sh").args(["-c", script]), "secret", limit);
        let long = Duration::from_mins(1);
        let answer = sh("cat; exit 3", long).unwrap();
        assert_eq!((answer.succeeded, &answer.output[..]), (false, &b"secret"[..]));
        // One that does not read, and one that closes its output early.
        assert!(sh("true", long).unwrap().succeeded);
        assert!(sh("exec >&-; sleep 0.1", long).unwrap().succeeded);
        let most = usize::try_from(OUTPUT).unwrap();
        assert_eq!(sh(&format!("head -c {most} /dev/zero"), long).unwrap().output.len(), most);
        let problem = sh("cat /dev/zero", long).err().unwrap();
        assert!(problem.contains("more than 65536 bytes"), "{problem}");
        let begin = Instant::now();
        for script in ["exec sleep 60", "exec >&-; exec sleep 60"] {
            let problem = sh(script, Duration::from_secs(1)).err().unwrap();
            assert!(problem.contains("within 1 seconds"), "{problem}");
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}
