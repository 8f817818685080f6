//! Upload sessions.

use super::{
    Readable as _, Testable, body, broken, commit_of, content, new_session, repository, sha256,
    sha512,
};
use crate::body::MemoryBody;
use bytes::Bytes;
use futures::future::join_all;
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Appended, Collection, Commit, Key, Listing, StorageError, UploadSession};

const MIB: usize = 1024 * 1024;

/// A session, and the storage that it is in.
struct Fixture<'a, S> {
    storage: &'a S,
    session: UploadSession,
}

impl<'a, S: Testable> Fixture<'a, S> {
    /// A session that was not begun.
    fn new(storage: &'a S) -> Self {
        Self { storage, session: new_session(storage, &repository()) }
    }

    async fn begin(storage: &'a S) -> Self {
        let fixture = Self::new(storage);
        storage.begin(&fixture.session).await.unwrap();
        fixture
    }

    fn name(&self) -> &RepositoryName {
        &self.session.repository
    }

    async fn append(&self, at: Option<u64>, body: MemoryBody) -> Result<u64, StorageError> {
        let appended = self.storage.append(&self.session, at, None, body).await;
        appended.map(|appended| appended.size)
    }

    async fn status(&self) -> Result<u64, StorageError> {
        self.storage.status(&self.session).await
    }

    /// Commits the session, with a last body if there is one.
    async fn commit(
        &self,
        at: Option<u64>,
        body: Option<MemoryBody>,
        digest: &Digest,
    ) -> Result<u64, StorageError> {
        let commit = Commit { at, ..commit_of(&self.session, digest) };
        match body {
            Some(body) => self.storage.append_and_commit(&commit, body).await,
            None => self.storage.commit(&commit).await,
        }
    }

    /// The bytes are a blob of the repository, and the session has ended.
    async fn stored(&self, digest: &Digest, bytes: &[u8]) {
        self.held(digest, bytes).await;
        self.gone().await;
    }

    /// The bytes are a blob of the repository.
    async fn held(&self, digest: &Digest, bytes: &[u8]) {
        let opened = self.storage.blob(self.name(), digest, None).await.unwrap();
        assert_eq!(opened.size, bytes.len() as u64);
        assert!(opened.content.read().await == bytes, "other bytes");
        let link = self.storage.read(&Key::Layer(self.name().clone(), digest.clone())).await;
        assert_eq!(link, Ok(Bytes::from(digest.to_string())));
    }

    /// Nothing is stored of any session of the repository.
    async fn traceless(&self) {
        let sessions = Collection::Sessions(self.name().clone());
        let found = self.storage.enumerate(&sessions, None, 9).await;
        assert_eq!(found, Ok(Listing::default()));
    }

    async fn gone(&self) {
        let missing = StorageError::NotFound;
        assert_eq!(self.status().await, Err(missing.clone()));
        assert_eq!(self.append(None, body(b"x")).await, Err(missing.clone()));
        assert_eq!(self.append(Some(0), body(b"x")).await, Err(missing.clone()));
        assert_eq!(self.storage.discard(&self.session).await, Err(missing));
    }

    /// The repository does not hold the blob.
    async fn invisible(&self, digest: &Digest) {
        let link = Key::Layer(self.name().clone(), digest.clone());
        assert_eq!(self.storage.exists(&link).await, Ok(false));
        let blob = self.storage.blob(self.name(), digest, None).await;
        assert_eq!(blob.err(), Some(StorageError::NotFound));
    }
}

pub(super) async fn check<S: Testable>(storage: &S) {
    check_unknown(storage).await;
    check_places(storage).await;
    check_bodies_that_end_early(storage).await;
    check_ends(storage).await;
    check_receipts(storage).await;
    check_refusals(storage).await;
}

async fn check_unknown<S: Testable>(storage: &S) {
    let id = "00000000-0000-4000-8000-000000000000";
    let session = UploadSession::parse(repository(), id).unwrap();
    let unknown = Fixture { storage, session };
    unknown.gone().await;
    // Nor is a session known in another repository.
    let begun = Fixture::begin(storage).await;
    begun.append(None, body(b"x")).await.unwrap();
    let session = UploadSession { repository: repository(), ..begun.session.clone() };
    let foreign = Fixture { storage, session };
    foreign.gone().await;
    for fixture in [&unknown, &foreign] {
        for body in [None, Some(body(b"x"))] {
            let refused = fixture.commit(None, body, &sha256(b"x")).await;
            assert_eq!(refused, Err(StorageError::NotFound));
        }
    }
    assert_eq!(begun.status().await, Ok(1));
}

