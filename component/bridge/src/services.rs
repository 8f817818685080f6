//! Which services a native host offers to the component.

use std::fmt;

/// The variable of the component's environment that holds [`Services`]. Only a
/// native host sets it; whoever configures another host does not.
pub const VARIABLE: &str = "ROADSTEAD_HOST_SERVICES";

/// The variable with the secret that signs identifiers of upload sessions. Set only with
/// [`Services::storage`], by a host that takes a signed identifier for an empty session.
/// Internal, as [`VARIABLE`] is.
pub const SESSION_SECRET: &str = "ROADSTEAD_HOST_SESSION_SECRET";

/// The services of a native host. Without one, the component does everything
/// itself: over a mounted directory or an object store, with mounted files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is offered or not")]
pub struct Services {
    /// [`crate::storage`]: the host holds the storage directory.
    pub storage: bool,
    /// [`crate::access`]: the host verifies credentials.
    pub access: bool,
    /// [`crate::hashing`]: the host hashes bodies on their way to an object
    /// store.
    pub hashing: bool,
    /// [`crate::credentials`]: the host gets the platform's credentials for an
    /// object store.
    pub credentials: bool,
    /// [`crate::client`] and [`crate::cache`]: the host says where a request
    /// comes from, and has a cache of responses, which is used only with
    /// [`Self::storage`]. Every native host does.
    pub front: bool,
    /// [`crate::change`]: the host notifies others of what requests change.
    pub notifications: bool,
}

impl Services {
    const NAMES: [&str; 6] =
        ["storage", "access", "hashing", "credentials", "front", "notifications"];

    /// Parses the variable's value: names separated by commas. Unknown ones are
    /// ignored, and none is offered without a name.
    pub fn parse(value: &str) -> Self {
        let [storage, access, hashing, credentials, front, notifications] =
            Self::NAMES.map(|name| value.split(',').any(|item| item.trim() == name));
        Self { storage, access, hashing, credentials, front, notifications }
    }

    /// The services of the host that set these variables.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let value = variables.into_iter().find(|(name, _)| name == VARIABLE);
        value.map(|(_, value)| Self::parse(&value)).unwrap_or_default()
    }
}

impl fmt::Display for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { storage, access, hashing, credentials, front, notifications } = *self;
        let offered = [storage, access, hashing, credentials, front, notifications];
        let names = Self::NAMES.iter().zip(offered).filter(|(_, offered)| *offered);
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::{Services, VARIABLE};

    #[test]
    fn services_are_read_as_they_are_printed() {
        for bits in 0..64_u8 {
            let services = Services {
                storage: bits & 1 > 0,
                access: bits & 2 > 0,
                hashing: bits & 4 > 0,
                credentials: bits & 8 > 0,
                front: bits & 16 > 0,
                notifications: bits & 32 > 0,
            };
            let variables = [(VARIABLE.to_owned(), services.to_string())];
            assert_eq!(Services::from_variables(variables), services);
        }
        assert_eq!(Services::parse("storages, ,front2"), Services::default());
        assert_eq!(Services::from_variables([]), Services::default());
    }
}
