//! The values of labels: each is a variant of an enum, so that nothing that a client sends
//! becomes a series.

use roadstead_bridge::storage::{Operation, Transfer, Write};
use roadstead_storage::StorageError;

macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The place in an array of counters, which is that in [`Self::ALL`].
            #[allow(dead_code, reason = "not all of them are in arrays")]
            pub(super) const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

labels! {
    /// The method of a request, as Go's promhttp writes it.
    Method {
        /// GET.
        Get = "get",
        /// HEAD.
        Head = "head",
        /// PUT.
        Put = "put",
        /// POST.
        Post = "post",
        /// PATCH.
        Patch = "patch",
        /// DELETE.
        Delete = "delete",
        /// OPTIONS.
        Options = "options",
        /// Any other.
        Unknown = "unknown",
    }
}

labels! {
    /// Whether the host's cache answered a request that it could have answered.
    Cached {
        /// It did.
        Hit = "hit",
        /// The component did.
        Miss = "miss",
    }
}

labels! {
    /// Where bytes go.
    Direction {
        /// From a client.
        Received = "received",
        /// To a client.
        Sent = "sent",
    }
}

labels! {
    /// An operation of the storage: the bridge's, or a request to an object store.
    StorageOperation {
        /// [`Operation::Manifest`] with content.
        Manifest = "manifest",
        /// [`Operation::Manifest`] without content.
        ManifestStat = "manifest_stat",
        /// [`Operation::Blob`] with content, until its first byte.
        Blob = "blob",
        /// [`Operation::Blob`] without content.
        BlobStat = "blob_stat",
        /// [`Operation::MissingBlobs`] and [`Operation::MissingManifests`].
        Missing = "missing",
        /// [`Operation::PushState`].
        PushState = "push_state",
        /// [`Operation::Hints`].
        Hints = "hints",
        /// [`Operation::Read`].
        Read = "read",
        /// [`Operation::Exists`].
        Exists = "exists",
        /// [`Operation::Link`], [`Operation::LinkTag`] and [`Operation::CreateTag`].
        Link = "link",
        /// [`Operation::Remove`], [`Operation::Unlink`] and [`Operation::Tidy`].
        Remove = "remove",
        /// [`Operation::Hash`].
        Hash = "hash",
        /// [`Operation::Quarantine`].
        Quarantine = "quarantine",
        /// [`Operation::Names`] and [`Operation::Enumerate`].
        List = "list",
        /// [`Operation::Begin`].
        Begin = "begin",
        /// [`Operation::Status`].
        Status = "status",
        /// [`Operation::Commit`].
        Commit = "commit",
        /// [`Operation::Discard`].
        Discard = "discard",
        /// [`Write::Object`].
        Write = "write",
        /// [`Write::Manifest`].
        WriteManifest = "write_manifest",
        /// [`Transfer::Append`], as long as the client takes to send the bytes.
        Append = "append",
        /// [`Transfer::AppendAndCommit`], likewise.
        AppendAndCommit = "append_and_commit",
        /// GET to an object store, until the head of its response.
        RequestGet = "request_get",
        /// HEAD, likewise.
        RequestHead = "request_head",
        /// PUT, which lasts until the bytes are sent.
        RequestPut = "request_put",
        /// POST.
        RequestPost = "request_post",
        /// DELETE.
        RequestDelete = "request_delete",
    }
}

labels! {
    /// Why a storage operation failed, where that is no client's doing.
    StorageFailure {
        /// There is no room.
        Full = "full",
        /// The storage can only be read.
        ReadOnly = "read_only",
        /// The storage cannot be reached, or not in time.
        Unavailable = "unavailable",
        /// Anything else.
        Failed = "failed",
    }
}

labels! {
    /// Why an instance of the component ended.
    InstanceEnd {
        /// It had no requests for some time.
        Idle = "idle",
        /// Its memory had grown.
        Large = "large",
        /// It had answered enough requests.
        Old = "old",
        /// It may remember users of before.
        Users = "users",
        /// The component failed.
        Trap = "trap",
        /// The process ends.
        Shutdown = "shutdown",
    }
}