async fn check_places<S: Testable>(storage: &S) {
    let fixture = Fixture::begin(storage).await;
    assert_eq!(fixture.status().await, Ok(0));
    assert_eq!(fixture.append(Some(3), body(b"x")).await, Err(StorageError::Offset(0)));
    assert_eq!(fixture.append(Some(0), body(b"012")).await, Ok(3));
    assert_eq!(fixture.append(Some(0), body(b"345")).await, Err(StorageError::Offset(3)));
    assert_eq!(fixture.status().await, Ok(3));
    assert_eq!(fixture.append(Some(9), body(b"xyz")).await, Err(StorageError::Offset(3)));
    assert_eq!(fixture.append(Some(3), body(b"345")).await, Ok(6));
    assert_eq!(fixture.append(None, body(b"6789")).await, Ok(10));
    assert_eq!(fixture.append(None, body(b"")).await, Ok(10));
    let digest = sha256(b"0123456789ab");
    let late = fixture.commit(Some(9), Some(body(b"ab")), &digest).await;
    assert_eq!(late, Err(StorageError::Offset(10)));
    assert_eq!(fixture.commit(Some(9), None, &digest).await, Err(StorageError::Offset(10)));
    assert_eq!(fixture.status().await, Ok(10));
    assert_eq!(fixture.commit(Some(10), Some(body(b"ab")), &digest).await, Ok(12));
    fixture.stored(&digest, b"0123456789ab").await;
}

async fn check_bodies_that_end_early<S: Testable>(storage: &S) {
    let fixture = Fixture::begin(storage).await;
    assert_eq!(fixture.append(None, broken(b"")).await, Err(StorageError::Aborted));
    assert_eq!(fixture.status().await, Ok(0));
    let append = async |at, length, body| {
        let appended = storage.append(&fixture.session, at, length, body).await;
        appended.map(|appended| appended.size)
    };
    let long = append(Some(0), Some(2), body(b"012")).await;
    assert_eq!(long, Err(StorageError::BodyLength(3)));
    assert_eq!(fixture.status().await, Ok(0));
    assert_eq!(append(None, Some(9), broken(b"01")).await, Err(StorageError::Aborted));
    assert_eq!(fixture.status().await, Ok(2));
    let short = append(Some(2), Some(5), body(b"234")).await;
    assert_eq!(short, Err(StorageError::BodyLength(3)));
    assert_eq!(fixture.status().await, Ok(2));
    assert_eq!(append(Some(2), Some(3), body(b"234")).await, Ok(5));
    let digest = sha256(b"0123456789");
    let cut = fixture.commit(None, Some(broken(b"567")), &digest).await;
    assert_eq!(cut, Err(StorageError::Aborted));
    fixture.invisible(&digest).await;
    assert_eq!(fixture.status().await, Ok(8));
    assert_eq!(fixture.commit(Some(8), Some(body(b"89")), &digest).await, Ok(10));
    fixture.stored(&digest, b"0123456789").await;
}

