//! `policy`: rules for what is stored, whoever stores it.

use super::kinds::{Flag, Statements};
use super::{Scope, Section, Setting, table};

pub(crate) static IMMUTABLE: Section =
    Section::not_empty("policy.immutable", "write rules, or remove it if every tag may be moved");

pub(crate) static QUOTAS: Section =
    Section::not_empty("policy.quotas", "write rules, or remove it if there is no limit");

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

    POLICY_QUOTAS: Statements = Setting::new(
        "policy.quotas",
        Scope::Component,
        Statements("rules; as text, with `;` or line breaks between them"),
        "How much repositories may hold: `team team/**, !team/scratch/** 50GiB 1000 tags`. A rule \
         has a name, patterns of repositories, which share its limits, and limits: bytes, with KiB \
         to PiB or kB to PB, tags, or both. What several repositories hold counts once. A push \
         beyond a limit is refused.",
    )
    .ours()
    .help("how much repositories may hold, as in: team team/** 50GiB 1000 tags");
    POLICY_RETENTION_DRYRUN: Flag = Setting::new(
        "policy.retention.dryrun",
        Scope::Component,
        Flag(true),
        "Whether runs of garbage collection only say which tags `policies` would remove, and \
         remove none.",
    )
    .ours()
    .help("false: tags that expire are removed");

    POLICY_RETENTION_POLICIES: Statements = Setting::new(
        "policy.retention.policies",
        Scope::Component,
        Statements("maps; as text, JSON"),
        "Which tags expire: runs of garbage collection remove them. The first policy whose \
         `repositories` fit decides. Of its `keeptags`, each with `patterns` that fit whole tags, \
         `mostrecentlypushedcount`, `pushedwithin`, `mostrecentlypulledcount` and `pulledwithin` \
         keep a tag; a tag expires if patterns fit it and no rule keeps it. Also \
         `deleteuntagged`, `deletereferrers` and `keepuntagged`. \
         [policies.md](policies.md#retention) explains them.",
    )
    .ours()
    .maps()
    .help("which tags expire, as JSON; see docs/policies.md");
}
