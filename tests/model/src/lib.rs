//! The protocol of garbage collection, as a model that is checked exhaustively:
//! `docs/collection.md` describes it in words.
//!
//! The model is about one blob, as the protocol decides for each blob by itself. It
//! is in the storage of two repositories. Clients and collectors take steps in any
//! order, each step one request to the storage; collectors die or stall between any
//! two, lists fail, and time passes in ticks. A tick is the grace: a client's session
//! sees one tick at most, and what has to wait waits for two.
//!
//! - [`store`]: the objects.
//! - [`client`], [`collector`]: the steps.
//! - [`rules`]: the rules, and what happens without one of them.
//! - [`properties`], [`fair`]: what must hold.
//! - [`world`]: states and their successors; [`check`] explores them.
//!
//! Two parts of the protocol have models of their own, with stores, clients, rules and
//! properties that are smaller:
//!
//! - [`quarantine`]: a scrub moves damaged data out of the way.
//! - [`untagged`]: manifests to which nothing leads are taken away, and restored.

pub mod check;
pub mod client;
pub mod collector;
pub mod fair;
pub mod properties;
pub mod quarantine;
pub mod rules;
pub mod store;
pub mod untagged;
pub mod world;
