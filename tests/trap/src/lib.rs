//! A component that answers 200, but traps where the path is `/trap`.
#![cfg(target_family = "wasm")]

use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::wit_future;

wasip3::http::service::export!(Trap);

struct Trap;

impl wasip3::exports::http::handler::Guest for Trap {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        if request.get_path_with_query().as_deref() == Some("/trap") {
            std::process::abort();
        }
        let (no_trailers, trailers) = wit_future::new(|| Ok(None));
        drop(no_trailers);
        Ok(Response::new(Fields::new(), None, trailers).0)
    }
}
