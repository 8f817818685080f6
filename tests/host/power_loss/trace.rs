//! System calls as `strace` records them.

/// What is recorded: whatever changes files, directories or descriptors, and
/// what is sent to clients.
pub const CALLS: &str = "trace=open,openat,openat2,creat,close,dup,dup2,dup3,fcntl,lseek,write,\
    pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,copy_file_range,sendfile,rename,\
    renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,\
    fdatasync,sync,syncfs,sync_file_range,utimensat,accept,accept4,sendto,sendmsg,io_uring_setup";

/// The longest string that is recorded, in bytes.
pub const STRING_LIMIT: usize = 1024 * 1024;

/// A system call.
#[derive(Debug)]
pub struct Call<'a> {
    /// The thread.
    pub thread: u32,
    /// When it was begun, in microseconds since the epoch.
    pub time: u64,
    pub name: &'a str,
    /// As far as they are known: those that the call fills in follow at its end.
    pub arguments: Vec<&'a str>,
}

/// What follows the calls of a trace.
pub trait Follow {
    /// A call is begun.
    fn begun(&mut self, call: &Call<'_>);

    /// It has failed.
    fn failed(&mut self, call: &Call<'_>);

    /// It has succeeded, with this result.
    fn succeeded(&mut self, call: &Call<'_>, result: i64);
}

/// Reads a trace, in the order in which calls begin and end.
pub fn read(trace: &str, follow: &mut impl Follow) {
    let mut unfinished: Vec<(u32, u64, String)> = Vec::new();
    for line in trace.lines() {
        let Some((thread, stamp, text)) = split(line) else { continue };
        let (began, whole);
        if let Some(resumed) = text.strip_prefix("<... ") {
            let Some((_, rest)) = resumed.split_once(" resumed>") else { continue };
            let Some(at) = unfinished.iter().position(|(other, ..)| *other == thread) else {
                continue;
            };
            let (_, time, start) = unfinished.swap_remove(at);
            (began, whole) = (time, format!("{start}{rest}"));
        } else if let Some(start) = text.strip_suffix("<unfinished ...>") {
            let time = parse_time(stamp);
            if let Some(call) = call(thread, time, start) {
                follow.begun(&call);
            }
            unfinished.push((thread, time, start.to_owned()));
            continue;
        } else {
            (began, whole) = (parse_time(stamp), text.to_owned());
            if let Some((before, _)) = split_result(&whole)
                && let Some(call) = call(thread, began, before)
            {
                follow.begun(&call);
            }
        }
        // Otherwise it is the end of a thread, or a signal.
        if let Some((before, result)) = split_result(&whole)
            && let Some(call) = call(thread, began, before)
        {
            match result {
                0.. => follow.succeeded(&call, result),
                _ => follow.failed(&call),
            }
        }
    }
}

/// A call without its last bracket, and its result.
fn split_result(text: &str) -> Option<(&str, i64)> {
    let (call, result) = text.rsplit_once(" = ")?;
    let result = result.split_whitespace().next()?.parse().ok()?;
    Some((call.trim_end().strip_suffix(')')?, result))
}

/// The thread, the time and the rest of a line.
fn split(line: &str) -> Option<(u32, &str, &str)> {
    let (thread, rest) = line.trim_start().split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    Some((thread.parse().ok()?, time, rest))
}

/// `<seconds>.<microseconds>`.
fn parse_time(text: &str) -> u64 {
    text.replace('.', "").parse().unwrap_or_else(|_| panic!("no time: {text}"))
}

fn call(thread: u32, time: u64, text: &str) -> Option<Call<'_>> {
    let (name, arguments) = text.split_once('(')?;
    Some(Call { thread, time, name, arguments: split_arguments(arguments) })
}

/// Arguments are separated by commas, outside brackets. Strings are in
/// hexadecimal, so they have none of these.
fn split_arguments(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b')' if depth > 0 => depth -= 1,
            b',' if depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(text[start..].trim());
    found
}

/// The bytes of all strings in an argument.
pub fn bytes(argument: &str) -> Vec<u8> {
    assert!(!argument.contains("\"..."), "a string was cut off");
    let mut bytes = Vec::new();
    for text in argument.split('"').skip(1).step_by(2) {
        for digits in text.split("\\x").skip(1) {
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        }
    }
    bytes
}

#[test]
fn calls_are_read_in_their_order() {
    #[derive(Default)]
    struct Seen(Vec<String>);
    impl Follow for Seen {
        fn begun(&mut self, call: &Call<'_>) {
            self.0.push(format!("{} {} {:?}", call.thread, call.name, call.arguments));
        }
        fn failed(&mut self, call: &Call<'_>) {
            self.0.push(format!("{} {} failed", call.time, call.name));
        }
        fn succeeded(&mut self, call: &Call<'_>, result: i64) {
            self.0.push(format!("{} {} = {result}", call.time, call.arguments.len()));
        }
    }
    let mut seen = Seen::default();
    let trace = "7  1.000001 fsync(3 <unfinished ...>\n\
        8  1.000002 writev(4, [{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\", iov_len=0}], 2) = 1\n\
        7  1.000003 <... fsync resumed>)            = 0\n\
        8  1.000004 rmdir(\"\\x61\") = -1 ENOTEMPTY (Directory not empty)\n\
        8  1.000005 +++ exited with 0 +++\n";
    read(trace, &mut seen);
    let writev =
        r#"8 writev ["4", "[{iov_base=\"\\x61\", iov_len=1}, {iov_base=\"\", iov_len=0}]", "2"#;
    assert_eq!(seen.0[0], r#"7 fsync ["3"]"#);
    assert!(seen.0[1].starts_with(writev), "{}", seen.0[1]);
    let rmdir = r#"8 rmdir ["\"\\x61\""]"#;
    assert_eq!(seen.0[2..], ["1000002 3 = 1", "1000001 1 = 0", rmdir, "1000004 rmdir failed"]);
    assert_eq!(bytes(r#"{iov_base="\x61\x00", iov_len=2}"#), b"a\0");
}
