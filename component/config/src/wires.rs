//! What a native host tells the component by its environment and nobody else
//! does: the virtual authorities at which it answers.
//!
//! These are not settings: they have no row, a native host ignores them in its
//! own environment, and no file can hold them.

/// Where a native host answers storage operations.
const STORE: &str = "REGISTRY_STORAGE_HOST_AUTHORITY";

/// Where it hashes what goes to an object store.
const HASHING: &str = "REGISTRY_STORAGE_HOST_HASHING";

/// Where it authenticates callers.
const AUTH: &str = "REGISTRY_AUTH_HOST_AUTHORITY";

/// The virtual authorities of a native host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wires {
    pub(crate) store: Option<String>,
    pub(crate) hashing: Option<String>,
    pub(crate) auth: Option<String>,
}

/// Whether a variable is none of a person's.
pub(crate) fn is_wire(variable: &str) -> bool {
    matches!(variable, STORE | HASHING | AUTH)
}

/// Reads them from the component's environment.
pub(crate) fn read(variables: &[(String, String)]) -> Wires {
    let get = |wanted: &str| {
        let mut found = variables.iter().filter(|(name, _)| name == wanted);
        found.next_back().map(|(_, value)| value.clone()).filter(|value| !value.trim().is_empty())
    };
    Wires { store: get(STORE), hashing: get(HASHING), auth: get(AUTH) }
}
