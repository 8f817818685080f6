//! Exports that were interrupted go on where they were.

use crate::commands::{filled, succeed, text};
use crate::content::{Content, LARGE};
use serde_json::Value;

#[test]
fn an_export_goes_on_where_it_was() {
    let content = Content::with_layer(LARGE);
    let (root, data) = filled(&content);
    let archive = root.path().join("images.tar");
    let partial = root.path().join("images.tar.partial");
    succeed(&["export", text(&data), "-o", text(&archive)]);
    let whole = std::fs::read(&archive).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..20 {
        std::fs::remove_file(&archive).unwrap();
        let length = random.usize(0..whole.len());
        let mut left = whole[..length].to_vec();
        // What a file system may leave after a loss of power.
        if round % 3 == 0 && length > 0 {
            let from = random.usize(0..length);
            left[from..].fill(0);
        }
        std::fs::write(&partial, left).unwrap();
        succeed(&["export", text(&data), "-o", text(&archive)]);
        assert!(std::fs::read(&archive).unwrap() == whole, "{length}");
        assert!(!partial.exists());
    }
    // Of what agrees, nothing is written again.
    std::fs::remove_file(&archive).unwrap();
    std::fs::write(&partial, &whole[..whole.len() - 1]).unwrap();
    let said = succeed(&["export", text(&data), "-o", text(&archive), "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["bytes"].as_u64().unwrap() < 10_000, "{said}");
    // One that is complete is not written again.
    let said = succeed(&["export", text(&data), "-o", text(&archive), "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["bytes"], 0);
}
