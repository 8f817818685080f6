//! `GET /readyz`: whether the storage can be read.

use super::{Answer, Registry, empty, internal};
use http::StatusCode;
use roadstead_storage::{Key, Record, Storage};

impl<S: Storage> Registry<S> {
    /// 200 if the storage answers a question; it is asked each time. What cannot be written is no
    /// reason to refuse pulls: pushes say so themselves.
    pub(super) async fn ready(&self) -> Answer<S> {
        // Whether it exists is of no importance.
        let key = Key::Record(Record::Lease);
        self.store.storage.exists(&key).await.map_err(internal)?;
        Ok(empty(StatusCode::OK))
    }
}