labels! {
    /// Why a request or a connection was refused.
    Refused {
        /// No turn was free in time, or too many requests of one client wait.
        Turns = "turns",
        /// The component answers too many reads.
        Reads = "reads",
        /// Clients do not take their responses.
        Memory = "memory",
        /// Too many manifests are being pushed.
        Manifests = "manifests",
        /// Too many requests over HTTP/2.
        Streams = "streams",
        /// There is no room for a connection.
        Connections = "connections",
    }
}

labels! {
    /// How a question about credentials was answered.
    Login {
        /// They are right.
        Accepted = "accepted",
        /// They are wrong, or not accepted.
        Refused = "refused",
        /// There were too many wrong ones.
        Paused = "paused",
        /// Too many are being verified.
        Busy = "busy",
        /// They could not be verified.
        Failed = "failed",
    }
}

labels! {
    /// How a run of garbage collection ended.
    CollectionOutcome {
        /// It has done everything.
        Done = "done",
        /// It ended early; what it has done counts.
        Partly = "partly",
        /// A slice failed, and the run was given up or is tried again.
        Failed = "failed",
    }
}

labels! {
    /// A stage of garbage collection, as in `Progress::Running`.
    CollectionStage {
        /// Manifests are read.
        Manifests = "manifests",
        /// Tags that have expired are removed.
        Tags = "tags",
        /// Untagged manifests are deleted.
        Untagged = "untagged",
        /// Blobs are compared with what refers to them.
        Blobs = "blobs",
        /// Links are removed.
        Links = "links",
        /// Condemned blobs are removed.
        Removal = "removal",
        /// The rest.
        End = "end",
    }
}

labels! {
    /// An action of distribution's storage drivers.
    Action {
        /// A whole object is read.
        GetContent = "GetContent",
        /// A whole object is written.
        PutContent = "PutContent",
        /// It is looked whether there is an object.
        Stat = "Stat",
        /// A list.
        List = "List",
        /// An object gets its place.
        Move = "Move",
        /// An object is removed.
        Delete = "Delete",
    }
}

impl Method {
    /// The label of a method.
    pub fn of(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Unknown,
        }
    }
}

impl CollectionStage {
    /// The stage that the component names.
    pub fn of(stage: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == stage)
    }
}

impl StorageFailure {
    /// The class of an error, or `None` where a client brought it about, such as by asking for
    /// what is not there.
    pub fn of(error: &StorageError) -> Option<Self> {
        match error {
            StorageError::Full(_) => Some(Self::Full),
            StorageError::ReadOnly(_) => Some(Self::ReadOnly),
            StorageError::Unavailable(_) => Some(Self::Unavailable),
            StorageError::Failed(_) => Some(Self::Failed),
            StorageError::NotFound
            | StorageError::LinkMoved
            | StorageError::Offset(_)
            | StorageError::Busy
            | StorageError::DigestMismatch(_)
            | StorageError::Range(_)
            | StorageError::Aborted
            | StorageError::BodyLength(_) => None,
        }
    }
}

impl StorageOperation {
    /// A request to an object store by its method.
    pub fn request(method: Method) -> Self {
        match method {
            Method::Head => Self::RequestHead,
            Method::Put => Self::RequestPut,
            Method::Post => Self::RequestPost,
            Method::Delete => Self::RequestDelete,
            Method::Get | Method::Patch | Method::Options | Method::Unknown => Self::RequestGet,
        }
    }

    /// The action of distribution's drivers that comes closest. `None` for what they do not
    /// time, such as streams, and for what they do not have.
    pub fn action(self) -> Option<Action> {
        match self {
            Self::Manifest | Self::Read | Self::RequestGet => Some(Action::GetContent),
            Self::ManifestStat
            | Self::BlobStat
            | Self::Missing
            | Self::PushState
            | Self::Exists
            | Self::Status
            | Self::RequestHead => Some(Action::Stat),
            Self::Hints | Self::List => Some(Action::List),
            Self::Link | Self::Begin | Self::Write | Self::WriteManifest | Self::RequestPut => {
                Some(Action::PutContent)
            }
            Self::Commit => Some(Action::Move),
            Self::Remove | Self::Discard | Self::RequestDelete => Some(Action::Delete),
            Self::Blob
            | Self::Hash
            | Self::Quarantine
            | Self::Append
            | Self::AppendAndCommit
            | Self::RequestPost => None,
        }
    }
}

