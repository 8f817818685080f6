//! `roadstead garbage-collect`: the name, flags and words of distribution's command.

use super::{Outcome, Waits, print, summary};
use anyhow::Context as _;
use roadstead_bridge::collect::SliceRequest;
use std::io::Write;
use std::path::PathBuf;

/// Collect garbage as `registry garbage-collect` does, by its name and flags
// A flag may come again; the last one counts, as in distribution's.
#[derive(clap::Args, Debug)]
#[command(args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct DistributionArgs {
    /// The configuration file
    #[arg(value_name = "config.yml")]
    pub config: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(
        long, short = 'd', value_name = "BOOL", value_parser = boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, action = clap::ArgAction::Set
    )]
    pub dry_run: bool,
    /// Also delete manifests that no tag leads to, and no index or image that stays
    #[arg(
        long, short = 'm', value_name = "BOOL", value_parser = boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, action = clap::ArgAction::Set
    )]
    pub delete_untagged: bool,
    /// Print nothing
    #[arg(
        long, short = 'q', value_name = "BOOL", value_parser = boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", default_value = "false",
        hide_default_value = true, action = clap::ArgAction::Set
    )]
    pub quiet: bool,
    /// Nothing else uses this storage: free space at once, also in a bucket; content that others
    /// push meanwhile is lost
    #[arg(long)]
    pub alone: bool,
    /// Wait as beside a registry that runs: what is to go is kept for some days
    #[arg(long, conflicts_with = "alone")]
    pub keep: bool,
}

impl DistributionArgs {
    /// Where the run waits for others.
    pub fn waits(&self) -> Waits {
        Waits::of(self.alone, self.keep)
    }

    /// The first request of the run. Untagged manifests go whatever their age, as with
    /// distribution's command, if nobody else uses the storage.
    pub fn request(&self) -> SliceRequest {
        let untagged = self.delete_untagged.then_some(0);
        SliceRequest { dry_run: self.dry_run, untagged, ..SliceRequest::default() }
    }
}

/// A flag's value in the spellings that distribution's command takes, which are those of
/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Prints how a run ended, in distribution's words.
///
/// # Errors
/// When it cannot be written.
pub fn print_as_distribution(outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<()> {
    match outcome {
        Outcome::Done(report) => writeln!(out, "{}", summary::as_distribution(report)),
        Outcome::NotDue { .. } => return print(outcome, false, out),
    }
    .context("cannot print the result")
}

#[cfg(test)]
mod tests {
    use super::{DistributionArgs, Waits};
    use clap::Parser as _;
    use std::path::Path;

    #[derive(clap::Parser, Debug)]
    struct Command {
        #[command(flatten)]
        args: DistributionArgs,
    }

    fn parsed(line: &str) -> Result<DistributionArgs, clap::Error> {
        let command =
            Command::try_parse_from(["garbage-collect"].into_iter().chain(line.split(' ')));
        command.map(|command| command.args)
    }

    /// What distribution's command makes of the same lines.
    #[test]
    fn flags_as_distribution_takes_them() {
        for (line, dry_run, delete_untagged, quiet) in [
            ("x.yml", false, false, false),
            ("-d x.yml", true, false, false),
            ("-m x.yml", false, true, false),
            ("-q x.yml", false, false, true),
            ("-dmq x.yml", true, true, true),
            ("x.yml --dry-run --delete-untagged --quiet", true, true, true),
            ("--dry-run=true x.yml", true, false, false),
            ("--dry-run=false -m x.yml", false, true, false),
            ("--delete-untagged=true x.yml", false, true, false),
            ("--delete-untagged=false x.yml", false, false, false),
            ("-d=true -m=false -q=1 x.yml", true, false, true),
            ("-dm=false x.yml", true, false, false),
            ("-d -d x.yml", true, false, false),
            ("-m --delete-untagged=false x.yml", false, false, false),
        ] {
            let args = parsed(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(args.config.as_deref(), Some(Path::new("x.yml")), "{line}");
            let flags = (args.dry_run, args.delete_untagged, args.quiet);
            assert_eq!(flags, (dry_run, delete_untagged, quiet), "{line}");
            let asked = args.request();
            assert_eq!(asked.dry_run, dry_run, "{line}");
            assert_eq!(asked.untagged, delete_untagged.then_some(0), "{line}");
        }
    }

    /// The two that are ours alone.
    #[test]
    fn where_the_run_waits() {
        for (line, waits) in [
            ("x.yml", Waits::InBuckets),
            ("--keep -m x.yml", Waits::Everywhere),
            ("--alone x.yml", Waits::Nowhere),
        ] {
            assert_eq!(parsed(line).unwrap().waits(), waits, "{line}");
        }
        assert!(parsed("--alone --keep x.yml").is_err());
    }

    #[test]
    fn spellings_of_distributions_flags() {
        for (value, expected) in [
            ("1", true),
            ("t", true),
            ("T", true),
            ("TRUE", true),
            ("true", true),
            ("True", true),
            ("0", false),
            ("f", false),
            ("F", false),
            ("FALSE", false),
            ("false", false),
            ("False", false),
        ] {
            let line = format!("--delete-untagged={value} x.yml");
            let args = parsed(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(args.delete_untagged, expected, "{line}");
        }
        for value in ["yes", "on", "tRUE", "2", ""] {
            let refused = parsed(&format!("--delete-untagged={value} x.yml")).unwrap_err();
            let said = refused.to_string();
            assert!(said.contains("--delete-untagged"), "{value}: {said}");
        }
    }
}
