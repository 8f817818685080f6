//! `roadstead config`: files as people have them, checked and written again.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use clap::Parser;
use rcgen::{CertificateParams, KeyPair};
use roadstead_config::{Config, Given, Settings};
use roadstead_operator::config::{Args, Start, run};
use roadstead_operator::{Streams, config_file};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

/// A directory of files, and a start with them.
struct Machine {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

struct Outcome {
    status: u8,
    output: String,
    errors: String,
}

impl Outcome {
    /// Asserts a line that begins with this word and contains a text.
    #[track_caller]
    fn says(&self, word: &str, what: &str) -> &Self {
        let found = self.output.lines().any(|line| line.starts_with(word) && line.contains(what));
        assert!(found, "no {word:?} with {what:?} in:\n{}{}", self.output, self.errors);
        self
    }

    #[track_caller]
    fn ends(&self, status: u8) -> &Self {
        assert_eq!(self.status, status, "{}{}", self.output, self.errors);
        self
    }
}

impl Machine {
    /// With a file that has this text, where `DIR` is the directory.
    fn new(config: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let machine = Self { directory, environment: Vec::new() };
        machine.write("config.yml", &machine.placed(config), 0o600);
        let variables = variables
            .iter()
            .map(|(name, value)| (format!("REGISTRY_{name}"), machine.placed(value)));
        let environment = variables.collect();
        Self { environment, ..machine }
    }