/// The ways in which clients end an upload.
async fn check_ends<S: Testable>(storage: &S) {
    for digest_of in [sha256, sha512] {
        let bytes = content(99);
        let digest = digest_of(&bytes);
        let fixture = Fixture::begin(storage).await;
        assert_eq!(fixture.append(None, body(&bytes)).await, Ok(99));
        assert_eq!(fixture.commit(None, None, &digest).await, Ok(99));
        fixture.stored(&digest, &bytes).await;

        let fixture = Fixture::begin(storage).await;
        assert_eq!(fixture.commit(None, Some(body(&bytes)), &digest).await, Ok(99));
        fixture.stored(&digest, &bytes).await;

        let fixture = Fixture::begin(storage).await;
        assert_eq!(fixture.append(None, body(&bytes[..40])).await, Ok(40));
        assert_eq!(fixture.append(None, body(&bytes[40..50])).await, Ok(50));
        assert_eq!(fixture.commit(None, Some(body(&bytes[50..])), &digest).await, Ok(99));
        fixture.stored(&digest, &bytes).await;

        let fixture = Fixture::begin(storage).await;
        assert_eq!(fixture.commit(None, None, &digest_of(b"")).await, Ok(0));
        fixture.stored(&digest_of(b""), b"").await;

        let fixture = Fixture::begin(storage).await;
        assert_eq!(fixture.commit(Some(0), Some(body(b"")), &digest_of(b"")).await, Ok(0));
        fixture.stored(&digest_of(b""), b"").await;

        // In one step, by a session that was not begun.
        for bytes in [&bytes[..], b""] {
            let (fixture, digest) = (Fixture::new(storage), digest_of(bytes));
            let commit = commit_of(&fixture.session, &digest);
            assert_eq!(storage.store(&commit, body(bytes)).await, Ok(bytes.len() as u64));
            fixture.held(&digest, bytes).await;
            fixture.traceless().await;
        }
    }
}

/// What an append says of the bytes' digest saves a request where it is true,
/// and changes nothing where it is not.
async fn check_receipts<S: Testable>(storage: &S) {
    for (digest_of, size) in
        [(sha256 as fn(&[u8]) -> Digest, 0), (sha256, 99), (sha512, 99), (sha256, 6 * MIB)]
    {
        let bytes = content(size);
        let (digest, wrong) = (digest_of(&bytes), digest_of(b"other"));
        let mismatch = StorageError::DigestMismatch(Some(digest.clone()));
        // Its own, one of another session, one that is forged.
        let mut of_another = None;
        for receipt in ["its own", "another's", "forged"] {
            for expected in [&digest, &wrong] {
                let fixture = Fixture::begin(storage).await;
                let appended = storage.append(&fixture.session, Some(0), None, body(&bytes)).await;
                let Appended { size: end, receipt: own } = appended.unwrap();
                assert_eq!(end, size as u64);
                let receipt = match receipt {
                    "its own" => own.clone(),
                    "forged" => Some("forged".to_owned()),
                    _ => of_another.clone(),
                };
                of_another = own;
                let commit = Commit { receipt, ..commit_of(&fixture.session, expected) };
                let result = storage.commit(&commit).await;
                if *expected == digest {
                    assert_eq!(result, Ok(size as u64));
                    fixture.stored(&digest, &bytes).await;
                } else {
                    let refused = result.map_err(|error| named(error, &digest));
                    assert_eq!(refused, Err(mismatch.clone()));
                    fixture.gone().await;
                    fixture.invisible(&wrong).await;
                }
            }
        }
    }
}

/// A mismatch with the digest that the bytes have, which an adapter does not
/// know if it has the object store compare them.
fn named(error: StorageError, actual: &Digest) -> StorageError {
    match error {
        StorageError::DigestMismatch(None) => StorageError::DigestMismatch(Some(actual.clone())),
        error => error,
    }
}

async fn check_refusals<S: Testable>(storage: &S) {
    for (digest_of, size) in [(sha256 as fn(&[u8]) -> Digest, 99), (sha512, 99), (sha256, 6 * MIB)]
    {
        let bytes = content(size);
        let (wrong, actual) = (digest_of(b"other"), digest_of(&bytes));
        let mismatch = StorageError::DigestMismatch(Some(actual.clone()));
        for appended in [0, 30, size] {
            let fixture = Fixture::begin(storage).await;
            let (before, rest) = bytes.split_at(appended);
            if !before.is_empty() {
                assert_eq!(fixture.append(None, body(before)).await, Ok(appended as u64));
            }
            let rest = (!rest.is_empty()).then(|| body(rest));
            let refused = fixture.commit(None, rest, &wrong).await;
            assert_eq!(refused.map_err(|error| named(error, &actual)), Err(mismatch.clone()));
            fixture.gone().await;
            fixture.invisible(&wrong).await;
            fixture.invisible(&actual).await;
        }
        for (body, expected) in [(body(&bytes), mismatch), (broken(&bytes), StorageError::Aborted)]
        {
            let fixture = Fixture::new(storage);
            let commit = commit_of(&fixture.session, &wrong);
            let refused = storage.store(&commit, body).await;
            assert_eq!(refused.map_err(|error| named(error, &actual)), Err(expected));
            fixture.invisible(&wrong).await;
            fixture.traceless().await;
        }
        assert_eq!(storage.exists(&Key::Blob(wrong)).await, Ok(false));
    }
    for bytes in [&b""[..], b"some"] {
        let fixture = Fixture::begin(storage).await;
        if !bytes.is_empty() {
            fixture.append(None, body(bytes)).await.unwrap();
        }
        storage.discard(&fixture.session).await.unwrap();
        fixture.gone().await;
    }
}

