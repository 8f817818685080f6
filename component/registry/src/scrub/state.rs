//! How far a scrub has come: the cursor that callers keep. It is parsed like anything
//! else that a client sends, and nothing in it leads out of what it may say.

use crate::collect::percent_of_names;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_bridge::scrub::CURSOR_LIMIT;
use roadstead_oci::{Algorithm, Digest, RepositoryName};
use roadstead_storage::{BlobHash, Cursor, Partial};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// How many damaged blobs are remembered to the end of a scrub: images that need one are
/// found, and in a bucket it can be moved out of the way. Further ones are reported, and
/// left to another scrub.
///
/// Limit: damaged blobs that a scrub remembers; test: `cursors_have_a_limit`.
pub(super) const SUSPECTS: usize = 64;

/// The longest place in a collection, in bytes: longer than any key.
///
/// Limit: bytes of a place in a scrub's cursor; test: `hostile_cursors_are_refused`.
const PLACE_LIMIT: usize = 1024;

/// What a cursor begins with: those of other versions are refused.
const VERSION: &str = "1.";

/// How far a scrub has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(super) stage: Stage,
    /// Damaged blobs that are still in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) suspects: Vec<Suspect>,
}

/// What a scrub does next.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stage {
    /// Hashes the data of blobs.
    Blobs(BlobPlace),
    /// Says of damaged blobs that they are to be moved out of the way.
    Announce,
    /// Follows what repositories hold.
    Repositories(RepositoryPlace),
    /// Moves damaged data out of the way.
    Move,
    /// Ends what uploads wait for because of that.
    Clear,
    /// Nothing.
    End,
}

/// How far the blobs are hashed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobPlace {
    /// After this place in the collection of all blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Cursor>,
    /// The blob after that, if it is hashed in part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) open: Option<Open>,
}

/// A blob that is hashed in part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Open {
    #[serde(flatten)]
    pub(super) data: Data,
    pub(super) partial: Partial,
}

/// The data of a blob, as it was listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Data {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Nanoseconds since 1970 by the storage's clock.
    pub(super) written: u64,
}

impl Data {
    pub(super) fn new(digest: &Digest, (size, modified): (u64, SystemTime)) -> Self {
        let written = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let written = u64::try_from(written.as_nanos()).unwrap_or(u64::MAX);
        Self { digest: digest.clone(), size, written }
    }

    pub(super) fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.written)
    }
}

/// A damaged blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suspect {
    #[serde(flatten)]
    pub(super) data: Data,
    #[serde(default)]
    pub(super) outcome: Outcome,
}

/// What has become of a damaged blob in a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It is to be moved out of the way.
    #[default]
    Pending,
    /// Its data was moved.
    Moved,
    /// Its data stays, and uploads wait until that is said in the place of the tombstone
    /// with this number.
    Left(u64),
}

/// How far the repositories are followed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryPlace {
    /// Up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<RepositoryName>,
    /// And this one up to there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<Within>,
}

/// How far a repository is followed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Within {
    pub(super) name: RepositoryName,
    pub(super) part: Part,
    /// After this place in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Cursor>,
}

/// A part of a repository, in the order in which they are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    Revisions,
    Tags,
    Referrers,
    Layers,
}

impl Part {
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Revisions => Some(Self::Tags),
            Self::Tags => Some(Self::Referrers),
            Self::Referrers => Some(Self::Layers),
            Self::Layers => None,
        }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::Blobs(BlobPlace::default())
    }
}

impl Stage {
    /// The name of it for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Blobs(_) => "blobs",
            Self::Repositories(_) => "repositories",
            Self::Announce | Self::Move | Self::Clear => "quarantine",
            Self::End => "end",
        }
    }

    /// How much of it is done: digests and names are taken to be spread evenly.
    pub(super) fn percent(&self) -> u8 {
        let of_blobs = |place: &str| {
            let rest = place.strip_prefix(Algorithm::Sha256.as_str())?;
            let byte = u32::from_str_radix(rest.get(1..3)?, 16).ok()?;
            u8::try_from(byte * 100 / 256).ok()
        };
        match self {
            Self::Blobs(BlobPlace { after: Some(Cursor(place)), .. }) => {
                of_blobs(place).unwrap_or(99)
            }
            Self::Repositories(RepositoryPlace { done, within }) => {
                let name = within.as_ref().map(|within| &within.name).or(done.as_ref());
                name.map_or(0, |name| percent_of_names(name.as_str()))
            }
            Self::Blobs(_) | Self::Announce | Self::Move | Self::Clear => 0,
            Self::End => 100,
        }
    }
}

impl State {
    /// The cursor.
    pub(crate) fn print(&self) -> String {
        // No state fails to serialise.
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads a cursor; `None` if it is none of these.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > CURSOR_LIMIT {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(text.strip_prefix(VERSION)?).ok()?;
        let state: Self = serde_json::from_slice(&json).ok()?;
        state.is_valid().then_some(state)
    }

    fn is_valid(&self) -> bool {
        let stage = match &self.stage {
            Stage::Blobs(BlobPlace { after, open }) => {
                let open = open.as_ref().is_none_or(|Open { data, partial }| {
                    partial.offset < data.size
                        && BlobHash::parse(data.digest.algorithm(), &partial.state).is_some()
                });
                open && is_place(after.as_ref())
            }
            Stage::Repositories(RepositoryPlace { within, .. }) => {
                within.as_ref().is_none_or(|within| is_place(within.after.as_ref()))
            }
            Stage::Announce | Stage::Move | Stage::Clear => true,
            // No cursor says so.
            Stage::End => false,
        };
        stage && self.suspects.len() <= SUSPECTS
    }

    /// Whether the data of a blob is known to be damaged.
    pub(super) fn is_suspect(&self, digest: &Digest) -> bool {
        self.suspects.iter().any(|suspect| suspect.data.digest == *digest)
    }
}

/// Whether a text may be a place in a collection, such as the key of an object in it.
fn is_place(place: Option<&Cursor>) -> bool {
    place.is_none_or(|Cursor(place)| {
        place.len() <= PLACE_LIMIT
            && place.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte))
            && place.split('/').all(|part| part != "." && part != "..")
    })
}

