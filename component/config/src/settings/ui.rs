//! `ui`: the page for browsers.

use super::kinds::{Parsed, boolean};
use super::{Scope, Setting, table};
use crate::Page;

table! {
    UI_TABLE:

    UI_ENABLED: Parsed<Option<Page>> = Setting::new(
        "ui.enabled",
        Scope::Both,
        Parsed { name: "boolean or `local`", default: || None, written: None, parse: page },
        "A page for browsers is served at `/ui/`: repositories, tags and images, and for operators \
         maintenance. Its files are the same for everyone; what it shows needs the same permissions as \
         any other request. `local`: browsers are answered only if they name the registry by `localhost` or an \
         address, so that no site can give this machine a name of its own. [api.md](api.md) describes the JSON that it reads, which is served in any case.",
    )
    .by_default("`local` if `http.addr` is a loopback address and no proxy is in front, for all that the settings say; otherwise `false`")
    .ours();
}

fn page(value: &str) -> Result<Option<Page>, &'static str> {
    match value {
        "" => Ok(None),
        "local" => Ok(Some(Page::Local)),
        value => match boolean(value) {
            Some(true) => Ok(Some(Page::On)),
            Some(false) => Ok(Some(Page::Off)),
            None => Err("must be true, false or local"),
        },
    }
}
