//! An OCI layout as a directory: each member of the plan is a file. The index comes last.

use super::{Contents, Failure, Writing, check};
use bytes::Bytes;
use roadstead_archive::{Body, Member, Volume};
use roadstead_operator::hash::Hash;
use roadstead_operator::registry::Registry;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use tempfile::NamedTempFile;

impl<R: Registry> Writing<'_, R> {
    /// Writes a volume to a directory. Returns how many bytes were written: contents that are
    /// there are not written again.
    ///
    /// # Errors
    /// When a content cannot be read or has another digest, or a file cannot be written.
    pub(crate) async fn directory(&self, volume: &Volume, root: &Path) -> Result<u64, Failure> {
        let is_there = |member: &&Member| match self.expected(member) {
            Ok(Some(digest)) => check::is_content(&root.join(&member.name), member, digest),
            _ => false,
        };
        let (there, missing): (Vec<_>, Vec<_>) = volume.members.iter().partition(is_there);
        self.progress.add(there.iter().map(|member| member.stored()).sum());
        let missing: Vec<Member> = missing.into_iter().cloned().collect();
        let mut contents = Contents::new(&missing, self.source, self.parallel);
        let mut written = 0;
        for member in &missing {
            let failed = |problem: String| format!("{}: {problem}", member.name);
            let path = root.join(&member.name);
            let parent = path.parent().unwrap_or(root);
            let begin = || {
                std::fs::create_dir_all(parent)?;
                NamedTempFile::new_in(parent)
            };
            let mut file = begin().map_err(|error| failed(error.to_string()))?;
            let content = match &member.body {
                Body::Content { digest, .. } => Some(digest.clone()),
                Body::Bytes(_) => None,
            };
            let filled = self.fill(member, &mut contents, &mut file).await;
            filled.map_err(|problem| Failure { content, problem: failed(problem) })?;
            // Into its place when it is on disk, under the umask's mode as any file.
            let finish = || {
                file.as_file().sync_all()?;
                let file = file.persist(&path)?;
                readable(&file)?;
                File::open(parent)?.sync_all()
            };
            finish().map_err(|error| failed(error.to_string()))?;
            written += member.size;
            self.progress.add(member.stored() - member.size);
        }
        Ok(written)
    }

    async fn fill(
        &self,
        member: &Member,
        contents: &mut Contents<'_, R>,
        file: &mut NamedTempFile,
    ) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let Some(digest) = self.expected(member)? else {
            let Body::Bytes(bytes) = &member.body else { return Ok(()) };
            self.progress.add(member.size);
            return file.write_all(bytes).map_err(failed);
        };
        let mut hash = Some(Hash::of(digest));
        while let Some(piece) = contents.next().await? {
            self.progress.add(piece.len() as u64);
            // Neither hashing nor the disk holds up what is received meanwhile.
            let mut out = file.as_file().try_clone().map_err(failed)?;
            let mut state = hash.take();
            let work = move |piece: Bytes| {
                if let Some(hash) = &mut state {
                    hash.update(&piece);
                }
                out.write_all(&piece).map(|()| state)
            };
            let done = tokio::task::spawn_blocking(move || work(piece)).await;
            hash = done.map_err(|error| error.to_string())?.map_err(failed)?;
        }
        hash.map_or(Ok(()), Hash::verify)
    }
}

/// A temporary file is for its owner alone; what an archive holds is for whoever may read the
/// directory.
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
