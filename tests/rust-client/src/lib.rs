//! The tests of the client in `sdk/rust` with a real gateway, in a package of their own: the client's own package depends on
//! nothing of this repository.
