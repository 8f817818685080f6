//! Files of users and password hashes, as Apache's `htpasswd -B` writes them.

use std::collections::HashMap;
use std::fmt;

/// Longest password in bytes: bcrypt ignores the rest, so a longer one would be
/// equivalent to its first bytes.
///
/// Limit: the bytes of a password; test: `credentials_that_cannot_be_valid`.
pub const PASSWORD_LIMIT: usize = 72;

/// Longest user name in bytes, as in Apache's tool.
///
/// Limit: the bytes of a user's name; test: `credentials_that_cannot_be_valid`.
pub const NAME_LIMIT: usize = 255;

/// Largest file in bytes.
///
/// Limit: bytes of a file of users; test: none, it is compared with the file's
/// length.
pub const SIZE_LIMIT: u64 = 16 * 1024 * 1024;

/// The cost of the dummy hash if there are no users.
const DEFAULT_COST: u32 = 10;

/// The minimum cost of bcrypt.
pub const MIN_COST: u32 = 4;

/// The highest cost that is accepted: about 30 s per password.
///
/// Limit: bcrypt's cost of a hash in a file of users; test:
/// `other_lines_are_refused_by_number`.
pub const MAX_COST: u32 = 18;

/// Length of a bcrypt hash as text.
const HASH_LENGTH: usize = 60;

/// Users and their password hashes.
#[derive(Clone)]
pub struct Htpasswd {
    hashes: HashMap<String, String>,
    /// A hash that no password matches, with the highest cost of any user's:
    /// comparing it takes as long as the slowest of theirs.
    dummy: String,
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("users", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl Default for Htpasswd {
    fn default() -> Self {
        Self { hashes: HashMap::new(), dummy: dummy(DEFAULT_COST) }
    }
}

impl Htpasswd {
    /// Parses a file: `user:hash` lines, empty lines and `#` comments. As in
    /// Apache's server, the first line of a user counts.
    ///
    /// # Errors
    /// The number of an invalid line, and how to fix it. Invalid entries are
    /// not skipped silently, because their users could not log in.
    pub fn parse(text: &str) -> Result<Self, InvalidLine> {
        let mut users = Self::default();
        let mut highest = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |problem| InvalidLine { number, problem };
            let (name, hash) = line.split_once(':').ok_or(invalid(Problem::NoColon))?;
            check_name(name).map_err(invalid)?;
            let cost = cost(hash).map_err(invalid)?;
            highest = highest.max(Some(cost));
            users.hashes.entry(name.to_owned()).or_insert_with(|| hash.to_owned());
        }
        users.dummy = dummy(highest.unwrap_or(DEFAULT_COST));
        Ok(users)
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are no users.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Whether this is the user's password. Takes as long as bcrypt does, for
    /// unknown users as well.
    pub fn verify(&self, user: &str, password: &str) -> bool {
        let known = self.hashes.get(user);
        let hash = known.unwrap_or(&self.dummy);
        // Passwords that are too long are compared too, to take the same time.
        let matches = bcrypt::verify(password, hash).unwrap_or(false);
        // bcrypt treats "x\0x" like "x".
        let usable = password.len() <= PASSWORD_LIMIT && !password.contains('\0');
        matches && known.is_some() && usable
    }

    /// The user's password hash, which differs after each change.
    pub fn hash_of(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(String::as_str)
    }
}

/// Checks that a name is valid before the colon.
pub fn check_name(name: &str) -> Result<(), Problem> {
    let plain = !name.is_empty() && !name.chars().any(|c| c.is_control() || c == ':');
    if plain && name.len() <= NAME_LIMIT { Ok(()) } else { Err(Problem::Name) }
}

/// Hashes a password, as `htpasswd -B` does (`$2y$`).
///
/// # Errors
/// When the password is longer than [`PASSWORD_LIMIT`], the cost is out of
/// range, or the system returns no random bytes.
pub fn hash(password: &str, cost: u32) -> Result<String, HashError> {
    if password.len() > PASSWORD_LIMIT {
        return Err(HashError::TooLong);
    }
    if !(MIN_COST..=MAX_COST).contains(&cost) {
        return Err(HashError::Cost);
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| HashError::Random)?;
    let parts = bcrypt::hash_with_salt(password, cost, salt).map_err(|_| HashError::Cost)?;
    Ok(parts.format_for_version(bcrypt::Version::TwoY))
}

/// The cost of an entry's hash, if it is a bcrypt hash.
fn cost(hash: &str) -> Result<u32, Problem> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|start| hash.strip_prefix(start));
    let Some((cost, encoded)) = rest.and_then(|rest| rest.split_once('$')) else {
        return Err(Problem::Format(format_of(hash)));
    };
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let cost = cost.parse().ok().filter(|cost| (MIN_COST..=31).contains(cost));
    match cost {
        Some(cost) if cost > MAX_COST => Err(Problem::Cost(cost)),
        Some(cost)
            if hash.len() == HASH_LENGTH
                && encoded.bytes().all(base64)
                // The last characters of salt and hash have four and two unused
                // bits. bcrypt cannot compare a hash that sets them.
                && encoded[21..].starts_with(['.', 'O', 'e', 'u'])
                && encoded.ends_with(|last| ".CGKOSWaeimquy26".contains(last)) =>
        {
            Ok(cost)
        }
        _ => Err(Problem::Damaged),
    }
}

