//! `config.yml`, distribution's configuration file, read as the settings that it
//! holds.

mod lines;

use anyhow::{Context as _, bail};
use roadstead_config::{Given, Step};
use serde_yaml_ng::Value;
use std::path::Path;
use std::sync::Arc;

/// Largest configuration file, in bytes.
///
/// Limit: bytes of `config.yml`; test: none, it comes from the operator.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Reads a configuration file.
///
/// # Errors
/// When it cannot be read, or is no such file.
pub fn read(path: &Path) -> anyhow::Result<Vec<Given>> {
    Ok(read_text(path)?.0)
}

/// The same with the line of each value, for reports.
///
/// # Errors
/// As [`read`].
pub fn read_with_lines(path: &Path) -> anyhow::Result<Vec<Given>> {
    let (given, text) = read_text(path)?;
    Ok(lines::found(given, &text))
}

fn read_text(path: &Path) -> anyhow::Result<(Vec<Given>, String)> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if size > SIZE_LIMIT {
        bail!("{shown} has {size} bytes; the limit is {SIZE_LIMIT}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let given = parse(&shown.to_string(), &text).with_context(|| format!("in {shown}"))?;
    Ok((given, text))
}

fn parse(file: &str, text: &str) -> anyhow::Result<Vec<Given>> {
    let value: Value = serde_yaml_ng::from_str(text)?;
    if !matches!(value, Value::Mapping(_)) {
        bail!("a configuration must be a mapping, as in `http: {{addr: localhost:5000}}`");
    }
    let mut found = Found { file: file.into(), path: Vec::new(), given: Vec::new() };
    found.take(&value)?;
    Ok(found.given)
}

/// What was found in a file so far, and where the search is.
struct Found {
    file: Arc<str>,
    path: Vec<Step>,
    given: Vec<Given>,
}

impl Found {
    fn take(&mut self, value: &Value) -> anyhow::Result<()> {
        let text = match value {
            Value::Mapping(_) if Given::may_be_map(&self.path) => {
                let text = serde_json::to_string(value);
                let keys = || format!("{}: keys must be strings", self.place());
                Some(text.with_context(keys)?)
            }
            Value::Mapping(mapping) if !mapping.is_empty() => {
                for (key, value) in mapping {
                    let Value::String(key) = key else {
                        bail!("{}: keys must be strings", self.place());
                    };
                    self.below(Step::Key(key.clone()), value)?;
                }
                return Ok(());
            }
            Value::Sequence(sequence) if !sequence.is_empty() => {
                for (index, value) in (0..).zip(sequence) {
                    self.below(Step::Item(index), value)?;
                }
                return Ok(());
            }
            Value::Null | Value::Mapping(_) | Value::Sequence(_) => None,
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            Value::String(value) => Some(value.clone()),
            Value::Tagged(_) => bail!("{}: YAML tags are not supported", self.place()),
        };
        // The file as a whole is no setting.
        if !self.path.is_empty() {
            self.given.push(Given::key(&self.file, self.path.clone(), text));
        }
        Ok(())
    }

    fn below(&mut self, step: Step, value: &Value) -> anyhow::Result<()> {
        self.path.push(step);
        self.take(value)?;
        self.path.pop();
        Ok(())
    }

    fn place(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { Step::join(&self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, read};
    use roadstead_config::{Config, ConfigError, Given, Settings};

    fn config(text: &str) -> Result<Config, ConfigError> {
        Settings::gather(parse("config.yml", text).unwrap()).config()
    }

    /// What a file of another registry leads to, beside the variables of its container.
    fn of_container(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| Given::variable(format!("REGISTRY_{name}"), (*value).to_owned()));
        let mut given = parse("config.yml", text).unwrap();
        given.extend(variables);
        Settings::gather(given).config()
    }

    /// The files of distribution and of its image, and what charts make of their values:
    /// each starts, and what has no effect here is said once by the key that is in the file.
    #[test]
    fn files_that_are_in_use() {
        const CHART: [(&str, &str); 5] = [
            ("HTTP_SECRET", "random"),
            ("AUTH", "htpasswd"),
            ("AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
            ("STORAGE_DELETE_ENABLED", "true"),
        ];
        const DATA: (&str, &str) = ("STORAGE_FILESYSTEM_ROOTDIRECTORY", "/var/lib/registry");
        let chart = [&CHART[..], &[DATA]].concat();
        for (file, variables, warnings) in [
            (include_str!("fixtures/image-2.yml"), &[][..], &[][..]),
            (include_str!("fixtures/image-3.yml"), &[], &[]),
            (include_str!("fixtures/distribution-3.1-example.yml"), &[], &[]),
            (include_str!("fixtures/distribution-3.1-dev.yml"), &[], &[]),
            (
                include_str!("fixtures/distribution-2.8-dev.yml"),
                &[],
                &[
                    "log.hooks in config.yml is ignored: logs go to standard error; send mail \
                     from there",
                    "redis in config.yml is ignored: Redis is not used: caches need no server",
                ],
            ),
            (include_str!("fixtures/chart-twuni.yml"), &chart, &[]),
            (include_str!("fixtures/chart-zarf.yml"), &chart, &[]),
        ] {
            let config = of_container(file, variables).unwrap_or_else(|e| panic!("{e}\n{file}"));
            assert_eq!(config.address, "[::]:5000", "{file}");
            assert_eq!(config.root, Some("/var/lib/registry".into()), "{file}");
            assert_eq!(config.warnings, warnings, "{file}");
            let debug = config.debug.map(|debug| (debug.address, debug.metrics));
            let enabled = |(_, rest): (_, &str)| rest.trim_start().starts_with("enabled: true");
            let enabled = file.split_once("prometheus:").is_some_and(enabled);
            let metrics = enabled.then(|| "/metrics".to_owned());
            let expected = file.contains(":5001").then(|| ("[::]:5001".to_owned(), metrics));
            assert_eq!(debug, expected, "{file}");
            let deletes = file.contains("delete:") || !variables.is_empty();
            assert_eq!(config.delete_enabled, deletes, "{file}");
        }
        let developers = config(include_str!("fixtures/distribution-2.8-dev.yml")).unwrap();
        assert_eq!(developers.upload_purging, None);
        let zarf = config(include_str!("fixtures/chart-zarf.yml")).unwrap();
        assert!(zarf.tls.is_some_and(|tls| tls.client_certificate_optional));
    }

    /// A cache of another registry is none here: it would serve nothing.
    #[test]
    fn files_of_caches() {
        for file in [
            include_str!("fixtures/distribution-2.8-cache.yml"),
            include_str!("fixtures/distribution-3.1-cache.yml"),
        ] {
            assert_eq!(
                config(file).unwrap_err().to_string(),
                "proxy in config.yml is not supported: this registry is not a pull-through cache; \
                 remove it"
            );
        }
    }

    /// Sections from distribution's documentation, and this registry's own, equal
    /// their variables.
    #[test]
    #[expect(clippy::too_many_lines, reason = "it is one table")]
    fn sections_are_variables() {
        const JWKS: &str = r#"{"keys":[{"kty":"oct"}]}"#;
        for (file, variables) in [
            (
                "auth: {htpasswd: {realm: basic-realm, path: /auth/htpasswd}}",
                &[
                    ("AUTH", "htpasswd"),
                    ("AUTH_HTPASSWD_REALM", "basic-realm"),
                    ("AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
                ][..],
            ),
            (
                "
auth:
  token:
    autoredirect: true
    realm: token-realm
    service: token-service
    issuer: registry-token-issuer
    rootcertbundle: /etc/registry/bundle
    jwks: /path/to/jwks
    signingalgorithms:
        - EdDSA
        - ES256",
                &[
                    ("AUTH", "token"),
                    ("AUTH_TOKEN_AUTOREDIRECT", "true"),
                    ("AUTH_TOKEN_REALM", "token-realm"),
                    ("AUTH_TOKEN_SERVICE", "token-service"),
                    ("AUTH_TOKEN_ISSUER", "registry-token-issuer"),
                    ("AUTH_TOKEN_ROOTCERTBUNDLE", "/etc/registry/bundle"),
                    ("AUTH_TOKEN_JWKS", "/path/to/jwks"),
                    ("AUTH_TOKEN_SIGNINGALGORITHMS", "EdDSA,ES256"),
                ],
            ),
            (
                "
http:
  secret: asecretforlocaldevelopment
  tls:
    certificate: /path/to/x509/public
    key: /path/to/x509/private
    clientcas:
      - /path/to/ca.pem
      - /path/to/another/ca.pem
    clientauth: verify-client-cert-if-given
    minimumtls: tls1.3
  trustedproxies: [10.0.0.0/8]",
                &[
                    ("HTTP_SECRET", "asecretforlocaldevelopment"),
                    ("HTTP_TLS_CERTIFICATE", "/path/to/x509/public"),
                    ("HTTP_TLS_KEY", "/path/to/x509/private"),
                    ("HTTP_TLS_CLIENTCAS", "/path/to/ca.pem,/path/to/another/ca.pem"),
                    ("HTTP_TLS_CLIENTAUTH", "verify-client-cert-if-given"),
                    ("HTTP_TLS_MINIMUMTLS", "tls1.3"),
                    ("HTTP_TRUSTEDPROXIES", "10.0.0.0/8"),
                ],
            ),
            (
                "
http:
  tls:
    letsencrypt:
      cachefile: /path/to/cache-file
      email: emailused@letsencrypt.com
      hosts: [myregistryaddress.org]
      directoryurl: https://acme-v02.api.letsencrypt.org/directory",
                &[
                    ("HTTP_TLS_LETSENCRYPT_CACHEFILE", "/path/to/cache-file"),
                    ("HTTP_TLS_LETSENCRYPT_EMAIL", "emailused@letsencrypt.com"),
                    ("HTTP_TLS_LETSENCRYPT_HOSTS", "myregistryaddress.org"),
                    (
                        "HTTP_TLS_LETSENCRYPT_DIRECTORYURL",
                        "https://acme-v02.api.letsencrypt.org/directory",
                    ),
                ],
            ),
            (
                "
auth:
  htpasswd: {path: /auth/htpasswd}
  rules: |
    @team = alice, bob       # the team
    anonymous  pull       public/**
    @team      pull,push  team/**
",
                &[
                    ("AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
                    (
                        "AUTH_RULES",
                        "@team=alice,bob; anonymous pull public/**; @team pull,push team/**",
                    ),
                ],
            ),
            (
                "
auth:
  rules:
    - claim:repository=acme/app&ref=refs/heads/main pull,push acme/app
    - anonymous pull **
  oidc:
    issuer: https://token.actions.githubusercontent.com
    audience: registry.example
    jwks: '{\"keys\":[{\"kty\":\"oct\"}]}'",
                &[
                    (
                        "AUTH_RULES_0",
                        "claim:repository=acme/app&ref=refs/heads/main pull,push acme/app",
                    ),
                    ("AUTH_RULES_1", "anonymous pull **"),
                    ("AUTH_OIDC_ISSUER", "https://token.actions.githubusercontent.com"),
                    ("AUTH_OIDC_AUDIENCE", "registry.example"),
                    ("AUTH_OIDC_JWKS", JWKS),
                ],
            ),
            (
                "
storage:
  s3:
    accesskey: awsaccesskey
    secretkey: awssecretkey
    region: us-west-1
    regionendpoint: http://myobjects.local
    forcepathstyle: true
    bucket: bucketname
    encrypt: true
    keyid: mykeyid
    secure: true
    v4auth: true
    chunksize: 5242880
    multipartcopychunksize: 33554432
    multipartcopymaxconcurrency: 100
    multipartcopythresholdsize: 33554432
    rootdirectory: /s3/object/name/prefix
    usedualstack: false
    loglevel: debug
  redirect: {disable: true}",
                &[
                    ("STORAGE", "s3"),
                    ("STORAGE_S3_ACCESSKEY", "awsaccesskey"),
                    ("STORAGE_S3_SECRETKEY", "awssecretkey"),
                    ("STORAGE_S3_REGION", "us-west-1"),
                    ("STORAGE_S3_REGIONENDPOINT", "http://myobjects.local"),
                    ("STORAGE_S3_FORCEPATHSTYLE", "true"),
                    ("STORAGE_S3_BUCKET", "bucketname"),
                    ("STORAGE_S3_ENCRYPT", "true"),
                    ("STORAGE_S3_KEYID", "mykeyid"),
                    ("STORAGE_S3_CHUNKSIZE", "5242880"),
                    ("STORAGE_S3_ROOTDIRECTORY", "s3/object/name/prefix"),
                    ("STORAGE_REDIRECT_DISABLE", "true"),
                ],
            ),
            (
                "
storage:
  maintenance:
    uploadpurging:
      enabled: true
      age: 36h
      interval: 12h
      dryrun: true
    readonly:
      enabled: false",
                &[
                    ("STORAGE_MAINTENANCE_UPLOADPURGING_AGE", "36h"),
                    ("STORAGE_MAINTENANCE_UPLOADPURGING_INTERVAL", "12h"),
                    ("STORAGE_MAINTENANCE_UPLOADPURGING_DRYRUN", "true"),
                ],
            ),
            (
                "
storage: {delete: {enabled: true}}
policy:
  retention:
    dryRun: false
    policies:
      - repositories: [team/**, '!team/x']
        keepTags:
          - patterns: ['v[0-9]{1,2}']
            mostRecentlyPushedCount: 10
            pulledWithin: 90d
      - repositories: '**'
        deleteUntagged: true",
                &[
                    ("STORAGE_DELETE_ENABLED", "true"),
                    ("POLICY_RETENTION_DRYRUN", "false"),
                    (
                        "POLICY_RETENTION_POLICIES",
                        r#"[{"repositories": "team/**, !team/x", "keeptags": [{"patterns": ["v[0-9]{1,2}"], "mostrecentlypushedcount": 10, "pulledwithin": "90d"}]}, {"repositories": "**", "deleteuntagged": true}]"#,
                    ),
                ],
            ),
            // Distribution's development files.
            (
                "storage: {maintenance: {uploadpurging: {enabled: false}}}",
                &[("STORAGE_MAINTENANCE_UPLOADPURGING_ENABLED", "false")],
            ),
            // Empty sections.
            ("auth:\nhttp: {tls: {letsencrypt: {hosts: []}, clientcas: []}}", &[]),
        ] {
            let owned = variables.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned()));
            let expected = Config::from_variables(owned).unwrap();
            let found = config(file);
            assert_eq!(found.unwrap_or_else(|error| panic!("{file}: {error}")), expected, "{file}");
        }
    }

    #[test]
    fn invalid_sections() {
        for (file, expected) in [
            ("auth: {silly: {realm: a, service: b}}", "auth.silly in config.yml is not supported"),
            ("auth: {htpasswd: {realm: a}}", "needs auth.htpasswd.path"),
            (
                "auth: {htpasswd: {path: a, Users: b}}",
                "auth.htpasswd.Users in config.yml is not a setting",
            ),
            (
                "auth: {rules: [{who: alice}]}",
                "auth.rules[0].who in config.yml is not a setting; did you mean auth.rules",
            ),
            (
                "auth: {rules: {alice: pull}}",
                "auth.rules.alice in config.yml is not a setting; did you mean auth.rules",
            ),
            ("http: {tls: {certificate: a}}", "http.tls.certificate needs http.tls.key too"),
            (
                "http: {tls: {ciphersuites: [a]}}",
                "http.tls.ciphersuites in config.yml is not supported",
            ),
            (
                "policy: {retention: {policies: [{repositories: a, keepTags: [{pattern: a}]}]}}",
                "policy.retention.policies[0].keepTags[0].pattern is not a setting",
            ),
            ("policy: {retention: {policies: [a]}}", "policy.retention.policies: not a list of"),
            (
                "policy: {retention: {policies: {a: 1}}}",
                "policy.retention.policies.a in config.yml is not a setting",
            ),
            ("http: {adr: x}", "http.adr in config.yml is not a setting; did you mean http.addr?"),
            ("http: {drainTimeout: x}", "http.drainTimeout: \"x\": must be a duration"),
            ("http: {maxrequests: 0}", "http.maxrequests: \"0\": must be a number from 1 to 4096"),
            // A key that is named in one piece.
            ("http.addr: x", "http.addr in config.yml is not a setting"),
            ("http_addr: x", "http_addr in config.yml is not a setting"),
        ] {
            let problems = config(file).unwrap_err().to_string();
            assert!(problems.contains(expected), "{file}: {problems}");
        }
    }

    /// What has no value is left out, but where that would mean something else.
    #[test]
    fn keys_without_a_value() {
        let plain = config("{}").unwrap();
        for file in
            ["auth:", "auth: {}", "http: {addr: }", "http: {tls: {}}", "storage: {delete: }"]
        {
            assert_eq!(config(file).unwrap_or_else(|error| panic!("{file}: {error}")), plain);
        }
        for (file, expected) in [
            ("storage: {inmemory: {}}", "storage.inmemory in config.yml is not supported"),
            ("storage: {inmemory: null}", "storage.inmemory in config.yml is not supported"),
            ("storage:\n  inmemory:\n", "storage.inmemory in config.yml is not supported"),
            ("storage: inmemory", "storage: \"inmemory\": must be filesystem, s3, gcs or azure"),
            ("storage: {s3: {}}", "storage.s3 in config.yml holds nothing"),
            ("auth: {silly: {}}", "auth.silly in config.yml is not supported"),
            ("auth: {htpasswd: {}}", "auth.htpasswd in config.yml holds nothing"),
            ("auth:\n  rules:\n  # - alice all **\n", "auth.rules in config.yml holds nothing"),
            ("auth: {rules: []}", "auth.rules in config.yml holds nothing"),
            ("http: {tls: {clientcas: [~]}}", "http.tls.clientcas[0] in config.yml has no value"),
            ("foo:", "foo in config.yml is not a setting"),
        ] {
            let problems = config(file).unwrap_err().to_string();
            assert!(problems.contains(expected), "{file}: {problems}");
        }
    }

    /// As YAML, files, and people write them.
    #[test]
    fn booleans() {
        for (text, expected) in [
            ("true", true),
            ("TRUE", true),
            ("On", true),
            ("yes", true),
            ("1", true),
            ("'t'", true),
            ("false", false),
            ("False", false),
            ("OFF", false),
            ("n", false),
            ("0", false),
            ("", false),
        ] {
            let file = format!("storage: {{delete: {{enabled: {text}}}}}");
            assert_eq!(config(&file).unwrap().delete_enabled, expected, "{file}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), include_str!("fixtures/image-2.yml")).unwrap();
        let mut given = read(file.path()).unwrap();
        given.push(Given::variable("REGISTRY_HTTP_ADDR", "127.0.0.1:1"));
        let config = Settings::gather(given).config().unwrap();
        assert_eq!(config.address, "127.0.0.1:1");
        assert_eq!(config.root, Some("/var/lib/registry".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("- a", "a configuration must be a mapping"),
            ("", "a configuration must be a mapping"),
            ("http: {addr: [", "flow"),
            ("http: {addr: !x y}", "http.addr: YAML tags"),
            ("http: {tls: {clientcas: [!x y]}}", "http.tls.clientcas[0]: YAML tags"),
            ("http: {1: x}", "http: keys must be strings"),
            ("1: x", "the file: keys must be strings"),
        ] {
            let error = parse("config.yml", text).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
        // A file is called what the command line calls it.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "http: {adr: x}").unwrap();
        let unknown = Settings::gather(read(file.path()).unwrap()).config().unwrap_err();
        let expected = format!("http.adr in {} is not a setting; did you", file.path().display());
        assert!(unknown.to_string().starts_with(&expected), "{unknown}");
    }
}