    fn placed(&self, text: &str) -> String {
        text.replace("DIR", self.directory.path().to_str().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        set_mode(&self.path(name), mode);
    }

    /// A certificate that is valid for so many days, and its key.
    fn certificate(&self, days: u64, key_mode: u32) {
        let mut params = CertificateParams::new(["registry.example".to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - Duration::from_hours(24 * 90)).into();
        // Not on the edge of a day.
        params.not_after = (SystemTime::now() + Duration::from_hours(24 * days + 1)).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write("domain.crt", &certificate.pem(), 0o644);
        self.write("domain.key", &key.serialize_pem(), key_mode);
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        let args = Cli::try_parse_from(["config"].iter().chain(arguments)).unwrap().args;
        let start = Start {
            file: args.file().map(|file| self.path(file.to_str().unwrap())),
            environment: self.environment.clone(),
            default_root: self.path("data"),
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            input: &mut &b""[..],
            output: &mut output,
            errors: &mut errors,
            screen: roadstead_operator::terminal::Screen::None,
        };
        let status = run(&args, &start, &mut streams);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Outcome { status, output: text(output), errors: text(errors) }
    }

    fn check(&self) -> Outcome {
        self.run(&["check", "config.yml"])
    }

    /// What a start has of a file and of these variables.
    fn config(&self, file: &Path) -> Config {
        let mut given = config_file::read(file).unwrap();
        given.extend(self.environment.iter().map(|(n, v)| Given::variable(n.as_str(), v.as_str())));
        Settings::gather(given).config().unwrap()
    }
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) {}

const ALICE: &str = "alice:$2y$05$NIUpoApN7m6iMSDpOZa6NOaUjpOHzXI0KwBnSBxGhOLWFnUuGjlEa\n";

#[test]
fn a_good_file_is_good() {
    let machine = Machine::new(
        "
version: 0.1
log:
  fields: {service: registry}
http:
  addr: :5000
  tls:
    certificate: DIR/domain.crt
    key: DIR/domain.key
auth:
  htpasswd:
    path: DIR/htpasswd
storage:
  filesystem:
    rootdirectory: DIR/new/data
",
        &[("LOG_LEVEL", "warn"), ("HTTP_SECRET", "tell-nobody")],
    );
    machine.certificate(60, 0o600);
    machine.write("htpasswd", ALICE, 0o600);
    let outcome = machine.check();
    outcome
        .ends(0)
        .says("  http.addr: :5000  (", "config.yml, line 6)")
        .says("  log.level: warn  (REGISTRY_LOG_LEVEL)", "")
        .says("  http.secret: ********  (REGISTRY_HTTP_SECRET)", "")
        .says("ok    log.fields.service is ignored: log lines have no such fields", "")
        .says("ok    REGISTRY_HTTP_TLS_CERTIFICATE", "belong together, valid until")
        .says("ok    1 user can log in", "")
        .says("ok    the directory ", "new/data is created by the first start")
        .says("0 errors, 0 warnings: this configuration can be served", "");
    assert!(!outcome.output.contains("tell-nobody"), "{}", outcome.output);
    // Nothing was made.
    assert!(!machine.path("new").exists());
}

#[test]
fn all_that_is_wrong_is_said_at_once_in_the_words_of_a_start() {
    let machine = Machine::new(
        "
http:
  adr: :5000
  prefix: /registry
  drainTimeout: soon
  tls: {certificate: a}
loglevel: debug
",
        &[("STORAGE_DELETE", "true"), ("URL", "x")],
    );
    let given = config_file::read(&machine.path("config.yml")).unwrap().into_iter();
    let variables = machine.environment.iter();
    let variables = variables.map(|(n, v)| Given::variable(n.as_str(), v.as_str()));
    let refused = Settings::gather(given.chain(variables)).config().unwrap_err().to_string();
    let outcome = machine.check();
    outcome
        .ends(1)
        .says("fail", "did you mean http.addr?")
        .says("fail", "did you mean REGISTRY_STORAGE_DELETE_ENABLED?")
        .says("warn", "loglevel in ")
        .says("warn", "REGISTRY_URL is ignored")
        .says("5 errors, 2 warnings: this configuration cannot be served", "");
    assert_eq!(refused.lines().count(), 5, "{refused}");
    for line in refused.lines() {
        assert!(outcome.output.contains(&format!("\nfail  {line}\n")), "{line}");
    }
    // Errors are first, and then warnings.
    let words = outcome.output.lines().filter_map(|line| line.split_once("  ")).map(|(w, _)| w);
    let words: Vec<_> = words.filter(|word| ["fail", "warn"].contains(word)).collect();
    assert!(words.is_sorted(), "{words:?}");
    let shown = machine.run(&["show", "config.yml"]);
    assert_eq!((shown.status, shown.output.as_str()), (1, ""));
    assert_eq!(shown.errors.lines().count(), 5, "{}", shown.errors);
}

#[test]
fn files_that_cannot_be_read() {
    for (text, expected) in
        [("http: {addr: [", "in "), ("- a", "a configuration must be a mapping")]
    {
        let machine = Machine::new(text, &[]);
        machine.check().ends(1).says("fail", expected);
        let shown = machine.run(&["show", "config.yml"]);
        assert!(shown.status == 1 && shown.errors.contains(expected), "{}", shown.errors);
    }
    let machine = Machine::new("{}", &[]);
    machine.run(&["check", "other.yml"]).ends(1).says("fail", "cannot read ");
    // Without a file there are the environment and the defaults.
    machine.run(&["check"]).ends(0).says("The settings of the environment:", "");
}

/// Variables, what to prepare, the exit status, and a line of the output by its word and text.
type Case<'a> = (&'a [(&'a str, &'a str)], fn(&Machine), u8, &'a str, &'a str);

/// Files and directories that settings name.
#[test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn what_settings_name_is_checked() {
    const TLS: [(&str, &str); 2] =
        [("HTTP_TLS_CERTIFICATE", "DIR/domain.crt"), ("HTTP_TLS_KEY", "DIR/domain.key")];
    const USERS: (&str, &str) = ("AUTH_HTPASSWD_PATH", "DIR/htpasswd");
    const GCS: [(&str, &str); 2] =
        [("STORAGE_GCS_BUCKET", "images"), ("STORAGE_GCS_KEYFILE", "DIR/key.json")];
    const EXTERNAL: [(&str, &str); 3] = [
        ("AUTH_TOKEN_REALM", "https://a.example"),
        ("AUTH_TOKEN_SERVICE", "a"),
        ("AUTH_TOKEN_ISSUER", "a"),
    ];
    let cases: [Case<'_>; 24] = [
        (&TLS, |_| {}, 1, "fail", "REGISTRY_HTTP_TLS_CERTIFICATE: cannot read "),
        (&TLS, |m| m.certificate(29, 0o600), 0, "warn", "it expires in 29 days, on "),
        (&TLS, |m| m.certificate(31, 0o600), 0, "ok", "belong together"),
        (&TLS, |m| m.certificate(60, 0o640), 0, "0 errors, 0 warnings", ""),
        (&TLS, |m| m.certificate(60, 0o644), 0, "warn", "REGISTRY_HTTP_TLS_KEY: "),
        (
            &TLS,
            |m| {
                m.certificate(60, 0o600);
                m.write("domain.key", &KeyPair::generate().unwrap().serialize_pem(), 0o600);
            },
            1,
            "fail",
            "does not belong to the first certificate",
        ),
        (
            &[TLS[0], TLS[1], ("HTTP_TLS_CLIENTCAS", "DIR/none.pem")],
            |m| m.certificate(60, 0o600),
            1,
            "fail",
            "REGISTRY_HTTP_TLS_CLIENTCAS: cannot read ",
        ),
        (
            &[TLS[0], TLS[1], ("HTTP_TLS_CLIENTCAS", "DIR/domain.crt")],
            |m| m.certificate(60, 0o600),
            0,
            "ok",
            "REGISTRY_HTTP_TLS_CLIENTCAS: ",
        ),
        (
            &[("HTTP_TLS_LETSENCRYPT_HOSTS", "a"), ("HTTP_TLS_LETSENCRYPT_CACHEFILE", "DIR/x")],
            |m| m.write("x", "", 0o600),
            1,
            "fail",
            "cannot be a directory for keys and certificates: ",
        ),
        (&[USERS], |_| {}, 1, "fail", "REGISTRY_AUTH_HTPASSWD_PATH: "),
        (&[USERS], |m| m.write("htpasswd", "alice:{SHA}x\n", 0o600), 1, "fail", "bcrypt"),
        (&[USERS], |m| m.write("htpasswd", "", 0o600), 0, "warn", "nobody can log in"),
        (&[USERS], |m| m.write("htpasswd", ALICE, 0o644), 0, "ok", "1 user can log in"),
        (&[USERS], |m| m.write("htpasswd", ALICE, 0o666), 0, "warn", "has mode 0666"),
        (
            &[USERS, ("HTTP_ADDR", ":5000")],
            |m| m.write("htpasswd", ALICE, 0o600),
            1,
            "fail",
            "users would send their passwords to [::]:5000 unencrypted",
        ),
        (&[("HTTP_ADDR", "0.0.0.0:5000")], |_| {}, 0, "warn", "there is no authentication"),
        (&[("HTTP_ADDR", "localhost:5000")], |_| {}, 0, "0 errors, 0 warnings", ""),
        (
            &[EXTERNAL[0], EXTERNAL[1], EXTERNAL[2], ("AUTH_TOKEN_ROOTCERTBUNDLE", "DIR/a.pem")],
            |_| {},
            1,
            "fail",
            "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE: ",
        ),
        (
            &[
                EXTERNAL[0],
                EXTERNAL[1],
                EXTERNAL[2],
                ("AUTH_TOKEN_ROOTCERTBUNDLE", "DIR/domain.crt"),
            ],
            |m| m.certificate(60, 0o600),
            0,
            "ok",
            "the keys that sign tokens can be read",
        ),
        (&GCS, |_| {}, 1, "fail", "REGISTRY_STORAGE_GCS_KEYFILE: "),
        (&GCS, |m| m.write("key.json", "{}", 0o600), 1, "fail", "is no service account's key"),
        (
            &GCS,
            |m| m.write("key.json", r#"{"private_key": "a"}"#, 0o600),
            0,
            "ok",
            "is a service account's key",
        ),
        (
            &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "DIR/config.yml")],
            |_| {},
            1,
            "fail",
            "cannot write to the storage directory ",
        ),
        (
            &[("STORAGE_MAINTENANCE_READONLY_ENABLED", "true")],
            |_| {},
            1,
            "fail",
            "cannot read the storage directory ",
        ),
    ];
    for (variables, prepare, status, word, expected) in cases {
        let machine = Machine::new("{}", variables);
        prepare(&machine);
        machine.check().ends(status).says(word, expected);
    }
}

