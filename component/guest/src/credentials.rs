//! The platform's credentials for an object store: from a native host, or fetched by
//! the component itself.

use crate::host;
use crate::outbound::{Outbound, WasiClock};
use async_trait::async_trait;
use roadstead_bridge::{Services, credentials, log};
use roadstead_buckets::platform::{self, Credential, Credentials};
use roadstead_config::Cloud;
use send_wrapper::SendWrapper;
use std::sync::Arc;

/// Who gives the credentials; `None` if the settings have keys.
pub(crate) fn choose(
    cloud: &Cloud,
    services: Services,
) -> Result<Option<Arc<dyn Credentials>>, String> {
    if services.credentials {
        return Ok(Some(Arc::new(FromHost)));
    }
    let variable = |name: &str| std::env::var(name).ok();
    let Some(source) = platform::choose(cloud, variable)? else { return Ok(None) };
    let report = |problem: &str| eprintln!("{}", log::line(log::Level::Warning, problem));
    source.connect(Outbound, WasiClock, report).map(Some)
}

/// A native host, which has current ones: nothing is kept here.
#[derive(Debug)]
struct FromHost;

#[async_trait]
impl Credentials for FromHost {
    async fn current(&self) -> Result<Credential, String> {
        // There is only one thread.
        SendWrapper::new(async {
            let (authority, request) = (credentials::AUTHORITY, &credentials::REQUEST);
            let response = host::send(authority, request, Vec::new(), None).await?;
            let answer = host::header(&response, &credentials::ANSWER);
            let answer = answer.ok_or("the host gave no credentials")?;
            serde_json::from_slice::<Result<_, String>>(&answer)
                .unwrap_or_else(|error| Err(format!("the host's credentials: {error}")))
        })
        .await
    }
}