/// The kind of an entry's hash, if it is not bcrypt.
fn format_of(hash: &str) -> &'static str {
    if hash.starts_with("$apr1$") {
        "MD5 (htpasswd -m)"
    } else if hash.starts_with("{SHA}") {
        "SHA-1 (htpasswd -s)"
    } else if hash.starts_with("$5$") {
        "SHA-256 (htpasswd -2)"
    } else if hash.starts_with("$6$") {
        "SHA-512 (htpasswd -5)"
    } else if hash.starts_with("$2x$") {
        "a faulty bcrypt"
    } else if hash.len() == 13 {
        "crypt (htpasswd -d)"
    } else {
        "plain text or an unknown format"
    }
}

/// A well-formed hash without a known password.
fn dummy(cost: u32) -> String {
    format!("$2b${cost:02}$abcdefghijklmnopqrstu.abcdefghijklmnopqrstuvwxyzABCD.")
}

/// An invalid line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidLine {
    /// The line number, from one.
    pub number: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// It has no colon.
    NoColon,
    /// The name is empty, too long or has control characters or colons.
    Name,
    /// The hash is of this kind instead of bcrypt.
    Format(&'static str),
    /// The hash starts like bcrypt, but is incomplete or has invalid characters.
    Damaged,
    /// The cost is so high that verifying a password would take minutes.
    Cost(u32),
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.number, self.problem)
    }
}

impl std::error::Error for InvalidLine {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoColon => f.write_str("an entry is user:hash; this line has no colon"),
            Self::Name => write!(
                f,
                "a user's name has 1 to {NAME_LIMIT} bytes, no colon and no control characters"
            ),
            Self::Format(kind) => write!(
                f,
                "the hash is {kind}, and only bcrypt is accepted; create the entry again with \
                 roadstead htpasswd -Bbn USER PASSWORD"
            ),
            Self::Damaged => f.write_str(
                "the bcrypt hash is damaged: it should have 60 characters; create the entry again \
                 with roadstead htpasswd -Bbn USER PASSWORD",
            ),
            Self::Cost(cost) => write!(
                f,
                "cost {cost} would take minutes to verify; create the entry again with a cost of \
                 at most {MAX_COST}"
            ),
        }
    }
}

impl std::error::Error for Problem {}

