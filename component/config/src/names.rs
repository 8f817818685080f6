//! Every name that a registry's configuration may hold.

/// What a name does here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// It is a setting.
    Setting,
    /// What it asks for has no effect or is so anyway.
    NoEffect,
    /// It asks for what this registry does not do; the text says what to do
    /// instead.
    Unsupported(&'static str),
}

/// A name and its use.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Without the prefix. A closing `*` stands for any rest, and for a number
    /// in a setting's.
    pub name: &'static str,
    /// What it does.
    pub used: Use,
}

const MEMORY: &str = "what is stored is kept: in a directory, which \
                      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY names, or in an object store";

/// All names: distribution's, and ours in its style.
pub const NAMES: &[Name] = &[
    setting("AUTH"),
    setting("AUTH_HOST_AUTHORITY"),
    setting("AUTH_HTPASSWD_ENTRIES"),
    setting("AUTH_HTPASSWD_PATH"),
    setting("AUTH_HTPASSWD_REALM"),
    setting("AUTH_OIDC_AUDIENCE"),
    setting("AUTH_OIDC_ISSUER"),
    setting("AUTH_OIDC_JWKS"),
    setting("AUTH_PLAINHTTP"),
    setting("AUTH_RULES"),
    setting("AUTH_RULES_*"),
    setting("AUTH_TOKEN_AUTOREDIRECT"),
    setting("AUTH_TOKEN_AUTOREDIRECTPATH"),
    setting("AUTH_TOKEN_EXPIRATION"),
    setting("AUTH_TOKEN_ISSUER"),
    setting("AUTH_TOKEN_JWKS"),
    setting("AUTH_TOKEN_REALM"),
    setting("AUTH_TOKEN_ROOTCERTBUNDLE"),
    setting("AUTH_TOKEN_SERVICE"),
    setting("AUTH_TOKEN_SIGNINGALGORITHMS"),
    setting("AUTH_TOKEN_SIGNINGALGORITHMS_*"),
    setting("HTTP_ADDR"),
    setting("HTTP_DRAINTIMEOUT"),
    setting("HTTP_HOST"),
    setting("HTTP_MAXREQUESTS"),
    setting("HTTP_SECRET"),
    setting("HTTP_TLS_CERTIFICATE"),
    setting("HTTP_TLS_CLIENTAUTH"),
    setting("HTTP_TLS_CLIENTCAS"),
    setting("HTTP_TLS_CLIENTCAS_*"),
    setting("HTTP_TLS_KEY"),
    setting("HTTP_TLS_LETSENCRYPT_CACHEFILE"),
    setting("HTTP_TLS_LETSENCRYPT_DIRECTORYCA"),
    setting("HTTP_TLS_LETSENCRYPT_DIRECTORYURL"),
    setting("HTTP_TLS_LETSENCRYPT_EMAIL"),
    setting("HTTP_TLS_LETSENCRYPT_HOSTS"),
    setting("HTTP_TLS_LETSENCRYPT_HOSTS_*"),
    setting("HTTP_TLS_MINIMUMTLS"),
    setting("HTTP_TRUSTEDPROXIES"),
    setting("HTTP_TRUSTEDPROXIES_*"),
    setting("HTTP_WARNING"),
    setting("LOG_ACCESSLOG_DISABLED"),
    setting("LOG_FORMATTER"),
    setting("LOG_LEVEL"),
    setting("STORAGE"),
    setting("STORAGE_AZURE_ACCOUNTKEY"),
    setting("STORAGE_AZURE_ACCOUNTNAME"),
    setting("STORAGE_AZURE_CHUNKSIZE"),
    setting("STORAGE_AZURE_CONTAINER"),
    setting("STORAGE_AZURE_CREDENTIALS_CLIENTID"),
    setting("STORAGE_AZURE_CREDENTIALS_SECRET"),
    setting("STORAGE_AZURE_CREDENTIALS_TENANTID"),
    setting("STORAGE_AZURE_CREDENTIALS_TYPE"),
    setting("STORAGE_AZURE_REALM"),
    setting("STORAGE_AZURE_ROOTCERTBUNDLE"),
    setting("STORAGE_AZURE_ROOTDIRECTORY"),
    setting("STORAGE_AZURE_SERVICEURL"),
    setting("STORAGE_AZURE_USERAGENT"),
    setting("STORAGE_DELETE_ENABLED"),
    setting("STORAGE_FILESYSTEM_ROOTDIRECTORY"),
    setting("STORAGE_GCS_BUCKET"),
    setting("STORAGE_GCS_CHUNKSIZE"),
    setting("STORAGE_GCS_CREDENTIALS"),
    setting("STORAGE_GCS_CREDENTIALS_CLIENT_EMAIL"),
    setting("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY"),
    setting("STORAGE_GCS_CREDENTIALS_PRIVATE_KEY_ID"),
    setting("STORAGE_GCS_ENDPOINT"),
    setting("STORAGE_GCS_KEYFILE"),
    setting("STORAGE_GCS_ROOTCERTBUNDLE"),
    setting("STORAGE_GCS_ROOTDIRECTORY"),
    setting("STORAGE_GCS_USERAGENT"),
    setting("STORAGE_HOST_AUTHORITY"),
    setting("STORAGE_HOST_HASHING"),
    setting("STORAGE_MAINTENANCE_READONLY_ENABLED"),
    setting("STORAGE_REDIRECT_DISABLE"),
    setting("STORAGE_S3_ACCELERATE"),
    setting("STORAGE_S3_ACCESSKEY"),
    setting("STORAGE_S3_BUCKET"),
    setting("STORAGE_S3_CHUNKSIZE"),
    setting("STORAGE_S3_CONDITIONALWRITES"),
    setting("STORAGE_S3_ENCRYPT"),
    setting("STORAGE_S3_EQUALPARTS"),
    setting("STORAGE_S3_FORCEPATHSTYLE"),
    setting("STORAGE_S3_KEYID"),
    setting("STORAGE_S3_OBJECTACL"),
    setting("STORAGE_S3_REGION"),
    setting("STORAGE_S3_REGIONENDPOINT"),
    setting("STORAGE_S3_ROOTCERTBUNDLE"),
    setting("STORAGE_S3_ROOTDIRECTORY"),
    setting("STORAGE_S3_SECRETKEY"),
    setting("STORAGE_S3_SECURE"),
    setting("STORAGE_S3_SESSIONTOKEN"),
    setting("STORAGE_S3_SKIPVERIFY"),
    setting("STORAGE_S3_STORAGECLASS"),
    setting("STORAGE_S3_USEDUALSTACK"),
    setting("STORAGE_S3_USEFIPSENDPOINT"),
    setting("STORAGE_S3_USERAGENT"),
    setting("STORAGE_S3_V4AUTH"),
    setting("VALIDATION_MANIFESTS_SPARSE"),
    // The version of the configuration file's format.
    no_effect("VERSION"),
    no_effect("LOG_FIELDS_*"),
    no_effect("LOG_REPORTCALLER"),
    // Deprecated in distribution in favour of LOG_LEVEL, and ignored there.
    no_effect("LOGLEVEL"),
    // Always so.
    no_effect("HTTP_RELATIVEURLS"),
    no_effect("HTTP_NET"),
    // Sent with every response whose body a browser could misread.
    no_effect("HTTP_HEADERS_X-CONTENT-TYPE-OPTIONS_*"),
    no_effect("HTTP_HEADERS_X-CONTENT-TYPE-OPTIONS"),
    // HTTP/2 is always on.
    no_effect("HTTP_HTTP2_DISABLED"),
    no_effect("HTTP_H2C_ENABLED"),
    // The cache is the registry's own affair.
    no_effect("STORAGE_CACHE_*"),
    no_effect("STORAGE_FILESYSTEM_MAXTHREADS"),
    no_effect("STORAGE_TAG_CONCURRENCYLIMIT"),
    // What the store's own client did in its own time.
    no_effect("STORAGE_S3_LOGLEVEL"),
    no_effect("STORAGE_S3_MULTIPARTCOPYCHUNKSIZE"),
    no_effect("STORAGE_S3_MULTIPARTCOPYMAXCONCURRENCY"),
    no_effect("STORAGE_S3_MULTIPARTCOPYTHRESHOLDSIZE"),
    no_effect("STORAGE_GCS_MAXCONCURRENCY"),
    no_effect("STORAGE_AZURE_COPY_STATUS_POLL_*"),
    // The fields of a service account's key that nobody needs.
    no_effect("STORAGE_GCS_CREDENTIALS_*"),
    no_effect("HEALTH_*"),
    unsupported("HTTP_HEADERS_*", "response headers are fixed; add others in a proxy"),
    unsupported("HTTP_PREFIX", "the API is at /v2/; rewrite paths in a proxy"),
    unsupported("HTTP_DEBUG_*", "there is no debug listener; unset it"),
    unsupported(
        "HTTP_TLS_CIPHERSUITES*",
        "all suites that are spoken are safe ones (TLS 1.3, and 1.2 with ECDHE and AEAD); unset it",
    ),
    unsupported(
        "AUTH_SILLY*",
        "it lets everyone in who says anything; use REGISTRY_AUTH=htpasswd, or no REGISTRY_AUTH",
    ),
    unsupported(
        "STORAGE_MAINTENANCE_UPLOADPURGING_*",
        "uploads that nobody ended are not removed by themselves; unset it",
    ),
    unsupported(
        "STORAGE_AZURE_CONNECTIONSTRING",
        "set REGISTRY_STORAGE_AZURE_ACCOUNTNAME, _ACCOUNTKEY and _SERVICEURL, which it holds",
    ),
    unsupported("STORAGE_INMEMORY", MEMORY),
    unsupported("STORAGE_INMEMORY_*", MEMORY),
    unsupported("LOG_HOOKS_*", "logs go to standard error; send them on from there"),
    unsupported("MIDDLEWARE_*", "there are no middlewares; unset it"),
    unsupported("NOTIFICATIONS_*", "there are no notifications; unset it"),
    unsupported("POLICY_*", "there are no such policies; unset it"),
    unsupported("PROXY_*", "this registry is no pull-through cache; unset it"),
    unsupported("REDIS_*", "there is no Redis cache; unset it"),
    unsupported("VALIDATION_*", "manifests are always validated; unset it"),
    unsupported("CATALOG_*", "a page of the catalog is bounded already; unset it"),
];