#[test]
fn files_with_secrets_are_not_for_all() {
    for (text, mode, warned) in [
        ("http: {secret: a}", 0o644, true),
        ("http: {secret: a}", 0o640, false),
        ("http: {addr: ':5000'}", 0o644, false),
    ] {
        let machine = Machine::new(text, &[("AUTH_RULES", "anonymous pull **")]);
        set_mode(&machine.path("config.yml"), mode);
        let outcome = machine.check();
        assert_eq!(outcome.output.contains("\nwarn  http.secret: "), warned, "{}", outcome.output);
        outcome.ends(0);
    }
}

/// What may not be written to is not served; tests may run as root, who may do everything.
#[cfg(unix)]
#[test]
fn directories_of_others() {
    let machine = Machine::new("{}", &[("STORAGE_FILESYSTEM_ROOTDIRECTORY", "DIR/a/b")]);
    fs::create_dir(machine.path("a")).unwrap();
    set_mode(&machine.path("a"), 0o500);
    let may = fs::write(machine.path("a/probe"), "").is_ok();
    let outcome = machine.check();
    if may {
        outcome.ends(0);
    } else {
        outcome.ends(1).says("fail", "Permission denied").says("fail", "chown");
    }
}

#[test]
fn machines_read_json() {
    let machine = Machine::new(
        "
http:
  addr: :5000
  trustedproxies: [10.0.0.0/8]
  http2: {disabled: true}
",
        &[("HTTP_ADDR", "localhost:5000"), ("HTTP_SECRET", "tell-nobody")],
    );
    let outcome = machine.run(&["check", "--json", "config.yml"]);
    outcome.ends(0);
    assert!(!outcome.output.contains("tell-nobody"));
    let found: Value = serde_json::from_str(&outcome.output).unwrap();
    let file = machine.path("config.yml").to_str().unwrap().to_owned();
    assert_eq!((&found["ok"], &found["file"]), (&json!(true), &json!(file)));
    let settings = found["settings"].as_array().unwrap();
    let setting = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(
        setting("http.addr"),
        &json!({
            "key": "http.addr",
            "variable": "REGISTRY_HTTP_ADDR",
            "value": "localhost:5000",
            "secret": false,
            "source": {"kind": "variable", "name": "REGISTRY_HTTP_ADDR"},
            "overrides": [{"kind": "file", "file": file, "key": "http.addr", "line": 3}],
            "without_effect": null,
        })
    );
    assert_eq!(setting("http.trustedproxies")["value"], json!(["10.0.0.0/8"]));
    assert_eq!(setting("http.secret")["value"], json!("********"));
    assert_eq!(setting("log.level")["source"], json!({"kind": "default"}));
    let reason = "HTTP/2 is always on";
    let source = json!({"kind": "file", "file": file, "key": "http.http2.disabled", "line": 5});
    assert_eq!(
        found["unused"],
        json!([{
            "name": "http.http2.disabled", "more": 0, "fate": "ignored", "reason": reason,
            "source": source,
        }])
    );
    let level = |level: &str| {
        let findings = found["findings"].as_array().unwrap().iter();
        findings.filter(|finding| finding["level"] == level).count()
    };
    assert_eq!((level("fail"), level("warn")), (0, 1), "{}", outcome.output);
    let outcome = Machine::new("http: {adr: x}", &[]).run(&["check", "--json", "config.yml"]);
    let found: Value = serde_json::from_str(&outcome.output).unwrap();
    assert_eq!((outcome.status, &found["ok"]), (1, &json!(false)));
}

