//! Shared code of the tests: registries to test, and a minimal HTTP client.

mod azurite;
mod client;
mod collection;
mod distribution;
pub mod docker_engine;
mod fake_gcs;
mod garage;
mod gcs;
pub mod image;
#[cfg(unix)]
pub mod isolated_network;
mod keys;
mod native_http;
pub mod platform;
mod process;
pub mod program;
mod secure;
mod small_image;
mod spin;
mod stand_in;
mod table;

pub use azurite::Azurite;
pub use client::{Answer, send, send_from, send_on};
pub use collection::{BY_SLICES, runs_by_slices};
pub use distribution::Distribution;
pub use fake_gcs::FakeGcs;
pub use garage::Garage;
pub use gcs::Gcs;
pub use keys::rsa_key;
pub use native_http::{NativeHttp, TokioClock, bucket, open_bucket};
#[cfg(unix)]
pub use process::unprivileged;
pub use process::{Registry, Wasmtime, binary, binary_named, command, skip, target_directory};
pub use roadstead_kit::directory::make_older;
pub use roadstead_kit::requests::{
    Step, basic, data_key, delete, digest, digest_sha512, get, head, patch, post, put,
};
pub use secure::{PASSWORD, Pair, USER, entry};
pub use small_image::SmallImage;
pub use spin::{Spin, SpinUp};
pub use table::{Target, everywhere, run};