/// Why a password could not be hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashError {
    /// It is longer than [`PASSWORD_LIMIT`].
    TooLong,
    /// The cost is not from [`MIN_COST`] to [`MAX_COST`].
    Cost,
    /// The system returned no random bytes.
    Random,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(
                f,
                "a password has at most {PASSWORD_LIMIT} bytes, because bcrypt ignores the rest"
            ),
            Self::Cost => write!(f, "the cost must be from {MIN_COST} to {MAX_COST}"),
            Self::Random => f.write_str("the system returned no random bytes"),
        }
    }
}

impl std::error::Error for HashError {}

#[cfg(test)]
mod tests {
    use super::{HashError, Htpasswd, Problem, hash};

    /// By `htpasswd -Bbn -C 4` of Apache 2.4.
    const ALICE: &str = "alice:$2y$04$aPUJ6PfPZtEBWLW2SQbOwujk2WbUdka3xms7DNMBvGOEXM.2iBrm6";

    #[test]
    fn what_is_hashed_verifies() {
        let entry = hash("pass:word ü", 4).unwrap();
        assert!(entry.starts_with("$2y$04$"), "{entry}");
        for version in ["$2y$", "$2a$", "$2b$"] {
            let file = format!("# users\n\n bob:{} \r\n", entry.replace("$2y$", version));
            let users = Htpasswd::parse(&file).unwrap();
            assert_eq!(users.len(), 1);
            assert!(users.verify("bob", "pass:word ü"));
            assert!(!users.verify("bob", "pass:word"));
            assert!(!users.verify("Bob", "pass:word ü"));
            assert!(!users.verify("", ""));
        }
    }

    #[test]
    fn an_entry_of_apache() {
        let users = Htpasswd::parse(ALICE).unwrap();
        assert!(users.verify("alice", "secret") && !users.verify("alice", "secret "));
    }

    #[test]
    fn the_first_entry_counts() {
        let (one, two) = (hash("one", 4).unwrap(), hash("two", 4).unwrap());
        let users = Htpasswd::parse(&format!("a:{one}\na:{two}")).unwrap();
        assert!(users.verify("a", "one") && !users.verify("a", "two"));
    }

    #[test]
    fn seventy_two_bytes() {
        let longest = "x".repeat(72);
        assert_eq!(hash(&format!("{longest}y"), 4), Err(HashError::TooLong));
        let users = Htpasswd::parse(&format!("a:{}", hash(&longest, 4).unwrap())).unwrap();
        assert!(users.verify("a", &longest));
        // bcrypt itself would accept it.
        assert!(!users.verify("a", &format!("{longest}y")));
    }

    #[test]
    fn the_dummy_has_the_highest_cost() {
        let users = format!("a:{}\nb:{}", hash("x", 5).unwrap(), hash("x", 4).unwrap());
        assert!(Htpasswd::parse(&users).unwrap().dummy.starts_with("$2b$05$"));
        assert!(bcrypt::verify("x", &super::dummy(4)).is_ok(), "bcrypt accepts it as a hash");
    }

    #[test]
    fn other_lines_are_refused_by_number() {
        for (line, expected) in [
            ("alice", Problem::NoColon),
            (":$2y$04$", Problem::Name),
            ("a:secret", Problem::Format("plain text or an unknown format")),
            ("a:$apr1$x$y", Problem::Format("MD5 (htpasswd -m)")),
            ("a:{SHA}0DPiKuNIrrVmD8IUCuw1hQxNqZc=", Problem::Format("SHA-1 (htpasswd -s)")),
            ("a:rqXexS6ZhobKA", Problem::Format("crypt (htpasswd -d)")),
            ("a:$2y$04$short", Problem::Damaged),
            (&ALICE.replace("iBrm6", "iBrm7"), Problem::Damaged),
            (&ALICE.replace("$04$", "$31$"), Problem::Cost(31)),
            (&ALICE.replace("$04$", "$99$"), Problem::Damaged),
        ] {
            let error = Htpasswd::parse(&format!("{ALICE}\n# c\n{line}\n")).unwrap_err();
            assert_eq!((error.number, error.problem), (3, expected), "{line}");
        }
    }
}
