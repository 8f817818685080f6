//! What the log is told of trouble.

use crate::log::Trouble;
use std::time::{Duration, Instant};

#[test]
fn trouble_is_logged_once_a_minute() {
    let (mut trouble, start) = (Trouble::default(), Instant::now());
    let mut happened = |seconds: u64| trouble.happened(2, start + Duration::from_secs(seconds));
    assert_eq!(happened(0), Some(2));
    assert_eq!(happened(1), None);
    assert_eq!(happened(59), None);
    assert_eq!(happened(60), Some(6));
    assert!(trouble.is_over() && !trouble.is_over());
    assert_eq!(trouble.happened(1, start + Duration::from_secs(61)), Some(1));
}
