//! What a repository holds of a blob.

use super::{REMEMBERED, Scrub};
use roadstead_oci::{Digest, RepositoryName};
use roadstead_storage::{Key, Storage, StorageError};

/// What a repository holds of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Held {
    /// All of it: so many bytes. Also if it is condemned, and would be restored.
    Data(u64),
    /// A link, and the data is gone.
    Link,
    /// No link, and the data is there or not.
    Nothing { data: bool },
}

impl<S: Storage> Scrub<'_, S> {
    /// What a repository holds of a blob, as it was when this slice first asked.
    pub(super) async fn held(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Held, StorageError> {
        let known = self.known.borrow().get(digest).copied();
        if let Some(held) = known {
            return Ok(held);
        }
        let held = self.look_up(name, digest).await?;
        let mut known = self.known.borrow_mut();
        if known.len() < REMEMBERED {
            known.insert(digest.clone(), held);
        }
        Ok(held)
    }

    /// The same, as it is now.
    pub(super) async fn look_up(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Held, StorageError> {
        self.spend(1);
        match self.store.storage.blob_size(name, digest).await {
            Ok(size) => return Ok(Held::Data(size)),
            Err(StorageError::NotFound | StorageError::LinkMoved) => {}
            // Such as a link that holds no digest.
            Err(error) => drop(self.of_one_object(error).await?),
        }
        self.spend(1);
        let objects = self.store.blob_objects(digest).await?;
        if let Some((size, _)) = objects.data
            && self.exists(&Key::MovedLayer(name.clone(), digest.clone())).await?
        {
            return Ok(Held::Data(size));
        }
        let data = objects.data.is_some();
        let linked = !data && self.exists(&Key::Layer(name.clone(), digest.clone())).await?;
        Ok(if linked { Held::Link } else { Held::Nothing { data } })
    }
}
