//! Docker's token scopes, and the `access` claim of a token.
//!
//! `scope = type ":" name ":" action *("," action)`, from distribution's
//! "Token Scope Documentation". Names may have colons, for a host and port.

use serde::{Deserialize, Serialize};

/// The most scopes in a request for a token. The specification has no limit;
/// clients request one to a handful. Further ones are not granted.
///
/// Limit: the scopes of a token request; test: `scopes_and_actions_are_limited`.
pub const SCOPES_LIMIT: usize = 64;

/// The most actions in a scope: there are five. Further ones are not granted.
///
/// Limit: the actions of a scope; test: `scopes_and_actions_are_limited`.
pub const ACTIONS_LIMIT: usize = 16;

/// The resource type of repositories.
pub const REPOSITORY: &str = "repository";

/// The resource type of the registry itself, for its catalog and its maintenance.
pub const REGISTRY: &str = "registry";

/// The name of the catalog among [`REGISTRY`]'s resources.
pub const CATALOG: &str = "catalog";

/// The name of maintenance among [`REGISTRY`]'s resources.
pub const MAINTENANCE: &str = "maintenance";

/// The action for reading the catalog, and for maintenance.
pub const ALL: &str = "*";

/// An entry of a token's `access` claim: actions on a resource.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// The type of resource.
    #[serde(rename = "type")]
    pub kind: String,
    /// The resource's name.
    pub name: String,
    /// The allowed actions.
    pub actions: Vec<String>,
}

impl Access {
    /// Parses a `scope` parameter: scopes separated by spaces, of which
    /// [`SCOPES_LIMIT`] count. Invalid scopes are skipped, so nothing is granted
    /// for them. Takes time in proportion to the length.
    pub fn parse_all(scopes: &str) -> Vec<Self> {
        scopes.split(' ').filter_map(Self::parse).take(SCOPES_LIMIT).collect()
    }

    fn parse(scope: &str) -> Option<Self> {
        let (kind, rest) = scope.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        // `repository(plugin)` is a repository with a class.
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        let mut distinct: Vec<String> = Vec::new();
        let actions = actions.split(',').filter(|action| !action.is_empty());
        for action in actions.take(ACTIONS_LIMIT) {
            if !distinct.iter().any(|known| known == action) {
                distinct.push(action.to_owned());
            }
        }
        let whole = !kind.is_empty() && !name.is_empty() && !distinct.is_empty();
        whole.then(|| Self { kind: kind.to_owned(), name: name.to_owned(), actions: distinct })
    }

    /// Whether an access list allows an action.
    pub fn allows(list: &[Self], kind: &str, name: &str, action: &str) -> bool {
        list.iter().any(|access| {
            access.kind == kind
                && access.name == name
                && access.actions.iter().any(|allowed| allowed == action)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ACTIONS_LIMIT, Access, SCOPES_LIMIT};

    #[test]
    fn scopes() {
        for (text, kind, name, actions) in [
            ("repository:a/b:pull", "repository", "a/b", "pull"),
            ("repository:a/b:pull,push,pull", "repository", "a/b", "pull,push"),
            ("repository:host:5000/a:pull", "repository", "host:5000/a", "pull"),
            ("repository(plugin):a:pull", "repository", "a", "pull"),
            ("registry:catalog:*", "registry", "catalog", "*"),
        ] {
            let found = Access::parse_all(text);
            let [access] = found.as_slice() else { panic!("{text}: {found:?}") };
            assert_eq!(
                (access.kind.as_str(), access.name.as_str(), access.actions.join(",").as_str()),
                (kind, name, actions)
            );
        }
        for text in ["", "repository", "repository:a", "repository::pull", "repository:a:", "::"] {
            assert!(Access::parse_all(text).is_empty(), "{text}");
        }
        assert_eq!(Access::parse_all("repository:a:pull x  repository:b:push").len(), 2);
    }

    #[test]
    fn scopes_and_actions_are_limited() {
        let actions = |count: usize| (0..count).map(|i| format!("a{i}")).collect::<Vec<_>>();
        for count in [1, ACTIONS_LIMIT, ACTIONS_LIMIT + 1, 16_584] {
            let found = Access::parse_all(&format!("repository:a:{}", actions(count).join(",")));
            assert_eq!(found[0].actions, actions(count.min(ACTIONS_LIMIT)));
        }
        for count in [1, SCOPES_LIMIT, SCOPES_LIMIT + 1, 10_000] {
            let found = Access::parse_all(&"repository:a:pull ".repeat(count));
            assert_eq!(found.len(), count.min(SCOPES_LIMIT));
        }
    }
}