/// Files of distribution, written as what they come to, are read as the same settings.
#[test]
fn what_is_shown_is_read_again() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fixtures");
    let mut read = 0;
    for file in fs::read_dir(fixtures).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let machine = Machine::new(&text, &[("AUTH_RULES", "alice all **; anonymous pull a/**")]);
        for flags in [&[][..], &["--defaults"], &["--env"], &["--env", "--defaults"]] {
            let outcome = machine.run(&[&["show"], flags, &["config.yml"]].concat());
            if text.contains("\nproxy:") {
                outcome.ends(1);
                continue;
            }
            outcome.ends(0);
            let mut expected = machine.config(&machine.path("config.yml"));
            // Masked: the fixtures have one.
            expected.auth.secret = None;
            expected.warnings.clear();
            let mut found = if flags.contains(&"--env") {
                let lines = outcome.output.lines().filter(|line| !line.starts_with('#'));
                let pairs = lines.filter_map(|line| line.split_once('='));
                let pairs = pairs.map(|(n, v)| (n.to_owned(), v.trim_matches('\'').to_owned()));
                Config::from_variables(pairs).unwrap()
            } else {
                let alone = Machine::new(&outcome.output, &[]);
                alone.config(&alone.path("config.yml"))
            };
            found.auth.secret = None;
            found.warnings.clear();
            assert_eq!(found, expected, "{}", outcome.output);
            read += 1;
        }
    }
    assert!(read > 20, "{read}");
}

#[test]
fn the_template_is_read_as_the_defaults() {
    let machine = Machine::new("{}", &[]);
    let template = machine.run(&["show", "--defaults"]);
    template.ends(0);
    let written = Machine::new(&template.output, &[]);
    let found = written.config(&written.path("config.yml"));
    assert_eq!(found, machine.config(&machine.path("config.yml")));
    written.check().ends(0).says("0 errors, 0 warnings", "");
}
