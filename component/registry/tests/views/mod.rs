//! What the registry's page shows, where there is much of it, or where it is hostile.

mod hostile;
mod large;
mod world;
