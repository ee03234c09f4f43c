//! What a store has to be, whatever it is made of.

mod bytes;
mod frozen;
mod model;
mod rules;
