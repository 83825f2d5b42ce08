//! Adoption: from an address somebody knows to services of the inventory.
//!
//! Invariant: reads only; what a server says leads to candidates, and these are dialled only inside
//! the tenant's networks, with the credentials given for this adoption. What comes out is an inventory
//! document, which goes the way every inventory document goes. Refuses to write anything.

mod document;
pub mod draft;
mod group;
pub mod guard;
pub mod look;
mod name;
pub mod seed;
pub mod walk;
mod zone;

pub use draft::{Draft, Wish, draft};
pub use guard::Guard;
pub use look::{Doors, Login};
pub use seed::{Seeds, seeds};
pub use walk::{Ground, Walk, walk};