#[cfg(test)]
mod tests {
    use super::{
        BlobPlace, Data, Open, Outcome, Part, RepositoryPlace, SUSPECTS, Stage, State, Suspect,
        Within,
    };
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use roadstead_bridge::scrub::CURSOR_LIMIT;
    use roadstead_oci::{Algorithm, Digest, RepositoryName};
    use roadstead_storage::{BlobHash, Cursor, Partial};

    fn data(algorithm: Algorithm) -> Data {
        let digest = Digest::from_bytes(algorithm, &vec![7; algorithm.byte_length()]).unwrap();
        Data { digest, size: 100, written: u64::MAX }
    }

    fn states() -> Vec<State> {
        let open = Algorithm::ALL.map(|algorithm| Open {
            data: data(algorithm),
            partial: Partial { offset: 64, state: BlobHash::new(algorithm).print() },
        });
        let after = Some(Cursor("sha256/07/data".to_owned()));
        let name = RepositoryName::parse("a/b").unwrap();
        let within = [Part::Revisions, Part::Tags, Part::Referrers, Part::Layers].map(|part| {
            let within = Within { name: name.clone(), part, after: after.clone() };
            RepositoryPlace { done: Some(name.clone()), within: Some(within) }
        });
        let mut stages = vec![Stage::default(), Stage::Announce, Stage::Move, Stage::Clear];
        stages.extend(
            open.map(|open| Stage::Blobs(BlobPlace { after: after.clone(), open: Some(open) })),
        );
        stages.extend(within.map(Stage::Repositories));
        let suspects = vec![Suspect { data: data(Algorithm::Sha512), outcome: Outcome::Moved }];
        let state = |stage| State { stage, suspects: suspects.clone() };
        stages.into_iter().map(state).chain([State::default()]).collect()
    }

    #[test]
    fn cursors_are_read_as_they_are_printed() {
        for state in states() {
            assert_eq!(State::parse(&state.print()).as_ref(), Some(&state), "{state:?}");
        }
    }

    #[test]
    fn cursors_have_a_limit() {
        let suspects =
            vec![
                Suspect { data: data(Algorithm::Sha512), outcome: Outcome::Left(u64::MAX) };
                SUSPECTS
            ];
        let mut state = State { suspects, ..State::default() };
        assert!(state.print().len() < CURSOR_LIMIT / 2);
        assert!(State::parse(&state.print()).is_some());
        state.suspects.extend(state.suspects.first().cloned());
        assert!(State::parse(&state.print()).is_none());
        assert!(State::parse(&"1.".repeat(CURSOR_LIMIT)).is_none());
    }

    #[test]
    fn hostile_cursors_are_refused() {
        let of = |json: &str| format!("1.{}", URL_SAFE_NO_PAD.encode(json));
        assert!(State::parse(&of(r#"{"stage":{"blobs":{}}}"#)).is_some());
        let digest = data(Algorithm::Sha256).digest;
        let open = |offset: u64, state: &str| {
            format!(
                r#"{{"stage":{{"blobs":{{"open":{{"digest":"{digest}","size":9,"written":0,"partial":{{"offset":{offset},"state":"{state}"}}}}}}}}}}"#
            )
        };
        let state = BlobHash::new(Algorithm::Sha256).print();
        assert!(State::parse(&of(&open(8, &state))).is_some());
        let long = format!(r#"{{"stage":{{"blobs":{{"after":"{}"}}}}}}"#, "a".repeat(1025));
        for json in [
            "",
            "{}",
            "null",
            r#"{"stage":"end"}"#,
            r#"{"stage":"other"}"#,
            r#"{"stage":{"blobs":{}},"more":1}"#,
            r#"{"stage":{"blobs":{"after":"../../../etc"}}}"#,
            r#"{"stage":{"blobs":{"after":"sha256/./x"}}}"#,
            r#"{"stage":{"blobs":{"after":"a\u0000"}}}"#,
            r#"{"stage":{"blobs":{"after":"\u00e9"}}}"#,
            r#"{"stage":{"repositories":{"done":"A"}}}"#,
            r#"{"stage":{"repositories":{"done":"../a"}}}"#,
            r#"{"stage":{"repositories":{"within":{"name":"a","part":"other"}}}}"#,
            r#"{"stage":{"repositories":{"within":{"name":"a","part":"tags","after":"a?b"}}}}"#,
            r#"{"stage":"move","suspects":[{"digest":"md5:1","size":1,"written":1}]}"#,
            r#"{"stage":"move","suspects":[{"size":1,"written":1}]}"#,
            &long,
            &open(9, &state),
            &open(u64::MAX, &state),
            &open(8, "00"),
            &open(8, &"f".repeat(state.len())),
        ] {
            assert_eq!(State::parse(&of(json)), None, "{json}");
        }
        let good = of(r#"{"stage":{"blobs":{}}}"#);
        for text in ["", "1.", "2.e30", &good[2..], &format!("{good}="), &format!(" {good}")] {
            assert_eq!(State::parse(text), None, "{text}");
        }
    }
}
