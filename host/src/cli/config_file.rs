//! `config.yml`, distribution's configuration file, read as the environment
//! variables that its keys correspond to.

use anyhow::{Context as _, bail};
use serde_yaml_ng::Value;
use std::path::Path;

/// Largest configuration file, in bytes.
const SIZE_LIMIT: u64 = 1024 * 1024;

/// Reads a configuration file. Environment variables override it, as in
/// distribution.
pub fn read(
    path: &Path,
    environment: Vec<(String, String)>,
) -> anyhow::Result<Vec<(String, String)>> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    if size > SIZE_LIMIT {
        bail!("{shown} has {size} bytes; the limit is {SIZE_LIMIT}");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    let mut variables = parse(&text).with_context(|| format!("in {shown}"))?;
    variables.retain(|(name, _)| !environment.iter().any(|(set, _)| set == name));
    variables.extend(environment);
    Ok(variables)
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let value: Value = serde_yaml_ng::from_str(text)?;
    let mut variables = Vec::new();
    if !matches!(value, Value::Mapping(_)) {
        bail!("a configuration must be a mapping, as in `http: {{addr: localhost:5000}}`");
    }
    flatten("REGISTRY", &value, &mut variables)?;
    Ok(variables)
}

fn flatten(name: &str, value: &Value, variables: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    let text = match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let Value::String(key) = key else { bail!("{name}: keys must be strings") };
                flatten(&format!("{name}_{}", key.to_uppercase()), value, variables)?;
            }
            return Ok(());
        }
        Value::Sequence(sequence) => {
            for (index, value) in sequence.iter().enumerate() {
                flatten(&format!("{name}_{index}"), value, variables)?;
            }
            return Ok(());
        }
        // A key without a value is an empty section.
        Value::Null => return Ok(()),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Tagged(_) => bail!("{name}: YAML tags are not supported"),
    };
    variables.push((name.to_owned(), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{parse, read};
    use roadstead_config::Config;

    /// The file of the image `registry:2`, with keys that have no effect here.
    const REGISTRY_2: &str = "
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

    #[test]
    fn the_file_of_registry_2() {
        let config = Config::from_variables(parse(REGISTRY_2).unwrap()).unwrap();
        assert_eq!(config.address, "[::]:5000");
        assert_eq!(config.root, Some("/var/lib/registry".into()));
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
            // Empty sections.
            ("auth:\nhttp: {tls: {letsencrypt: {hosts: []}, clientcas: []}}", &[]),
        ] {
            let owned = variables.iter().map(|(n, v)| (format!("REGISTRY_{n}"), (*v).to_owned()));
            let expected = Config::from_variables(owned).unwrap();
            let found = Config::from_variables(parse(file).unwrap());
            assert_eq!(found.unwrap_or_else(|error| panic!("{file}: {error}")), expected, "{file}");
        }
    }

    #[test]
    fn invalid_sections() {
        for (file, expected) in [
            ("auth: {silly: {realm: a, service: b}}", "REGISTRY_AUTH_SILLY_REALM is not supported"),
            ("auth: {htpasswd: {realm: a}}", "needs REGISTRY_AUTH_HTPASSWD_PATH"),
            ("auth: {htpasswd: {path: a, users: b}}", "REGISTRY_AUTH_HTPASSWD_USERS is not"),
            ("auth: {rules: [{who: alice}]}", "REGISTRY_AUTH_RULES_0_WHO is not a setting"),
            ("auth: {rules: {alice: pull}}", "REGISTRY_AUTH_RULES_ALICE is not a setting"),
            ("http: {tls: {certificate: a}}", "needs REGISTRY_HTTP_TLS_KEY too"),
            (
                "http: {tls: {ciphersuites: [a]}}",
                "REGISTRY_HTTP_TLS_CIPHERSUITES_0 is not supported",
            ),
        ] {
            let problems = Config::from_variables(parse(file).unwrap()).unwrap_err().to_string();
            assert!(problems.contains(expected), "{file}: {problems}");
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), REGISTRY_2).unwrap();
        let environment = vec![("REGISTRY_HTTP_ADDR".to_owned(), "127.0.0.1:1".to_owned())];
        let config = Config::from_variables(read(file.path(), environment).unwrap()).unwrap();
        assert_eq!(config.address, "127.0.0.1:1");
        assert_eq!(config.root, Some("/var/lib/registry".into()));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("- a", "a configuration must be a mapping"),
            ("http: {addr: [", "flow"),
            ("http: {addr: !x y}", "REGISTRY_HTTP_ADDR: YAML tags"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
        let unknown = Config::from_variables(parse("http: {adr: x}").unwrap()).unwrap_err();
        assert!(unknown.to_string().contains("did you mean REGISTRY_HTTP_ADDR?"), "{unknown}");
    }
}
