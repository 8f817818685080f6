//! The platform's credentials as object_store's clients take them, each in its own type.

use super::{Credential, Credentials};
use crate::Refusal;
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use object_store::azure::AzureCredential;
use object_store::gcp::GcpCredential;
use std::sync::Arc;

/// The platform's credentials as object_store's clients take them.
#[derive(Debug)]
pub(crate) struct Given(pub(crate) Arc<dyn Credentials>);

impl Given {
    async fn current(&self) -> object_store::Result<Credential> {
        self.0.current().await.map_err(|cause| failed(Refusal::NoCredentials(cause)))
    }

    async fn bearer(&self) -> object_store::Result<String> {
        match self.current().await? {
            Credential::Bearer(token) => Ok(token),
            Credential::Key { .. } => Err(of_another_kind()),
        }
    }
}

fn of_another_kind() -> object_store::Error {
    failed(Refusal::NoCredentials("they are of another kind of store".to_owned()))
}

fn failed(refusal: Refusal) -> object_store::Error {
    object_store::Error::Generic { store: "credentials", source: Box::new(refusal) }
}

/// [`Given`] for S3.
#[derive(Debug)]
pub(crate) struct GivenKey(pub(crate) Given);

#[async_trait]
impl CredentialProvider for GivenKey {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        match self.0.current().await? {
            Credential::Key { id, secret, token } => {
                Ok(Arc::new(AwsCredential { key_id: id, secret_key: secret, token }))
            }
            Credential::Bearer(_) => Err(of_another_kind()),
        }
    }
}

/// [`Given`] for Google Cloud Storage.
#[derive(Debug)]
pub(crate) struct GivenToGoogle(pub(crate) Given);

#[async_trait]
impl CredentialProvider for GivenToGoogle {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        Ok(Arc::new(GcpCredential { bearer: self.0.bearer().await? }))
    }
}

/// [`Given`] for Azure.
#[derive(Debug)]
pub(crate) struct GivenToAzure(pub(crate) Given);

#[async_trait]
impl CredentialProvider for GivenToAzure {
    type Credential = AzureCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AzureCredential>> {
        Ok(Arc::new(AzureCredential::BearerToken(self.0.bearer().await?)))
    }
}
