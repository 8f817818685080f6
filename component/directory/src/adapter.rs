//! Storage in a directory, near or far: the port over [`Operation`]s.
//!
//! Two adapters share this file. Over the host store, operations travel to the
//! native host that holds the directory; over a mounted directory, the
//! component answers them itself. What differs is the [`Transport`].

use super::{
    Appended, Content, Names, Opened, Page, Pointer, RequestBody, Stat, Storage, StorageError,
};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyMode, CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload,
    ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use roadstead_directory::{
    Fault, Key, Listed, NamesQuery, Object, Operation, Reply, WRITE_LIMIT, WriteMode,
};
use roadstead_oci::{ByteRange, Digest, MediaType};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// Objects asked for at a time by a list.
const LIST_PAGE: usize = 1000;

/// How operations reach the directory.
#[expect(async_fn_in_trait, reason = "a component has one thread; only `fetch` must be Send")]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// See [`Storage::Upload`].
    type Upload: RequestBody;
    /// See [`Storage::Download`].
    type Download;

    /// Carries out an operation with its bytes, and gives the bytes that
    /// answer it, at most [`WRITE_LIMIT`].
    fn fetch(
        &self,
        operation: Operation,
        payload: Bytes,
    ) -> impl Future<Output = Result<(Reply, Bytes), Fault>> + Send;

    /// Carries out [`Operation::Read`].
    async fn open(&self, operation: Operation) -> Result<(Reply, Content<Self::Download>), Fault>;

    /// Carries out [`Operation::Append`] or [`Operation::Commit`].
    async fn send(&self, operation: Operation, body: Self::Upload) -> Result<Reply, Fault>;
}

/// The storage port over a directory.
#[derive(Debug)]
pub struct LocalStorage<T> {
    objects: Objects<T>,
}

impl<T: Transport> LocalStorage<T> {
    /// Storage in the directory that `transport` leads to.
    pub fn new(transport: T) -> Self {
        Self { objects: Objects(Arc::new(transport)) }
    }

    async fn call(&self, operation: Operation) -> Result<Reply, StorageError> {
        Ok(self.objects.0.fetch(operation, Bytes::new()).await?.0)
    }
}

impl<T: Transport> Storage for LocalStorage<T> {
    type Upload = T::Upload;
    type Download = T::Download;

    const ONE_STEP: bool = true;

    fn objects(&self) -> &dyn ObjectStore {
        &self.objects
    }

    async fn open(
        &self,
        path: &Path,
        range: Option<ByteRange>,
        companions: &[Path],
    ) -> Result<Opened<T::Download>, StorageError> {
        let companions = companions.iter().map(key).collect::<Result<_, _>>()?;
        let operation = Operation::Read { key: key(path)?, range, companions };
        let (reply, content) = self.objects.0.open(operation).await?;
        let Object { size, range, companions, .. } = object(reply)?;
        Ok(Opened { size, range, companions, content })
    }

    async fn stat(&self, path: &Path, companions: &[Path]) -> Result<Stat, StorageError> {
        let companions = companions.iter().map(key).collect::<Result<_, _>>()?;
        let reply = self.call(Operation::Stat { key: key(path)?, companions }).await?;
        let Object { size, companions, .. } = object(reply)?;
        Ok(Stat { size, companions })
    }

    async fn pointer(&self, path: &Path) -> Result<Pointer, StorageError> {
        Pointer::parse(path, &self.objects.get(path).await?.bytes().await?)
    }