/// More bytes than are held at once.
pub(super) async fn check_large<S: Testable>(storage: &S) {
    let bytes = content(17 * MIB + 5);
    for digest in [sha256(&bytes), sha512(&bytes)] {
        let whole = Fixture::begin(storage).await;
        assert_eq!(whole.append(None, body(&bytes)).await, Ok(bytes.len() as u64));
        assert_eq!(whole.commit(None, None, &digest).await, Ok(bytes.len() as u64));
        whole.stored(&digest, &bytes).await;

        let last = Fixture::begin(storage).await;
        assert_eq!(last.commit(None, Some(body(&bytes)), &digest).await, Ok(bytes.len() as u64));
        last.stored(&digest, &bytes).await;

        let pieces = Fixture::begin(storage).await;
        let mut end = 0;
        for piece in [&bytes[..4 * MIB], &bytes[4 * MIB..15 * MIB], &bytes[15 * MIB..][..1]] {
            let at = Some(end);
            end += piece.len() as u64;
            assert_eq!(pieces.append(at, body(piece)).await, Ok(end));
            assert_eq!(pieces.status().await, Ok(end));
        }
        let cut = pieces.append(Some(end), broken(&bytes[15 * MIB + 1..16 * MIB])).await;
        assert_eq!(cut, Err(StorageError::Aborted));
        let short = storage.append(&pieces.session, None, Some(5), body(&bytes[..7 * MIB])).await;
        assert_eq!(short, Err(StorageError::BodyLength(7 * MIB as u64)));
        assert_eq!(pieces.status().await, Ok(16 * MIB as u64));
        let rest = Some(body(&bytes[16 * MIB..]));
        assert_eq!(pieces.commit(None, rest, &digest).await, Ok(bytes.len() as u64));
        pieces.stored(&digest, &bytes).await;
    }
    let cut = Fixture::begin(storage).await;
    let digest = sha256(&bytes);
    let aborted = cut.commit(None, Some(broken(&bytes[..13 * MIB])), &digest).await;
    assert_eq!(aborted, Err(StorageError::Aborted));
    assert_eq!(cut.status().await, Ok(13 * MIB as u64));
    let rest = Some(body(&bytes[13 * MIB..]));
    assert_eq!(cut.commit(None, rest, &digest).await, Ok(bytes.len() as u64));
    cut.stored(&digest, &bytes).await;
}

/// Of two that append at once, one counts.
pub(super) async fn check_races<S: Testable>(storage: &S) {
    for size in [1_000, 200_000, 6 * MIB] {
        let fixture = Fixture::begin(storage).await;
        let runners: Vec<Bytes> = (0..4).map(|_| content(size)).collect();
        let mut all = Vec::new();
        for round in 0..2 {
            let at = Some((round * size) as u64);
            let ends = join_all(runners.iter().map(|bytes| fixture.append(at, body(bytes)))).await;
            for (end, bytes) in ends.into_iter().zip(&runners) {
                match end {
                    Ok(end) => {
                        all.extend_from_slice(bytes);
                        assert_eq!(end, all.len() as u64);
                    }
                    Err(StorageError::Busy | StorageError::Offset(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(all.len(), (round + 1) * size, "one counts");
        }
        let digest = sha256(&all);
        match fixture.commit(None, None, &digest).await {
            Ok(end) => {
                assert_eq!(end, all.len() as u64);
                fixture.stored(&digest, &all).await;
            }
            // A part of one that does not count may have taken the place of
            // one that does: then nothing is stored, and the client begins
            // again.
            Err(StorageError::NotFound) if size >= 5 * MIB => fixture.invisible(&digest).await,
            Err(error) => panic!("{error}"),
        }
    }
}