impl From<&Operation> for StorageOperation {
    fn from(operation: &Operation) -> Self {
        match operation {
            Operation::Manifest { content: true, .. } => Self::Manifest,
            Operation::Manifest { content: false, .. } => Self::ManifestStat,
            Operation::Blob { content: true, .. } => Self::Blob,
            Operation::Blob { content: false, .. } => Self::BlobStat,
            Operation::MissingBlobs { .. } | Operation::MissingManifests { .. } => Self::Missing,
            Operation::PushState { .. } => Self::PushState,
            Operation::Hints { .. } => Self::Hints,
            Operation::Read(_) => Self::Read,
            Operation::Exists(_) => Self::Exists,
            Operation::Link { .. } | Operation::LinkTag { .. } | Operation::CreateTag { .. } => {
                Self::Link
            }
            Operation::Remove(_) | Operation::Unlink { .. } | Operation::Tidy(_) => Self::Remove,
            Operation::Hash { .. } => Self::Hash,
            Operation::Quarantine(_) => Self::Quarantine,
            Operation::Names(_) | Operation::Enumerate { .. } => Self::List,
            Operation::Begin(_) => Self::Begin,
            Operation::Status(_) => Self::Status,
            Operation::Commit(_) => Self::Commit,
            Operation::Discard(_) => Self::Discard,
        }
    }
}

impl From<&Write> for StorageOperation {
    fn from(write: &Write) -> Self {
        match write {
            Write::Object(_) => Self::Write,
            Write::Manifest(_) => Self::WriteManifest,
        }
    }
}

impl From<&Transfer> for StorageOperation {
    fn from(transfer: &Transfer) -> Self {
        match transfer {
            Transfer::Append { .. } => Self::Append,
            Transfer::AppendAndCommit(_) => Self::AppendAndCommit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CollectionStage, Method, StorageFailure, StorageOperation};
    use roadstead_storage::StorageError;

    #[test]
    fn methods() {
        for method in Method::ALL.iter().filter(|method| **method != Method::Unknown) {
            assert_eq!(Method::of(&method.as_str().to_uppercase()), *method);
        }
        for unknown in ["", "get", "Get", "PROPFIND", "\u{0}", "unknown"] {
            assert_eq!(Method::of(unknown), Method::Unknown, "{unknown:?}");
        }
    }

    #[test]
    fn what_clients_bring_about_is_no_failure() {
        let text = String::new;
        for (error, class) in [
            (StorageError::Full(text()), Some(StorageFailure::Full)),
            (StorageError::ReadOnly(text()), Some(StorageFailure::ReadOnly)),
            (StorageError::Unavailable(text()), Some(StorageFailure::Unavailable)),
            (StorageError::Failed(text()), Some(StorageFailure::Failed)),
            (StorageError::NotFound, None),
            (StorageError::DigestMismatch(None), None),
            (StorageError::Aborted, None),
        ] {
            // As for the log.
            assert_eq!(class.is_some(), error.cause().is_some());
            assert_eq!(StorageFailure::of(&error), class);
        }
    }

    #[test]
    fn labels_are_distinct_and_indexes_dense() {
        let labels: std::collections::BTreeSet<_> =
            StorageOperation::ALL.iter().map(|operation| operation.as_str()).collect();
        assert_eq!(labels.len(), StorageOperation::ALL.len());
        for (index, method) in Method::ALL.iter().enumerate() {
            assert_eq!(method.index(), index);
        }
        assert_eq!(CollectionStage::of("removal"), Some(CollectionStage::Removal));
        assert_eq!(CollectionStage::of("nothing"), None);
    }
}