const fn setting(name: &'static str) -> Name {
    Name { name, used: Use::Setting }
}

const fn no_effect(name: &'static str) -> Name {
    Name { name, used: Use::NoEffect }
}

const fn unsupported(name: &'static str, instead: &'static str) -> Name {
    Name { name, used: Use::Unsupported(instead) }
}

/// The first entry that `key` fits; exact ones stand before patterns that
/// would hide them. A setting's pattern is a list's, whose items have numbers:
/// under another name, an item would be left out and nobody told.
pub(crate) fn find(key: &str) -> Option<Name> {
    let fits = |name: &&Name| match name.name.strip_suffix('*') {
        Some(start) => key
            .strip_prefix(start)
            .is_some_and(|rest| name.used != Use::Setting || rest.parse::<u32>().is_ok()),
        None => key == name.name,
    };
    NAMES.iter().find(fits).copied()
}

/// The setting that is nearest to an unknown key.
pub(crate) fn nearest(key: &str) -> String {
    let mut settings = NAMES.iter().filter(|name| name.used == Use::Setting).map(|name| name.name);
    let list = settings.clone().find_map(|name| {
        let start = name.strip_suffix('*')?;
        key.starts_with(start).then(|| format!("{start}0"))
    });
    list.unwrap_or_else(|| {
        let single = settings.by_ref().filter(|name| !name.ends_with('*'));
        let nearest = single.min_by_key(|name| strsim::damerau_levenshtein(key, name));
        nearest.unwrap_or_default().to_owned()
    })
}

/// Kubernetes gives every container variables for each service of its
/// namespace; a service called `registry` looks like settings.
pub(crate) fn set_by_kubernetes(key: &str) -> bool {
    let of_port = |rest: &str| {
        let end = rest.find('_').unwrap_or(rest.len());
        end > 0 && rest[..end].bytes().all(|b| b.is_ascii_digit())
    };
    matches!(key, "SERVICE_HOST" | "PORT")
        || key.starts_with("SERVICE_PORT")
        || key.strip_prefix("PORT_").is_some_and(of_port)
}
