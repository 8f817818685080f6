//! A component that answers 200, but traps for the path `/trap`. For `/echo`, its
//! response's headers are those of the request, with the prefix `echo-`. For
//! `/kept`, it has a random `number`, and the host may keep it.
#![cfg(target_family = "wasm")]

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Request, Response};
use spin_sdk::wasip3::wit_future;
use std::hash::{BuildHasher as _, RandomState};

spin_sdk::wasip3::http::service::export!(Trap);

struct Trap;

impl spin_sdk::wasip3::exports::http::handler::Guest for Trap {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let headers = match request.get_path_with_query().as_deref() {
            Some("/trap") => std::process::abort(),
            Some("/echo") => {
                let headers = request.get_headers().copy_all().into_iter();
                let headers: Vec<_> =
                    headers.map(|(name, value)| (format!("echo-{name}"), value)).collect();
                Fields::from_list(&headers)
                    .map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?
            }
            Some("/kept") => {
                let number = RandomState::new().hash_one(()).to_string();
                let headers = [
                    ("number", number.as_str()),
                    ("content-length", "0"),
                    ("surrogate-control", "max-age=60"),
                    ("surrogate-key", "kept"),
                ];
                let headers = headers.map(|(name, value)| (name.to_owned(), value.into()));
                Fields::from_list(&headers)
                    .map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?
            }
            _ => Fields::new(),
        };
        let (no_trailers, trailers) = wit_future::new(|| Ok(None));
        drop(no_trailers);
        Ok(Response::new(headers, None, trailers).0)
    }
}
