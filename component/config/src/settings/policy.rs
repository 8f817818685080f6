//! `policy`: rules for what is stored, whoever stores it.

use super::kinds::Statements;
use super::{Scope, Section, Setting, table};

pub(crate) static IMMUTABLE: Section =
    Section::not_empty("policy.immutable", "write rules, or remove it if every tag may be moved");

table! {
    POLICY_TABLE:

    POLICY_IMMUTABLE: Statements = Setting::new(
        "policy.immutable",
        Scope::Component,
        Statements("rules; as text, with `;` or line breaks between them"),
        "Tags that never change: `releases team/**, !team/scratch/** v[0-9].*, !.*-rc[0-9]+`. A \
         rule has a name, patterns of repositories and regular expressions that fit whole tags; \
         `!` is for exceptions. Such a tag cannot be pushed again with another digest, and not \
         be deleted, unless the rule ends with `deletable`.",
    )
    .ours()
    .help("tags that never change, as in: releases team/** v[0-9].*");
}
