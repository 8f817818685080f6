//! Images in files, without a registry and without a network: which images some archives
//! hold and where their bytes are ([`Set`]), and what archives have to contain, member by
//! member, to hold some images ([`Plan`]).
//!
//! Both speak of images by an [`Inventory`]: repositories, their tags and manifests, and the
//! contents that these refer to.
//!
//! Archives are not trusted: no name in one becomes a path, nothing that it says of itself
//! is allocated or believed before it was checked, and whoever uses its content compares it
//! with its digest.

mod inventory;
mod members;
mod plan;
mod set;
mod signature;

pub use inventory::{Content, Inventory, Manifest, Piece, Repository};
pub use plan::{Body, Format, Member, Plan, PlanOptions, Sign, Volume};
pub use set::{
    BEGINNING, Error, Found, Image, Name, Naming, Options, Part, Set, is_archive, is_registry,
};
pub use signature::{PrivateKey, PublicKey};
