//! `roadstead cat`: in a data directory, of this registry and of others.

use crate::images::{Data, INDEX, digest, run, run_on, succeed};
use crate::plain::{Page, Plain};
use crate::served::Served;
use roadstead_operator::terminal::Screen;
use serde_json::json;

#[test]
fn manifests_and_blobs_byte_for_byte() {
    let data = Data::new();
    let layer = "layer\r\n".repeat(100_000);
    let manifest = data.image("team/app", Some("v1"), &json!({}), &[&layer]);
    let store = Served::start(data.path());
    let served = Served::start_with(data.path(), Some(store.url()), false);
    let in_registry = format!("{}/", served.url());
    for (flags, at) in [(&["--directory", data.text()][..], ""), (&[], in_registry.as_str())] {
        let cat = |rest: String| succeed(&[&["cat"], flags, &[&format!("{at}{rest}")]].concat());
        assert_eq!(cat("team/app:v1".to_owned()), manifest);
        assert_eq!(cat(format!("team/app@{}", digest(&manifest))), manifest);
        assert_eq!(cat(format!("team/app@{}", digest(&layer))), layer);
    }
    let none = format!("team/app@{}", digest("none"));
    for reference in ["team/app:v2", &none, "team/none:v1"] {
        let (status, output, _) = run(&["cat", "--directory", data.text(), reference]);
        assert_eq!((status, output.as_str()), (3, ""), "{reference}");
    }
    let (status, _, problem) = run(&["cat", "--directory", data.text(), "team/app"]);
    assert_eq!(status, 2);
    assert!(problem.ends_with("name a tag or a digest, such as team/app:latest\n"), "{problem}");
}

#[test]
fn other_bytes_than_those_asked_for_are_an_error() {
    let (wanted, other) = (digest("wanted"), digest("other"));
    let plain = Plain::start(&[
        (&format!("/v2/app/blobs/{wanted}"), Page::new("something else")),
        (&format!("/v2/app/blobs/{other}"), Page::new("oth").of_length(5)),
        (&format!("/v2/manifest/manifests/{wanted}"), Page::new("{}")),
        ("/v2/app/manifests/v1", Page::new("{}").with("Docker-Content-Digest", &other)),
        ("/v2/app/manifests/large", Page::new(" ".repeat(5 << 20))),
    ]);
    for (reference, said) in [
        (format!("/app@{wanted}"), "what was written is not what was asked for"),
        (format!("/app@{other}"), "ended early"),
        (format!("/manifest@{wanted}"), "another digest"),
        ("/app:v1".to_owned(), "another digest"),
        ("/app:large".to_owned(), "too large"),
    ] {
        let (status, _, problem) = run(&["cat", &plain.at(&reference)]);
        assert_eq!(status, 1, "{problem}");
        assert!(problem.contains(said), "{problem}");
    }
}

#[test]
fn a_terminal_gets_text_alone() {
    let data = Data::new();
    let large = "a".repeat((4 << 20) + 1);
    for blob in ["text\n", "a\tb\r\nc\r\n", "\u{1b}[2J", "secret\rpublic\n", &large] {
        data.blob("app", blob);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [],
        "annotations": { "a": "\u{9b}2J" } });
    data.manifest("app", Some("v1"), &index);
    let cat = |reference: &str| {
        run_on(Screen::Plain, b"", &["cat", "--directory", data.text(), reference])
    };
    for text in ["text\n", "a\tb\r\nc\r\n"] {
        assert_eq!(cat(&format!("app@{}", digest(text))).1, text.as_bytes());
    }
    for reference in [
        format!("app@{}", digest("\u{1b}[2J")),
        format!("app@{}", digest("secret\rpublic\n")),
        format!("app@{}", digest(&large)),
        "app:v1".to_owned(),
    ] {
        let (status, output, problem) = cat(&reference);
        assert_eq!((status, output.len()), (1, 0));
        assert!(problem.contains("redirect it to a file"), "{problem}");
    }
}

/// Fails as a pipe does whose reader has gone, after so many bytes.
struct Closed(usize);

impl std::io::Write for Closed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.0 == 0 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    use clap::Parser;
    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: roadstead_operator::cat::Args,
    }
    let data = Data::new();
    let manifest = data.image("app", Some("v1"), &json!({}), &["layer"]);
    for reference in ["app:v1".to_owned(), format!("app@{}", digest("layer"))] {
        let words = ["cat", "--directory", data.text(), &reference];
        let args = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).args;
        for taken in [0, 3] {
            let mut errors = Vec::new();
            let mut streams = roadstead_operator::Streams {
                input: &mut &b""[..],
                output: &mut Closed(taken),
                errors: &mut errors,
                screen: Screen::None,
            };
            let status = roadstead_operator::cat::run(&args, &crate::local::Local, &mut streams);
            assert_eq!((status, errors.len()), (0, 0), "{manifest}");
        }
    }
}
