//! `ui`: the page for browsers.

use super::kinds::Parsed;
use super::storage::maybe;
use super::{Scope, Setting, table};

table! {
    UI_TABLE:

    UI_ENABLED: Parsed<Option<bool>> = Setting::new(
        "ui.enabled",
        Scope::Both,
        Parsed { name: "boolean", default: || None, written: None, parse: maybe },
        "A page for browsers is served at `/ui/`: repositories, tags and images, and for operators \
         maintenance. Its files are the same for everyone; what it shows needs the same permissions as \
         any other request. [api.md](api.md) describes the JSON that it reads, which is served in any case.",
    )
    .by_default("`true` if `http.addr` is a loopback address; `false` under other hosts")
    .ours();
}
