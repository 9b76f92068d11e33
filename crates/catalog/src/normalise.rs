//! Texts to values: hosts, ports, URLs, numbers, lists.
//!
//! Every function takes what a person typed and says in words what is wrong with it. Quirks of the reference that can
//! only be slips (an empty port, an empty host behind `http://`) are errors here.

mod address;
mod cloud;
pub mod header;
mod names;
mod pem;
mod value;

pub use address::*;
pub use cloud::*;
pub use names::*;
pub use pem::*;
pub use value::*;

#[cfg(test)]
mod tests;