    async fn point(
        &self,
        path: &Path,
        digest: &Digest,
        _media_type: Option<&MediaType>,
    ) -> Result<(), StorageError> {
        self.objects.put(path, digest.to_string().into()).await?;
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<(), StorageError> {
        Ok(self.objects.delete(path).await?)
    }

    async fn url(&self, _path: &Path) -> Result<Option<String>, StorageError> {
        Ok(None)
    }

    async fn names(&self, query: Names<'_>) -> Result<Page, StorageError> {
        let operation = Operation::Names(NamesQuery {
            parent: key(&query.parent)?,
            marker: key(&query.marker)?,
            values: query.values,
            depth: query.depth,
            after: query.after.map(str::to_owned),
            limit: query.limit,
        });
        match self.call(operation).await? {
            Reply::Names(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    async fn delete_value(&self, path: &Path, value: &str) -> Result<(), StorageError> {
        let operation = Operation::Delete { key: key(path)?, value: Some(value.to_owned()) };
        match self.call(operation).await {
            Ok(_) | Err(StorageError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn begin(&self, session: &Path) -> Result<(), StorageError> {
        self.call(Operation::Begin { session: key(session)? }).await.map(drop)
    }

    async fn status(&self, session: &Path) -> Result<u64, StorageError> {
        length(self.call(Operation::Status { session: key(session)? }).await?)
    }

    async fn append(
        &self,
        session: &Path,
        at: Option<u64>,
        expected: Option<u64>,
        body: T::Upload,
    ) -> Result<Appended, StorageError> {
        let operation = Operation::Append { session: key(session)?, at, length: expected };
        length(self.objects.0.send(operation, body).await?).map(Appended::from)
    }

    async fn commit(
        &self,
        session: &Path,
        at: Option<u64>,
        body: Option<T::Upload>,
        to: &Path,
        digest: &Digest,
        links: &[(Path, String)],
    ) -> Result<u64, StorageError> {
        let (session, to) = (key(session)?, key(to)?);
        let links = links.iter().map(|(path, value)| Ok((key(path)?, value.clone())));
        let links = links.collect::<Result<_, StorageError>>()?;
        let operation = Operation::Commit { session, at, to, digest: digest.clone(), links };
        length(match body {
            Some(body) => self.objects.0.send(operation, body).await?,
            None => self.call(operation).await?,
        })
    }

    async fn discard(&self, session: &Path) -> Result<(), StorageError> {
        self.call(Operation::Discard { session: key(session)? }).await.map(drop)
    }
}

/// object_store's view of a directory.
///
/// Conditional updates and multipart uploads are not part of what a directory
/// can do: pointers are replaced whole, and bulk bytes go through sessions.
#[derive(Debug)]
struct Objects<T>(Arc<T>);

impl<T: Transport> fmt::Display for Objects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory ({:?})", self.0)
    }
}

impl<T: Transport> Objects<T> {
    async fn run(
        &self,
        operation: Operation,
        payload: Bytes,
        path: &Path,
    ) -> object_store::Result<(Reply, Bytes)> {
        self.0.fetch(operation, payload).await.map_err(|fault| failure(&fault, path))
    }

    fn not_implemented(operation: &str) -> object_store::Error {
        object_store::Error::NotImplemented {
            operation: operation.to_owned(),
            implementer: "directory".to_owned(),
        }
    }
}

#[async_trait]
impl<T: Transport> ObjectStore for Objects<T> {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let mode = match options.mode {
            PutMode::Overwrite => WriteMode::Overwrite,
            PutMode::Create => WriteMode::Create,
            PutMode::Update(_) => return Err(Self::not_implemented("conditional update")),
        };
        let key = key(location).map_err(|error| generic(error.into()))?;
        self.run(Operation::Write { key, mode }, payload.into(), location).await?;
        Ok(PutResult { e_tag: None, version: None, extensions: http::Extensions::new() })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(Self::not_implemented("multipart upload"))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let key = key(location).map_err(|error| generic(error.into()))?;
        let operation = if options.head {
            Operation::Stat { key, companions: Vec::new() }
        } else {
            let range = options.range.as_ref().and_then(byte_range);
            Operation::Read { key, range, companions: Vec::new() }
        };
        let (reply, bytes) = self.run(operation, Bytes::new(), location).await?;
        let object = object(reply).map_err(|error| generic(error.into()))?;
        let meta = meta(location.clone(), object.size, object.modified);
        options.check_preconditions(&meta)?;
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta,
            range: object.range,
            attributes: Attributes::new(),
            extensions: http::Extensions::new(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let transport = Arc::clone(&self.0);
        locations
            .and_then(move |location| {
                let objects = Self(Arc::clone(&transport));
                async move {
                    let key = key(&location).map_err(|error| generic(error.into()))?;
                    objects
                        .run(Operation::Delete { key, value: None }, Bytes::new(), &location)
                        .await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.list_with_offset(prefix, &Path::default())
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let pages = Pages {
            objects: Self(Arc::clone(&self.0)),
            prefix: prefix.filter(|prefix| !prefix.as_ref().is_empty()).cloned(),
            after: Some(offset.to_string()),
            page: VecDeque::new(),
        };
        stream::try_unfold(pages, async |mut pages| {
            Ok(pages.next().await?.map(|object| (object, pages)))
        })
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let mut result = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: http::Extensions::new(),
        };
        let root = prefix.cloned().unwrap_or_default();
        let mut list = self.list(prefix);
        while let Some(object) = list.try_next().await? {
            let directory = match object.location.prefix_match(&root) {
                None => continue,
                Some(mut below) => match (below.next(), below.next()) {
                    (Some(directory), Some(_)) => Some(root.clone().join(directory)),
                    _ => None,
                },
            };
            match directory {
                // The list is ordered, so equal prefixes are neighbours.
                Some(directory) if result.common_prefixes.last() == Some(&directory) => {}
                Some(directory) => result.common_prefixes.push(directory),
                None => result.objects.push(object),
            }
        }
        Ok(result)
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        let mode = match options.mode {
            CopyMode::Overwrite => WriteMode::Overwrite,
            CopyMode::Create => WriteMode::Create,
        };
        let keys = |path| key(path).map_err(|error| generic(error.into()));
        let operation = Operation::Copy { from: keys(from)?, to: keys(to)?, mode };
        self.run(operation, Bytes::new(), from).await.map(drop)
    }
}

/// A list as pages of operations.
struct Pages<T> {
    objects: Objects<T>,
    prefix: Option<Path>,
    /// Where the next page begins; `None` after the last.
    after: Option<String>,
    page: VecDeque<Listed>,
}

impl<T: Transport> Pages<T> {
    async fn next(&mut self) -> object_store::Result<Option<ObjectMeta>> {
        if self.page.is_empty()
            && let Some(after) = self.after.take()
        {
            let location = self.prefix.clone().unwrap_or_default();
            let prefix = self.prefix.as_ref().map(key).transpose();
            let prefix = prefix.map_err(|error| generic(error.into()))?;
            let operation = Operation::List { prefix, after: Some(after), limit: LIST_PAGE };
            match self.objects.run(operation, Bytes::new(), &location).await?.0 {
                Reply::List(page) => self.page = page.into(),
                other => return Err(generic(unexpected(&other).into())),
            }
            if self.page.len() == LIST_PAGE {
                self.after = self.page.back().map(|last| last.key.to_string());
            }
        }
        let Some(Listed { key, size, modified }) = self.page.pop_front() else { return Ok(None) };
        Ok(Some(meta(Path::parse(key.as_str())?, size, modified)))
    }
}

fn key(path: &Path) -> Result<Key, StorageError> {
    Key::parse(path.as_ref()).map_err(|rule| StorageError::Failed(format!("{path}: {rule}")))
}

fn object(reply: Reply) -> Result<Object, StorageError> {
    match reply {
        Reply::Object(object) => Ok(object),
        other => Err(unexpected(&other)),
    }
}

fn length(reply: Reply) -> Result<u64, StorageError> {
    match reply {
        Reply::Length(length) => Ok(length),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(reply: &Reply) -> StorageError {
    StorageError::Failed(format!("the store answered {reply:?}"))
}

fn byte_range(range: &GetRange) -> Option<ByteRange> {
    let header = match range {
        GetRange::Bounded(range) => {
            format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
        }
        GetRange::Offset(start) => format!("bytes={start}-"),
        GetRange::Suffix(length) => format!("bytes=-{length}"),
    };
    ByteRange::parse(&header)
}

fn meta(location: Path, size: u64, modified: u64) -> ObjectMeta {
    let nanoseconds = i64::try_from(modified).unwrap_or(i64::MAX);
    ObjectMeta {
        location,
        last_modified: DateTime::<Utc>::from_timestamp_nanos(nanoseconds),
        size,
        e_tag: Some(format!("\"{modified:x}-{size:x}\"")),
        version: None,
    }
}

impl From<Fault> for StorageError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotFound => Self::NotFound,
            Fault::AlreadyExists => Self::AlreadyExists,
            Fault::Offset(offset) => Self::Offset(offset),
            Fault::Busy => Self::Busy,
            Fault::DigestMismatch(actual) => Self::DigestMismatch(Some(actual)),
            Fault::Range(size) => Self::Range(size),
            Fault::Aborted => Self::Aborted,
            Fault::BodyLength(length) => Self::BodyLength(length),
            Fault::Invalid(cause) | Fault::Io(cause) => Self::Failed(cause),
        }
    }
}

fn failure(fault: &Fault, path: &Path) -> object_store::Error {
    let (path, source) = (path.to_string(), Box::new(StorageError::from(fault.clone())));
    match fault {
        Fault::NotFound => object_store::Error::NotFound { path, source },
        Fault::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        _ => generic(source),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "directory", source }
}

// A manifest of the largest size must fit into one write.
const _: () = assert!(WRITE_LIMIT > roadstead_oci::Manifest::MAX_SIZE);

#[cfg(test)]
mod tests {
    use super::LocalStorage;
    use crate::native::NativeDirectory;
    use crate::store::contract;
    use roadstead_directory::Directory;

    #[tokio::test]
    async fn keeps_the_contract() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path()).unwrap();
        contract::check(&LocalStorage::new(NativeDirectory(directory)), true).await;
    }
}
